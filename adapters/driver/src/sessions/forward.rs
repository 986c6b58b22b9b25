//! Handles of port-forward sessions.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use kubewire::Error;
use kubewire::session::Outcome;

use super::halves::{Connection, Reader, Writer};
use super::machine::Channel;
use super::task::Handle;

/// Connections to ports of a pod, one for each port that was asked for, in that order.
///
/// They share one WebSocket that has no flow control of its own: a connection that is not read holds up the
/// others once its window is full.
pub struct Forward {
    /// The connections. Take out those you want in other tasks.
    pub connections: Vec<PortStream>,
    handle: Handle,
}

impl Forward {
    pub(crate) fn new(handle: Handle, ports: &[u16]) -> Self {
        let connections = ports
            .iter()
            .zip(0_u8..)
            .map(|(&port, index)| PortStream {
                port,
                reader: Reader::new(handle.clone(), Channel::Number(index)),
                writer: Writer::new(handle.clone(), Channel::Number(index), false),
            })
            .collect();
        Self {
            connections,
            handle,
        }
    }

    /// Waits until the session has ended: all connections closed by the pod, or the WebSocket lost.
    /// Drops the connections that were not taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again.
    pub async fn wait(&mut self) -> Outcome {
        self.connections.clear();
        poll_fn(|cx| self.handle.poll_outcome(cx)).await
    }

    /// Bytes held for this session, both ways.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.handle.look(|state| state.session.buffered())
    }

    /// Begins to close all connections.
    pub fn close(&self) {
        self.handle.with(super::task::State::close);
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// Connections to ports of a pod, opened at any time, over one WebSocket (`SPDY/3.1+portforward.k8s.io`).
///
/// Each connection has an end of its own in both directions, and one that is not read does not hold up the others.
/// Clones share the tunnel; it is closed when all of them and all connections are dropped.
#[derive(Clone)]
pub struct TunnelHandle {
    handle: Handle,
}

impl TunnelHandle {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Opens a connection to a port of the pod. It can be used at once; that the pod refused it shows as an
    /// error of the first read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](kubewire::ErrorKind::Usage) for port 0, [`ErrorKind::Closed`](kubewire::ErrorKind::Closed) where
    /// [`can_connect`](Self::can_connect) is false.
    pub fn connect(&self, port: u16) -> Result<PortStream, Error> {
        let connection = Connection::open(&self.handle, port)?;
        Ok(PortStream {
            port,
            reader: Reader::of(&connection),
            writer: Writer::of(&connection),
        })
    }

    /// Whether connections can be opened: the tunnel has not ended, and the server is not going away.
    #[must_use]
    pub fn can_connect(&self) -> bool {
        self.handle.look(|state| state.session.can_connect())
    }

    /// Waits until the tunnel has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again.
    pub async fn wait(&self) -> Outcome {
        poll_fn(|cx| self.handle.poll_outcome(cx)).await
    }

    /// Bytes held for this tunnel, both ways.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.handle.look(|state| state.session.buffered())
    }

    /// Begins to close the tunnel with all its connections.
    pub fn close(&self) {
        self.handle.with(super::task::State::close);
    }
}

impl fmt::Debug for TunnelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelHandle")
            .field("can_connect", &self.can_connect())
            .finish_non_exhaustive()
    }
}

/// One connection to a port of a pod: a byte stream both ways.
///
/// Through a tunnel each direction has its end: closing the writing side leaves the other open. With
/// `v4.channel.k8s.io` that is refused as unsupported. That a connection was refused in the pod shows as an error of the next read.
pub struct PortStream {
    port: u16,
    reader: Reader,
    writer: Writer,
}

impl PortStream {
    /// The pod's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next data, as it came; `None` at the end. See [`Reader::chunk`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        self.reader.chunk().await
    }

    /// Sends all of the data.
    ///
    /// # Errors
    ///
    /// As [`Writer::write`].
    ///
    /// # Cancel safety
    ///
    /// As [`Writer::write_all`].
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), Error> {
        self.writer.write_all(data).await
    }

    /// Ends what this side sends. Not every node tells the pod so: see [`Tunnel`](kubewire::session::Tunnel#the-end-of-input).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](kubewire::ErrorKind::Usage) where the protocol cannot (`v4.channel.k8s.io`).
    pub fn finish(&mut self) -> Result<(), Error> {
        self.writer.finish()
    }

    /// The two directions, for different tasks.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl fmt::Debug for PortStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortStream")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl futures_io::AsyncRead for PortStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(Pin::new(&mut self.reader), cx, buffer)
    }
}

impl futures_io::AsyncWrite for PortStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(Pin::new(&mut self.writer), cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(Pin::new(&mut self.writer), cx)
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncRead for PortStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        tokio::io::AsyncRead::poll_read(Pin::new(&mut self.reader), cx, buffer)
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncWrite for PortStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.writer), cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.writer), cx)
    }
}
