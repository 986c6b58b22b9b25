//! Tunnels over time: windows, half-close, connections that are not read, thousands of them.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;
mod tunnel_support;

use std::time::{Duration, Instant};

use kubewire::session::{
    ConnectionFault, ConnectionId, Outcome, SessionOptions, Tunnel, TunnelEvent, Unread,
};
use kubewire::{ErrorKind, Limits};
use session_support::{CLOSE, PING, PONG, Random, close, cut, frame, seconds, start};
use tunnel_support::*;

fn with(options: &SessionOptions, now: Instant) -> Tunnel {
    let limits = Limits {
        receive_window: 16 << 10,
        send_window: 32 << 10,
        ..Limits::default()
    };
    Tunnel::new(options, &limits, now)
}

/// Carries everything both ways until nothing moves.
fn settle(tunnel: &mut Tunnel, server: &mut Server, random: &mut Random, now: Instant) {
    loop {
        let (spdy, _) = transmit(tunnel);
        server.take(&spdy);
        if server.out.is_empty() || !tunnel.wants_input() {
            return;
        }
        let wire = messages(&std::mem::take(&mut server.out), random);
        for piece in cut(random, &wire) {
            tunnel.handle_input(piece, now).unwrap();
        }
    }
}

#[test]
fn half_close_in_both_directions() {
    let now = start();
    let mut tunnel = tunnel(now);
    let (first, second) = (tunnel.open(80).unwrap(), tunnel.open(80).unwrap());
    // This side ends first; the pod still answers.
    assert_eq!(tunnel.send(first, b"ask").unwrap(), 3);
    tunnel.finish(first).unwrap();
    tunnel.finish(first).unwrap();
    let error = tunnel.send(first, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let sent = Parser::default().feed(&transmit(&mut tunnel).0);
    let ask = [Sent::Data(3, b"ask".to_vec()), Sent::Fin(3)];
    assert_eq!(sent[4..], ask);
    let answer = [data(3, b"answer"), fin(3), fin(1)].concat();
    tunnel.handle_input(&message(&answer), now).unwrap();
    assert_eq!(read(&mut tunnel, first), b"answer");
    assert!(tunnel.is_finished(first) && tunnel.error(first).is_none());
    // The pod ends first; it still listens.
    let bye = [data(7, b"bye"), fin(7)].concat();
    tunnel.handle_input(&message(&bye), now).unwrap();
    assert_eq!(read(&mut tunnel, second), b"bye");
    assert!(tunnel.is_finished(second));
    assert_eq!(tunnel.send(second, b"more").unwrap(), 4);
    tunnel.finish(second).unwrap();
    let more = [data(7, b"more"), fin(7)].concat();
    assert_eq!(transmit(&mut tunnel), (more, vec![]));
    assert!(tunnel.error(second).is_none());
    tunnel.release(first);
    tunnel.release(second);
    // Both sides have finished, though the node has not said so yet.
    assert_eq!(transmit(&mut tunnel), (vec![], vec![]));
    tunnel.handle_input(&message(&fin(5)), now).unwrap();
    assert_eq!(transmit(&mut tunnel), (vec![], vec![]));
    assert_eq!(tunnel.connections(), 0);
}

#[test]
fn all_of_what_one_connection_has_to_send_goes_out() {
    let now = start();
    let mut tunnel = tunnel(now);
    let id = tunnel.open(80).unwrap();
    let sent: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    let accepted = tunnel.send(id, &sent).unwrap();
    assert!(accepted > 100_000, "{accepted} bytes");
    let (spdy, _) = transmit(&mut tunnel);
    let mut arrived = Vec::new();
    for frame in Parser::default().feed(&spdy) {
        if let Sent::Data(3, data) = frame {
            arrived.extend(data);
        }
    }
    assert!(arrived == sent[..accepted], "{} bytes", arrived.len());
}

#[test]
fn what_the_node_has_ended_takes_nothing_any_more() {
    let now = start();
    let mut tunnel = tunnel(now);
    let id = tunnel.open(80).unwrap();
    transmit(&mut tunnel);
    tunnel
        .handle_input(&message(&[fin(1), fin(3)].concat()), now)
        .unwrap();
    assert_eq!(tunnel.send(id, b"x").unwrap_err().kind(), ErrorKind::Closed);
    assert!(tunnel.is_finished(id) && tunnel.error(id).is_none());
    // The server is told that this side is done as well.
    assert_eq!(transmit(&mut tunnel).0, rst(3, 5));
    tunnel.release(id);
    assert_eq!(transmit(&mut tunnel).0, b"");
}

#[test]
fn words_that_come_late_or_in_pieces() {
    let now = start();
    let limits = Limits {
        max_error_body: 10,
        ..Limits::default()
    };
    let mut tunnel = Tunnel::new(&SessionOptions::default(), &limits, now);
    let id = tunnel.open(80).unwrap();
    transmit(&mut tunnel);
    let reset = [data(3, b"got"), rst(3, 6)].concat();
    tunnel.handle_input(&message(&reset), now).unwrap();
    assert_eq!(tunnel.fault(id), Some(&ConnectionFault::Reset(6)));
    assert_eq!(tunnel.error(id).unwrap().kind(), ErrorKind::Truncated);
    let words = [data(1, b"no \xff such"), data(1, &[b'x'; 100]), fin(1)].concat();
    tunnel.handle_input(&message(&words), now).unwrap();
    let fault = ConnectionFault::Node("no \u{fffd} suchx".to_owned());
    assert_eq!(tunnel.fault(id), Some(&fault));
    assert_eq!(read(&mut tunnel, id), b"got");
    assert!(tunnel.is_finished(id));
}

#[test]
fn dropping_readers_and_connections() {
    let now = start();
    let mut tunnel = tunnel(now);
    // Nothing was sent of it: no trace.
    let id = tunnel.open(80).unwrap();
    tunnel.release(id);
    assert_eq!(transmit(&mut tunnel).0, b"");
    assert_eq!(tunnel.send(id, b"x").unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(tunnel.finish(id).unwrap_err().kind(), ErrorKind::Usage);
    assert!(tunnel.is_finished(id) && tunnel.port(id).is_none());
    // What was accepted is sent before it is broken off.
    let id = tunnel.open(80).unwrap();
    assert_eq!(tunnel.send(id, b"last words").unwrap(), 10);
    tunnel.finish(id).unwrap();
    tunnel.release(id);
    assert_eq!(tunnel.connections(), 0);
    let mut parser = Parser::default();
    let sent = parser.feed(&transmit(&mut tunnel).0);
    let rest = [
        Sent::Data(7, b"last words".to_vec()),
        Sent::Fin(7),
        Sent::Rst(7, 5),
    ];
    assert_eq!(sent[2..], rest);
    assert_eq!(tunnel.buffered(), 0);
    // A reader that is gone holds nothing up, and the writer goes on until it has finished.
    let id = tunnel.open(80).unwrap();
    tunnel.discard(id);
    assert!(tunnel.is_finished(id));
    parser.feed(&transmit(&mut tunnel).0);
    for _ in 0..1000 {
        tunnel
            .handle_input(&message(&data(11, &vec![0; 32 << 10])), now)
            .unwrap();
    }
    assert!(tunnel.wants_input() && tunnel.buffered() < 100 << 10);
    assert_eq!(tunnel.send(id, b"x").unwrap(), 1);
    assert_eq!(parser.feed(&transmit(&mut tunnel).0).len(), 1);
    tunnel.finish(id).unwrap();
    let sent = parser.feed(&transmit(&mut tunnel).0);
    assert_eq!(sent, [Sent::Fin(11), Sent::Rst(11, 5)]);
    tunnel.release(id);
    assert_eq!(transmit(&mut tunnel).0, b"");
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let now = start();
    let mut tunnel = tunnel(now);
    let mut server = Server::default();
    let mut random = Random::new(1);
    for round in 0..1000_u32 {
        let id = tunnel.open(if round % 3 == 0 { 81 } else { 7 }).unwrap();
        assert_eq!(id.get(), round);
        assert_eq!(tunnel.send(id, b"hello").unwrap(), 5);
        if round % 2 == 0 {
            tunnel.finish(id).unwrap();
        }
        if round % 5 != 0 {
            settle(&mut tunnel, &mut server, &mut random, now);
        }
        if round % 7 != 0 {
            events(&mut tunnel);
        }
        if round % 3 == 1 && round % 5 != 0 {
            assert_eq!(read(&mut tunnel, id), b"hello");
        }
        tunnel.release(id);
    }
    settle(&mut tunnel, &mut server, &mut random, now);
    assert_eq!((tunnel.connections(), tunnel.buffered()), (0, 0));
    assert!(
        server.streams.is_empty(),
        "the server has forgotten them too"
    );
    assert!(format!("{tunnel:?}").contains("connections: 0"));
    assert_eq!(events(&mut tunnel), []);
}

#[test]
fn twenty_connections_one_of_which_nobody_reads() {
    let mut now = start();
    let options = SessionOptions::default();
    let mut tunnel = with(&options, now);
    let mut server = Server::default();
    let mut random = Random::new(2);
    let unread = tunnel.open(19).unwrap();
    let others: Vec<ConnectionId> = (0..19).map(|_| tunnel.open(7).unwrap()).collect();
    let mut stalls = 0;
    for round in 0..200_u32 {
        // The pod sends 1 KiB that nobody reads for each of the others' echoes.
        if server.streams.contains_key(&3) {
            server.out.extend(data(3, &[7; 1024]));
        }
        for &id in &others {
            let text = format!("{id}: {round}");
            assert_eq!(tunnel.send(id, text.as_bytes()).unwrap(), text.len());
        }
        settle(&mut tunnel, &mut server, &mut random, now);
        for &id in &others {
            let mut echo = read(&mut tunnel, id);
            if !tunnel.wants_input() {
                stalls += 1;
                let due = tunnel.poll_timeout().unwrap();
                assert_eq!(due.duration_since(now), seconds(1));
                now = due;
                tunnel.handle_timeout(now);
            }
            settle(&mut tunnel, &mut server, &mut random, now);
            echo.extend(read(&mut tunnel, id));
            assert_eq!(echo, format!("{id}: {round}").as_bytes());
        }
        assert!(tunnel.buffered() < (64 << 10) + (64 << 10));
    }
    assert_eq!(stalls, 1, "the credit was used up once, and that was it");
    assert_eq!(tunnel.fault(unread), Some(&ConnectionFault::Stalled));
    assert_eq!(tunnel.error(unread).unwrap().kind(), ErrorKind::Limit);
    assert!(tunnel.is_finished(unread) && tunnel.poll_data(unread).is_none());
    assert!(events(&mut tunnel).contains(&TunnelEvent::Failed(unread)));
    assert_eq!(server.resets, 1);
    assert!(others.iter().all(|&id| tunnel.fault(id).is_none()));
}

/// Fills the credit of a connection, and gives the number of bytes.
fn fill(tunnel: &mut Tunnel, id: ConnectionId, now: Instant) -> usize {
    let mut filled = 0;
    while tunnel.wants_input() {
        let bytes = data(4 * id.get() + 3, &[1; 1000]);
        tunnel.handle_input(&message(&bytes), now).unwrap();
        filled += 1000;
    }
    filled
}

#[test]
fn a_slow_reader_loses_nothing() {
    let mut now = start();
    let mut tunnel = with(&SessionOptions::default().ping_interval(None), now);
    let (slow, other) = (tunnel.open(80).unwrap(), tunnel.open(80).unwrap());
    assert_eq!(tunnel.poll_data(other), None);
    let mut filled = fill(&mut tunnel, slow, now);
    let mut taken = 0;
    for _ in 0..50 {
        now += Duration::from_millis(900);
        tunnel.handle_timeout(now);
        taken += tunnel.poll_data(slow).unwrap().len();
        filled += fill(&mut tunnel, slow, now);
    }
    taken += read(&mut tunnel, slow).len();
    assert_eq!(taken, filled);
    assert_eq!(events(&mut tunnel).last(), Some(&TunnelEvent::Resumed));
    assert_eq!(tunnel.fault(slow), None);
    // Nor does one that takes a little of much.
    let mut filled = fill(&mut tunnel, slow, now);
    for _ in 0..2 {
        tunnel
            .handle_input(&message(&data(3, &vec![2; 60_000])), now)
            .unwrap();
        filled += 60_000;
    }
    now += seconds(1);
    filled -= tunnel.poll_data(slow).unwrap().len();
    assert!(!tunnel.wants_input());
    tunnel.handle_timeout(now);
    assert_eq!(read(&mut tunnel, slow).len(), filled);
    assert!(tunnel.wants_input());
    assert_eq!(tunnel.poll_timeout(), None);
}

#[test]
fn nothing_is_reset_for_nobody() {
    let now = start();
    let options = SessionOptions::default().ping_interval(None);
    let mut tunnel = with(&options, now);
    let (full, other) = (tunnel.open(80).unwrap(), tunnel.open(80).unwrap());
    // The other one has data to read.
    tunnel
        .handle_input(&message(&data(7, b"here")), now)
        .unwrap();
    let filled = fill(&mut tunnel, full, now);
    assert_eq!(tunnel.poll_timeout(), None);
    tunnel.handle_timeout(now + seconds(1000));
    assert_eq!(tunnel.fault(full), None);
    // Now it wants more: the deadline has passed long ago.
    assert_eq!(read(&mut tunnel, other), b"here");
    let later = now + seconds(1000);
    assert!(tunnel.poll_timeout().unwrap() <= later);
    assert_eq!(tunnel.fault(full), None);
    tunnel.handle_timeout(later);
    assert_eq!(tunnel.fault(full), Some(&ConnectionFault::Stalled));
    assert!(tunnel.wants_input() && filled > 64 << 10);
    assert_eq!(tunnel.poll_timeout(), None);

    // The other policy: it waits for ever, and nothing is lost.
    let mut tunnel = with(&options.unread(Unread::Backpressure), now);
    let (full, other) = (tunnel.open(80).unwrap(), tunnel.open(80).unwrap());
    assert_eq!(tunnel.poll_data(other), None);
    let filled = fill(&mut tunnel, full, now);
    tunnel.handle_timeout(now + seconds(1000));
    assert_eq!(tunnel.poll_timeout(), None);
    assert!(!tunnel.wants_input());
    assert_eq!(read(&mut tunnel, full).len(), filled);
    assert!(tunnel.wants_input());
}

#[test]
fn all_together_have_a_bound_too() {
    let now = start();
    let mut tunnel = with(&SessionOptions::default(), now);
    let ids: Vec<_> = (0..40).map(|_| tunnel.open(80).unwrap()).collect();
    // Each stays below its own credit of 64 KiB.
    for (round, &id) in ids.iter().enumerate() {
        if !tunnel.wants_input() {
            break;
        }
        let size = 30_000 + 1000 * (round % 3);
        let bytes = data(4 * id.get() + 3, &vec![1; size]);
        tunnel.handle_input(&message(&bytes), now).unwrap();
    }
    assert!(!tunnel.wants_input());
    assert!(tunnel.buffered() <= (256 << 10) + 32_000);
    tunnel.handle_timeout(now + seconds(1));
    let failed: Vec<_> = ids
        .iter()
        .filter(|&&id| tunnel.fault(id).is_some())
        .collect();
    assert_eq!(failed.len(), 1, "one of those that hold most");
    assert!(tunnel.wants_input());
}

#[test]
fn memory_is_bounded_while_much_flows() {
    let now = start();
    let mut tunnel = tunnel(now);
    let ids: Vec<_> = (0..8).map(|_| tunnel.open(9).unwrap()).collect();
    let piece = vec![3; 100_000];
    let (mut up, mut down) = (0, 0);
    let mut random = Random::new(3);
    while up < 64 << 20 || down < 64 << 20 {
        for &id in &ids {
            up += tunnel.send(id, &piece).unwrap();
            if tunnel.wants_input() && down < 64 << 20 {
                let bytes = data(4 * id.get() + 3, &piece);
                for part in bytes.chunks(32 << 10) {
                    tunnel.handle_input(&message(part), now).unwrap();
                }
            }
            if random.below(3) == 0 {
                down += read(&mut tunnel, id).len();
            }
            assert!(tunnel.buffered() < (16 << 20) + (512 << 10) + (200 << 10));
        }
        for _ in 0..random.below(60) {
            let Some(bytes) = tunnel.poll_transmit() else {
                break;
            };
            let n = random.below(2 * bytes.len()).min(bytes.len());
            tunnel.transmitted(n);
        }
    }
    assert!(ids.iter().all(|&id| tunnel.fault(id).is_none()));
}

#[test]
fn partial_writes_and_turns() {
    let now = start();
    let mut tunnel = with(&SessionOptions::default(), now);
    let (big, small) = (tunnel.open(9).unwrap(), tunnel.open(9).unwrap());
    let text: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut rest = &text[..];
    let accepted = tunnel.send(big, rest).unwrap();
    assert_eq!(accepted, 16 << 10, "half of the window");
    rest = &rest[accepted..];
    assert_eq!(tunnel.send(big, rest).unwrap(), 0);
    assert_eq!(tunnel.send(small, b"quick").unwrap(), 5);
    assert_eq!(events(&mut tunnel), []);
    let mut random = Random::new(4);
    let mut wire = Vec::new();
    let mut woken = 0;
    while let Some(bytes) = tunnel.poll_transmit() {
        let again = bytes.to_vec();
        let n = random.below(bytes.len() + 1).min(5000);
        wire.extend_from_slice(&bytes[..n]);
        assert!(tunnel.poll_transmit() == Some(&again[..]), "it stays");
        tunnel.transmitted(n);
        for event in events(&mut tunnel) {
            assert_eq!(event, TunnelEvent::Writable(big));
            woken += 1;
            while let accepted @ 1.. = tunnel.send(big, rest).unwrap() {
                rest = &rest[accepted..];
            }
            if rest.is_empty() {
                tunnel.finish(big).unwrap();
            }
        }
    }
    assert!(woken >= 200_000 / (16 << 10));
    let sent = Parser::default().feed(&unwrap(&wire).0);
    let data: Vec<u8> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Data(3, data) => Some(data.clone()),
            Sent::Data(..) | Sent::Open { .. } | Sent::Fin(_) | Sent::Rst(..) | Sent::Ping(_) => {
                None
            }
        })
        .flatten()
        .collect();
    assert!(data == text);
    assert_eq!(sent.last(), Some(&Sent::Fin(3)));
    let place = |wanted: &Sent| sent.iter().position(|sent| sent == wanted).unwrap();
    assert!(place(&Sent::Data(7, b"quick".to_vec())) <= 5, "no waiting");
}

