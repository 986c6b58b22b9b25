//! Incremental gzip decoding (RFC 1952) with bounded output.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::Error;

/// How much is inflated at a time: what a bomb can make of one byte.
const PIECE: usize = 32 << 10;

/// Takes compressed chunks, gives plain pieces when asked. A body may be several gzip members, which
/// is how servers flush.
pub(crate) struct Gunzip {
    inflate: Box<InflateState>,
    at: At,
    input: VecDeque<Bytes>,
    buffer: Vec<u8>,
    crc: Crc,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a member, where the body may end.
    Start,
    /// In the fixed part of the header: how much of it was read, and its flags.
    Fixed(u8, u8),
    /// In the optional parts that are still to come, as flags.
    Optional(u8),
    /// The first byte of the length of the extra field was read.
    ExtraLength(u8, u8),
    /// So many bytes are to be skipped.
    Skip(u8, u16),
    /// In a text that a zero ends.
    Text(u8),
    Body,
    /// After the last good byte of a body.
    Broken,
    /// How much of the trailer was read, and its value so far.
    Trailer(u8, u64),
}

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self {
            inflate: InflateState::new_boxed(DataFormat::Raw),
            at: At::Start,
            input: VecDeque::new(),
            buffer: Vec::new(),
            crc: Crc::default(),
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// Whether pulling may give more.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(crate) fn buffered(&self) -> usize {
        self.input.iter().map(Bytes::len).sum()
    }

    pub(crate) fn discard(&mut self) {
        self.input.clear();
    }

    /// Whether the body may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.at == At::Start && self.input.is_empty()
    }

    /// The next piece of the plain body; none if more input is needed.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(chunk) = self.input.front_mut() else {
                return Ok(None);
            };
            if self.at == At::Broken {
                return Err(garbage());
            }
            if self.at != At::Body {
                let Some((&byte, _)) = chunk.split_first() else {
                    self.input.pop_front();
                    continue;
                };
                let _ = chunk.split_to(1);
                self.frame(byte)?;
                // The last byte of a chunk stays as an empty chunk if the body follows: it may still give output.
                if chunk_is_done(&self.input) && self.at != At::Body {
                    self.input.pop_front();
                }
                continue;
            }
            self.buffer.resize(PIECE, 0);
            let result = inflate(&mut self.inflate, chunk, &mut self.buffer, MZFlush::None);
            let _ = chunk.split_to(result.bytes_consumed);
            match result.status {
                Ok(MZStatus::StreamEnd) => self.at = At::Trailer(0, 0),
                Ok(MZStatus::Ok) | Err(MZError::Buf) => {}
                // What came out before the damage is good, however the input was cut.
                Ok(MZStatus::NeedDict) | Err(_) => self.at = At::Broken,
            }
            let written = result.bytes_written;
            // Output may wait inside although the input is used up: only an idle step ends the chunk.
            let idle = written == 0 && result.bytes_consumed == 0;
            if self.at == At::Broken {
                // The chunk stays, so that the next call comes here.
            } else if chunk_is_done(&self.input) && (idle || self.at != At::Body) {
                self.input.pop_front();
            } else if idle && self.at == At::Body {
                return Err(garbage());
            }
            if written > 0 {
                let piece = &self.buffer[..written];
                self.crc.update(piece);
                self.len = self.len.wrapping_add(u32::try_from(written).unwrap_or(0));
                return Ok(Some(Bytes::copy_from_slice(piece)));
            }
        }
    }

    /// Takes one byte of a header or trailer.
    fn frame(&mut self, byte: u8) -> Result<(), Error> {
        self.at = match (self.at, byte) {
            (At::Start, 0x1f) => At::Fixed(1, 0),
            (At::Fixed(1, _), 0x8b) => At::Fixed(2, 0),
            (At::Fixed(2, _), 8) => At::Fixed(3, 0),
            (At::Fixed(3, _), flags) if flags & RESERVED == 0 => At::Fixed(4, flags),
            (At::Fixed(read @ 4..9, flags), _) => At::Fixed(read + 1, flags),
            (At::Optional(flags), low) => At::ExtraLength(flags, low),
            (At::ExtraLength(flags, low), high) => match u16::from_le_bytes([low, high]) {
                0 => self.optional(flags),
                length => At::Skip(flags, length),
            },
            (At::Fixed(9, flags) | At::Skip(flags, 1), _) | (At::Text(flags), 0) => {
                self.optional(flags)
            }
            (At::Skip(flags, left), _) => At::Skip(flags, left - 1),
            (At::Text(flags), _) => At::Text(flags),
            (At::Trailer(7, value), byte) => {
                let value = value | u64::from(byte) << 56;
                let found = u64::from(self.crc.finish()) | u64::from(self.len) << 32;
                if value != found {
                    return Err(Error::peer("the compressed answer fails its checksum"));
                }
                At::Start
            }
            (At::Trailer(read, value), byte) => {
                At::Trailer(read + 1, value | u64::from(byte) << (8 * u32::from(read)))
            }
            (At::Start | At::Fixed(..) | At::Body | At::Broken, _) => return Err(garbage()),
        };
        Ok(())
    }

    /// The next optional part of the header that is there.
    fn optional(&mut self, flags: u8) -> At {
        if flags & EXTRA != 0 {
            At::Optional(flags & !EXTRA)
        } else if flags & NAME != 0 {
            At::Text(flags & !NAME)
        } else if flags & COMMENT != 0 {
            At::Text(flags & !COMMENT)
        } else if flags & HEADER_CRC != 0 {
            At::Skip(flags & !HEADER_CRC, 2)
        } else {
            self.inflate.reset(DataFormat::Raw);
            self.crc = Crc::default();
            self.len = 0;
            At::Body
        }
    }
}

