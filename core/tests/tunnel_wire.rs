//! Tunnels to the byte: what is sent, and that what comes means the same however it is cut.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;
mod tunnel_support;

use std::path::Path;

use base64::Engine as _;
use http::response::Parts;
use kubewire::session::{Answer, ConnectionFault, PortForwardTunnel, Tunnel, TunnelEvent, Upgrade};
use kubewire::{Error, ErrorKind, Limits};
use session_support::{BINARY, CLOSE, PING, Random, close, cut, frame, head, raw_frame, start};
use tunnel_support::*;

/// T-68 and T-69 of the vectors, recorded from a server that took them.
const OPEN: &str = "8003 0001 01 000054 00000001 00000000 00 00  7801  00 3e00 c1ff
    00000003 00000004 706f7274 00000005 3331373831
    00000009 726571756573746964 00000001 30 0000000a 73747265616d74797065 00000005 6572726f72
    00 0000 ffff
    8003 0001 00 000051 00000003 00000000 00 00  00 3d00 c2ff
    00000003 00000004 706f7274 00000005 3331373831
    00000009 726571756573746964 00000001 30 0000000a 73747265616d74797065 00000004 64617461
    00 0000 ffff";

#[test]
fn a_connection_to_the_byte() {
    let now = start();
    let mut tunnel = tunnel(now);
    let id = tunnel.open(31781).unwrap();
    assert_eq!(tunnel.send(id, b"hello").unwrap(), 5);
    tunnel.finish(id).unwrap();
    let expected = [
        hex(OPEN),
        hex("00000003 00 000005 68656c6c6f 00000003 01 000000"),
    ]
    .concat();
    assert_eq!(transmit(&mut tunnel), (expected, vec![]));
    // T-70
    let answer = hex(
        "8003 0002 00 000014 00000001 78f9e3c6a7c26260606000000000ffff
        8003 0002 00 00000c 00000003 026100000000ffff
        00000003 00 000009 474f543a68656c6c6f
        00000003 01 000000  00000001 01 000000",
    );
    tunnel.handle_input(&message(&answer), now).unwrap();
    assert_eq!(events(&mut tunnel), [TunnelEvent::Readable(id)]);
    assert_eq!(read(&mut tunnel, id), b"GOT:hello");
    assert!(tunnel.is_finished(id));
    assert!(tunnel.error(id).is_none() && tunnel.fault(id).is_none());
    tunnel.release(id);
    // Both sides had finished: nothing is left to say.
    assert_eq!(transmit(&mut tunnel), (vec![], vec![]));
    assert_eq!(tunnel.connections(), 0);
}

#[test]
fn a_refused_port_to_the_byte() {
    let now = start();
    let mut tunnel = tunnel(now);
    let good = tunnel.open(31781).unwrap();
    let bad = tunnel.open(31999).unwrap();
    assert_eq!((bad.get(), bad.to_string()), (1, "1".to_owned()));
    assert_eq!(tunnel.send(bad, b"lost").unwrap(), 4);
    let (spdy, _) = transmit(&mut tunnel);
    let opened = Parser::default().feed(&spdy);
    let streams = opened.iter().filter_map(|sent| match sent {
        Sent::Open { stream, .. } => Some(*stream),
        Sent::Data(..) | Sent::Fin(_) | Sent::Rst(..) | Sent::Ping(_) => None,
    });
    assert_eq!(streams.collect::<Vec<_>>(), [1, 3, 5, 7]);
    // T-71
    let mut answer = data(5, b"error forwarding port 31999\n");
    answer.extend(hex("8003 0003 00 000008 00000007 00000005"));
    answer.extend(hex("8003 0003 00 000008 00000005 00000005"));
    tunnel.handle_input(&message(&answer), now).unwrap();
    assert_eq!(
        events(&mut tunnel),
        [TunnelEvent::Failed(bad), TunnelEvent::Readable(bad)]
    );
    let fault = ConnectionFault::Node("error forwarding port 31999".to_owned());
    assert_eq!(tunnel.fault(bad), Some(&fault));
    assert_eq!(tunnel.error(bad).unwrap().kind(), ErrorKind::Transport);
    assert!(tunnel.is_finished(bad) && !tunnel.is_finished(good));
    assert_eq!(
        tunnel.send(bad, b"x").unwrap_err().kind(),
        ErrorKind::Closed
    );
    tunnel.finish(bad).unwrap();
    tunnel.release(bad);
    // The others go on.
    assert_eq!(tunnel.send(good, b"x").unwrap(), 1);
    let sent = hex("00000003 00 000001 78");
    assert_eq!(transmit(&mut tunnel), (sent, vec![]));
    tunnel.handle_input(&message(&data(3, b"y")), now).unwrap();
    assert_eq!(read(&mut tunnel, good), b"y");
    assert!(tunnel.outcome().is_none());
}

