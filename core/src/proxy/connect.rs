//! The `CONNECT` of HTTP/1.1.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use zeroize::Zeroizing;

use super::address::{authority, is_host};

use super::ProxyCredentials;
use crate::{Error, ErrorKind};

/// Longest head of an answer, with the interim answers before it.
const MAX_HEAD: usize = 64 << 10;
/// How much of a refusal's body is kept.
const MAX_BODY: usize = 1 << 10;

/// A refusal: what an HTTP proxy answered instead of opening a tunnel.
///
/// It is the [source](std::error::Error::source) of the error, since it must not be taken for an
/// answer of the API server.
///
/// ```
/// use http::StatusCode;
/// use kubewire::proxy::{ConnectRefused, HttpConnect};
///
/// let mut connect = HttpConnect::new("api.example", 443, None)?;
/// let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nnot on 443";
/// let error = connect.handle_input(answer).unwrap_err();
/// assert_eq!(error.to_string(), "the proxy refused the tunnel: 403 Forbidden: not on 443");
///
/// let source = std::error::Error::source(&error).unwrap();
/// let refused: &ConnectRefused = source.downcast_ref().unwrap();
/// assert_eq!(refused.code, StatusCode::FORBIDDEN);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectRefused {
    /// The status code; 407 if the proxy wants other credentials.
    pub code: StatusCode,
    /// The first bytes of the body, at most 1 KiB.
    pub body: Bytes,
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let text = String::from_utf8_lossy(&self.body);
        let mut text = text.trim().chars();
        let head: String = text.by_ref().take(200).collect();
        if !head.is_empty() {
            let more = if text.next().is_some() { "…" } else { "" };
            write!(f, ": {}{more}", head.escape_debug())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectRefused {}

/// Asks an HTTP proxy for a tunnel, as a machine.
///
/// The head of the answer may have 64 KiB. What comes after it belongs to the tunnel. A refusal is
/// complete with its body, or with the first KiB of it; if the proxy does not say how long it is, with the end
/// of the connection.
///
/// ```
/// use kubewire::proxy::{HttpConnect, ProxyCredentials};
///
/// let login = ProxyCredentials::new("me", "hunter2");
/// let mut connect = HttpConnect::new("fd00::1", 6443, Some(&login))?;
/// let request = connect.poll_transmit().unwrap().to_vec();
/// assert_eq!(String::from_utf8_lossy(&request), "\
///     CONNECT [fd00::1]:6443 HTTP/1.1\r\n\
///     Host: [fd00::1]:6443\r\n\
///     Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\
///     \r\n");
/// connect.transmitted(request.len());
///
/// connect.handle_input(b"HTTP/1.1 200 Connection esta")?;
/// assert!(connect.wants_input());
/// connect.handle_input(b"blished\r\n\r\nearly")?;
/// assert!(connect.is_done() && !connect.wants_input());
/// assert_eq!(connect.take_leftover(), "early");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct HttpConnect {
    request: Zeroizing<Vec<u8>>,
    transmitted: usize,
    /// What came and is not yet understood; after the end, what belongs to the tunnel.
    input: Vec<u8>,
    /// Where the line begins that has no end yet, and up to where its end was looked for.
    line: usize,
    searched: usize,
    /// Bytes of interim answers.
    interim: usize,
    state: State,
}

enum State {
    Head,
    /// A refusal, and how much of its body is awaited.
    Refused {
        code: StatusCode,
        body: usize,
    },
    Open,
    Failed(Error),
}

