//! Which session it is, and what the caller asked for.

use crate::Error;
use crate::channel::{MAX_PORTS, Subprotocol};

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

/// Closed to other crates: what a session needs of its protocol.
#[expect(unnameable_types, reason = "seals `Protocol`")]
pub trait Sealed {
    /// The header of the offer, in order of preference.
    const OFFER: &'static str;
    fn accepts(subprotocol: Subprotocol) -> bool;
    fn plan(&self) -> Plan;
}

/// What a [`Session`](super::Session) is about: [`Exec`], [`Attach`] or [`PortForward`].
///
/// Sealed: the three are all that Kubernetes has.
pub trait Protocol: Sealed {}

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
/// open: take one session for each connection wherever that matters.
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

/// v5 first, for closing stdin; servers before 1.30 take v4. One line, for servers look at the
/// first one only.
const OFFER_STREAMS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

impl Sealed for Exec {
    const OFFER: &'static str = OFFER_STREAMS;

    fn accepts(_: Subprotocol) -> bool {
        true
    }

    fn plan(&self) -> Plan {
        Plan::Exec(self.streams)
    }
}

impl Sealed for Attach {
    const OFFER: &'static str = OFFER_STREAMS;

    fn accepts(_: Subprotocol) -> bool {
        true
    }

    fn plan(&self) -> Plan {
        Plan::Attach(self.streams)
    }
}

impl Sealed for PortForward {
    const OFFER: &'static str = Subprotocol::V4.as_str();

    fn accepts(subprotocol: Subprotocol) -> bool {
        subprotocol == Subprotocol::V4
    }

    fn plan(&self) -> Plan {
        Plan::PortForward(self.ports.clone())
    }
}

impl Protocol for Exec {}
impl Protocol for Attach {}
impl Protocol for PortForward {}

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
