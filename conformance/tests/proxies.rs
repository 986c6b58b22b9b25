//! Proxies between the client and the server.

use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::config::{Config, ProxyUrl};
use kubewire::{Api, Endpoint, ErrorKind};
use kubewire_conformance::harness::run_pod;
use kubewire_conformance::peers::Peer;
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    calls_and_sessions_go_through_an_http_proxy,
    calls_and_sessions_go_through_a_socks_proxy,
    tls_goes_through_a_proxy,
    tls_goes_through_a_proxy_over_tls,
    a_proxy_over_tls_of_an_unknown_authority_is_refused,
    a_proxy_that_refuses_is_asked_once,
);

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn client<R: Drive>(server: &Server, proxy: &str, runtime: R) -> Client<R> {
    let mut config = Config::new(Endpoint::parse(&server.url()).expect("a URL"))
        .token(server.token())
        .proxy_url(ProxyUrl::parse(proxy).expect("a proxy URL"));
    if let Some(ca) = server.ca_pem() {
        config = config.ca_pem(ca);
    }
    Client::builder(config, runtime).build().expect("a client")
}

async fn calls_and_exec<R: Drive>(client: &Client<R>) {
    client.send(maps().list()).await.expect("a list");
    run_pod(client, "a", "sleep 60").await;
    let exec = Api::<k8s_openapi::api::core::v1::Pod>::namespaced("default")
        .exec("a")
        .command(["echo", "hello"]);
    let process = client.open(exec).await.expect("a session");
    let output = process.output(b"").await.expect("output");
    assert_eq!(output.stdout.as_slice(), b"hello\n");
}

async fn calls_and_sessions_go_through_an_http_proxy<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let url = format!("http://me:secret@{}", proxy.address());
    calls_and_exec(&client(server, &url, runtime)).await;
    let line = format!("CONNECT {} HTTP/1.1", server.addr());
    let received = proxy.received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|request| request.line == line));
}

async fn calls_and_sessions_go_through_a_socks_proxy<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let proxy = Peer::socks_proxy().expect("a proxy");
    let url = format!("socks5://{}", proxy.address());
    calls_and_exec(&client(server, &url, runtime)).await;
    assert!(proxy.received().len() >= 2);
}

async fn tls_goes_through_a_proxy<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let server = Server::builder().tls(true).start().expect("a server");
    let proxy = Peer::socks_proxy().expect("a proxy");
    let url = format!("socks5://{}", proxy.address());
    calls_and_exec(&client(&server, &url, runtime)).await;
    assert!(proxy.received().len() >= 2);
}

/// TLS to the proxy, CONNECT with the credentials of its URL, and TLS to the server inside.
async fn tls_goes_through_a_proxy_over_tls<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let server = Server::builder().tls(true).start().expect("a server");
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    // A certificate of the cluster's authority, as the proxy needs it.
    let config = server.tls_config().expect("a certificate");
    let proxy = proxy.behind_tls(config).expect("a proxy over TLS");
    let url = format!("https://me:secret@{}", proxy.address());
    calls_and_exec(&client(&server, &url, runtime)).await;
    let line = format!("CONNECT {} HTTP/1.1", server.addr());
    let received = proxy.received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|request| request.line == line));
    assert!(server.stats().http2_requests > 0);
}

async fn a_proxy_over_tls_of_an_unknown_authority_is_refused<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    let server = Server::builder().tls(true).start().expect("a server");
    let other = Server::builder().tls(true).start().expect("a server");
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let config = other.tls_config().expect("a certificate");
    let proxy = proxy.behind_tls(config).expect("a proxy over TLS");
    let url = format!("https://me:secret@{}", proxy.address());
    let client = client(&server, &url, runtime);
    let error = client.send(maps().list()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Transport);
    let text = format!("{error} {error:?}");
    assert!(text.contains("TLS with the proxy"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(proxy.received().is_empty());
}

async fn a_proxy_that_refuses_is_asked_once<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let url = format!("http://me:wrong@{}", proxy.address());
    let client = client(server, &url, runtime);
    let error = client.send(maps().list()).await.expect_err("refused");
    assert_ne!(error.kind(), ErrorKind::Api);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("wrong") && !text.contains("bWU6"), "{text}");
    assert_eq!(proxy.received().len(), 1);
}
