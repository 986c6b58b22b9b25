//! The machines of all protocols as one.

use std::time::Instant;

use bytes::Bytes;
use kubewire::session::{
    Attach, ConnectionId, Event, Exec, Outcome, PortForward, Session, Tunnel, TunnelEvent,
};
use kubewire::{Error, ErrorKind};

/// A machine of any protocol. They have the same methods; only their types tell them apart.
pub(crate) enum AnySession {
    Exec(Session<Exec>),
    Attach(Session<Attach>),
    PortForward(Session<PortForward>),
    Tunnel(Tunnel),
}

/// What can be read and written on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// Of a session.
    Number(u8),
    /// Of a tunnel.
    Connection(ConnectionId),
}

/// What happened, whatever the machine.
pub(super) enum Happened {
    Readable(Channel),
    Writable(Channel),
    Failed(Channel),
    Ended,
    /// The task looks for itself.
    Other,
}

macro_rules! any {
    ($self:expr, $machine:ident => $call:expr) => {
        match $self {
            AnySession::Exec($machine) => $call,
            AnySession::Attach($machine) => $call,
            AnySession::PortForward($machine) => $call,
            AnySession::Tunnel($machine) => $call,
        }
    };
}

/// A channel that the machine does not have is at its end.
macro_rules! on_channel {
    ($self:expr, $channel:expr, ($machine:ident, $key:ident) => $call:expr, else $none:expr) => {
        match ($self, $channel) {
            (AnySession::Exec($machine), Channel::Number($key)) => $call,
            (AnySession::Attach($machine), Channel::Number($key)) => $call,
            (AnySession::PortForward($machine), Channel::Number($key)) => $call,
            (AnySession::Tunnel($machine), Channel::Connection($key)) => $call,
            _ => $none,
        }
    };
}

fn no_channel() -> Error {
    Error::new(ErrorKind::Usage, "the session has no such channel")
}

impl AnySession {
    pub(crate) fn poll_data(&mut self, channel: Channel) -> Option<Bytes> {
        on_channel!(self, channel, (machine, key) => machine.poll_data(key), else None)
    }

    pub(crate) fn is_finished(&self, channel: Channel) -> bool {
        on_channel!(self, channel, (machine, key) => machine.is_finished(key), else true)
    }

    pub(crate) fn discard(&mut self, channel: Channel) {
        on_channel!(self, channel, (machine, key) => machine.discard(key), else ());
    }

    pub(crate) fn send(&mut self, channel: Channel, data: &[u8]) -> Result<usize, Error> {
        on_channel!(self, channel, (machine, key) => machine.send(key, data), else Err(no_channel()))
    }

    pub(crate) fn finish(&mut self, channel: Channel) -> Result<(), Error> {
        on_channel!(self, channel, (machine, key) => machine.finish(key), else Err(no_channel()))
    }

    pub(crate) fn truncated(&self, channel: Channel) -> bool {
        match (self, channel) {
            (Self::Exec(session), Channel::Number(key)) => session.truncated(key),
            (Self::Attach(session), Channel::Number(key)) => session.truncated(key),
            (Self::PortForward(session), Channel::Number(key)) => session.truncated(key),
            _ => false,
        }
    }

    pub(crate) fn resize(&mut self, width: u16, height: u16) -> Result<(), Error> {
        match self {
            Self::Exec(session) => session.resize(width, height),
            Self::Attach(session) => session.resize(width, height),
            Self::PortForward(_) | Self::Tunnel(_) => Err(no_channel()),
        }
    }

    /// What to report at the end of a channel, if that end is not a clean one.
    pub(crate) fn failure(&self, channel: Channel) -> Option<Error> {
        match (self, channel) {
            (Self::Tunnel(tunnel), Channel::Connection(id)) => return tunnel.error(id),
            (Self::PortForward(session), Channel::Number(index)) => {
                if let Some(text) = session.port_error(index) {
                    return Some(Error::new(ErrorKind::Transport, text.into_owned()));
                }
            }
            _ => {}
        }
        if let Outcome::Aborted(abort) = self.outcome()? {
            return Some(abort.to_error());
        }
        None
    }

    /// Opens a connection of a tunnel.
    pub(crate) fn connect(&mut self, port: u16) -> Result<ConnectionId, Error> {
        match self {
            Self::Tunnel(tunnel) => tunnel.open(port),
            Self::Exec(_) | Self::Attach(_) | Self::PortForward(_) => Err(no_channel()),
        }
    }

    pub(crate) fn can_connect(&self) -> bool {
        matches!(self, Self::Tunnel(tunnel) if tunnel.can_open())
    }

    /// Gives a connection of a tunnel up.
    pub(crate) fn release(&mut self, id: ConnectionId) {
        if let Self::Tunnel(tunnel) = self {
            tunnel.release(id);
        }
    }

    pub(crate) fn close(&mut self, now: Instant) {
        any!(self, machine => machine.close(now));
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        any!(self, machine => machine.outcome())
    }

    pub(crate) fn is_closed(&self) -> bool {
        any!(self, machine => machine.is_closed())
    }

    pub(crate) fn buffered(&self) -> usize {
        any!(self, machine => machine.buffered())
    }

    pub(super) fn wants_input(&self) -> bool {
        any!(self, machine => machine.wants_input())
    }

    pub(super) fn poll_transmit(&mut self) -> Option<&[u8]> {
        any!(self, machine => machine.poll_transmit())
    }

    pub(super) fn transmitted(&mut self, n: usize) {
        any!(self, machine => machine.transmitted(n));
    }

    pub(crate) fn handle_input(&mut self, bytes: &[u8], now: Instant) {
        // A fault is in the outcome too, and its close frame is still to be written.
        let _ = any!(self, machine => machine.handle_input(bytes, now));
    }

    pub(super) fn handle_end(&mut self) {
        any!(self, machine => machine.handle_end());
    }

    pub(super) fn handle_error(&mut self, error: Error) {
        any!(self, machine => machine.handle_error(error));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        any!(self, machine => machine.poll_timeout())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        any!(self, machine => machine.handle_timeout(now));
    }

    pub(super) fn poll_event(&mut self) -> Option<Happened> {
        let event = match self {
            Self::Tunnel(tunnel) => {
                return Some(match tunnel.poll_event()? {
                    TunnelEvent::Readable(id) => Happened::Readable(Channel::Connection(id)),
                    TunnelEvent::Writable(id) => Happened::Writable(Channel::Connection(id)),
                    TunnelEvent::Failed(id) => Happened::Failed(Channel::Connection(id)),
                    TunnelEvent::Outcome | TunnelEvent::Closed => Happened::Ended,
                    TunnelEvent::GoingAway | TunnelEvent::Resumed | _ => Happened::Other,
                });
            }
            Self::Exec(session) => session.poll_event()?,
            Self::Attach(session) => session.poll_event()?,
            Self::PortForward(session) => session.poll_event()?,
        };
        Some(match event {
            Event::Readable(channel) => Happened::Readable(Channel::Number(channel)),
            Event::Writable(channel) => Happened::Writable(Channel::Number(channel)),
            Event::PortFailed(channel) => Happened::Failed(Channel::Number(channel)),
            Event::Outcome | Event::Closed => Happened::Ended,
            Event::Opened | Event::Resumed | _ => Happened::Other,
        })
    }
}
