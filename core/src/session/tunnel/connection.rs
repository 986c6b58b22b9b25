//! One connection of a tunnel: two SPDY streams, what came and what is to go.

use std::fmt;

use super::spdy::{self, CANCEL, MAX_FRAME};
use super::{ConnectionFault, ConnectionId, TunnelEvent};
use crate::session::Overflow;
use crate::session::inbox::Inbox;
use crate::session::queue::Queue;

/// The last connection whose stream ids fit in 31 bits.
pub(super) const LAST: u32 = 0x1fff_ffff;
/// Room for output that is kept when it is empty.
const KEEP: usize = 32 << 10;

/// Which of a connection's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The server tells why it failed.
    Error,
    Data,
}

/// Connection k has the streams 4k+1 and 4k+3: clients have odd ones.
pub(super) fn locate(stream: u32) -> Option<(u32, Lane)> {
    match stream % 4 {
        1 => Some((stream / 4, Lane::Error)),
        3 => Some((stream / 4, Lane::Data)),
        _ => None,
    }
}

fn error_stream(id: u32) -> u32 {
    4 * id + 1
}

fn data_stream(id: u32) -> u32 {
    4 * id + 3
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server does not know of it.
    New,
    Open,
    /// Nothing can be sent for it any more.
    Gone,
}

/// What is to be sent next for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    Data,
    Finish,
    Cancel,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Connection {
    id: ConnectionId,
    pub(super) port: u16,
    pub(super) inbox: Inbox,
    output: Queue,
    stage: Stage,
    /// No more is to be sent after the output.
    finished: bool,
    fin_sent: bool,
    /// It is over, and the server is to be told.
    stopped: bool,
    /// The server has ended the data stream.
    pub(super) done: bool,
    /// The data ended before the server did.
    pub(super) cut: bool,
    text: Vec<u8>,
    error_done: bool,
    pub(super) fault: Option<ConnectionFault>,
    told: bool,
    /// A writer was turned away and waits.
    waiting: bool,
    writable: bool,
    discarded: bool,
    /// Nobody holds it any more.
    released: bool,
    /// Its reader took something since input was stopped.
    pub(super) took: bool,
    // What the machine has noted about it.
    pub(super) noted: Noted,
}

/// Where the machine has it in its lists and sums.
#[derive(Clone, Copy, Default)]
pub(super) struct Noted {
    pub(super) ready: bool,
    pub(super) news: bool,
    pub(super) full: bool,
    pub(super) received: usize,
    pub(super) sending: usize,
}

impl Connection {
    pub(super) fn new(id: u32, port: u16) -> Self {
        Self {
            id: ConnectionId(id),
            port,
            inbox: Inbox::new(Overflow::Backpressure),
            output: Queue::default(),
            stage: Stage::New,
            finished: false,
            fin_sent: false,
            stopped: false,
            done: false,
            cut: false,
            text: Vec::new(),
            error_done: false,
            fault: None,
            told: false,
            waiting: false,
            writable: false,
            discarded: false,
            released: false,
            took: false,
            noted: Noted::default(),
        }
    }

    pub(super) fn data_stream(&self) -> u32 {
        data_stream(self.id.0)
    }

    pub(super) fn received(&self) -> usize {
        self.inbox.held()
    }

    pub(super) fn text_len(&self) -> usize {
        let said = match &self.fault {
            Some(ConnectionFault::Node(text)) => text.len(),
            Some(_) | None => 0,
        };
        self.text.len() + said
    }

    pub(super) fn sending(&self) -> usize {
        self.output.len()
    }

    pub(super) fn is_released(&self) -> bool {
        self.released
    }

    /// Whether the server still has something to say about the data.
    pub(super) fn is_live(&self) -> bool {
        !self.released && !self.done && self.fault.is_none()
    }

