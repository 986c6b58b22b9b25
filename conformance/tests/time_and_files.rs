//! Authorities that come from the system, and from files that change.

use std::cell::Cell;
use std::io;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::config::Config;
use kubewire::{Api, Endpoint, Error, Patch};
use kubewire_conformance::harness::{
    Ahead, Harness, Local, LocalRuntime, Scratch, Smol, TokioMulti,
};
use kubewire_conformance::server::Server;
use kubewire_driver::Client;

const URL: &str = "KUBEWIRE_TEST_URL";
const TOKEN: &str = "KUBEWIRE_TEST_TOKEN";

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn start() -> Server {
    let server = Server::builder().tls(true).start();
    server.expect("the server starts")
}

/// Runs the test below in a process of its own, since the environment is the process's. Whether it succeeded.
fn trusts(server: &Server, variable: &str, value: &std::path::Path) -> bool {
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program)
        .args(["--exact", "calls_without_an_authority", "--ignored"])
        .env(URL, server.url())
        .env(TOKEN, server.token())
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env(variable, value)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "{text}");
    output.status.success()
}

#[test]
fn without_an_authority_those_of_the_system_count() {
    let dir = Scratch::new();
    let (server, other) = (start(), start());
    let file = dir.join("ca.pem");
    std::fs::write(&file, server.ca_pem().expect("an authority")).expect("a file");
    assert!(trusts(&server, "SSL_CERT_FILE", &file));
    assert!(trusts(&server, "SSL_CERT_DIR", &dir));
    assert!(!trusts(&other, "SSL_CERT_FILE", &file));
}

#[test]
#[ignore = "a part of another test, which sets the environment for it"]
fn calls_without_an_authority() {
    let variable = |name| std::env::var(name).expect("the other test sets it");
    let config = Config::new(Endpoint::parse(&variable(URL)).expect("a URL"));
    let config = config.token(variable(TOKEN));
    TokioMulti::run(async |runtime| {
        let client = Client::builder(config.clone(), runtime).build();
        let list = client.expect("there are roots").send(maps().list()).await;
        list.expect("the server is trusted");
    });
    Smol::run(async |runtime| {
        let client = Client::builder(config, runtime).build();
        let list = client.expect("there are roots").send(maps().list()).await;
        list.expect("the server is trusted");
    });
}

#[test]
fn files_are_read_again_for_new_connections_once_a_minute() -> io::Result<()> {
    let dir = Scratch::new();
    let server = start();
    let (ca, certificate, key) = (dir.join("ca"), dir.join("crt"), dir.join("key"));
    let other = start();
    std::fs::write(&ca, other.ca_pem().expect("an authority"))?;
    let issue = || -> io::Result<()> {
        let (pem, private) = server.issue_certificate().expect("a certificate");
        std::fs::write(&certificate, pem)?;
        std::fs::write(&key, private)
    };
    issue()?;
    let endpoint = Endpoint::parse(&server.url()).expect("a URL");
    let config = Config::new(endpoint)
        .ca_file(&ca)
        .client_files(&certificate, &key);
    Local::run(async |runtime| {
        let runtime = Ahead::new(runtime);
        let by = runtime.by();
        let client = Client::builder(config, runtime).build().expect("a client");
        let list = async || client.send(maps().list()).await;
        list().await.expect_err("another authority");

        // The cluster's authority is replaced.
        std::fs::write(&ca, server.ca_pem().expect("an authority"))?;
        list().await.expect_err("the file was read just now");
        by.set(Duration::from_secs(61));
        list().await.expect("the authority of the file");
        assert_eq!(server.certificates_seen(), 1);

        // So is the client's certificate, and what is in the file in between is of no use.
        std::fs::write(&certificate, "-----BEGIN")?;
        by.set(Duration::from_secs(122));
        server.close_connections();
        list().await.expect("the certificate from before");
        assert_eq!(server.certificates_seen(), 1);
        issue()?;
        by.set(Duration::from_secs(183));
        server.close_connections();
        list().await.expect("the certificate of the file");
        assert_eq!(server.certificates_seen(), 2);
        Ok(())
    })
}

/// A server that wants certificates, files with one, what issues the next one into them, and a client that shows it.
struct Rotation {
    server: Server,
    dir: Scratch,
    by: Rc<Cell<Duration>>,
    client: Client<Ahead>,
}

