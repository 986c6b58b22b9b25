//! What can be seen of a session, by the model and by the machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::payload::sha256;

/// What the client's program does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Send { channel: u8, data: Bytes },
    Finish(u8),
    Resize { width: u16, height: u16 },
    Ping,
    Close,
}

/// How the transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order or not: nothing more came.
    Ended,
    /// An error.
    Failed,
    /// The client left while the connection was open.
    Left,
}

/// Everything that can be seen of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What came of each action.
    pub(super) calls: Vec<String>,
    /// What was sent: control signals, and data in between, joined.
    pub(super) out: Vec<Sent>,
    /// Payloads of pongs.
    pub(super) pongs: Vec<Vec<u8>>,
    /// What came on each channel.
    pub(super) data: Vec<Vec<u8>>,
    /// Which channels were at their end before the transport was.
    pub(super) finished_before: Vec<bool>,
    /// Which channels are in the end.
    pub(super) finished: Vec<bool>,
    /// The outcome before the transport ended.
    pub(super) before: Value,
    /// The outcome.
    pub(super) outcome: Value,
    /// What `handle_input` failed with.
    pub(super) fault: Option<String>,
    pub(super) closed: bool,
    /// How often each event came; channels with news only once.
    pub(super) events: BTreeMap<String, usize>,
    /// Why ports failed.
    pub(super) ports: BTreeMap<u8, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Data(u8, Vec<u8>),
    Control(String),
}

/// Data, or its length and hash.
fn show(bytes: &[u8]) -> Value {
    if bytes.len() <= 2048 {
        super::super::see::text(bytes).into()
    } else {
        json!({ "len": bytes.len(), "sha256": sha256(bytes) })
    }
}

impl Seen {
    pub(super) fn sent(&mut self, channel: u8, data: &[u8]) {
        match self.out.last_mut() {
            Some(Sent::Data(last, all)) if *last == channel => all.extend_from_slice(data),
            _ => self.out.push(Sent::Data(channel, data.to_vec())),
        }
    }

    pub(super) fn signal(&mut self, signal: impl Into<String>) {
        self.out.push(Sent::Control(signal.into()));
    }

    pub(super) fn count(&mut self, event: impl Into<String>) {
        *self.events.entry(event.into()).or_default() += 1;
    }

    /// As JSON, for a readable diff; without pongs, which have a rule of their own.
    pub(super) fn value(&self) -> Value {
        let out: Vec<_> = self
            .out
            .iter()
            .map(|sent| match sent {
                Sent::Data(channel, data) => json!([channel, show(data)]),
                Sent::Control(signal) => signal.clone().into(),
            })
            .collect();
        let data: Vec<_> = self.data.iter().map(|data| show(data)).collect();
        json!({
            "calls": self.calls,
            "out": out,
            "data": data,
            "finished before the end": self.finished_before,
            "finished": self.finished,
            "outcome before the end": self.before,
            "outcome": self.outcome,
            "fault": self.fault,
            "closed": self.closed,
            "events": self.events,
            "port errors": self.ports,
        })
    }
}
