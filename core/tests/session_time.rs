//! Deadlines, with virtual time.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use std::time::{Duration, Instant};

use kubewire::channel::{STDIN, STDOUT, Subprotocol};
use kubewire::session::{Event, Exec, Session, SessionOptions};
use kubewire::{ErrorKind, Limits};
use session_support::*;

fn with(options: &SessionOptions, now: Instant) -> Session<Exec> {
    exec_with(all(), Subprotocol::V5, options, &Limits::default(), now)
}

/// Lets time pass until a session is closed or has nothing to wait for; frames with their times.
fn pass(session: &mut Session<Exec>, start: Instant, until: u64) -> Vec<(u64, u8)> {
    let mut frames = Vec::new();
    for _ in 0..1000 {
        frames.extend(
            sent(session)
                .into_iter()
                .map(|(opcode, _)| (u64::MAX, opcode)),
        );
        let Some(next) = session.poll_timeout() else {
            break;
        };
        let at = next.duration_since(start);
        if at > seconds(until) {
            break;
        }
        session.handle_timeout(next);
        assert!(
            session.poll_timeout().is_none_or(|again| again > next),
            "a busy loop"
        );
        for (opcode, _) in sent(session) {
            frames.push((at.as_secs(), opcode));
        }
    }
    frames
}

#[test]
fn a_silent_server_is_pinged_and_then_given_up() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    session.handle_input(&message(1, b"x"), now).unwrap();
    let frames = pass(&mut session, now, 10_000);
    assert_eq!(frames, [(20, PING), (40, PING)]);
    assert_eq!(describe(&session), "Aborted(Timeout(Pong))");
    assert!(session.is_closed() && session.poll_timeout().is_none());
    assert_eq!(read(&mut session, STDOUT), b"x");
    assert!(session.is_finished(STDOUT));
    assert_eq!(
        session.send(STDIN, b"x").unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(session.outcome().unwrap().to_error().unwrap().is_timeout());
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let now = start();
    for sign in [
        frame(PONG, b""),
        frame(PING, b""),
        message(2, b"y"),
        vec![0x82],
    ] {
        let mut session = with(&SessionOptions::default(), now);
        pass(&mut session, now, 59);
        session.handle_input(&sign, now + seconds(59)).unwrap();
        pass(&mut session, now, 118);
        assert!(session.outcome().is_none());
        pass(&mut session, now, 119);
        assert_eq!(describe(&session), "Aborted(Timeout(Pong))");
    }
}

#[test]
fn a_session_that_does_not_read_does_not_blame_the_server() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    let data = vec![0; 1 << 20];
    session.handle_input(&message(1, &data), now).unwrap();
    assert!(!session.wants_input());
    pass(&mut session, now, 10_000);
    assert!(session.outcome().is_none());
    // From when it reads again, the server has its whole time.
    read(&mut session, STDOUT);
    assert!(session.wants_input());
    pass(&mut session, now, 10_059);
    assert!(session.outcome().is_none());
    pass(&mut session, now, 10_100);
    assert_eq!(describe(&session), "Aborted(Timeout(Pong))");
}

#[test]
fn no_pings_no_pong_deadline() {
    let now = start();
    let mut session = with(&SessionOptions::default().ping_interval(None), now);
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(now + seconds(100_000));
    assert!(session.outcome().is_none());

    let options = SessionOptions::default().pong_timeout(None);
    let mut session = with(&options, now);
    assert_eq!(pass(&mut session, now, 2000).len(), 100);
    assert!(session.outcome().is_none());

    // Never shorter than two pings.
    let options = SessionOptions::default().pong_timeout(seconds(1));
    let mut session = with(&options, now);
    assert_eq!(pass(&mut session, now, 2000), [(20, PING)]);
    assert_eq!(describe(&session), "Aborted(Timeout(Pong))");
}

#[test]
fn idle_counts_data_only() {
    let now = start();
    let options = SessionOptions::default().idle_timeout(seconds(30));
    let mut session = with(&options, now);
    session
        .handle_input(&message(1, b"x"), now + seconds(12))
        .unwrap();
    session
        .handle_input(&frame(PONG, b""), now + seconds(35))
        .unwrap();
    let frames = pass(&mut session, now, 41);
    assert_eq!(frames, [(20, PING), (40, PING)]);
    let last = now + seconds(42);
    session.handle_timeout(last);
    assert_eq!(describe(&session), "Aborted(Timeout(Idle))");
    assert_eq!(sent(&mut session), [(CLOSE, vec![3, 232])]);
    assert!(!session.is_closed());
    session.handle_input(&close(1000), last).unwrap();
    assert!(session.is_closed());

    // What was sent counts, if late.
    let mut session = with(&options, now);
    session.send(STDIN, b"x").unwrap();
    pass(&mut session, now, 49);
    assert!(session.outcome().is_none());
    pass(&mut session, now, 50);
    assert_eq!(describe(&session), "Aborted(Timeout(Idle))");
}