fn chunk_is_done(input: &VecDeque<Bytes>) -> bool {
    input.front().is_some_and(Bytes::is_empty)
}

fn garbage() -> Error {
    Error::peer("the answer says that it is gzip, but it is not")
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip")
            .field("at", &self.at)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

/// CRC-32 of IEEE 802.3, four bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Crc(u32);

static TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut level = 1;
    while level < 4 {
        let mut index = 0;
        while index < 256 {
            let below = tables[level - 1][index];
            tables[level][index] = (below >> 8) ^ tables[0][(below & 0xff) as usize];
            index += 1;
        }
        level += 1;
    }
    tables
}

impl Crc {
    fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            let [a, b, c, d] = (crc ^ u32::from_le_bytes(*word))
                .to_le_bytes()
                .map(usize::from);
            crc = TABLES[3][a] ^ TABLES[2][b] ^ TABLES[1][c] ^ TABLES[0][d];
        }
        for &byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ TABLES[0][usize::from(low ^ byte)];
        }
        self.0 = !crc;
    }

    fn finish(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gunzip(chunks: &[&[u8]]) -> Result<(Vec<u8>, bool), Error> {
        let mut gunzip = Gunzip::new();
        let mut plain = Vec::new();
        for chunk in chunks {
            gunzip.push(Bytes::copy_from_slice(chunk));
            while let Some(piece) = gunzip.pull()? {
                assert!(piece.len() <= PIECE);
                plain.extend_from_slice(&piece);
            }
        }
        Ok((plain, gunzip.is_complete()))
    }

    /// A member with every optional part of the header.
    fn member(plain: &[u8], flags: u8) -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255];
        if flags & EXTRA != 0 {
            bytes.extend([3, 0, b'x', 0, 0x1f]);
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                bytes.extend(b"name\0");
            }
        }
        if flags & HEADER_CRC != 0 {
            bytes.extend([1, 2]);
        }
        bytes.extend(miniz_oxide::deflate::compress_to_vec(plain, 6));
        let mut crc = Crc::default();
        crc.update(plain);
        bytes.extend(crc.finish().to_le_bytes());
        bytes.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
        bytes
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        let mut crc = Crc::default();
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.finish(), 0xcbf4_3926);
    }

    #[test]
    fn members_follow_each_other_and_may_be_cut_anywhere() {
        let mut body = Vec::new();
        let mut plain = Vec::new();
        for (index, flags) in [0, 31, EXTRA, NAME | HEADER_CRC, 0].into_iter().enumerate() {
            let text = "abcdefgh ".repeat(index * 7);
            body.extend(member(text.as_bytes(), flags));
            plain.extend(text.bytes());
        }
        assert_eq!(gunzip(&[&body]).unwrap(), (plain.clone(), true));
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(gunzip(&bytes).unwrap(), (plain.clone(), true));
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(
                gunzip(&[head, tail]).unwrap(),
                (plain.clone(), true),
                "{at}"
            );
            if at < body.len()
                && let (part, complete) = gunzip(&[head]).unwrap()
            {
                assert!(plain.starts_with(&part));
                // Only between members, of which some are empty or shared.
                assert_eq!(
                    complete,
                    at == 0 || gunzip(&[tail]).is_ok_and(|(_, whole)| whole),
                    "{at}"
                );
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let text = b"some text, some text, some text";
        let good = member(text, 0);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            // Time, extra flags, system and the bits after the last block do not matter.
            let harmless = gunzip(&[&bad]).is_ok_and(|(plain, complete)| complete && plain == text);
            assert_eq!(
                harmless,
                (4..10).contains(&at) || at == good.len() - 9,
                "{at}"
            );
        }
        assert!(gunzip(&[b"<html>"]).is_err());
        assert!(gunzip(&[&good, b"x"]).is_err());
        assert_eq!(gunzip(&[]).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn what_comes_before_damage_does_not_depend_on_the_cut() {
        // A stored block, then a block of a type that is none.
        let bad = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0\x05\0\xfa\xffhello\x07more";
        for size in 1..=bad.len() {
            let mut gunzip = Gunzip::new();
            let mut plain = Vec::new();
            let mut failed = false;
            for chunk in bad.chunks(size) {
                gunzip.push(Bytes::copy_from_slice(chunk));
                while !failed {
                    match gunzip.pull() {
                        Ok(Some(piece)) => plain.extend_from_slice(&piece),
                        Ok(None) => break,
                        Err(_) => failed = true,
                    }
                }
            }
            assert_eq!((&plain[..], failed), (&b"hello"[..], true), "{size}");
            gunzip.pull().unwrap_err();
        }
    }

    #[test]
    fn a_bomb_comes_out_in_pieces() {
        let bomb = member(&vec![0; 40 << 20], 0);
        assert!(bomb.len() < 50_000);
        let mut gunzip = Gunzip::new();
        gunzip.push(bomb.into());
        for _ in 0..100 {
            assert!(gunzip.pull().unwrap().unwrap().len() <= PIECE);
        }
        assert!(gunzip.has_input());
    }
}
