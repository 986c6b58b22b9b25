//! Measures everything and prints tables: `compare [--quick] [--only TEXT] [--rounds N] [--growth]`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use kubewire_peer::job::{Client, Figures, Job, Target};
use kubewire_peer::rows::{GROWTH, ROWS, Row, Transport, Unit};
use kubewire_peer::server::Addresses;

const USAGE: &str = "usage: compare [--quick] [--only TEXT] [--rounds N] [--growth]

Prints what kubewire and kube-rs need for the same work, as medians of alternating runs.
  --quick     a tenth of the work, once
  --only      rows whose names contain the text
  --rounds    how often each is run (5)
  --growth    time and memory for growing amounts instead";

struct Options {
    quick: bool,
    only: String,
    rounds: usize,
    growth: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        quick: false,
        only: String::new(),
        rounds: 5,
        growth: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => (options.quick, options.rounds) = (true, 1),
            "--growth" => options.growth = true,
            "--only" => options.only = arguments.next()?,
            "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let server = Server::start();
    let rows = if options.growth { GROWTH } else { ROWS };
    let rows = rows.iter().filter(|row| row.name().contains(&options.only));
    println!(
        "| what | per CPU second | kubewire-tokio | kubewire-smol | kube 5 | tokio : kube | smol : kube | floor | allocations each: kubewire, kube, floor | peak heap MiB: kubewire, kube, floor |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        print_row(row, &options, &server);
    }
    ExitCode::SUCCESS
}

/// The server, in a process of its own.
struct Server {
    child: Child,
    addresses: Addresses,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(sibling("server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts: build all binaries");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        output.read_line(&mut line).expect("its addresses");
        let addresses = serde_json::from_str(&line).expect("its addresses");
        Self { child, addresses }
    }

    fn target(&self, transport: Transport) -> Target {
        match transport {
            Transport::Tcp => self.addresses.plain.clone(),
            Transport::Tls => self.addresses.tls.clone(),
            Transport::Http2 => self.addresses.http2.clone(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another program of this package.
fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    own.with_file_name(name)
}

fn run(program: &str, job: &Job) -> Figures {
    let output = Command::new(sibling(program))
        .arg(serde_json::json!(job).to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs: build all binaries");
    assert!(output.status.success(), "{job:?}");
    serde_json::from_slice(&output.stdout).expect("figures")
}

/// What one client needs.
struct Column {
    rate: f64,
    figures: Figures,
    counted: Figures,
}

fn print_row(row: &Row, options: &Options, server: &Server) {
    let row = if options.quick { row.quick() } else { *row };
    let job = |client| Job {
        client,
        work: row.work,
        size: row.size,
        times: row.times,
        parallel: row.parallel,
        target: server.target(row.transport),
        server: server.child.id(),
    };
    let clients = row.clients();
    let mut runs: Vec<Vec<Figures>> = clients.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (client, runs) in clients.iter().zip(&mut runs) {
            runs.push(run("worker", &job(*client)));
        }
    }
    let columns = clients.iter().zip(runs).map(|(client, mut runs)| {
        runs.sort_by_key(|figures| figures.cpu);
        let figures = runs[runs.len() / 2];
        let counted = run("worker_counted", &job(*client));
        let rate = row.amount() / figures.cpu.as_secs_f64();
        let column = Column {
            rate,
            figures,
            counted,
        };
        (*client, column)
    });
    let columns: Vec<(Client, Column)> = columns.collect();
    let of = |client| {
        let column = columns.iter().find(|(known, _)| *known == client);
        column.map(|(_, column)| column)
    };
    let (tokio, smol) = (of(Client::Tokio), of(Client::Smol));
    let peer = of(Client::Kube).or_else(|| of(Client::KubeWide));
    let floor = of(Client::Floor);
    let rate = |column: Option<&Column>| column.map_or_else(String::new, |it| number(it.rate));
    let ratio = |column: Option<&Column>| match (column, peer) {
        (Some(column), Some(peer)) => format!("{:.2}", column.rate / peer.rate),
        _ => String::new(),
    };
    let each = |show: &dyn Fn(&Column) -> String| {
        let shown = [tokio, peer, floor].into_iter().flatten().map(show);
        shown.collect::<Vec<_>>().join(", ")
    };
    let allocations = each(&|column| {
        number(float(column.counted.allocations) / float(column.counted.units as u64).max(1.0))
    });
    let peak = each(&|column| format!("{:.2}", float(column.counted.peak) / MIB));
    println!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {allocations} | {peak} |",
        row.name(),
        row.unit.name(),
        rate(tokio),
        rate(smol),
        rate(peer),
        ratio(tokio),
        ratio(smol),
        rate(floor),
    );
    if row.unit == Unit::Watches || options.growth {
        let clients = [
            ("kubewire-tokio", tokio),
            ("kubewire-smol", smol),
            ("kube 5", peer),
            ("floor", floor),
        ];
        for (name, column) in clients
            .into_iter()
            .filter_map(|(name, it)| Some((name, it?)))
        {
            print_each(name, &row, column);
        }
    }
}

/// Time and memory for each unit.
fn print_each(name: &str, row: &Row, column: &Column) {
    let units = match row.unit {
        Unit::Watches | Unit::Sessions => float(row.parallel as u64),
        Unit::Requests | Unit::Bytes | Unit::Events => float(column.figures.units as u64),
    };
    let figures = &column.figures;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / units;
    println!(
        "|   {name} | each: {:.1} us CPU, {:.1} us with the server's, {:.1} us on the wall, {:.1} KiB peak heap, {:.1} KiB resident; {} connections |",
        each(figures.cpu),
        each(figures.cpu + figures.server),
        each(figures.wall),
        float(column.counted.peak) / 1024.0 / units,
        float(figures.resident as u64) / 1024.0 / units,
        figures.sockets,
    );
}

const MIB: f64 = 1_048_576.0;

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Three digits and more.
fn number(number: f64) -> String {
    if number >= 100.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.1}")
    }
}
