//! The WebSocket layer alone, against tungstenite's server side and by hand.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod session_support;

use std::io::{Cursor, Read, Write};

use kubewire::ws::{Message, WebSocket};
use kubewire::{ErrorKind, Limits};
use session_support::*;
use tungstenite::protocol::{Role, WebSocket as Peer};

fn socket() -> WebSocket {
    WebSocket::new(&Limits::default())
}

fn transmit(socket: &mut WebSocket) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(bytes) = socket.poll_transmit() {
        wire.extend_from_slice(bytes);
        let n = bytes.len();
        socket.transmitted(n);
    }
    wire
}

struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.input.read(buf) {
            Ok(0) => Err(std::io::ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_server_understands_what_is_sent() {
    let mut socket = socket();
    let mut expected = Vec::new();
    for len in [0, 1, 125, 126, 65_535, WebSocket::MAX_SEND] {
        let data = vec![7; len];
        while !socket.send_binary(&data).unwrap() {
            let n = socket.poll_transmit().unwrap().len();
            expected.extend_from_slice(socket.poll_transmit().unwrap());
            socket.transmitted(n);
        }
    }
    assert!(socket.ping().unwrap() || socket.poll_transmit().is_some());
    let mut wire = expected;
    wire.extend(transmit(&mut socket));
    socket.close(1000);
    wire.extend(transmit(&mut socket));

    let wire = Wire {
        input: Cursor::new(wire),
        output: Vec::new(),
    };
    let mut server = Peer::from_raw_socket(wire, Role::Server, None);
    for len in [0, 1, 125, 126, 65_535, WebSocket::MAX_SEND] {
        assert_eq!(server.read().unwrap().into_data(), vec![7; len]);
    }
    let mut left = Vec::new();
    while let Ok(message) = server.read() {
        left.push(message);
    }
    assert!(left.iter().any(tungstenite::Message::is_close));
    let _ = server.flush();
    socket.handle_input(&server.get_ref().output).unwrap();
    let mut messages: Vec<_> = std::iter::from_fn(|| socket.poll_message()).collect();
    assert_eq!(messages.pop(), Some(Message::Close(Some(1000))));
    assert!(socket.is_closed());
}

#[test]
fn messages_before_a_fault_are_kept() {
    let mut socket = socket();
    let mut wire = frame(1, "grün".as_bytes());
    wire.extend(frame(PONG, b""));
    wire.extend(frame(BINARY, b"data"));
    wire.extend(frame(7, b""));
    let error = socket.handle_input(&wire).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Peer);
    assert_eq!(socket.buffered(), 9 + 2);
    let messages: Vec<_> = std::iter::from_fn(|| socket.poll_message()).collect();
    assert_eq!(
        messages,
        [
            Message::Text("grün".into()),
            Message::Pong,
            Message::Binary("data".into())
        ]
    );
    assert_eq!(
        socket.handle_input(b"").unwrap_err().kind(),
        ErrorKind::Peer
    );
    assert_eq!(format!("{:?}", messages[2]), "Binary(4 bytes)");

    let mut socket = WebSocket::new(&Limits::default());
    let error = socket.handle_input(&frame(1, b"\xff")).unwrap_err();
    assert!(error.to_string().contains("UTF-8"));
}

#[test]
fn what_can_be_sent_is_bounded() {
    let mut socket = socket();
    let error = socket.send_binary(&vec![0; 65_537]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let mut taken = 0;
    while socket.send_binary(&[0; 10_000]).unwrap() {
        taken += 1;
    }
    assert_eq!(taken, 7);
    assert!(!socket.ping().unwrap());
    assert_eq!(socket.buffered(), 7 * 10_008);
    socket.transmitted(usize::MAX);
    assert_eq!(socket.buffered(), 0);
    assert!(socket.send_binary(&[0; 10_000]).unwrap());
}

#[test]
fn nothing_is_sent_after_a_close() {
    for by_server in [false, true] {
        let mut socket = socket();
        if by_server {
            socket.handle_input(&close(1001)).unwrap();
            // Ignored, as the second close of Kubernetes' servers is.
            socket.handle_input(&close(1000)).unwrap();
        } else {
            socket.close(1001);
            socket.close(1002);
        }
        let error = socket.send_binary(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(socket.ping().unwrap_err().kind(), ErrorKind::Closed);
        let (frames, rest) = client_frames(&transmit(&mut socket));
        assert_eq!((frames, rest), (vec![(CLOSE, vec![3, 233])], 0));
        assert_eq!(socket.is_closed(), by_server);
    }
}

#[test]
fn masks_differ() {
    let mut socket = socket();
    for _ in 0..8 {
        assert!(socket.send_binary(b"same").unwrap());
    }
    let wire = transmit(&mut socket);
    let frames: std::collections::BTreeSet<_> = wire.chunks(2 + 4 + 4).collect();
    assert!(frames.len() > 6);
}
