//! How exec and attach sessions end, send and are cut.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use kubewire::channel::{STDERR, STDIN, STDOUT, Subprotocol};
use kubewire::session::{Event, Outcome, Session, Streams};
use kubewire::{Error, ErrorKind};
use session_support::*;

/// The server's side of a session with data of all sizes on all channels.
fn conversation() -> Vec<u8> {
    let mut random = Random::new(1);
    let mut wire = message(1, b"");
    for round in 0..12 {
        wire.extend(message(2, b"note\n"));
        wire.extend(frame(PING, format!("{round}").as_bytes()));
        let len = [
            0, 1, 124, 125, 126, 4095, 9000, 40_000, 65_534, 65_535, 70_000, 3,
        ][round];
        let data: Vec<u8> = (0..len).map(|_| random.byte()).collect();
        wire.extend(message(1, &data));
    }
    wire.extend(message(7, b"nobody asked"));
    wire.extend(exit("42"));
    wire.extend(message(1, b"after the status"));
    wire.extend(close(1000));
    wire
}

#[test]
fn the_cut_of_the_bytes_does_not_matter() {
    let now = start();
    let seen = any_cut(|| exec(all(), Subprotocol::V5, now), 3, &conversation());
    assert_eq!(seen.outcome, "Exited(42)");
    assert_eq!(seen.data[2], b"note\n".repeat(12));
    assert!(seen.data[1].ends_with(b"after the status"));
    let pongs = seen.frames.iter().filter(|(opcode, _)| *opcode == PONG);
    assert_eq!(pongs.count(), 12);
    assert_eq!(seen.frames.last(), Some(&(CLOSE, vec![3, 232])));
}

