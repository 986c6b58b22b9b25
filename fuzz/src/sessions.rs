//! The harness of both session targets: operations at random, and a model of both sides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kubewire::channel::{self, Subprotocol};
use kubewire::session::{
    Attach, Event, Exec, Overflow, PortForward, Protocol, Session, SessionOptions, Streams,
};
use kubewire::{Error, ErrorKind, Limits};
use serde_json::json;

use crate::drive::shown;
use crate::frames::{ClientFrames, Said, ServerFrames, server_frame};
use crate::input::Input;

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

/// What the session has.
struct Shape {
    /// Whether something can come, by channel of the API.
    readers: Vec<bool>,
    /// Where something can be sent: the channel on the wire, by channel of the API.
    lanes: Vec<u8>,
    ports: Vec<u16>,
    tty: bool,
    half_close: bool,
}

fn start<P: Protocol>(protocol: P, version: Subprotocol, shape: Shape, mut input: Input<'_>) {
    let flags = input.byte();
    let limits = Limits {
        receive_window: input.pick(&[1000, 1, 100, 5000]),
        send_window: input.pick(&[2000, 1, 100, 70_000]),
        max_message: input.pick(&[2000, 126, 300, 70_000]),
        max_error_body: input.pick(&[500, 0, 10]),
        ..Limits::default()
    };
    let mut options = SessionOptions::default().ping_interval(None);
    if flags & 1 == 1 {
        options = options.ping_interval(Duration::from_secs(1));
    }
    if flags & 2 == 2 {
        options = options.idle_timeout(Duration::from_secs(5));
    }
    if flags & 4 == 4 {
        options = options.total_timeout(Duration::from_mins(1));
    }
    if flags & 8 == 8 {
        options = options.overflow(Overflow::Drop);
    }
    let now = Instant::now();
    let session = Session::new(protocol, version, &options, &limits, now);
    let count = shape.readers.len();
    let lanes = shape.lanes.len();
    let mut run = Run {
        session,
        now,
        cut: usize::from(flags >> 5) * 3,
        may_drop: flags & 8 == 8,
        server: ServerFrames::new(limits.max_message),
        client: ClientFrames::default(),
        readers: shape
            .readers
            .iter()
            .map(|&there| Reader::new(there))
            .collect(),
        writers: (0..lanes).map(|_| Writer::default()).collect(),
        announced: vec![(false, false); count],
        failed: vec![None; count],
        shape,
        limits,
        pings: Vec::new(),
        next_pong: 0,
        own_pings: 0,
        size: None,
        seen_size: None,
        outcome: None,
        fault: None,
        closing: false,
        exact: true,
        blocked: false,
        resumed: false,
        outcomes: 0,
        closes: 0,
        port_failures: 0,
        excess: 0,
        pattern: 0,
        front: Vec::new(),
    };
    while !input.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.end();
}

/// One incoming channel.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Reader {
    there: bool,
    /// What the server sent and nobody read yet.
    expected: VecDeque<u8>,
    discarded: bool,
    /// The last look found nothing.
    waiting: bool,
    /// An event told to look again.
    told: bool,
    end_known: bool,
}

impl Reader {
    fn new(there: bool) -> Self {
        Self {
            there,
            expected: VecDeque::new(),
            discarded: false,
            waiting: true,
            told: false,
            end_known: !there,
        }
    }
}