#[test]
fn room_that_failures_make_is_told() {
    let now = start();
    let mut tunnel = with(&SessionOptions::default(), now);
    let others: Vec<_> = (0..10).map(|_| tunnel.open(9).unwrap()).collect();
    let last = tunnel.open(9).unwrap();
    transmit(&mut tunnel);
    // Twice the window waits, so there is no room for the last one at all.
    for &id in &others {
        assert!(tunnel.send(id, &vec![0; 32 << 10]).unwrap() >= 4 << 10);
    }
    assert_eq!(tunnel.send(last, b"x").unwrap(), 0);
    let resets: Vec<u8> = others
        .iter()
        .flat_map(|id| rst(4 * id.get() + 3, 1))
        .collect();
    tunnel.handle_input(&message(&resets), now).unwrap();
    // Nothing is left to be sent, so that cannot be what wakes the writer.
    assert!(tunnel.poll_transmit().is_none());
    assert!(events(&mut tunnel).contains(&TunnelEvent::Writable(last)));
    assert_eq!(tunnel.send(last, b"x").unwrap(), 1);
}

#[test]
fn a_server_that_goes_away() {
    let now = start();
    let mut tunnel = tunnel(now);
    let old = tunnel.open(80).unwrap();
    transmit(&mut tunnel);
    let new = tunnel.open(80).unwrap();
    tunnel.handle_input(&message(&goaway(3)), now).unwrap();
    assert_eq!(
        events(&mut tunnel),
        [
            TunnelEvent::Failed(new),
            TunnelEvent::Readable(new),
            TunnelEvent::GoingAway
        ]
    );
    assert_eq!(tunnel.fault(new), Some(&ConnectionFault::NotStarted));
    assert!(!tunnel.can_open());
    assert_eq!(tunnel.open(80).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(transmit(&mut tunnel).0, b"", "it was never opened");
    let rest = [data(3, b"rest"), fin(3), fin(1)].concat();
    tunnel.handle_input(&message(&rest), now).unwrap();
    assert_eq!(read(&mut tunnel, old), b"rest");
    tunnel.handle_input(&close(1000), now).unwrap();
    assert!(matches!(tunnel.outcome(), Some(Outcome::Ended)));
    assert_eq!(transmit(&mut tunnel).1, [CLOSE]);
    assert!(tunnel.is_closed() && tunnel.error(old).is_none());
}

#[test]
fn closing_sends_what_was_accepted() {
    let now = start();
    let mut tunnel = tunnel(now);
    let id = tunnel.open(80).unwrap();
    assert_eq!(tunnel.send(id, b"last").unwrap(), 4);
    tunnel.close(now);
    assert_eq!(tunnel.send(id, b"x").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(tunnel.open(80).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(tunnel.error(id).unwrap().kind(), ErrorKind::Closed);
    let (spdy, others) = transmit(&mut tunnel);
    let sent = Parser::default().feed(&spdy);
    assert_eq!(sent[2..], [Sent::Data(3, b"last".to_vec())]);
    assert_eq!(others, [CLOSE]);
    assert!(tunnel.wants_input());
    tunnel.handle_timeout(now + seconds(5));
    assert!(tunnel.is_closed());
    assert_eq!(
        events(&mut tunnel),
        [
            TunnelEvent::Readable(id),
            TunnelEvent::Outcome,
            TunnelEvent::Closed
        ]
    );
    assert_eq!(tunnel.buffered(), 0);
}

#[test]
fn deadlines() {
    let now = start();
    let options = SessionOptions::default()
        .ping_interval(seconds(10))
        .pong_timeout(seconds(30))
        .idle_timeout(seconds(100))
        .total_timeout(seconds(1000));
    let mut tunnel = Tunnel::new(&options, &Limits::default(), now);
    tunnel.handle_timeout(now + seconds(10));
    tunnel.handle_timeout(now + seconds(20));
    // Pings that could not be written do not heap up.
    assert_eq!(transmit(&mut tunnel).0, ping(1));
    tunnel.handle_timeout(now + seconds(30));
    assert_eq!(
        format!("{:?}", tunnel.outcome()),
        "Some(Aborted(Timeout(Pong)))"
    );
    assert!(tunnel.is_closed());

    let mut tunnel = Tunnel::new(&options, &Limits::default(), now);
    for step in 1..10 {
        let at = now + seconds(10 * step);
        tunnel.handle_timeout(at);
        let (_, others) = transmit(&mut tunnel);
        assert_eq!(others, [PING]);
        tunnel.handle_input(&frame(PONG, b""), at).unwrap();
    }
    tunnel.handle_timeout(now + seconds(100));
    assert_eq!(
        format!("{:?}", tunnel.outcome()),
        "Some(Aborted(Timeout(Idle)))"
    );
    assert_eq!(transmit(&mut tunnel).1, [CLOSE]);
    assert_eq!(tunnel.open(0).unwrap_err().kind(), ErrorKind::Usage);
}
