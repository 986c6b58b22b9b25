//! Windows: what is held stays bounded whatever either side does.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use kubewire::Limits;
use kubewire::channel::{STDERR, STDIN, STDOUT, Subprotocol};
use kubewire::session::{Event, Overflow, SessionOptions};
use session_support::*;

const READ: usize = 16 << 10;

fn limits() -> Limits {
    Limits {
        receive_window: 128 << 10,
        send_window: 64 << 10,
        max_message: 64 << 10,
        ..Limits::default()
    }
}

/// Windows, one message, one read, and frames on their way out.
fn bound() -> usize {
    2 * limits().receive_window + limits().send_window + limits().max_message + READ + (100 << 10)
}

#[test]
fn a_slow_reader_gets_everything_and_little_is_held() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    let (mut random, mut checker) = (Random::new(5), Random::new(5));
    let total = 64 << 20;
    let (mut made, mut got, mut most, mut stalls) = (0, 0, 0, 0);
    let mut wire = Vec::new();
    let mut at = 0;
    while got < total {
        if session.wants_input() && (made < total || at < wire.len()) {
            while wire.len() - at < READ && made < total {
                let len = (total - made).min(1 + (made * 7) % 32_768);
                let data: Vec<u8> = (0..len).map(|_| random.byte()).collect();
                wire.drain(..at);
                at = 0;
                wire.extend(message(1, &data));
                made += len;
            }
            let chunk = &wire[at..wire.len().min(at + READ)];
            session.handle_input(chunk, now).unwrap();
            at += chunk.len();
        } else {
            // It reads only now and then, a little.
            stalls += 1;
            for _ in 0..3 {
                for byte in session.poll_data(STDOUT).unwrap_or_default() {
                    assert_eq!(byte, checker.byte());
                    got += 1;
                }
            }
        }
        session.send(STDIN, &[0; 5000]).unwrap();
        most = most.max(session.buffered());
    }
    assert!(stalls > 500 && most > limits().receive_window);
    assert!(most <= bound(), "{most}");
}

#[test]
fn a_full_stdout_does_not_stop_what_has_arrived_or_what_goes_out() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    let mut wire = message(1, b"");
    for _ in 0..5 {
        wire.extend(message(1, &vec![1; 30_000]));
    }
    wire.extend(message(2, b"error"));
    wire.extend(frame(PING, b"there?"));
    wire.extend(exit("3"));
    session.handle_input(&wire, now).unwrap();
    assert!(!session.wants_input());
    assert_eq!(read(&mut session, STDERR), b"error");
    assert_eq!(describe(&session), "Exited(3)");
    assert_eq!(sent(&mut session), [(PONG, b"there?".to_vec())]);

    let mut session = exec_with(all().tty(), Subprotocol::V5, &options, &limits(), now);
    session
        .handle_input(&message(1, &vec![1; 60_000]), now)
        .unwrap();
    session
        .handle_input(&message(1, &vec![1; 60_000]), now)
        .unwrap();
    session
        .handle_input(&message(1, &vec![1; 60_000]), now)
        .unwrap();
    assert!(!session.wants_input());
    session.resize(80, 24).unwrap();
    session.send(STDIN, b"q").unwrap();
    assert_eq!(sent(&mut session).len(), 2);
}

#[test]
fn a_driver_is_told_once_when_to_read_again() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    for _ in 0..3 {
        session
            .handle_input(&message(1, &vec![1; 50_000]), now)
            .unwrap();
    }
    assert!(!session.wants_input());
    assert_eq!(
        events(&mut session),
        [Event::Opened, Event::Readable(STDOUT)]
    );
    read(&mut session, STDOUT);
    assert_eq!(events(&mut session), [Event::Resumed]);
    session.handle_input(&message(1, b"x"), now).unwrap();
    assert_eq!(events(&mut session), [Event::Readable(STDOUT)]);
    read(&mut session, STDOUT);
    session.handle_input(&close(1000), now).unwrap();
    assert_eq!(
        events(&mut session),
        [
            Event::Readable(STDOUT),
            Event::Readable(STDERR),
            Event::Outcome
        ]
    );
    sent(&mut session);
    assert_eq!(events(&mut session), [Event::Closed]);
}