impl Rotation {
    fn new(http2: bool, runtime: LocalRuntime) -> Self {
        let builder = Server::builder().http2(http2);
        let server = builder.require_client_certificate(true).start();
        let server = server.expect("the server starts");
        let dir = Scratch::new();
        issue(&server, &dir);
        let endpoint = Endpoint::parse(&server.url()).expect("a URL");
        let config = Config::new(endpoint)
            .ca_pem(server.ca_pem().expect("an authority"))
            .client_files(dir.join("crt"), dir.join("key"));
        let runtime = Ahead::new(runtime);
        let by = runtime.by();
        let client = Client::builder(config, runtime).build().expect("a client");
        Self {
            server,
            dir,
            by,
            client,
        }
    }

    fn issue(&self) {
        issue(&self.server, &self.dir);
    }

    async fn list(&self) -> Result<(), Error> {
        self.client.send(maps().list()).await.map(drop)
    }

    /// How many connections and certificates the server has seen.
    fn seen(&self) -> (u64, usize) {
        let opened = self.server.stats().connections_opened;
        (opened, self.server.certificates_seen())
    }
}

fn issue(server: &Server, dir: &Scratch) {
    let (pem, private) = server.issue_certificate().expect("a certificate");
    std::fs::write(dir.join("crt"), pem).expect("a file");
    std::fs::write(dir.join("key"), private).expect("a file");
}

/// A connection over HTTP/2 may live for longer than the certificate that it has shown.
#[test]
fn a_certificate_of_a_file_that_changes_is_shown_by_new_connections_only() {
    for http2 in [false, true] {
        Local::run(async |runtime| {
            let rotation = Rotation::new(http2, runtime);
            let map: ConfigMap = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "a"},
            }))
            .expect("a map");
            let created = rotation.client.send(maps().create(&map)).await;
            created.expect("a map");
            let watch = maps().watch().fields("metadata.name=a");
            let mut watch = rotation.client.stream(watch);
            let event = watch.next().await.expect("an event");
            event.expect("which decodes");
            rotation.list().await.expect("a list");
            let opened = if http2 { 1 } else { 2 };
            assert_eq!(rotation.seen(), (opened, 1));

            rotation.issue();
            rotation.list().await.expect("a list");
            assert_eq!(rotation.seen(), (opened, 1), "they were read just now");
            rotation.by.set(Duration::from_secs(61));
            rotation.list().await.expect("a list");
            assert_eq!(rotation.seen(), (opened + 1, 2));
            rotation.by.set(Duration::from_secs(122));
            rotation.list().await.expect("a list");
            assert_eq!(rotation.seen(), (opened + 1, 2), "nothing has changed");

            // The old connection goes on for as long as there is something on it.
            let change = Patch::merge(&serde_json::json!({"data": {"k": "v"}}));
            let patched = rotation.client.send(maps().patch("a", change)).await;
            patched.expect("a change");
            let event = watch.next().await.expect("an event");
            event.expect("which decodes");
        });
    }
}

#[test]
fn after_a_401_the_certificate_is_looked_at_at_once() {
    for http2 in [false, true] {
        Local::run(async |runtime| {
            let rotation = Rotation::new(http2, runtime);
            let faults = rotation.server.faults();
            rotation.list().await.expect("a list");
            assert_eq!(rotation.seen(), (1, 1));

            faults.fail_next(1, 401, "{}");
            let error = rotation.list().await.expect_err("the same certificate");
            assert_eq!(error.code(), Some(StatusCode::UNAUTHORIZED));
            assert_eq!(rotation.seen(), (1, 1));

            rotation.issue();
            faults.fail_next(1, 401, "{}");
            rotation.list().await.expect("with the other one");
            assert_eq!(rotation.seen(), (2, 2));

            rotation.issue();
            faults.fail_next(2, 401, "{}");
            let error = rotation.list().await.expect_err("refused again");
            assert_eq!(error.code(), Some(StatusCode::UNAUTHORIZED));
            assert_eq!(rotation.seen(), (3, 3));
        });
    }
}

/// Nobody says so when a NAT on the way has forgotten a connection.
#[test]
fn a_connection_without_a_request_is_not_kept_for_ever() {
    let server = Server::start().expect("the server starts");
    let config = Config::new(Endpoint::parse(&server.url()).expect("a URL"));
    let config = config.token(server.token());
    Local::run(async |runtime| {
        let runtime = Ahead::new(runtime);
        let by = runtime.by();
        let client = Client::builder(config, runtime).build().expect("a client");
        for (seconds, opened) in [(0, 1), (60, 1), (120, 1), (220, 2)] {
            by.set(Duration::from_secs(seconds));
            client.send(maps().list()).await.expect("a list");
            assert_eq!(server.stats().connections_opened, opened, "{seconds}");
        }
    });
}
