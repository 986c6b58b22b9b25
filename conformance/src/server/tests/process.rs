use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::client::{Client, LIMIT};
use super::{MAPS, config_map, start};
use crate::server::Server;

#[test]
fn requests_need_credentials() {
    let (_server, client) = start();
    let ask = |value: &str| client.request("GET", MAPS, &[("Authorization", value)], b"");
    let body = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}\n";
    let answer = ask("Bearer nope");
    assert_eq!((answer.status, answer.text()), (401, body));
    for value in ["Basic YTpi", "Bearer "] {
        let why = "configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \
            \"\" in the namespace \"default\"";
        ask(value).refused(403, why);
    }
    assert_eq!(ask(&format!("bearer {}", client.token)).status, 200);
    let bad = client.request("GET", "/version", &[("Authorization", "Bearer nope")], b"");
    assert_eq!(
        bad.status, 401,
        "a bad token is refused where none is needed"
    );
}

#[test]
fn a_dropped_server_is_gone() {
    let (server, client) = start();
    client.post(super::PODS, &json!({"metadata": {"name": "busy"}, "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", "while true; do :; done"]}]}})).ok();
    client.phase("busy", "Running");
    let mut idle = TcpStream::connect(server.addr()).unwrap();
    idle.set_read_timeout(Some(LIMIT)).unwrap();
    let _watch = client.open("GET", &format!("{MAPS}?watch=true"), &[], b"");
    let begun = Instant::now();
    drop(server);
    // A container has 30 s to end in, which a dropped server does not wait for.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(client.address).is_err());
}

#[test]
fn connections_are_counted_and_cut() {
    let (server, client) = start();
    client.get("/version");
    let mut watch = client.open("GET", &format!("{MAPS}?watch=true"), &[], b"");
    let stats = server.stats();
    assert_eq!(
        (
            stats.connections_opened,
            stats.http1_requests,
            stats.http2_requests
        ),
        (2, 2, 0)
    );
    assert_eq!(stats.watches_open, 1);
    server.close_connections();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watch.chunk()));
    assert!(broken.is_err(), "there is no proper end");
    let deadline = Instant::now() + LIMIT;
    while server.stats().connections_open > 0 || server.stats().watches_open > 0 {
        assert!(Instant::now() < deadline, "{:?}", server.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn faults_strike_the_next_requests() {
    let (server, client) = start();
    let faults = server.faults();
    faults.fail_next(2, 503, "{\"status\":\"Failure\"}");
    faults.fail_next(1, 429, "slow down");
    assert_eq!(
        (
            client.get(MAPS).status,
            client.get(MAPS).status,
            client.get(MAPS).text().to_owned()
        ),
        (503, 503, "slow down".into())
    );
    assert_eq!(client.get(MAPS).status, 200);
    faults.cut_body_after(10);
    let mut open = client.open("GET", MAPS, &[], b"");
    let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open.chunk()));
    assert!(cut.is_err());
    faults.reset_next();
    assert_eq!(client.open("GET", MAPS, &[], b"").head.status, 0);
    faults.delay_next(Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(client.get(MAPS).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    faults.stall_next();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
}

/// The server's SETTINGS, as identifier and value.
fn settings(mut stream: impl std::io::Read + std::io::Write) -> Vec<(u16, u32)> {
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4);
    let mut payload = vec![0; usize::from(head[2])];
    stream.read_exact(&mut payload).unwrap();
    payload
        .chunks(6)
        .map(|s| {
            (
                u16::from_be_bytes([s[0], s[1]]),
                u32::from_be_bytes([s[2], s[3], s[4], s[5]]),
            )
        })
        .collect()
}

#[test]
fn http2_is_spoken_with_a_real_servers_settings() {
    let (server, _client) = start();
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let settings = settings(stream);
    assert!(
        settings.contains(&(3, 100)) && settings.contains(&(4, 262_144)),
        "{settings:?}"
    );
}

fn tls(
    server: &Server,
    certificate: bool,
    alpn: &[&[u8]],
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(server.ca_pem().unwrap().as_bytes()).unwrap())
        .unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots);
    let mut config = if certificate {
        let (pem, key) = server.client_certificate().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        builder
            .with_client_auth_cert(
                chain,
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let connection =
        rustls::ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

#[test]
fn tls_with_tokens_and_certificates() {
    let server = Server::builder().tls(true).start().unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let ask = |certificate: bool, header: &str| {
        let mut stream = tls(&server, certificate, &[b"http/1.1"]);
        write!(
            stream,
            "GET {MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask(false, ""), "403");
    assert_eq!(
        ask(
            false,
            &format!("Authorization: Bearer {}\r\n", server.token())
        ),
        "200"
    );
    assert_eq!(ask(true, ""), "200");
    assert_eq!(
        ask(true, "Authorization: Bearer nope\r\n"),
        "200",
        "the certificate counts"
    );
    let settings = settings(tls(&server, true, &[b"http/1.1", b"h2"]));
    assert!(settings.contains(&(3, 100)), "h2 wins whatever the order");
    let config = server.kubeconfig();
    assert!(
        config.contains("certificate-authority-data: ")
            && config.contains(&format!("token: {}", server.token()))
    );
    assert!(
        server
            .kubeconfig_with_client_certificate()
            .unwrap()
            .contains("client-key-data: ")
    );
    let plain = Server::builder().http2(false).start().unwrap();
    assert!(plain.ca_pem().is_none() && plain.kubeconfig_with_client_certificate().is_none());
    let client = Client::new(&plain);
    client.post(MAPS, &config_map("a", &json!({}))).ok();
}
