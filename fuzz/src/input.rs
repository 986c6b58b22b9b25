//! Fuzz input as decisions. Read from the front, so that seeds can be written by hand.

/// What is left of an input. An empty one gives zeros.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// `[n, n bytes of decisions, body]`.
    pub(crate) fn with_body(data: &'a [u8]) -> (Self, &'a [u8]) {
        let mut input = Self::new(data);
        let count = usize::from(input.byte());
        let decisions = input.take(count);
        (Self::new(decisions), input.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// `[n, n bytes]`.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.take(count)
    }

    /// A piece as text; what is no UTF-8 becomes U+FFFD.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.piece()).into_owned()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Cuts a body: the lengths of the chunks are the decisions that are left, the last chunk is
    /// what remains. One decision of 255 means single bytes.
    pub(crate) fn cut<'b>(&mut self, body: &'b [u8]) -> Vec<&'b [u8]> {
        let lengths = self.rest();
        if lengths == [255] {
            return body.chunks(1).collect();
        }
        let mut rest = body;
        let mut chunks = Vec::with_capacity(lengths.len() + 1);
        for &length in lengths {
            let (chunk, after) = rest.split_at(usize::from(length).min(rest.len()));
            chunks.push(chunk);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        chunks.push(rest);
        chunks
    }
}
