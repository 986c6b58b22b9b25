//! WebSocket frames: made beforehand, or skipped.

/// A binary frame as servers send it.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u16::try_from(payload.len()).expect("frames are short") {
        len @ 0..126 => frame.push(u8::try_from(len).expect("it is below 126")),
        len => {
            frame.push(126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A normal close.
pub(super) const CLOSE: [u8; 4] = [0x88, 2, 0x03, 0xe8];

/// Counts the payload of what a client sends, without looking at it.
#[derive(Default)]
pub(super) struct Counter {
    header: Vec<u8>,
    skip: usize,
    /// Payload bytes of binary frames but their first ones, which name channels.
    pub(super) data: usize,
    pub(super) closed: bool,
}

impl Counter {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip == 0
                && let Some((byte, rest)) = bytes.split_first()
            {
                bytes = rest;
                self.header.push(*byte);
                self.begin();
            }
        }
    }

    /// Begins with the payload, if the header is complete.
    fn begin(&mut self) {
        let (length, start) = match self.header.as_slice() {
            [_, b, rest @ ..] if b & 127 == 126 => match rest.first_chunk() {
                Some(long) => (usize::from(u16::from_be_bytes(*long)), 4),
                None => return,
            },
            [_, b, rest @ ..] if b & 127 == 127 => match rest.first_chunk() {
                Some(long) => (
                    usize::try_from(u64::from_be_bytes(*long)).expect("64 bits"),
                    10,
                ),
                None => return,
            },
            [_, b, ..] => (usize::from(b & 127), 2),
            _ => return,
        };
        // Four bytes of mask follow.
        if self.header.len() < start + 4 {
            return;
        }
        match self.header[0] & 15 {
            2 => self.data += length.saturating_sub(1),
            8 => self.closed = true,
            _ => {}
        }
        self.skip = length;
        self.header.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_counted_however_they_are_cut() {
        let mut bytes = Vec::new();
        for length in [1_usize, 126, 70_000] {
            bytes.push(0x82);
            match length {
                1 => bytes.push(0x81),
                126 => bytes.extend([0xfe, 0, 126]),
                _ => {
                    bytes.push(0xff);
                    bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
                }
            }
            bytes.extend([0; 4]);
            bytes.extend(vec![7; length]);
        }
        bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
        for cut in [1, 3, 1000, bytes.len()] {
            let mut counter = Counter::default();
            bytes.chunks(cut).for_each(|chunk| counter.feed(chunk));
            assert_eq!((counter.data, counter.closed), (70_124, true), "{cut}");
        }
    }
}
