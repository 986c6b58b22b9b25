//! What the server's WebSocket library makes of frames.
//!
//! Go's takes every frame for a message of its own: continuations, reserved opcodes and reserved bits pass as data. A
//! strict library would join or refuse them, so this reader rewrites the headers before that library sees them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
enum State {
    /// The next byte is the first of a header.
    First,
    /// The next byte has the length, or says how long the length is.
    Second,
    /// This many bytes of length and mask are still to come; the length so far, and those of them that are length.
    Extended {
        left: u8,
        length: u64,
        length_bytes: u8,
    },
    /// This much of the payload is still to come.
    Payload(u64),
}

/// Rewrites frame headers in a stream of bytes.
#[derive(Debug)]
pub(super) struct Rewriter {
    state: State,
}

impl Rewriter {
    pub(super) fn new() -> Self {
        Self {
            state: State::First,
        }
    }

    pub(super) fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while let Some(byte) = bytes.first_mut() {
            let mut used = 1;
            match &mut self.state {
                State::First => {
                    let opcode = *byte & 0x0f;
                    let control = matches!(opcode, 8..=10);
                    let text = opcode == 1;
                    *byte = if control {
                        *byte & 0x8f
                    } else if text {
                        0x81
                    } else {
                        0x82
                    };
                    self.state = State::Second;
                }
                State::Second => {
                    let mask: u8 = if *byte & 0x80 == 0 { 0 } else { 4 };
                    self.state = match *byte & 0x7f {
                        126 => State::Extended {
                            left: 2 + mask,
                            length: 0,
                            length_bytes: 2,
                        },
                        127 => State::Extended {
                            left: 8 + mask,
                            length: 0,
                            length_bytes: 8,
                        },
                        short if mask > 0 => State::Extended {
                            left: mask,
                            length: u64::from(short),
                            length_bytes: 0,
                        },
                        0 => State::First,
                        short => State::Payload(u64::from(short)),
                    };
                }
                State::Extended {
                    left,
                    length,
                    length_bytes,
                } => {
                    if *length_bytes > 0 {
                        *length = *length << 8 | u64::from(*byte);
                        *length_bytes -= 1;
                    }
                    *left -= 1;
                    if *left == 0 {
                        self.state = if *length == 0 {
                            State::First
                        } else {
                            State::Payload(*length)
                        };
                    }
                }
                State::Payload(left) => {
                    used = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= used as u64;
                    if *left == 0 {
                        self.state = State::First;
                    }
                }
            }
            bytes = &mut bytes[used..];
        }
    }
}

/// A connection whose incoming frames are rewritten.
#[derive(Debug)]
pub(super) struct Lenient<S> {
    inner: S,
    rewriter: Rewriter,
}

impl<S> Lenient<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            rewriter: Rewriter::new(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.rewriter.rewrite(&mut buffer.filled_mut()[before..]);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_rewritten_wherever_the_bytes_are_cut() {
        // A first fragment, a continuation with a long length, a reserved opcode with bits, a ping, an empty text.
        let mut wire = vec![0x02, 0x82, 1, 2, 3, 4, 0x00, 0x01];
        wire.extend([0x80, 0xfe, 0x01, 0x00, 9, 9, 9, 9]);
        wire.extend([0x00; 256]);
        wire.extend([
            0xf3, 0x81, 5, 6, 7, 8, 0x80, 0x89, 0x80, 1, 1, 1, 1, 0x01, 0x80, 1, 1, 1, 1,
        ]);
        let mut expected = wire.clone();
        for (at, byte) in [(0, 0x82), (8, 0x82), (272, 0x82), (285, 0x81)] {
            expected[at] = byte;
        }
        for size in [1, 3, 7, wire.len()] {
            let mut rewritten = wire.clone();
            let mut rewriter = Rewriter::new();
            rewritten
                .chunks_mut(size)
                .for_each(|chunk| rewriter.rewrite(chunk));
            assert_eq!(rewritten, expected, "{size}");
        }
    }
}
