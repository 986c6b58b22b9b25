//! One incoming channel: a bounded queue of bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Overflow;

/// Small messages are copied together up to this size.
const CHUNK: usize = 16 << 10;

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Inbox {
    queue: VecDeque<Bytes>,
    /// The end of the queue, where small messages are copied together.
    tail: BytesMut,
    held: usize,
    pub(super) overflow: Overflow,
    truncated: bool,
    discarded: bool,
    /// Nothing more is taken.
    ended: bool,
    /// A reader found nothing and waits.
    waiting: bool,
    /// That reader is to be told.
    readable: bool,
}

impl Inbox {
    pub(super) fn new(overflow: Overflow) -> Self {
        Self {
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            held: 0,
            overflow,
            truncated: false,
            discarded: false,
            ended: false,
            waiting: true,
            readable: false,
        }
    }

    /// A channel that does not exist: finished, and nobody waits for it.
    pub(super) fn absent() -> Self {
        Self {
            ended: true,
            waiting: false,
            ..Self::new(Overflow::Drop)
        }
    }

    /// Takes data. What is shorter than `copy_below` is copied, so that a little data does not
    /// keep a large buffer alive.
    pub(super) fn push(&mut self, mut data: Bytes, window: usize, copy_below: usize) {
        if self.ended || self.discarded {
            return;
        }
        if self.overflow == Overflow::Drop && data.len() > window.saturating_sub(self.held) {
            data.truncate(window.saturating_sub(self.held));
            self.truncated = true;
            self.ended = true;
            self.notify();
        }
        if data.is_empty() {
            return;
        }
        self.held += data.len();
        if data.len() < copy_below {
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= CHUNK {
                self.cut();
            }
        } else {
            self.cut();
            self.queue.push_back(data);
        }
        self.notify();
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.queue
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.cut();
        }
        let Some(data) = self.queue.pop_front() else {
            self.waiting = true;
            return None;
        };
        self.held -= data.len();
        Some(data)
    }

    pub(super) fn discard(&mut self) {
        self.queue = VecDeque::new();
        self.tail = BytesMut::new();
        self.held = 0;
        self.discarded = true;
    }

    /// No more data comes.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.notify();
        }
    }

    fn notify(&mut self) {
        self.readable |= std::mem::take(&mut self.waiting);
    }

    pub(super) fn take_readable(&mut self) -> bool {
        std::mem::take(&mut self.readable)
    }

    /// Whether a reader is to be told.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether a reader found nothing, and more can come.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting && !self.ended && !self.discarded
    }

    pub(super) fn is_full(&self, window: usize) -> bool {
        self.overflow == Overflow::Backpressure
            && !self.discarded
            && !self.ended
            && self.held >= window
    }

    pub(super) fn is_finished(&self) -> bool {
        self.discarded || (self.ended && self.held == 0)
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(inbox: &mut Inbox) -> Vec<u8> {
        std::iter::from_fn(|| inbox.pop()).flatten().collect()
    }

    #[test]
    fn order_is_kept_between_copied_and_shared_data() {
        let mut inbox = Inbox::new(Overflow::Backpressure);
        let mut expected = Vec::new();
        for len in [1_usize, 5000, 3, 4, 9000, 20000, 2] {
            let data = vec![u8::try_from(len % 251).unwrap(); len];
            expected.extend_from_slice(&data);
            inbox.push(data.into(), usize::MAX, 4096);
        }
        assert_eq!(inbox.held(), expected.len());
        assert!(drain(&mut inbox) == expected);
        assert_eq!(inbox.held(), 0);
    }

    #[test]
    fn small_messages_become_large_chunks() {
        let mut inbox = Inbox::new(Overflow::Backpressure);
        for _ in 0..100_000 {
            inbox.push(Bytes::from_static(b"x"), usize::MAX, 4096);
        }
        assert!(inbox.queue.len() <= 7);
    }

    #[test]
    fn drop_keeps_what_fits_and_ends() {
        let mut inbox = Inbox::new(Overflow::Drop);
        inbox.push(Bytes::from_static(b"abc"), 5, 4096);
        assert!(!inbox.is_truncated());
        inbox.push(Bytes::from_static(b"defg"), 5, 4096);
        assert!(inbox.is_truncated() && !inbox.is_full(5) && !inbox.is_finished());
        assert_eq!(drain(&mut inbox), b"abcde");
        // A gap is never papered over.
        inbox.push(Bytes::from_static(b"h"), 5, 4096);
        assert!(drain(&mut inbox).is_empty() && inbox.is_finished());
    }

    #[test]
    fn a_reader_is_told_once() {
        let mut inbox = Inbox::new(Overflow::Backpressure);
        inbox.push(Bytes::from_static(b"a"), 5, 4096);
        inbox.push(Bytes::from_static(b"b"), 5, 4096);
        assert!(inbox.take_readable());
        assert!(!inbox.take_readable());
        inbox.push(Bytes::from_static(b"c"), 5, 4096);
        assert!(!inbox.take_readable(), "it has not looked since");
        drain(&mut inbox);
        inbox.end();
        assert!(inbox.take_readable());
    }
}
