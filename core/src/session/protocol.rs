//! Which session it is, and what the caller asked for.

use std::time::Instant;

use http::StatusCode;

use super::handshake::NotOffered;
use super::{Session, SessionOptions, Tunnel};
use crate::channel::{MAX_PORTS, Subprotocol};
use crate::{Error, Limits, PortForwardOperation};

/// Which streams of a process a session has.
///
/// ```
/// use kubewire::session::Streams;
/// let shell = Streams::new().stdin().stdout().tty();
/// assert!(shell.has_tty() && !shell.has_stderr());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent parameters of the API"
)]
pub struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    /// None yet. The server wants at least one of stdin, stdout and stderr.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stdin: false,
            stdout: false,
            stderr: false,
            tty: false,
        }
    }

    /// Input can be sent.
    #[must_use]
    pub const fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Output comes.
    #[must_use]
    pub const fn stdout(mut self) -> Self {
        self.stdout = true;
        self
    }

    /// Error output comes. With a terminal there is none: the terminal shows both on stdout.
    #[must_use]
    pub const fn stderr(mut self) -> Self {
        self.stderr = true;
        self
    }

    /// The process runs in a terminal, which can be resized.
    #[must_use]
    pub const fn tty(mut self) -> Self {
        self.tty = true;
        self
    }

    /// Whether input can be sent.
    #[must_use]
    pub const fn has_stdin(self) -> bool {
        self.stdin
    }

    /// Whether output comes.
    #[must_use]
    pub const fn has_stdout(self) -> bool {
        self.stdout
    }

    /// Whether error output comes on its own: it was asked for and there is no terminal.
    #[must_use]
    pub const fn has_stderr(self) -> bool {
        self.stderr && !self.tty
    }

    /// Whether the process runs in a terminal.
    #[must_use]
    pub const fn has_tty(self) -> bool {
        self.tty
    }
}

/// What the machine needs to know.
#[derive(Clone, Debug)]
#[expect(unnameable_types, reason = "only for the sealed trait")]
pub enum Plan {
    Exec(Streams),
    Attach(Streams),
    PortForward(Vec<u16>),
}

/// Closed to other crates: what a handshake needs to know.
#[expect(unnameable_types, reason = "seals `Offer`")]
pub trait Sealed: Sized {
    /// The header of the offer, in order of preference.
    const OFFER: &'static str;
    /// What the server can choose.
    type Chosen: Copy + std::fmt::Debug;
    /// What the machine is.
    type Machine;
    /// What the server chose, if it was offered.
    fn choose(name: &str) -> Option<Self::Chosen>;
    /// Starts the machine.
    fn start(
        self,
        chosen: Self::Chosen,
        options: &SessionOptions,
        limits: &Limits,
        now: Instant,
    ) -> Self::Machine;
}

/// Closed to other crates: what a session needs of its protocol.
#[expect(unnameable_types, reason = "seals `Protocol`")]
pub trait Planned {
    fn plan(&self) -> Plan;
}

/// What an [`Upgrade`](super::Upgrade) can offer to a server: the [`Protocol`]s of a [`Session`],
/// and [`PortForwardTunnel`].
///
/// Sealed: the four are all that Kubernetes has.
pub trait Offer: Sealed<Machine = <Self as Offer>::Session> {
    /// The machine for the connection, when the server accepts: a [`Session`] or a
    /// [`Tunnel`](super::Tunnel).
    type Session;
}

/// What a [`Session`] is about: [`Exec`], [`Attach`] or [`PortForward`].
///
/// Sealed, as [`Offer`] is.
pub trait Protocol: Offer<Session = Session<Self>> + Planned {}

/// Runs a command in a container: `pods/exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exec {
    streams: Streams,
}

impl Exec {
    /// A command with these streams.
    #[must_use]
    pub const fn new(streams: Streams) -> Self {
        Self { streams }
    }

    /// Its streams.
    #[must_use]
    pub const fn streams(&self) -> Streams {
        self.streams
    }
}

/// Attaches to the process that a container runs: `pods/attach`.
///
/// No exit code is ever told: the session ends with `Success` even if the container fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    streams: Streams,
}

impl Attach {
    /// These streams of the process.
    #[must_use]
    pub const fn new(streams: Streams) -> Self {
        Self { streams }
    }

    /// Its streams.
    #[must_use]
    pub const fn streams(&self) -> Streams {
        self.streams
    }
}

/// Connects to ports of a pod: `pods/portforward` with `v4.channel.k8s.io`.
///
/// Every entry is one TCP connection, made when the session starts. All of them share one
/// WebSocket without flow control of their own, and the end of one is not told while another is
/// open: take one session for each connection wherever that matters, or a [`PortForwardTunnel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    ports: Vec<u16>,
}

