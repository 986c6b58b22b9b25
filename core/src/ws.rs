//! The WebSocket byte layer: bytes in, messages out, and back (RFC 6455, client side).
//!
//! `tungstenite` takes frames apart and does what is to be done about pings and closes, over a pipe in memory. There is no handshake here (see
//! [`session`](crate::session) for one), no socket and no clock. All buffers are bounded.
//!
//! Two things are not as pure as the rest of the crate: the masks of outgoing frames come from the
//! operating system's random numbers, as RFC 6455 demands, so the bytes of two runs differ (their
//! meaning does not); and `tungstenite` writes whole frames that come in to the `log` crate at level
//! *trace*: keep the target `tungstenite` below that where payload must not be logged.
//!
//! ```
//! use kubewire::{Limits, ws::{Message, WebSocket}};
//!
//! let mut socket = WebSocket::new(&Limits::default());
//! socket.handle_input(b"\x82\x03\x01hi")?;   // one binary message, cut anywhere
//! assert!(matches!(socket.poll_message(), Some(Message::Binary(data)) if data == "\x01hi"));
//!
//! assert!(socket.send_binary(b"\0ls\n")?);
//! let bytes = socket.poll_transmit().unwrap().len();
//! assert_eq!(bytes, 2 + 4 + 4);              // header, mask, payload
//! socket.transmitted(bytes);
//! # Ok::<(), kubewire::Error>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use crate::{Error, ErrorKind, Limits};

/// How much is read into the framing buffer at once.
const READ_BUFFER: usize = 16 << 10;
/// The pipe to the transport takes frames until it holds this much; one frame may pass it.
const PIPE: usize = 64 << 10;
/// Frames that wait for the pipe; one message of the longest kind fits.
const WRITE_BUFFER: usize = 2 * WebSocket::MAX_SEND;

/// A message from the server.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A binary message, put together if it came in fragments.
    Binary(Bytes),
    /// A text message; it is valid UTF-8. Channel protocols have none.
    Text(Bytes),
    /// A ping. The pong is on its way already.
    Ping,
    /// A pong.
    Pong,
    /// The server closes, with a code if it gave one. The answer is on its way already; nothing
    /// that comes after it is looked at.
    Close(Option<u16>),
}

impl Message {
    fn len(&self) -> usize {
        match self {
            Self::Binary(data) | Self::Text(data) => data.len(),
            Self::Ping | Self::Pong | Self::Close(_) => 0,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
            Self::Text(data) => write!(f, "Text({} bytes)", data.len()),
            Self::Ping => f.write_str("Ping"),
            Self::Pong => f.write_str("Pong"),
            Self::Close(code) => write!(f, "Close({code:?})"),
        }
    }
}

/// The client's side of a WebSocket connection, after its handshake.
///
/// What it holds is bounded by [`Limits::max_message`] for the message that is coming in, the
/// messages that have not been [polled](Self::poll_message), and about 200 KiB to be sent.
#[must_use = "a machine does nothing by itself"]
pub struct WebSocket {
    context: WebSocketContext,
    messages: VecDeque<Message>,
    queued: usize,
    pipe: Pipe,
    closed: bool,
    error: Option<Error>,
}

/// What the framing layer reads from and writes to.
#[derive(Default)]
struct Pipe {
    out: Vec<u8>,
    start: usize,
    /// Bytes that the framing layer holds because this pipe was full.
    refused: usize,
    /// Bytes read that are not part of a message yet. Exact unless the server uses fragments or
    /// long headers, and never more than one read too many then.
    unframed: usize,
    last_read: usize,
}

impl Pipe {
    fn pending(&self) -> usize {
        self.out.len() - self.start
    }

    /// Where the next frame goes.
    fn out(&mut self) -> &mut Vec<u8> {
        if self.start >= PIPE {
            self.out.drain(..self.start);
            self.start = 0;
        }
        &mut self.out
    }

    /// A message took at least this payload and the shortest header for it.
    fn framed(&mut self, payload: usize) {
        let header = match payload {
            0..126 => 2,
            126..65536 => 4,
            _ => 10,
        };
        let rest = self.unframed.saturating_sub(header + payload);
        self.unframed = rest.min(self.last_read);
    }
}

