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
use crate::signs::Signs;

/// The body of every request: whole, in memory.
pub type RequestBody = Full<Bytes>;

/// A connection to the API server, encrypted or not.
pub struct Transport<Io> {
    kind: Kind<Io>,
    /// What the pool sees of it.
    signs: Option<Arc<Signs>>,
}

enum Kind<Io> {
    /// As the runtime dialled it.
    Plain(Io),
    /// With TLS on top.
    #[cfg(feature = "rustls")]
    Tls(Box<crate::tls::TlsStream<Transport<Io>>>),
    /// Through a proxy that has passed on bytes with its answer already.
    Early {
        /// What is to be read first.
        leftover: Bytes,
        /// The tunnel.
        io: Box<Transport<Io>>,
    },
}

impl<Io> Transport<Io> {
    pub(crate) fn plain(io: Io) -> Self {
        Kind::Plain(io).into()
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn tls(stream: crate::tls::TlsStream<Self>) -> Self {
        Kind::Tls(Box::new(stream)).into()
    }

    pub(crate) fn early(io: Self, leftover: Bytes) -> Self {
        let io = Box::new(io);
        Kind::Early { leftover, io }.into()
    }

    /// From now on it gives these signs.
    pub(crate) fn watched(mut self) -> (Self, Arc<Signs>) {
        let signs = Arc::<Signs>::default();
        self.signs = Some(signs.clone());
        (self, signs)
    }

    /// What was written is stuck from when the peer takes no more until all is flushed.
    fn written<T>(&self, poll: Poll<T>, all: bool) -> Poll<T> {
        if let Some(signs) = &self.signs
            && (all || poll.is_pending())
        {
            signs.written(poll.is_ready());
        }
        poll
    }
}

impl<Io> From<Kind<Io>> for Transport<Io> {
    fn from(kind: Kind<Io>) -> Self {
        Self { kind, signs: None }
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
        match &self.kind {
            #[cfg(feature = "rustls")]
            Kind::Tls(io) => io.refusal(),
            Kind::Plain(_) | Kind::Early { .. } => Refusal::default(),
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.kind {
            Kind::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            #[cfg(feature = "rustls")]
            Kind::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
            Kind::Early { io: $io, .. } => {
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
        if let Kind::Early { leftover, .. } = &mut self.kind
            && !leftover.is_empty()
        {
            let n = leftover.len().min(cursor.remaining());
            cursor.put_slice(&leftover.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let poll = either!(self, io => io.poll_read(cx, cursor));
        #[cfg(feature = "http2")]
        if let Some(signs) = &self.signs {
            signs.read();
        }
        poll
    }
}

impl<Io: Read + Write + Unpin> Write for Transport<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = either!(self, io => io.poll_write(cx, buffer));
        self.written(poll, false)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = either!(self, io => io.poll_flush(cx));
        self.written(poll, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "rustls")]
            Kind::Tls(_) => false,
            Kind::Early { io, .. } => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = either!(self, io => io.poll_write_vectored(cx, buffers));
        self.written(poll, false)
    }
}

impl<Io> fmt::Debug for Transport<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Plain(_) => "Plain",
            #[cfg(feature = "rustls")]
            Kind::Tls(_) => "Tls",
            Kind::Early { .. } => "Early",
        })
    }
}

/// Keeps one HTTP/1.1 connection going; ends with it. Whether it is `Send` follows from `Io`.
#[pin_project]
#[must_use = "a connection does nothing until its task runs"]
pub struct H1Task<Io: Read + Write + Unpin + 'static> {
    #[pin]
    connection: http1::Connection<Transport<Io>, RequestBody>,
    signs: Arc<Signs>,
    _open: Open,
}

impl<Io: Read + Write + Unpin + 'static> H1Task<Io> {
    pub(crate) fn new(
        connection: http1::Connection<Transport<Io>, RequestBody>,
        signs: Arc<Signs>,
        open: Open,
    ) -> Self {
        Self {
            connection,
            signs,
            _open: open,
        }
    }
}

impl<Io: Read + Write + Unpin + 'static> Future for H1Task<Io> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // What goes wrong reaches the requests that are under way.
        if this.connection.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.signs.poll_forlorn(cx)
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

    use crate::Runtime;
    use crate::signs::Signs;
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
        signs: Ended,
        _open: Open,
    }

    /// When the task is gone, nobody waits for settings any more.
    struct Ended(Arc<Signs>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.streams.settle();
        }
    }

    impl<R> H2Task<R>
    where
        R: Runtime + Http2ClientConnExec<RequestBody, Transport<R::Io>> + Unpin,
    {
        pub(crate) fn new(
            connection: http2::Connection<Transport<R::Io>, RequestBody, R>,
            signs: Arc<Signs>,
            open: Open,
        ) -> Self {
            let signs = Ended(signs);
            Self {
                connection,
                signs,
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
            let signs = &this.signs.0;
            signs.expect_settings(cx);
            let poll = this.connection.as_mut().poll(cx).map(drop);
            signs
                .streams
                .allow(this.connection.current_max_send_streams());
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
