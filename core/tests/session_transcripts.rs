//! Replays sessions that were recorded from Kubernetes v1.36: the handshake with its real key, then
//! the server's frames cut in every way.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use std::path::Path;

use base64::Engine as _;
use kubewire::channel::Subprotocol;
use kubewire::session::{Answer, Attach, Exec, PortForward, Protocol, Session, Streams, Upgrade};
use kubewire::{Error, ErrorKind, Limits};
use serde_json::Value;
use session_support::{BINARY, CLOSE, PING, PONG, any_cut, frame, start};

#[expect(clippy::disallowed_methods, reason = "the recordings are files")]
fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/session_transcripts")
        .join(name)
        .with_extension("json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn headers(value: &Value) -> Vec<(&str, &str)> {
    let pairs = value["headers"].as_array().unwrap().iter();
    pairs
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect()
}

fn streams(target: &str) -> Streams {
    let mut streams = Streams::new();
    for parameter in target.split(['?', '&']) {
        streams = match parameter {
            "stdin=true" => streams.stdin(),
            "stdout=true" => streams.stdout(),
            "stderr=true" => streams.stderr(),
            "tty=true" => streams.tty(),
            _ => streams,
        };
    }
    streams
}

fn ports(target: &str) -> Vec<u16> {
    target
        .split(['?', '&'])
        .filter_map(|parameter| parameter.strip_prefix("ports="))
        .flat_map(|list| list.split(','))
        .map(|port| port.parse().unwrap())
        .collect()
}

fn shake<P: Protocol>(transcript: &Value, protocol: P) -> Result<Session<P>, Error> {
    let (request, response) = (
        &transcript["handshake"]["request"],
        &transcript["handshake"]["response"],
    );
    let key = headers(request)
        .into_iter()
        .find(|(name, _)| *name == "Sec-WebSocket-Key");
    let key = base64::engine::general_purpose::STANDARD
        .decode(key.unwrap().1)
        .unwrap();
    let uri = request["target"].as_str().unwrap().parse().unwrap();
    let (_, mut handshake) =
        Upgrade::new(uri, protocol).begin(key.try_into().unwrap(), &Limits::default());
    let mut head = http::Response::builder()
        .status(u16::try_from(response["status"].as_u64().unwrap()).unwrap());
    for (name, value) in headers(response) {
        head = head.header(name, value);
    }
    let (head, ()) = head.body(()).unwrap().into_parts();
    let answer = handshake.handle_head(&head);
    if let Ok(Answer::Refused) = answer {
        for chunk in response["chunks"].as_array().unwrap() {
            handshake.handle_data(chunk["text"].as_str().unwrap().as_bytes());
        }
    }
    let session = handshake.finish(start());
    match (&answer, &session) {
        (Ok(Answer::Switched), Ok(_)) | (Ok(Answer::Refused) | Err(_), Err(_)) => session,
        other => panic!("{other:?}"),
    }
}

/// What the server sent: the bytes, and the data of each channel.
fn server(transcript: &Value) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut wire = Vec::new();
    let mut data = vec![Vec::new(); 256];
    let mut closed = false;
    for recorded in transcript["frames"].as_array().unwrap() {
        if recorded["from"] != "server" {
            continue;
        }
        let payload = hex(recorded["payload_hex"].as_str().unwrap());
        let opcode = match recorded["opcode"].as_str().unwrap() {
            "binary" => BINARY,
            "close" => CLOSE,
            "ping" => PING,
            "pong" => PONG,
            other => panic!("{other}"),
        };
        if opcode == BINARY && !closed {
            data[usize::from(payload[0])].extend_from_slice(&payload[1..]);
        }
        closed |= opcode == CLOSE;
        wire.extend(frame(opcode, &payload));
    }
    (wire, data)
}

fn replay<P: Protocol + Clone>(name: &str, transcript: &Value, protocol: &P, outcome: &str) {
    let (wire, data) = server(transcript);
    let make = || shake(transcript, protocol.clone()).unwrap();
    let seen = any_cut(make, 3, &wire);
    assert!(
        seen.outcome.starts_with(outcome),
        "{name}: {}",
        seen.outcome
    );
    assert_eq!(seen.data[1..], data[1..3], "{name}");
    assert_eq!(seen.error, None, "{name}");
    assert!(
        seen.closed && seen.finished.iter().all(|&done| done),
        "{name}"
    );
    let closed = transcript["frames"]
        .as_array()
        .unwrap()
        .iter()
        .any(|frame| frame["from"] == "server" && frame["opcode"] == "close");
    let answers = if closed { vec![CLOSE] } else { vec![] };
    let opcodes: Vec<_> = seen.frames.iter().map(|(opcode, _)| *opcode).collect();
    assert_eq!(opcodes, answers, "{name}");
}