    /// A reader found nothing, and something can still come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.released && self.inbox.is_waiting()
    }

    // What came.

    pub(super) fn push(&mut self, data: bytes::Bytes, copy_below: usize) {
        if !self.done && !self.released {
            self.inbox.push(data, usize::MAX, copy_below);
        }
    }

    pub(super) fn push_text(&mut self, data: &[u8], max: usize) {
        if !self.error_done && !self.released {
            crate::session::link::append(&mut self.text, data, max);
        }
    }

    pub(super) fn end(&mut self, lane: Lane) {
        match lane {
            Lane::Data => {
                self.done = true;
                self.inbox.end();
            }
            Lane::Error => {
                self.error_done = true;
                if let Some(fault) = self.words() {
                    self.fail(fault);
                    return;
                }
            }
        }
        if self.done && self.fin_sent {
            self.stage = Stage::Gone;
        } else if self.done && self.error_done {
            // The node has ended it in both directions.
            self.stop();
        }
    }

    /// The server broke off a stream.
    pub(super) fn reset(&mut self, lane: Lane, status: u32) {
        match lane {
            Lane::Error => self.end(Lane::Error),
            Lane::Data if self.done && self.fin_sent => {}
            Lane::Data => {
                self.stage = Stage::Gone;
                let fault = self.words().unwrap_or(ConnectionFault::Reset(status));
                self.fail(fault);
            }
        }
    }

    /// What the node said.
    fn words(&mut self) -> Option<ConnectionFault> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.text))
            .trim()
            .to_owned();
        (!text.is_empty()).then_some(ConnectionFault::Node(text))
    }

    pub(super) fn fail(&mut self, fault: ConnectionFault) {
        match (&self.fault, &fault) {
            // The words came after all.
            (None, _) | (Some(ConnectionFault::Reset(_)), ConnectionFault::Node(_)) => {
                self.fault = Some(fault);
            }
            (Some(_), _) => return,
        }
        self.end_input();
        self.stop();
    }

    /// No more comes.
    pub(super) fn end_input(&mut self) {
        self.cut |= !self.done;
        self.inbox.end();
    }

    /// No more is sent, but for the word that it is over.
    fn stop(&mut self) {
        self.output = Queue::default();
        self.wake();
        self.stopped = true;
        if self.stage == Stage::New || (self.done && self.fin_sent) {
            self.stage = Stage::Gone;
        }
    }

    /// Nothing more is sent at all.
    pub(super) fn clear_output(&mut self) {
        self.stage = Stage::Gone;
        self.output = Queue::default();
        self.wake();
    }

    pub(super) fn discard(&mut self) {
        self.inbox.discard();
        self.discarded = true;
    }

    pub(super) fn release(&mut self) {
        self.discard();
        self.released = true;
        self.text = Vec::new();
        if self.stage == Stage::New && self.sending() == 0 {
            self.stage = Stage::Gone;
        }
    }

    // What is to go.

    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Gone || self.stopped
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Accepts data; what was too much waits with its writer.
    pub(super) fn send(&mut self, data: &[u8], room: usize) -> usize {
        let accepted = data.get(..room).unwrap_or(data);
        self.waiting |= accepted.len() < data.len();
        self.output.push(accepted);
        accepted.len()
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
        self.wake();
    }

    /// Tells a writer that was turned away to look again.
    pub(super) fn wake(&mut self) {
        self.writable |= std::mem::take(&mut self.waiting);
    }

    pub(super) fn has_waiting_writer(&self) -> bool {
        self.waiting
    }

    fn step(&self) -> Option<Step> {
        match self.stage {
            Stage::New => Some(Step::Open),
            Stage::Open if self.stopped => Some(Step::Cancel),
            Stage::Open if self.sending() > 0 => Some(Step::Data),
            Stage::Open if self.finished && !self.fin_sent => Some(Step::Finish),
            // Nobody wants more of it.
            Stage::Open if self.released || (self.discarded && self.fin_sent) => Some(Step::Cancel),
            Stage::Open | Stage::Gone => None,
        }
    }

    pub(super) fn has_output(&self) -> bool {
        self.step().is_some()
    }

    /// Appends the next frames. `first`: no stream was opened before.
    pub(super) fn write(&mut self, first: &mut bool, out: &mut Vec<u8>) {
        let stream = self.data_stream();
        match self.step() {
            None => {}
            Some(Step::Open) => {
                self.stage = Stage::Open;
                self.open(std::mem::take(first), out);
            }
            Some(Step::Data) => {
                let waiting = self.output.waiting();
                let data = waiting.get(..MAX_FRAME).unwrap_or(waiting);
                let n = data.len();
                spdy::data(stream, false, data, out);
                self.output.sent(n);
                if self.output.is_empty() {
                    self.output.shrink_to(KEEP);
                }
            }
            Some(Step::Finish) => {
                spdy::data(stream, true, &[], out);
                self.fin_sent = true;
                if self.done {
                    self.stage = Stage::Gone;
                }
            }
            Some(Step::Cancel) => {
                spdy::rst_stream(stream, CANCEL, out);
                self.stage = Stage::Gone;
            }
        }
    }

    /// The pair of streams: a request id in common, and nothing to say on the one for errors.
    fn open(&self, first: bool, out: &mut Vec<u8>) {
        let (port, request) = (self.port.to_string(), self.id.0.to_string());
        let headers = |kind| {
            [
                ("port", port.as_str()),
                ("requestid", request.as_str()),
                ("streamtype", kind),
            ]
        };
        spdy::syn_stream(error_stream(self.id.0), true, &headers("error"), first, out);
        spdy::syn_stream(self.data_stream(), false, &headers("data"), false, out);
    }

    // What is to be told.

    pub(super) fn has_news(&self) -> bool {
        !self.released
            && ((self.fault.is_some() && !self.told) || self.inbox.is_readable() || self.writable)
    }

    pub(super) fn take_event(&mut self) -> Option<TunnelEvent> {
        if self.released {
            return None;
        }
        if self.fault.is_some() && !self.told {
            self.told = true;
            return Some(TunnelEvent::Failed(self.id));
        }
        if self.inbox.take_readable() {
            return Some(TunnelEvent::Readable(self.id));
        }
        std::mem::take(&mut self.writable).then_some(TunnelEvent::Writable(self.id))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("port", &self.port)
            .field("stage", &self.stage)
            .field("received", &self.received())
            .field("sending", &self.sending())
            .finish_non_exhaustive()
    }
}
