//! Connections and the tasks that keep them going.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use pin_project::pin_project;

use crate::observe::Open;

/// The body of every request: whole, in memory.
pub type RequestBody = Full<Bytes>;

/// A connection to the API server, encrypted or not.
#[non_exhaustive]
pub enum Transport<Io> {
    /// As the runtime dialled it.
    Plain(Io),
    /// With TLS on top.
    #[cfg(feature = "rustls")]
    Tls(Box<crate::tls::TlsStream<Self>>),
    /// Through a proxy that has passed on bytes with its answer already.
    #[non_exhaustive]
    Early {
        /// What is to be read first.
        leftover: Bytes,
        /// The tunnel.
        io: Box<Self>,
    },
}

impl<Io> Transport<Io> {
    pub(crate) fn early(io: Self, leftover: Bytes) -> Self {
        Self::Early {
            leftover,
            io: Box::new(io),
        }
    }
}

/// Why TLS ended, seen from outside of the task that owns the connection. In TLS 1.3 a server looks at the client's
/// certificate after the client's handshake is over, and what hyper says about the end depends on
/// when the server's alert arrives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal(Arc<OnceLock<Cause>>);

#[cfg(feature = "rustls")]
type Cause = rustls::Error;
#[cfg(not(feature = "rustls"))]
type Cause = std::convert::Infallible;

impl Refusal {
    #[cfg(feature = "rustls")]
    pub(crate) fn set(&self, cause: Cause) {
        // The first is the one that counts.
        let _ = self.0.set(cause);
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.0.get().cloned()
    }

    #[cfg(not(feature = "rustls"))]
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.0.get().copied()
    }
}

impl<Io: Read + Write + Unpin> Transport<Io> {
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            #[cfg(feature = "rustls")]
            Self::Tls(io) => io.refusal(),
            Self::Plain(_) | Self::Early { .. } => Refusal::default(),
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            #[cfg(feature = "rustls")]
            Transport::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
            Transport::Early { io: $io, .. } => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl<Io: Read + Write + Unpin> Read for Transport<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Early { leftover, .. } = &mut *self
            && !leftover.is_empty()
        {
            let n = leftover.len().min(cursor.remaining());
            cursor.put_slice(&leftover.split_to(n));
            return Poll::Ready(Ok(()));
        }
        either!(self, io => io.poll_read(cx, cursor))
    }
}

impl<Io: Read + Write + Unpin> Write for Transport<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, buffer))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "rustls")]
            Self::Tls(_) => false,
            Self::Early { io, .. } => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, buffers))
    }
}

impl<Io> fmt::Debug for Transport<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            #[cfg(feature = "rustls")]
            Self::Tls(_) => "Tls",
            Self::Early { .. } => "Early",
        })
    }
}

/// Keeps one HTTP/1.1 connection going; ends with it. Whether it is `Send` follows from `Io`.
#[pin_project]
#[must_use = "a connection does nothing until its task runs"]
pub struct H1Task<Io: Read + Write + Unpin + 'static> {
    #[pin]
    connection: http1::Connection<Transport<Io>, RequestBody>,
    _open: Open,
}

impl<Io: Read + Write + Unpin + 'static> H1Task<Io> {
    pub(crate) fn new(
        connection: http1::Connection<Transport<Io>, RequestBody>,
        open: Open,
    ) -> Self {
        Self {
            connection,
            _open: open,
        }
    }
}

impl<Io: Read + Write + Unpin + 'static> Future for H1Task<Io> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What goes wrong reaches the requests that are under way.
        self.project().connection.poll(cx).map(drop)
    }
}

impl<Io: Read + Write + Unpin + 'static> fmt::Debug for H1Task<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("H1Task")
    }
}

#[cfg(feature = "http2")]
pub use h2::H2Task;

#[cfg(feature = "http2")]
mod h2 {
    use super::{Context, Future, Open, Pin, Poll, RequestBody, Transport, fmt, pin_project};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::Runtime;
    use hyper::client::conn::http2;
    use hyper::rt::bounds::Http2ClientConnExec;

    /// Keeps one HTTP/2 connection going; ends with it.
    #[pin_project]
    #[must_use = "a connection does nothing until its task runs"]
    pub struct H2Task<R>
    where
        R: Runtime + Http2ClientConnExec<RequestBody, Transport<R::Io>> + Unpin,
    {
        #[pin]
        connection: http2::Connection<Transport<R::Io>, RequestBody, R>,
        /// How many streams the server allows now, for the pool.
        max_streams: Arc<AtomicUsize>,
        _open: Open,
    }

    impl<R> H2Task<R>
    where
        R: Runtime + Http2ClientConnExec<RequestBody, Transport<R::Io>> + Unpin,
    {
        pub(crate) fn new(
            connection: http2::Connection<Transport<R::Io>, RequestBody, R>,
            max_streams: Arc<AtomicUsize>,
            open: Open,
        ) -> Self {
            Self {
                connection,
                max_streams,
                _open: open,
            }
        }
    }

    impl<R> Future for H2Task<R>
    where
        R: Runtime + Http2ClientConnExec<RequestBody, Transport<R::Io>> + Unpin,
    {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let mut this = self.project();
            let poll = this.connection.as_mut().poll(cx).map(drop);
            this.max_streams.store(
                this.connection.current_max_send_streams(),
                Ordering::Relaxed,
            );
            poll
        }
    }

    impl<R> fmt::Debug for H2Task<R>
    where
        R: Runtime + Http2ClientConnExec<RequestBody, Transport<R::Io>> + Unpin,
    {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("H2Task")
        }
    }
}
