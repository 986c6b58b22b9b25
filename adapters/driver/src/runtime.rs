//! What the driver needs from a runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::rt::{Executor, Read, Timer, Write};

use crate::connection::H1Task;

/// A runtime: connections, sleep, and (through [`Executor`]) tasks.
///
/// Implement this and `hyper::rt::Executor` to use the driver anywhere; the adapters for tokio and
/// smol do nothing else, apart from [`Host`](crate::Host). The driver spawns only named futures and never asks for `Send`: over a
/// runtime whose `Io` is `Send` the client and all its futures are `Send`, over a single-threaded one
/// they need not be.
///
/// All futures may be dropped at any time, which must release what they hold.
pub trait Runtime: Clone + 'static {
    /// A TCP connection, or whatever takes its place.
    type Io: Read + Write + Unpin + 'static;
    /// What [`dial`](Self::dial) returns.
    type Dial: Future<Output = io::Result<Self::Io>>;
    /// What [`sleep_until`](Self::sleep_until) returns.
    type Sleep: Future<Output = ()>;

    /// Resolves the host (a name or an IP address without brackets) and connects. The connection should notice that its
    /// peer is gone: for TCP, see [`keep_alive`](crate::keep_alive).
    fn dial(&self, host: &str, port: u16) -> Self::Dial;

    /// Completes at an instant of the clock that [`now`](Self::now) reads; at once if it has passed.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// The time. A runtime with a virtual clock returns that.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The timer for HTTP/2 keep-alive pings. Without one a connection that has gone dead without a
    /// word is noticed only by deadlines. hyper needs it to be `Send`.
    fn timer(&self) -> Option<Arc<dyn Timer + Send + Sync>> {
        None
    }
}

/// A [`Runtime`] that can also take connections. Only the local ports of port-forwarding (`Forwarder::listen`) need it.
pub trait Listen: Runtime {
    /// A bound socket. Dropping it closes it.
    type Listener: Unpin + 'static;
    /// What [`bind`](Self::bind) returns.
    type Bind: Future<Output = io::Result<Self::Listener>>;

    /// Binds a TCP socket; port 0 is any that is free.
    fn bind(&self, address: SocketAddr) -> Self::Bind;

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// The next connection.
    fn poll_accept(
        listener: &mut Self::Listener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, SocketAddr)>>;
}

/// A [`Runtime`] that can run every task of the driver. Implemented for all that can.
pub trait Drive:
    crate::Host + Executor<H1Task<Self::Io>> + bounds::Http2 + bounds::Sessions + Unpin
{
}

impl<R> Drive for R where
    R: crate::Host + Executor<H1Task<R::Io>> + bounds::Http2 + bounds::Sessions + Unpin
{
}

/// What the features ask for besides.
#[expect(unnameable_types, reason = "parts of `Drive`")]
mod bounds {
    #[cfg(any(feature = "http2", feature = "ws"))]
    use hyper::rt::Executor;
    #[cfg(feature = "http2")]
    use hyper::rt::bounds::Http2ClientConnExec;

    use super::Runtime;
    #[cfg(feature = "http2")]
    use crate::connection::{H2Task, RequestBody, Transport};
    #[cfg(feature = "ws")]
    use crate::sessions::SessionTask;

    /// Tasks of HTTP/2 connections.
    #[cfg(feature = "http2")]
    pub trait Http2:
        Runtime
        + Executor<H2Task<Self>>
        + Http2ClientConnExec<RequestBody, Transport<Self::Io>>
        + Unpin
    {
    }

    #[cfg(feature = "http2")]
    impl<R> Http2 for R where
        R: Runtime
            + Executor<H2Task<R>>
            + Http2ClientConnExec<RequestBody, Transport<R::Io>>
            + Unpin
    {
    }

    #[cfg(not(feature = "http2"))]
    pub trait Http2 {}

    #[cfg(not(feature = "http2"))]
    impl<R: Runtime> Http2 for R {}

    /// Tasks of sessions.
    #[cfg(feature = "ws")]
    pub trait Sessions: Runtime + Executor<SessionTask<Self>> {}

    #[cfg(feature = "ws")]
    impl<R> Sessions for R where R: Runtime + Executor<SessionTask<R>> {}

    #[cfg(not(feature = "ws"))]
    pub trait Sessions {}

    #[cfg(not(feature = "ws"))]
    impl<R: Runtime> Sessions for R {}
}
