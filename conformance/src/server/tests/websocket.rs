//! A WebSocket client on raw sockets: frames can be as odd as a test wants them.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::client::{Client, LIMIT};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data(Vec<u8>),
    Text(String),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// The connection ended.
    End,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    buffer: VecDeque<u8>,
    pub(super) protocol: String,
}

/// A refused handshake: status and body.
pub(super) type Refused = (u16, String);

impl Socket {
    pub(super) fn connect(
        client: &Client,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<Self, Refused> {
        Self::connect_with(client, "GET", path, protocol, "")
    }

    pub(super) fn connect_with(
        client: &Client,
        method: &str,
        path: &str,
        protocol: Option<&str>,
        more: &str,
    ) -> Result<Self, Refused> {
        let mut stream = TcpStream::connect(client.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let protocol = protocol
            .map(|p| format!("Sec-WebSocket-Protocol: {p}\r\n"))
            .unwrap_or_default();
        let key = if more.contains("-Key") {
            ""
        } else {
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        };
        let token = &client.token;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{key}{protocol}{more}\r\n").unwrap();
        let mut socket = Self {
            stream,
            buffer: VecDeque::new(),
            protocol: String::new(),
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Some(byte) = socket.byte() else { break };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name: &str| {
            head.lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(k, _)| k.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_owned())
        };
        if status != 101 {
            let length = header("content-length").and_then(|l| l.parse().ok());
            let mut body = Vec::new();
            while length != Some(body.len()) {
                let Some(byte) = socket.byte() else { break };
                body.push(byte);
            }
            return Err((status, String::from_utf8(body).unwrap()));
        }
        assert_eq!(
            header("sec-websocket-accept").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        socket.protocol = header("sec-websocket-protocol").unwrap();
        Ok(socket)
    }

    fn byte(&mut self) -> Option<u8> {
        if self.buffer.is_empty() {
            let mut bytes = [0; 16 << 10];
            match self.stream.read(&mut bytes) {
                Ok(count) => self.buffer.extend(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
        self.buffer.pop_front()
    }

    pub(super) fn frame(&mut self) -> Frame {
        let (Some(first), Some(second)) = (self.byte(), self.byte()) else {
            return Frame::End;
        };
        let mut length = u64::from(second & 0x7f);
        let extended = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if extended > 0 {
            length = (0..extended).fold(0, |n, _| n << 8 | u64::from(self.byte().unwrap()));
        }
        let payload: Vec<u8> = (0..length).map(|_| self.byte().unwrap()).collect();
        match first {
            0x82 => Frame::Data(payload),
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x8a => Frame::Pong(payload),
            0x88 => Frame::Close(payload),
            other => panic!("frame {other:#x}"),
        }
    }

    /// Sends a frame with this first byte.
    pub(super) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            short @ ..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            medium @ ..65536 => {
                frame.push(0xfe);
                frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                frame.push(0xff);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.stream.write_all(&frame).unwrap();
    }

    pub(super) fn send(&mut self, channel: u8, bytes: &[u8]) {
        let mut payload = vec![channel];
        payload.extend(bytes);
        self.send_frame(0x82, &payload);
    }

    /// The next message: its channel and its bytes.
    #[track_caller]
    pub(super) fn message(&mut self) -> (u8, Vec<u8>) {
        match self.frame() {
            Frame::Data(mut payload) => {
                let channel = payload.remove(0);
                (channel, payload)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Expects bytes on a channel, in however many messages.
    #[track_caller]
    pub(super) fn expect(&mut self, channel: u8, expected: &[u8]) {
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            let (from, bytes) = self.message();
            assert_eq!(
                from,
                channel,
                "{:?} after {:?}",
                String::from_utf8_lossy(&bytes),
                String::from_utf8_lossy(&seen)
            );
            seen.extend(bytes);
        }
        assert_eq!(
            String::from_utf8_lossy(&seen),
            String::from_utf8_lossy(expected)
        );
    }

    /// Everything up to the close frame, by channel.
    #[track_caller]
    pub(super) fn finish(&mut self) -> [Vec<u8>; 4] {
        let mut channels: [Vec<u8>; 4] = Default::default();
        loop {
            match self.frame() {
                Frame::Data(payload) => channels[usize::from(payload[0])].extend(&payload[1..]),
                Frame::Close(code) => {
                    assert_eq!(code, [3, 0xe8]);
                    assert_eq!(self.frame(), Frame::End);
                    return channels;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