#[test]
fn pings_both_ways() {
    let now = start();
    let mut tunnel = tunnel(now);
    let due = tunnel.poll_timeout().unwrap();
    tunnel.handle_timeout(due);
    // T-72, beside the WebSocket's own.
    let ping = hex("8003 0006 00 000004 00000001");
    assert_eq!(transmit(&mut tunnel), (ping.clone(), vec![PING]));
    let pieces = [&ping[..2], &ping[2..4], &ping[4..8], &ping[8..]];
    for piece in pieces {
        tunnel.handle_input(&message(piece), due).unwrap();
    }
    assert_eq!(transmit(&mut tunnel), (vec![], vec![]));
    let theirs = hex("8003 0006 00 000004 00000002");
    tunnel.handle_input(&message(&theirs), due).unwrap();
    assert_eq!(transmit(&mut tunnel), (theirs.clone(), vec![]));
    tunnel.handle_timeout(tunnel.poll_timeout().unwrap());
    let next = hex("8003 0006 00 000004 00000003");
    assert_eq!(transmit(&mut tunnel).0, next);
    // A flood of them does not fill the memory.
    let before = tunnel.buffered();
    tunnel
        .handle_input(&message(&theirs.repeat(1000)), due)
        .unwrap();
    assert_eq!(tunnel.buffered(), before);
    assert_eq!(transmit(&mut tunnel).0, theirs.repeat(16));
}

/// All that can be seen of five connections.
#[derive(PartialEq)]
struct Seen {
    data: Vec<Vec<u8>>,
    finished: Vec<bool>,
    faults: Vec<Option<ConnectionFault>>,
    errors: Vec<Option<String>>,
    fault: Option<String>,
    outcome: String,
}

fn run(chunks: &[&[u8]]) -> Seen {
    let now = start();
    let mut tunnel = tunnel(now);
    let ids: Vec<_> = (0..5).map(|_| tunnel.open(80).unwrap()).collect();
    let mut data = vec![Vec::new(); 5];
    transmit(&mut tunnel);
    let mut fault = None;
    for chunk in chunks {
        if let Err(error) = tunnel.handle_input(chunk, now) {
            fault = Some(error.to_string());
        }
        for (&id, data) in ids.iter().zip(&mut data) {
            data.extend(read(&mut tunnel, id));
        }
        events(&mut tunnel);
        transmit(&mut tunnel);
    }
    tunnel.handle_end();
    Seen {
        data,
        finished: ids.iter().map(|&id| tunnel.is_finished(id)).collect(),
        faults: ids.iter().map(|&id| tunnel.fault(id).cloned()).collect(),
        errors: ids
            .iter()
            .map(|&id| tunnel.error(id).map(|error| error.to_string()))
            .collect(),
        fault,
        outcome: format!("{:?}", tunnel.outcome()),
    }
}

/// The same SPDY bytes in all kinds of messages, and those in all kinds of reads.
fn any_cut(spdy: &[u8], end: &[u8]) -> Seen {
    let whole = run(&[&[message(spdy), end.to_vec()].concat()]);
    let mut bytes: Vec<u8> = spdy.chunks(1).flat_map(message).collect();
    bytes.extend_from_slice(end);
    assert!(run(&bytes.chunks(1).collect::<Vec<_>>()) == whole, "bytes");
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let mut wire = messages(spdy, &mut random);
        wire.extend_from_slice(end);
        assert!(run(&cut(&mut random, &wire)) == whole, "seed {seed}");
    }
    // A message in fragments.
    let (a, b) = spdy.split_at(spdy.len() / 2);
    let wire = [raw_frame(BINARY, a), raw_frame(0x80, b), end.to_vec()].concat();
    assert!(run(&[&wire]) == whole, "fragments");
    whole
}

