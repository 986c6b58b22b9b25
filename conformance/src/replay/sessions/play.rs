//! Plays a script to a session machine.

use std::time::Instant;

use bytes::Bytes;
use kubewire::session::{Abort, Event, Outcome, Protocol, Session};
use kubewire::{Error, ErrorKind};
use serde_json::{Value, json};

use super::super::feed::status_value;
use super::seen::{Action, End, Seen};
use super::wire::decode;

/// One step of a script, the server's bytes cut into pieces.
pub(super) enum Move<'a> {
    Act(&'a Action),
    Feed(Vec<Bytes>),
}

/// Why a port failed.
pub(super) type PortError<P> = dyn Fn(&Session<P>, u8) -> Option<String>;

/// How a driver behaves that a script is played by.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Channels are read only when the session asks for it, and data is written only before
    /// something else happens.
    pub(super) lazy: bool,
    /// The transport takes this many bytes at once.
    pub(super) takes: usize,
}

struct Driver<'a, P: Protocol> {
    session: Session<P>,
    manner: Manner,
    port_error: Option<&'a PortError<P>>,
    now: Instant,
    closing: bool,
    seen: Seen,
    wire: Vec<u8>,
}

/// Plays; a breach of the machine's contract is an error.
pub(super) fn play<P: Protocol>(
    session: Session<P>,
    channels: usize,
    port_error: Option<&PortError<P>>,
    moves: &[Move<'_>],
    end: End,
    manner: Manner,
    now: Instant,
) -> Result<Seen, String> {
    let mut driver = Driver {
        session,
        manner,
        port_error,
        now,
        closing: false,
        seen: Seen {
            data: vec![Vec::new(); channels],
            ..Seen::default()
        },
        wire: Vec::new(),
    };
    driver.transmit()?;
    for step in moves {
        match step {
            Move::Act(action) => driver.act(action)?,
            Move::Feed(pieces) => {
                for piece in pieces {
                    driver.feed(piece)?;
                }
            }
        }
    }
    driver.end(end)
}

fn kind(error: &Error) -> String {
    format!("{:?}", error.kind())
}

pub(super) fn see(outcome: Option<&Outcome>) -> Value {
    match outcome {
        None => Value::Null,
        Some(Outcome::Exited(code)) => json!({ "exit": code }),
        Some(Outcome::Detached) => "detached".into(),
        Some(Outcome::Ended) => "ended".into(),
        Some(Outcome::Failure(status)) => json!({ "failure": status_value(&json!(status)) }),
        Some(Outcome::Aborted(abort)) => match abort {
            Abort::ConnectionLost => json!({ "aborted": "ConnectionLost" }),
            Abort::Transport(_) => json!({ "aborted": "Transport" }),
            Abort::ClosedWithoutStatus { code } => {
                json!({ "aborted": "ClosedWithoutStatus", "code": code })
            }
            Abort::Closed => json!({ "aborted": "Closed" }),
            Abort::Timeout(which) => json!({ "aborted": format!("{which:?}") }),
            Abort::Peer(error) | Abort::Limit(error) => json!({ "aborted": kind(error) }),
            _ => json!({ "aborted": "?" }),
        },
        Some(_) => "?".into(),
    }
}

impl<P: Protocol> Driver<'_, P> {
    /// Writes all that is to be written.
    fn transmit(&mut self) -> Result<(), String> {
        while let Some(bytes) = self.session.poll_transmit() {
            if bytes.is_empty() {
                return Err("poll_transmit gives nothing, again and again".to_owned());
            }
            let taken = bytes.len().min(self.manner.takes);
            self.wire.extend_from_slice(&bytes[..taken]);
            self.session.transmitted(taken);
        }
        for (opcode, payload) in decode(&std::mem::take(&mut self.wire))? {
            self.sent(opcode, &payload)?;
        }
        Ok(())
    }

    fn sent(&mut self, opcode: u8, payload: &[u8]) -> Result<(), String> {
        match (opcode, payload) {
            (2, [4, size @ ..]) if self.port_error.is_none() => {
                let size: Value = serde_json::from_slice(size)
                    .map_err(|error| format!("the client's size is no JSON: {error}"))?;
                self.seen
                    .signal(format!("resize {}x{}", size["Width"], size["Height"]));
            }
            (2, [255, channel]) => self.seen.signal(format!("finish {channel}")),
            (2, [channel, data @ ..]) if !data.is_empty() => self.seen.sent(*channel, data),
            (8, []) => self.seen.signal("close"),
            // The answer to a close may repeat the reason.
            (8, [high, low, ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                self.seen.signal(format!("close {code}"));
            }
            (9, []) => self.seen.signal("ping"),
            (10, payload) => self.seen.pongs.push(payload.to_vec()),
            _ => {
                return Err(format!(
                    "the client sends opcode {opcode} with {} bytes",
                    payload.len()
                ));
            }
        }
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        let sends = matches!(action, Action::Send { .. });
        if !sends {
            self.transmit()?;
        }
        let result = match action {
            Action::Send { channel, data } => self.send(*channel, data)?,
            Action::Finish(channel) => self.session.finish(*channel),
            Action::Resize { width, height } => self.session.resize(*width, *height),
            Action::Ping => {
                if !self.closing && !self.session.is_closed() {
                    let due = self.session.poll_timeout().ok_or("no ping is due")?;
                    self.now = due;
                    self.session.handle_timeout(due);
                }
                Ok(())
            }
            Action::Close => {
                self.closing = true;
                self.session.close(self.now);
                Ok(())
            }
        };
        let call = result
            .err()
            .map_or_else(|| "ok".to_owned(), |error| kind(&error));
        self.seen.calls.push(call);
        if self.manner.lazy && sends {
            return Ok(());
        }
        self.settle()
    }

    fn send(&mut self, channel: u8, data: &[u8]) -> Result<Result<(), Error>, String> {
        let mut rest = data;
        loop {
            match self.session.send(channel, rest) {
                Ok(accepted) => {
                    rest = rest
                        .get(accepted..)
                        .ok_or("send accepts more than it was given")?;
                    if rest.is_empty() {
                        return Ok(Ok(()));
                    }
                    self.transmit()?;
                    if accepted == 0 {
                        return Err("send accepts nothing though all was transmitted".to_owned());
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), String> {
        self.transmit()?;
        if !self.session.wants_input() {
            self.read();
            if !self.session.wants_input() && !self.session.is_closed() {
                return Err("wants no input though all channels were read".to_owned());
            }
        }
        let was_closed = self.session.is_closed();
        match (self.session.handle_input(piece, self.now), &self.seen.fault) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => return Err("a fault does not repeat".to_owned()),
            (Err(_), None) if was_closed => return Err("a fault after the end".to_owned()),
            (Err(error), None) => self.seen.fault = Some(kind(&error)),
            (Err(error), Some(first)) if kind(&error) == *first => {}
            (Err(error), Some(_)) => return Err(format!("a fault changes: {error}")),
        }
        self.settle()
    }

    /// What a driver does after every change.
    fn settle(&mut self) -> Result<(), String> {
        self.transmit()?;
        if !self.manner.lazy {
            self.read();
        }
        self.events();
        Ok(())
    }

    fn read(&mut self) {
        for (channel, data) in (0..).zip(&mut self.seen.data) {
            while let Some(more) = self.session.poll_data(channel) {
                data.extend_from_slice(&more);
            }
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened => self.seen.count("opened"),
                Event::Outcome => self.seen.count("outcome"),
                Event::Closed => self.seen.count("closed"),
                Event::PortFailed(index) => self.seen.count(format!("failed {index}")),
                Event::Readable(channel) => {
                    self.seen.events.insert(format!("readable {channel}"), 1);
                }
                // Hints to whoever waits, and what may be new.
                Event::Writable(_) | Event::Resumed | _ => {}
            }
        }
    }

    fn finished(&self) -> Vec<bool> {
        (0..)
            .zip(&self.seen.data)
            .map(|(channel, _)| self.session.is_finished(channel))
            .collect()
    }

    fn end(mut self, end: End) -> Result<Seen, String> {
        self.transmit()?;
        self.read();
        self.seen.before = see(self.session.outcome());
        self.seen.finished_before = self.finished();
        match end {
            End::Ended => self.session.handle_end(),
            End::Failed => {
                let error = Error::new(ErrorKind::Transport, "connection reset");
                self.session.handle_error(error);
            }
            End::Left => {
                self.session.close(self.now);
                self.settle()?;
                if let Some(due) = self.session.poll_timeout() {
                    self.session.handle_timeout(due);
                }
            }
        }
        self.settle()?;
        self.read();
        self.events();
        self.seen.finished = self.finished();
        self.seen.outcome = see(self.session.outcome());
        self.seen.closed = self.session.is_closed();
        if let Some(port_error) = self.port_error {
            for (index, _) in (0..).zip(&self.seen.data) {
                if let Some(error) = port_error(&self.session, index) {
                    self.seen.ports.insert(index, error);
                }
            }
        }
        if self.session.wants_input() || self.session.poll_timeout().is_some() {
            return Err("a session that is over waits for something".to_owned());
        }
        Ok(self.seen)
    }
}
