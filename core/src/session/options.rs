//! Deadlines and policies of a session.

use std::time::Duration;

/// What to do when a channel is not read and its window is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Read no more from the transport until there is room: nothing is lost, and the process is
    /// slowed down. As all channels share one connection without flow control of their own, the
    /// others wait too, so every channel must be read or
    /// [discarded](super::Session::discard).
    #[default]
    Backpressure,
    /// End the channel where the window is full, drop the rest of it, and set
    /// [`truncated`](super::Session::truncated). The other channels and the outcome are not held up.
    Drop,
}

/// What a [`Tunnel`](super::Tunnel) does about a connection that is not read.
///
/// SPDY/3.1 has windows for each stream, but no server of port-forward keeps to them: what a pod
/// sends on one connection comes in between the others, whether anybody reads it or not. As long
/// as it fits in the [credit](super::Tunnel#flow-control) of the connection nobody notices. After
/// that there are two things to choose from, and none is without a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unread {
    /// Read no more from the transport; and if then, for this long, nobody takes anything of the
    /// connection that is in the way while another one waits for data, reset that connection with
    /// [`Stalled`](super::ConnectionFault::Stalled). So no connection is held up for longer than
    /// this by one that nobody reads, and no reader that goes on, however slowly, loses anything.
    /// Where no other connection waits it is the same as [`Backpressure`](Self::Backpressure).
    Reset {
        /// How long. The default is one second.
        after: Duration,
    },
    /// Read no more from the transport until there is room: nothing is ever lost, and one
    /// connection that is not read stops all of them.
    Backpressure,
}

impl Default for Unread {
    fn default() -> Self {
        Self::Reset {
            after: Duration::from_secs(1),
        }
    }
}

/// Deadlines and policies of a session.
///
/// A duration of 0 is taken as one millisecond.
///
/// ```
/// use std::time::Duration;
/// use kubewire::session::{Overflow, SessionOptions};
///
/// let options = SessionOptions::default()
///     .idle_timeout(Duration::from_secs(600))
///     .overflow(Overflow::Drop);
/// assert_eq!(options.ping_interval, Some(Duration::from_secs(20)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How often to ping, if at all. Default 20 s. Servers do not ping, and load balancers end
    /// connections that are silent.
    pub ping_interval: Option<Duration>,
    /// How long the server may be silent before the session is
    /// [aborted](super::Timeout::Pong). Default 60 s; any byte counts as a sign of life. Only used
    /// while there are pings, never shorter than two of their intervals, and suspended while the
    /// session itself [does not read](super::Session::wants_input).
    ///
    /// A server answers pings only while it reads, and it stops to read while a process does not
    /// take its input. Raise this, or switch it off, to send much input to slow processes.
    pub pong_timeout: Option<Duration>,
    /// How long no data may move in either direction before the session is
    /// [closed](super::Timeout::Idle). Default none; servers have a limit of 4 h. What is sent
    /// counts from the next [`handle_timeout`](super::Session::handle_timeout), so the session may
    /// end up to one ping interval late. Suspended as `pong_timeout` is.
    pub idle_timeout: Option<Duration>,
    /// How long the session may last before it is [closed](super::Timeout::Total). Default none.
    pub total_timeout: Option<Duration>,
    /// How long closing may take: for what was accepted to be written and the server to answer.
    /// Also how long to wait, after the status, for more data or the server's close. Default 5 s.
    pub close_timeout: Duration,
    /// What to do when a channel is not read. Default [`Overflow::Backpressure`]. Not for tunnels.
    pub overflow: Overflow,
    /// What a tunnel does when a connection is not read. Default [`Unread::Reset`] after a second.
    pub unread: Unread,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Some(Duration::from_mins(1)),
            idle_timeout: None,
            total_timeout: None,
            close_timeout: Duration::from_secs(5),
            overflow: Overflow::Backpressure,
            unread: Unread::default(),
        }
    }
}

impl SessionOptions {
    /// Sets [`ping_interval`](#structfield.ping_interval); `None` for no pings.
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into();
        self
    }

    /// Sets [`pong_timeout`](#structfield.pong_timeout); `None` to wait for ever.
    #[must_use]
    pub fn pong_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pong_timeout = timeout.into();
        self
    }

    /// Sets [`idle_timeout`](#structfield.idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets [`total_timeout`](#structfield.total_timeout).
    #[must_use]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.total_timeout = timeout.into();
        self
    }

    /// Sets [`close_timeout`](#structfield.close_timeout).
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets [`overflow`](#structfield.overflow) for every channel.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
    /// Sets [`unread`](#structfield.unread).
    #[must_use]
    pub fn unread(mut self, unread: Unread) -> Self {
        self.unread = unread;
        self
    }
}