struct Ends<'i, 'p> {
    input: &'i [u8],
    pipe: &'p mut Pipe,
}

impl io::Read for Ends<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = io::Read::read(&mut self.input, buf)?;
        self.pipe.unframed += read;
        self.pipe.last_read = read;
        Ok(read)
    }
}

impl io::Write for Ends<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let pipe = &mut *self.pipe;
        if pipe.pending() >= PIPE {
            pipe.refused = buf.len();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.refused = 0;
        pipe.out().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebSocket {
    /// The longest message that can be sent, in bytes. A message is never fragmented: Kubernetes
    /// servers take every frame as a message.
    pub const MAX_SEND: usize = 64 << 10;

    /// A connection whose handshake is done. Of the limits only
    /// [`max_message`](Limits::max_message) is used.
    pub fn new(limits: &Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limits.max_message))
            .max_frame_size(Some(limits.max_message))
            .accept_unmasked_frames(false);
        Self {
            context: WebSocketContext::new(Role::Client, Some(config)),
            messages: VecDeque::new(),
            queued: 0,
            pipe: Pipe::default(),
            closed: false,
            error: None,
        }
    }

    /// Takes bytes from the transport: all of them, whatever they are.
    ///
    /// Messages that were complete before a fault can still be polled. Bytes after the server's
    /// close are ignored.
    ///
    /// # Errors
    ///
    /// [`Peer`](ErrorKind::Peer) if the server broke RFC 6455, [`Limit`](ErrorKind::Limit) if a
    /// message is longer than [`Limits::max_message`]. The error repeats.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while let Some(message) = self.step(&mut rest)? {
            self.queued += message.len();
            self.messages.push_back(message);
        }
        Ok(())
    }

    /// Takes input until there is one message. `None`: it is used up.
    ///
    /// What is behind a message is not looked at before the next call, so whoever stops at a fault
    /// in a message has seen the same as if the rest had not come yet.
    pub(crate) fn step(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.closed {
            return Ok(None);
        }
        let mut ends = Ends {
            input,
            pipe: &mut self.pipe,
        };
        let result = self.context.read(&mut ends);
        *input = ends.input;
        let message = match result {
            Ok(tungstenite::Message::Binary(data)) => Message::Binary(data),
            Ok(tungstenite::Message::Text(text)) => Message::Text(text.into()),
            Ok(tungstenite::Message::Ping(data)) => {
                self.pipe.framed(data.len());
                return Ok(Some(Message::Ping));
            }
            Ok(tungstenite::Message::Pong(data)) => {
                self.pipe.framed(data.len());
                return Ok(Some(Message::Pong));
            }
            Ok(tungstenite::Message::Close(frame)) => {
                self.closed = true;
                self.pipe.unframed = 0;
                self.flush();
                let code = frame.map(|frame| frame.code.into());
                return Ok(Some(Message::Close(code)));
            }
            // Only ever written.
            Ok(tungstenite::Message::Frame(_)) => return Ok(Some(Message::Pong)),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(None);
            }
            Err(error) => {
                let error = fault(&error);
                self.error = Some(error.clone());
                return Err(error);
            }
        };
        self.pipe.framed(message.len());
        Ok(Some(message))
    }

    /// The next message.
    pub fn poll_message(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.queued -= message.len();
        Some(message)
    }

    /// Sends a binary message as one frame. `false`: too much waits for the transport already, try
    /// again after [`transmitted`](Self::transmitted).
    ///
    /// # Errors
    ///
    /// [`Usage`](ErrorKind::Usage) if it is longer than [`MAX_SEND`](Self::MAX_SEND),
    /// [`Closed`](ErrorKind::Closed) after either side has closed.
    #[must_use = "the message may not have been taken"]
    pub fn send_binary(&mut self, data: &[u8]) -> Result<bool, Error> {
        self.send_parts([data])
    }

    /// Sends one message whose parts lie in different places.
    pub(crate) fn send_parts<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<bool, Error> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > Self::MAX_SEND {
            return Err(Error::usage("the message is longer than MAX_SEND"));
        }
        if !self.has_room()? {
            return Ok(false);
        }
        let mask: [u8; 4] = rand::random();
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Binary),
            mask: Some(mask),
            ..FrameHeader::default()
        };
        // Not by way of tungstenite's own buffer: payload is copied once, and masked where it lies.
        let out = self.pipe.out();
        header
            .format(len as u64, out)
            .map_err(|error| fault(&error))?;
        let start = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        apply_mask(out.get_mut(start..).unwrap_or_default(), mask);
        Ok(true)
    }

    /// Whether the pipe takes a frame now.
    fn has_room(&self) -> Result<bool, Error> {
        if !self.context.can_write() {
            return Err(Error::new(ErrorKind::Closed, "the connection is closed"));
        }
        Ok(self.pipe.pending() < PIPE && self.pipe.refused == 0)
    }

    /// Sends an empty ping. `false` as for [`send_binary`](Self::send_binary).
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) after either side has closed.
    #[must_use = "the ping may not have been taken"]
    pub fn ping(&mut self) -> Result<bool, Error> {
        if !self.has_room()? {
            return Ok(false);
        }
        let ping = tungstenite::Message::Ping(Bytes::new());
        match self.context.write(&mut Self::output(&mut self.pipe), ping) {
            Ok(()) => Ok(true),
            // It was taken, and waits in the framing layer.
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(true)
            }
            Err(tungstenite::Error::WriteBufferFull(_)) => Ok(false),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Starts to close with a code (RFC 6455 7.4.1; 1000 is the normal one). Nothing can be sent
    /// after it; what the server still sends can be read. Does nothing the second time.
    pub fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: tungstenite::Utf8Bytes::from_static(""),
        };
        // Nothing but a full pipe can go wrong, and then the frame waits in the framing layer.
        if self.context.can_write() {
            let _ = self
                .context
                .close(&mut Self::output(&mut self.pipe), Some(frame));
        }
    }

    /// Whether the server has closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What to write to the transport next. It stays until [`transmitted`](Self::transmitted).
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        self.pipe
            .out
            .get(self.pipe.start..)
            .filter(|bytes| !bytes.is_empty())
    }

    /// The transport took the first `n` bytes. More than there are count as all of them.
    pub fn transmitted(&mut self, n: usize) {
        self.pipe.start += n.min(self.pipe.pending());
        if self.pipe.pending() == 0 {
            self.pipe.out.clear();
            self.pipe.start = 0;
        }
        if self.pipe.refused > 0 {
            self.flush();
        }
    }

    /// Forgets what waits for the transport, which is gone.
    pub(crate) fn abandon(&mut self) {
        self.pipe = Pipe::default();
    }

    /// How much waits for the transport.
    pub(crate) fn pending(&self) -> usize {
        self.pipe.pending()
    }

    /// Bytes held: messages that were not polled, the beginning of the next one, and what waits for the transport.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.queued + self.pipe.unframed + self.pipe.pending() + self.pipe.refused
    }

    fn output(pipe: &mut Pipe) -> Ends<'static, '_> {
        Ends { input: &[], pipe }
    }

    fn flush(&mut self) {
        // A full pipe is tried again in `transmitted`; other faults show up in `handle_input`.
        // The second time takes a pong or close for which the first had to make room.
        for _ in 0..2 {
            let _ = self.context.flush(&mut Self::output(&mut self.pipe));
        }
    }
}

/// RFC 6455 5.3. The payload starts with the mask's first byte.
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let key = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// tungstenite's messages name sizes and opcodes, never payload.
fn fault(error: &tungstenite::Error) -> Error {
    // Not a match: which variants there are depends on features that others may enable.
    if let tungstenite::Error::Capacity(_) = error {
        Error::limit(format!("a WebSocket message is too long: {error}"))
    } else if let tungstenite::Error::Protocol(_) = error {
        Error::peer(format!("the server broke the WebSocket rules: {error}"))
    } else if let tungstenite::Error::Utf8(_) = error {
        Error::peer("the server sent text that is not UTF-8")
    } else {
        Error::peer("the WebSocket connection cannot go on")
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("messages", &self.messages.len())
            .field("buffered", &self.buffered())
            .field("closed", &self.closed)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
