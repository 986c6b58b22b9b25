//! What the models of sessions and tunnels share: the bytes of a WebSocket in both directions, and time.

use std::fmt;
use std::slice::Chunks;
use std::time::{Duration, Instant};

use kubewire::session::{Outcome, Protocol, Session, SessionOptions, Tunnel};
use kubewire::{Error, ErrorKind, Limits};

use crate::drive::shown;
use crate::frames::{ClientFrames, Said, ServerFrames};
use crate::input::Input;

/// Small ones, to be reached.
pub(crate) fn limits(input: &mut Input<'_>) -> Limits {
    Limits {
        receive_window: input.pick(&[1000, 1, 100, 5000]),
        send_window: input.pick(&[2000, 1, 100, 70_000]),
        max_message: input.pick(&[2000, 126, 300, 70_000]),
        max_error_body: input.pick(&[500, 0, 10]),
        ..Limits::default()
    }
}

/// Deadlines, by the lowest three bits.
pub(crate) fn options(flags: u8) -> SessionOptions {
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
    options
}

/// In what sessions and tunnels are alike.
pub(crate) trait Machine: fmt::Debug {
    fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error>;
    fn wants_input(&self) -> bool;
    fn poll_transmit(&mut self) -> Option<&[u8]>;
    fn transmitted(&mut self, count: usize);
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn outcome(&self) -> Option<&Outcome>;
    fn is_closed(&self) -> bool;
}

/// By the methods of the same names.
macro_rules! machine {
    ($type:ty $(, $P:ident)?) => {
        impl$(<$P: Protocol>)? Machine for $type {
            fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
                <$type>::handle_input(self, bytes, now)
            }

            fn wants_input(&self) -> bool {
                <$type>::wants_input(self)
            }

            fn poll_transmit(&mut self) -> Option<&[u8]> {
                <$type>::poll_transmit(self)
            }

            fn transmitted(&mut self, count: usize) {
                <$type>::transmitted(self, count);
            }

            fn poll_timeout(&self) -> Option<Instant> {
                <$type>::poll_timeout(self)
            }

            fn handle_timeout(&mut self, now: Instant) {
                <$type>::handle_timeout(self, now);
            }

            fn outcome(&self) -> Option<&Outcome> {
                <$type>::outcome(self)
            }

            fn is_closed(&self) -> bool {
                <$type>::is_closed(self)
            }
        }
    };
}

machine!(Session<P>, P);
machine!(Tunnel);

/// A machine between a server and a transport, and what was seen of it.
pub(crate) struct Wire<M> {
    pub(crate) machine: M,
    pub(crate) limits: Limits,
    pub(crate) now: Instant,
    pub(crate) server: ServerFrames,
    pub(crate) client: ClientFrames,
    pub(crate) outcome: Option<String>,
    /// Handed in although nothing was wanted.
    pub(crate) excess: usize,
    /// Nothing was wanted when that was last looked at.
    pub(crate) blocked: bool,
    /// An event told that input is wanted again.
    pub(crate) resumed: bool,
    /// Input is handed in in pieces of this size; 0 is whole.
    cut: usize,
    fault: Option<String>,
    pings: Vec<Vec<u8>>,
    next_pong: usize,
    own_pings: usize,
    pattern: usize,
    /// What was to be transmitted first when that was last looked at.
    front: Vec<u8>,
}

impl<M: Machine> Wire<M> {
    /// The highest three bits tell how input is cut.
    pub(crate) fn new(
        machine: M,
        server: ServerFrames,
        limits: Limits,
        flags: u8,
        now: Instant,
    ) -> Self {
        Self {
            machine,
            limits,
            now,
            server,
            client: ClientFrames::default(),
            outcome: None,
            excess: 0,
            blocked: false,
            resumed: false,
            cut: usize::from(flags >> 5) * 3,
            fault: None,
            pings: Vec::new(),
            next_pong: 0,
            own_pings: 0,
            pattern: 0,
            front: Vec::new(),
        }
    }

    /// Appends bytes that no others are mistaken for.
    pub(crate) fn fill(&mut self, len: usize, out: &mut Vec<u8>) {
        for _ in 0..len {
            self.pattern += 1;
            let mixed = self.pattern.wrapping_mul(0x9e37_79b1) >> 13;
            out.push(u8::try_from(mixed & 0xff).unwrap_or_default());
        }
    }

