//! The `CONNECT` of HTTP/1.1.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use zeroize::Zeroizing;

use super::ProxyCredentials;
use super::address::{authority, is_host};
use super::handshake::Step;
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
/// use kubewire::proxy::{ConnectRefused, Proxy, ProxyHandshake};
///
/// let mut connect = ProxyHandshake::new(&Proxy::parse("http://proxy.example")?, "api.example", 443)?;
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

/// The client's side of a `CONNECT`.
///
/// The head of the answer may have 64 KiB. A refusal is complete with its body, or with the first KiB of it; if the
/// proxy does not say how long it is, with the end of the connection.
#[derive(Debug, Default)]
pub(super) struct Connect {
    /// Where the line begins that has no end yet, and up to where its end was looked for.
    line: usize,
    searched: usize,
    /// Bytes of interim answers.
    interim: usize,
    /// A refusal, and how much of its body is awaited.
    refused: Option<(StatusCode, usize)>,
}

impl Connect {
    /// The conversation, and its first request.
    pub(super) fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), Error> {
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
        Ok((Self::default(), request))
    }

    /// Reads one head, or the body of a refusal, if all of it is there.
    pub(super) fn step(&mut self, input: &mut Vec<u8>) -> Result<Step, Error> {
        match self.refused {
            Some((code, body)) if input.len() >= body => Err(refusal(code, input, body)),
            Some(_) => Ok(Step::Wait),
            None => self.head(input),
        }
    }

    /// The refusal as far as it has come, if there is one.
    pub(super) fn cut_off(&self, input: &[u8]) -> Option<Error> {
        self.refused.map(|(code, _)| refusal(code, input, MAX_BODY))
    }

    /// Reads a head, if all of it is there.
    fn head(&mut self, input: &mut Vec<u8>) -> Result<Step, Error> {
        const START: &[u8] = b"HTTP/1.";
        if !input.iter().zip(START).all(|(got, want)| got == want) {
            return Err(Error::peer("the proxy's answer is no HTTP/1.1"));
        }
        let too_long = || Error::limit("the head of the proxy's answer is longer than 64 KiB");
        let room = MAX_HEAD - self.interim;
        let end = loop {
            let rest = input.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.searched = input.len();
                if input.len() > room {
                    return Err(too_long());
                }
                return Ok(Step::Wait);
            };
            let newline = self.searched + at;
            let line = input.get(self.line..newline).unwrap_or_default();
            self.searched = newline + 1;
            self.line = newline + 1;
            if line.is_empty() || line == b"\r" {
                break newline + 1;
            }
        };
        if end > room {
            return Err(too_long());
        }
        let rest = input.split_off(end);
        let head = std::mem::replace(input, rest);
        (self.line, self.searched) = (0, 0);
        self.interim += head.len();
        let code = status(&head).ok_or_else(|| Error::peer("the proxy's status line is broken"))?;
        if code == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::peer("the proxy switches protocols unasked"));
        }
        if code.is_success() {
            return Ok(Step::Open);
        }
        if !code.is_informational() {
            self.refused = Some((code, body_len(&head)));
        }
        Ok(Step::Again)
    }
}

fn refusal(code: StatusCode, input: &[u8], body: usize) -> Error {
    let body = input.get(..body.min(MAX_BODY)).unwrap_or(input);
    let refused = ConnectRefused {
        code,
        body: Bytes::copy_from_slice(body),
    };
    let kind = if code == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        ErrorKind::Credentials
    } else {
        ErrorKind::Transport
    };
    Error::new(kind, format!("the proxy refused the tunnel: {refused}")).with_source(refused)
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
