//! WebSocket framing by hand (RFC 6455 section 5): shares nothing with the crate under test.

/// Appends a frame of a server: not masked.
pub(crate) fn server_frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    if let Ok(len) = u8::try_from(payload.len())
        && len < 126
    {
        out.push(len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        out.push(126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// The header of a frame: what the first byte says, and where the payload is.
struct Header {
    first: u8,
    mask: Option<[u8; 4]>,
    start: usize,
    len: u64,
    minimal: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (mut start, len, minimal) = match second & 0x7f {
            126 => {
                let len = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
                (4, u64::from(len), len > 125)
            }
            127 => {
                let len = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
                (10, len, len > 0xffff)
            }
            len => (2, u64::from(len), true),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(*bytes.get(start..)?.first_chunk()?);
            start += 4;
        }
        Some(Self {
            first,
            mask,
            start,
            len,
            minimal,
        })
    }
}

/// Takes apart what a client sends, and insists on the rules that Kubernetes servers need: every
/// frame final, masked and as short as it can be, nothing after a close.
#[derive(Default)]
pub(crate) struct ClientFrames {
    bytes: Vec<u8>,
    frames: Vec<(u8, Vec<u8>)>,
    closed: bool,
}

impl ClientFrames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = Header::read(&self.bytes[at..]) {
            let len = usize::try_from(header.len).expect("a short frame");
            let start = at + header.start;
            let Some(payload) = self.bytes.get(start..start + len) else {
                break;
            };
            let opcode = header.first & 15;
            let mask = header.mask.expect("frames of a client are masked");
            assert!(!self.closed, "a frame after the close");
            assert!(header.minimal, "a length that is longer than it has to be");
            assert_eq!(header.first & 0xf0, 0x80, "final and no reserved bits");
            assert!(matches!(opcode, 2 | 8 | 9 | 10), "opcode {opcode}");
            assert!(opcode == 2 || len < 126, "a long control frame");
            self.closed = opcode == 8;
            let payload = payload.iter().zip(mask.iter().cycle());
            self.frames
                .push((opcode, payload.map(|(byte, mask)| byte ^ mask).collect()));
            at = start + len;
        }
        self.bytes.drain(..at);
    }

    /// The frames that came since the last time.
    pub(crate) fn take(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.frames)
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// What a server's bytes mean to a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Binary(Vec<u8>),
    Ping(Vec<u8>),
}

/// Reads what a server sends until it closes or breaks the rules.
pub(crate) struct ServerFrames {
    bytes: Vec<u8>,
    message: Option<Vec<u8>>,
    max: usize,
    /// Messages may be empty.
    empty: bool,
    /// The rules are certainly broken by now.
    pub(crate) broken: bool,
    /// They may be, by a frame that has not ended. Nothing more is read.
    pub(crate) suspect: bool,
}

impl ServerFrames {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            message: None,
            max,
            empty: false,
            broken: false,
            suspect: false,
        }
    }

    /// Of a protocol whose messages are cut anywhere.
    pub(crate) fn allowing_empty(max: usize) -> Self {
        Self {
            empty: true,
            ..Self::new(max)
        }
    }

    /// Whether more bytes can mean something.
    pub(crate) fn is_open(&self) -> bool {
        !self.broken && !self.suspect
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while !self.broken {
            let rest = &self.bytes[at..];
            let (Some(&first), Some(&second)) = (rest.first(), rest.get(1)) else {
                break;
            };
            let (fin, opcode) = (first & 0x80 != 0, first & 15);
            let control = opcode & 8 != 0;
            let bad = first & 0x70 != 0
                || second & 0x80 != 0
                || !matches!(opcode, 0..=2 | 8..=10)
                || (control && (!fin || second & 0x7f > 125))
                || (!control && (opcode == 0) != self.message.is_some());
            // Text and closes end what this reads; whether they are right is not its business.
            self.suspect |= bad || matches!(opcode, 1 | 8);
            let Some(header) = Header::read(rest) else {
                break;
            };
            let held = self.message.as_ref().map_or(0, Vec::len);
            let room = (self.max - held.min(self.max)) as u64;
            if header.len > self.max as u64 {
                self.suspect = true;
                self.broken = opcode != 8;
                break;
            }
            let len = usize::try_from(header.len).expect("checked");
            let Some(payload) = rest.get(header.start..header.start + len) else {
                break;
            };
            if self.suspect {
                self.broken = bad;
                break;
            }
            at += header.start + len;
            if control {
                if opcode == 9 {
                    said.push(Said::Ping(payload.to_vec()));
                }
                continue;
            }
            if header.len > room {
                self.broken = true;
                break;
            }
            let mut message = self.message.take().unwrap_or_default();
            message.extend_from_slice(payload);
            if !fin {
                self.message = Some(message);
            } else if message.is_empty() && !self.empty {
                // A message has a channel.
                self.broken = true;
            } else {
                said.push(Said::Binary(message));
            }
        }
        self.bytes.drain(..at);
        if !self.is_open() {
            self.bytes.clear();
        }
        said
    }
}
