//! Runs the conformance suite on any cluster, over any of the runtimes.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use kubewire_conformance::cli::{Common, value};
use kubewire_conformance::rig::Mischief;
use kubewire_conformance::scenario::Group;
use kubewire_conformance::suite::{self, Report, Runtime, Site, Summary};
use serde_json::{Value, json};

struct Options {
    common: Common,
    filter: Option<String>,
    json: Option<String>,
    jobs: usize,
}

fn usage() -> String {
    format!(
        "usage: kubewire-conformance {} [--filter TEXT] [--jobs N] [--json FILE]

Runs every scenario whose group or name contains TEXT, N (4) at a time, on each of the runtimes
{} (all of them unless one is named), and prints a table. Without a cluster it runs
against an embedded server. Everything happens in namespaces kubewire-suite-…, which are deleted afterwards, and
have the label {}. Fails if a scenario does.",
        Common::USAGE,
        Runtime::NAMES.join(", "),
        suite::LABEL,
    )
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", usage());
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            eprintln!("{fault}\n\n{}", usage());
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Option<Options>, String> {
    let mut options = Options {
        common: Common::new(&Runtime::NAMES),
        filter: None,
        json: None,
        jobs: 4,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        if options.common.take(&argument, &mut rest)? {
            continue;
        }
        match argument.as_str() {
            "--filter" => {
                let text = value(&argument, &mut rest)?;
                options.filter = Some(text.replace(' ', "_").to_lowercase());
            }
            "--json" => options.json = Some(value(&argument, &mut rest)?),
            "--jobs" => {
                let number = value(&argument, &mut rest)?.parse();
                options.jobs = number.map_err(|_| "--jobs needs a number".to_owned())?;
            }
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Ok(Some(options))
}

/// Whether nothing failed.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let (config, server) = options.common.connect()?;
    let site = Site {
        config,
        server,
        image: options.common.image.clone(),
        jobs: options.jobs,
        drops: false,
    };
    suite::quiet_panics();
    suite::catch_interrupt()?;
    let mut runs = Vec::new();
    let mut summaries = Vec::new();
    let mut well = true;
    for &name in &options.common.runtimes {
        println!("{name}, {}:", site.config.endpoint);
        let runtime = Runtime::named(name).ok_or("a runtime without a name")?;
        let chosen = |group: Group, name: &str| {
            let text = options.filter.as_deref().unwrap_or_default();
            name.contains(text) || group.to_string().contains(text)
        };
        let mut table = Table {
            total: runtime.count(&chosen),
            ..Table::default()
        };
        table.progress();
        let mut tell = |report| table.add(report);
        let result = runtime.run(&site, Mischief::default(), &chosen, &mut tell);
        Table::clear();
        if let Err(fault) = &result {
            println!("FAILED  {fault}");
        }
        println!("{name}: {}\n", table.summary);
        well &= result.is_ok() && table.summary.failed == 0;
        summaries.push((name, table.summary));
        let scenarios: Vec<Value> = table.reports.iter().map(Report::to_json).collect();
        runs.push(json!({"runtime": name, "fault": result.err(), "scenarios": scenarios}));
        // After each runtime, so that what was found is not lost with a later one.
        if let Some(path) = &options.json {
            let report = json!({"server": site.config.endpoint.to_string(), "runs": runs});
            std::fs::write(path, format!("{report:#}\n"))?;
        }
    }
    for (name, summary) in summaries {
        println!("{name:<14} {summary}");
    }
    Ok(well)
}

/// What has come so far, on the terminal.
#[derive(Default)]
struct Table {
    total: usize,
    summary: Summary,
    reports: Vec<Report>,
}

impl Table {
    fn add(&mut self, report: Report) {
        Self::clear();
        println!("{report}");
        self.summary.add(&report);
        self.reports.push(report);
        self.progress();
    }

    /// How far it is, on a line that the next one replaces.
    fn progress(&self) {
        if std::io::stderr().is_terminal() {
            let done = self.summary.scenarios;
            eprint!("[{done} of {}, {} failed]", self.total, self.summary.failed);
            let _ = std::io::stderr().flush();
        }
    }

    fn clear() {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