#[test]
fn any_cut_means_the_same() {
    let mut spdy = [reply(1), reply(3), reply(5), reply(7)].concat();
    for round in 0..20_usize {
        spdy.extend(data(3, &vec![1; round * 97]));
        spdy.extend(data(7, &[2]));
        // Nobody's, the server's own, and unknown frames.
        spdy.extend(data(99, b"nobody"));
        spdy.extend(data(2, b"even"));
        spdy.extend(control(4, 0, &[0; 12]));
        spdy.extend(control(9, 0, &[0, 0, 0, 3, 0, 1, 0, 0]));
        spdy.extend(control(8, 0, &[0, 0, 0, 3, 9, 9, 9]));
        spdy.extend(control(1, 0, &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 9]));
        spdy.extend(control(77, 0xff, b"who knows"));
        spdy.extend(ping(2 * u32::try_from(round).unwrap()));
    }
    spdy.extend(data(9, b"no "));
    spdy.extend(data(9, b"route"));
    spdy.extend(fin(9));
    spdy.extend([fin(3), fin(1), rst(15, 2), rst(15, 2), data(15, b"late")].concat());
    spdy.extend(goaway(15));
    spdy.extend([data(7, b"end"), fin(7), data(7, b"after")].concat());
    let seen = any_cut(&spdy, &close(1000));
    assert!(seen.data[0] == vec![1; 190 * 97]);
    assert_eq!(seen.data[1], [&[2; 20][..], b"end"].concat());
    assert_eq!(seen.finished, [true; 5]);
    assert_eq!(
        seen.faults,
        [
            None,
            None,
            Some(ConnectionFault::Node("no route".to_owned())),
            Some(ConnectionFault::Reset(2)),
            Some(ConnectionFault::NotStarted),
        ]
    );
    assert_eq!(seen.errors[..2], [None, None]);
    assert_eq!(seen.fault, None);
    assert_eq!(seen.outcome, "Some(Ended)");
}

#[test]
fn an_end_under_open_connections_is_no_clean_end() {
    let spdy = [data(3, b"half"), data(7, b"all"), fin(7)].concat();
    for (end, outcome) in [
        (close(1000), "ClosedWithoutStatus { code: Some(1000) }"),
        (close(1011), "ClosedWithoutStatus { code: Some(1011) }"),
        (frame(CLOSE, b""), "ClosedWithoutStatus { code: None }"),
        (Vec::new(), "ConnectionLost"),
    ] {
        let seen = any_cut(&spdy, &end);
        assert_eq!(seen.outcome, format!("Some(Aborted({outcome}))"));
        assert_eq!(seen.data[..2], [&b"half"[..], b"all"]);
        assert!(seen.errors[0].is_some() && seen.errors[1].is_none());
        assert_eq!(seen.faults, [const { None }; 5]);
    }
}

#[test]
fn faults_of_the_server() {
    for (spdy, named) in [
        (&b"\x80\x02\0\x06\0\0\0\x04\0\0\0\x01"[..], "SPDY"),
        (b"\x80\x03\0\x03\0\0\0\x04\0\0\0\x01", "type 3 with 4"),
        (b"HTTP/1.1", ""),
    ] {
        let wire = [&data(3, b"before")[..], spdy].concat();
        let seen = any_cut(&wire, &[]);
        assert_eq!(seen.data[0], b"before");
        if named.is_empty() {
            // It looks like data for some stream.
            assert_eq!(seen.fault, None);
        } else {
            assert!(seen.fault.unwrap().contains(named));
            assert!(seen.outcome.starts_with("Some(Aborted(Peer("));
        }
    }
    let mut tunnel = tunnel(start());
    let error = tunnel
        .handle_input(&frame(1, b"text"), start())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Peer);
    assert_eq!(transmit(&mut tunnel), (vec![], vec![CLOSE]));
    assert!(tunnel.is_closed());
    assert_eq!(tunnel.open(80).unwrap_err().kind(), ErrorKind::Closed);
}

// The handshake.

fn shake(key: [u8; 16], head: &Parts, body: &[u8]) -> Result<Tunnel, Error> {
    let uri = "/api/v1/namespaces/a/pods/b/portforward".parse().unwrap();
    let upgrade = Upgrade::new(uri, PortForwardTunnel::new());
    let (request, mut handshake) = upgrade.begin(key, &Limits::default());
    assert_eq!(
        request.headers()["sec-websocket-protocol"],
        "SPDY/3.1+portforward.k8s.io"
    );
    if let Ok(Answer::Refused) = handshake.handle_head(head) {
        handshake.handle_data(body);
    }
    handshake.finish(start())
}