#[test]
fn exec_and_attach() {
    for (name, outcome) in [
        ("exec-v5-exit-0", "Exited(0)"),
        ("exec-v5-exit-3", "Exited(3)"),
        ("exec-v4-exit-0", "Exited(0)"),
        ("exec-v4-exit-3", "Exited(3)"),
        ("exec-v5-killed", "Exited(137)"),
        ("exec-v4-killed", "Exited(137)"),
        ("exec-pod-deleted", "Exited(137)"),
        ("exec-v5-not-found", "Failure: Internal error occurred: "),
        ("exec-v4-not-found", "Failure: Internal error occurred: "),
        ("exec-v5-stdin-only", "Exited("),
        ("exec-v5-both", "Exited(0)"),
        ("exec-v4-both", "Exited(0)"),
        ("exec-v5-stdin-half-close", "Exited(0)"),
        ("exec-v4-tty", "Exited("),
        ("exec-client-ping", "Exited(0)"),
        ("exec-offer-v4-v5", "Exited(0)"),
        ("translated-exec-exit-3", "Exited(3)"),
        (
            "translated-exec-finished",
            "Failure: Internal error occurred: ",
        ),
        (
            "exec-v5-tty-client-close",
            "Aborted(ClosedWithoutStatus { code: Some(1000) })",
        ),
        (
            "exec-client-half-close-unknown",
            "Aborted(ClosedWithoutStatus { code: Some(1000) })",
        ),
        (
            "exec-client-unmasked",
            "Aborted(ClosedWithoutStatus { code: Some(1002) })",
        ),
        ("apiserver-killed-exec-v4", "Aborted(ConnectionLost)"),
        ("apiserver-terminated-exec-v5", "Aborted(ConnectionLost)"),
        ("attach-container-exits", "Detached"),
        ("attach-half-close", "Detached"),
        (
            "attach-tty",
            "Aborted(ClosedWithoutStatus { code: Some(1000) })",
        ),
    ] {
        let transcript = load(name);
        let request = &transcript["handshake"]["request"];
        let streams = streams(request["target"].as_str().unwrap());
        if transcript["kind"] == "attach" {
            replay(name, &transcript, &Attach::new(streams), outcome);
        } else {
            replay(name, &transcript, &Exec::new(streams), outcome);
        }
    }
}

#[test]
fn port_forward() {
    for (name, outcome, failed) in [
        ("portforward-one-port", "Ended", [false, false]),
        ("portforward-echo", "Ended", [false, false]),
        ("portforward-refused", "Ended", [true, false]),
        ("portforward-refused-and-good", "Ended", [true, false]),
        ("portforward-same-port-twice", "Ended", [false, false]),
        ("portforward-two-ports-comma", "Ended", [false, false]),
        (
            "portforward-remote-closes-one-of-two",
            "Ended",
            [false, false],
        ),
        ("portforward-remote-closes-first", "Ended", [false, false]),
        ("portforward-pod-deleted", "Ended", [false, false]),
        (
            "apiserver-killed-portforward",
            "Aborted(ConnectionLost)",
            [false, false],
        ),
    ] {
        let transcript = load(name);
        let request = &transcript["handshake"]["request"];
        let ports = ports(request["target"].as_str().unwrap());
        let protocol = PortForward::new(ports.clone()).unwrap();
        let (wire, data) = server(&transcript);
        let make = || shake(&transcript, protocol.clone()).unwrap();
        let seen = any_cut(make, u8::try_from(ports.len()).unwrap(), &wire);
        assert_eq!(seen.outcome, outcome, "{name}");
        for (index, seen) in seen.data.iter().enumerate() {
            assert_eq!(seen[..], data[2 * index][2..], "{name}");
        }
        let mut session = make();
        session.handle_input(&wire, start()).unwrap();
        for (index, failed) in (0..).zip(failed) {
            let error = session.port_error(index);
            assert_eq!(error.is_some(), failed, "{name} {index}: {error:?}");
            if let Some(error) = error {
                let raw = &data[usize::from(index) * 2 + 1][2..];
                assert_eq!(error.as_bytes(), raw, "{name}");
            }
        }
    }
}

#[test]
fn refused() {
    for (name, code, has_status) in [
        ("exec-finished", 500, false),
        ("exec-pod-not-found", 404, true),
        ("exec-unknown-protocol", 403, false),
        ("exec-accept-json", 406, false),
        ("exec-viewer", 403, true),
        ("exec-anonymous", 403, true),
        ("exec-no-streams", 400, false),
        ("portforward-offer-v5", 403, false),
        ("portforward-port-0", 400, false),
    ] {
        let error = shake(&load(name), Exec::new(Streams::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Api, "{name}");
        assert_eq!(error.code().unwrap().as_u16(), code, "{name}");
        assert_eq!(error.status().is_some(), has_status, "{name}: {error}");
    }
}

#[test]
fn subprotocols_that_were_not_offered() {
    for (name, named) in [
        ("exec-no-protocol", "no subprotocol"),
        ("exec-v1", "\"channel.k8s.io\""),
        ("exec-v4-base64", "\"v4.base64.channel.k8s.io\""),
        (
            "portforward-offer-tunnel",
            "\"SPDY/3.1+portforward.k8s.io\"",
        ),
    ] {
        let error = shake(&load(name), Exec::new(Streams::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Peer, "{name}");
        assert!(error.to_string().contains(named), "{name}: {error}");
    }
    // Port-forward has no v5, whoever says so.
    let error = shake(&load("exec-v5-exit-0"), PortForward::new([80]).unwrap());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Peer);
    let session = shake(&load("exec-v4-exit-0"), Exec::new(Streams::new())).unwrap();
    assert_eq!(session.subprotocol(), Subprotocol::V4);
}
