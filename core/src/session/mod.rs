//! Sessions over an upgraded connection: `exec`, `attach` and `port-forward`.
//!
//! Three values, in this order:
//!
//! 1. [`Upgrade`]: the request, and what the caller asked for.
//! 2. [`Handshake`]: takes the answer. A refusal becomes an [`Error`] with its HTTP code and
//!    `Status`.
//! 3. [`Session`]: takes the bytes of the connection and gives data, an [`Outcome`], and bytes. For
//!    port-forward there is also [`Tunnel`], which opens connections at any time.
//!
//! Nothing here does IO or reads a clock. A driver's round is: `now`; [`handle_timeout`] if
//! [`poll_timeout`] has passed; write what [`poll_transmit`] gives, as much as the transport takes;
//! read once if [`wants_input`], and [`handle_input`]; drain [`poll_event`]. Wait only when a round
//! changed nothing; stop when [`is_closed`]. After an error of `handle_input` go on as before: the
//! close frame is still to be written.
//!
//! [`handle_timeout`]: Session::handle_timeout
//! [`poll_timeout`]: Session::poll_timeout
//! [`poll_transmit`]: Session::poll_transmit
//! [`wants_input`]: Session::wants_input
//! [`handle_input`]: Session::handle_input
//! [`poll_event`]: Session::poll_event
//! [`is_closed`]: Session::is_closed

mod handshake;
mod inbox;
mod link;
mod machine;
mod options;
mod outbox;
mod outcome;
mod protocol;
mod queue;
mod timers;
mod tunnel;

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;

pub use handshake::{Answer, Handshake, Upgrade};
pub use options::{Overflow, SessionOptions, Unread};
pub use outcome::{Abort, Outcome, Timeout};
pub use protocol::{
    Attach, Exec, Offer, PortForward, PortForwardTunnel, PortForwardTunnelOperation, Protocol,
    Streams,
};
pub use tunnel::{ConnectionFault, ConnectionId, Tunnel, TunnelEvent};

use crate::channel::Subprotocol;
use crate::{Error, Limits};
use link::Carry as _;
use machine::Machine;

/// What a driver should look at next. See [`Session::poll_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first message came: the server has connected the streams. (For port-forward not the
    /// ports: it tells of them before it connects.)
    Opened,
    /// A channel whose reader found nothing has data, or its end. Given once after each time that
    /// [`poll_data`](Session::poll_data) found nothing, and for the first data.
    Readable(u8),
    /// A channel whose writer was turned away by [`send`](Session::send) has room again, at least
    /// half of its window, or takes nothing any more. Given once for each time.
    Writable(u8),
    /// [`wants_input`](Session::wants_input) is true again after a full channel was read.
    Resumed,
    /// Port-forward: the connection with this index has failed, see
    /// [`port_error`](Session::port_error). The others go on.
    PortFailed(u8),
    /// There is an [`outcome`](Session::outcome).
    Outcome,
    /// The session [is closed](Session::is_closed): drop the transport.
    Closed,
}

/// An exec, attach or port-forward session: a machine without IO.
///
/// # Channels
///
/// For [`Exec`] and [`Attach`] a channel is its number on the wire:
/// [`STDIN`](crate::channel::STDIN), [`STDOUT`](crate::channel::STDOUT) and
/// [`STDERR`](crate::channel::STDERR); the others are handled here. For [`PortForward`] it is the
/// index of the port in the request, from 0. A channel that does not exist, or was not asked for, is
/// finished from the start.
///
/// # Bounds
///
/// Each channel holds at most [`Limits::receive_window`] and one message; then
/// [`wants_input`](Self::wants_input) becomes false and nothing should be read, so that TCP slows
/// the server down ([`Overflow`] has another policy). [`Limits::send_window`] is shared evenly
/// among the channels that can be sent on; up to 96 KiB more wait as frames.
/// [`buffered`](Self::buffered) tells the sum.
///
/// # End
///
/// [`outcome`](Self::outcome) is set once, and always: by the status, or by whatever ended the
/// session without one. Data may come after the status. Readers are at their end when
/// [`is_finished`](Self::is_finished); whether that end is a clean one, the outcome tells.
///
/// # Examples
///
/// `exec` of `sh -c 'read name; echo "hi $name"; exit 3'`, with the server's bytes made by hand:
///
/// ```
/// use std::time::Instant;
/// use kubewire::Limits;
/// use kubewire::channel::{STDIN, STDOUT, Subprotocol};
/// use kubewire::session::{Exec, Outcome, Session, SessionOptions, Streams};
///
/// let now = Instant::now();
/// let exec = Exec::new(Streams::new().stdin().stdout());
/// let mut session =
///     Session::new(exec, Subprotocol::V5, &SessionOptions::default(), &Limits::default(), now);
///
/// assert_eq!(session.send(STDIN, b"world\n")?, 6);
/// session.finish(STDIN)?;
/// while let Some(bytes) = session.poll_transmit() {
///     let written = bytes.len(); // socket.write(bytes)?
///     session.transmitted(written);
/// }
///
/// session.handle_input(b"\x82\x01\x01", now)?;             // stdout is connected
/// session.handle_input(b"\x82\x0a\x01hi world\n", now)?;   // stdout
/// assert_eq!(session.poll_data(STDOUT).as_deref(), Some(&b"hi world\n"[..]));
///
/// let status = br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
/// session.handle_input(&[0x82, 1 + status.len() as u8, 3], now)?;
/// session.handle_input(status, now)?;
/// session.handle_input(b"\x88\x02\x03\xe8", now)?;         // close 1000
///
/// assert!(matches!(session.outcome(), Some(Outcome::Exited(3))));
/// assert!(session.is_finished(STDOUT));
/// assert!(session.send(STDIN, b"more").is_err());
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Session<P: Protocol> {
    machine: Machine,
    protocol: P,
}

