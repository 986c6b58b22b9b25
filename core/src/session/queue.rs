//! Bytes that wait to be framed.

/// Bytes in the order in which they came, in one piece, so that they are copied once on their way to a frame.
#[derive(Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        if self.start > 0 && self.bytes.len() + data.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    pub(super) fn sent(&mut self, n: usize) {
        self.start += n;
        if self.start >= self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
        }
    }

    /// Gives memory back, except for this much.
    pub(super) fn shrink_to(&mut self, keep: usize) {
        self.bytes.shrink_to(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_gets_empty_does_not_grow() {
        let mut queue = Queue::default();
        for round in 0..10_000_u32 {
            queue.push(&[round.to_le_bytes()[0]; 1000]);
            if round >= 10 {
                let expected = (round - 10).to_le_bytes()[0];
                assert_eq!(queue.waiting().first(), Some(&expected));
                queue.sent(1000);
            }
        }
        assert_eq!(queue.waiting().len(), 10_000);
        assert!(queue.bytes.capacity() <= 64 << 10);
    }
}
