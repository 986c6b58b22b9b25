//! What the driver needs from a runtime.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use hyper::rt::{Executor, Read, Timer, Write};

use crate::connection::H1Task;
#[cfg(feature = "http2")]
use crate::connection::Transport;
use crate::sessions::SessionTask;

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

    /// Resolves the host (a name or an IP address without brackets) and connects.
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

/// A [`Runtime`] that can run every task of the driver. Implemented for all that can.
#[cfg(feature = "http2")]
pub trait Drive:
    crate::Host
    + Executor<H1Task<Self::Io>>
    + Executor<crate::connection::H2Task<Self>>
    + Executor<SessionTask<Self>>
    + hyper::rt::bounds::Http2ClientConnExec<crate::connection::RequestBody, Transport<Self::Io>>
    + Unpin
{
}

#[cfg(feature = "http2")]
impl<R> Drive for R where
    R: crate::Host
        + Executor<H1Task<Self::Io>>
        + Executor<crate::connection::H2Task<Self>>
        + Executor<SessionTask<Self>>
        + hyper::rt::bounds::Http2ClientConnExec<crate::connection::RequestBody, Transport<Self::Io>>
        + Unpin
{
}

/// A [`Runtime`] that can run every task of the driver. Implemented for all that can.
#[cfg(not(feature = "http2"))]
pub trait Drive:
    crate::Host + Executor<H1Task<Self::Io>> + Executor<SessionTask<Self>> + Unpin
{
}

#[cfg(not(feature = "http2"))]
impl<R> Drive for R where
    R: crate::Host + Executor<H1Task<Self::Io>> + Executor<SessionTask<Self>> + Unpin
{
}
