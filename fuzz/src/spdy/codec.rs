//! SPDY/3.1 of both sides by hand: shares nothing with the crate under test.

use flate2::{Decompress, FlushDecompress, Status};

const MAX_FRAME: usize = 16 << 10;

/// What a server's SPDY says, read independently.
pub(super) enum Heard {
    Data(u32, Vec<u8>),
    Fin(u32),
    Reset(u32, u32),
    Ping(u32),
    GoAway(u32),
}

#[derive(Default)]
pub(super) struct ServerSpdy {
    bytes: Vec<u8>,
    /// Inside of a data frame: its stream, whether it is the last one, and what is missing.
    data: Option<(u32, bool, usize)>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u32::from_be_bytes(*word.expect("checked"))
}

impl ServerSpdy {
    /// What was heard, and whether the rules were kept.
    pub(super) fn push(&mut self, message: &[u8]) -> (Vec<Heard>, bool) {
        let mut heard = Vec::new();
        self.bytes.extend_from_slice(message);
        loop {
            if let Some((stream, fin, left)) = &mut self.data {
                let count = self.bytes.len().min(*left);
                if count > 0 {
                    heard.push(Heard::Data(*stream, self.bytes.drain(..count).collect()));
                    *left -= count;
                }
                if *left > 0 {
                    return (heard, true);
                }
                if *fin {
                    heard.push(Heard::Fin(*stream));
                }
                self.data = None;
            }
            if self.bytes.len() < 8 {
                return (heard, true);
            }
            let (first, second) = (word(&self.bytes, 0), word(&self.bytes, 4));
            let fin = second & 0x0100_0000 != 0;
            let len = (second & 0x00ff_ffff) as usize;
            if first < 0x8000_0000 {
                self.bytes.drain(..8);
                self.data = Some((first, fin, len));
                continue;
            }
            let kind = first & 0xffff;
            let least = match kind {
                3 => 8,
                2 | 6..=8 => 4,
                _ => 0,
            };
            if first >> 16 != 0x8003 || len < least {
                return (heard, false);
            }
            if self.bytes.len() < 8 + len {
                return (heard, true);
            }
            let frame: Vec<u8> = self.bytes.drain(..8 + len).collect();
            let stream = || word(&frame, 8) & 0x7fff_ffff;
            match kind {
                2 | 8 if fin => heard.push(Heard::Fin(stream())),
                3 => heard.push(Heard::Reset(stream(), word(&frame, 12))),
                6 => heard.push(Heard::Ping(word(&frame, 8))),
                7 => heard.push(Heard::GoAway(stream())),
                _ => {}
            }
        }
    }
}

/// What a client says.
pub(super) enum Sent {
    /// Stream, whether nothing follows, headers.
    Open(u32, bool, Vec<(String, String)>),
    Data(u32, bool, Vec<u8>),
    Reset(u32, u32),
    Ping(u32),
}

#[derive(Default)]
pub(super) struct ClientSpdy {
    bytes: Vec<u8>,
    inflate: Option<Decompress>,
}

impl ClientSpdy {
    pub(super) fn push(&mut self, message: &[u8]) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.bytes.extend_from_slice(message);
        while self.bytes.len() >= 8 {
            let (first, second) = (word(&self.bytes, 0), word(&self.bytes, 4));
            let len = (second & 0x00ff_ffff) as usize;
            if self.bytes.len() < 8 + len {
                break;
            }
            let flags = second >> 24;
            let frame: Vec<u8> = self.bytes.drain(..8 + len).skip(8).collect();
            assert!(flags <= 1, "flags {flags}");
            sent.push(match first {
                0..0x8000_0000 => {
                    assert!(len <= MAX_FRAME, "a frame of {len} bytes");
                    Sent::Data(first, flags == 1, frame)
                }
                0x8003_0001 => {
                    assert_eq!(word(&frame, 4), 0, "an associated stream");
                    let headers = self.headers(&frame[10..]);
                    Sent::Open(word(&frame, 0), flags == 1, headers)
                }
                0x8003_0003 => {
                    assert_eq!((len, flags), (8, 0));
                    Sent::Reset(word(&frame, 0), word(&frame, 4))
                }
                0x8003_0006 => {
                    assert_eq!((len, flags), (4, 0));
                    Sent::Ping(word(&frame, 0))
                }
                _ => panic!("{first:08x} is not for clients"),
            });
        }
        sent
    }

    pub(super) fn is_between_frames(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One zlib stream goes through all frames.
    fn headers(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(true));
        let before = inflate.total_in();
        let mut plain = Vec::with_capacity(1000);
        let status = inflate.decompress_vec(block, &mut plain, FlushDecompress::Sync);
        assert!(matches!(status, Ok(Status::Ok)), "{status:?}");
        assert_eq!(inflate.total_in() - before, block.len() as u64);
        let mut at = 4;
        let mut text = || {
            let len = word(&plain, at) as usize;
            let text = plain[at + 4..at + 4 + len].to_vec();
            at += 4 + len;
            String::from_utf8(text).expect("text")
        };
        let headers = (0..word(&plain, 0)).map(|_| (text(), text())).collect();
        assert_eq!(at, plain.len(), "more than was announced");
        headers
    }
}