#[test]
fn exit_codes() {
    for (status, outcome) in [
        (message(3, SUCCESS), "Exited(0)"),
        (message(3, br#"{"status":"Success"}"#), "Exited(0)"),
        (exit("3"), "Exited(3)"),
        (exit("137"), "Exited(137)"),
        (exit("many"), "Failure: "),
        (
            message(
                3,
                br#"{"status":"Failure","message":"no such binary","code":500}"#,
            ),
            "Failure: no such binary",
        ),
        (message(3, b"exit status 3\n"), "Failure: exit status 3"),
        // A status in two messages, and one that is cut off.
        (
            [message(3, &SUCCESS[..9]), message(3, &SUCCESS[9..])].concat(),
            "Exited(0)",
        ),
        (
            message(3, &SUCCESS[..9]),
            "Aborted(ClosedWithoutStatus { code: Some(1000) })",
        ),
        (vec![], "Aborted(ClosedWithoutStatus { code: Some(1000) })"),
    ] {
        for subprotocol in [Subprotocol::V4, Subprotocol::V5] {
            let wire = [message(1, b""), status.clone(), close(1000)].concat();
            let now = start();
            let seen = any_cut(|| exec(all(), subprotocol, now), 3, &wire);
            assert_eq!(seen.outcome, outcome);
        }
    }
}

#[test]
fn attach_never_tells_the_exit_code() {
    let now = start();
    let wire = [message(3, SUCCESS), close(1000)].concat();
    let seen = any_cut(|| attach(all(), now), 3, &wire);
    assert_eq!(seen.outcome, "Detached");
}

#[test]
fn no_status_is_no_success() {
    let now = start();
    for (wire, outcome) in [
        (message(1, b"x"), "Aborted(ConnectionLost)"),
        (vec![], "Aborted(ConnectionLost)"),
        (
            frame(CLOSE, b""),
            "Aborted(ClosedWithoutStatus { code: None })",
        ),
        (
            close(1001),
            "Aborted(ClosedWithoutStatus { code: Some(1001) })",
        ),
        // The status itself is cut off.
        (exit("3")[..40].to_vec(), "Aborted(ConnectionLost)"),
    ] {
        let seen = any_cut(|| exec(all(), Subprotocol::V5, now), 3, &wire);
        assert_eq!(seen.outcome, outcome);
        assert!(seen.closed && seen.finished.iter().all(|&done| done));
    }
    let mut session = exec(all(), Subprotocol::V5, now);
    session.handle_error(Error::new(ErrorKind::Transport, "reset"));
    let error = session.outcome().and_then(Outcome::to_error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(session.is_closed() && session.is_finished(STDOUT));
}

#[test]
fn the_outcome_is_set_once() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    session.handle_input(&exit("3"), now).unwrap();
    session.handle_input(&message(3, SUCCESS), now).unwrap();
    session
        .handle_input(&frame(3, b"no such opcode"), now)
        .unwrap_err();
    session.handle_error(Error::new(ErrorKind::Transport, "reset"));
    session.close(now);
    session.handle_end();
    assert_eq!(describe(&session), "Exited(3)");
}

#[test]
fn the_status_may_come_before_the_last_output() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    session.handle_input(&exit("3"), now).unwrap();
    assert!(matches!(session.outcome(), Some(Outcome::Exited(3))));
    assert!(!session.is_finished(STDOUT) && session.wants_input());
    session.handle_input(&message(1, b"late"), now).unwrap();
    session.handle_input(&close(1000), now).unwrap();
    assert!(!session.is_finished(STDOUT));
    assert_eq!(read(&mut session, STDOUT), b"late");
    assert!(session.is_finished(STDOUT));
}

#[test]
fn empty_first_messages_are_no_data() {
    let now = start();
    for channel in [1, 2, 3] {
        let mut session = exec(all(), Subprotocol::V5, now);
        session.handle_input(&message(channel, b""), now).unwrap();
        assert_eq!(events(&mut session), [Event::Opened]);
        assert!(session.outcome().is_none());
        assert!(session.poll_data(channel).is_none() && !session.is_finished(1));
        session.handle_input(&message(channel, b""), now).unwrap();
        assert_eq!(events(&mut session), []);
    }
}

#[test]
fn what_was_not_asked_for_is_finished_from_the_start() {
    let now = start();
    let mut session = exec(Streams::new().stdout().stderr().tty(), Subprotocol::V5, now);
    assert!(session.is_finished(STDERR) && session.is_finished(STDIN) && session.is_finished(99));
    assert!(!session.is_finished(STDOUT));
    session.handle_input(&message(2, b"ignored"), now).unwrap();
    assert!(session.poll_data(STDERR).is_none());
    let error = session.send(STDIN, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn input_is_cut_into_messages_of_32_kib() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    let data: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    assert_eq!(session.send(STDIN, &data).unwrap(), data.len());
    session.finish(STDIN).unwrap();
    let frames = sent(&mut session);
    let (last, frames) = frames.split_last().unwrap();
    assert_eq!(last, &(BINARY, vec![255, 0]));
    assert_eq!(frames.len(), 4);
    let mut all = Vec::new();
    for (opcode, payload) in frames {
        assert_eq!((*opcode, payload[0]), (BINARY, 0));
        assert!(payload.len() <= 32_769);
        all.extend_from_slice(&payload[1..]);
    }
    assert!(all == data);
}

#[test]
fn partial_writes_give_the_same_frames() {
    let now = start();
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let mut session = exec(all(), Subprotocol::V5, now);
        let (mut wire, mut accepted, mut expected) = (Vec::new(), 0, Vec::new());
        for round in 0..200 {
            let data = vec![u8::try_from(round).unwrap(); random.below(9000)];
            let n = session.send(STDIN, &data).unwrap();
            expected.extend_from_slice(&data[..n]);
            accepted += n;
            if random.below(10) == 0 {
                session.handle_input(&frame(PING, b"?"), now).unwrap();
            }
            if let Some(bytes) = session.poll_transmit() {
                let again = bytes.to_vec();
                let n = random.below(bytes.len() + 1);
                // Asking does not change it.
                assert!(session.poll_transmit() == Some(&again));
                wire.extend_from_slice(&again[..n]);
                session.transmitted(n);
            }
        }
        while let Some(bytes) = session.poll_transmit() {
            wire.push(bytes[0]);
            session.transmitted(1);
        }
        let (frames, rest) = client_frames(&wire);
        assert_eq!(rest, 0);
        let data: Vec<u8> = frames
            .iter()
            .filter(|(opcode, _)| *opcode == BINARY)
            .flat_map(|(_, payload)| payload[1..].iter().copied())
            .collect();
        assert!(data.len() == accepted && data == expected, "seed {seed}");
    }
}

#[test]
fn a_full_send_window_is_told_when_it_has_room() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    let data = vec![0; 1 << 20];
    assert_eq!(session.send(STDIN, &data).unwrap(), 256 << 10);
    assert_eq!(session.send(STDIN, &data).unwrap(), 0);
    assert_eq!(events(&mut session), []);
    let mut told = 0;
    while let Some(bytes) = session.poll_transmit() {
        let n = bytes.len();
        session.transmitted(n);
        told += events(&mut session).len();
    }
    assert_eq!(told, 1);
    assert_eq!(session.send(STDIN, &data).unwrap(), 256 << 10);
    assert!(session.buffered() <= 256 << 10);
}

#[test]
fn a_write_after_the_end_fails() {
    let now = start();
    let closed = |session: &mut Session<_>| session.send(STDIN, b"x").unwrap_err().kind();

    let mut session = exec(all(), Subprotocol::V5, now);
    session.send(STDIN, &vec![0; 1 << 20]).unwrap();
    session.handle_input(&exit("1"), now).unwrap();
    assert_eq!(closed(&mut session), ErrorKind::Closed);
    assert!(events(&mut session).contains(&Event::Writable(STDIN)));
    session.finish(STDIN).unwrap();
    assert!(session.resize(1, 1).is_err());

    let mut session = exec(all(), Subprotocol::V5, now);
    session.finish(STDIN).unwrap();
    session.finish(STDIN).unwrap();
    assert_eq!(closed(&mut session), ErrorKind::Closed);
    assert_eq!(sent(&mut session), [(BINARY, vec![255, 0])]);

    let mut session = exec(all(), Subprotocol::V5, now);
    session.close(now);
    assert_eq!(closed(&mut session), ErrorKind::Closed);

    let mut session = exec(all(), Subprotocol::V5, now);
    session.handle_end();
    assert_eq!(closed(&mut session), ErrorKind::Closed);
}

