//! Tunnels: any operations, any bytes of the server, virtual time.
//!
//! Input: flags and limits, then operations until the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flate2::{Decompress, FlushDecompress, Status};
use kubewire::session::{
    ConnectionFault, ConnectionId, Outcome, SessionOptions, Tunnel, TunnelEvent, Unread,
};
use kubewire::{Error, ErrorKind, Limits};

use crate::drive::shown;
use crate::frames::{ClientFrames, Said, ServerFrames, server_frame};
use crate::input::Input;

const MAX_CONNECTIONS: usize = 40;
const MAX_FRAME: usize = 16 << 10;

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
    options.unread = if flags & 8 == 8 {
        Unread::Backpressure
    } else {
        Unread::Reset {
            after: Duration::from_millis(500),
        }
    };
    let now = Instant::now();
    let mut run = Run {
        tunnel: Tunnel::new(&options, &limits, now),
        now,
        cut: usize::from(flags >> 5) * 3,
        may_reset: flags & 8 == 0,
        server: ServerFrames::allowing_empty(limits.max_message),
        server_spdy: ServerSpdy::default(),
        client: ClientFrames::default(),
        client_spdy: ClientSpdy::default(),
        connections: Vec::new(),
        limits,
        wire: Vec::new(),
        pings: Vec::new(),
        next_pong: 0,
        echoes: Vec::new(),
        next_echo: 0,
        own_pings: 0,
        own_echoes: 0,
        going_away: false,
        told_going_away: false,
        outcome: None,
        fault: None,
        closing: false,
        blocked: false,
        resumed: false,
        outcomes: 0,
        closes: 0,
        excess: 0,
        largest: 0,
        pattern: 0,
        front: Vec::new(),
    };
    while !input.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.end();
}

/// What a server's SPDY says, read independently.
enum Heard {
    Data(u32, Vec<u8>),
    Fin(u32),
    Reset(u32, u32),
    Ping(u32),
    GoAway(u32),
}

#[derive(Default)]
struct ServerSpdy {
    bytes: Vec<u8>,
    /// Inside of a data frame: its stream, whether it is the last one, and what is missing.
    data: Option<(u32, bool, usize)>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u32::from_be_bytes(*word.expect("checked"))
}

impl ServerSpdy {
    /// What was heard, and whether the rules were kept.
    fn push(&mut self, message: &[u8]) -> (Vec<Heard>, bool) {
        let mut heard = Vec::new();
        self.bytes.extend_from_slice(message);
        loop {
            if let Some((stream, fin, left)) = &mut self.data {
                let count = self.bytes.len().min(*left);
                if count > 0 {
                    heard.push(Heard::Data(*stream, self.bytes.drain(..count).collect()));
                    *left -= count;
                }
                if *left > 0 {
                    return (heard, true);
                }
                if *fin {
                    heard.push(Heard::Fin(*stream));
                }
                self.data = None;
            }
            if self.bytes.len() < 8 {
                return (heard, true);
            }
            let (first, second) = (word(&self.bytes, 0), word(&self.bytes, 4));
            let fin = second & 0x0100_0000 != 0;
            let len = (second & 0x00ff_ffff) as usize;
            if first < 0x8000_0000 {
                self.bytes.drain(..8);
                self.data = Some((first, fin, len));
                continue;
            }
            let kind = first & 0xffff;
            let least = match kind {
                3 => 8,
                2 | 6..=8 => 4,
                _ => 0,
            };
            if first >> 16 != 0x8003 || len < least {
                return (heard, false);
            }
            if self.bytes.len() < 8 + len {
                return (heard, true);
            }
            let frame: Vec<u8> = self.bytes.drain(..8 + len).collect();
            let stream = || word(&frame, 8) & 0x7fff_ffff;
            match kind {
                2 | 8 if fin => heard.push(Heard::Fin(stream())),
                3 => heard.push(Heard::Reset(stream(), word(&frame, 12))),
                6 => heard.push(Heard::Ping(word(&frame, 8))),
                7 => heard.push(Heard::GoAway(stream())),
                _ => {}
            }
        }
    }
}

