//! What goes out: one lane for each channel, in turns.

use super::queue::Queue;
use crate::channel::{self, MAX_DATA};

struct Lane {
    channel: u8,
    data: Queue,
    end: End,
    /// A writer was turned away and waits.
    waiting: bool,
    writable: bool,
}

/// The close of a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// It comes after the data.
    Waits,
    Sent,
}

impl Lane {
    fn clear(&mut self) {
        self.data = Queue::default();
        if self.end == End::Waits {
            self.end = End::Sent;
        }
        self.writable |= std::mem::take(&mut self.waiting);
    }
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
                data: Queue::default(),
                end: End::Open,
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
        let accepted = data.len().min(self.window.saturating_sub(lane.data.len()));
        if accepted < data.len() {
            lane.waiting = true;
        }
        lane.data.push(data.get(..accepted).unwrap_or_default());
        accepted
    }

    /// Queues the close of a channel after its data.
    pub(super) fn finish(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane)
            && lane.end == End::Open
        {
            lane.end = End::Waits;
        }
    }

    pub(super) fn is_finished(&self, lane: usize) -> bool {
        self.lanes
            .get(lane)
            .is_none_or(|lane| lane.end != End::Open)
    }

    /// Gives the next message, cut in two after its first byte, the lanes taking turns. Whether there was one.
    pub(super) fn pop(&mut self, send: impl FnOnce(u8, &[u8])) -> bool {
        for _ in 0..self.lanes.len() {
            let turn = self.turn;
            self.turn = (turn + 1) % self.lanes.len();
            let Some(lane) = self.lanes.get_mut(turn) else {
                continue;
            };
            if lane.data.is_empty() {
                if lane.end != End::Waits {
                    continue;
                }
                lane.end = End::Sent;
                let [first, rest @ ..] = channel::close(lane.channel);
                send(first, &rest);
                return true;
            }
            // Small writes travel in one message if the transport is slower than they come.
            let waiting = lane.data.waiting();
            let data = waiting.get(..MAX_DATA).unwrap_or(waiting);
            let n = data.len();
            send(lane.channel, data);
            lane.data.sent(n);
            if lane.data.len() <= self.window / 2 {
                lane.writable |= std::mem::take(&mut lane.waiting);
            }
            return true;
        }
        false
    }

    /// Forgets what was not sent. Writers that wait are told.
    pub(super) fn clear(&mut self) {
        self.lanes.iter_mut().for_each(Lane::clear);
    }

    /// Forgets what was not sent on one channel. A writer that waits is told.
    pub(super) fn clear_lane(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.clear();
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
        let empty = |lane: &Lane| lane.data.is_empty() && lane.end != End::Waits;
        self.lanes.iter().all(empty)
    }

    pub(super) fn held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.data.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop(outbox: &mut Outbox) -> Option<Vec<u8>> {
        let mut message = None;
        let popped = outbox.pop(|first, rest| message = Some([&[first], rest].concat()));
        assert_eq!(popped, message.is_some());
        message
    }

    #[test]
    fn large_writes_are_cut_and_small_ones_joined() {
        let mut outbox = Outbox::new([0], 1 << 20);
        assert_eq!(outbox.push(0, &vec![1; 70_000]), 70_000);
        for _ in 0..10 {
            assert_eq!(outbox.push(0, b"abc"), 3);
        }
        outbox.finish(0);
        let sizes: Vec<_> = std::iter::from_fn(|| pop(&mut outbox))
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
        pop(&mut outbox);
        assert_eq!(outbox.take_writable(), None);
        pop(&mut outbox);
        assert_eq!(outbox.take_writable(), Some(0));
        assert_eq!(outbox.take_writable(), None);
        pop(&mut outbox);
        assert_eq!(outbox.take_writable(), None);
    }

    #[test]
    fn lanes_take_turns_and_have_their_own_share() {
        let mut outbox = Outbox::new([0, 2], 131_072);
        assert_eq!(outbox.push(0, &vec![7; 100_000]), 65_536);
        assert_eq!(outbox.push(1, b"quick"), 5);
        assert_eq!(pop(&mut outbox).unwrap().first(), Some(&0));
        assert_eq!(pop(&mut outbox).unwrap(), b"\x02quick");
        assert_eq!(pop(&mut outbox).unwrap().first(), Some(&0));
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_smallest_window_still_moves() {
        let mut outbox = Outbox::new([0, 2, 4], 0);
        assert_eq!(outbox.push(2, b"ab"), 1);
        assert_eq!(outbox.push(9, b"ab"), 0);
        assert_eq!(pop(&mut outbox).unwrap(), b"\x04a");
    }
}