impl PortForward {
    /// A connection to each of these ports. The same port may stand there several times.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage) for no ports, more than
    /// [`MAX_PORTS`](crate::channel::MAX_PORTS), or port 0.
    pub fn new(ports: impl Into<Vec<u16>>) -> Result<Self, Error> {
        let ports = ports.into();
        if ports.is_empty() || ports.len() > MAX_PORTS {
            return Err(Error::usage(format!(
                "a port-forward session has 1 to {MAX_PORTS} ports, not {}",
                ports.len()
            )));
        }
        if ports.contains(&0) {
            return Err(Error::usage("there is no port 0"));
        }
        Ok(Self { ports })
    }

    /// The ports, in order of their index.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }
}

/// Connects to ports of a pod, any number of times: `pods/portforward` with
/// `SPDY/3.1+portforward.k8s.io`. The session is a [`Tunnel`].
///
/// Servers have this since Kubernetes 1.30, by default since 1.31. What else one may answer, and how
/// to tell: [`is_unsupported`](Self::is_unsupported).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortForwardTunnel;

impl PortForwardTunnel {
    /// The name in `Sec-WebSocket-Protocol`.
    pub const SUBPROTOCOL: &'static str = "SPDY/3.1+portforward.k8s.io";

    /// A tunnel. Ports are named when it is open.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Whether the error of a [`Handshake`](super::Handshake) means that the server, or something
    /// between, has no tunnels: use [`PortForward`], one session for each connection, instead.
    ///
    /// So it is with 400 and 403 that carry no `Status` (an older server finds no protocol that it
    /// knows, or no ports in the query), and a WebSocket for another protocol. Everything else, a
    /// pod that is not there or a user who may not, would be the same without a tunnel.
    ///
    /// ```
    /// use std::time::Instant;
    /// use http::Response;
    /// use kubewire::Limits;
    /// use kubewire::session::{PortForwardTunnel, Upgrade};
    ///
    /// let uri = "/api/v1/namespaces/a/pods/b/portforward".parse().unwrap();
    /// let upgrade = Upgrade::new(uri, PortForwardTunnel::new());
    /// let (_request, mut handshake) = upgrade.begin([7; 16], &Limits::default());
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// handshake.handle_head(&head)?;
    /// let error = handshake.finish(Instant::now()).unwrap_err();
    /// assert!(PortForwardTunnel::is_unsupported(&error));
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    #[must_use]
    pub fn is_unsupported(error: &Error) -> bool {
        let mistaken = matches!(
            error.code(),
            Some(StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
        );
        let other =
            std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<NotOffered>);
        other || (mistaken && error.status().is_none())
    }
}

/// Connects to ports of a pod through a tunnel. See
/// [`Api::port_forward_tunnel`](crate::Api::port_forward_tunnel).
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct PortForwardTunnelOperation {
    /// The same without a tunnel, and without ports.
    pub(crate) alone: PortForwardOperation,
}

impl Sealed for PortForwardTunnel {
    const OFFER: &'static str = Self::SUBPROTOCOL;
    type Chosen = ();
    type Machine = Tunnel;

    fn choose(name: &str) -> Option<()> {
        (name.trim() == Self::SUBPROTOCOL).then_some(())
    }

    fn start(self, (): (), options: &SessionOptions, limits: &Limits, now: Instant) -> Tunnel {
        Tunnel::new(options, limits, now)
    }
}

impl Offer for PortForwardTunnel {
    type Session = Tunnel;
}

/// v5 first, for closing stdin; servers before 1.30 take v4. One line, for servers look at the
/// first one only.
const OFFER_STREAMS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

macro_rules! protocol {
    ($type:ident, $offer:expr, $choose:expr, $self:ident => $plan:expr) => {
        impl Sealed for $type {
            const OFFER: &'static str = $offer;
            type Chosen = Subprotocol;
            type Machine = Session<Self>;

            fn choose(name: &str) -> Option<Subprotocol> {
                Subprotocol::from_header(name).filter($choose)
            }

            fn start(
                self,
                chosen: Subprotocol,
                options: &SessionOptions,
                limits: &Limits,
                now: Instant,
            ) -> Session<Self> {
                Session::new(self, chosen, options, limits, now)
            }
        }

        impl Planned for $type {
            fn plan(&$self) -> Plan {
                $plan
            }
        }

        impl Offer for $type {
            type Session = Session<Self>;
        }

        impl Protocol for $type {}
    };
}

protocol!(Exec, OFFER_STREAMS, |_| true, self => Plan::Exec(self.streams));
protocol!(Attach, OFFER_STREAMS, |_| true, self => Plan::Attach(self.streams));
protocol!(
    PortForward,
    Subprotocol::V4.as_str(),
    |&chosen| chosen == Subprotocol::V4,
    self => Plan::PortForward(self.ports.clone())
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn ports_are_checked() {
        for bad in [vec![], vec![0], vec![80, 0], vec![80; 128]] {
            let error = PortForward::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
        assert_eq!(PortForward::new(vec![80; 127]).unwrap().ports().len(), 127);
        assert_eq!(PortForward::new([65535, 1]).unwrap().ports(), [65535, 1]);
    }

    #[test]
    fn a_terminal_has_no_stderr() {
        let streams = Streams::new().stdout().stderr();
        assert!(streams.has_stderr());
        assert!(!streams.tty().has_stderr());
    }
}