impl HttpConnect {
    /// A tunnel to this host, whose name the proxy resolves. An IPv6 address is without brackets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the host is none; [`ErrorKind::Config`] for credentials that
    /// [no header can carry](ProxyCredentials::basic).
    pub fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<Self, Error> {
        if !is_host(host) {
            return Err(Error::usage("the host to reach through the proxy is none"));
        }
        let target = authority(host, port);
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        let mut request = Zeroizing::new(Vec::with_capacity(head.len() + 1024));
        request.extend_from_slice(head.as_bytes());
        if let Some(credentials) = credentials {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(HeaderValue::as_bytes(&credentials.basic()?));
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        Ok(Self {
            request,
            transmitted: 0,
            input: Vec::new(),
            line: 0,
            searched: 0,
            interim: 0,
            state: State::Head,
        })
    }

    /// Bytes for the proxy. Write some, and say how many.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        if matches!(self.state, State::Failed(_)) {
            return None;
        }
        let rest = self.request.get(self.transmitted..)?;
        (!rest.is_empty()).then_some(rest)
    }

    /// So many bytes of [`poll_transmit`](Self::poll_transmit) were written.
    pub fn transmitted(&mut self, n: usize) {
        self.transmitted = self.transmitted.saturating_add(n).min(self.request.len());
    }

    /// Whether bytes from the proxy are wanted.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        matches!(self.state, State::Head | State::Refused { .. })
    }

    /// Bytes from the proxy. Once the tunnel stands, more bytes are added to what is left over.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Transport`] for a refusal, with a [`ConnectRefused`] as its source;
    ///   [`ErrorKind::Credentials`] if its code is 407.
    /// - [`ErrorKind::Peer`] if this is no HTTP, and [`ErrorKind::Limit`] if the head is too long.
    ///
    /// It repeats.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.input.extend_from_slice(bytes);
        while matches!(self.state, State::Head) {
            match self.head() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return self.fail(error),
            }
        }
        if let State::Refused { code, body } = self.state
            && self.input.len() >= body
        {
            return self.refuse(code, body);
        }
        Ok(())
    }

    /// The proxy ended the connection, or the time is up.
    ///
    /// # Errors
    ///
    /// The refusal as far as it has come, or [`ErrorKind::Truncated`]. There is none if the tunnel
    /// stands.
    pub fn handle_end(&mut self) -> Result<(), Error> {
        match &self.state {
            State::Open => Ok(()),
            State::Failed(error) => Err(error.clone()),
            &State::Refused { code, .. } => self.refuse(code, MAX_BODY),
            State::Head => self.fail(Error::new(
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
        self.input.len() + self.request.len().saturating_sub(self.transmitted)
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.input = Vec::new();
        self.state = State::Failed(error.clone());
        Err(error)
    }

    fn refuse(&mut self, code: StatusCode, body: usize) -> Result<(), Error> {
        self.input.truncate(body.min(MAX_BODY));
        let refused = ConnectRefused {
            code,
            body: std::mem::take(&mut self.input).into(),
        };
        let kind = if code == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            ErrorKind::Credentials
        } else {
            ErrorKind::Transport
        };
        let error = Error::new(kind, format!("the proxy refused the tunnel: {refused}"));
        self.fail(error.with_source(refused))
    }

    /// Reads a head, if all of it is there.
    fn head(&mut self) -> Result<bool, Error> {
        const START: &[u8] = b"HTTP/1.";
        if !self.input.iter().zip(START).all(|(got, want)| got == want) {
            return Err(Error::peer("the proxy's answer is no HTTP/1.1"));
        }
        let too_long = || Error::limit("the head of the proxy's answer is longer than 64 KiB");
        let room = MAX_HEAD - self.interim;
        let end = loop {
            let rest = self.input.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.searched = self.input.len();
                if self.input.len() > room {
                    return Err(too_long());
                }
                return Ok(false);
            };
            let newline = self.searched + at;
            let line = self.input.get(self.line..newline).unwrap_or_default();
            self.searched = newline + 1;
            self.line = newline + 1;
            if line.is_empty() || line == b"\r" {
                break newline + 1;
            }
        };
        if end > room {
            return Err(too_long());
        }
        let rest = self.input.split_off(end);
        let head = std::mem::replace(&mut self.input, rest);
        (self.line, self.searched) = (0, 0);
        self.interim += head.len();
        let code = status(&head).ok_or_else(|| Error::peer("the proxy's status line is broken"))?;
        if code == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::peer("the proxy switches protocols unasked"));
        }
        if code.is_success() {
            self.state = State::Open;
        } else if !code.is_informational() {
            let body = body_len(&head);
            self.state = State::Refused { code, body };
        }
        Ok(true)
    }
}

/// `HTTP/1.1 200 OK`
fn status(head: &[u8]) -> Option<StatusCode> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let (code, rest) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
    if !minor.is_ascii_digit() || !(rest.is_empty() || rest.starts_with(b" ")) {
        return None;
    }
    StatusCode::from_bytes(code).ok()
}

/// How much of the body to wait for.
fn body_len(head: &[u8]) -> usize {
    let mut len = MAX_BODY;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // The pieces are not worth to be put together.
            return 0;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let value = std::str::from_utf8(value).ok();
            len = value
                .and_then(|value| value.parse().ok())
                .unwrap_or(MAX_BODY)
                .min(MAX_BODY);
        }
    }
    len
}

impl fmt::Debug for HttpConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Head => &"waiting",
            State::Refused { code, .. } => code,
            State::Open => &"open",
            State::Failed(error) => error,
        };
        f.debug_struct("HttpConnect")
            .field("state", state)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
