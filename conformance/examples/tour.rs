//! The tour on tokio and on smol.
//!
//! ```text
//! cargo run --example tour                            # both runtimes, against an embedded API server
//! cargo run --example tour -- --runtime smol
//! cargo run --example tour -- --kubeconfig FILE       # a real cluster
//! cargo run --example tour -- --cluster               # the cluster that kubectl uses
//! ```

use std::process::ExitCode;

use kubewire::Error;
use kubewire::config::Config;
use kubewire_conformance::cli::Common;
use kubewire_conformance::tour::{self, Report};
use kubewire_smol::SmolRuntime;
use kubewire_tokio::TokioRuntime;

const RUNTIMES: [&str; 2] = ["tokio", "smol"];

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}\nusage: tour {}", Common::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(report) => {
            println!("tour: {} steps, {} failed", report.steps, report.failed);
            if report.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            let mut source = std::error::Error::source(&*error);
            while let Some(cause) = source {
                eprintln!("because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Common, String> {
    let mut options = Common::new(&RUNTIMES);
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        if !options.take(&argument, &mut rest)? {
            return Err(format!("{argument:?} is not understood"));
        }
    }
    Ok(options)
}

fn run(options: &Common) -> Result<Report, Box<dyn std::error::Error>> {
    let (config, server) = options.connect()?;
    let mut total = Report::default();
    for runtime in &options.runtimes {
        println!("{runtime}, {}:", config.endpoint);
        let report = match *runtime {
            "tokio" => on_tokio(config.clone(), &options.image)?,
            _ => on_smol(config.clone(), &options.image)?,
        };
        total.steps += report.steps;
        total.failed += report.failed;
    }
    if let Some(server) = server {
        println!("embedded server: {:?}", server.stats());
    }
    Ok(total)
}

fn on_tokio(config: Config, image: &str) -> Result<Report, Error> {
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(kubewire::ErrorKind::Transport, "no runtime").with_source(error)
        })?;
    let client = kubewire_tokio::Client::new(config)?;
    Ok(executor.block_on(tour::run(&client, &TokioRuntime::new(), image)))
}

fn on_smol(config: Config, image: &str) -> Result<Report, Error> {
    let client = kubewire_smol::Client::new(config)?;
    Ok(smol::block_on(tour::run(
        &client,
        &SmolRuntime::new(),
        image,
    )))
}
