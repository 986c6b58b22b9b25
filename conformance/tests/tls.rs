//! Who trusts whom: what goes wrong with certificates is told at once, and in words.

use std::error::Error as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::config::Config;
use kubewire::{Api, Endpoint, Error, ErrorKind};
use kubewire_conformance::harness::within;
use kubewire_conformance::server::{Certificate, Server};
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};
use kubewire_tokio::TokioRuntime;

suite!(
    a_server_of_an_unknown_authority_is_refused,
    a_server_of_another_name_is_refused,
    an_expired_server_certificate_is_told_as_such,
    a_server_that_wants_a_client_certificate_says_so,
    verification_can_be_switched_off,
    a_servers_own_certificate_does_as_authority,
);

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn start(builder: kubewire_conformance::server::Builder) -> Server {
    builder.tls(true).start().expect("the server starts")
}

fn config(server: &Server) -> Config {
    Config::new(Endpoint::parse(&server.url()).expect("a URL")).token(server.token())
}

fn trusting(server: &Server) -> Config {
    config(server).ca_pem(server.ca_pem().expect("an authority"))
}

fn client<R: Drive>(config: Config, runtime: &R) -> Client<R> {
    let client = Client::builder(config, runtime.clone()).build();
    client.expect("the client is configured")
}

/// An error and its causes, as a program would print them.
fn story(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Calls and sessions fail for this reason, at the first attempt.
async fn is_refused<R: Drive>(server: &Server, config: Config, runtime: &R, reason: &str) {
    let client = client(config, runtime);
    let opened = server.stats().connections_opened;
    let error = client.send(maps().list()).await.expect_err("no list");
    let text = story(&error);
    assert_eq!(error.kind(), ErrorKind::Transport, "{text}");
    assert!(text.contains("TLS with") && text.contains(reason), "{text}");
    assert_eq!(server.stats().connections_opened, opened + 1, "{text}");

    let exec = Api::<Pod>::namespaced("default")
        .exec("a")
        .command(["true"]);
    let error = client.open(exec).await.expect_err("no session");
    let text = story(&error);
    assert_eq!(error.kind(), ErrorKind::Transport, "{text}");
    assert!(text.contains(reason), "{text}");
    assert_eq!(server.stats().connections_opened, opened + 2, "{text}");
    assert_eq!(
        server.stats().http1_requests + server.stats().http2_requests,
        0
    );
}

async fn a_server_of_an_unknown_authority_is_refused<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    let server = start(Server::builder());
    let other = start(Server::builder().certificate(Certificate::SelfSigned));
    let config = config(&server).ca_pem(other.ca_pem().expect("an authority"));
    is_refused(&server, config, &runtime, "UnknownIssuer").await;
}

async fn a_server_of_another_name_is_refused<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let server = start(Server::builder().certificate(Certificate::OtherName));
    is_refused(&server, trusting(&server), &runtime, "other.example").await;
    let config = trusting(&server).tls_server_name("other.example");
    let list = client(config, &runtime).send(maps().list()).await;
    list.expect("that is its name");
}

async fn an_expired_server_certificate_is_told_as_such<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    let server = start(Server::builder().certificate(Certificate::Expired));
    is_refused(&server, trusting(&server), &runtime, "certificate expired").await;
}

/// In TLS 1.3 the server's alert comes after the client's handshake, and perhaps after its first request.
async fn a_server_that_wants_a_client_certificate_says_so<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    for http2 in [false, true] {
        let builder = Server::builder().http2(http2);
        let server = start(builder.require_client_certificate(true));
        let none = trusting(&server);
        is_refused(&server, none, &runtime, "CertificateRequired").await;

        let other = start(Server::builder());
        let (certificate, key) = other.client_certificate().expect("a certificate");
        let wrong = trusting(&server).client_pem(certificate, key);
        is_refused(&server, wrong, &runtime, "received fatal alert").await;

        let (certificate, key) = server.client_certificate().expect("a certificate");
        let right = trusting(&server).client_pem(certificate, key);
        let list = client(right, &runtime).send(maps().list()).await;
        list.expect("the server knows its own");
    }
}

async fn verification_can_be_switched_off<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    for certificate in [Certificate::Expired, Certificate::OtherName] {
        let server = start(Server::builder().certificate(certificate));
        let config = config(&server).dangerous_insecure_skip_tls_verify(true);
        let list = client(config, &runtime).send(maps().list()).await;
        list.expect("anybody will do");
    }
}

/// As in Go, if it is good in every other way.
async fn a_servers_own_certificate_does_as_authority<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    let pinning = |server: &Server, pinned: &Server| {
        config(server).ca_pem(pinned.certificate_pem().expect("a certificate"))
    };
    for certificate in [Certificate::Good, Certificate::SelfSigned] {
        let server = start(Server::builder().certificate(certificate));
        let pinned = client(pinning(&server, &server), &runtime);
        let list = pinned.send(maps().list()).await;
        list.expect("that is its certificate");
        let named = pinning(&server, &server).tls_server_name("other.example");
        let error = client(named, &runtime).send(maps().list()).await;
        let text = story(&error.expect_err("not its name"));
        assert!(text.contains("other.example"), "{text}");
    }
    for (certificate, reason) in [
        (Certificate::Expired, "certificate expired"),
        (Certificate::OtherName, "other.example"),
    ] {
        let server = start(Server::builder().certificate(certificate));
        is_refused(&server, pinning(&server, &server), &runtime, reason).await;
    }
    let (server, other) = (start(Server::builder()), start(Server::builder()));
    let config = pinning(&server, &other);
    is_refused(&server, config, &runtime, "invalid peer certificate").await;
}

/// The timer of HTTP/2's pings begins where the call is polled, which is not always within tokio.
#[test]
fn http2_needs_no_more_of_tokio_than_a_handle() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("tokio starts");
    let server = start(Server::builder());
    let runtime = TokioRuntime::with_handle(tokio.handle().clone());
    let client = client(trusting(&server), &runtime);
    let calls = async {
        for _ in 0..2 {
            client.send(maps().list()).await.expect("a list");
        }
    };
    let done = ::smol::block_on(within(&runtime, Duration::from_secs(30), calls));
    done.expect("the calls hang");
    let stats = server.stats();
    assert_eq!((stats.http2_requests, stats.connections_opened), (2, 1));
}
