//! No bytes and no order of calls make a session panic, grow, spin, or change its mind.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use std::time::{Duration, Instant};

use kubewire::channel::Subprotocol;
use kubewire::session::{Overflow, PortForward, Protocol, Session, SessionOptions};
use kubewire::{Error, ErrorKind, Limits};
use session_support::*;

fn limits() -> Limits {
    Limits {
        receive_window: 3000,
        send_window: 2000,
        max_message: 2000,
        max_error_body: 500,
        ..Limits::default()
    }
}

/// Bytes that look like frames more often than not.
fn noise(random: &mut Random) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..random.below(400)).map(|_| random.byte()).collect();
    if let Some(channel) = payload.first_mut() {
        *channel %= 8;
    }
    match random.below(40) {
        0 => payload,
        1 => raw_frame(random.byte(), &payload),
        2 => exit("3"),
        3 => message(3, &payload),
        4 => close(1000),
        5 => message(1, &vec![0; random.below(3000)]),
        6 => raw_frame(0x02, &payload),
        7..12 => frame(PING, &payload[..payload.len().min(125)]),
        12..20 => message(
            u8::try_from(random.below(4)).unwrap(),
            &80_u16.to_le_bytes(),
        ),
        _ => frame(BINARY, &payload),
    }
}

/// Calls at random, and checks what must always hold. The transport's rules are kept: no input
/// while none is wanted, most of the time.
fn torment<P: Protocol>(mut session: Session<P>, random: &mut Random, start: Instant) {
    let mut now = start;
    let mut outcome = None;
    let mut excess = 0;
    for _ in 0..200 {
        let channel = [0, 1, 2, 3, 4, 255][random.below(6)];
        match random.below(16) {
            0..4 => {
                let wanted = session.wants_input();
                if wanted || random.below(20) == 0 {
                    let mut bytes = noise(random);
                    if random.below(30) == 0 {
                        let at = random.below(bytes.len());
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = random.byte();
                        }
                    }
                    let _ = session.handle_input(&bytes, now);
                    excess += if wanted { 0 } else { bytes.len() };
                }
            }
            4..6 => drop(session.poll_data(channel)),
            6 | 7 => {
                if let Some(bytes) = session.poll_transmit() {
                    let n = random.below(bytes.len() + 1);
                    session.transmitted(n);
                }
            }
            8 | 9 => {
                let _ = session.send(channel, &vec![1; random.below(3000)]);
            }
            10 => {
                let _ = session.poll_event();
            }
            11 => {
                now += Duration::from_millis(u64::try_from(random.below(9000)).unwrap());
                session.handle_timeout(now);
                // Passed deadlines are dealt with one at a time, and then no more is due.
                for _ in 0..3 {
                    session.handle_timeout(now);
                }
                assert!(session.poll_timeout().is_none_or(|next| next > now));
            }
            12 => {
                let _ = session.resize(80, 24);
                let _ = session.finish(channel);
            }
            13 if random.below(20) == 0 => session.discard(channel),
            13 if random.below(20) == 0 => session.set_overflow(channel, Overflow::Drop),
            14 if random.below(40) == 0 => session.close(now),
            15 if random.below(60) == 0 => session.handle_end(),
            15 if random.below(60) == 0 => {
                session.handle_error(Error::new(ErrorKind::Transport, "reset"));
            }
            _ => session.transmitted(random.below(3)),
        }
        let described = describe(&session);
        if let Some(before) = &outcome {
            assert_eq!(&described, before);
        } else if session.outcome().is_some() {
            outcome = Some(described);
        }
        if session.is_closed() {
            assert!(session.outcome().is_some() && session.poll_transmit().is_none());
            assert!(session.poll_timeout().is_none() && !session.wants_input());
        }
        let bound =
            3 * (3000 + 2000) + 2000 + 2 * 2000 + 500 * 4 + (16 << 10) + (100 << 10) + excess;
        assert!(session.buffered() <= bound, "{session:?}");
    }
    session.handle_end();
    assert!(session.outcome().is_some() && session.is_closed());
    for channel in 0..=255 {
        while session.poll_data(channel).is_some() {}
        assert!(session.is_finished(channel));
        let _ = session.send(channel, b"x").unwrap_err();
    }
    let told = std::iter::from_fn(|| session.poll_event()).count();
    assert!(told < 20 && session.buffered() <= 2000);
}

#[test]
fn any_order_of_calls() {
    let now = start();
    for seed in 0..5000 {
        let mut random = Random::new(seed);
        let mut options = SessionOptions::default().ping_interval(seconds(1));
        if seed % 3 == 0 {
            options = options
                .idle_timeout(seconds(5))
                .total_timeout(seconds(100))
                .overflow(Overflow::Drop);
        }
        if seed % 2 == 0 {
            let streams = if seed % 4 == 0 { all() } else { all().tty() };
            let version = [Subprotocol::V4, Subprotocol::V5][random.below(2)];
            let session = exec_with(streams, version, &options, &limits(), now);
            torment(session, &mut random, now);
        } else {
            let ports = PortForward::new([80, 80]).unwrap();
            let session = Session::new(ports, Subprotocol::V4, &options, &limits(), now);
            torment(session, &mut random, now);
        }
    }
}

#[test]
fn random_bytes_in_any_cut() {
    let now = start();
    for seed in 0..5000 {
        let mut random = Random::new(seed);
        let mut wire = Vec::new();
        for _ in 0..random.below(12) {
            wire.extend(noise(&mut random));
        }
        let make = || {
            let options = SessionOptions::default();
            exec_with(all(), Subprotocol::V5, &options, &limits(), now)
        };
        let whole = run(&mut make(), 4, &[&wire], now);
        let pieces = cut(&mut random, &wire);
        assert_eq!(run(&mut make(), 4, &pieces, now), whole, "seed {seed}");
    }
}
