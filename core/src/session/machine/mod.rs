//! The machine behind every session, without generics.

mod output;

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::inbox::Inbox;
use super::link::{Carry, Link, NORMAL, News, append};
use super::outbox::Outbox;
use super::protocol::Plan;
use super::{Abort, Event, Outcome, Overflow, SessionOptions};
use crate::channel::{self, Frame, Subprotocol};
use crate::meta::Status;
use crate::{Error, Limits};

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

pub(in crate::session) struct Machine {
    link: Link,
    kind: Kind,
    subprotocol: Subprotocol,
    inboxes: Vec<Inbox>,
    outbox: Outbox,
    ports: Vec<Port>,
    /// What came on the status channel and is no status by itself.
    text: Vec<u8>,
    size: Option<(u16, u16)>,
    /// The first message came, and whether that has still to be told.
    opened: Option<bool>,
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
            link: Link::new(options, limits, now),
            kind,
            subprotocol,
            inboxes,
            outbox: Outbox::new(lanes, limits.send_window),
            ports,
            text: Vec::new(),
            size: None,
            opened: None,
            receive_window: limits.receive_window.max(1),
            max_text: limits.max_error_body,
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
        self.link.timers.moved(now);
        let copy = self.link.copy_below();
        if let Some(inbox) = self.inboxes.get_mut(index) {
            inbox.push(data, self.receive_window, copy);
        }
    }

    fn status(&mut self, data: &[u8], now: Instant) {
        if self.link.outcome().is_some() {
            return;
        }
        self.link.timers.linger(now);
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
        self.link.timers.moved(now);
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

    pub(in crate::session) fn is_finished(&self, index: usize) -> bool {
        self.inboxes.get(index).is_none_or(Inbox::is_finished)
    }

    pub(in crate::session) fn is_truncated(&self, index: usize) -> bool {
        self.inboxes.get(index).is_some_and(Inbox::is_truncated)
    }

    pub(in crate::session) fn poll_event(&mut self) -> Option<Event> {
        if self.opened == Some(true) {
            self.opened = Some(false);
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
        self.link.take_news().map(|news| match news {
            News::Resumed => Event::Resumed,
            News::Outcome => Event::Outcome,
            News::Closed => Event::Closed,
        })
    }

    pub(in crate::session) fn subprotocol(&self) -> Subprotocol {
        self.subprotocol
    }

    pub(in crate::session) fn buffered(&self) -> usize {
        let errors = self.ports.iter().filter_map(|port| port.error.as_ref());
        self.inboxes.iter().map(Inbox::held).sum::<usize>()
            + self.outbox.held()
            + self.link.ws.buffered()
            + self.text.len()
            + errors.map(Vec::len).sum::<usize>()
    }

    pub(in crate::session) fn port_error(&self, index: usize) -> Option<Cow<'_, str>> {
        let error = self.ports.get(index)?.error.as_deref()?;
        Some(String::from_utf8_lossy(error))
    }
}

impl Carry for Machine {
    fn link(&self) -> &Link {
        &self.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    fn binary(&mut self, data: Bytes, now: Instant) -> Result<(), Error> {
        let frame = channel::decode(data)?;
        self.opened.get_or_insert(true);
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

    fn closed_with(&self, code: Option<u16>) -> Outcome {
        match (self.kind, code) {
            (Kind::PortForward, None | Some(NORMAL)) => Outcome::Ended,
            _ => Outcome::Aborted(Abort::ClosedWithoutStatus { code }),
        }
    }

    fn said(&self) -> Option<Outcome> {
        if let Some(status) = Status::from_slice(&self.text) {
            let attach = matches!(self.kind, Kind::Attach { .. });
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
        }
    }

    fn has_room(&self) -> bool {
        let full = |inbox: &Inbox| inbox.is_full(self.receive_window);
        !self.inboxes.iter().any(full)
    }

    fn end_input(&mut self) {
        for inbox in &mut self.inboxes {
            inbox.end();
        }
    }

    fn clear_output(&mut self) {
        self.size = None;
        self.outbox.clear();
    }

    fn wake_writers(&mut self) {
        self.outbox.wake();
    }

    fn fill(&mut self) -> bool {
        self.frame()
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

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("kind", &self.kind)
            .field("subprotocol", &self.subprotocol)
            .field("phase", &self.link.phase())
            .field("buffered", &self.buffered())
            .field("outcome", &self.link.outcome().is_some())
            .field("error", &self.link.error())
            .finish_non_exhaustive()
    }
}