    /// Bytes of the server as they are handed in.
    pub(crate) fn pieces<'b>(&self, bytes: &'b [u8]) -> Chunks<'b, u8> {
        let size = if self.cut == 0 { bytes.len() } else { self.cut };
        bytes.chunks(size.max(1))
    }

    /// Hands in one piece. `hear` is told the server's messages, and whether each is a good one.
    pub(crate) fn input(&mut self, piece: &[u8], mut hear: impl FnMut(&[u8]) -> bool) {
        let reading = self.server.is_open() && !self.machine.is_closed();
        if reading {
            for said in self.server.push(piece) {
                match said {
                    Said::Ping(data) => self.pings.push(data),
                    Said::Binary(message) if hear(&message) => {}
                    Said::Binary(_) => {
                        self.server.broken = true;
                        break;
                    }
                }
            }
        }
        let result = self.machine.handle_input(piece, self.now);
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
    }

    /// After all events were taken: who does not read any more was told to go on.
    pub(crate) fn check_resumed(&mut self) {
        if self.machine.wants_input() && self.blocked {
            assert!(self.resumed, "nobody told that input is wanted again");
            self.blocked = false;
        }
        self.resumed = false;
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let first = self.machine.poll_transmit().map(<[u8]>::to_vec);
        assert_eq!(first.as_deref(), self.machine.poll_transmit());
        if let Some(bytes) = &first {
            assert!(!bytes.is_empty() && bytes.starts_with(&self.front));
        } else {
            assert!(self.front.is_empty() || self.machine.is_closed());
        }
        first
    }

    /// Transmits so much at most; returns the messages that are complete.
    pub(crate) fn transmit(&mut self, most: usize) -> Vec<Vec<u8>> {
        let Some(bytes) = self.poll_transmit() else {
            return Vec::new();
        };
        let count = bytes.len().min(most);
        self.client.push(&bytes[..count]);
        bytes[count..].clone_into(&mut self.front);
        self.machine.transmitted(count);
        let mut messages = Vec::new();
        for (opcode, payload) in self.client.take() {
            match opcode {
                8 => {}
                9 => {
                    assert!(payload.is_empty() && self.own_pings > 0);
                    self.own_pings -= 1;
                }
                10 => self.pong(&payload),
                _ => messages.push(payload),
            }
        }
        messages
    }

    /// Pings may share an answer, which is the last one's.
    fn pong(&mut self, payload: &[u8]) {
        let rest = &self.pings[self.next_pong..];
        match rest.iter().position(|ping| ping == payload) {
            Some(at) => self.next_pong += 1 + at,
            // Pings inside of a text message are not read by the model.
            None => assert!(self.server.suspect, "an answer to no ping"),
        }
    }

    /// Transmits until there is nothing more.
    pub(crate) fn transmit_all(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for _ in 0..1000 {
            if self.poll_transmit().is_none() {
                return messages;
            }
            messages.extend(self.transmit(usize::MAX));
        }
        panic!("there is always more to transmit");
    }

    fn is_due(&self) -> bool {
        let next = self.machine.poll_timeout();
        next.is_some_and(|next| next <= self.now)
    }

    /// Lets time pass; whether there was a deadline. `told` looks whenever the machine was told of it.
    pub(crate) fn advance(&mut self, wait: Duration, mut told: impl FnMut(&M)) -> bool {
        self.now += wait;
        let was_due = self.is_due();
        let before = format!("{:?}", self.machine);
        // Deadlines that have passed are dealt with one at a time, and then no more are due.
        for round in 0..4 {
            self.own_pings += 1;
            self.machine.handle_timeout(self.now);
            if round == 0 && !was_due && !self.is_due() {
                let after = format!("{:?}", self.machine);
                assert_eq!(before, after, "too early does nothing");
            }
            told(&self.machine);
        }
        assert!(!self.is_due(), "a busy loop");
        was_due
    }

    /// What always holds of outcomes and of what is closed.
    pub(crate) fn check(&mut self) {
        if let Some(outcome) = self.machine.outcome() {
            let now = format!("{outcome:?}");
            assert_eq!(self.outcome.get_or_insert_with(|| now.clone()), &now);
        } else {
            assert_eq!(self.outcome, None);
        }
        if self.machine.is_closed() {
            assert!(self.machine.outcome().is_some() && self.machine.poll_transmit().is_none());
            assert!(self.machine.poll_timeout().is_none() && !self.machine.wants_input());
        }
    }
}
