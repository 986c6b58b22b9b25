//! The channel protocol: WebSocket *messages* to and from `(channel, bytes)`.
//!
//! `exec`, `attach` and `port-forward` carry several byte streams over one WebSocket. Every
//! binary message starts with one byte that names the channel; the rest is data (KEP-4006, the
//! subprotocols `v4.channel.k8s.io` and `v5.channel.k8s.io`).
//!
//! | channel | exec and attach | direction |
//! |---|---|---|
//! | [`STDIN`] 0 | input of the process | to the server |
//! | [`STDOUT`] 1 | output | from the server |
//! | [`STDERR`] 2 | errors; unused with a terminal | from the server |
//! | [`STATUS`] 3 | how it ended, a `Status` as JSON | from the server |
//! | [`RESIZE`] 4 | size of the terminal, JSON | to the server |
//! | [`CLOSE`] 255 | v5 only: no more data on the channel named by the one byte that follows | to the server |
//!
//! Port-forward uses [`data_channel`] and [`error_channel`] instead.
//!
//! This module needs no WebSocket of ours: a browser's, or any library's, will do. Three rules of
//! the server are easy to break with one (KEP-4006 does not tell them, servers up to v1.36 behave
//! so):
//!
//! - **Never fragment a message.** The server takes every frame as a message, and the first byte of
//!   a continuation as a channel.
//! - A message that only has the channel byte is no data. The first one from the server is such; it
//!   tells that the streams are connected.
//! - On [`CLOSE`] any length but one, or an unknown channel, ends the whole session.
//!
//! For the whole protocol with windows, deadlines and outcome see `session` (feature `ws`).
//!
//! ```
//! use bytes::Bytes;
//! use kubewire::channel::{self, Frame};
//!
//! // What a WebSocket library received:
//! let Frame { channel, data } = channel::decode(Bytes::from_static(b"\x01hello\n"))?;
//! assert_eq!((channel, &data[..]), (channel::STDOUT, &b"hello\n"[..]));
//!
//! // What it shall send, each as one binary message:
//! let mut input = Vec::new();
//! channel::encode_into(channel::STDIN, b"ls\n", &mut input);
//! assert_eq!(input, b"\x00ls\n");
//! assert_eq!(channel::resize(80, 24)?, "\x04{\"Width\":80,\"Height\":24}\n");
//! assert_eq!(channel::close(channel::STDIN), [255, 0]);
//! # Ok::<(), kubewire::Error>(())
//! ```

use bytes::{Buf, Bytes};

use crate::Error;

/// Input of the process.
pub const STDIN: u8 = 0;
/// Output of the process.
pub const STDOUT: u8 = 1;
/// Error output of the process.
pub const STDERR: u8 = 2;
/// How the process ended: a `Status` as JSON.
pub const STATUS: u8 = 3;
/// Size of the terminal, as JSON.
pub const RESIZE: u8 = 4;
/// v5: the channel named by the data gets no more data.
pub const CLOSE: u8 = 255;

/// How much data one message should carry at most, in bytes: 32 KiB, the habit of every client and
/// server. Servers accept up to 32 MiB, but buffer whole messages.
pub const MAX_DATA: usize = 32 << 10;

/// How many ports one port-forward session can have: each takes two of the 256 channels, and the
/// last two are left alone.
pub const MAX_PORTS: usize = 127;

/// A version of the channel protocol, chosen in the WebSocket handshake.
///
/// The base64 variants, `channel.k8s.io` and an answer without a subprotocol are older: they have
/// no exit code, or would need other framing, and every supported server has one of these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subprotocol {
    /// `v4.channel.k8s.io`: everything but closing one channel, so the end of input cannot be
    /// told. The newest one for port-forward.
    V4,
    /// `v5.channel.k8s.io`: [`CLOSE`] closes one channel. Kubernetes 1.30 and later.
    V5,
}

impl Subprotocol {
    /// The name in `Sec-WebSocket-Protocol`.
    ///
    /// ```
    /// assert_eq!(kubewire::channel::Subprotocol::V5.as_str(), "v5.channel.k8s.io");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }

    /// The version that a server's `Sec-WebSocket-Protocol` names, if it is one of these.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim() {
            "v4.channel.k8s.io" => Some(Self::V4),
            "v5.channel.k8s.io" => Some(Self::V5),
            _ => None,
        }
    }

    /// Whether one channel can be closed while the others go on.
    #[must_use]
    pub const fn has_close(self) -> bool {
        matches!(self, Self::V5)
    }
}

/// One message, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The channel.
    pub channel: u8,
    /// The data: a slice of the message, without a copy. It keeps the message's memory alive.
    pub data: Bytes,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("channel", &self.channel)
            .field("len", &self.data.len())
            .finish()
    }
}

