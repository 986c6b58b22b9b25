//! The part of SPDY/3.1 that the tunnel needs: frames in, frames out.
//!
//! A control frame starts with `80 03` and its type (2 bytes), a data frame with its stream (4
//! bytes, the first bit 0); in both follow flags (1 byte) and the length of the rest (3 bytes).

use bytes::{Buf, Bytes};

use crate::Error;

/// The longest data frame that is sent: short, so that connections take turns often.
pub(super) const MAX_FRAME: usize = 16 << 10;
/// Status of `RST_STREAM`: the sender does not need the stream any more.
pub(super) const CANCEL: u32 = 5;

const HEAD: usize = 8;
const CONTROL: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FIN: u8 = 1;

/// What a server's frame says. Frames that say nothing to a client of port-forward (`SETTINGS`,
/// `WINDOW_UPDATE`, streams of the server's own, unknown ones) are left out, and so are headers: in
/// answers there are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A piece of a stream: a frame may come as several.
    Data {
        stream: u32,
        data: Bytes,
    },
    /// The server sends no more on a stream.
    Fin(u32),
    Reset {
        stream: u32,
        status: u32,
    },
    Ping(u32),
    /// No stream after `last` was or will be looked at.
    GoAway {
        last: u32,
    },
}

#[derive(Clone, Copy)]
enum State {
    Head,
    Data {
        stream: u32,
        fin: bool,
        left: usize,
    },
    /// The beginning of a control frame is put together, the rest is skipped.
    Control {
        kind: u16,
        fin: bool,
        want: usize,
        left: usize,
    },
}

