//! Tunnels: any operations, any bytes of the server, virtual time.
//!
//! Input: flags and limits, then operations until the end.

mod codec;
mod model;

use std::time::{Duration, Instant};

use kubewire::session::{ConnectionId, Outcome, Tunnel, TunnelEvent, Unread};
use kubewire::{Error, ErrorKind};

use crate::frames::{ServerFrames, server_frame};
use crate::input::Input;
use crate::wire::{Wire, limits, options};
use model::{Connection, Model};

const MAX_CONNECTIONS: usize = 40;

/// Against a model of both sides: what was accepted goes out in order, in SPDY that an independent
/// reader understands; what came is delivered exactly, to the end that the model knows; faults are
/// those of the model, and concern no other connection; who was turned away is told of room; what is
/// held is bounded; there is one outcome, and every tunnel closes.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let limits = limits(&mut input);
    let mut options = options(flags);
    options.unread = if flags & 8 == 8 {
        Unread::Backpressure
    } else {
        Unread::Reset {
            after: Duration::from_millis(500),
        }
    };
    let now = Instant::now();
    let tunnel = Tunnel::new(&options, &limits, now);
    let server = ServerFrames::allowing_empty(limits.max_message);
    let mut run = Run {
        model: Model::new(limits.max_error_body),
        wire: Wire::new(tunnel, server, limits, flags, now),
        may_reset: flags & 8 == 0,
        unsent: Vec::new(),
        told_going_away: false,
        outcomes: 0,
        closes: 0,
        largest: 0,
    };
    while !input.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.end();
}

struct Run {
    wire: Wire<Tunnel>,
    model: Model,
    may_reset: bool,
    /// SPDY that was not put into messages yet.
    unsent: Vec<u8>,
    told_going_away: bool,
    outcomes: usize,
    closes: usize,
    /// The longest piece that was handed in.
    largest: usize,
}

