//! An HTTP/2 server that is told frame by frame (RFC 9113, section 4.1).

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::{Peer, Received, lock};

/// The codes of errors (RFC 9113, section 7).
pub mod code {
    /// No error.
    pub const NO_ERROR: u32 = 0;
    /// The server failed.
    pub const INTERNAL_ERROR: u32 = 2;
    /// Nothing was done.
    pub const REFUSED_STREAM: u32 = 7;
    /// The stream is not needed any more.
    pub const CANCEL: u32 = 8;
    /// The client asks too much.
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// A stream, by its number.
type Stream = u32;

/// What the server sends.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The head of an answer, in JSON.
    Head(Stream, u16),
    /// A part of its body, and whether it is the last.
    Data(Stream, &'static str, bool),
    /// The end of a stream, with a code.
    Reset(Stream, u32),
    /// The end of the connection to come: the last stream that is looked at, and a code.
    GoAway(Stream, u32),
    /// Anything.
    Bytes(Vec<u8>),
    /// The end of the connection.
    Close,
}

/// A request as the script sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which connection, from 0.
    pub connection: usize,
    /// Which stream of it.
    pub stream: Stream,
    /// How many requests came before, on all connections.
    pub before: usize,
    /// Whether it is a POST.
    pub posts: bool,
}

/// What the server is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub max_streams: Option<u32>,
    /// Whether its settings come after the first request only.
    pub late: bool,
    /// Whether it answers as soon as it has a request's head.
    pub hasty: bool,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

impl Peer {
    /// A server that speaks HTTP/2 from the first byte. For each request the script says what to send.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn frames(
        manner: Manner,
        script: impl FnMut(Asked) -> Vec<Frame> + Send + 'static,
    ) -> io::Result<Self> {
        let script = Arc::new(Mutex::new(script));
        let mut connections = 0..;
        Self::start(move |stream, seen| {
            let (script, seen) = (script.clone(), seen.clone());
            let connection = connections.next().unwrap_or_default();
            std::thread::spawn(move || {
                let mut server = Server {
                    io: stream,
                    manner,
                    greeted: false,
                    open: BTreeMap::new(),
                };
                let mut answer = |stream, posts, request| {
                    let mut seen = lock(&seen);
                    let before = seen.len();
                    seen.push(request);
                    drop(seen);
                    (lock(&script))(Asked {
                        connection,
                        stream,
                        before,
                        posts,
                    })
                };
                server.serve(&mut answer)
            });
        })
    }
}

struct Server {
    io: TcpStream,
    manner: Manner,
    greeted: bool,
    /// Requests that have not come to their end.
    open: BTreeMap<Stream, (bool, Received)>,
}

impl Server {
    fn serve(
        &mut self,
        answer: &mut dyn FnMut(Stream, bool, Received) -> Vec<Frame>,
    ) -> io::Result<()> {
        self.io.set_nodelay(true)?;
        if !self.manner.late {
            self.greet()?;
        }
        self.io.read_exact(&mut [0; PREFACE])?;
        loop {
            let mut head = [0; 9];
            self.io.read_exact(&mut head)?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.io.read_exact(&mut payload)?;
            let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
            match kind {
                HEADERS => {
                    let skip =
                        usize::from(flags & PADDED > 0) + 5 * usize::from(flags & PRIORITY > 0);
                    // h2 writes the method first, from the static table: 0x82 is GET, 0x83 POST.
                    let posts = payload.get(skip) == Some(&0x83);
                    let line = if posts { "POST" } else { "another method" };
                    let request = Received {
                        line: line.to_owned(),
                        ..Received::default()
                    };
                    self.open.insert(stream, (posts, request));
                }
                DATA => {
                    if let Some((_, request)) = self.open.get_mut(&stream) {
                        request.body.push_str(&String::from_utf8_lossy(&payload));
                    }
                    if let Ok(len @ 1..) = u32::try_from(payload.len()) {
                        self.send(WINDOW_UPDATE, 0, 0, &len.to_be_bytes())?;
                        self.send(WINDOW_UPDATE, 0, stream, &len.to_be_bytes())?;
                    }
                }
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload)?,
                RST_STREAM => drop(self.open.remove(&stream)),
                CONTINUATION => return Err(io::ErrorKind::Unsupported.into()),
                _ => {}
            }
            let asked = match kind {
                HEADERS => flags & END_STREAM > 0 || self.manner.hasty,
                DATA => flags & END_STREAM > 0,
                _ => false,
            };
            if asked && let Some((posts, request)) = self.open.remove(&stream) {
                self.greet()?;
                for frame in answer(stream, posts, request) {
                    if !self.carry_out(frame)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The settings, which come before everything else.
    fn greet(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.greeted, true) {
            return Ok(());
        }
        let mut settings = Vec::new();
        if let Some(max) = self.manner.max_streams {
            settings.extend([0, 3]);
            settings.extend(max.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &settings)
    }

    /// Whether the connection goes on.
    fn carry_out(&mut self, frame: Frame) -> io::Result<bool> {
        match frame {
            Frame::Head(stream, status) => {
                // `:status` and `content-type`, as literals with names of the static table (RFC 7541).
                let mut block = vec![8, 3];
                block.extend(status.to_string().as_bytes());
                block.extend([0x0f, 16, 16]);
                block.extend(b"application/json");
                self.send(HEADERS, END_HEADERS, stream, &block)?;
            }
            Frame::Data(stream, text, last) => {
                let flags = if last { END_STREAM } else { 0 };
                self.send(DATA, flags, stream, text.as_bytes())?;
            }
            Frame::Reset(stream, code) => self.send(RST_STREAM, 0, stream, &code.to_be_bytes())?,
            Frame::GoAway(last, code) => {
                let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                self.send(GOAWAY, 0, 0, &payload)?;
            }
            Frame::Bytes(bytes) => self.io.write_all(&bytes)?,
            Frame::Close => {
                self.io.shutdown(Shutdown::Write)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: Stream, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = len.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.io.write_all(&frame)
    }
}
