//! Proxies between the client and the server.

use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::ErrorKind;
use kubewire::config::ProxyUrl;
use kubewire_driver::{Client, Drive};

use super::Need::{Embedded, Node, Tls};
use super::pods::{run_pod, sh};
use super::{Calls, Env};
use crate::peers::Peer;
use crate::server::Server;

driven! { Auth;
    calls_and_sessions_go_through_an_http_proxy: Node;
    calls_and_sessions_go_through_a_socks_proxy: Node;
    tls_goes_through_a_proxy_over_tls: Embedded, Tls;
    a_proxy_over_tls_of_an_unknown_authority_is_refused: Embedded, Tls;
    a_proxy_that_refuses_is_asked_once;
}

fn client<R: Drive>(env: &Env<R>, proxy: &str) -> Client<R> {
    let proxy = ProxyUrl::parse(proxy).expect("a proxy URL");
    let config = env.place().config().proxy_url(proxy);
    env.builder_with(config).build().expect("a client")
}

async fn calls_and_exec<R: Drive>(env: &Env<R>, client: &Client<R>) {
    client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    run_pod(env, "box", "sleep 60").await;
    let process = client.open(sh(env, "echo hello")).await;
    let output = process.expect("a session").output(b"").await;
    assert_eq!(output.expect("output").stdout, b"hello\n");
}

async fn calls_and_sessions_go_through_an_http_proxy<R: Drive>(env: &Env<R>) {
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let url = format!("http://me:secret@{}", proxy.address());
    calls_and_exec(env, &client(env, &url)).await;
    let endpoint = env.place().config().endpoint;
    let line = format!("CONNECT {}:{} HTTP/1.1", endpoint.host(), endpoint.port());
    let received = proxy.received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|request| request.line == line));
}

async fn calls_and_sessions_go_through_a_socks_proxy<R: Drive>(env: &Env<R>) {
    let proxy = Peer::socks_proxy().expect("a proxy");
    let url = format!("socks5://{}", proxy.address());
    calls_and_exec(env, &client(env, &url)).await;
    assert!(proxy.received().len() >= 2);
}

/// TLS to the proxy, CONNECT with the credentials of its URL, and TLS to the server inside.
async fn tls_goes_through_a_proxy_over_tls<R: Drive>(env: &Env<R>) {
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    // A certificate of the cluster's authority, as the proxy needs it.
    let config = env.server().tls_config().expect("a certificate");
    let proxy = proxy.behind_tls(config).expect("a proxy over TLS");
    let url = format!("https://me:secret@{}", proxy.address());
    calls_and_exec(env, &client(env, &url)).await;
    let line = format!("CONNECT {} HTTP/1.1", env.server().addr());
    let received = proxy.received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|request| request.line == line));
    assert!(env.server().stats().http2_requests > 0);
}

async fn a_proxy_over_tls_of_an_unknown_authority_is_refused<R: Drive>(env: &Env<R>) {
    let other = Server::builder().tls(true).start().expect("a server");
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let config = other.tls_config().expect("a certificate");
    let proxy = proxy.behind_tls(config).expect("a proxy over TLS");
    let url = format!("https://me:secret@{}", proxy.address());
    let client = client(env, &url);
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Transport);
    let text = format!("{error} {error:?}");
    assert!(text.contains("TLS with the proxy"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(proxy.received().is_empty());
}

async fn a_proxy_that_refuses_is_asked_once<R: Drive>(env: &Env<R>) {
    let proxy = Peer::connect_proxy("Basic bWU6c2VjcmV0").expect("a proxy");
    let url = format!("http://me:wrong@{}", proxy.address());
    let client = client(env, &url);
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("refused");
    assert_ne!(error.kind(), ErrorKind::Api);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("wrong") && !text.contains("bWU6"), "{text}");
    assert_eq!(proxy.received().len(), 1);
}
