//! SOCKS version 5 (RFC 1928, RFC 1929).

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::ProxyCredentials;
use super::address::is_host;
use crate::{Error, ErrorKind};

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;

/// Why a SOCKS proxy did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Socks5Reply {
    /// 1: general failure.
    Failure,
    /// 2: the proxy's rules do not allow it.
    NotAllowed,
    /// 3: the network cannot be reached.
    NetworkUnreachable,
    /// 4: the host cannot be reached, or has no address.
    HostUnreachable,
    /// 5: the host refused the connection.
    Refused,
    /// 6: it took too long.
    Expired,
    /// 7: the proxy does not know the command.
    CommandNotSupported,
    /// 8: the proxy does not know the type of the address.
    AddressNotSupported,
    /// A code that no standard knows.
    Other(u8),
}

impl Socks5Reply {
    fn new(code: u8) -> Self {
        match code {
            1 => Self::Failure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::Refused,
            6 => Self::Expired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressNotSupported,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Socks5Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failure => "general failure",
            Self::NotAllowed => "not allowed by its rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::Refused => "connection refused",
            Self::Expired => "it took too long",
            Self::CommandNotSupported => "command not supported",
            Self::AddressNotSupported => "address type not supported",
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}

/// What a SOCKS proxy refused. It is the [source](std::error::Error::source) of the error.
///
/// ```
/// use kubewire::proxy::{Socks5, Socks5Refused, Socks5Reply};
///
/// let mut socks = Socks5::new("api.example", 443, None)?;
/// let error = socks.handle_input(b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0").unwrap_err();
/// assert_eq!(error.to_string(), "the proxy did not connect: connection refused");
/// let source = std::error::Error::source(&error).unwrap();
/// assert_eq!(source.downcast_ref(), Some(&Socks5Refused::Connect(Socks5Reply::Refused)));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Socks5Refused {
    /// It wants us to log in, and in no way that we could.
    Method,
    /// It does not accept the user name and password.
    Login,
    /// It did not connect.
    Connect(Socks5Reply),
}

impl fmt::Display for Socks5Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("the proxy accepts no way to log in that is at hand"),
            Self::Login => f.write_str("the proxy does not accept the user name and password"),
            Self::Connect(reply) => write!(f, "the proxy did not connect: {reply}"),
        }
    }
}

impl std::error::Error for Socks5Refused {}

impl Socks5Refused {
    fn into_error(self) -> Error {
        let kind = match self {
            Self::Method | Self::Login => ErrorKind::Credentials,
            Self::Connect(_) => ErrorKind::Transport,
        };
        Error::new(kind, self.to_string()).with_source(self)
    }
}

/// Asks a SOCKS5 proxy for a tunnel, as a machine.
///
/// A name is sent as a name, for the proxy to resolve. With credentials, logging in is offered and
/// left to the proxy; without, only going without.
///
/// ```
/// use kubewire::proxy::{ProxyCredentials, Socks5};
///
/// let login = ProxyCredentials::new("me", "pw");
/// let mut socks = Socks5::new("api.example", 6443, Some(&login))?;
/// for (sends, answer) in [
///     (&b"\x05\x02\x00\x02"[..], &b"\x05\x02"[..]),
///     (b"\x01\x02me\x02pw", b"\x01\x00"),
///     (b"\x05\x01\x00\x03\x0bapi.example\x19\x2b", b"\x05\x00\x00\x01\0\0\0\0\0\0early"),
/// ] {
///     assert_eq!(socks.poll_transmit().unwrap(), sends);
///     socks.transmitted(sends.len());
///     assert!(socks.poll_transmit().is_none());
///     socks.handle_input(answer)?;
/// }
/// assert!(socks.is_done());
/// assert_eq!(socks.take_leftover(), "early");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Socks5 {
    /// What is to be sent in this state.
    output: Zeroizing<Vec<u8>>,
    transmitted: usize,
    input: Vec<u8>,
    login: Option<Zeroizing<Vec<u8>>>,
    connect: Vec<u8>,
    state: State,
}

enum State {
    Method,
    Login,
    Reply,
    Open,
    Failed(Error),
}

