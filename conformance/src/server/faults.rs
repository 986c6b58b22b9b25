//! Faults on purpose. Every request passes through [`Plan::next`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer than the server's own.
    Answer { status: u16, body: String },
    /// The body ends early, with the connection.
    CutBody(usize),
    /// No answer at all.
    Stall,
    /// The answer comes late.
    Delay(Duration),
    /// The connection ends instead of an answer.
    Reset,
}

/// The faults to come, in the order of requests.
#[derive(Debug, Default)]
pub(crate) struct Plan(Mutex<VecDeque<Fault>>);

impl Plan {
    pub(crate) fn next(&self) -> Option<Fault> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn add(&self, fault: Fault) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(fault);
    }
}

/// Makes the next requests fail; see [`Server::faults`](super::Server::faults).
///
/// Faults are used up one a request, in the order in which they were asked for.
#[derive(Clone, Debug)]
pub struct Faults(pub(super) Arc<super::App>);

impl Faults {
    /// The next `n` requests are answered with `status` and `body` (JSON if it looks like it).
    pub fn fail_next(&self, n: usize, status: u16, body: &str) {
        for _ in 0..n {
            self.0.faults.add(Fault::Answer {
                status,
                body: body.to_owned(),
            });
        }
    }

    /// The body of the next response breaks off after this many bytes, and the connection with it.
    pub fn cut_body_after(&self, bytes: usize) {
        self.0.faults.add(Fault::CutBody(bytes));
    }

    /// The next request gets no answer.
    pub fn stall_next(&self) {
        self.0.faults.add(Fault::Stall);
    }

    /// The next request is answered after this time.
    pub fn delay_next(&self, by: Duration) {
        self.0.faults.add(Fault::Delay(by));
    }

    /// The connection of the next request ends without an answer.
    pub fn reset_next(&self) {
        self.0.faults.add(Fault::Reset);
    }
}