/// Takes a binary message apart.
///
/// # Errors
///
/// [`Peer`](crate::ErrorKind::Peer) if the message has not even a channel byte.
pub fn decode(mut message: Bytes) -> Result<Frame, Error> {
    let Some(&channel) = message.first() else {
        return Err(Error::peer("a message without a channel"));
    };
    message.advance(1);
    Ok(Frame {
        channel,
        data: message,
    })
}

/// Appends one message to `out`. Send it as one unfragmented binary message; cut data into pieces
/// of [`MAX_DATA`] before.
pub fn encode_into(channel: u8, data: &[u8], out: &mut Vec<u8>) {
    out.reserve(1 + data.len());
    out.push(channel);
    out.extend_from_slice(data);
}

/// The message that tells the size of the terminal, in characters.
///
/// Send it only to a session with a terminal: without one, a v5 server reads nothing any more
/// after the second such message.
///
/// # Errors
///
/// [`Usage`](crate::ErrorKind::Usage) if a side is 0, which servers pass on to the terminal.
pub fn resize(width: u16, height: u16) -> Result<Bytes, Error> {
    if width == 0 || height == 0 {
        return Err(Error::usage("a terminal cannot be 0 wide or high"));
    }
    // The newline is what client-go sends; the server decodes the channel as a stream of JSON.
    Ok(Bytes::from(format!(
        "{}{{\"Width\":{width},\"Height\":{height}}}\n",
        char::from(RESIZE)
    )))
}

/// The message that closes a channel. [`V5`](Subprotocol::V5) only; a v4 server ignores it.
#[must_use]
pub const fn close(channel: u8) -> [u8; 2] {
    [CLOSE, channel]
}

/// The channel that carries the data of the port at this place of the request, both ways.
///
/// ```
/// use kubewire::channel::{data_channel, error_channel};
/// assert_eq!((data_channel(1), error_channel(1)), (Some(2), Some(3)));
/// assert_eq!(data_channel(127), None);
/// ```
#[must_use]
pub fn data_channel(index: usize) -> Option<u8> {
    if index < MAX_PORTS {
        u8::try_from(2 * index).ok()
    } else {
        None
    }
}

/// The channel on which the server tells, as text, why the port at this place failed.
#[must_use]
pub fn error_channel(index: usize) -> Option<u8> {
    data_channel(index).map(|channel| channel + 1)
}

/// Reads the first message of a port-forward channel: the port, two bytes little-endian.
///
/// The server sends it on every data and error channel before it connects to the pod, so it is
/// neither data nor a sign of success. Data of any other length is no such message.
///
/// ```
/// assert_eq!(kubewire::channel::port_prefix(&[0x90, 0x1f]), Some(8080));
/// assert_eq!(kubewire::channel::port_prefix(b"GET"), None);
/// ```
#[must_use]
pub fn port_prefix(data: &[u8]) -> Option<u16> {
    <[u8; 2]>::try_from(data).ok().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_frame_shares_the_memory_of_its_message() {
        let message = Bytes::from_static(b"\x02oops");
        let at = message.as_ptr();
        let frame = decode(message).unwrap();
        assert_eq!(frame.channel, STDERR);
        assert_eq!(&frame.data[..], b"oops");
        assert_eq!(frame.data.as_ptr(), at.wrapping_add(1));
        assert_eq!(format!("{frame:?}"), "Frame { channel: 2, len: 4 }");
    }

    #[test]
    fn odd_messages() {
        assert_eq!(decode(Bytes::new()).unwrap_err().kind(), ErrorKind::Peer);
        assert!(decode(Bytes::from_static(b"\x03")).unwrap().data.is_empty());
        for (width, height) in [(0, 1), (1, 0), (0, 0)] {
            let error = resize(width, height).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn names() {
        for version in [Subprotocol::V4, Subprotocol::V5] {
            assert_eq!(Subprotocol::from_header(version.as_str()), Some(version));
        }
        for name in [
            "",
            "channel.k8s.io",
            "v4.base64.channel.k8s.io",
            "V5.channel.k8s.io",
            "v5.channel.k8s.io, v4.channel.k8s.io",
        ] {
            assert_eq!(Subprotocol::from_header(name), None, "{name}");
        }
    }

    #[test]
    fn every_port_has_its_own_channels() {
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..MAX_PORTS {
            assert!(seen.insert(data_channel(index).unwrap()));
            assert!(seen.insert(error_channel(index).unwrap()));
        }
        assert_eq!(seen.last(), Some(&253));
        assert_eq!(error_channel(MAX_PORTS), None);
        assert_eq!(data_channel(usize::MAX), None);
    }
}
