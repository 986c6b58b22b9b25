//! The WebSocket handshake (RFC 6455 section 4), client side.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Request, StatusCode, Uri, response};

use super::{Offer, SessionOptions};
use crate::error::Failure;
use crate::meta::Status;
use crate::{Error, ErrorKind, Limits};

/// RFC 6455 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A call that upgrades its connection: the request, and what the caller asked for.
///
/// It needs HTTP/1.1 and a connection of its own.
#[must_use = "an upgrade does nothing until a transport carries it"]
pub struct Upgrade<P> {
    request: Request<Bytes>,
    protocol: P,
    options: SessionOptions,
}

impl<P: Offer> Upgrade<P> {
    /// An upgrade of `GET uri`, in origin form. The query has to ask for the same streams or ports
    /// as `protocol`.
    pub fn new(uri: Uri, protocol: P) -> Self {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        Self {
            request,
            protocol,
            options: SessionOptions::default(),
        }
    }

    /// The request without the headers of the upgrade.
    #[must_use]
    pub fn request(&self) -> &Request<Bytes> {
        &self.request
    }

    /// The request, to add headers. Leave out `Accept`: it reaches the node, which answers 406 to
    /// everything but `*/*`.
    pub fn request_mut(&mut self) -> &mut Request<Bytes> {
        &mut self.request
    }

    /// What was asked for.
    #[must_use]
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Sets deadlines and policies.
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    /// The request to send and the machine for its answer. `key` is 16 random bytes.
    ///
    /// ```
    /// use kubewire::Limits;
    /// use kubewire::session::{Exec, Streams, Upgrade};
    ///
    /// let uri = "/api/v1/namespaces/a/pods/b/exec?command=id&stdout=true".parse().unwrap();
    /// let upgrade = Upgrade::new(uri, Exec::new(Streams::new().stdout()));
    /// let (request, _handshake) = upgrade.begin(*b"the sample nonce", &Limits::default());
    /// assert_eq!(request.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    /// assert_eq!(
    ///     request.headers()["sec-websocket-protocol"],
    ///     "v5.channel.k8s.io, v4.channel.k8s.io",
    /// );
    /// ```
    pub fn begin(mut self, key: [u8; 16], limits: &Limits) -> (Request<Bytes>, Handshake<P>) {
        let key = STANDARD.encode(key);
        let accept = STANDARD.encode(
            sha1_smol::Sha1::from(format!("{key}{GUID}"))
                .digest()
                .bytes(),
        );
        let headers = self.request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(P::OFFER));
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        let handshake = Handshake {
            accept,
            protocol: self.protocol,
            options: self.options,
            limits: limits.clone(),
            state: State::Waiting,
        };
        (self.request, handshake)
    }
}

impl<P> fmt::Debug for Upgrade<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query holds the command, the headers may hold credentials.
        f.debug_struct("Upgrade")
            .field("path", &self.request.uri().path())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The cause of an error: a WebSocket was opened, for something else.
#[derive(Debug)]
pub(super) struct NotOffered;

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not know what was offered")
    }
}

impl std::error::Error for NotOffered {}

/// What the head of the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection is a WebSocket now: [`Handshake::finish`] gives the session. Bytes that were
    /// read behind the head are its first input.
    Switched,
    /// The server refused. Hand in the body, then [`Handshake::finish`] gives the error.
    Refused,
}

enum State<C> {
    Waiting,
    Switched(C),
    Refused {
        code: StatusCode,
        retry_after: Option<Duration>,
        audit_id: Option<String>,
        body: Vec<u8>,
    },
    Failed(Error),
}

/// Takes the answer to an [`Upgrade`]: a [`Session`](super::Session) or
/// [`Tunnel`](super::Tunnel), or the server's refusal.
///
/// ```
/// use std::time::Instant;
/// use http::Response;
/// use kubewire::Limits;
/// use kubewire::session::{Answer, Exec, Streams, Upgrade};
///
/// let uri = "/api/v1/namespaces/a/pods/b/exec?command=id&stdout=true".parse().unwrap();
/// let upgrade = Upgrade::new(uri, Exec::new(Streams::new().stdout()));
/// let (_request, mut handshake) = upgrade.begin([7; 16], &Limits::default());
///
/// let (head, ()) = Response::builder().status(404).body(()).unwrap().into_parts();
/// assert_eq!(handshake.handle_head(&head)?, Answer::Refused);
/// handshake.handle_data(br#"{"status":"Failure","reason":"NotFound","code":404}"#);
/// let error = handshake.finish(Instant::now()).unwrap_err();
/// assert!(error.is_not_found());
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Handshake<P: Offer> {
    accept: String,
    protocol: P,
    options: SessionOptions,
    limits: Limits,
    state: State<P::Chosen>,
}

