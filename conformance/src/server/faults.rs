//! Faults on purpose. Every request passes through [`Plan::next`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer than the server's own.
    Answer {
        status: u16,
        retry_after: Option<u32>,
        body: String,
    },
    /// The answer's own head, and trouble with its body.
    Body(Trouble),
    /// No answer at all.
    Stall,
    /// The answer comes late.
    Delay(Duration),
    /// The connection ends instead of an answer.
    Reset,
}

/// What goes wrong with a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// It ends after so many bytes, with the connection.
    Cut(usize),
    /// Nothing comes after so many bytes.
    Stall(usize),
    /// One byte comes at a time, each after this time.
    Trickle(Duration),
}

/// Where a connection is reset: after so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    /// That the client has sent.
    Received(usize),
    /// That the server has sent.
    Sent(usize),
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

    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
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
        self.answer(n, status, None, body);
    }

    /// The next `n` requests are answered with `status`, and with `Retry-After` in seconds.
    pub fn busy_next(&self, n: usize, status: u16, retry_after: u32) {
        self.answer(n, status, Some(retry_after), "{}");
    }

    /// The next connection is reset after this many bytes of the client's were taken, or before if it ends; those of TLS count.
    pub fn reset_after_received(&self, bytes: usize) {
        self.0.connections.break_next(Break::Received(bytes));
    }

    /// The next connection is reset after this many bytes were sent; those of TLS count.
    pub fn reset_after_sent(&self, bytes: usize) {
        self.0.connections.break_next(Break::Sent(bytes));
    }

    /// Takes back what was asked for and has not happened yet.
    pub fn clear(&self) {
        self.0.faults.clear();
        self.0.connections.break_none();
    }

    fn answer(&self, n: usize, status: u16, retry_after: Option<u32>, body: &str) {
        for _ in 0..n {
            self.0.faults.add(Fault::Answer {
                status,
                retry_after,
                body: body.to_owned(),
            });
        }
    }

    /// The body of the next response breaks off after this many bytes, and the connection with it.
    pub fn cut_body_after(&self, bytes: usize) {
        self.0.faults.add(Fault::Body(Trouble::Cut(bytes)));
    }

    /// The body of the next response stops after this many bytes, and the connection stays open.
    pub fn stall_body_after(&self, bytes: usize) {
        self.0.faults.add(Fault::Body(Trouble::Stall(bytes)));
    }

    /// The body of the next response comes one byte at a time, each after this time.
    pub fn trickle_next(&self, every: Duration) {
        self.0.faults.add(Fault::Body(Trouble::Trickle(every)));
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
