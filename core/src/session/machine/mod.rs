//! The machine behind every session, without generics.

mod output;

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::protocol::Plan;
use super::timers::{Due, Timers};
use super::{Abort, Event, Outcome, Overflow, SessionOptions, Timeout};
use crate::channel::{self, Frame, Subprotocol};
use crate::meta::Status;
use crate::ws::{Message, WebSocket};
use crate::{Error, ErrorKind, Limits};

/// How much is framed at once; the transport takes it before there is more.
const BATCH: usize = 32 << 10;
/// Shorter messages are copied out of the buffer that they came in.
const COPY: usize = 4 << 10;
/// Close codes of RFC 6455 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// This side wants to close. What was accepted is still sent, then the close.
    Closing,
    /// The server closed, or broke the rules: the last frames go out.
    Leaving,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exec { tty: bool },
    Attach { tty: bool },
    PortForward,
}

/// One connection of a port-forward session.
struct Port {
    number: u16,
    data_announced: bool,
    error_announced: bool,
    error: Option<Vec<u8>>,
    told: bool,
}

/// What `poll_event` has to tell, besides what the channels know.
#[derive(Default)]
struct News {
    opened: Option<bool>,
    outcome: bool,
    resumed: bool,
    closed: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(in crate::session) struct Machine {
    ws: WebSocket,
    kind: Kind,
    subprotocol: Subprotocol,
    phase: Phase,
    inboxes: Vec<Inbox>,
    outbox: Outbox,
    ports: Vec<Port>,
    /// What came on the status channel and is no status by itself.
    text: Vec<u8>,
    outcome: Option<Outcome>,
    error: Option<Error>,
    size: Option<(u16, u16)>,
    close_sent: bool,
    timers: Timers,
    news: News,
    /// Input was not wanted at some time since deadlines were looked at.
    stalled: bool,
    /// Input is not wanted, and a driver is to be told when it is again.
    blocked: bool,
    /// Data was sent since the time was last told.
    sent: bool,
    /// The longest message that came.
    longest: usize,
    receive_window: usize,
    max_text: usize,
}

impl Machine {
    pub(in crate::session) fn new(
        plan: Plan,
        subprotocol: Subprotocol,
        options: &SessionOptions,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let inbox = |there: bool| {
            if there {
                Inbox::new(options.overflow)
            } else {
                Inbox::absent()
            }
        };
        let (kind, inboxes, lanes, ports) = match plan {
            Plan::Exec(streams) | Plan::Attach(streams) => {
                let tty = streams.has_tty();
                let kind = if matches!(plan, Plan::Exec(_)) {
                    Kind::Exec { tty }
                } else {
                    Kind::Attach { tty }
                };
                let inboxes = vec![
                    inbox(false),
                    inbox(streams.has_stdout()),
                    inbox(streams.has_stderr()),
                ];
                let lanes = streams.has_stdin().then_some(channel::STDIN);
                (kind, inboxes, lanes.into_iter().collect(), Vec::new())
            }
            Plan::PortForward(ports) => (
                Kind::PortForward,
                ports.iter().map(|_| inbox(true)).collect(),
                (0..ports.len()).filter_map(channel::data_channel).collect(),
                ports.iter().map(|&number| Port::new(number)).collect(),
            ),
        };
        let lanes: Vec<u8> = lanes;
        Self {
            ws: WebSocket::new(limits),
            kind,
            subprotocol,
            phase: Phase::Open,
            inboxes,
            outbox: Outbox::new(lanes, limits.send_window),
            ports,
            text: Vec::new(),
            outcome: None,
            error: None,
            size: None,
            close_sent: false,
            timers: Timers::new(options, now),
            news: News::default(),
            stalled: false,
            blocked: false,
            sent: false,
            longest: 0,
            receive_window: limits.receive_window.max(1),
            max_text: limits.max_error_body,
        }
    }

    pub(in crate::session) fn handle_input(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if bytes.is_empty() || !self.is_reading() {
            return Ok(());
        }
        self.timers.received(now);
        let result = self.messages(bytes, now);
        if let Err(error) = &result {
            self.fail(error, now);
        }
        if !self.wants_input() {
            self.stalled = true;
            self.blocked = true;
        }
        result
    }

