//! Other clients of the embedded server: programs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::Scratch;
use crate::server::Server;

/// A server that speaks TLS, and a home with a kubeconfig for it.
#[derive(Debug)]
pub struct Interop {
    home: Scratch,
    kubeconfig: PathBuf,
    _server: Server,
}

impl Interop {
    /// Starts the server.
    ///
    /// # Panics
    ///
    /// If that is not possible here.
    #[must_use]
    pub fn start() -> Self {
        let server = Server::builder().tls(true).start();
        let server = server.expect("the server starts");
        let home = Scratch::new();
        let kubeconfig = home.join("config");
        std::fs::write(&kubeconfig, server.kubeconfig()).expect("the kubeconfig is written");
        Self {
            home,
            kubeconfig,
            _server: server,
        }
    }

    /// The program's home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The kubeconfig, which is in `KUBECONFIG` too.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A program that finds the server; its input and outputs are pipes.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// What a program printed that ends in time. It has to fit into a pipe.
///
/// # Panics
///
/// If the program does not end.
#[must_use]
pub fn output(mut child: Child, patience: Duration) -> Output {
    let deadline = Instant::now() + patience;
    let mut hangs = false;
    while !hangs && child.try_wait().expect("its status").is_none() {
        hangs = Instant::now() > deadline;
        std::thread::sleep(Duration::from_millis(10));
    }
    if hangs {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("its output");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!hangs, "the program hangs: {errors}");
    output
}