#[test]
fn the_total_is_a_hard_limit() {
    let now = start();
    let options = SessionOptions::default().total_timeout(seconds(3));
    let mut session = with(&options, now);
    session.handle_timeout(now + Duration::from_millis(2999));
    assert!(session.outcome().is_none());
    session.handle_timeout(now + seconds(3));
    assert_eq!(describe(&session), "Aborted(Timeout(Total))");
    // A status that comes while closing changes nothing.
    session.handle_input(&exit("0"), now + seconds(4)).unwrap();
    assert_eq!(describe(&session), "Aborted(Timeout(Total))");
    pass(&mut session, now, 8);
    assert!(session.is_closed());
}

#[test]
fn closing_has_a_deadline() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    session.handle_input(&message(1, b"kept"), now).unwrap();
    session.send(STDIN, b"last words").unwrap();
    session.close(now + seconds(1));
    session.close(now + seconds(3));
    assert!(!session.is_closed() && session.wants_input());
    assert_eq!(
        sent(&mut session),
        [(BINARY, b"\0last words".to_vec()), (CLOSE, vec![3, 232])]
    );
    session.handle_input(&message(1, b"dropped"), now).unwrap();
    assert_eq!(session.poll_timeout(), Some(now + seconds(6)));
    assert!(session.outcome().is_none());
    session.handle_timeout(now + seconds(6));
    assert!(session.is_closed());
    assert_eq!(describe(&session), "Aborted(Closed)");
    assert_eq!(read(&mut session, STDOUT), b"kept");
    assert_eq!(session.poll_transmit(), None);
}

#[test]
fn closing_ends_with_the_answer_and_may_still_bring_the_status() {
    let now = start();
    for (wire, outcome) in [
        (close(1000), "Aborted(Closed)"),
        ([exit("7"), close(1000)].concat(), "Exited(7)"),
    ] {
        let mut session = with(&SessionOptions::default(), now);
        session.close(now);
        sent(&mut session);
        session.handle_input(&wire, now).unwrap();
        assert_eq!(describe(&session), outcome);
        assert!(session.is_closed());
        assert_eq!(events(&mut session).last(), Some(&Event::Closed));
    }
    // A transport that never takes the close frame.
    let mut session = with(&SessionOptions::default(), now);
    session.send(STDIN, b"stuck").unwrap();
    assert!(session.poll_transmit().is_some());
    session.close(now);
    session.handle_timeout(now + seconds(5));
    assert!(session.is_closed() && session.buffered() == 0);
}

#[test]
fn the_answer_to_a_close_has_a_deadline_too() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    session
        .handle_input(&[exit("3"), close(1000)].concat(), now)
        .unwrap();
    assert!(!session.is_closed() && !session.wants_input());
    assert!(session.poll_transmit().is_some());
    session.handle_timeout(now + seconds(5));
    assert!(session.is_closed());
    assert_eq!(describe(&session), "Exited(3)");
}

#[test]
fn a_server_that_does_not_close_after_the_status_is_left() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    session.handle_input(&exit("3"), now).unwrap();
    session
        .handle_input(&message(1, b"more"), now + seconds(4))
        .unwrap();
    pass(&mut session, now, 8);
    assert!(session.wants_input() && !session.is_finished(STDOUT));
    session.handle_timeout(now + seconds(9));
    assert_eq!(sent(&mut session), [(CLOSE, vec![3, 232])]);
    session.handle_timeout(now + seconds(14));
    assert!(session.is_closed());
    assert_eq!(read(&mut session, STDOUT), b"more");
    assert_eq!(describe(&session), "Exited(3)");
}

#[test]
fn the_status_does_not_cut_off_a_slow_reader() {
    let now = start();
    let mut session = with(&SessionOptions::default(), now);
    let wire = [exit("3"), message(1, &vec![1; 1 << 20])].concat();
    session.handle_input(&wire, now).unwrap();
    pass(&mut session, now, 1000);
    assert!(!session.is_closed());
    // The rest of the output was in the kernel all the time.
    assert_eq!(read(&mut session, STDOUT).len(), 1 << 20);
    let wire = [message(1, b"end"), close(1000)].concat();
    session.handle_input(&wire, now + seconds(1001)).unwrap();
    assert_eq!(read(&mut session, STDOUT), b"end");
}