#[test]
fn a_discarded_channel_holds_nothing_and_nobody_up() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    for _ in 0..3 {
        session
            .handle_input(&message(1, &vec![1; 50_000]), now)
            .unwrap();
    }
    assert!(!session.wants_input());
    session.discard(STDOUT);
    assert!(session.wants_input() && session.buffered() == 0);
    assert!(session.is_finished(STDOUT) && !session.truncated(STDOUT));
    for _ in 0..100 {
        session
            .handle_input(&message(1, &vec![1; 50_000]), now)
            .unwrap();
        assert!(session.wants_input());
    }
    assert_eq!(session.poll_data(STDOUT), None);
    session.handle_input(&message(2, b"heard"), now).unwrap();
    assert_eq!(read(&mut session, STDERR), b"heard");
}

#[test]
fn drop_keeps_one_window_and_tells() {
    let now = start();
    let options = SessionOptions::default().overflow(Overflow::Drop);
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    for _ in 0..100 {
        session
            .handle_input(&message(1, &vec![1; 50_000]), now)
            .unwrap();
        session.handle_input(&message(2, b"e"), now).unwrap();
        assert!(session.wants_input());
    }
    session.handle_input(&exit("0"), now).unwrap();
    assert_eq!(describe(&session), "Exited(0)");
    assert!(session.truncated(STDOUT) && !session.truncated(STDERR));
    assert_eq!(read(&mut session, STDOUT).len(), 128 << 10);
    assert!(session.is_finished(STDOUT));
    assert_eq!(read(&mut session, STDERR), [b'e'; 100]);
}

#[test]
fn pings_that_nobody_lets_us_answer_are_bounded() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    let flood = frame(PING, &[b'p'; 125]).repeat(100);
    for _ in 0..200 {
        session.handle_input(&flood, now).unwrap();
        assert!(session.buffered() <= 256 << 10, "{}", session.buffered());
    }
    session.handle_input(&frame(PING, b"last"), now).unwrap();
    session.handle_input(&close(1000), now).unwrap();
    let frames = sent(&mut session);
    assert_eq!(frames.last(), Some(&(CLOSE, vec![3, 232])));
    assert!(session.is_closed());
}

#[test]
fn a_half_sent_stream_is_bounded_too() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    // The transport takes one byte at a time, and never catches up.
    for _ in 0..100_000 {
        session.send(STDIN, &[0; 100]).unwrap();
        session.poll_transmit().unwrap();
        session.transmitted(1);
        assert!(session.buffered() <= bound());
    }
}

#[test]
fn many_tiny_messages_and_fragments() {
    let now = start();
    let options = SessionOptions::default();
    let mut session = exec_with(all(), Subprotocol::V5, &options, &limits(), now);
    let tiny = message(1, b"x").repeat(1000);
    for _ in 0..131 {
        session.handle_input(&tiny, now).unwrap();
    }
    assert!(session.wants_input());
    assert!(session.buffered() <= 131_000 + READ);
    session.handle_input(&tiny, now).unwrap();
    assert!(!session.wants_input());
    assert_eq!(read(&mut session, STDOUT).len(), 132_000);
    assert_eq!(session.buffered(), 0);

    // A message that never ends is cut off at the limit.
    session
        .handle_input(&raw_frame(0x02, b"\x01"), now)
        .unwrap();
    let fragment = raw_frame(0x00, &[0; 1000]);
    let ends = (0..100).find(|_| session.handle_input(&fragment, now).is_err());
    assert_eq!(ends, Some(65));
    assert!(session.buffered() <= bound());
}
