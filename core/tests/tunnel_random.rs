//! No bytes and no order of calls make a tunnel panic, grow, spin, or change its mind.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;
mod tunnel_support;

use std::time::{Duration, Instant};

use kubewire::session::{ConnectionId, SessionOptions, Tunnel, Unread};
use kubewire::{Error, ErrorKind, Limits};
use session_support::{CLOSE, PING, Random, client_frames, close, cut, frame, seconds, start};
use tunnel_support::*;

fn limits() -> Limits {
    Limits {
        receive_window: 1000,
        send_window: 2000,
        max_message: 5000,
        max_error_body: 100,
        ..Limits::default()
    }
}

/// Bytes that look like SPDY more often than not.
fn noise(random: &mut Random) -> Vec<u8> {
    let stream = u32::try_from(random.below(40)).unwrap();
    let mut payload: Vec<u8> = (0..random.below(600)).map(|_| random.byte()).collect();
    match random.below(60) {
        0 => payload,
        1 => control(random.byte(), random.byte(), &payload),
        2 => goaway(stream),
        3..8 => ping(stream),
        8..12 => rst(stream, 5),
        12..18 => fin(stream),
        18..22 => reply(stream),
        22..25 => {
            payload.truncate(12);
            control(u8::try_from(random.below(10)).unwrap(), 1, &payload)
        }
        _ => data(stream, &payload),
    }
}

fn wire(random: &mut Random) -> Vec<u8> {
    match random.below(60) {
        0 => close(1000),
        1 => noise(random),
        2..5 => frame(PING, b"x"),
        _ => {
            let mut spdy = noise(random);
            if random.below(50) == 0 {
                let at = random.below(spdy.len());
                if let Some(byte) = spdy.get_mut(at) {
                    *byte = random.byte();
                }
            }
            messages(&spdy, random)
        }
    }
}

fn torment(mut tunnel: Tunnel, random: &mut Random, start: Instant) {
    let mut now = start;
    let mut ids: Vec<ConnectionId> = Vec::new();
    let mut outcome = None;
    let mut excess = 0;
    let mut parser = Parser::default();
    let mut sent = Vec::new();
    for _ in 0..150 {
        let id = ids.get(random.below(ids.len())).copied();
        match (random.below(18), id) {
            (0, _) | (_, None) => ids.extend(tunnel.open(80)),
            (1..6, _) => {
                let wanted = tunnel.wants_input();
                if wanted || random.below(20) == 0 {
                    let bytes = wire(random);
                    let _ = tunnel.handle_input(&bytes, now);
                    excess += if wanted { 0 } else { bytes.len() };
                }
            }
            (6 | 7, Some(id)) => drop(tunnel.poll_data(id)),
            (8 | 9, _) => {
                if let Some(bytes) = tunnel.poll_transmit() {
                    let n = random.below(bytes.len() + 1);
                    sent.extend_from_slice(&bytes[..n]);
                    tunnel.transmitted(n);
                }
            }
            (10 | 11, Some(id)) => {
                let _ = tunnel.send(id, &vec![1; random.below(3000)]);
            }
            (12, _) => {
                let _ = tunnel.poll_event();
            }
            (13, _) => {
                now += Duration::from_millis(u64::try_from(random.below(3000)).unwrap());
                for _ in 0..4 {
                    tunnel.handle_timeout(now);
                }
                assert!(tunnel.poll_timeout().is_none_or(|next| next > now));
            }
            (14, Some(id)) => {
                let _ = tunnel.finish(id);
            }
            (15, Some(id)) if random.below(5) == 0 => tunnel.discard(id),
            (15, Some(id)) if random.below(3) == 0 => tunnel.release(id),
            (16, _) if random.below(40) == 0 => tunnel.close(now),
            (17, _) if random.below(60) == 0 => tunnel.handle_end(),
            (17, _) if random.below(60) == 0 => {
                tunnel.handle_error(Error::new(ErrorKind::Transport, "reset"));
            }
            _ => {}
        }
        let described = tunnel.outcome().map(|outcome| format!("{outcome:?}"));
        if outcome.is_some() {
            assert_eq!(described, outcome);
        }
        outcome = described;
        if tunnel.is_closed() {
            assert!(outcome.is_some() && tunnel.poll_transmit().is_none());
            assert!(tunnel.poll_timeout().is_none() && !tunnel.wants_input());
        }
        let texts = ids.len() * 300;
        let bound = 16_000 + 5000 + 2 * 2000 + 2000 + texts + (100 << 10) + excess;
        assert!(tunnel.buffered() <= bound, "{tunnel:?}");
    }
    // Whatever was sent is right.
    let (frames, _) = client_frames(&sent);
    for (opcode, payload) in frames {
        if opcode == 2 {
            parser.feed(&payload);
        } else {
            assert!([CLOSE, PING, 10].contains(&opcode));
        }
    }
    tunnel.handle_end();
    assert!(tunnel.outcome().is_some() && tunnel.is_closed());
    for &id in &ids {
        while tunnel.poll_data(id).is_some() {}
        assert!(tunnel.is_finished(id));
        let _ = tunnel.send(id, b"x").unwrap_err();
    }
    let told = std::iter::from_fn(|| tunnel.poll_event()).count();
    assert!(told <= 3 * ids.len() + 4);
    for id in ids {
        tunnel.release(id);
        tunnel.release(id);
    }
    assert_eq!(tunnel.connections(), 0);
    assert!(tunnel.buffered() <= 5000 && tunnel.poll_event().is_none());
}

#[test]
fn any_order_of_calls() {
    let now = start();
    for seed in 0..10_000 {
        let mut random = Random::new(seed);
        let mut options = SessionOptions::default().ping_interval(seconds(1));
        if seed % 3 == 0 {
            options = options
                .idle_timeout(seconds(5))
                .total_timeout(seconds(60))
                .unread(Unread::Backpressure);
        }
        if seed % 7 == 0 {
            options = options.unread(Unread::Reset {
                after: Duration::ZERO,
            });
        }
        torment(Tunnel::new(&options, &limits(), now), &mut random, now);
    }
}

#[test]
fn random_bytes_in_any_cut() {
    let now = start();
    for seed in 0..10_000 {
        let mut random = Random::new(seed);
        let spdy: Vec<u8> = (0..random.below(12))
            .flat_map(|_| noise(&mut random))
            .collect();
        let run = |random: &mut Random, whole: bool| {
            let mut tunnel = tunnel(now);
            let ids: Vec<_> = (0..8).map(|_| tunnel.open(80).unwrap()).collect();
            transmit(&mut tunnel);
            let wire = if whole {
                message(&spdy)
            } else {
                messages(&spdy, random)
            };
            let mut error = None;
            for piece in cut(random, &wire) {
                if let Err(fault) = tunnel.handle_input(piece, now) {
                    error = Some(fault.to_string());
                }
            }
            tunnel.handle_end();
            let seen: Vec<_> = ids
                .iter()
                .map(|&id| {
                    let fault = tunnel.fault(id).cloned();
                    let failed = tunnel.error(id).is_some();
                    (read(&mut tunnel, id), fault, failed)
                })
                .collect();
            (seen, error, format!("{:?}", tunnel.outcome()))
        };
        let whole = run(&mut Random::new(seed), true);
        assert!(run(&mut random, false) == whole, "seed {seed}");
    }
}