impl Socks5 {
    /// A tunnel to this host. An IPv6 address is without brackets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the host is none or longer than 255 bytes; [`ErrorKind::Config`] if
    /// user name or password are longer than that, or the user name is empty.
    pub fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<Self, Error> {
        let mut connect = vec![VERSION, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                connect.push(1);
                connect.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                connect.push(4);
                connect.extend_from_slice(&address.octets());
            }
            Err(_) => {
                let len = u8::try_from(host.len())
                    .ok()
                    .filter(|_| is_host(host))
                    .ok_or_else(|| Error::usage("the host to reach through the proxy is none"))?;
                connect.extend_from_slice(&[3, len]);
                connect.extend_from_slice(host.as_bytes());
            }
        }
        connect.extend_from_slice(&port.to_be_bytes());
        let login = credentials.map(login).transpose()?;
        let methods: &[u8] = match login {
            Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
            None => &[VERSION, 1, NO_LOGIN],
        };
        Ok(Self {
            output: Zeroizing::new(methods.to_vec()),
            transmitted: 0,
            input: Vec::new(),
            login,
            connect,
            state: State::Method,
        })
    }

    /// Bytes for the proxy. Write some, and say how many.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        if matches!(self.state, State::Failed(_)) {
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
        matches!(self.state, State::Method | State::Login | State::Reply)
    }

    /// Bytes from the proxy. Once the tunnel stands, more bytes are added to what is left over.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Transport`] if the proxy did not connect, [`ErrorKind::Credentials`] if it does
    ///   not let us in, both with a [`Socks5Refused`] as their source.
    /// - [`ErrorKind::Peer`] if this is no SOCKS5.
    ///
    /// It repeats.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.input.extend_from_slice(bytes);
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// The proxy ended the connection, or the time is up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Truncated`], unless the tunnel stands.
    pub fn handle_end(&mut self) -> Result<(), Error> {
        match &self.state {
            State::Open => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Method | State::Login | State::Reply => self.fail(Error::new(
                ErrorKind::Truncated,
                "the proxy ended the connection before it answered",
            )),
        }
    }

    /// Whether the tunnel stands.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Open)
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
        self.login = None;
        self.state = State::Failed(error.clone());
        Err(error)
    }

    /// Adds to what is to be sent. An answer may have come before all of the question was written.
    fn send(&mut self, bytes: &[u8]) {
        let rest = self.output.get(self.transmitted..).unwrap_or_default();
        self.output = Zeroizing::new([rest, bytes].concat());
        self.transmitted = 0;
    }

    /// Reads one answer, if all of it is there.
    fn step(&mut self) -> Result<bool, Error> {
        let len = match self.state {
            State::Method => self.method()?,
            State::Login => self.logged_in()?,
            State::Reply => self.reply()?,
            State::Open | State::Failed(_) => None,
        };
        if let Some(len) = len {
            self.input.drain(..len);
        }
        Ok(len.is_some())
    }

    fn method(&mut self) -> Result<Option<usize>, Error> {
        let (version, method) = (self.input.first().copied(), self.input.get(1).copied());
        check_version(version, VERSION)?;
        match method {
            None => return Ok(None),
            Some(NO_LOGIN) => {
                self.state = State::Reply;
                let connect = std::mem::take(&mut self.connect);
                self.send(&connect);
            }
            Some(PASSWORD) if self.login.is_some() => {
                self.state = State::Login;
                let login = self.login.take().unwrap_or_default();
                self.send(&login);
            }
            Some(NONE_ACCEPTABLE) => return Err(Socks5Refused::Method.into_error()),
            Some(_) => {
                return Err(Error::peer(
                    "the proxy chose a way to log in that was not offered",
                ));
            }
        }
        self.login = None;
        Ok(Some(2))
    }

    fn logged_in(&mut self) -> Result<Option<usize>, Error> {
        let (version, status) = (self.input.first().copied(), self.input.get(1).copied());
        check_version(version, LOGIN_VERSION)?;
        match status {
            None => Ok(None),
            Some(0) => {
                self.state = State::Reply;
                let connect = std::mem::take(&mut self.connect);
                self.send(&connect);
                Ok(Some(2))
            }
            Some(_) => Err(Socks5Refused::Login.into_error()),
        }
    }

    /// Version, code, a zero, and the address that the proxy connects from.
    fn reply(&mut self) -> Result<Option<usize>, Error> {
        check_version(self.input.first().copied(), VERSION)?;
        match self.input.get(1).copied() {
            None => return Ok(None),
            Some(0) => {}
            // Some proxies leave out the rest then.
            Some(code) => {
                return Err(Socks5Refused::Connect(Socks5Reply::new(code)).into_error());
            }
        }
        let address = match (self.input.get(3).copied(), self.input.get(4).copied()) {
            (Some(1), _) => 4,
            (Some(4), _) => 16,
            (Some(3), Some(len)) => 1 + usize::from(len),
            (Some(3), None) | (None, _) => return Ok(None),
            (Some(_), _) => {
                return Err(Error::peer(
                    "the proxy's address is of a type that is not known",
                ));
            }
        };
        let len = 4 + address + 2;
        if self.input.len() < len {
            return Ok(None);
        }
        self.state = State::Open;
        Ok(Some(len))
    }
}

fn check_version(got: Option<u8>, want: u8) -> Result<(), Error> {
    if got.is_some_and(|got| got != want) {
        return Err(Error::peer("the proxy's answer is no SOCKS5"));
    }
    Ok(())
}

fn login(credentials: &ProxyCredentials) -> Result<Zeroizing<Vec<u8>>, Error> {
    let len = |text: &[u8]| {
        u8::try_from(text.len()).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                "the user name or password for the proxy is longer than 255 bytes",
            )
        })
    };
    let (username, password) = (credentials.username(), credentials.password());
    if username.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "the user name for the proxy is empty",
        ));
    }
    Ok(Zeroizing::new(
        [
            &[LOGIN_VERSION, len(username)?],
            username,
            &[len(password)?],
            password,
        ]
        .concat(),
    ))
}

impl fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Method => &"greeting",
            State::Login => &"login",
            State::Reply => &"waiting",
            State::Open => &"open",
            State::Failed(error) => error,
        };
        f.debug_struct("Socks5")
            .field("state", state)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
