//! The ends of a session's channels.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use kubewire::session::ConnectionId;
use kubewire::{Error, ErrorKind};

use super::machine::Channel;
use super::task::{Handle, State};

/// The reading end of a channel: chunks, or `AsyncRead`.
///
/// While it is not read the session holds at most
/// [`Limits::receive_window`](kubewire::Limits::receive_window) of it and then stops reading the connection, which slows the
/// process down. Dropping it throws the channel's data away and lets the others go on.
pub struct Reader {
    handle: Handle,
    channel: Channel,
    /// What `AsyncRead` has not handed out yet.
    chunk: Bytes,
    /// Keeps a connection of a tunnel, together with the other end's.
    _connection: Option<Arc<Connection>>,
}

/// The writing end of a channel: `write`, or `AsyncWrite`.
///
/// Bytes that were accepted are sent even if this is dropped, as long as any part of the session is held.
pub struct Writer {
    handle: Handle,
    channel: Channel,
    finish_on_drop: bool,
    _connection: Option<Arc<Connection>>,
}

impl Reader {
    pub(crate) fn new(handle: Handle, channel: Channel) -> Self {
        Self {
            handle,
            channel,
            chunk: Bytes::new(),
            _connection: None,
        }
    }

    pub(crate) fn of(connection: &Arc<Connection>) -> Self {
        Self {
            handle: connection.handle.clone(),
            channel: Channel::Connection(connection.id),
            chunk: Bytes::new(),
            _connection: Some(connection.clone()),
        }
    }

    /// The next data, as it came; `None` at the end. Whether that end is a clean one the session's
    /// outcome tells.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    pub(crate) fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.chunk)));
        }
        let channel = self.channel;
        let poll = |state: &mut State| {
            if let Some(data) = state.session.poll_data(channel) {
                return Poll::Ready(Some(data));
            }
            if state.session.is_finished(channel) || state.session.is_closed() {
                return Poll::Ready(None);
            }
            state.wait_readable(channel, cx);
            Poll::Pending
        };
        self.handle.with(poll)
    }

    /// Whether data was dropped because it was not read in time
    /// ([`Overflow::Drop`](kubewire::session::Overflow)).
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.handle
            .look(|state| state.session.truncated(self.channel))
    }

    /// What to say at the end of the data: nothing, or what went wrong.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.handle
            .look(|state| state.session.failure(self.channel))
    }

    /// Reads into a buffer: 0 is the end, an error an end that is not clean.
    fn poll_into(&mut self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.chunk.is_empty() {
            match self.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => self.chunk = chunk,
                Poll::Ready(None) => {
                    return Poll::Ready(self.failure().map_or(Ok(0), |error| Err(to_io(error))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let n = self.chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.chunk.split_to(n));
        Poll::Ready(Ok(n))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle
            .with(|state| state.session.discard(self.channel));
    }
}

impl Writer {
    pub(crate) fn new(handle: Handle, channel: Channel, finish_on_drop: bool) -> Self {
        Self {
            handle,
            channel,
            finish_on_drop,
            _connection: None,
        }
    }

    pub(crate) fn of(connection: &Arc<Connection>) -> Self {
        Self {
            handle: connection.handle.clone(),
            channel: Channel::Connection(connection.id),
            finish_on_drop: true,
            _connection: Some(connection.clone()),
        }
    }

    /// Sends some of the data and tells how much: at least one byte, unless `data` is empty.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] after the process or connection ended, or [`finish`](Self::finish).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it completes has accepted nothing.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_send(cx, data)).await
    }

    /// Sends all of the data.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, a part of the data may have been accepted, and which one is not known.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let n = self.write(data).await?;
            data = data.get(n..).unwrap_or(&[]);
        }
        Ok(())
    }

    pub(crate) fn poll_send(&self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        let channel = self.channel;
        let poll = |state: &mut State| match state.session.send(channel, data) {
            Ok(0) if !data.is_empty() => {
                state.wait_writable(channel, cx);
                Poll::Pending
            }
            result => Poll::Ready(result),
        };
        self.handle.with(poll)
    }

    /// Ends the input, after what was accepted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where the protocol cannot: `v4.channel.k8s.io` (servers before 1.30, and port-forward), and
    /// terminals, to which one sends the byte `0x04` instead.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.handle.with(|state| state.session.finish(self.channel))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.finish_on_drop {
            let _ = self.finish();
        }
    }
}

/// One connection of a tunnel; when both ends are dropped it is given up.
pub(crate) struct Connection {
    handle: Handle,
    id: ConnectionId,
}

impl Connection {
    /// Opens a connection to a port of the pod.
    pub(crate) fn open(handle: &Handle, port: u16) -> Result<Arc<Self>, Error> {
        let id = handle.with(|state| state.session.connect(port))?;
        Ok(Arc::new(Self {
            handle: handle.clone(),
            id,
        }))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.with(|state| {
            state.session.release(self.id);
            state.forget(Channel::Connection(self.id));
        });
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

fn to_io(error: Error) -> io::Error {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest has no kind of its own in std"
    )]
    let kind = match error.kind() {
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        ErrorKind::Timeout => io::ErrorKind::TimedOut,
        ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
        ErrorKind::Usage => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl futures_io::AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_into(cx, buffer)
    }
}

/// Flushing is no work: the task sends as soon as it can. Closing is [`Writer::finish`].
impl futures_io::AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data).map_err(to_io)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish().map_err(to_io))
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = std::task::ready!(self.poll_into(cx, buffer.initialize_unfilled()))?;
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data).map_err(to_io)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish().map_err(to_io))
    }
}
