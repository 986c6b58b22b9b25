//! Port-forward over SPDY in WebSocket messages: many connections, each with ends of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::node::pipe;
use super::super::node::pod::Pod;
use super::portforward::{CLOSE_DELAY, refused};
use super::session::{Gone, Session};
use super::spdy::{CANCEL, Decoder, Encoder, Frame, PROTOCOL_ERROR};

const CHUNK: usize = 32 << 10;
const MOST_STREAMS: usize = 1000;

/// A stream that the client opened.
struct Stream {
    request: String,
    port: u16,
    is_data: bool,
    input: Option<Input>,
}

/// What the client sends to a pod, until it ends that.
struct Input {
    writer: pipe::Writer,
    /// Gets the writer then.
    ended: oneshot::Sender<pipe::Writer>,
}

type Outbox = mpsc::Sender<Vec<Bytes>>;

pub(super) async fn run(session: Session, pod: Arc<Pod>) {
    let Session {
        mut sender,
        mut receiver,
    } = session;
    let (outbox, mut messages) = mpsc::channel::<Vec<Bytes>>(2);
    {
        let writer = async {
            while let Some(pieces) = messages.recv().await {
                for piece in pieces {
                    sender.send_raw(piece).await?;
                }
            }
            Ok::<(), Gone>(())
        };
        let reader = async {
            let mut tunnel = Tunnel {
                pod,
                streams: BTreeMap::new(),
                encoder: Encoder::new(),
                outbox,
                forwards: JoinSet::new(),
            };
            let mut decoder = Decoder::new();
            while let Ok(bytes) = receiver.receive_raw().await {
                decoder.push(&bytes);
                while let Ok(Some(frame)) = decoder.next() {
                    tunnel.reap();
                    if tunnel.handle(frame).await.is_err() {
                        return;
                    }
                }
                if decoder.is_broken() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = writer => {}
            () = reader => {}
        }
    }
    Session { sender, receiver }.close().await;
}

struct Tunnel {
    pod: Arc<Pod>,
    streams: BTreeMap<u32, Stream>,
    encoder: Encoder,
    outbox: Outbox,
    /// What pods send, each in a task that ends with the tunnel; they return their data and error streams.
    forwards: JoinSet<(u32, u32)>,
}

impl Tunnel {
    /// Forgets the streams of forwards that ended.
    fn reap(&mut self) {
        while let Some(ended) = self.forwards.try_join_next() {
            if let Ok((data, error)) = ended {
                self.streams.remove(&data);
                self.streams.remove(&error);
            }
        }
    }

    async fn send(&self, pieces: Vec<Bytes>) -> Result<(), Gone> {
        self.outbox.send(pieces).await.map_err(|_| Gone)
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Ping { id } => self.send(Encoder::ping(id)).await,
            Frame::GoAway => Err(Gone),
            Frame::Reset { stream } => {
                self.streams.remove(&stream);
                Ok(())
            }
            Frame::Data {
                stream,
                bytes,
                last,
            } => {
                let Some(entry) = self.streams.get_mut(&stream) else {
                    return Ok(());
                };
                let failed = match &entry.input {
                    Some(input) if !bytes.is_empty() => input.writer.write(&bytes).await.is_err(),
                    _ => false,
                };
                if failed {
                    entry.input = None;
                }
                if last && let Some(input) = entry.input.take() {
                    // The pod may have ended first.
                    let _ = input.ended.send(input.writer);
                }
                Ok(())
            }
            Frame::Open {
                stream, headers, ..
            } => self.open(stream, &headers).await,
        }
    }

    /// A new stream; with its counterpart it makes a connection.
    async fn open(&mut self, stream: u32, headers: &[(String, String)]) -> Result<(), Gone> {
        let header = |name: &str| {
            headers
                .iter()
                .find(|(k, _)| k.eq_ignore_ascii_case(name))
                .map_or("", |(_, v)| v.as_str())
        };
        let (port, kind, request) = (
            header("port").parse::<u16>(),
            header("streamtype"),
            header("requestid").to_owned(),
        );
        let (Ok(port), "data" | "error", true) = (port, kind, self.streams.len() < MOST_STREAMS)
        else {
            return self.send(Encoder::reset(stream, PROTOCOL_ERROR)).await;
        };
        let is_data = kind == "data";
        let reply = self.encoder.reply(stream);
        self.send(reply).await?;
        let pair = |s: &Stream| s.request == request && s.is_data != is_data && s.port == port;
        let other = self
            .streams
            .iter()
            .find(|(_, s)| pair(s))
            .map(|(id, _)| *id);
        self.streams.insert(
            stream,
            Stream {
                request,
                port,
                is_data,
                input: None,
            },
        );
        let Some(other) = other else { return Ok(()) };
        let (data, error) = if is_data {
            (stream, other)
        } else {
            (other, stream)
        };
        let Some(connection) = self.pod.network.connect(port).await else {
            self.send(Encoder::data(
                error,
                refused(&self.pod, port).as_bytes(),
                false,
            ))
            .await?;
            self.send(Encoder::reset(data, CANCEL)).await?;
            self.send(Encoder::reset(error, CANCEL)).await?;
            self.streams.remove(&data);
            self.streams.remove(&error);
            return Ok(());
        };
        let (sender, ended) = oneshot::channel();
        if let Some(entry) = self.streams.get_mut(&data) {
            entry.input = Some(Input {
                writer: connection.writer,
                ended: sender,
            });
        }
        let outbox = self.outbox.clone();
        self.forwards
            .spawn(forward(data, error, connection.reader, ended, outbox));
        Ok(())
    }
}

/// Takes what the pod sends to the client; the end of it is the end of both streams.
///
/// As with containerd the pod is not told that the client has ended its side. It has a second to go on in (here: after
/// each piece, since tests may be slow), then the connection is closed.
async fn forward(
    data: u32,
    error: u32,
    reader: pipe::Reader,
    ended: oneshot::Receiver<pipe::Writer>,
    outbox: Outbox,
) -> (u32, u32) {
    let mut ended = ended.fuse();
    let mut left = None;
    loop {
        let bytes = if left.is_some() {
            let rest = timeout(CLOSE_DELAY, reader.read(CHUNK)).await;
            rest.unwrap_or_default()
        } else {
            tokio::select! {
                bytes = reader.read(CHUNK) => bytes,
                Ok(writer) = &mut ended => {
                    left = Some(writer);
                    continue;
                }
            }
        };
        let last = bytes.is_empty();
        if outbox
            .send(Encoder::data(data, &bytes, last))
            .await
            .is_err()
        {
            break;
        }
        if last {
            // The client may be gone; then there is nobody to tell.
            let _ = outbox.send(Encoder::data(error, b"", true)).await;
            break;
        }
    }
    (data, error)
}