/// What a client says.
enum Sent {
    /// Stream, whether nothing follows, headers.
    Open(u32, bool, Vec<(String, String)>),
    Data(u32, bool, Vec<u8>),
    Reset(u32, u32),
    Ping(u32),
}

#[derive(Default)]
struct ClientSpdy {
    bytes: Vec<u8>,
    inflate: Option<Decompress>,
}

impl ClientSpdy {
    fn push(&mut self, message: &[u8]) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.bytes.extend_from_slice(message);
        while self.bytes.len() >= 8 {
            let (first, second) = (word(&self.bytes, 0), word(&self.bytes, 4));
            let len = (second & 0x00ff_ffff) as usize;
            if self.bytes.len() < 8 + len {
                break;
            }
            let flags = second >> 24;
            let frame: Vec<u8> = self.bytes.drain(..8 + len).skip(8).collect();
            assert!(flags <= 1, "flags {flags}");
            sent.push(match first {
                0..0x8000_0000 => {
                    assert!(len <= MAX_FRAME, "a frame of {len} bytes");
                    Sent::Data(first, flags == 1, frame)
                }
                0x8003_0001 => {
                    assert_eq!(word(&frame, 4), 0, "an associated stream");
                    let headers = self.headers(&frame[10..]);
                    Sent::Open(word(&frame, 0), flags == 1, headers)
                }
                0x8003_0003 => {
                    assert_eq!((len, flags), (8, 0));
                    Sent::Reset(word(&frame, 0), word(&frame, 4))
                }
                0x8003_0006 => {
                    assert_eq!((len, flags), (4, 0));
                    Sent::Ping(word(&frame, 0))
                }
                _ => panic!("{first:08x} is not for clients"),
            });
        }
        sent
    }

    /// One zlib stream goes through all frames.
    fn headers(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(true));
        let before = inflate.total_in();
        let mut plain = Vec::with_capacity(1000);
        let status = inflate.decompress_vec(block, &mut plain, FlushDecompress::Sync);
        assert!(matches!(status, Ok(Status::Ok)), "{status:?}");
        assert_eq!(inflate.total_in() - before, block.len() as u64);
        let mut at = 4;
        let mut text = || {
            let len = word(&plain, at) as usize;
            let text = plain[at + 4..at + 4 + len].to_vec();
            at += 4 + len;
            String::from_utf8(text).expect("text")
        };
        let headers = (0..word(&plain, 0)).map(|_| (text(), text())).collect();
        assert_eq!(at, plain.len(), "more than was announced");
        headers
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Connection {
    id: ConnectionId,
    port: u16,
    held: bool,
    // Of the server.
    /// Came and was not read yet.
    expected: VecDeque<u8>,
    done: bool,
    /// No data can be read after what is expected.
    ended: bool,
    /// Ended before the server did.
    cut: bool,
    discarded: bool,
    text: Vec<u8>,
    error_done: bool,
    fault: Option<ConnectionFault>,
    /// A reset came when both sides may have been through, or not.
    vague: bool,
    /// The last look found nothing.
    waiting: bool,
    told: bool,
    end_known: bool,
    failures: usize,
    // Of the client.
    accepted: VecDeque<u8>,
    finished: bool,
    turned_away: bool,
    opened: [bool; 2],
    fin_seen: bool,
    reset_seen: bool,
}

impl Connection {
    fn fail(&mut self, fault: ConnectionFault) {
        let better = match (&self.fault, &fault) {
            (None, _) | (Some(ConnectionFault::Reset(_)), ConnectionFault::Node(_)) => true,
            (Some(_), _) => false,
        };
        if better {
            self.fault = Some(fault);
            self.end();
        }
    }

    fn end(&mut self) {
        self.cut |= !self.done;
        self.ended = true;
    }

