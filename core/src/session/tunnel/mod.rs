//! Port-forward through a tunnel: any number of connections over one WebSocket.

mod connection;
mod machine;
mod spdy;

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::link::Carry as _;
use super::{Outcome, SessionOptions};
use crate::{Error, ErrorKind, Limits};
use machine::Machine;

/// One connection of a [`Tunnel`]. It is never used again for another one of the same tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// How many connections the tunnel had before it.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a driver should look at next. See [`Tunnel::poll_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelEvent {
    /// A connection whose reader found nothing has data, or its end. Given once after each time that
    /// [`poll_data`](Tunnel::poll_data) found nothing, and for the first data.
    Readable(ConnectionId),
    /// A connection whose writer was turned away by [`send`](Tunnel::send) has room again, or takes
    /// nothing any more. Given once for each time.
    Writable(ConnectionId),
    /// A connection has a [`fault`](Tunnel::fault). The others go on.
    Failed(ConnectionId),
    /// The server takes no more connections ([`can_open`](Tunnel::can_open) is false); those that
    /// it has go on. Open another tunnel for the next.
    GoingAway,
    /// [`wants_input`](Tunnel::wants_input) is true again after connections were read.
    Resumed,
    /// There is an [`outcome`](Tunnel::outcome).
    Outcome,
    /// The tunnel [is closed](Tunnel::is_closed): drop the transport.
    Closed,
}

/// Why one connection of a [`Tunnel`] failed. The others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionFault {
    /// The node could not connect to the port, or lost the connection: this is what it says. At
    /// most [`Limits::max_error_body`] bytes of it were kept.
    Node(String),
    /// The server broke it off without a word, with this status of SPDY (5: cancelled).
    Reset(u32),
    /// The server was going away and has not looked at it: open it again over another tunnel.
    NotStarted,
    /// Nobody read it and others waited, see [`Unread::Reset`](super::Unread::Reset). What it held
    /// was thrown away.
    Stalled,
}

impl ConnectionFault {
    /// As an error.
    #[must_use]
    pub fn to_error(&self) -> Error {
        match self {
            Self::Node(text) => Error::new(ErrorKind::Transport, text.clone()),
            Self::Reset(status) => Error::new(
                ErrorKind::Truncated,
                format!("the server broke the connection off, with SPDY status {status}"),
            ),
            Self::NotStarted => Error::new(
                ErrorKind::Closed,
                "the server went away before it looked at the connection",
            ),
            Self::Stalled => Error::limit(
                "the connection was not read, and reset so that it does not hold up the others",
            ),
        }
    }
}