impl<P: Offer> Handshake<P> {
    /// Takes the head of the answer.
    ///
    /// # Errors
    ///
    /// [`Peer`](ErrorKind::Peer) if it is neither a refusal nor a handshake that RFC 6455 allows:
    /// a success other than 101, a wrong `Sec-WebSocket-Accept`, or a subprotocol that was not
    /// offered. [`finish`](Self::finish) repeats it. Drop the connection.
    pub fn handle_head(&mut self, head: &response::Parts) -> Result<Answer, Error> {
        let answer = match &self.state {
            State::Waiting => self.read_head(head),
            State::Failed(error) => Err(error.clone()),
            State::Switched(_) | State::Refused { .. } => {
                Err(Error::usage("the handshake has a head already"))
            }
        };
        if let Err(error) = &answer {
            self.state = State::Failed(error.clone());
        }
        answer
    }

    fn read_head(&mut self, head: &response::Parts) -> Result<Answer, Error> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.state = State::Switched(self.check(&head.headers)?);
            return Ok(Answer::Switched);
        }
        if head.status.is_success() || head.status.is_informational() {
            return Err(Error::peer(format!(
                "the answer to an upgrade is {} instead of 101",
                head.status.as_u16()
            )));
        }
        let text = |name: &str| head.headers.get(name)?.to_str().ok().map(str::trim);
        self.state = State::Refused {
            code: head.status,
            // The other form, a date, would need a clock; API servers send seconds.
            retry_after: text(RETRY_AFTER.as_str())
                .and_then(|text| text.parse().ok())
                .map(Duration::from_secs),
            audit_id: text("audit-id").map(str::to_owned),
            body: Vec::new(),
        };
        Ok(Answer::Refused)
    }

    fn check(&self, headers: &HeaderMap) -> Result<P::Chosen, Error> {
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket")
        {
            return Err(Error::peer(
                "the server switched to something other than a WebSocket",
            ));
        }
        let accept = headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accept.map(<[u8]>::trim_ascii) != Some(self.accept.as_bytes()) {
            return Err(Error::peer(
                "Sec-WebSocket-Accept does not fit the key: something between answered for the server",
            ));
        }
        if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Err(Error::peer(
                "the server uses a WebSocket extension that was not offered",
            ));
        }
        let mut names = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let name = names.next().map_or(Ok(""), HeaderValue::to_str);
        let (Ok(name), None) = (name, names.next()) else {
            return Err(Error::peer("the server chose several subprotocols"));
        };
        if name.trim().is_empty() {
            return Err(Error::peer(format!(
                "the server chose no subprotocol of {}, and so speaks an older one",
                P::OFFER
            ))
            .with_source(NotOffered));
        }
        P::choose(name).ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            Error::peer(format!(
                "the server chose the subprotocol {name:?}, which was not offered"
            ))
            .with_source(NotOffered)
        })
    }

    /// Takes a piece of the body of a refusal. When the body has come to its end, cleanly or not,
    /// call [`finish`](Self::finish). More than [`Limits::max_error_body`] is dropped.
    pub fn handle_data(&mut self, data: &[u8]) {
        if let State::Refused { body, .. } = &mut self.state {
            let room = self.limits.max_error_body.saturating_sub(body.len());
            body.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }

    /// The session (or the tunnel), or why there is none.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) for a refusal, with its HTTP code, its `Status` if it had one, and
    /// the first bytes of the body if not. The error of [`handle_head`](Self::handle_head) if there
    /// was one. [`Truncated`](ErrorKind::Truncated) if no head came.
    pub fn finish(self, now: Instant) -> Result<P::Session, Error> {
        match self.state {
            State::Switched(chosen) => {
                Ok(self
                    .protocol
                    .start(chosen, &self.options, &self.limits, now))
            }
            State::Refused {
                code,
                retry_after,
                audit_id,
                body,
            } => {
                let status = Status::from_slice(&body);
                let retry_after = retry_after.or_else(|| status.as_ref()?.retry_after());
                Err(Error::api(Failure {
                    code,
                    status,
                    body: body.into(),
                    retry_after,
                    audit_id,
                }))
            }
            State::Failed(error) => Err(error),
            State::Waiting => Err(Error::new(
                ErrorKind::Truncated,
                "the connection ended before the upgrade was answered",
            )),
        }
    }
}

/// Header values that are lists of tokens: `keep-alive, Upgrade`.
fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

impl<P: Offer> fmt::Debug for Handshake<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting => "waiting".to_owned(),
            State::Switched(chosen) => format!("switched to {chosen:?}"),
            State::Refused { code, body, .. } => format!("refused: {code}, {} bytes", body.len()),
            State::Failed(error) => format!("failed: {error}"),
        };
        f.debug_struct("Handshake")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