    fn messages(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Error> {
        while let Some(message) = self.ws.step(&mut bytes)? {
            self.message(message, now)?;
        }
        Ok(())
    }

    fn message(&mut self, message: Message, now: Instant) -> Result<(), Error> {
        match message {
            Message::Binary(data) => {
                self.longest = self.longest.max(data.len());
                let frame = channel::decode(data)?;
                self.news.opened.get_or_insert(true);
                if frame.data.is_empty() {
                    // "The streams are connected", on whichever channel the server can write to.
                    return Ok(());
                }
                if self.kind == Kind::PortForward {
                    self.port_frame(frame, now)
                } else {
                    self.stream_frame(frame, now);
                    Ok(())
                }
            }
            Message::Text(_) => Err(Error::peer("a text message in a binary channel protocol")),
            Message::Ping | Message::Pong => Ok(()),
            Message::Close(code) => {
                let end = match (self.phase, self.kind, code) {
                    (Phase::Closing, _, _) => Outcome::Aborted(Abort::Closed),
                    (_, Kind::PortForward, None | Some(NORMAL)) => Outcome::Ended,
                    _ => Outcome::Aborted(Abort::ClosedWithoutStatus { code }),
                };
                self.conclude(end);
                self.leave(now);
                Ok(())
            }
        }
    }

    fn stream_frame(&mut self, frame: Frame, now: Instant) {
        match frame.channel {
            channel::STDOUT | channel::STDERR => {
                self.push(usize::from(frame.channel), frame.data, now);
            }
            channel::STATUS => self.status(&frame.data, now),
            // Nobody asked for it; the server ignores such channels as well.
            _ => {}
        }
    }

    fn push(&mut self, index: usize, data: Bytes, now: Instant) {
        self.timers.moved(now);
        // Longer messages come in longer buffers.
        let copy = COPY.max(self.longest / 8);
        if let Some(inbox) = self.inboxes.get_mut(index) {
            inbox.push(data, self.receive_window, copy);
        }
    }

    fn status(&mut self, data: &[u8], now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        self.timers.linger(now);
        if self.text.is_empty()
            && let Some(status) = Status::from_slice(data)
        {
            let attach = matches!(self.kind, Kind::Attach { .. });
            self.set_outcome(Outcome::from_status(status, attach));
            return;
        }
        append(&mut self.text, data, self.max_text);
    }

    fn port_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Error> {
        let index = usize::from(frame.channel / 2);
        let Some(port) = self.ports.get_mut(index) else {
            return Ok(());
        };
        let announces = channel::port_prefix(&frame.data) == Some(port.number);
        if frame.channel.is_multiple_of(2) {
            if port.data_announced {
                self.push(index, frame.data, now);
            } else if announces {
                port.data_announced = true;
            } else {
                return Err(Error::peer(format!(
                    "the first message of port {} does not name it",
                    port.number
                )));
            }
            return Ok(());
        }
        if announces && !port.error_announced {
            port.error_announced = true;
            return Ok(());
        }
        self.timers.moved(now);
        append(
            port.error.get_or_insert_with(Vec::new),
            &frame.data,
            self.max_text,
        );
        if let Some(inbox) = self.inboxes.get_mut(index) {
            inbox.end();
        }
        self.outbox.clear_lane(index);
        Ok(())
    }

    fn set_outcome(&mut self, outcome: Outcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            self.news.outcome = true;
            self.size = None;
            self.outbox.clear();
        }
    }

    /// Sets the outcome if there was none: what the status channel said, or this.
    fn conclude(&mut self, end: Outcome) {
        if self.outcome.is_some() {
            return;
        }
        let attach = matches!(self.kind, Kind::Attach { .. });
        let said = if let Some(status) = Status::from_slice(&self.text) {
            Some(Outcome::from_status(status, attach))
        } else if self.text.is_empty() || self.text.starts_with(b"{") {
            // Nothing, or a status that was cut off.
            None
        } else {
            Some(Outcome::Failure(Status {
                status: Some("Failure".to_owned()),
                message: Some(String::from_utf8_lossy(&self.text).trim().to_owned()),
                ..Status::default()
            }))
        };
        self.set_outcome(said.unwrap_or(end));
    }

    fn fail(&mut self, error: &Error, now: Instant) {
        if self.error.is_some() {
            return;
        }
        self.error = Some(error.clone());
        if !self.is_reading() {
            return;
        }
        let (abort, code) = if error.kind() == ErrorKind::Limit {
            (Abort::Limit(error.clone()), TOO_BIG)
        } else {
            (Abort::Peer(error.clone()), PROTOCOL_ERROR)
        };
        self.conclude(Outcome::Aborted(abort));
        self.ws.close(code);
        self.leave(now);
    }

    fn leave(&mut self, now: Instant) {
        self.phase = Phase::Leaving;
        self.outbox.clear();
        self.end_input();
        self.timers.closing(now);
        self.settle();
    }

    /// Leaving is over when the last frame has gone out.
    fn settle(&mut self) {
        if self.phase == Phase::Leaving && self.ws.poll_transmit().is_none() {
            self.done();
        }
    }