impl<P: Protocol> Session<P> {
    /// A session on a connection whose WebSocket handshake is done.
    ///
    /// [`Handshake::finish`] does this; it is here for those who shake hands in another way.
    pub fn new(
        protocol: P,
        subprotocol: Subprotocol,
        options: &SessionOptions,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        Self {
            machine: Machine::new(protocol.plan(), subprotocol, options, limits, now),
            protocol,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The version that the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Subprotocol {
        self.machine.subprotocol()
    }

    /// Takes bytes from the transport, all of them, cut anywhere. Those that came together with the
    /// answer to the upgrade are the first. Reads of 16 to 64 KiB are best.
    ///
    /// Bytes after the end of the session are ignored.
    ///
    /// # Errors
    ///
    /// [`Peer`](crate::ErrorKind::Peer) if the server broke the rules of WebSocket or channels,
    /// [`Limit`](crate::ErrorKind::Limit) if a message was longer than [`Limits::max_message`]. It
    /// is in the outcome too, if there was none, and repeats. What came before the fault can be
    /// read. A close frame with the reason waits in [`poll_transmit`](Self::poll_transmit).
    pub fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        self.machine.handle_input(bytes, now)
    }

    /// The transport came to its end: nothing more can be read. The session is closed.
    pub fn handle_end(&mut self) {
        self.machine.handle_end();
    }

    /// The transport failed, in reading or in writing. The session is closed.
    pub fn handle_error(&mut self, error: Error) {
        self.machine.handle_error(error);
    }

    /// Whether to read from the transport now. If not, leave the bytes in the kernel; look again
    /// after channels were read ([`Event::Resumed`]).
    ///
    /// Bytes that were read all the same can be handed in; they are held on top of the window.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.machine.wants_input()
    }

    /// The next data of a channel, and frees that much of its window. Chunks are as they came or
    /// joined; their bounds mean nothing. `None`: nothing now, or never again if
    /// [`is_finished`](Self::is_finished).
    pub fn poll_data(&mut self, channel: u8) -> Option<Bytes> {
        self.machine.poll_data(usize::from(channel))
    }

    /// Whether a channel has been read to its end.
    #[must_use]
    pub fn is_finished(&self, channel: u8) -> bool {
        self.machine.is_finished(usize::from(channel))
    }

    /// Whether data of a channel was dropped because of [`Overflow::Drop`].
    #[must_use]
    pub fn truncated(&self, channel: u8) -> bool {
        self.machine.is_truncated(usize::from(channel))
    }

    /// Throws away what a channel holds and what will come on it, for its reader is gone. It never
    /// holds up the others again.
    pub fn discard(&mut self, channel: u8) {
        self.machine.discard(usize::from(channel));
    }

    /// Sets what happens when one channel is not read.
    pub fn set_overflow(&mut self, channel: u8, overflow: Overflow) {
        self.machine.set_overflow(usize::from(channel), overflow);
    }

    /// What to look at next. Events are hints that wait in flags, so they are bounded even if
    /// nobody asks; a program with one task may ignore all of them.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.machine.poll_event()
    }

    /// How it ended. Once set it never changes.
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

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Time has passed. Too early does nothing, and late is made up for.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    /// Accepts data to send, as much as the window has room for, and tells how much that was. If it
    /// was not all, send the rest after [`Event::Writable`]. Empty data does nothing (it is no end
    /// of input).
    ///
    /// A process that exits with more than about 128 KiB of input unread may never be reported, by
    /// any version of the protocol: such sessions need a deadline.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) after the process or connection ended, or
    /// [`finish`](Self::finish), or [`close`](Self::close); [`Usage`](crate::ErrorKind::Usage) if the
    /// channel takes no data or stdin was not asked for.
    pub fn send(&mut self, channel: u8, data: &[u8]) -> Result<usize, Error> {
        self.machine.send(channel, data)
    }

    /// Ends the input of the process, after what was accepted. Again, or after the end of the
    /// session, it does nothing.
    ///
    /// On [`Attach`] the server then ends the whole session with success while the container goes
    /// on, unless that was made with `stdinOnce`.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage), and nothing is sent, where the protocol has no such
    /// thing: `v4.channel.k8s.io` (servers before 1.30, and all of port-forward), and terminals,
    /// where the input would be shut for good without the process seeing an end: send byte `0x04`.
    pub fn finish(&mut self, channel: u8) -> Result<(), Error> {
        self.machine.finish(channel)
    }

    /// Tells the size of the terminal, in characters. Of sizes that were not sent yet only the last
    /// one is; it goes ahead of data.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage) without a terminal (v5 servers stop to read when they get
    /// sizes without one) or if a side is 0; [`Closed`](crate::ErrorKind::Closed) after the end.
    pub fn resize(&mut self, width: u16, height: u16) -> Result<(), Error> {
        self.machine.resize(width, height)
    }

    /// Starts to close: what was accepted is sent, then a close with code 1000, and the session
    /// [is closed](Self::is_closed) when the server answers or
    /// [`close_timeout`](SessionOptions::close_timeout) has passed.
    ///
    /// What channels hold can still be read; data that comes from now on is dropped. A process
    /// goes on without input: it is not killed.
    pub fn close(&mut self, now: Instant) {
        self.machine.close(now);
    }

    /// Whether the session is over: nothing is to be written, read or waited for. Data that was
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

impl Session<PortForward> {
    /// Why the connection with this index failed, in the words of the node, if it did. At most
    /// [`Limits::max_error_body`] of it is kept.
    #[must_use]
    pub fn port_error(&self, index: u8) -> Option<Cow<'_, str>> {
        self.machine.port_error(usize::from(index))
    }
}

impl<P: Protocol> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}