/// Takes the byte stream apart, however it is cut. Holds at most 8 bytes.
pub(super) struct Decoder {
    state: State,
    buffer: [u8; HEAD],
    have: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            buffer: [0; HEAD],
            have: 0,
        }
    }

    /// Moves bytes to the buffer until it holds `want` of them.
    fn collect(&mut self, input: &mut Bytes, want: usize) -> bool {
        let free = self.buffer.get_mut(self.have..want).unwrap_or_default();
        let n = free.len().min(input.len());
        input.copy_to_slice(free.get_mut(..n).unwrap_or_default());
        self.have += n;
        self.have >= want
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.buffer.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// The next frame, or piece of one. `None`: the input is used up.
    pub(super) fn step(&mut self, input: &mut Bytes) -> Result<Option<Frame>, Error> {
        loop {
            match self.state {
                State::Head => {
                    if !self.collect(input, HEAD) {
                        return Ok(None);
                    }
                    self.have = 0;
                    self.state = self.head()?;
                }
                State::Data { stream, fin, left } => {
                    if left == 0 {
                        self.state = State::Head;
                        if fin {
                            return Ok(Some(Frame::Fin(stream)));
                        }
                        continue;
                    }
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let data = input.split_to(left.min(input.len()));
                    let left = left - data.len();
                    self.state = State::Data { stream, fin, left };
                    return Ok(Some(Frame::Data { stream, data }));
                }
                State::Control {
                    kind,
                    fin,
                    want,
                    left,
                } => {
                    if !self.collect(input, want) {
                        return Ok(None);
                    }
                    let n = left.min(input.len());
                    input.advance(n);
                    if left > n {
                        let left = left - n;
                        self.state = State::Control {
                            kind,
                            fin,
                            want,
                            left,
                        };
                        return Ok(None);
                    }
                    self.have = 0;
                    self.state = State::Head;
                    if let Some(frame) = self.control(kind, fin) {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }

    fn head(&self) -> Result<State, Error> {
        let (first, second) = (self.word(0), self.word(4));
        let [flags, ..] = second.to_be_bytes();
        let fin = flags & FIN != 0;
        let len = usize::try_from(second & 0x00ff_ffff).unwrap_or_default();
        if first >> 31 == 0 {
            return Ok(State::Data {
                stream: first,
                fin,
                left: len,
            });
        }
        let [high, low, kind_high, kind_low] = first.to_be_bytes();
        if u16::from_be_bytes([high, low]) != CONTROL {
            return Err(Error::peer("the tunnel's server does not speak SPDY/3"));
        }
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let want = match kind {
            RST_STREAM => 8,
            SYN_REPLY | PING | GOAWAY | HEADERS => 4,
            _ => 0,
        };
        if len < want {
            return Err(Error::peer(format!(
                "a SPDY frame of type {kind} with {len} bytes"
            )));
        }
        Ok(State::Control {
            kind,
            fin,
            want,
            left: len - want,
        })
    }

    fn control(&self, kind: u16, fin: bool) -> Option<Frame> {
        let id = self.word(0) & 0x7fff_ffff;
        match kind {
            SYN_REPLY | HEADERS if fin => Some(Frame::Fin(id)),
            RST_STREAM => Some(Frame::Reset {
                stream: id,
                status: self.word(4),
            }),
            PING => Some(Frame::Ping(self.word(0))),
            GOAWAY => Some(Frame::GoAway { last: id }),
            _ => None,
        }
    }
}

fn control(kind: u16, fin: bool, payload: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(&CONTROL.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.push(u8::from(fin));
    out.extend_from_slice(&length(payload.iter().map(|part| part.len()).sum()));
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Lengths here are far below 2^24.
fn length(len: usize) -> [u8; 3] {
    let [_, length @ ..] = u32::try_from(len).unwrap_or_default().to_be_bytes();
    length
}

/// Opens a stream.
///
/// Headers travel in one zlib stream for each direction, with a dictionary of 1,423 bytes. None of
/// that is needed to send: a zlib header may say that there is no dictionary, and deflate has
/// *stored* blocks, which are the bytes themselves behind their length. The empty block behind each
/// is where a flush ends; the server's decompressor waits for it.
pub(super) fn syn_stream(
    stream: u32,
    fin: bool,
    headers: &[(&str, &str)],
    first: bool,
    out: &mut Vec<u8>,
) {
    let mut block = Vec::with_capacity(96);
    let number = |n: usize| u32::try_from(n).unwrap_or_default().to_be_bytes();
    block.extend_from_slice(&number(headers.len()));
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&number(text.len()));
        block.extend_from_slice(text.as_bytes());
    }
    let len = u16::try_from(block.len()).unwrap_or_default();
    control(
        SYN_STREAM,
        fin,
        &[
            &stream.to_be_bytes(),
            &[0; 4], // no associated stream
            &[0; 2], // priority and slot
            if first { &[0x78, 0x01] } else { &[] },
            &[0],
            &len.to_le_bytes(),
            &(!len).to_le_bytes(),
            &block,
            &[0, 0, 0, 0xff, 0xff],
        ],
        out,
    );
}

pub(super) fn rst_stream(stream: u32, status: u32, out: &mut Vec<u8>) {
    let (stream, status) = (stream.to_be_bytes(), status.to_be_bytes());
    control(RST_STREAM, false, &[&stream, &status], out);
}

pub(super) fn ping(id: u32, out: &mut Vec<u8>) {
    control(PING, false, &[&id.to_be_bytes()], out);
}

/// A data frame of at most [`MAX_FRAME`].
pub(super) fn data(stream: u32, fin: bool, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&stream.to_be_bytes());
    out.push(u8::from(fin));
    out.extend_from_slice(&length(data.len()));
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames with the pieces of data joined.
    fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, Error> {
        let mut decoder = Decoder::new();
        let mut frames: Vec<Frame> = Vec::new();
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(frame) = decoder.step(&mut input)? {
                if let (
                    Some(Frame::Data { stream, data }),
                    Frame::Data {
                        stream: next,
                        data: more,
                    },
                ) = (frames.last_mut(), &frame)
                    && stream == next
                {
                    *data = [&data[..], &more[..]].concat().into();
                } else {
                    frames.push(frame);
                }
            }
            assert!(input.is_empty());
        }
        Ok(frames)
    }

    #[test]
    fn frames_in_any_cut() {
        let mut wire = Vec::new();
        wire.extend_from_slice(b"\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00"); // SETTINGS
        wire.extend_from_slice(b"\x80\x03\x00\x02\x01\x00\x00\x08\x00\x00\x00\x01zlib");
        wire.extend_from_slice(b"\x80\x03\x00\x09\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x10\x00");
        data(3, true, b"hello", &mut wire);
        data(7, false, b"", &mut wire);
        rst_stream(9, CANCEL, &mut wire);
        ping(2, &mut wire);
        wire.extend_from_slice(b"\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x00");
        wire.extend_from_slice(b"\x80\x03\x12\x34\x00\x00\x00\x01x");
        let expected = [
            Frame::Fin(1),
            Frame::Data {
                stream: 3,
                data: Bytes::from_static(b"hello"),
            },
            Frame::Fin(3),
            Frame::Reset {
                stream: 9,
                status: 5,
            },
            Frame::Ping(2),
            Frame::GoAway { last: 9 },
        ];
        assert_eq!(frames(&[&wire]).unwrap(), expected);
        let bytes: Vec<_> = wire.chunks(1).collect();
        assert_eq!(frames(&bytes).unwrap(), expected);
        for cut in 0..wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(frames(&[a, b]).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn frames_that_cannot_be() {
        for bad in [
            &b"\x80\x02\x00\x06\x00\x00\x00\x04"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\x03\x00\x06\x00\x00\x00\x03",
            b"\x80\x03\x00\x03\x00\x00\x00\x07",
            b"\x80\x03\x00\x07\x00\x00\x00\x00",
        ] {
            frames(&[bad]).unwrap_err();
        }
        // The longest frame is not held.
        let long = b"\x80\x03\x00\x08\x00\xff\xff\xff\x00\x00\x00\x01";
        assert_eq!(frames(&[long]).unwrap(), []);
    }
}
