//! What all sessions have in common: the WebSocket, its life from open to done, deadlines, and the
//! outcome.

use std::time::Instant;

use bytes::Bytes;

use super::timers::{Due, Timers};
use super::{Abort, Outcome, SessionOptions, Timeout};
use crate::ws::{Message, WebSocket};
use crate::{Error, ErrorKind, Limits};

/// How much is framed at once; the transport takes it before there is more.
pub(super) const BATCH: usize = 64 << 10;
/// Shorter messages are copied out of the buffer that they came in.
const COPY: usize = 4 << 10;
/// Close codes of RFC 6455 7.4.1.
pub(super) const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// This side wants to close. What was accepted is still sent, then the close.
    Closing,
    /// The server closed, or broke the rules: the last frames go out.
    Leaving,
    Done,
}

/// What happened to the link and was not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Resumed,
    Outcome,
    Closed,
}

/// The state of a session that does not depend on what it carries.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Link {
    pub(super) ws: WebSocket,
    pub(super) timers: Timers,
    phase: Phase,
    outcome: Option<Outcome>,
    error: Option<Error>,
    close_sent: bool,
    /// Input was not wanted at some time since deadlines were looked at.
    stalled: bool,
    /// Input is not wanted, and a driver is to be told when it is again.
    blocked: bool,
    /// Data was sent since the time was last told.
    pub(super) sent: bool,
    /// The longest message that came.
    longest: usize,
    resumed: bool,
    concluded: bool,
    closed: bool,
}

impl Link {
    pub(super) fn new(options: &SessionOptions, limits: &Limits, now: Instant) -> Self {
        Self {
            ws: WebSocket::new(limits),
            timers: Timers::new(options, now),
            phase: Phase::Open,
            outcome: None,
            error: None,
            close_sent: false,
            stalled: false,
            blocked: false,
            sent: false,
            longest: 0,
            resumed: false,
            concluded: false,
            closed: false,
        }
    }

    /// Frames a message of what is there when the pipe has room. After the close nothing goes out any more.
    pub(super) fn send<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let sent = self.ws.send_parts(parts);
        debug_assert!(
            sent.unwrap_or_else(|error| error.kind() == ErrorKind::Closed),
            "a message that cannot be sent would be lost"
        );
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub(super) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Nothing more can be sent.
    pub(super) fn has_ended(&self) -> bool {
        self.phase != Phase::Open || self.outcome.is_some()
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Data up to this length is copied out of the message that it came in, so that a little of it
    /// does not keep a large buffer alive. Longer messages come in longer buffers.
    pub(super) fn copy_below(&self) -> usize {
        COPY.max(self.longest / 8)
    }

    pub(super) fn take_news(&mut self) -> Option<News> {
        if std::mem::take(&mut self.resumed) {
            return Some(News::Resumed);
        }
        if std::mem::take(&mut self.concluded) {
            return Some(News::Outcome);
        }
        std::mem::take(&mut self.closed).then_some(News::Closed)
    }
}

/// A machine over a [`Link`]: it says what the messages mean, and gets the life of a session.
pub(super) trait Carry {
    fn link(&self) -> &Link;
    fn link_mut(&mut self) -> &mut Link;

    /// Takes a binary message.
    fn binary(&mut self, data: Bytes, now: Instant) -> Result<(), Error>;
    /// What it means that the server closes with this code.
    fn closed_with(&self, code: Option<u16>) -> Outcome;
    /// What the server had said so far, if that is an outcome.
    fn said(&self) -> Option<Outcome> {
        None
    }
    /// Whether more input can be held.
    fn has_room(&self) -> bool;
    /// No more input comes.
    fn end_input(&mut self);
    /// Forgets what was not sent, and tells the writers that wait.
    fn clear_output(&mut self);
    /// Tells the writers that wait, for they will not be served.
    fn wake_writers(&mut self);
    /// Gives the next messages to the WebSocket, whose pipe is empty. Whether more wait.
    fn fill(&mut self) -> bool;
    /// Input was taken.
    fn after_input(&mut self, _now: Instant) {}
    /// It is time for a sign of life, besides the WebSocket's.
    fn ping(&mut self) {}
    /// A deadline of the carried protocol.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// That deadline may have passed.
    fn handle_deadline(&mut self, _now: Instant) {}

    fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        if let Some(error) = &self.link().error {
            return Err(error.clone());
        }
        if bytes.is_empty() || !self.link().is_reading() {
            return Ok(());
        }
        self.link_mut().timers.received(now);
        let result = self.messages(bytes, now);
        if let Err(error) = &result {
            self.fail(error, now);
        }
        if !self.wants_input() {
            let link = self.link_mut();
            link.stalled = true;
            link.blocked = true;
        }
        self.after_input(now);
        result
    }

