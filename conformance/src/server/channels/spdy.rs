//! SPDY/3.1, as much of it as port-forward uses.

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

const NAMES: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges \
    age allow authorization cache-control connection content-base content-encoding content-language content-length \
    content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// Frames beyond this are no port-forward.
const LARGEST_FRAME: usize = 1 << 20;
const LARGEST_HEADERS: usize = 64 << 10;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const CANCEL: u32 = 5;

/// The dictionary of SPDY/3 header compression.
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for name in NAMES.split_whitespace() {
        let name = name.replace('_', " ");
        bytes.extend(u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(name.into_bytes());
    }
    bytes.extend(TEXT.bytes());
    bytes
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        headers: Vec<(String, String)>,
        last: bool,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        last: bool,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
}

/// A stream of bytes that is no SPDY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Parses what comes in.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
    broken: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            inflate: Decompress::new(true),
            broken: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the stream cannot be read any further.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let frame = self.parse();
        self.broken |= frame.is_err();
        frame
    }

    fn parse(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            let Some(head) = self.buffer.first_chunk::<8>().copied() else {
                return Ok(None);
            };
            let length =
                usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
            if length > LARGEST_FRAME {
                return Err(Malformed);
            }
            if self.buffer.len() < 8 + length {
                return Ok(None);
            }
            self.buffer.advance(8);
            let mut payload = self.buffer.split_to(length).freeze();
            let last = head[4] & 1 == 1;
            if head[0] & 0x80 == 0 {
                let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
                return Ok(Some(Frame::Data {
                    stream,
                    bytes: payload,
                    last,
                }));
            }
            let number = |payload: &mut Bytes| {
                if payload.len() < 4 {
                    Err(Malformed)
                } else {
                    Ok(payload.get_u32())
                }
            };
            match u16::from_be_bytes([head[2], head[3]]) {
                1 => {
                    let stream = number(&mut payload)?;
                    if payload.len() < 6 {
                        return Err(Malformed);
                    }
                    payload.advance(6);
                    let headers = self.headers(&payload)?;
                    return Ok(Some(Frame::Open {
                        stream,
                        headers,
                        last,
                    }));
                }
                3 => {
                    return Ok(Some(Frame::Reset {
                        stream: number(&mut payload)?,
                    }));
                }
                6 => {
                    return Ok(Some(Frame::Ping {
                        id: number(&mut payload)?,
                    }));
                }
                7 => return Ok(Some(Frame::GoAway)),
                // Headers share the compression of all others.
                2 | 8 => {
                    number(&mut payload)?;
                    self.headers(&payload)?;
                }
                _ => {}
            }
        }
    }

    fn headers(&mut self, mut block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            if plain.len() == plain.capacity() {
                plain.reserve(1024);
            }
            if plain.len() > LARGEST_HEADERS {
                return Err(Malformed);
            }
            let before = self.inflate.total_in();
            let result = self
                .inflate
                .decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let used = usize::try_from(self.inflate.total_in() - before).unwrap_or(0);
            block = block.get(used..).unwrap_or_default();
            match result {
                Ok(Status::Ok | Status::BufError)
                    if block.is_empty() && plain.len() < plain.capacity() =>
                {
                    break;
                }
                Ok(Status::Ok) => {}
                Ok(Status::BufError) if plain.len() == plain.capacity() => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate
                        .set_dictionary(&dictionary())
                        .map_err(|_| Malformed)?;
                }
                Ok(Status::StreamEnd | Status::BufError) | Err(_) => return Err(Malformed),
            }
        }
        parse_headers(&plain).ok_or(Malformed)
    }
}

fn parse_headers(plain: &[u8]) -> Option<Vec<(String, String)>> {
    let mut rest = Bytes::copy_from_slice(plain);
    let number = |rest: &mut Bytes| (rest.len() >= 4).then(|| rest.get_u32());
    let count = number(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let text = |rest: &mut Bytes| {
            let length = usize::try_from(number(rest)?).ok()?;
            (rest.len() >= length)
                .then(|| String::from_utf8_lossy(&rest.split_to(length)).into_owned())
        };
        headers.push((text(&mut rest)?, text(&mut rest)?));
    }
    Some(headers)
}