#[test]
fn finish_is_refused_where_it_does_nothing() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V4, now);
    let error = session.finish(STDIN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(
        error
            .to_string()
            .contains("not supported by v4.channel.k8s.io")
    );
    // Nothing was shut by trying.
    assert_eq!(session.send(STDIN, b"x").unwrap(), 1);
    assert_eq!(sent(&mut session), [(BINARY, b"\0x".to_vec())]);

    let mut session = exec(all().tty(), Subprotocol::V5, now);
    let error = session.finish(STDIN).unwrap_err();
    assert!(error.to_string().contains("0x04"));
    for channel in [1, 2, 3, 4, 255] {
        assert_eq!(
            session.finish(channel).unwrap_err().kind(),
            ErrorKind::Usage
        );
        assert_eq!(
            session.send(channel, b"x").unwrap_err().kind(),
            ErrorKind::Usage
        );
    }
    assert_eq!(sent(&mut session), []);
}

#[test]
fn resize_is_for_terminals() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    assert_eq!(session.resize(80, 24).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(sent(&mut session), []);

    let mut session = exec(all().tty(), Subprotocol::V5, now);
    session.send(STDIN, b"vi\r").unwrap();
    for (width, height) in [(0, 24), (80, 0), (0, 0)] {
        let error = session.resize(width, height).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    session.resize(80, 24).unwrap();
    session.resize(u16::MAX, 1).unwrap();
    assert_eq!(
        sent(&mut session),
        [
            (BINARY, b"\x04{\"Width\":65535,\"Height\":1}\n".to_vec()),
            (BINARY, b"\0vi\r".to_vec()),
        ]
    );
}

#[test]
fn faults_of_the_server_end_the_session_with_a_close() {
    let now = start();
    let masked = [0x82, 0x83, 1, 2, 3, 4, 0, 0, 0];
    let faults: [(&str, Vec<u8>, u16); 9] = [
        ("masked", masked.to_vec(), 1002),
        ("text", frame(1, b"1hello"), 1002),
        ("data opcode", frame(3, b"x"), 1002),
        ("control opcode", frame(11, b"x"), 1002),
        ("reserved bit", raw_frame(0xc2, b"\x01x"), 1002),
        ("continuation", frame(0, b"x"), 1002),
        ("fragmented ping", raw_frame(0x09, b""), 1002),
        ("no channel", frame(BINARY, b""), 1002),
        ("too long", message(1, &vec![0; 4 << 20]), 1009),
    ];
    for (name, fault, code) in faults {
        let mut session = exec(all(), Subprotocol::V5, now);
        session.send(STDIN, b"input").unwrap();
        let mut wire = message(1, b"before");
        wire.extend(fault);
        let error = session.handle_input(&wire, now).unwrap_err();
        assert_eq!(error.kind() == ErrorKind::Limit, code == 1009, "{name}");
        let again = session.handle_input(b"x", now).unwrap_err();
        assert_eq!(again.to_string(), error.to_string(), "{name}");
        let outcome = describe(&session);
        assert!(
            outcome.starts_with("Aborted(Peer") || outcome.starts_with("Aborted(Limit"),
            "{name}: {outcome}"
        );
        assert!(!session.wants_input() && !session.is_closed(), "{name}");
        assert_eq!(
            sent(&mut session),
            [(CLOSE, code.to_be_bytes().to_vec())],
            "{name}"
        );
        assert!(session.is_closed(), "{name}");
        assert_eq!(read(&mut session, STDOUT), b"before", "{name}");
        assert!(session.is_finished(STDOUT), "{name}");
    }
}

#[test]
fn fragments_from_the_server_are_one_message() {
    let now = start();
    let wire = [
        raw_frame(0x02, b"\x01ab"),
        frame(PING, b"between"),
        raw_frame(0x00, b""),
        frame(0, b"\x02cd"),
    ]
    .concat();
    let seen = any_cut(|| exec(all(), Subprotocol::V5, now), 3, &wire);
    assert_eq!(seen.data[1], b"ab\x02cd");
    assert_eq!(seen.frames, [(PONG, b"between".to_vec())]);
}

#[test]
fn debug_shows_sizes_only() {
    let now = start();
    let mut session = exec(all(), Subprotocol::V5, now);
    session.handle_input(&message(1, b"hunter2"), now).unwrap();
    session.send(STDIN, b"hunter2").unwrap();
    let text = format!("{session:?} {session:#?}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("buffered: 14"), "{text}");
}

#[test]
fn sessions_are_send_and_sync() {
    fn check<T: Send + Sync>(_: T) {}
    let now = start();
    check(exec(all(), Subprotocol::V5, now));
    check(attach(all(), now));
    check(forward(&[1], now));
}
