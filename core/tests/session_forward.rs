//! Port-forward sessions.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use kubewire::channel::Subprotocol;
use kubewire::session::{Event, Overflow, PortForward, Session, SessionOptions};
use kubewire::{ErrorKind, Limits};
use session_support::*;

/// The first messages of every channel.
fn announced(ports: &[u16]) -> Vec<u8> {
    (0..)
        .zip(ports)
        .flat_map(|(index, port)| {
            let port = port.to_le_bytes();
            [message(2 * index, &port), message(2 * index + 1, &port)].concat()
        })
        .collect()
}

#[test]
fn two_ports_in_any_cut() {
    let now = start();
    let ports = [8080, 443];
    let mut wire = message(0, b"");
    wire.extend(announced(&ports));
    for round in 0..20_usize {
        wire.extend(message(0, &vec![1; round * 997]));
        // Data that looks like the port is data.
        wire.extend(message(2, &443_u16.to_le_bytes()));
    }
    wire.extend(close(1000));
    let seen = any_cut(|| forward(&ports, now), 2, &wire);
    assert_eq!(seen.outcome, "Ended");
    assert!(seen.data[0] == vec![1; 190 * 997]);
    assert_eq!(seen.data[1], 443_u16.to_le_bytes().repeat(20));
}

#[test]
fn a_refused_port_leaves_the_other() {
    let now = start();
    let mut session = forward(&[81, 80], now);
    session.handle_input(&announced(&[81, 80]), now).unwrap();
    assert_eq!(session.send(0, b"lost").unwrap(), 4);
    session
        .handle_input(&message(1, b"connection "), now)
        .unwrap();
    session.handle_input(&message(1, b"refused"), now).unwrap();
    assert_eq!(session.port_error(0).unwrap(), "connection refused");
    assert_eq!(session.port_error(1), None);
    assert_eq!(session.port_error(9), None);
    assert_eq!(
        events(&mut session),
        [Event::Opened, Event::PortFailed(0), Event::Readable(0)]
    );
    assert!(session.is_finished(0) && !session.is_finished(1));
    assert_eq!(session.send(0, b"x").unwrap_err().kind(), ErrorKind::Closed);
    assert!(session.outcome().is_none());

    assert_eq!(session.send(1, b"GET").unwrap(), 3);
    assert_eq!(sent(&mut session), [(BINARY, b"\x02GET".to_vec())]);
    session.handle_input(&message(2, b"200"), now).unwrap();
    assert_eq!(read(&mut session, 1), b"200");
}

#[test]
fn the_text_of_an_error_is_capped_and_need_not_be_announced() {
    let now = start();
    let limits = Limits {
        max_error_body: 10,
        ..Limits::default()
    };
    let ports = PortForward::new([80]).unwrap();
    let options = SessionOptions::default();
    let mut session = Session::new(ports, Subprotocol::V4, &options, &limits, now);
    session
        .handle_input(&message(1, b"no \xff such"), now)
        .unwrap();
    session
        .handle_input(&message(1, &[b'x'; 100]), now)
        .unwrap();
    assert_eq!(session.port_error(0).unwrap(), "no \u{fffd} suchx");
    assert!(session.buffered() <= 10 + (16 << 10));
}

#[test]
fn another_port_than_asked_for_is_a_fault() {
    let now = start();
    for first in [&81_u16.to_le_bytes()[..], b"x", b"\x50\x00data"] {
        let mut session = forward(&[80], now);
        let error = session.handle_input(&message(0, first), now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Peer);
        assert!(error.to_string().contains("port 80"));
    }
    // Channels that were not asked for are ignored.
    let mut session = forward(&[80], now);
    session.handle_input(&message(2, b"x"), now).unwrap();
    session.handle_input(&message(255, b"x"), now).unwrap();
}

#[test]
fn there_is_no_half_close() {
    let now = start();
    let mut session = forward(&[80], now);
    let error = session.finish(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(session.resize(80, 24).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(session.send(1, b"x").unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(sent(&mut session), []);
}

#[test]
fn ports_share_the_send_window_fairly() {
    let now = start();
    let mut session = forward(&[80, 80], now);
    let big = vec![1; 1 << 20];
    assert_eq!(session.send(0, &big).unwrap(), 128 << 10);
    assert_eq!(session.send(1, b"small").unwrap(), 5);
    let frames = sent(&mut session);
    assert_eq!(frames[1].1, b"\x02small");
}

#[test]
fn an_unread_port_can_be_dropped_without_holding_up_the_other() {
    let now = start();
    let mut session = forward(&[80, 81], now);
    session.set_overflow(0, Overflow::Drop);
    session.handle_input(&announced(&[80, 81]), now).unwrap();
    let chunk = vec![7; 32 << 10];
    for _ in 0..64 {
        assert!(session.wants_input());
        session.handle_input(&message(0, &chunk), now).unwrap();
        session.handle_input(&message(2, b"quick"), now).unwrap();
        assert_eq!(read(&mut session, 1), b"quick");
    }
    assert!(session.truncated(0) && !session.truncated(1));
    assert_eq!(read(&mut session, 0).len(), 1 << 20);
    assert!(session.is_finished(0) && !session.is_finished(1));
}

#[test]
fn the_most_ports() {
    let now = start();
    let ports = [80; 127];
    let mut session = forward(&ports, now);
    session.handle_input(&announced(&ports), now).unwrap();
    session.handle_input(&message(252, b"last"), now).unwrap();
    assert_eq!(read(&mut session, 126), b"last");
    assert_eq!(session.send(126, b"x").unwrap(), 1);
    assert_eq!(sent(&mut session), [(BINARY, vec![252, b'x'])]);
    assert_eq!(
        session.send(127, b"x").unwrap_err().kind(),
        ErrorKind::Usage
    );
}
