//! Scripts that no recording has: what the model says of them, the machines have to do.

use serde_json::{Value, json};

use super::payload::hex;
use super::*;

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame: `s2` is a binary frame of the server, `c` is the client, `-` lacks FIN.
fn frame(what: &str, payload: &[u8]) -> Value {
    let opcode = match what.as_bytes()[1] {
        b'0' => "continuation",
        b'1' => "text",
        b'2' => "binary",
        b'8' => "close",
        b'9' => "ping",
        b'a' => "pong",
        _ => "reserved-3",
    };
    let client = what.starts_with('c');
    let mut frame = json!({
        "t_ms": 0.0, "from": if client { "client" } else { "server" },
        "fin": !what.contains('-'), "opcode": opcode,
        "masked_on_wire": client != what.contains('m'), "payload_hex": hex(payload),
    });
    if payload.len() > 2048 {
        let fields = frame.as_object_mut().unwrap();
        fields.remove("payload_hex");
        fields.insert("payload_len".to_owned(), payload.len().into());
        fields.insert("payload_sha256".to_owned(), payload::sha256(payload).into());
        fields.insert("payload_head_hex".to_owned(), hex(&payload[..16]).into());
    }
    if what.contains('r') {
        frame["rsv"] = 4.into();
    }
    frame
}

fn replayed(query: &str, protocol: &str, end: &str, frames: &[(&str, &[u8])]) -> Report {
    let frames: Vec<_> = frames
        .iter()
        .map(|(what, payload)| frame(what, payload))
        .collect();
    let transcript: Transcript = serde_json::from_value(json!({
        "name": "synthetic", "kind": "exec", "frames": frames, "end": end,
        "handshake": {
            "request": { "method": "GET", "target": format!("/api/v1/namespaces/a/pods/b/{query}"),
                "headers": [["Connection", "Upgrade"], ["Upgrade", "websocket"],
                    ["Sec-WebSocket-Version", "13"], ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="]] },
            "response": { "status": 101, "end": "upgrade",
                "headers": [["Connection", "Upgrade"], ["Upgrade", "websocket"],
                    ["Sec-WebSocket-Accept", ACCEPT], ["Sec-WebSocket-Protocol", protocol]] },
        },
    }))
    .unwrap();
    let mut report = Report::default();
    let handshake = transcript.handshake.as_ref().unwrap();
    let faults = replay(&transcript, handshake, &mut report).unwrap();
    assert!(
        faults.is_empty(),
        "{query} {frames:#?}\n{}",
        faults.join("\n")
    );
    report
}

const SUCCESS: &[u8] = b"\x03{\"metadata\":{},\"status\":\"Success\"}";
const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const FIN: &str = "server-close-notify-then-fin";

fn outcome(report: &Report) -> &str {
    assert_eq!(report.sessions.replayed.values().sum::<usize>(), 1);
    report.sessions.outcomes.keys().next_back().unwrap()
}

/// Outcomes, and the frames that lead to them.
type Scripts<'a> = &'a [(&'a str, &'a [(&'a str, &'a [u8])])];

fn processes(scripts: Scripts<'_>) {
    for (expected, frames) in scripts {
        let report = replayed(
            "exec?command=c&stdin=true&stdout=true&stderr=true",
            V5,
            FIN,
            frames,
        );
        assert_eq!(outcome(&report), *expected, "{frames:?}");
        replayed("exec?command=c&stdout=true", V4, FIN, frames);
        replayed("attach?stdin=true&stdout=true&tty=true", V5, FIN, frames);
        for end in ["client-closed", "server-reset", "open"] {
            replayed(
                "exec?command=c&stdin=true&stdout=true&stderr=true",
                V5,
                end,
                frames,
            );
        }
    }
}

#[test]
fn processes_end_in_every_way() {
    let scripts: Scripts<'_> = &[
        (
            "exit 0",
            &[
                ("s2", b"\x01"),
                ("s2", SUCCESS),
                ("s2", b"\x01late"),
                ("c2", b"\0late"),
                ("c9", b""),
            ],
        ),
        (
            "exit 0",
            &[
                ("s2", &SUCCESS[..9]),
                ("s2", &[&[3], &SUCCESS[9..]].concat()),
                ("s8", b"\x03\xe8"),
            ],
        ),
        (
            "failure",
            &[
                ("s2", b"\x03container "),
                ("s2", b"\x03gone"),
                ("s8", b"\x03\xe8"),
            ],
        ),
        (
            "aborted \"ClosedWithoutStatus\"",
            &[("s2", b"\x03{\"sta"), ("s8", b"\x03\xe8reason")],
        ),
        ("aborted \"ClosedWithoutStatus\"", &[("s8", b"")]),
        (
            "aborted \"ClosedWithoutStatus\"",
            &[("s8", b"\x03\xed"), ("s8", b"\x03\xe8")],
        ),
        ("aborted \"ClosedWithoutStatus\"", &[("s8", b"\x0f\xa0")]),
        ("exit 0", &[("s2", SUCCESS), ("s1", b"text")]),
        (
            "aborted \"Closed\"",
            &[
                ("s2-", b"\x01a"),
                ("s9", b"ping"),
                ("s0-", b"b"),
                ("s0", b"c"),
                ("s9", b"pong"),
                ("ca", b"pong"),
                ("ca", b"pong"),
                ("ca", b"none"),
                ("c8", b"\x03\xe8"),
                ("s2", b"\x01too late"),
                ("s9", b""),
                ("s8", b"\x03\xe8"),
            ],
        ),
        (
            "exit 0",
            &[
                ("c2", b"\0in"),
                ("c8", b"\x0f\xa0why"),
                ("c2", b"\0late"),
                ("c9", b""),
                ("s2", SUCCESS),
                ("s8", b"\x03\xe8"),
            ],
        ),
        (
            "aborted \"ConnectionLost\"",
            &[
                ("c2", b"\xff\0"),
                ("c2", b"\xff\0"),
                ("c2", b"\xff\x01"),
                ("c2", b"\0in"),
                ("s2", b"\x07what"),
            ],
        ),
        (
            "exit 0",
            &[
                ("c2", b"\x04{\"width\":80,\"Height\":24}\n"),
                ("c2", b"\0in"),
                ("c2", b"\0put"),
                ("c2", b"\x04{\"Width\":0,\"Height\":24}"),
                ("s2", b"\x03"),
                ("s2", SUCCESS),
                ("c2", b"\x04{\"Width\":81,\"Height\":24}"),
                ("c2", b"\xff\0"),
            ],
        ),
        (
            "aborted \"Closed\"",
            &[
                ("c8", b"\x03\xe8"),
                ("s2", b"\x01too late"),
                ("c2", b"\0in"),
            ],
        ),
    ];
    processes(scripts);
}

#[test]
fn servers_break_rules() {
    let scripts: Scripts<'_> = &[
        ("aborted \"Peer\"", &[("s2", b"\x01out"), ("s8", b"\x03")]),
        ("aborted \"Peer\"", &[("s8", b"\x03\xe8\xff")]),
        (
            "aborted \"Peer\"",
            &[
                ("s2", b"\x01out"),
                ("s1", b"text"),
                ("s2", b"\x01more"),
                ("c2", b"\0x"),
            ],
        ),
        ("aborted \"Peer\"", &[("s2", b"")]),
        ("aborted \"Peer\"", &[("s2m", b"\x01masked")]),
        ("aborted \"Peer\"", &[("s2r", b"\x01reserved")]),
        ("aborted \"Peer\"", &[("s3", b"\x01opcode")]),
        ("aborted \"Peer\"", &[("s0", b"\x01nothing to continue")]),
        ("aborted \"Peer\"", &[("s2-", b"\x01a"), ("s2", b"\x01b")]),
        ("aborted \"Peer\"", &[("s9-", b"")]),
        ("aborted \"Peer\"", &[("c8", b"\x03\xe8"), ("s1", b"text")]),
    ];
    processes(scripts);
}