    fn done(&mut self) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            self.ws.abandon();
            self.size = None;
            self.outbox.clear();
            self.end_input();
            self.news.closed = true;
        }
    }

    fn end_input(&mut self) {
        for inbox in &mut self.inboxes {
            inbox.end();
        }
    }

    pub(in crate::session) fn handle_end(&mut self) {
        let abort = match self.phase {
            Phase::Open | Phase::Leaving => Abort::ConnectionLost,
            Phase::Closing => Abort::Closed,
            Phase::Done => return,
        };
        self.conclude(Outcome::Aborted(abort));
        self.done();
    }

    pub(in crate::session) fn handle_error(&mut self, error: Error) {
        if self.phase != Phase::Done {
            self.conclude(Outcome::Aborted(Abort::Transport(error)));
            self.done();
        }
    }

    fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }

    pub(in crate::session) fn wants_input(&self) -> bool {
        let full = |inbox: &Inbox| inbox.is_full(self.receive_window);
        self.is_reading() && !self.inboxes.iter().any(full)
    }

    pub(in crate::session) fn poll_data(&mut self, index: usize) -> Option<Bytes> {
        let data = self.inboxes.get_mut(index)?.pop();
        self.resume();
        data
    }

    pub(in crate::session) fn discard(&mut self, index: usize) {
        if let Some(inbox) = self.inboxes.get_mut(index) {
            inbox.discard();
        }
        self.resume();
    }

    pub(in crate::session) fn set_overflow(&mut self, index: usize, overflow: Overflow) {
        if let Some(inbox) = self.inboxes.get_mut(index) {
            inbox.overflow = overflow;
        }
        self.resume();
    }

    fn resume(&mut self) {
        if self.blocked && self.wants_input() {
            self.blocked = false;
            self.news.resumed = true;
        }
    }

    pub(in crate::session) fn is_finished(&self, index: usize) -> bool {
        self.inboxes.get(index).is_none_or(Inbox::is_finished)
    }

    pub(in crate::session) fn is_truncated(&self, index: usize) -> bool {
        self.inboxes.get(index).is_some_and(Inbox::is_truncated)
    }

    pub(in crate::session) fn poll_event(&mut self) -> Option<Event> {
        if self.news.opened == Some(true) {
            self.news.opened = Some(false);
            return Some(Event::Opened);
        }
        for (index, port) in (0..).zip(&mut self.ports) {
            if port.error.is_some() && !port.told {
                port.told = true;
                return Some(Event::PortFailed(index));
            }
        }
        for (index, inbox) in (0..).zip(&mut self.inboxes) {
            if inbox.take_readable() {
                return Some(Event::Readable(index));
            }
        }
        if let Some(lane) = self.outbox.take_writable() {
            return u8::try_from(lane).ok().map(Event::Writable);
        }
        if std::mem::take(&mut self.news.resumed) {
            return Some(Event::Resumed);
        }
        if std::mem::take(&mut self.news.outcome) {
            return Some(Event::Outcome);
        }
        std::mem::take(&mut self.news.closed).then_some(Event::Closed)
    }

    pub(in crate::session) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub(in crate::session) fn subprotocol(&self) -> Subprotocol {
        self.subprotocol
    }

    pub(in crate::session) fn poll_timeout(&self) -> Option<Instant> {
        (self.phase != Phase::Done)
            .then(|| self.timers.next())
            .flatten()
    }

    pub(in crate::session) fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Done {
            return;
        }
        if self.stalled {
            // Nothing could come while nothing was read: what waits in the kernel counts.
            self.timers.received(now);
            self.timers.moved(now);
            self.stalled = self.is_reading() && !self.wants_input();
        }
        if std::mem::take(&mut self.sent) {
            self.timers.moved(now);
        }
        match self.timers.due(now) {
            Due::Nothing => {}
            Due::Ping => {
                let _ = self.ws.ping();
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
    }

    pub(in crate::session) fn is_closed(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(in crate::session) fn buffered(&self) -> usize {
        let errors = self.ports.iter().filter_map(|port| port.error.as_ref());
        self.inboxes.iter().map(Inbox::held).sum::<usize>()
            + self.outbox.held()
            + self.ws.buffered()
            + self.text.len()
            + errors.map(Vec::len).sum::<usize>()
    }

    pub(in crate::session) fn port_error(&self, index: usize) -> Option<Cow<'_, str>> {
        let error = self.ports.get(index)?.error.as_deref()?;
        Some(String::from_utf8_lossy(error))
    }
}

impl Port {
    fn new(number: u16) -> Self {
        Self {
            number,
            data_announced: false,
            error_announced: false,
            error: None,
            told: false,
        }
    }
}

/// Appends as much as fits.
fn append(to: &mut Vec<u8>, data: &[u8], max: usize) {
    let room = max.saturating_sub(to.len()).min(data.len());
    to.extend_from_slice(data.get(..room).unwrap_or_default());
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("kind", &self.kind)
            .field("subprotocol", &self.subprotocol)
            .field("phase", &self.phase)
            .field("buffered", &self.buffered())
            .field("outcome", &self.outcome.is_some())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
