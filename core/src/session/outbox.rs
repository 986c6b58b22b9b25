//! What goes out: messages put together once, one lane for each channel, in turns.

use std::collections::VecDeque;

use crate::channel::{self, MAX_DATA};

struct Lane {
    channel: u8,
    /// Whole messages: channel byte and data.
    messages: VecDeque<Vec<u8>>,
    held: usize,
    finished: bool,
    /// A writer was turned away and waits.
    waiting: bool,
    writable: bool,
}

pub(super) struct Outbox {
    lanes: Vec<Lane>,
    /// Whose turn it is.
    turn: usize,
    /// How much one lane may hold.
    window: usize,
}

impl Outbox {
    /// Every channel gets the same share of the window, so that none can take it all.
    pub(super) fn new(channels: impl IntoIterator<Item = u8>, window: usize) -> Self {
        let lanes: Vec<_> = channels
            .into_iter()
            .map(|channel| Lane {
                channel,
                messages: VecDeque::new(),
                held: 0,
                finished: false,
                waiting: false,
                writable: false,
            })
            .collect();
        let window = (window / lanes.len().max(1)).max(1);
        Self {
            lanes,
            turn: 0,
            window,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Accepts as much as there is room for.
    pub(super) fn push(&mut self, lane: usize, data: &[u8]) -> usize {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return 0;
        };
        let accepted = data.len().min(self.window.saturating_sub(lane.held));
        if accepted < data.len() {
            lane.waiting = true;
        }
        let mut rest = data.get(..accepted).unwrap_or_default();
        lane.held += rest.len();
        while !rest.is_empty() {
            // Small writes travel in one message if the transport is slower than they come.
            let last = lane.messages.back_mut();
            if let Some(message) = last.filter(|message| message.len() <= MAX_DATA) {
                let (now, later) = rest.split_at(rest.len().min(1 + MAX_DATA - message.len()));
                message.extend_from_slice(now);
                rest = later;
            } else {
                let (now, later) = rest.split_at(rest.len().min(MAX_DATA));
                let mut message = Vec::new();
                channel::encode_into(lane.channel, now, &mut message);
                lane.messages.push_back(message);
                rest = later;
            }
        }
        accepted
    }

    /// Queues the close of a channel after its data.
    pub(super) fn finish(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane)
            && !lane.finished
        {
            lane.finished = true;
            lane.messages
                .push_back(channel::close(lane.channel).to_vec());
        }
    }

    pub(super) fn is_finished(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_none_or(|lane| lane.finished)
    }

    /// The next message, the lanes taking turns.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        for _ in 0..self.lanes.len() {
            let turn = self.turn;
            self.turn = (turn + 1) % self.lanes.len();
            let Some(lane) = self.lanes.get_mut(turn) else {
                continue;
            };
            let Some(message) = lane.messages.pop_front() else {
                continue;
            };
            if message.first() == Some(&lane.channel) {
                lane.held -= message.len() - 1;
            }
            if lane.held <= self.window / 2 {
                lane.writable |= std::mem::take(&mut lane.waiting);
            }
            return Some(message);
        }
        None
    }

    /// Forgets what was not sent. Writers that wait are told.
    pub(super) fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.messages = VecDeque::new();
            lane.held = 0;
            lane.writable |= std::mem::take(&mut lane.waiting);
        }
    }

    /// Forgets what was not sent on one channel. A writer that waits is told.
    pub(super) fn clear_lane(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.messages = VecDeque::new();
            lane.held = 0;
            lane.writable |= std::mem::take(&mut lane.waiting);
        }
    }

    /// Tells the writers that wait, for they will not be served.
    pub(super) fn wake(&mut self) {
        for lane in &mut self.lanes {
            lane.writable |= std::mem::take(&mut lane.waiting);
        }
    }

    pub(super) fn take_writable(&mut self) -> Option<usize> {
        let lane = self.lanes.iter().position(|lane| lane.writable)?;
        self.lanes.get_mut(lane)?.writable = false;
        Some(lane)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.messages.is_empty())
    }

    pub(super) fn held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.held).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_writes_are_cut_and_small_ones_joined() {
        let mut outbox = Outbox::new([0], 1 << 20);
        assert_eq!(outbox.push(0, &vec![1; 70_000]), 70_000);
        for _ in 0..10 {
            assert_eq!(outbox.push(0, b"abc"), 3);
        }
        outbox.finish(0);
        let sizes: Vec<_> = std::iter::from_fn(|| outbox.pop())
            .map(|message| message.len())
            .collect();
        assert_eq!(sizes, [32_769, 32_769, 70_000 - 65_536 + 30 + 1, 2]);
        assert_eq!(outbox.held(), 0);
    }

    #[test]
    fn a_writer_is_told_once_when_half_the_window_is_free() {
        let mut outbox = Outbox::new([0], 100_000);
        assert_eq!(outbox.push(0, &vec![1; 150_000]), 100_000);
        assert_eq!(outbox.push(0, b"x"), 0);
        outbox.pop();
        assert_eq!(outbox.take_writable(), None);
        outbox.pop();
        assert_eq!(outbox.take_writable(), Some(0));
        assert_eq!(outbox.take_writable(), None);
        outbox.pop();
        assert_eq!(outbox.take_writable(), None);
    }

    #[test]
    fn lanes_take_turns_and_have_their_own_share() {
        let mut outbox = Outbox::new([0, 2], 131_072);
        assert_eq!(outbox.push(0, &vec![7; 100_000]), 65_536);
        assert_eq!(outbox.push(1, b"quick"), 5);
        assert_eq!(outbox.pop().unwrap().first(), Some(&0));
        assert_eq!(outbox.pop().unwrap(), b"\x02quick");
        assert_eq!(outbox.pop().unwrap().first(), Some(&0));
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_smallest_window_still_moves() {
        let mut outbox = Outbox::new([0, 2, 4], 0);
        assert_eq!(outbox.push(2, b"ab"), 1);
        assert_eq!(outbox.push(9, b"ab"), 0);
        assert_eq!(outbox.pop().unwrap(), b"\x04a");
    }
}
