//! Answers to an upgrade.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use std::time::Duration;

use http::response::Parts;
use kubewire::channel::{STDOUT, Subprotocol};
use kubewire::session::{Answer, Exec, Handshake, PortForward, Session, Streams, Upgrade};
use kubewire::{Error, ErrorKind, Limits};
use session_support::{head, message, read, start};

const URI: &str = "/api/v1/namespaces/a/pods/b/exec?command=id&stdout=true";
/// The example of RFC 6455 1.3.
const KEY: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn upgrade() -> Upgrade<Exec> {
    Upgrade::new(URI.parse().unwrap(), Exec::new(Streams::new().stdout()))
}

fn handshake() -> Handshake<Exec> {
    upgrade().begin(KEY, &Limits::default()).1
}

/// A good answer, but for these headers (an empty one is left out).
fn switched(changes: &[(&str, &str)]) -> Parts {
    let mut headers = vec![
        ("connection", "keep-alive, upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ];
    headers.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    headers.extend(changes.iter().filter(|(_, value)| *value != "-"));
    head(101, &headers)
}

fn answer(head: &Parts, body: &[&[u8]]) -> Result<Session<Exec>, Error> {
    let mut handshake = handshake();
    let answer = handshake.handle_head(head);
    for chunk in body {
        handshake.handle_data(chunk);
    }
    let session = handshake.finish(start());
    if let Err(error) = answer {
        let repeated = session.unwrap_err();
        assert_eq!(repeated.to_string(), error.to_string());
        return Err(error);
    }
    session
}

#[test]
fn the_request() {
    let mut upgrade = upgrade();
    upgrade
        .request_mut()
        .headers_mut()
        .insert("impersonate-user", "jane".parse().unwrap());
    let (request, _) = upgrade.begin(KEY, &Limits::default());
    assert_eq!(request.method(), "GET");
    assert_eq!(request.uri(), URI);
    assert!(request.body().is_empty());
    let mut headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    // No Accept: the node would answer 406.
    assert_eq!(
        headers,
        [
            "connection: Upgrade",
            "impersonate-user: jane",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-protocol: v5.channel.k8s.io, v4.channel.k8s.io",
            "sec-websocket-version: 13",
            "upgrade: websocket",
        ]
    );
    let forward = Upgrade::new(URI.parse().unwrap(), PortForward::new([80]).unwrap());
    let (request, _) = forward.begin(KEY, &Limits::default());
    assert_eq!(
        request.headers()["sec-websocket-protocol"],
        "v4.channel.k8s.io"
    );
}

#[test]
fn switched_to_either_version() {
    for (name, version) in [
        ("v5.channel.k8s.io", Subprotocol::V5),
        ("v4.channel.k8s.io", Subprotocol::V4),
    ] {
        let head = switched(&[("sec-websocket-protocol", name)]);
        assert_eq!(handshake().handle_head(&head).unwrap(), Answer::Switched);
        let mut session = answer(&head, &[]).unwrap();
        assert_eq!(session.subprotocol(), version);
        // What came in the same read as the head is the first input.
        session
            .handle_input(&message(1, b"early"), start())
            .unwrap();
        assert_eq!(read(&mut session, STDOUT), b"early");
    }
}

#[test]
fn answers_that_break_the_rules() {
    for (changes, named) in [
        (&[("sec-websocket-accept", "-")][..], "Sec-WebSocket-Accept"),
        (
            &[("sec-websocket-accept", "dGhlIHNhbXBsZSBub25jZQ==")],
            "Sec-WebSocket-Accept",
        ),
        (&[("upgrade", "-")], "WebSocket"),
        (&[("upgrade", "SPDY/3.1")], "WebSocket"),
        (&[("connection", "close")], "WebSocket"),
        (
            &[("sec-websocket-extensions", "permessage-deflate")],
            "extension",
        ),
        (&[("sec-websocket-protocol", "-")], "no subprotocol"),
        (&[("sec-websocket-protocol", "")], "no subprotocol"),
        (
            &[("sec-websocket-protocol", "v4.base64.channel.k8s.io")],
            "v4.base64",
        ),
        (
            &[
                ("sec-websocket-protocol", "v5.channel.k8s.io"),
                ("sec-websocket-protocol", "v4.channel.k8s.io"),
            ],
            "several",
        ),
    ] {
        let error = answer(&switched(changes), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Peer, "{changes:?}");
        assert!(error.to_string().contains(named), "{changes:?}: {error}");
    }
    for status in [100, 102, 200, 204] {
        let error = answer(&head(status, &[]), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Peer);
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[test]
fn refusals_keep_what_the_server_said() {
    let error = answer(&head(403, &[]), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Api);
    assert!(error.is_forbidden() && error.status().is_none());

    let body: [&[u8]; 2] = [
        br#"{"kind":"Status","status":"Failure","reason":"NotFound","#,
        br#""message":"pods \"b\" not found","code":404}"#,
    ];
    let error = answer(&head(404, &[("audit-id", "a-1")]), &body).unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.audit_id(), Some("a-1"));
    assert_eq!(error.to_string(), "404 NotFound: pods \"b\" not found");

    let text = b"you must specify at least 1 of stdin, stdout, stderr\n";
    let error = answer(&head(400, &[]), &[text]).unwrap_err();
    assert_eq!(error.body().unwrap(), &text[..]);
    assert_eq!(error.code().unwrap(), 400);

    let error = answer(&head(429, &[("retry-after", "60")]), &[b"throttled"]).unwrap_err();
    assert!(error.is_too_many_requests());
    assert_eq!(error.retry_after(), Some(Duration::from_mins(1)));

    let error = answer(&head(302, &[("location", "https://elsewhere")]), &[]).unwrap_err();
    assert_eq!(error.code().unwrap(), 302);
}

#[test]
fn the_body_of_a_refusal_is_capped() {
    let chunk = [b'x'; 1000];
    let error = answer(&head(502, &[]), &vec![&chunk[..]; 100]).unwrap_err();
    assert_eq!(error.body().unwrap().len(), 64 << 10);
}

#[test]
fn calls_in_the_wrong_order() {
    let mut early = handshake();
    early.handle_data(b"ignored");
    assert_eq!(
        early.finish(start()).unwrap_err().kind(),
        ErrorKind::Truncated
    );
    let mut twice = handshake();
    twice.handle_head(&switched(&[])).unwrap();
    let error = twice.handle_head(&head(404, &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn debug_shows_neither_command_nor_credentials() {
    let uri = "/api/v1/namespaces/a/pods/b/exec?command=hunter2";
    let exec = Exec::new(Streams::new().stdout());
    let mut upgrade = Upgrade::new(uri.parse().unwrap(), exec);
    let headers = upgrade.request_mut().headers_mut();
    headers.insert("authorization", "Bearer hunter2".parse().unwrap());
    assert!(!format!("{upgrade:?}").contains("hunter2"));
    let (_, mut handshake) = upgrade.begin(KEY, &Limits::default());
    handshake.handle_head(&head(500, &[])).unwrap();
    handshake.handle_data(b"hunter2");
    assert!(!format!("{handshake:?}").contains("hunter2"));
}