impl Run {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0 => self.open(input.pick(&[80, 443, 65535, 0])),
            1 => self.send(input.byte(), usize::from(input.short())),
            2 => self.send(input.byte(), usize::from(input.byte())),
            3 => self.finish(input.byte()),
            4 => self.read(input.byte()),
            5 => self.discard(input.byte()),
            6 => self.release(input.byte()),
            7 => self.transmit(usize::from(input.short())),
            8 => self.transmit_all(),
            9 => self.advance(Duration::from_millis(u64::from(input.short()))),
            10 => self.events(),
            11 => {
                let len = usize::from(input.short());
                self.server_data(input.byte(), len);
            }
            12 => {
                let len = usize::from(input.byte());
                self.server_data(input.byte(), len);
            }
            13 => self.server_control(input),
            14 => {
                // Words of the node.
                let stream = u32::from(input.byte()) * 4 + 1;
                let text = input.piece();
                let fin = u8::from(text.len().is_multiple_of(2));
                self.frame(stream, fin, text);
            }
            15 => self.unsent.extend_from_slice(input.piece()),
            16 => self.flush(0, 0x82),
            17 => {
                let size = usize::from(input.byte());
                self.flush(size, 0x82);
            }
            18 => {
                let first = input.pick(&[0x89, 0x8a, 0x88, 0x81, 0x02, 0x80, 0x00, 0xc2]);
                let mut wire = Vec::new();
                server_frame(first, input.piece(), &mut wire);
                self.input(&wire);
            }
            _ => match input.below(8) {
                0 => {
                    self.wire.machine.close(self.wire.now);
                    self.close();
                }
                1 => {
                    self.wire.machine.handle_end();
                    self.close();
                }
                2 => {
                    let error = Error::new(ErrorKind::Transport, "reset");
                    self.wire.machine.handle_error(error);
                    self.close();
                }
                3 => {
                    let bytes = input.piece();
                    self.input(bytes);
                }
                _ => self.wire.machine.transmitted(0),
            },
        }
    }

    /// This side closes, or there is no other side.
    fn close(&mut self) {
        self.model.closing = true;
        for connection in &mut self.model.connections {
            connection.end();
        }
    }

    // The server.

    fn frame(&mut self, first: u32, flags: u8, payload: &[u8]) {
        self.unsent.extend(first.to_be_bytes());
        let len = u32::try_from(payload.len()).expect("short");
        self.unsent
            .extend((u32::from(flags) << 24 | len).to_be_bytes());
        self.unsent.extend_from_slice(payload);
    }

    fn server_data(&mut self, which: u8, len: usize) {
        let stream = u32::from(which & 0x7f) % 64 * 4 + 3;
        let mut data = Vec::new();
        self.wire.fill(len.min(10_000), &mut data);
        self.frame(stream, which >> 7, &data);
    }

    fn server_control(&mut self, input: &mut Input<'_>) {
        let kind = input.below(12);
        let stream = u32::from(input.byte());
        let bytes = stream.to_be_bytes();
        let flags = input.byte() & 1;
        match kind {
            // The end of a stream, as an empty frame.
            0 | 1 => self.frame(stream, 1, &[]),
            2 => {
                let name = b"\x78\xbb\xe3\xc6\xa7\xc2";
                self.frame(0x8003_0002, flags, &[&bytes[..], &name[..]].concat());
            }
            3 | 4 => {
                let status = u32::from(input.byte()).to_be_bytes();
                self.frame(0x8003_0003, 0, &[bytes, status].concat());
            }
            5 => self.frame(0x8003_0004, 0, &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 16, 0]),
            6 => self.frame(0x8003_0006, 0, &bytes),
            7 => self.frame(0x8003_0007, 0, &[bytes, [0; 4]].concat()),
            8 => self.frame(0x8003_0008, flags, &[&bytes[..], input.piece()].concat()),
            9 => self.frame(0x8003_0009, 0, &[bytes, [0, 0, 16, 0]].concat()),
            10 => self.frame(0x8003_0001, flags, input.piece()),
            _ => self.frame(0x8003_0000 | stream, flags, input.piece()),
        }
    }

    /// Puts what the server has to say into messages of this size; 0 is all in one.
    fn flush(&mut self, size: usize, first: u8) {
        let wire = std::mem::take(&mut self.unsent);
        let size = if size == 0 { wire.len() } else { size };
        let most = self.wire.limits.max_message;
        let mut bytes = Vec::new();
        for message in wire.chunks(size.clamp(1, most)) {
            server_frame(first, message, &mut bytes);
        }
        self.input(&bytes);
    }

    fn input(&mut self, bytes: &[u8]) {
        for piece in self.wire.pieces(bytes) {
            if !self.wire.machine.wants_input() {
                if self.wire.excess > 4000 {
                    // What is missing may be in the middle of a frame: no bytes follow any more.
                    self.wire.machine.handle_end();
                    self.close();
                    return;
                }
                self.wire.excess += piece.len();
            }
            self.largest = self.largest.max(piece.len());
            self.wire.input(piece, |message| self.model.hear(message));
            if self.wire.machine.outcome().is_some() && !self.wire.server.is_open() {
                for connection in &mut self.model.connections {
                    connection.end();
                }
            }
            self.wire.blocked = !self.wire.machine.wants_input() && !self.wire.machine.is_closed();
        }
    }

    // The client.

    fn open(&mut self, port: u16) {
        if self.model.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        match self.wire.machine.open(port) {
            Ok(id) => {
                assert!(port != 0 && self.can_open());
                assert_eq!(id.get() as usize, self.model.connections.len());
                assert_eq!(self.wire.machine.port(id), Some(port));
                self.model.connections.push(Connection::new(id, port));
            }
            Err(error) if port == 0 => assert_eq!(error.kind(), ErrorKind::Usage),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed);
                assert!(!self.can_open());
            }
        }
    }

    fn can_open(&self) -> bool {
        !self.model.going_away && self.is_open()
    }

    /// The tunnel goes on.
    fn is_open(&self) -> bool {
        !self.model.closing && self.wire.machine.outcome().is_none()
    }

    fn pick(&self, which: u8) -> Option<usize> {
        let count = self.model.connections.len();
        (count > 0).then(|| usize::from(which) % count.max(1))
    }

    fn send(&mut self, which: u8, len: usize) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let mut data = Vec::new();
        let len = len.min(self.wire.limits.send_window + 10);
        self.wire.fill(len, &mut data);
        let open = self.is_open();
        let connection = &mut self.model.connections[index];
        let result = self.wire.machine.send(connection.id, &data);
        let kind = result.as_ref().err().map(Error::kind);
        if !connection.held {
            assert_eq!(kind, Some(ErrorKind::Usage));
        } else if connection.finished || connection.is_closed() || !open {
            assert_eq!(kind, Some(ErrorKind::Closed));
            assert!(
                !connection.turned_away || connection.finished,
                "nobody told the writer of the end"
            );
        } else {
            let accepted = result.expect("nothing is in the way");
            assert!(accepted <= len);
            connection.accepted.extend(&data[..accepted]);
            connection.turned_away |= accepted < len;
        }
    }

    fn finish(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let open = self.is_open();
        let connection = &mut self.model.connections[index];
        let result = self.wire.machine.finish(connection.id);
        assert_eq!(result.is_ok(), connection.held);
        connection.finished |= open && connection.held;
        self.events();
    }

    fn read(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.model.connections[index];
        let data = self.wire.machine.poll_data(connection.id);
        let finished = self.wire.machine.is_finished(connection.id);
        if !connection.held {
            assert!(data.is_none() && finished);
            return;
        }
        if let Some(data) = &data {
            assert!(!connection.discarded && !data.is_empty());
            assert!(!connection.waiting || connection.told, "nobody told");
            assert!(data.len() <= connection.expected.len(), "from nowhere");
            let expected: Vec<u8> = connection.expected.drain(..data.len()).collect();
            assert!(*data == expected, "data changed on the way");
            connection.waiting = false;
        } else {
            assert!(connection.expected.is_empty(), "data was lost");
            let again = connection.end_known || connection.discarded;
            if connection.waiting && finished && !again {
                assert!(connection.told, "nobody told of the end");
            }
            connection.end_known |= finished;
            connection.waiting = true;
        }
        let through = connection.ended && connection.expected.is_empty();
        assert_eq!(finished, connection.discarded || through, "the end");
        connection.told = false;
        self.resumed();
    }

    /// Who does not read any more is told to go on.
    fn resumed(&mut self) {
        self.events();
        self.wire.check_resumed();
    }

    fn discard(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.model.connections[index];
        self.wire.machine.discard(connection.id);
        connection.discarded = true;
        connection.expected.clear();
        assert!(self.wire.machine.is_finished(connection.id));
        self.resumed();
    }

    fn release(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.model.connections[index];
        self.wire.machine.release(connection.id);
        connection.discarded = true;
        connection.expected.clear();
        connection.text.clear();
        connection.held = false;
        connection.turned_away = false;
        assert_eq!(self.wire.machine.port(connection.id), None);
        assert!(self.wire.machine.error(connection.id).is_none());
        self.resumed();
    }

    fn transmit(&mut self, most: usize) {
        for message in self.wire.transmit(most) {
            self.model.sent(&message);
        }
    }

    fn transmit_all(&mut self) {
        for message in self.wire.transmit_all() {
            self.model.sent(&message);
        }
    }

    fn advance(&mut self, wait: Duration) {
        self.events();
        let (model, may_reset) = (&mut self.model, self.may_reset);
        self.wire
            .advance(wait, |tunnel| model.stalled(tunnel, may_reset));
        if self.wire.machine.outcome().is_some() && !self.model.closing {
            self.close();
        }
        self.resumed();
    }

    /// Who an event is about.
    fn of(&mut self, id: ConnectionId) -> &mut Connection {
        let connection = &mut self.model.connections[id.get() as usize];
        assert!(connection.held, "news of what was released");
        connection
    }

    fn events(&mut self) {
        for _ in 0..4 * self.model.connections.len() + 8 {
            let Some(event) = self.wire.machine.poll_event() else {
                return;
            };
            match event {
                TunnelEvent::Readable(id) => self.of(id).told = true,
                TunnelEvent::Writable(id) => {
                    let connection = self.of(id);
                    assert!(connection.turned_away, "told without having asked");
                    connection.turned_away = false;
                }
                TunnelEvent::Failed(id) => {
                    let connection = self.of(id);
                    assert!(connection.fault.is_some() || connection.vague);
                    connection.failures += 1;
                    assert_eq!(connection.failures, 1);
                }
                TunnelEvent::GoingAway => {
                    assert!(self.model.going_away && !self.told_going_away);
                    self.told_going_away = true;
                }
                TunnelEvent::Resumed => self.wire.resumed = true,
                TunnelEvent::Outcome => self.outcomes += 1,
                TunnelEvent::Closed => self.closes += 1,
                _ => {}
            }
        }
        panic!("there is always another event");
    }

    /// What always holds.
    fn check(&mut self) {
        for connection in &mut self.model.connections {
            let fault = self.wire.machine.fault(connection.id);
            if connection.vague {
                // Whether it was in time is seen from outside only.
                connection.vague = !connection.held;
                if connection.held && fault.is_some() {
                    connection.fault = fault.cloned();
                    connection.ended = true;
                }
            }
            if connection.held {
                assert_eq!(fault, connection.fault.as_ref());
                assert!(fault.is_none() || self.wire.machine.error(connection.id).is_some());
            } else {
                assert_eq!(fault, None);
            }
        }
        let held = self
            .model
            .connections
            .iter()
            .filter(|connection| connection.held);
        assert_eq!(self.wire.machine.connections(), held.clone().count());
        let open = self.is_open();
        assert_eq!(self.wire.machine.can_open(), self.can_open());
        if self.wire.outcome.is_none()
            && matches!(self.wire.machine.outcome(), Some(Outcome::Ended))
        {
            let live = |connection: &Connection| !connection.done && connection.fault.is_none();
            assert!(!held.clone().any(live), "ended too early");
        }
        self.wire.check();
        let window = self.wire.limits.receive_window;
        let expected = self.model.connections.iter().map(|one| one.expected.len());
        let received: usize = expected.sum();
        let reading = self.largest + self.wire.limits.max_message + self.wire.excess;
        assert!(received <= 16 * window + reading, "{received} bytes wait");
        let texts = self.wire.limits.max_error_body * 4 * self.model.connections.len();
        let sending = 3 * self.wire.limits.send_window + 1;
        let bound = received + sending + self.wire.limits.max_message + texts + (112 << 10);
        let buffered = self.wire.machine.buffered();
        assert!(buffered <= bound, "{buffered} bytes held, {bound} allowed");
        assert!(buffered >= received, "less is held than waits");
        if open && self.wire.server.is_open() {
            let full = |connection: &Connection| {
                !connection.ended && connection.expected.len() >= 4 * window
            };
            let full = held.clone().any(full) || received >= 16 * window;
            assert_eq!(self.wire.machine.wants_input(), !full, "backpressure");
        }
    }

    /// What was accepted is on the wire.
    fn all_was_sent(&mut self) {
        self.events();
        assert!(self.wire.client.is_between_frames() && self.model.client_spdy.is_between_frames());
        let open = self.is_open();
        for connection in &self.model.connections {
            let told = !connection.turned_away || connection.finished;
            assert!(told, "nobody told the writer of room");
            if connection.vague || connection.is_closed() {
                continue;
            }
            assert!(connection.accepted.is_empty(), "accepted and never sent");
            if connection.held {
                assert_eq!(connection.opened, [true; 2]);
                assert_eq!(connection.finished, connection.fin_seen, "the end");
            } else if connection.opened[1] && open {
                let through = connection.done && connection.fin_seen;
                assert!(through || connection.reset_seen, "left open");
            }
        }
    }

    /// Everything that is left comes out, and every tunnel closes.
    fn end(mut self) {
        self.transmit_all();
        self.check();
        if self.wire.machine.outcome().is_none() {
            self.all_was_sent();
        }
        self.wire.machine.close(self.wire.now);
        self.close();
        self.transmit_all();
        if self.wire.machine.outcome().is_none() {
            self.all_was_sent();
            assert!(
                self.wire.client.is_closed(),
                "a close without a close frame"
            );
        }
        for _ in 0..4 {
            if let Some(next) = self.wire.machine.poll_timeout() {
                self.advance(next.saturating_duration_since(self.wire.now));
                self.transmit_all();
            }
            self.check();
        }
        assert!(self.wire.machine.is_closed(), "closing does not end");
        for index in 0..self.model.connections.len() {
            let which = u8::try_from(index).expect("few connections");
            let id = self.model.connections[index].id;
            for _ in 0..1_000_000 {
                self.read(which);
                let left = &self.model.connections[index];
                if !left.held || left.waiting {
                    break;
                }
            }
            assert!(self.wire.machine.is_finished(id));
            assert!(self.wire.machine.send(id, b"x").is_err());
            let connection = &self.model.connections[index];
            if connection.held {
                let clean = connection.fault.is_none() && !connection.cut;
                assert_eq!(
                    self.wire.machine.error(id).is_none(),
                    clean,
                    "{:?}",
                    self.wire.machine.error(id)
                );
                assert_eq!(connection.failures, usize::from(connection.fault.is_some()));
            }
            self.release(which);
        }
        self.events();
        assert_eq!((self.outcomes, self.closes), (1, 1));
        assert_eq!(self.model.going_away, self.told_going_away);
        assert_eq!(self.wire.machine.connections(), 0);
        assert_eq!(self.wire.machine.buffered(), 0);
    }
}
