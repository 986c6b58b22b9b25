//! A WebSocket whose messages have a channel.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::frames::Lenient;

/// golang.org/x/net/websocket's limit.
const LARGEST: usize = 32 << 20;
/// How long what a client still sends is read, so that the end of the answer is not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);

/// A frame that closes with code 1000.
const NORMAL_CLOSE: [u8; 4] = [0x88, 2, 0x03, 0xe8];

type Socket = WebSocketStream<Lenient<TokioIo<Upgraded>>>;

/// The client is gone, or did what ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

#[derive(Debug)]
pub(super) struct Sender {
    sink: SplitSink<Socket, Message>,
    base64: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    stream: SplitStream<Socket>,
    base64: bool,
    /// The client said goodbye.
    left: bool,
}

impl Session {
    pub(super) async fn new(upgraded: Upgraded, base64: bool) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST))
            // Messages go out as they come.
            .write_buffer_size(0);
        let io = Lenient::new(TokioIo::new(upgraded));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (sink, stream) = socket.split();
        Self {
            sender: Sender { sink, base64 },
            receiver: Receiver {
                stream,
                base64,
                left: false,
            },
        }
    }

    /// Says goodbye and ends the connection.
    pub(super) async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let left = self.receiver.left;
        let end = async {
            if !left {
                // A connection that is gone needs no goodbye.
                let _ = self.sender.sink.send(Message::Close(Some(frame))).await;
            }
            let Ok(socket) = self.sender.sink.reunite(self.receiver.stream) else {
                return;
            };
            let mut io = socket.into_inner();
            if left {
                // The client's code is not repeated; its frame was read just now, and nothing answered yet.
                let _ = io.write_all(&NORMAL_CLOSE).await;
                let _ = io.flush().await;
            }
            if io.shutdown().await.is_ok() {
                let mut rest = [0; 4096];
                while io.read(&mut rest).await.is_ok_and(|n| n > 0) {}
            }
        };
        let _ = tokio::time::timeout(LINGER, end).await;
    }
}

impl Sender {
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        let message = if self.base64 {
            let digit = char::from(b'0' + channel);
            Message::text(format!("{digit}{}", STANDARD.encode(bytes)))
        } else {
            let mut payload = BytesMut::with_capacity(bytes.len() + 1);
            payload.put_u8(channel);
            payload.put_slice(bytes);
            Message::Binary(payload.freeze())
        };
        self.sink.send(message).await.map_err(|_| Gone)
    }

    /// A message without a channel: the tunnel.
    pub(super) async fn send_raw(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.sink
            .send(Message::Binary(bytes))
            .await
            .map_err(|_| Gone)
    }
}

impl Receiver {
    /// The next message with data; pings are answered and empty messages skipped on the way.
    pub(super) async fn receive(&mut self) -> Result<(u8, Bytes), Gone> {
        loop {
            let mut bytes = self.receive_raw().await?;
            if bytes.is_empty() {
                continue;
            }
            let channel = bytes.split_to(1)[0];
            if !self.base64 {
                return Ok((channel, bytes));
            }
            let Ok(decoded) = STANDARD.decode(&bytes) else {
                return Err(Gone);
            };
            return Ok((channel.wrapping_sub(b'0'), decoded.into()));
        }
    }

    /// The next message as it is.
    pub(super) async fn receive_raw(&mut self) -> Result<Bytes, Gone> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                Some(Ok(Message::Text(text))) => return Ok(text.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) => {
                    self.left = true;
                    return Err(Gone);
                }
                Some(Err(_)) | None => return Err(Gone),
            }
        }
    }
}
