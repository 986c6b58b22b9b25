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
use kubewire::config::{Config, Overrides};
use kubewire_conformance::server::Server;
use kubewire_conformance::tour::{self, Report};
use kubewire_smol::SmolRuntime;
use kubewire_tokio::TokioRuntime;

const USAGE: &str = "usage: tour [--runtime tokio|smol] [--kubeconfig FILE | --cluster] [--context NAME] [--image IMAGE]";

struct Options {
    runtimes: Vec<String>,
    kubeconfig: Option<String>,
    cluster: bool,
    overrides: Overrides,
    image: String,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}\n{USAGE}");
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

fn options() -> Result<Options, String> {
    let mut options = Options {
        runtimes: vec!["tokio".to_owned(), "smol".to_owned()],
        kubeconfig: None,
        cluster: false,
        overrides: Overrides::default(),
        image: "busybox:stable".to_owned(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--runtime" => {
                let name = value()?;
                if !matches!(name.as_str(), "tokio" | "smol") {
                    return Err(format!("there is no runtime {name:?}"));
                }
                options.runtimes = vec![name];
            }
            "--kubeconfig" => options.kubeconfig = Some(value()?),
            "--cluster" => options.cluster = true,
            "--context" => options.overrides.context = Some(value()?),
            "--image" => options.image = value()?,
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<Report, Box<dyn std::error::Error>> {
    let (server, config) = if let Some(path) = &options.kubeconfig {
        (
            None,
            kubewire_driver::load::from_file(path, options.overrides.clone())?,
        )
    } else if options.cluster {
        (
            None,
            kubewire_driver::load::infer_with(options.overrides.clone())?,
        )
    } else {
        let (server, config) = embedded()?;
        (Some(server), config)
    };
    let mut total = Report::default();
    for runtime in &options.runtimes {
        println!("{runtime}, {}:", config.endpoint);
        let report = match runtime.as_str() {
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

/// A server with TLS, and a client certificate for it: what a real cluster looks like.
fn embedded() -> Result<(Server, Config), Box<dyn std::error::Error>> {
    let server = Server::builder().tls(true).start()?;
    let text = server
        .kubeconfig_with_client_certificate()
        .ok_or("the server has no client certificate")?;
    let kubeconfig = kubewire::config::Kubeconfig::parse(text.as_bytes(), "embedded".as_ref())?;
    Ok((server, kubeconfig.resolve(&Overrides::default())?))
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