/// Connections to ports of a pod, opened at any time, over one WebSocket: a machine without IO.
///
/// It is used as a [`Session`](super::Session) is, with the same [round](super) and under the same
/// contract, but with connections instead of channels:
///
/// | of the connection | here |
/// |---|---|
/// | connect | [`open`](Self::open) |
/// | read | [`poll_data`](Self::poll_data), [`is_finished`](Self::is_finished), then [`error`](Self::error) |
/// | write | [`send`](Self::send) |
/// | half-close | [`finish`](Self::finish); see [the end of input](#the-end-of-input) |
/// | close one's ears | [`discard`](Self::discard) |
/// | close | [`release`](Self::release): has to be called for every connection in the end |
///
/// # Protocol
///
/// `SPDY/3.1+portforward.k8s.io` (KEP-4006): the bytes of an SPDY/3.1 connection (the draft of that
/// name, in the part that `moby/spdystream` implements) in binary messages, cut anywhere. For
/// connection `k` the client opens stream `4k + 1`, on which the node can say what went wrong, and
/// `4k + 3` for the data. Nothing waits for an answer: data may follow at once. The node connects
/// when both streams are there; if it cannot, that is a [`fault`](Self::fault) of this connection
/// only.
///
/// # The end of input
///
/// The protocol has a half-close in both directions, but nodes need not pass it on. containerd does not: the pod never
/// reads the end, and a second later its connection is closed. What the pod says within that second arrives; an answer that it
/// begins only at the end of its input does not. Protocols that say how long a message is (HTTP) do not notice.
///
/// # Flow control
///
/// SPDY/3.1 has windows, but servers of port-forward neither keep to them nor grant any, so a pod
/// can send as much on a connection as the WebSocket carries.
///
/// Each connection has a *credit* of four [`Limits::receive_window`] (4 MiB) that can wait unread,
/// and all connections together have sixteen (16 MiB). As long as that is enough, a connection that
/// is not read does not concern the others. When it is used up nothing is read from the transport
/// ([`wants_input`](Self::wants_input)), and [`Unread`](super::Unread) says what happens then: by
/// default the connection in the way is reset if another one waits for data and nobody has read it
/// for a second.
///
/// In the other direction a connection can have half of [`Limits::send_window`] waiting to be sent,
/// and all of them together the whole, or up to twice of it where many have little; they take turns
/// of 16 KiB. What has been sent is out of reach: when pods do not read it, servers hold some, and
/// then stop to read the connections that share a worker with it (every fifth), and then all.
///
/// # End
///
/// The end of one connection is [`is_finished`](Self::is_finished) for its reader, and
/// [`error`](Self::error) tells whether it was a clean one. For the tunnel, [`outcome`](Self::outcome)
/// is set once: [`Outcome::Ended`] if the server closed it while no connection had anything to come,
/// else `Aborted`.
///
/// # Examples
///
/// Two connections, one of which is refused, with the server's bytes made by hand:
///
/// ```
/// use std::time::Instant;
/// use kubewire::Limits;
/// use kubewire::session::{SessionOptions, Tunnel};
///
/// let now = Instant::now();
/// let mut tunnel = Tunnel::new(&SessionOptions::default(), &Limits::default(), now);
/// let web = tunnel.open(8080)?;
/// let none = tunnel.open(81)?;
/// assert_eq!(tunnel.send(web, b"GET / HTTP/1.0\r\n\r\n")?, 18);
/// tunnel.finish(web)?;
/// while let Some(bytes) = tunnel.poll_transmit() {
///     let written = bytes.len(); // socket.write(bytes)?
///     tunnel.transmitted(written);
/// }
///
/// // Stream 3 is the data of the first connection, stream 5 the errors of the second.
/// tunnel.handle_input(b"\x82\x0b\0\0\0\x03\0\0\0\x03200", now)?;
/// tunnel.handle_input(b"\x82\x08\0\0\0\x03\x01\0\0\0", now)?;
/// tunnel.handle_input(b"\x82\x0f\0\0\0\x05\x01\0\0\x07refused", now)?;
///
/// assert_eq!(tunnel.poll_data(web).as_deref(), Some(&b"200"[..]));
/// assert!(tunnel.is_finished(web) && tunnel.error(web).is_none());
/// assert!(tunnel.is_finished(none));
/// assert_eq!(tunnel.error(none).unwrap().to_string(), "refused");
///
/// tunnel.release(web);
/// tunnel.release(none);
/// assert_eq!(tunnel.connections(), 0);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Tunnel {
    machine: Machine,
}

impl Tunnel {
    /// A tunnel on a connection whose WebSocket handshake is done.
    ///
    /// [`Handshake::finish`](super::Handshake::finish) does this for
    /// [`PortForwardTunnel`](super::PortForwardTunnel); it is here for those who shake hands in
    /// another way.
    pub fn new(options: &SessionOptions, limits: &Limits, now: Instant) -> Self {
        Self {
            machine: Machine::new(options, limits, now),
        }
    }

    /// Opens a connection to a port of the pod. It can be used at once.
    ///
    /// # Errors
    ///
    /// [`Usage`](ErrorKind::Usage) for port 0; [`Closed`](ErrorKind::Closed) where
    /// [`can_open`](Self::can_open) is false.
    pub fn open(&mut self, port: u16) -> Result<ConnectionId, Error> {
        self.machine.open(port)
    }

    /// Whether connections can be opened: the tunnel has not ended, the server is not
    /// [going away](TunnelEvent::GoingAway), and there were fewer than 2^29 connections.
    #[must_use]
    pub fn can_open(&self) -> bool {
        self.machine.can_open()
    }

    /// How many connections are held: opened and not [released](Self::release).
    #[must_use]
    pub fn connections(&self) -> usize {
        self.machine.connections()
    }

    /// The port of a connection. `None` if it was released.
    #[must_use]
    pub fn port(&self, id: ConnectionId) -> Option<u16> {
        self.machine.port(id)
    }

    /// The next data of a connection, and frees that much of its credit. Chunks are as they came or
    /// joined; their bounds mean nothing. `None`: nothing now, or never again if
    /// [`is_finished`](Self::is_finished).
    pub fn poll_data(&mut self, id: ConnectionId) -> Option<Bytes> {
        self.machine.poll_data(id)
    }

    /// Whether a connection has been read to its end, or was released. Whether that end is the
    /// pod's, [`error`](Self::error) tells.
    #[must_use]
    pub fn is_finished(&self, id: ConnectionId) -> bool {
        self.machine.is_finished(id)
    }

