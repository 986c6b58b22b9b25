//! The channel protocol's messages, and WebSocket framing both ways.
//!
//! Input: `[n, n bytes of decisions, message]`.

use bytes::Bytes;
use kubewire::channel::{self, Frame, Subprotocol};
use kubewire::ws::{Message, WebSocket};
use kubewire::{ErrorKind, Limits};
use serde_json::json;

use crate::frames::{ClientFrames, server_frame};
use crate::input::Input;

/// What is encoded decodes to the same, here and in frames that were written by hand; sizes and
/// ports are what they say.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, message) = Input::with_body(data);
    decode(message);
    numbers(&mut choices);
    names(message);
    frames(&mut choices, message);
}

fn decode(message: &[u8]) {
    let frame = channel::decode(Bytes::copy_from_slice(message));
    let Some((&first, rest)) = message.split_first() else {
        assert_eq!(frame.map_err(|error| error.kind()), Err(ErrorKind::Peer));
        return;
    };
    let Frame { channel, data } = frame.expect("there is a channel");
    assert_eq!((channel, &data[..]), (first, rest));
    let mut again = vec![7];
    channel::encode_into(channel, &data, &mut again);
    assert_eq!(again[1..], *message);
    let prefix = channel::port_prefix(&data);
    assert_eq!(prefix.is_some(), data.len() == 2);
    if let Some(port) = prefix {
        assert_eq!(port.to_le_bytes(), data[..]);
    }
}

fn numbers(choices: &mut Input<'_>) {
    let (width, height) = (choices.short(), choices.short());
    match channel::resize(width, height) {
        Ok(message) => {
            assert!(width > 0 && height > 0);
            assert_eq!(message[0], channel::RESIZE);
            let size: serde_json::Value = serde_json::from_slice(&message[1..]).expect("JSON");
            assert_eq!(size, json!({"Width": width, "Height": height}));
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(width == 0 || height == 0);
        }
    }
    let index = usize::from(choices.short());
    let (data, error) = (channel::data_channel(index), channel::error_channel(index));
    assert_eq!(data.is_some(), index < channel::MAX_PORTS);
    assert_eq!(data.map(usize::from), error.map(|_| 2 * index));
    assert_eq!(error.map(usize::from), data.map(|_| 2 * index + 1));
    let which = choices.byte();
    assert_eq!(channel::close(which), [channel::CLOSE, which]);
}

fn names(message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    if let Some(version) = Subprotocol::from_header(&text) {
        assert_eq!(text.trim(), version.as_str());
    }
}

/// The message as frames of a server, cut anywhere, and as a frame of this side.
fn frames(choices: &mut Input<'_>, message: &[u8]) {
    let limits = Limits::default();
    let fragments = choices.below(4);
    let mut wire = Vec::new();
    let size = message.len() / (fragments + 1) + 1;
    let mut pieces: Vec<&[u8]> = message.chunks(size).collect();
    if pieces.is_empty() {
        pieces.push(b"");
    }
    let last = pieces.len() - 1;
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if index == 0 { 2 } else { 0 };
        let fin = if index == last { 0x80 } else { 0 };
        server_frame(fin | opcode, piece, &mut wire);
        // A control frame may stand between fragments.
        server_frame(0x89, b"ping", &mut wire);
    }
    let mut socket = WebSocket::new(&limits);
    let mut got = Vec::new();
    for chunk in choices.cut(&wire) {
        socket.handle_input(chunk).expect("these are good frames");
        while let Some(next) = socket.poll_message() {
            match next {
                Message::Binary(data) => got.push(data),
                Message::Ping => {}
                other @ (Message::Text(_) | Message::Pong | Message::Close(_) | _) => {
                    panic!("{other:?}")
                }
            }
        }
    }
    assert_eq!(got, [message]);

    let sent = socket.send_binary(message).expect("it is short");
    assert!(sent);
    let mut client = ClientFrames::default();
    while let Some(bytes) = socket.poll_transmit() {
        let count = bytes.len().min(1000);
        client.push(&bytes[..count]);
        socket.transmitted(count);
    }
    let mut frames = client.take();
    let (opcode, data) = frames.pop().expect("the message");
    assert_eq!((opcode, &data[..]), (2, message));
    assert!(!frames.is_empty(), "there was a ping");
    for pong in frames {
        assert_eq!(pong, (10, b"ping".to_vec()));
    }
    assert!(client.is_between_frames());
    // Fragments make what is held look more, by less than one read.
    let slack = if last == 0 { 0 } else { wire.len() };
    assert!(socket.buffered() <= slack);
}