/// Makes what goes out, in the pieces in which a real server writes.
#[derive(Debug)]
pub(super) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let mut deflate = Compress::new(Compression::best(), true);
        // The dictionary is well-formed.
        let _ = deflate.set_dictionary(&dictionary());
        Self { deflate }
    }

    fn control(kind: u16, payload: &[u8]) -> Vec<Bytes> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let pieces: [&[u8]; 4] = [
            &[0x80, 0x03],
            &kind.to_be_bytes(),
            &[0, length[1], length[2], length[3]],
            payload,
        ];
        pieces.into_iter().map(Bytes::copy_from_slice).collect()
    }

    /// `SYN_REPLY` without headers.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<Bytes> {
        let mut block = Vec::with_capacity(64);
        // Room enough for four zeros.
        let _ = self
            .deflate
            .compress_vec(&[0; 4], &mut block, FlushCompress::Sync);
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(block);
        Self::control(2, &payload)
    }

    pub(super) fn reset(stream: u32, status: u32) -> Vec<Bytes> {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(status.to_be_bytes());
        Self::control(3, &payload)
    }

    pub(super) fn ping(id: u32) -> Vec<Bytes> {
        Self::control(6, &id.to_be_bytes())
    }

    pub(super) fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<Bytes> {
        let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
        let head = [u8::from(last), length[1], length[2], length[3]];
        let mut pieces = vec![
            Bytes::copy_from_slice(&stream.to_be_bytes()),
            Bytes::copy_from_slice(&head),
        ];
        if !bytes.is_empty() {
            pieces.push(Bytes::copy_from_slice(bytes));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn block(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut out = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(k, v)| [k, v]) {
            out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            out.extend(text.bytes());
        }
        out
    }

    fn open(stream: u32, block: &[u8]) -> Vec<u8> {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        payload.extend(block);
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = hex("8003 0001 01");
        frame.extend(&length[1..]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn headers_with_and_without_the_dictionary() {
        assert_eq!(dictionary().len(), 1423);
        let expected: Vec<(String, String)> = vec![
            ("port".into(), "80".into()),
            ("streamtype".into(), "error".into()),
        ];
        let plain = block(&[("port", "80"), ("streamtype", "error")]);
        // Stored blocks, no dictionary.
        let mut stored = hex("7801");
        let mut wire = Vec::new();
        for stream in [1, 3] {
            let length = u16::try_from(plain.len()).unwrap();
            stored.push(0);
            stored.extend(length.to_le_bytes());
            stored.extend((!length).to_le_bytes());
            stored.extend(&plain);
            stored.extend(hex("00 0000 ffff"));
            wire.extend(open(stream, &std::mem::take(&mut stored)));
        }
        let mut decoder = Decoder::new();
        for byte in &wire {
            decoder.push(&[*byte]);
        }
        for stream in [1, 3] {
            let frame = decoder.next().unwrap();
            assert_eq!(
                frame,
                Some(Frame::Open {
                    stream,
                    headers: expected.clone(),
                    last: true
                })
            );
        }
        // Compressed with it.
        let mut deflate = Compress::new(Compression::best(), true);
        deflate.set_dictionary(&dictionary()).unwrap();
        let mut decoder = Decoder::new();
        for stream in [1, 3, 5] {
            let mut compressed = Vec::with_capacity(256);
            deflate
                .compress_vec(&plain, &mut compressed, FlushCompress::Sync)
                .unwrap();
            decoder.push(&open(stream, &compressed));
            assert_eq!(
                decoder.next().unwrap(),
                Some(Frame::Open {
                    stream,
                    headers: expected.clone(),
                    last: true
                })
            );
        }
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&hex("8003 0001 00 ffffff"));
        assert_eq!(decoder.next(), Err(Malformed));
    }

    #[test]
    fn replies_inflate_to_no_headers() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        for stream in [1, 3, 5] {
            let wire: Vec<u8> = encoder.reply(stream).concat();
            assert_eq!(wire[8..12], stream.to_be_bytes());
            assert_eq!(decoder.headers(&wire[12..]), Ok(Vec::new()));
        }
        assert_eq!(
            Encoder::data(3, b"GOT:hello", false).concat(),
            hex("00000003 00 000009 474f543a68656c6c6f")
        );
        assert_eq!(
            Encoder::reset(7, CANCEL).concat(),
            hex("8003 0003 00 000008 00000007 00000005")
        );
    }
}
