//! The conversation that makes a connection to a proxy one to a server.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::connect::Connect;
use super::socks5::Socks5;
use super::{Proxy, ProxyScheme};
use crate::{Error, ErrorKind};

/// Asks a proxy for a tunnel, as a machine: with the `CONNECT` of HTTP/1.1 (RFC 9110, section 9.3.6), or by SOCKS version 5
/// (RFC 1928, RFC 1929).
///
/// Names are sent as names, for the proxy to resolve.
///
/// ```
/// use kubewire::proxy::{Proxy, ProxyHandshake};
///
/// let proxy = Proxy::parse("http://me:hunter2@proxy.example")?;
/// let mut handshake = ProxyHandshake::new(&proxy, "fd00::1", 6443)?;
/// let request = handshake.poll_transmit().unwrap().to_vec();
/// assert_eq!(String::from_utf8_lossy(&request), "\
///     CONNECT [fd00::1]:6443 HTTP/1.1\r\n\
///     Host: [fd00::1]:6443\r\n\
///     Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\
///     \r\n");
/// handshake.transmitted(request.len());
///
/// handshake.handle_input(b"HTTP/1.1 200 Connection esta")?;
/// assert!(handshake.wants_input());
/// handshake.handle_input(b"blished\r\n\r\nearly")?;
/// assert!(handshake.is_done() && !handshake.wants_input());
/// assert_eq!(handshake.take_leftover(), "early");
///
/// let mut handshake = ProxyHandshake::new(&Proxy::parse("socks5://me:pw@proxy.example")?, "api.example", 6443)?;
/// for (sends, answer) in [
///     (&b"\x05\x02\x00\x02"[..], &b"\x05\x02"[..]),
///     (b"\x01\x02me\x02pw", b"\x01\x00"),
///     (b"\x05\x01\x00\x03\x0bapi.example\x19\x2b", b"\x05\x00\x00\x01\0\0\0\0\0\0early"),
/// ] {
///     assert_eq!(handshake.poll_transmit().unwrap(), sends);
///     handshake.transmitted(sends.len());
///     assert!(handshake.poll_transmit().is_none());
///     handshake.handle_input(answer)?;
/// }
/// assert_eq!(handshake.take_leftover(), "early");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct ProxyHandshake {
    conversation: Conversation,
    output: Zeroizing<Vec<u8>>,
    transmitted: usize,
    /// What came and is not yet understood; after the end, what belongs to the tunnel.
    input: Vec<u8>,
}

enum Conversation {
    Connect(Connect),
    Socks5(Socks5),
    Open,
    Failed(Error),
}

/// What one answer of the proxy means.
pub(super) enum Step {
    /// It has not all come yet.
    Wait,
    /// There may be another.
    Again,
    /// It wants to be told this.
    Send(Zeroizing<Vec<u8>>),
    /// The tunnel stands.
    Open,
}

impl ProxyHandshake {
    /// A tunnel through this proxy, once a connection to it stands (and TLS, if its scheme is
    /// [`https`](ProxyScheme::Https)). An IPv6 address is without brackets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the host is none, for SOCKS also if it is longer than 255 bytes;
    /// [`ErrorKind::Config`] for credentials that [no header can carry](super::ProxyCredentials::basic), for SOCKS if user
    /// name or password are longer than 255 bytes or the user name is empty.
    pub fn new(proxy: &Proxy, host: &str, port: u16) -> Result<Self, Error> {
        let (conversation, output) = match proxy.scheme() {
            ProxyScheme::Http | ProxyScheme::Https => {
                let (connect, output) = Connect::new(host, port, proxy.credentials())?;
                (Conversation::Connect(connect), output)
            }
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
                let (socks, output) = Socks5::new(host, port, proxy.credentials())?;
                (Conversation::Socks5(socks), output)
            }
        };
        Ok(Self {
            conversation,
            output,
            transmitted: 0,
            input: Vec::new(),
        })
    }

    /// Bytes for the proxy. Write some, and say how many.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        if matches!(self.conversation, Conversation::Failed(_)) {
            return None;
        }
        let rest = self.output.get(self.transmitted..)?;
        (!rest.is_empty()).then_some(rest)
    }

    /// So many bytes of [`poll_transmit`](Self::poll_transmit) were written.
    pub fn transmitted(&mut self, n: usize) {
        self.transmitted = self.transmitted.saturating_add(n).min(self.output.len());
    }

    /// Whether bytes from the proxy are wanted.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        matches!(
            self.conversation,
            Conversation::Connect(_) | Conversation::Socks5(_)
        )
    }

    /// Bytes from the proxy. Once the tunnel stands, more bytes are added to what is left over.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Transport`] if the proxy did not connect, [`ErrorKind::Credentials`] if it does not let us in, with a
    ///   [`ConnectRefused`](super::ConnectRefused) or a [`Socks5Refused`](super::Socks5Refused) as its source.
    /// - [`ErrorKind::Peer`] if this is no HTTP or no SOCKS5, and [`ErrorKind::Limit`] if a head is longer than 64 KiB.
    ///
    /// It repeats.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Conversation::Failed(error) = &self.conversation {
            return Err(error.clone());
        }
        self.input.extend_from_slice(bytes);
        loop {
            let step = match &mut self.conversation {
                Conversation::Connect(connect) => connect.step(&mut self.input),
                Conversation::Socks5(socks) => socks.step(&mut self.input),
                Conversation::Open | Conversation::Failed(_) => return Ok(()),
            };
            match step {
                Ok(Step::Wait) => return Ok(()),
                Ok(Step::Again) => {}
                Ok(Step::Send(bytes)) => {
                    // An answer may have come before all of the question was written.
                    let rest = self.output.get(self.transmitted..).unwrap_or_default();
                    self.output = Zeroizing::new([rest, bytes.as_slice()].concat());
                    self.transmitted = 0;
                }
                Ok(Step::Open) => self.conversation = Conversation::Open,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// The proxy ended the connection, or the time is up.
    ///
    /// # Errors
    ///
    /// A refusal as far as it has come, or [`ErrorKind::Truncated`]. There is none if the tunnel stands.
    pub fn handle_end(&mut self) -> Result<(), Error> {
        let refusal = match &self.conversation {
            Conversation::Open => return Ok(()),
            Conversation::Failed(error) => return Err(error.clone()),
            Conversation::Connect(connect) => connect.cut_off(&self.input),
            Conversation::Socks5(_) => None,
        };
        self.fail(refusal.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Truncated,
                "the proxy ended the connection before it answered",
            )
        }))
    }

    /// Whether the tunnel stands.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.conversation, Conversation::Open)
    }

    /// What the server has sent through the tunnel already, to be read before anything else. Empty
    /// before there is a tunnel.
    pub fn take_leftover(&mut self) -> Bytes {
        if self.is_done() {
            std::mem::take(&mut self.input).into()
        } else {
            Bytes::new()
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len() + self.output.len().saturating_sub(self.transmitted)
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.input = Vec::new();
        self.output = Zeroizing::default();
        self.conversation = Conversation::Failed(error.clone());
        Err(error)
    }
}

impl fmt::Debug for ProxyHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.conversation {
            Conversation::Connect(connect) => connect,
            Conversation::Socks5(_) => &"SOCKS5",
            Conversation::Open => &"open",
            Conversation::Failed(error) => error,
        };
        f.debug_struct("ProxyHandshake")
            .field("state", state)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