#[test]
fn messages_that_are_too_long_end_a_session() {
    let mut long = vec![7; 5 << 20];
    long[0] = 1;
    let frames: &[(&str, &[u8])] = &[("s2", b"\x01out"), ("s2", &long), ("s2", SUCCESS)];
    let report = replayed("exec?command=c&stdout=true", V5, FIN, frames);
    assert_eq!(outcome(&report), "aborted \"Limit\"");
    assert!(report.sessions.reasons.is_empty());
}

#[test]
fn ports_end_in_every_way() {
    let named: &[(&str, &[u8])] = &[
        ("s2", b"\0\x50\0"),
        ("s2", b"\x01\x50\0"),
        ("s2", b"\x02\x51\0"),
        ("s2", b"\x03\x51\0"),
    ];
    let scripts: Scripts<'_> = &[
        (
            "ended",
            &[
                ("c2", b"\x02in"),
                ("s2", b"\x02out"),
                ("s2", b"\x02\x51\0"),
                ("s8", b"\x03\xe8"),
            ],
        ),
        (
            "ended",
            &[
                ("s2", b"\x01no"),
                ("s2", b"\x01 way"),
                ("s2", b"\0lost"),
                ("c2", b"\0in"),
                ("c2", b"\x02in"),
                ("s8", b""),
            ],
        ),
        (
            "aborted \"ClosedWithoutStatus\"",
            &[
                ("c2", b"\xff\0"),
                ("c2", b"\x01x"),
                ("c2", b"\x08x"),
                ("s8", b"\x03\xea"),
            ],
        ),
        ("aborted \"ConnectionLost\"", &[("s2", b"\x09none such")]),
        (
            "aborted \"Closed\"",
            &[
                ("c8", b"\x03\xe8"),
                ("s2", b"\0late"),
                ("s2", b"\x03late"),
                ("s8", b"\x03\xe8"),
            ],
        ),
    ];
    for (expected, frames) in scripts {
        let empty: &[(&str, &[u8])] = &[("s2", b"\0"), ("s2", b"\x03")];
        let frames = [empty, named, frames].concat();
        let report = replayed("portforward?ports=80,81", V4, FIN, &frames);
        assert_eq!(outcome(&report), *expected, "{frames:?}");
        for end in ["client-closed", "server-reset"] {
            replayed("portforward?ports=80&ports=81", V4, end, &frames);
        }
    }
    let report = replayed(
        "portforward?ports=80",
        V4,
        FIN,
        &[("s2", b"\0data at once")],
    );
    assert_eq!(outcome(&report), "aborted \"Peer\"");
    replayed(
        "portforward?ports=80",
        V4,
        FIN,
        &[("s2", b"\x01an error at once"), ("s8", b"\x03\xe8")],
    );
}