fn switched(protocol: &str) -> Parts {
    head(
        101,
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", protocol),
        ],
    )
}

#[test]
fn servers_without_tunnels_are_told_from_other_refusals() {
    let key = *b"the sample nonce";
    let _ = shake(key, &switched("SPDY/3.1+portforward.k8s.io"), b"").unwrap();
    let status = br#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#;
    for (head, body, unsupported) in [
        (head(403, &[]), &b""[..], true),
        (
            head(403, &[]),
            b"unable to upgrade: unable to negotiate",
            true,
        ),
        (
            head(400, &[]),
            b"query parameter \"port\" is required\n",
            true,
        ),
        (switched("v4.channel.k8s.io"), b"", true),
        (switched(""), b"", true),
        (head(403, &[]), status, false),
        (
            head(404, &[]),
            br#"{"status":"Failure","reason":"NotFound"}"#,
            false,
        ),
        (head(401, &[]), b"Unauthorized", false),
        (head(500, &[]), b"", false),
        (head(200, &[]), b"", false),
        (head(101, &[]), b"", false),
    ] {
        let error = shake(key, &head, body).unwrap_err();
        let described = format!("{head:?} {error}");
        assert_eq!(
            PortForwardTunnel::is_unsupported(&error),
            unsupported,
            "{described}"
        );
    }
    let lost = Error::new(ErrorKind::Transport, "reset");
    assert!(!PortForwardTunnel::is_unsupported(&lost));
}

#[test]
#[cfg(feature = "k8s-openapi")]
fn the_operation() {
    use k8s_openapi::api::core::v1::Pod;
    use kubewire::session::SessionOptions;
    use kubewire::{Api, UpgradeOperation};

    let options = SessionOptions::default().idle_timeout(session_support::seconds(9));
    let operation = Api::<Pod>::namespaced("a")
        .port_forward_tunnel("b")
        .options(options);
    let alone = operation.connection(80);
    let path = "/api/v1/namespaces/a/pods/b/portforward";
    assert_eq!(
        alone.into_upgrade().unwrap().request().uri(),
        &format!("{path}?ports=80")[..]
    );
    assert_eq!(
        operation.connection(0).into_upgrade().unwrap_err().kind(),
        ErrorKind::Usage
    );
    assert!(format!("{operation:?}").contains(path));
    let upgrade = operation.into_upgrade().unwrap();
    assert_eq!(upgrade.request().uri(), path);
    let bad = Api::<Pod>::namespaced("a").port_forward_tunnel("b/c");
    assert_eq!(bad.into_upgrade().unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the recordings are files")]
fn recorded_tunnels() {
    for name in [
        "portforward-offer-tunnel",
        "portforward-offer-tunnel-v4",
        "portforward-offer-v4-tunnel",
        "translated-portforward-offer-v4-tunnel",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/session_transcripts")
            .join(name)
            .with_extension("json");
        let transcript: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let headers = |value: &serde_json::Value| -> Vec<(String, String)> {
            serde_json::from_value(value["headers"].clone()).unwrap()
        };
        let key = headers(&transcript["handshake"]["request"])
            .into_iter()
            .find(|(name, _)| name == "Sec-WebSocket-Key");
        let key = base64::engine::general_purpose::STANDARD
            .decode(key.unwrap().1)
            .unwrap();
        let response = headers(&transcript["handshake"]["response"]);
        let response: Vec<_> = response.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let mut tunnel = shake(key.try_into().unwrap(), &head(101, &response), b"").unwrap();
        // The client closes, the server answers.
        tunnel.close(start());
        assert_eq!(transmit(&mut tunnel), (vec![], vec![CLOSE]), "{name}");
        for recorded in transcript["frames"].as_array().unwrap() {
            if recorded["from"] == "server" {
                assert_eq!(recorded["opcode"], "close");
                let payload = hex(recorded["payload_hex"].as_str().unwrap());
                for byte in frame(CLOSE, &payload) {
                    tunnel.handle_input(&[byte], start()).unwrap();
                }
            }
        }
        assert!(tunnel.is_closed(), "{name}");
        assert_eq!(format!("{:?}", tunnel.outcome()), "Some(Aborted(Closed))");
    }
}
