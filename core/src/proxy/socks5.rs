//! SOCKS version 5 (RFC 1928, RFC 1929).

use std::fmt;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::ProxyCredentials;
use super::address::is_host;
use super::handshake::Step;
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
/// use kubewire::proxy::{Proxy, ProxyHandshake, Socks5Refused, Socks5Reply};
///
/// let proxy = Proxy::parse("socks5://proxy.example")?;
/// let mut socks = ProxyHandshake::new(&proxy, "api.example", 443)?;
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

/// The client's side of a SOCKS5 conversation.
pub(super) struct Socks5 {
    login: Option<Zeroizing<Vec<u8>>>,
    connect: Vec<u8>,
    awaited: Awaited,
}

#[derive(Clone, Copy, Debug)]
enum Awaited {
    Method,
    Login,
    Reply,
}

impl Socks5 {
    /// The conversation, and its first message. A name is sent as a name, for the proxy to resolve. With credentials,
    /// logging in is offered and left to the proxy; without, only going without.
    pub(super) fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), Error> {
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
        let methods = Zeroizing::new(methods.to_vec());
        let conversation = Self {
            login,
            connect,
            awaited: Awaited::Method,
        };
        Ok((conversation, methods))
    }

    /// Reads one answer, if all of it is there.
    pub(super) fn step(&mut self, input: &mut Vec<u8>) -> Result<Step, Error> {
        let (len, step) = match self.awaited {
            Awaited::Method => (2, self.method(input)?),
            Awaited::Login => (2, self.logged_in(input)?),
            Awaited::Reply => match reply(input)? {
                Some(len) => (len, Step::Open),
                None => return Ok(Step::Wait),
            },
        };
        if !matches!(step, Step::Wait) {
            input.drain(..len);
        }
        Ok(step)
    }

    fn method(&mut self, input: &[u8]) -> Result<Step, Error> {
        check_version(input, VERSION)?;
        let login = self.login.take();
        match (input.get(1).copied(), login) {
            (None, login) => {
                self.login = login;
                Ok(Step::Wait)
            }
            (Some(NO_LOGIN), _) => Ok(self.connect()),
            (Some(PASSWORD), Some(login)) => {
                self.awaited = Awaited::Login;
                Ok(Step::Send(login))
            }
            (Some(NONE_ACCEPTABLE), _) => Err(Socks5Refused::Method.into_error()),
            (Some(_), _) => Err(Error::peer(
                "the proxy chose a way to log in that was not offered",
            )),
        }
    }

    fn logged_in(&mut self, input: &[u8]) -> Result<Step, Error> {
        check_version(input, LOGIN_VERSION)?;
        match input.get(1).copied() {
            None => Ok(Step::Wait),
            Some(0) => Ok(self.connect()),
            Some(_) => Err(Socks5Refused::Login.into_error()),
        }
    }

    fn connect(&mut self) -> Step {
        self.awaited = Awaited::Reply;
        Step::Send(Zeroizing::new(std::mem::take(&mut self.connect)))
    }
}

/// Version, code, a zero, and the address that the proxy connects from.
fn reply(input: &[u8]) -> Result<Option<usize>, Error> {
    check_version(input, VERSION)?;
    match input.get(1).copied() {
        None => return Ok(None),
        Some(0) => {}
        // Some proxies leave out the rest then.
        Some(code) => {
            return Err(Socks5Refused::Connect(Socks5Reply::new(code)).into_error());
        }
    }
    let address = match (input.get(3).copied(), input.get(4).copied()) {
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
    if input.len() < len {
        return Ok(None);
    }
    Ok(Some(len))
}

fn check_version(input: &[u8], want: u8) -> Result<(), Error> {
    if input.first().is_some_and(|got| *got != want) {
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