    fn messages(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Error> {
        while let Some(message) = self.link_mut().ws.step(&mut bytes)? {
            match message {
                Message::Binary(data) => {
                    let link = self.link_mut();
                    link.longest = link.longest.max(data.len());
                    self.binary(data, now)?;
                }
                Message::Text(_) => {
                    return Err(Error::peer("a text message in a binary protocol"));
                }
                Message::Ping | Message::Pong => {}
                Message::Close(code) => {
                    let end = if self.link().phase == Phase::Closing {
                        Outcome::Aborted(Abort::Closed)
                    } else {
                        self.closed_with(code)
                    };
                    self.conclude(end);
                    self.leave(now);
                }
            }
        }
        Ok(())
    }

    fn set_outcome(&mut self, outcome: Outcome) {
        let link = self.link_mut();
        if link.outcome.is_none() {
            link.outcome = Some(outcome);
            link.concluded = true;
            self.clear_output();
        }
    }

    /// Sets the outcome if there was none: what the server had said, or this.
    fn conclude(&mut self, end: Outcome) {
        if self.link().outcome.is_none() {
            let outcome = self.said().unwrap_or(end);
            self.set_outcome(outcome);
        }
    }

    fn fail(&mut self, error: &Error, now: Instant) {
        if self.link().error.is_some() {
            return;
        }
        self.link_mut().error = Some(error.clone());
        if !self.link().is_reading() {
            return;
        }
        let (abort, code) = if error.kind() == ErrorKind::Limit {
            (Abort::Limit(error.clone()), TOO_BIG)
        } else {
            (Abort::Peer(error.clone()), PROTOCOL_ERROR)
        };
        self.conclude(Outcome::Aborted(abort));
        self.link_mut().ws.close(code);
        self.leave(now);
    }

    fn leave(&mut self, now: Instant) {
        self.link_mut().phase = Phase::Leaving;
        self.clear_output();
        self.end_input();
        self.link_mut().timers.closing(now);
        self.settle();
    }

    /// Leaving is over when the last frame has gone out.
    fn settle(&mut self) {
        let link = self.link_mut();
        if link.phase == Phase::Leaving && link.ws.poll_transmit().is_none() {
            self.done();
        }
    }

    fn done(&mut self) {
        let link = self.link_mut();
        if link.phase != Phase::Done {
            link.phase = Phase::Done;
            link.ws.abandon();
            link.closed = true;
            self.clear_output();
            self.end_input();
        }
    }

    fn handle_end(&mut self) {
        let abort = match self.link().phase {
            Phase::Open | Phase::Leaving => Abort::ConnectionLost,
            Phase::Closing => Abort::Closed,
            Phase::Done => return,
        };
        self.conclude(Outcome::Aborted(abort));
        self.done();
    }

    fn handle_error(&mut self, error: Error) {
        if self.link().phase != Phase::Done {
            self.conclude(Outcome::Aborted(Abort::Transport(error)));
            self.done();
        }
    }

    fn wants_input(&self) -> bool {
        self.link().is_reading() && self.has_room()
    }

    /// Looks whether room was made.
    fn resume(&mut self) {
        if self.link().blocked && self.wants_input() {
            let link = self.link_mut();
            link.blocked = false;
            link.resumed = true;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.link().is_done() {
            return None;
        }
        [self.link().timers.next(), self.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.link().is_done() {
            return;
        }
        if self.link().stalled {
            // Nothing could come while nothing was read: what waits in the kernel counts.
            let stalled = self.link().is_reading() && !self.wants_input();
            let link = self.link_mut();
            link.timers.received(now);
            link.timers.moved(now);
            link.stalled = stalled;
        }
        let link = self.link_mut();
        if std::mem::take(&mut link.sent) {
            link.timers.moved(now);
        }
        match link.timers.due(now) {
            Due::Nothing => {}
            Due::Ping => {
                let _ = link.ws.ping();
                self.ping();
            }
            Due::Expired(Timeout::Pong) => {
                self.conclude(Outcome::Aborted(Abort::Timeout(Timeout::Pong)));
                self.done();
            }
            Due::Expired(which) => {
                self.conclude(Outcome::Aborted(Abort::Timeout(which)));
                self.close(now);
            }
            Due::Linger => {
                self.conclude(Outcome::Aborted(Abort::ClosedWithoutStatus { code: None }));
                self.close(now);
            }
            Due::Closed => {
                self.conclude(Outcome::Aborted(Abort::Closed));
                self.done();
            }
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_deadline(now);
        }
    }

    fn close(&mut self, now: Instant) {
        if self.link().phase == Phase::Open {
            self.link_mut().phase = Phase::Closing;
            self.end_input();
            self.wake_writers();
            self.link_mut().timers.closing(now);
            self.resume();
        }
    }

    fn poll_transmit(&mut self) -> Option<&[u8]> {
        if self.link().is_done() {
            return None;
        }
        if self.link().is_reading() && self.link_mut().ws.poll_transmit().is_none() {
            let more = self.fill();
            let link = self.link_mut();
            if !more && link.phase == Phase::Closing && !link.close_sent {
                link.close_sent = true;
                link.ws.close(NORMAL);
            }
        }
        self.link_mut().ws.poll_transmit()
    }

    fn transmitted(&mut self, n: usize) {
        self.link_mut().ws.transmitted(n);
        self.settle();
    }
}

/// Appends as much as fits.
pub(super) fn append(to: &mut Vec<u8>, data: &[u8], max: usize) {
    let room = max.saturating_sub(to.len()).min(data.len());
    to.extend_from_slice(data.get(..room).unwrap_or_default());
}
