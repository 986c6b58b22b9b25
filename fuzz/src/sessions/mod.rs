//! The harness of both session targets: operations at random, and a model of both sides.

mod model;

use std::time::{Duration, Instant};

use kubewire::channel::{self, Subprotocol};
use kubewire::session::{Attach, Event, Exec, Overflow, PortForward, Protocol, Session, Streams};
use kubewire::{Error, ErrorKind};
use serde_json::json;

use crate::frames::{ServerFrames, server_frame};
use crate::input::Input;
use crate::wire::{Wire, limits, options};
use model::{Model, Shape};

/// Two error channels more than the largest number of ports used here.
const CHANNELS: usize = 6;

pub(crate) fn streams(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.byte();
    let flags = input.byte();
    let mut streams = Streams::new();
    if flags & 1 == 0 {
        streams = streams.stdin();
    }
    if flags & 2 == 0 {
        streams = streams.stdout();
    }
    if flags & 4 == 0 {
        streams = streams.stderr();
    }
    if flags & 8 == 8 {
        streams = streams.tty();
    }
    let version = if flags & 16 == 0 {
        Subprotocol::V5
    } else {
        Subprotocol::V4
    };
    let shape = Shape {
        readers: vec![false, streams.has_stdout(), streams.has_stderr()],
        lanes: if streams.has_stdin() { vec![0] } else { vec![] },
        ports: Vec::new(),
        tty: streams.has_tty(),
        half_close: version.has_close() && !streams.has_tty(),
    };
    if which & 1 == 0 {
        start(Exec::new(streams), version, shape, input);
    } else {
        start(Attach::new(streams), version, shape, input);
    }
}

pub(crate) fn ports(data: &[u8]) {
    let mut input = Input::new(data);
    let count = 1 + input.below(4);
    let ports: Vec<u16> = (0..count)
        .map(|_| input.pick(&[80, 443, 0x0101, 65535]))
        .collect();
    let shape = Shape {
        readers: vec![true; count],
        lanes: (0..count).filter_map(channel::data_channel).collect(),
        ports: ports.clone(),
        tty: false,
        half_close: false,
    };
    let protocol = PortForward::new(ports).expect("good ports");
    start(protocol, Subprotocol::V4, shape, input);
}

fn start<P: Protocol>(protocol: P, version: Subprotocol, shape: Shape, mut input: Input<'_>) {
    let flags = input.byte();
    let limits = limits(&mut input);
    let mut options = options(flags);
    if flags & 8 == 8 {
        options = options.overflow(Overflow::Drop);
    }
    let now = Instant::now();
    let session = Session::new(protocol, version, &options, &limits, now);
    let server = ServerFrames::new(limits.max_message);
    let mut run = Run {
        model: Model::new(shape, limits.max_error_body),
        wire: Wire::new(session, server, limits, flags, now),
        may_drop: flags & 8 == 8,
        exact: true,
        outcomes: 0,
        closes: 0,
        port_failures: 0,
    };
    while !input.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.end();
}

struct Run<P: Protocol> {
    wire: Wire<Session<P>>,
    model: Model,
    may_drop: bool,
    /// The model knows exactly what can be read.
    exact: bool,
    outcomes: usize,
    closes: usize,
    port_failures: usize,
}