    fn words(&mut self) -> Option<ConnectionFault> {
        let text = std::mem::take(&mut self.text);
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(ConnectionFault::Node(text))
    }

    fn error_end(&mut self) {
        self.error_done = true;
        if let Some(fault) = self.words() {
            self.fail(fault);
        }
    }

    /// The node is through with it, one way or the other.
    fn is_closed(&self) -> bool {
        self.fault.is_some() || (self.done && self.error_done)
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Run {
    tunnel: Tunnel,
    now: Instant,
    /// Input is handed in in pieces of this size; 0 is whole.
    cut: usize,
    may_reset: bool,
    server: ServerFrames,
    server_spdy: ServerSpdy,
    client: ClientFrames,
    client_spdy: ClientSpdy,
    connections: Vec<Connection>,
    limits: Limits,
    /// SPDY that was not put into messages yet.
    wire: Vec<u8>,
    pings: Vec<Vec<u8>>,
    next_pong: usize,
    /// Pings of SPDY.
    echoes: Vec<u32>,
    next_echo: usize,
    own_pings: usize,
    own_echoes: u32,
    going_away: bool,
    told_going_away: bool,
    outcome: Option<String>,
    fault: Option<String>,
    closing: bool,
    blocked: bool,
    resumed: bool,
    outcomes: usize,
    closes: usize,
    /// Handed in although nothing was wanted.
    excess: usize,
    /// The longest piece that was handed in.
    largest: usize,
    pattern: usize,
    front: Vec<u8>,
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
            15 => self.wire.extend_from_slice(input.piece()),
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
                    self.tunnel.close(self.now);
                    self.close();
                }
                1 => {
                    self.tunnel.handle_end();
                    self.close();
                }
                2 => {
                    let error = Error::new(ErrorKind::Transport, "reset");
                    self.tunnel.handle_error(error);
                    self.close();
                }
                3 => {
                    let bytes = input.piece();
                    self.input(bytes);
                }
                _ => self.tunnel.transmitted(0),
            },
        }
    }

    /// This side closes, or there is no other side.
    fn close(&mut self) {
        self.closing = true;
        for connection in &mut self.connections {
            connection.end();
        }
    }

    fn fill(&mut self, len: usize, out: &mut Vec<u8>) {
        for _ in 0..len {
            self.pattern += 1;
            let mixed = self.pattern.wrapping_mul(0x9e37_79b1) >> 13;
            out.push(u8::try_from(mixed & 0xff).unwrap_or_default());
        }
    }

    // The server.

    fn frame(&mut self, first: u32, flags: u8, payload: &[u8]) {
        self.wire.extend(first.to_be_bytes());
        let len = u32::try_from(payload.len()).expect("short");
        self.wire
            .extend((u32::from(flags) << 24 | len).to_be_bytes());
        self.wire.extend_from_slice(payload);
    }

    fn server_data(&mut self, which: u8, len: usize) {
        let stream = u32::from(which & 0x7f) % 64 * 4 + 3;
        let mut data = Vec::new();
        self.fill(len.min(10_000), &mut data);
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
        let wire = std::mem::take(&mut self.wire);
        let size = if size == 0 { wire.len() } else { size };
        let most = self.limits.max_message;
        let mut bytes = Vec::new();
        for message in wire.chunks(size.clamp(1, most)) {
            server_frame(first, message, &mut bytes);
        }
        self.input(&bytes);
    }

    fn input(&mut self, bytes: &[u8]) {
        let size = if self.cut == 0 {
            bytes.len().max(1)
        } else {
            self.cut
        };
        for piece in bytes.chunks(size) {
            if !self.tunnel.wants_input() {
                if self.excess > 4000 {
                    // What is missing may be in the middle of a frame: no bytes follow any more.
                    self.tunnel.handle_end();
                    self.close();
                    return;
                }
                self.excess += piece.len();
            }
            self.largest = self.largest.max(piece.len());
            let closed = self.tunnel.is_closed();
            let reading = self.server.is_open() && !closed;
            if reading {
                for said in self.server.push(piece) {
                    if !self.hear(said) {
                        self.server.broken = true;
                        break;
                    }
                }
            }
            let result = self.tunnel.handle_input(piece, self.now);
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
            if self.tunnel.outcome().is_some() && !self.server.is_open() {
                for connection in &mut self.connections {
                    connection.end();
                }
            }
            self.blocked = !self.tunnel.wants_input() && !self.tunnel.is_closed();
        }
    }

    /// What a message must do; whether it is a good one.
    fn hear(&mut self, said: Said) -> bool {
        let message = match said {
            Said::Ping(data) => {
                self.pings.push(data);
                return true;
            }
            Said::Binary(message) => message,
        };
        let (heard, good) = self.server_spdy.push(&message);
        for heard in heard {
            self.handle(heard);
        }
        good
    }

    fn handle(&mut self, heard: Heard) {
        let max = self.limits.max_error_body;
        let stream = match &heard {
            Heard::Ping(id) => {
                if id % 2 == 0 {
                    self.echoes.push(*id);
                }
                return;
            }
            Heard::GoAway(last) => {
                self.going_away = true;
                for connection in &mut self.connections {
                    if connection.id.get() * 4 + 3 > *last {
                        connection.fail(ConnectionFault::NotStarted);
                    }
                }
                return;
            }
            Heard::Data(stream, _) | Heard::Fin(stream) | Heard::Reset(stream, _) => *stream,
        };
        let Some(connection) = self.connections.get_mut((stream / 4) as usize) else {
            return;
        };
        match (stream % 4, heard) {
            (1, Heard::Data(_, data)) => {
                let open = !connection.error_done && connection.held;
                let max = if open { max } else { 0 };
                let room = max.saturating_sub(connection.text.len()).min(data.len());
                connection.text.extend_from_slice(&data[..room]);
            }
            (1, _) => connection.error_end(),
            (3, Heard::Data(_, data))
                if connection.held && !connection.ended && !connection.discarded =>
            {
                connection.expected.extend(data);
            }
            (3, Heard::Fin(_)) => {
                connection.done = true;
                connection.ended = true;
            }
            (3, Heard::Reset(_, status)) => {
                if connection.done && connection.finished {
                    connection.vague = true;
                } else {
                    let fault = connection.words();
                    connection.fail(fault.unwrap_or(ConnectionFault::Reset(status)));
                }
            }
            _ => {}
        }
    }

    // The client.

    fn open(&mut self, port: u16) {
        if self.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        match self.tunnel.open(port) {
            Ok(id) => {
                assert!(port != 0 && self.can_open());
                assert_eq!(id.get() as usize, self.connections.len());
                assert_eq!(self.tunnel.port(id), Some(port));
                self.connections.push(Connection {
                    id,
                    port,
                    held: true,
                    expected: VecDeque::new(),
                    done: false,
                    ended: false,
                    cut: false,
                    discarded: false,
                    text: Vec::new(),
                    error_done: false,
                    fault: None,
                    vague: false,
                    waiting: true,
                    told: false,
                    end_known: false,
                    failures: 0,
                    accepted: VecDeque::new(),
                    finished: false,
                    turned_away: false,
                    opened: [false; 2],
                    fin_seen: false,
                    reset_seen: false,
                });
            }
            Err(error) if port == 0 => assert_eq!(error.kind(), ErrorKind::Usage),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed);
                assert!(!self.can_open());
            }
        }
    }

    fn can_open(&self) -> bool {
        !self.going_away && self.is_open()
    }

    /// The tunnel goes on.
    fn is_open(&self) -> bool {
        !self.closing && self.tunnel.outcome().is_none()
    }

    fn pick(&self, which: u8) -> Option<usize> {
        let count = self.connections.len();
        (count > 0).then(|| usize::from(which) % count.max(1))
    }

    fn send(&mut self, which: u8, len: usize) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let mut data = Vec::new();
        let len = len.min(self.limits.send_window + 10);
        self.fill(len, &mut data);
        let open = self.is_open();
        let connection = &mut self.connections[index];
        let result = self.tunnel.send(connection.id, &data);
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
        let connection = &mut self.connections[index];
        let result = self.tunnel.finish(connection.id);
        assert_eq!(result.is_ok(), connection.held);
        connection.finished |= open && connection.held;
        self.events();
    }

    fn read(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.connections[index];
        let data = self.tunnel.poll_data(connection.id);
        let finished = self.tunnel.is_finished(connection.id);
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
        if self.tunnel.wants_input() && self.blocked {
            assert!(self.resumed, "nobody told that input is wanted again");
            self.blocked = false;
        }
        self.resumed = false;
    }

    fn discard(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.connections[index];
        self.tunnel.discard(connection.id);
        connection.discarded = true;
        connection.expected.clear();
        assert!(self.tunnel.is_finished(connection.id));
        self.resumed();
    }

    fn release(&mut self, which: u8) {
        let Some(index) = self.pick(which) else {
            return;
        };
        self.events();
        let connection = &mut self.connections[index];
        self.tunnel.release(connection.id);
        connection.discarded = true;
        connection.expected.clear();
        connection.text.clear();
        connection.held = false;
        connection.turned_away = false;
        assert_eq!(self.tunnel.port(connection.id), None);
        assert!(self.tunnel.error(connection.id).is_none());
        self.resumed();
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let first = self.tunnel.poll_transmit().map(<[u8]>::to_vec);
        assert_eq!(first.as_deref(), self.tunnel.poll_transmit());
        if let Some(bytes) = &first {
            assert!(!bytes.is_empty() && bytes.starts_with(&self.front));
        } else {
            assert!(self.front.is_empty() || self.tunnel.is_closed());
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
        self.tunnel.transmitted(count);
        for (opcode, payload) in self.client.take() {
            match opcode {
                2 => {
                    for sent in self.client_spdy.push(&payload) {
                        self.sent(sent);
                    }
                }
                9 => {
                    assert!(payload.is_empty() && self.own_pings > 0);
                    self.own_pings -= 1;
                }
                10 => {
                    let rest = &self.pings[self.next_pong..];
                    match rest.iter().position(|ping| *ping == payload) {
                        Some(at) => self.next_pong += 1 + at,
                        None => assert!(self.server.suspect, "an answer to no ping"),
                    }
                }
                _ => {}
            }
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

    fn sent(&mut self, sent: Sent) {
        let (Sent::Open(stream, ..) | Sent::Data(stream, ..) | Sent::Reset(stream, _)) = sent
        else {
            if let Sent::Ping(id) = sent {
                self.sent_ping(id);
            }
            return;
        };
        let index = (stream / 4) as usize;
        let later = &self.connections[index + 1..];
        let first = later.iter().all(|connection| !connection.opened[0]);
        let connection = &mut self.connections[index];
        assert!(!connection.reset_seen, "after the last word");
        match sent {
            Sent::Open(_, fin, headers) => {
                let of_data = stream % 4 == 3;
                assert!(of_data || stream % 4 == 1);
                assert!(first, "ids go up");
                assert_eq!(connection.opened, [of_data, false], "the order of streams");
                assert_eq!(fin, !of_data);
                connection.opened[usize::from(of_data)] = true;
                let value = |name: &str| {
                    let header = headers.iter().find(|header| header.0 == name);
                    header.expect("a header").1.clone()
                };
                assert_eq!(headers.len(), 3);
                assert_eq!(value("port"), connection.port.to_string());
                assert_eq!(value("requestid"), index.to_string());
                let kind = if of_data { "data" } else { "error" };
                assert_eq!(value("streamtype"), kind);
            }
            Sent::Data(_, fin, data) => {
                assert!(stream % 4 == 3 && connection.opened[1]);
                assert!(!connection.fin_seen, "data after the end");
                assert!(data.len() <= connection.accepted.len(), "not accepted");
                let accepted: Vec<u8> = connection.accepted.drain(..data.len()).collect();
                assert!(data == accepted, "data changed on the way");
                if fin {
                    assert!(data.is_empty() && connection.accepted.is_empty());
                    assert!(connection.finished, "an end that nobody wanted");
                    connection.fin_seen = true;
                } else {
                    assert!(!data.is_empty(), "an empty frame");
                }
            }
            Sent::Reset(_, status) => {
                assert!(stream % 4 == 3 && connection.opened[1]);
                assert_eq!(status, 5);
                let closed = connection.is_closed() || connection.vague;
                assert!(closed || connection.discarded, "a reset without a reason");
                connection.reset_seen = true;
            }
            Sent::Ping(_) => {}
        }
    }

    fn sent_ping(&mut self, id: u32) {
        if id % 2 == 1 {
            assert_eq!(id, self.own_echoes * 2 + 1);
            self.own_echoes += 1;
            return;
        }
        let rest = &self.echoes[self.next_echo..];
        let at = rest.iter().position(|&echo| echo == id);
        self.next_echo += 1 + at.expect("an echo of a ping");
    }

    fn advance(&mut self, wait: Duration) {
        self.now += wait;
        self.events();
        let due = |run: &Self| {
            let next = run.tunnel.poll_timeout();
            next.is_some_and(|next| next <= run.now)
        };
        let was_due = due(self);
        let before = format!("{:?}", self.tunnel);
        for round in 0..4 {
            self.own_pings += 1;
            self.tunnel.handle_timeout(self.now);
            if round == 0 && !was_due && !due(self) {
                let after = format!("{:?}", self.tunnel);
                assert_eq!(before, after, "too early does nothing");
            }
            self.stalled();
        }
        assert!(!due(self), "a busy loop");
        if self.tunnel.outcome().is_some() && !self.closing {
            self.close();
        }
        self.resumed();
    }

    /// Only time can tell that nobody reads a connection for which others wait.
    fn stalled(&mut self) {
        let waiting = |connection: &Connection| connection.held && connection.waiting;
        let count = self.connections.iter().filter(|one| waiting(one)).count();
        for connection in &mut self.connections {
            let fault = self.tunnel.fault(connection.id);
            if fault == connection.fault.as_ref() {
                continue;
            }
            if connection.vague
                && fault.is_some_and(|fault| {
                    matches!(fault, ConnectionFault::Reset(_) | ConnectionFault::Node(_))
                })
            {
                continue;
            }
            if !connection.held {
                continue;
            }
            assert_eq!(fault, Some(&ConnectionFault::Stalled));
            assert!(self.may_reset && connection.fault.is_none());
            assert!(!connection.expected.is_empty(), "a reset for nothing");
            assert!(count > usize::from(waiting(connection)), "for nobody");
            connection.fail(ConnectionFault::Stalled);
            connection.discarded = true;
            connection.expected.clear();
        }
    }

    /// Who an event is about.
    fn of(&mut self, id: ConnectionId) -> &mut Connection {
        let connection = &mut self.connections[id.get() as usize];
        assert!(connection.held, "news of what was released");
        connection
    }

    fn events(&mut self) {
        for _ in 0..4 * self.connections.len() + 8 {
            let Some(event) = self.tunnel.poll_event() else {
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
                    assert!(self.going_away && !self.told_going_away);
                    self.told_going_away = true;
                }
                TunnelEvent::Resumed => self.resumed = true,
                TunnelEvent::Outcome => self.outcomes += 1,
                TunnelEvent::Closed => self.closes += 1,
                _ => {}
            }
        }
        panic!("there is always another event");
    }

    /// What always holds.
    fn check(&mut self) {
        for connection in &mut self.connections {
            let fault = self.tunnel.fault(connection.id);
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
                assert!(fault.is_none() || self.tunnel.error(connection.id).is_some());
            } else {
                assert_eq!(fault, None);
            }
        }
        let held = self.connections.iter().filter(|connection| connection.held);
        assert_eq!(self.tunnel.connections(), held.clone().count());
        let open = self.is_open();
        assert_eq!(self.tunnel.can_open(), self.can_open());
        if let Some(outcome) = self.tunnel.outcome() {
            let now = format!("{outcome:?}");
            if self.outcome.is_none() && matches!(outcome, Outcome::Ended) {
                let live = |connection: &Connection| !connection.done && connection.fault.is_none();
                assert!(!held.clone().any(live), "ended too early");
            }
            assert_eq!(self.outcome.get_or_insert_with(|| now.clone()), &now);
        } else {
            assert_eq!(self.outcome, None);
        }
        if self.tunnel.is_closed() {
            assert!(self.tunnel.outcome().is_some() && self.tunnel.poll_transmit().is_none());
            assert!(self.tunnel.poll_timeout().is_none() && !self.tunnel.wants_input());
        }
        let window = self.limits.receive_window;
        let expected = self.connections.iter().map(|one| one.expected.len());
        let received: usize = expected.sum();
        let reading = self.largest + self.limits.max_message + self.excess;
        assert!(received <= 16 * window + reading, "{received} bytes wait");
        let texts = self.limits.max_error_body * 4 * self.connections.len();
        let sending = 3 * self.limits.send_window + 1;
        let bound = received + sending + self.limits.max_message + texts + (112 << 10);
        let buffered = self.tunnel.buffered();
        assert!(buffered <= bound, "{buffered} bytes held, {bound} allowed");
        assert!(buffered >= received, "less is held than waits");
        if open && self.server.is_open() {
            let full = |connection: &Connection| {
                !connection.ended && connection.expected.len() >= 4 * window
            };
            let full = held.clone().any(full) || received >= 16 * window;
            assert_eq!(self.tunnel.wants_input(), !full, "backpressure");
        }
    }

    /// What was accepted is on the wire.
    fn all_was_sent(&mut self) {
        self.events();
        assert!(self.client.is_between_frames() && self.client_spdy.bytes.is_empty());
        let open = self.is_open();
        for connection in &self.connections {
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
        if self.tunnel.outcome().is_none() {
            self.all_was_sent();
        }
        self.tunnel.close(self.now);
        self.close();
        self.transmit_all();
        if self.tunnel.outcome().is_none() {
            self.all_was_sent();
            assert!(self.client.is_closed(), "a close without a close frame");
        }
        for _ in 0..4 {
            if let Some(next) = self.tunnel.poll_timeout() {
                self.advance(next.saturating_duration_since(self.now));
                self.transmit_all();
            }
            self.check();
        }
        assert!(self.tunnel.is_closed(), "closing does not end");
        for index in 0..self.connections.len() {
            let which = u8::try_from(index).expect("few connections");
            let id = self.connections[index].id;
            for _ in 0..1_000_000 {
                self.read(which);
                let left = &self.connections[index];
                if !left.held || left.waiting {
                    break;
                }
            }
            assert!(self.tunnel.is_finished(id));
            assert!(self.tunnel.send(id, b"x").is_err());
            let connection = &self.connections[index];
            if connection.held {
                let clean = connection.fault.is_none() && !connection.cut;
                assert_eq!(
                    self.tunnel.error(id).is_none(),
                    clean,
                    "{:?}",
                    self.tunnel.error(id)
                );
                assert_eq!(connection.failures, usize::from(connection.fault.is_some()));
            }
            self.release(which);
        }
        self.events();
        assert_eq!((self.outcomes, self.closes), (1, 1));
        assert_eq!(self.going_away, self.told_going_away);
        assert_eq!(self.tunnel.connections(), 0);
        assert_eq!(self.tunnel.buffered(), 0);
    }
}
