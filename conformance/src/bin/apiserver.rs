//! Runs the embedded API server for people and other programs: `apiserver [--tls] [--kubeconfig PATH] [--for SECONDS]`.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use kubewire_conformance::server::Server;

const USAGE: &str = "usage: apiserver [--tls] [--kubeconfig PATH] [--for SECONDS]

Prints the URL and the bearer token, then runs until standard input ends, or for SECONDS.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut tls = false;
    let mut kubeconfig = None;
    let mut seconds = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--tls" => tls = true,
            "--kubeconfig" => kubeconfig = Some(arguments.next().ok_or(USAGE)?),
            "--for" => {
                let text = arguments.next().ok_or(USAGE)?;
                seconds = Some(text.parse::<u64>().map_err(|_| USAGE)?);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            _ => return Err(USAGE.into()),
        }
    }
    let server = Server::builder()
        .tls(tls)
        .start()
        .map_err(|e| format!("cannot start: {e}"))?;
    println!("url: {}", server.url());
    println!("token: {}", server.token());
    if let Some(path) = kubeconfig {
        std::fs::write(&path, server.kubeconfig())
            .map_err(|e| format!("cannot write {path}: {e}"))?;
        println!("kubeconfig: {path}");
    }
    if let Some(seconds) = seconds {
        std::thread::sleep(Duration::from_secs(seconds));
    } else {
        let mut sink = [0; 4096];
        let mut input = std::io::stdin().lock();
        while input.read(&mut sink).is_ok_and(|n| n > 0) {}
    }
    Ok(())
}