impl<P: Protocol> Run<P> {
    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.below(16);
        match op {
            0 | 1 => {
                let channel = input.byte() % 8;
                let len = if op == 0 {
                    usize::from(input.byte())
                } else {
                    usize::from(input.short())
                };
                let mut message = vec![channel];
                self.wire
                    .fill(len.min(self.wire.limits.max_message + 10), &mut message);
                self.say(0x82, &message);
            }
            2 => {
                let bytes = input.piece();
                self.input(bytes);
            }
            3 => {
                let first = input.byte();
                self.say(first, input.piece());
            }
            4 => self.status(input),
            5 => self.send(input.byte() % 8, usize::from(input.short())),
            6 => self.send(input.byte() % 8, usize::from(input.byte())),
            7 => self.read(input.byte() % 8),
            8 => self.transmit(usize::from(input.short())),
            9 => self.transmit_all(),
            10 => self.finish(input.byte() % 4),
            11 => self.resize(u16::from(input.byte()), u16::from(input.byte())),
            12 => {
                let wait = Duration::from_millis(u64::from(input.short()));
                self.advance(wait);
            }
            13 => self.events(),
            14 => self.control(input),
            _ => {
                let channel = input.byte();
                let count = usize::from(channel) / 2;
                let port = self.model.shape.ports.get(count).copied().unwrap_or(80);
                let [low, high] = port.to_le_bytes();
                match input.below(4) {
                    0 => self.say(0x89, input.piece()),
                    1 => self.say(0x8a, input.piece()),
                    2 => self.say(0x88, input.piece()),
                    _ => self.say(0x82, &[channel, low, high]),
                }
            }
        }
    }

    fn say(&mut self, first: u8, payload: &[u8]) {
        let mut wire = Vec::new();
        server_frame(first, payload, &mut wire);
        self.input(&wire);
    }

    fn status(&mut self, input: &mut Input<'_>) {
        let text = match input.below(5) {
            0 => json!({"metadata": {}, "status": "Success"}).to_string(),
            1 => json!({"status": "Failure", "details": {"causes": [
                {"reason": "ExitCode", "message": input.byte().to_string()}]}})
            .to_string(),
            2 => json!({"status": "Failure", "message": input.text(), "code": 500}).to_string(),
            3 => r#"{"status":"#.to_owned(),
            _ => input.text(),
        };
        self.say(0x82, &[b"\x03", text.as_bytes()].concat());
    }

    fn input(&mut self, bytes: &[u8]) {
        if !self.wire.machine.wants_input() {
            if self.wire.excess > 4000 {
                return;
            }
            self.wire.excess += bytes.len();
        }
        for piece in self.wire.pieces(bytes) {
            self.wire.input(piece, |message| self.model.hear(message));
            self.look();
        }
    }

    /// Whether it can be told again that input is wanted.
    fn look(&mut self) {
        if !self.wire.machine.wants_input() && !self.wire.machine.is_closed() {
            self.wire.blocked = true;
        }
    }

    fn read(&mut self, channel: u8) {
        self.events();
        let index = usize::from(channel);
        let data = self.wire.machine.poll_data(channel);
        let Some(reader) = self.model.readers.get_mut(index) else {
            assert!(data.is_none() && self.wire.machine.is_finished(channel));
            return;
        };
        if let Some(data) = &data {
            assert!(reader.there && !reader.discarded && !data.is_empty());
            assert!(!reader.waiting || reader.told, "nobody told of data");
            assert!(data.len() <= reader.expected.len(), "data from nowhere");
            let expected: Vec<u8> = reader.expected.drain(..data.len()).collect();
            assert!(*data == expected, "data changed on the way");
            reader.waiting = false;
        } else {
            let finished = self.wire.machine.is_finished(channel);
            if reader.waiting && finished && !reader.end_known && !reader.discarded {
                assert!(reader.told, "nobody told of the end");
            }
            reader.end_known |= finished;
            reader.waiting = true;
        }
        reader.told = false;
        if self.wire.machine.wants_input() && self.wire.blocked {
            self.events();
        }
        self.wire.check_resumed();
        self.look();
    }

    fn send(&mut self, channel: u8, len: usize) {
        self.events();
        let mut data = Vec::new();
        let len = len.min(self.wire.limits.send_window + 10);
        self.wire.fill(len, &mut data);
        let index = usize::from(channel);
        let result = self.wire.machine.send(channel, &data);
        let Some(writer) = self.model.writers.get_mut(index) else {
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Usage));
            return;
        };
        match result {
            Ok(accepted) => {
                assert!(accepted <= len && !writer.finished);
                assert!(self.wire.outcome.is_none() && !self.model.closing);
                assert!(self.model.failed.get(index).is_none_or(Option::is_none));
                let window = (self.wire.limits.send_window / self.model.shape.lanes.len()).max(1);
                if writer.turned_away && !writer.told {
                    assert!(accepted < window, "nobody told of room");
                }
                writer.accepted.extend(&data[..accepted]);
                if accepted < len {
                    writer.turned_away = true;
                    writer.told = false;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed);
                assert!(
                    writer.finished || !writer.turned_away || writer.told,
                    "nobody told the writer of the end"
                );
            }
        }
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

    fn finish(&mut self, channel: u8) {
        self.events();
        let closed =
            self.wire.outcome.is_some() || self.model.closing || self.wire.machine.is_closed();
        let result = self.wire.machine.finish(channel);
        let Some(writer) = self.model.writers.get_mut(usize::from(channel)) else {
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Usage));
            return;
        };
        match result {
            Ok(()) if closed => {}
            Ok(()) => {
                let failed = self.model.failed.get(usize::from(channel));
                let failed = failed.is_some_and(Option::is_some);
                assert!(self.model.shape.half_close || failed || !self.exact);
                writer.finished |=
                    self.model.shape.half_close && self.wire.machine.outcome().is_none();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(!self.model.shape.half_close && !closed);
            }
        }
    }

    fn resize(&mut self, width: u16, height: u16) {
        match self.wire.machine.resize(width, height) {
            Ok(()) => {
                assert!(
                    self.model.shape.tty && width > 0 && height > 0 && self.wire.outcome.is_none()
                );
                self.model.size = Some((width, height));
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                assert!(self.wire.machine.outcome().is_some() || self.model.closing);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(!self.model.shape.tty || width == 0 || height == 0);
            }
        }
    }

    fn advance(&mut self, wait: Duration) {
        let due = self.wire.advance(wait, |_| {});
        if due && self.wire.machine.outcome().is_some() {
            // It may be closing now, with or without having told before.
            self.exact = false;
        }
    }

    fn events(&mut self) {
        for _ in 0..4 * CHANNELS + 8 {
            let Some(event) = self.wire.machine.poll_event() else {
                return;
            };
            match event {
                Event::Readable(channel) => self.model.readers[usize::from(channel)].told = true,
                Event::Writable(channel) => {
                    let writer = &mut self.model.writers[usize::from(channel)];
                    assert!(writer.turned_away, "told without having asked");
                    writer.told = true;
                    writer.turned_away = false;
                }
                Event::Resumed => self.wire.resumed = true,
                Event::PortFailed(index) => {
                    assert!(self.model.failed[usize::from(index)].is_some());
                    self.port_failures += 1;
                }
                Event::Outcome => self.outcomes += 1,
                Event::Closed => self.closes += 1,
                Event::Opened | _ => {}
            }
        }
        panic!("there is always another event");
    }

    fn control(&mut self, input: &mut Input<'_>) {
        match input.below(8) {
            0 => {
                self.wire.machine.close(self.wire.now);
                self.model.closing = true;
            }
            1 => self.wire.machine.handle_end(),
            2 => self
                .wire
                .machine
                .handle_error(Error::new(ErrorKind::Transport, "reset")),
            3 | 4 => {
                let channel = input.byte() % 8;
                self.events();
                self.wire.machine.discard(channel);
                if let Some(reader) = self.model.readers.get_mut(usize::from(channel)) {
                    reader.discarded = true;
                    reader.expected.clear();
                }
                assert!(self.wire.machine.poll_data(channel).is_none());
                assert!(self.wire.machine.is_finished(channel));
            }
            5 => {
                self.may_drop = true;
                self.wire
                    .machine
                    .set_overflow(input.byte() % 8, Overflow::Drop);
            }
            6 => self
                .wire
                .machine
                .set_overflow(input.byte() % 8, Overflow::Backpressure),
            _ => self.wire.machine.transmitted(0),
        }
    }

    /// What always holds.
    fn check(&mut self) {
        self.wire.check();
        let channels = self.model.readers.len();
        let bound = channels * (self.wire.limits.receive_window + self.wire.limits.max_message)
            + self.wire.limits.send_window.max(channels)
            + self.wire.limits.max_message
            + self.wire.limits.max_error_body * (1 + channels)
            + (16 << 10)
            + (96 << 10)
            + self.wire.excess;
        let held = self.wire.machine.buffered();
        assert!(held <= bound, "{held} bytes held, {bound} allowed");
        let open = self.wire.outcome.is_none() && !self.model.closing && self.wire.server.is_open();
        if !self.may_drop && open {
            let full = self
                .model
                .readers
                .iter()
                .zip(&self.model.failed)
                .any(|(reader, failed)| {
                    failed.is_none() && reader.expected.len() >= self.wire.limits.receive_window
                });
            assert_eq!(self.wire.machine.wants_input(), !full, "backpressure");
        }
        if !self.may_drop {
            assert!((0..8).all(|channel| !self.wire.machine.truncated(channel)));
        }
    }

    /// Everything that is left comes out, and every session ends.
    fn end(mut self) {
        self.transmit_all();
        self.check();
        if self.wire.machine.outcome().is_none() {
            self.all_was_sent();
        }
        self.wire.machine.close(self.wire.now);
        self.model.closing = true;
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
                self.advance(next.duration_since(self.wire.now));
                self.transmit_all();
            }
            self.check();
        }
        assert!(self.wire.machine.is_closed(), "closing does not end");
        assert!(self.wire.machine.outcome().is_some());
        for channel in 0..8 {
            for _ in 0..1_000_000 {
                self.read(channel);
                let left = self.model.readers.get(usize::from(channel));
                if left.is_none_or(|reader| reader.waiting) {
                    break;
                }
            }
            assert!(self.wire.machine.is_finished(channel));
            assert!(self.wire.machine.send(channel, b"x").is_err());
            if let Some(reader) = self.model.readers.get(usize::from(channel))
                && self.exact
                && !self.wire.machine.truncated(channel)
            {
                assert!(reader.expected.is_empty(), "data was lost");
            }
        }
        self.events();
        assert_eq!((self.outcomes, self.closes), (1, 1));
        let failed = self.model.failed.iter().flatten().count();
        assert!(self.port_failures == failed);
        let text = self.wire.limits.max_error_body * (1 + self.model.readers.len());
        assert!(self.wire.machine.buffered() <= text);
    }

    /// What was accepted is on the wire.
    fn all_was_sent(&self) {
        assert!(self.wire.client.is_between_frames());
        for (index, writer) in self.model.writers.iter().enumerate() {
            if self.model.failed.get(index).is_some_and(Option::is_some) {
                continue;
            }
            assert!(writer.accepted.is_empty(), "accepted and never sent");
            assert_eq!(writer.finished, writer.close_seen, "the end of input");
        }
        assert_eq!(self.model.size, self.model.seen_size);
    }
}