/// One outgoing channel.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Writer {
    /// Accepted and not seen on the wire yet.
    accepted: VecDeque<u8>,
    finished: bool,
    close_seen: bool,
    turned_away: bool,
    told: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Run<P: Protocol> {
    session: Session<P>,
    now: Instant,
    /// Input is handed in in pieces of this size; 0 is whole.
    cut: usize,
    may_drop: bool,
    server: ServerFrames,
    client: ClientFrames,
    readers: Vec<Reader>,
    writers: Vec<Writer>,
    /// By port: its data and its error channel.
    announced: Vec<(bool, bool)>,
    failed: Vec<Option<Vec<u8>>>,
    shape: Shape,
    limits: Limits,
    pings: Vec<Vec<u8>>,
    next_pong: usize,
    own_pings: usize,
    size: Option<(u16, u16)>,
    seen_size: Option<(u16, u16)>,
    outcome: Option<String>,
    fault: Option<String>,
    /// This side closed.
    closing: bool,
    /// The model knows exactly what can be read.
    exact: bool,
    blocked: bool,
    resumed: bool,
    outcomes: usize,
    closes: usize,
    port_failures: usize,
    /// Handed in although nothing was wanted.
    excess: usize,
    pattern: usize,
    /// What was to be transmitted first when that was last looked at.
    front: Vec<u8>,
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
                self.fill(len.min(self.limits.max_message + 10), &mut message);
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
                let port = self.shape.ports.get(count).copied().unwrap_or(80);
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

    fn fill(&mut self, len: usize, out: &mut Vec<u8>) {
        for _ in 0..len {
            self.pattern += 1;
            let mixed = self.pattern.wrapping_mul(0x9e37_79b1) >> 13;
            out.push(u8::try_from(mixed & 0xff).unwrap_or_default());
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
        if !self.session.wants_input() {
            if self.excess > 4000 {
                return;
            }
            self.excess += bytes.len();
        }
        let size = if self.cut == 0 {
            bytes.len().max(1)
        } else {
            self.cut
        };
        for piece in bytes.chunks(size) {
            let reading = self.server.is_open() && !self.session.is_closed();
            if reading {
                for said in self.server.push(piece) {
                    if !self.hear(said) {
                        self.server.broken = true;
                        break;
                    }
                }
            }
            let result = self.session.handle_input(piece, self.now);
            if reading {
                let broken = self.server.broken;
                assert!(result.is_err() || !broken, "a fault was not noticed");
                assert!(
                    result.is_ok() || broken || self.server.suspect,
                    "good input is refused: {result:?}"
                );
            }
            match (&result, &self.fault) {
                (Err(error), None) => {
                    assert!(matches!(error.kind(), ErrorKind::Peer | ErrorKind::Limit));
                    self.fault = Some(shown(error));
                }
                (Err(error), Some(fault)) => assert_eq!(&shown(error), fault),
                (Ok(()), fault) => assert_eq!(*fault, None, "errors repeat"),
            }
            self.look();
        }
    }

    /// Whether it can be told again that input is wanted.
    fn look(&mut self) {
        if !self.session.wants_input() && !self.session.is_closed() {
            self.blocked = true;
        }
    }

    /// What a message of the server must do; whether it is a good one.
    fn hear(&mut self, said: Said) -> bool {
        let message = match said {
            Said::Ping(data) => {
                self.pings.push(data);
                return true;
            }
            Said::Binary(message) => message,
        };
        let (channel, data) = (usize::from(message[0]), &message[1..]);
        if data.is_empty() {
            return true;
        }
        if self.shape.ports.is_empty() {
            if matches!(channel, 1 | 2) {
                self.arrive(channel, data);
            }
            return true;
        }
        let index = channel / 2;
        let Some(&port) = self.shape.ports.get(index) else {
            return true;
        };
        let announces = data == port.to_le_bytes();
        let (of_data, of_error) = &mut self.announced[index];
        if channel % 2 == 1 {
            if announces && !*of_error {
                *of_error = true;
            } else {
                let max = self.limits.max_error_body;
                let text = self.failed[index].get_or_insert_default();
                let room = max.saturating_sub(text.len()).min(data.len());
                text.extend_from_slice(&data[..room]);
            }
        } else if *of_data {
            if self.failed[index].is_none() {
                self.arrive(index, data);
            }
        } else {
            *of_data = announces;
            return announces;
        }
        true
    }

    fn arrive(&mut self, channel: usize, data: &[u8]) {
        let reader = &mut self.readers[channel];
        if reader.there && !reader.discarded && !self.closing {
            reader.expected.extend(data);
        }
    }

    fn read(&mut self, channel: u8) {
        self.events();
        let index = usize::from(channel);
        let data = self.session.poll_data(channel);
        let Some(reader) = self.readers.get_mut(index) else {
            assert!(data.is_none() && self.session.is_finished(channel));
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
            let finished = self.session.is_finished(channel);
            if reader.waiting && finished && !reader.end_known && !reader.discarded {
                assert!(reader.told, "nobody told of the end");
            }
            reader.end_known |= finished;
            reader.waiting = true;
        }
        reader.told = false;
        if self.session.wants_input() && self.blocked {
            self.events();
            assert!(self.resumed, "nobody told that input is wanted again");
            self.blocked = false;
        }
        self.resumed = false;
        self.look();
    }

    fn send(&mut self, channel: u8, len: usize) {
        self.events();
        let mut data = Vec::new();
        let len = len.min(self.limits.send_window + 10);
        self.fill(len, &mut data);
        let index = usize::from(channel);
        let result = self.session.send(channel, &data);
        let Some(writer) = self.writers.get_mut(index) else {
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Usage));
            return;
        };
        match result {
            Ok(accepted) => {
                assert!(accepted <= len && !writer.finished);
                assert!(self.outcome.is_none() && !self.closing);
                assert!(self.failed.get(index).is_none_or(Option::is_none));
                let window = (self.limits.send_window / self.shape.lanes.len()).max(1);
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

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let first = self.session.poll_transmit().map(<[u8]>::to_vec);
        assert_eq!(first.as_deref(), self.session.poll_transmit());
        if let Some(bytes) = &first {
            assert!(!bytes.is_empty() && bytes.starts_with(&self.front));
        } else {
            assert!(self.front.is_empty() || self.session.is_closed());
        }
        first
    }

    fn transmit(&mut self, most: usize) {
        let Some(bytes) = self.poll_transmit() else {
            return;
        };
        let count = bytes.len().min(most);
        self.client.push(&bytes[..count]);
        bytes[count..].clone_into(&mut self.front);
        self.session.transmitted(count);
        for (opcode, payload) in self.client.take() {
            self.sent(opcode, &payload);
        }
    }

    fn transmit_all(&mut self) {
        for _ in 0..1000 {
            if self.poll_transmit().is_none() {
                return;
            }
            self.transmit(usize::MAX);
        }
        panic!("there is always more to transmit");
    }

    /// A frame of this side, read by hand.
    fn sent(&mut self, opcode: u8, payload: &[u8]) {
        match opcode {
            9 => {
                assert!(payload.is_empty() && self.own_pings > 0);
                self.own_pings -= 1;
            }
            10 => {
                // Pings may share an answer, which is the last one's.
                let rest = &self.pings[self.next_pong..];
                match rest.iter().position(|ping| ping == payload) {
                    Some(at) => self.next_pong += 1 + at,
                    // Pings inside of a text message are not read by the model.
                    None => assert!(self.server.suspect, "an answer to no ping"),
                }
            }
            8 => {}
            _ => {
                let (&channel, data) = payload.split_first().expect("a channel");
                self.message(channel, data);
            }
        }
    }

    fn message(&mut self, channel: u8, data: &[u8]) {
        if let Some(lane) = self.shape.lanes.iter().position(|&lane| lane == channel) {
            let writer = &mut self.writers[lane];
            assert!(!data.is_empty() && data.len() <= channel::MAX_DATA);
            assert!(!writer.close_seen, "data after the end of input");
            assert!(
                data.len() <= writer.accepted.len(),
                "more than was accepted"
            );
            let accepted: Vec<u8> = writer.accepted.drain(..data.len()).collect();
            assert!(data == accepted, "data changed on the way");
            return;
        }
        match channel {
            channel::CLOSE => {
                let lane = self.shape.lanes.iter().position(|&lane| [lane] == *data);
                let writer = &mut self.writers[lane.expect("a channel that is")];
                assert!(self.shape.half_close && writer.finished);
                assert!(!std::mem::replace(&mut writer.close_seen, true));
            }
            channel::RESIZE => {
                assert!(self.shape.tty);
                let size: serde_json::Value = serde_json::from_slice(data).expect("JSON");
                let read = |name: &str| {
                    let number = size[name].as_u64().expect("a number");
                    u16::try_from(number).expect("a short number")
                };
                self.seen_size = Some((read("Width"), read("Height")));
            }
            other => panic!("channel {other} is not for clients"),
        }
    }

    fn finish(&mut self, channel: u8) {
        self.events();
        let closed = self.outcome.is_some() || self.closing || self.session.is_closed();
        let result = self.session.finish(channel);
        let Some(writer) = self.writers.get_mut(usize::from(channel)) else {
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Usage));
            return;
        };
        match result {
            Ok(()) if closed => {}
            Ok(()) => {
                let failed = self.failed.get(usize::from(channel));
                let failed = failed.is_some_and(Option::is_some);
                assert!(self.shape.half_close || failed || !self.exact);
                writer.finished |= self.shape.half_close && self.session.outcome().is_none();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(!self.shape.half_close && !closed);
            }
        }
    }

    fn resize(&mut self, width: u16, height: u16) {
        match self.session.resize(width, height) {
            Ok(()) => {
                assert!(self.shape.tty && width > 0 && height > 0 && self.outcome.is_none());
                self.size = Some((width, height));
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                assert!(self.session.outcome().is_some() || self.closing);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(!self.shape.tty || width == 0 || height == 0);
            }
        }
    }

    fn advance(&mut self, wait: Duration) {
        self.now += wait;
        let due = self
            .session
            .poll_timeout()
            .is_some_and(|next| next <= self.now);
        let before = format!("{:?}", self.session);
        self.own_pings += 1;
        self.session.handle_timeout(self.now);
        if !due
            && self
                .session
                .poll_timeout()
                .is_some_and(|next| next > self.now)
        {
            assert_eq!(
                before,
                format!("{:?}", self.session),
                "too early does nothing"
            );
        }
        // Deadlines that have passed are dealt with one at a time, and then no more are due.
        for _ in 0..3 {
            self.own_pings += 1;
            self.session.handle_timeout(self.now);
        }
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a busy loop");
        if due && self.session.outcome().is_some() {
            // It may be closing now, with or without having told before.
            self.exact = false;
        }
    }

    fn events(&mut self) {
        for _ in 0..4 * CHANNELS + 8 {
            let Some(event) = self.session.poll_event() else {
                return;
            };
            match event {
                Event::Readable(channel) => self.readers[usize::from(channel)].told = true,
                Event::Writable(channel) => {
                    let writer = &mut self.writers[usize::from(channel)];
                    assert!(writer.turned_away, "told without having asked");
                    writer.told = true;
                    writer.turned_away = false;
                }
                Event::Resumed => self.resumed = true,
                Event::PortFailed(index) => {
                    assert!(self.failed[usize::from(index)].is_some());
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
                self.session.close(self.now);
                self.closing = true;
            }
            1 => self.session.handle_end(),
            2 => self
                .session
                .handle_error(Error::new(ErrorKind::Transport, "reset")),
            3 | 4 => {
                let channel = input.byte() % 8;
                self.events();
                self.session.discard(channel);
                if let Some(reader) = self.readers.get_mut(usize::from(channel)) {
                    reader.discarded = true;
                    reader.expected.clear();
                }
                assert!(self.session.poll_data(channel).is_none());
                assert!(self.session.is_finished(channel));
            }
            5 => {
                self.may_drop = true;
                self.session.set_overflow(input.byte() % 8, Overflow::Drop);
            }
            6 => self
                .session
                .set_overflow(input.byte() % 8, Overflow::Backpressure),
            _ => self.session.transmitted(0),
        }
    }

    /// What always holds.
    fn check(&mut self) {
        if let Some(outcome) = self.session.outcome() {
            let now = format!("{outcome:?}");
            assert_eq!(self.outcome.get_or_insert_with(|| now.clone()), &now);
        } else {
            assert_eq!(self.outcome, None);
        }
        if self.session.is_closed() {
            assert!(self.session.outcome().is_some() && self.session.poll_transmit().is_none());
            assert!(self.session.poll_timeout().is_none() && !self.session.wants_input());
        }
        let channels = self.readers.len();
        let bound = channels * (self.limits.receive_window + self.limits.max_message)
            + self.limits.send_window.max(channels)
            + self.limits.max_message
            + self.limits.max_error_body * (1 + channels)
            + (16 << 10)
            + (96 << 10)
            + self.excess;
        let held = self.session.buffered();
        assert!(held <= bound, "{held} bytes held, {bound} allowed");
        let open = self.outcome.is_none() && !self.closing && self.server.is_open();
        if !self.may_drop && open {
            let full = self
                .readers
                .iter()
                .zip(&self.failed)
                .any(|(reader, failed)| {
                    failed.is_none() && reader.expected.len() >= self.limits.receive_window
                });
            assert_eq!(self.session.wants_input(), !full, "backpressure");
        }
        if !self.may_drop {
            assert!((0..8).all(|channel| !self.session.truncated(channel)));
        }
    }

    /// Everything that is left comes out, and every session ends.
    fn end(mut self) {
        self.transmit_all();
        self.check();
        if self.session.outcome().is_none() {
            self.all_was_sent();
        }
        self.session.close(self.now);
        self.closing = true;
        self.transmit_all();
        if self.session.outcome().is_none() {
            self.all_was_sent();
            assert!(self.client.is_closed(), "a close without a close frame");
        }
        for _ in 0..4 {
            if let Some(next) = self.session.poll_timeout() {
                self.advance(next.duration_since(self.now));
                self.transmit_all();
            }
            self.check();
        }
        assert!(self.session.is_closed(), "closing does not end");
        assert!(self.session.outcome().is_some());
        for channel in 0..8 {
            for _ in 0..1_000_000 {
                self.read(channel);
                let left = self.readers.get(usize::from(channel));
                if left.is_none_or(|reader| reader.waiting) {
                    break;
                }
            }
            assert!(self.session.is_finished(channel));
            assert!(self.session.send(channel, b"x").is_err());
            if let Some(reader) = self.readers.get(usize::from(channel))
                && self.exact
                && !self.session.truncated(channel)
            {
                assert!(reader.expected.is_empty(), "data was lost");
            }
        }
        self.events();
        assert_eq!((self.outcomes, self.closes), (1, 1));
        let failed = self.failed.iter().flatten().count();
        assert!(self.port_failures == failed);
        let text = self.limits.max_error_body * (1 + self.readers.len());
        assert!(self.session.buffered() <= text);
    }

    /// What was accepted is on the wire.
    fn all_was_sent(&self) {
        assert!(self.client.is_between_frames());
        for (index, writer) in self.writers.iter().enumerate() {
            if self.failed.get(index).is_some_and(Option::is_some) {
                continue;
            }
            assert!(writer.accepted.is_empty(), "accepted and never sent");
            assert_eq!(writer.finished, writer.close_seen, "the end of input");
        }
        assert_eq!(self.size, self.seen_size);
    }
}