    /// Why a connection failed by itself, if it did. It may come after the end of its data, and may
    /// be followed by a [`Node`](ConnectionFault::Node) that says more.
    #[must_use]
    pub fn fault(&self, id: ConnectionId) -> Option<&ConnectionFault> {
        self.machine.fault(id)
    }

    /// What to report at the end of a connection: its [`fault`](Self::fault), or that the tunnel
    /// ended under it. `None` while it goes on, and for a clean end.
    #[must_use]
    pub fn error(&self, id: ConnectionId) -> Option<Error> {
        self.machine.error(id)
    }

    /// Accepts data to send, as much as there is room for, and tells how much that was. If it was
    /// not all, send the rest after [`TunnelEvent::Writable`]. Empty data does nothing.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) after the connection or the tunnel ended, or
    /// [`finish`](Self::finish); [`Usage`](ErrorKind::Usage) if it was released.
    pub fn send(&mut self, id: ConnectionId, data: &[u8]) -> Result<usize, Error> {
        self.machine.send(id, data)
    }

    /// Ends what this side sends, after what was accepted: the pod reads the end and can go on to
    /// write. Again, or after the end of the connection, it does nothing.
    ///
    /// # Errors
    ///
    /// [`Usage`](ErrorKind::Usage) if it was released.
    pub fn finish(&mut self, id: ConnectionId) -> Result<(), Error> {
        self.machine.finish(id)
    }

    /// Throws away what a connection holds and what will come on it, for its reader is gone. It can
    /// still be sent on; after [`finish`](Self::finish) the pod's side is broken off.
    pub fn discard(&mut self, id: ConnectionId) {
        self.machine.discard(id);
    }

    /// Gives a connection up, for nobody holds it any more. What was accepted is still sent; then
    /// it is broken off, unless both sides had finished. One of which nothing was sent yet, and
    /// nothing accepted, leaves no trace. Forgets everything about it.
    pub fn release(&mut self, id: ConnectionId) {
        self.machine.release(id);
    }

    /// Takes bytes from the transport, all of them, cut anywhere. Those that came together with the
    /// answer to the upgrade are the first. Bytes after the end are ignored.
    ///
    /// # Errors
    ///
    /// [`Peer`](ErrorKind::Peer) if the server broke the rules of WebSocket or SPDY,
    /// [`Limit`](ErrorKind::Limit) if a message was longer than [`Limits::max_message`]. It is in
    /// the outcome too, if there was none, and repeats. What came before the fault can be read. A
    /// close frame with the reason waits in [`poll_transmit`](Self::poll_transmit).
    pub fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        self.machine.handle_input(bytes, now)
    }

    /// The transport came to its end: nothing more can be read. The tunnel is closed.
    pub fn handle_end(&mut self) {
        self.machine.handle_end();
    }

    /// The transport failed, in reading or in writing. The tunnel is closed.
    pub fn handle_error(&mut self, error: Error) {
        self.machine.handle_error(error);
    }

    /// Whether to read from the transport now. If not, leave the bytes in the kernel; look again
    /// after connections were read ([`TunnelEvent::Resumed`]).
    ///
    /// Bytes that were read all the same can be handed in; they are held on top of the credit.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.machine.wants_input()
    }

    /// What to look at next. Events are hints that wait in flags, so they are bounded even if
    /// nobody asks; a program with one task may ignore all of them.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        self.machine.poll_event()
    }

    /// How the tunnel ended. Once set it never changes.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.machine.link().outcome()
    }

    /// What to write to the transport next. It stays the same until
    /// [`transmitted`](Self::transmitted), so a write that was partial or cancelled is harmless.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        self.machine.poll_transmit()
    }

    /// The transport took the first `n` bytes.
    pub fn transmitted(&mut self, n: usize) {
        self.machine.transmitted(n);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before. It may get
    /// earlier, even be in the past, when [`poll_data`](Self::poll_data) finds nothing and when a
    /// connection is opened: look again after those.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Time has passed. Too early does nothing, and late is made up for.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    /// Starts to close: what was accepted is sent, then a close with code 1000, and the tunnel
    /// [is closed](Self::is_closed) when the server answers or
    /// [`close_timeout`](SessionOptions::close_timeout) has passed.
    ///
    /// What connections hold can still be read; data that comes from now on is dropped.
    pub fn close(&mut self, now: Instant) {
        self.machine.close(now);
    }

    /// Whether the tunnel is over: nothing is to be written, read or waited for. Data that was
    /// received can still be polled.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.machine.link().is_done()
    }

    /// How many bytes are held, in all queues and in both directions.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.machine.buffered()
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}
