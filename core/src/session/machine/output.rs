//! The half of the machine that sends.

use super::{Kind, Machine};
use crate::channel;
use crate::session::link::BATCH;
use crate::{Error, ErrorKind};

impl Machine {
    /// Index of the outgoing channel. Both numberings start at 0 without gaps.
    fn lane(&self, channel: u8) -> Result<usize, Error> {
        let lane = usize::from(channel);
        if lane < self.outbox.len() {
            return Ok(lane);
        }
        Err(Error::usage(match (self.kind, channel) {
            (Kind::PortForward, _) => "the session has no such port",
            (_, channel::STDIN) => "the session was opened without stdin",
            _ => "only channel 0, stdin, takes data",
        }))
    }

    fn has_failed(&self, lane: usize) -> bool {
        self.ports
            .get(lane)
            .is_some_and(|port| port.error.is_some())
    }

    pub(in crate::session) fn send(&mut self, channel: u8, data: &[u8]) -> Result<usize, Error> {
        let lane = self.lane(channel)?;
        let closed = if self.link.has_ended() {
            "the session has ended"
        } else if self.outbox.is_finished(lane) {
            "the channel was finished before"
        } else if self.has_failed(lane) {
            "the connection to the port has ended"
        } else {
            let accepted = self.outbox.push(lane, data);
            self.link.sent |= accepted > 0;
            return Ok(accepted);
        };
        Err(Error::new(ErrorKind::Closed, closed))
    }

    pub(in crate::session) fn finish(&mut self, channel: u8) -> Result<(), Error> {
        let lane = self.lane(channel)?;
        if self.link.has_ended() || self.outbox.is_finished(lane) || self.has_failed(lane) {
            return Ok(());
        }
        match self.kind {
            Kind::PortForward => Err(Error::usage(
                "port-forward cannot end one direction or connection: v4.channel.k8s.io has \
                 nothing for it; close the session, and use one session for each connection",
            )),
            Kind::Exec { tty: true } | Kind::Attach { tty: true } => Err(Error::usage(
                "a terminal's input is not ended by closing it, which would only shut it for \
                 good: send byte 0x04 (Ctrl-D)",
            )),
            Kind::Exec { tty: false } | Kind::Attach { tty: false } => {
                if !self.subprotocol.has_close() {
                    return Err(Error::usage(
                        "closing stdin is not supported by v4.channel.k8s.io, which this server \
                         (older than 1.30) speaks: use a command that knows where its input ends, \
                         such as head -c, or close the session",
                    ));
                }
                self.outbox.finish(lane);
                Ok(())
            }
        }
    }

    pub(in crate::session) fn resize(&mut self, width: u16, height: u16) -> Result<(), Error> {
        if !matches!(
            self.kind,
            Kind::Exec { tty: true } | Kind::Attach { tty: true }
        ) {
            return Err(Error::usage(
                "only a session with a terminal can be resized: without one, servers stop to read",
            ));
        }
        channel::resize(width, height)?;
        if self.link.has_ended() {
            return Err(Error::new(ErrorKind::Closed, "the session has ended"));
        }
        self.size = Some((width, height));
        Ok(())
    }

    /// Frames what waits, the control messages first. The pipe is empty and takes a batch.
    /// Whether more waits.
    pub(super) fn frame(&mut self) -> bool {
        if let Some((width, height)) = self.size.take()
            && let Ok(message) = channel::resize(width, height)
        {
            self.link.send([&message]);
        }
        let link = &mut self.link;
        while link.ws.pending() < BATCH
            && self.outbox.pop(|first, rest| link.send([&[first], rest]))
        {}
        !self.outbox.is_empty()
    }
}
