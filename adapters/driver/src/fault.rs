//! What hyper's errors mean.

use std::io;

use kubewire::policy::Fault;
use kubewire::{Endpoint, Error, ErrorKind};

use crate::connection::Refusal;

/// A request that did not go out, or an answer that did not come.
pub(crate) struct SendFailure {
    /// Whether the server may have seen any of the request.
    pub(crate) sent: bool,
    /// Nothing is wrong but the connection, which was on its way out: another one will do at once.
    pub(crate) stale: bool,
    pub(crate) fault: Fault,
    pub(crate) error: Error,
}

impl SendFailure {
    /// `unsent` if hyper gave the request back.
    pub(crate) fn new(
        endpoint: &Endpoint,
        unsent: bool,
        fresh: Option<&Refusal>,
        error: hyper::Error,
    ) -> Self {
        let unprocessed = Unprocessed::of(&error);
        let none = Refusal::default();
        let (fault, error) = blame(endpoint, fresh.unwrap_or(&none), error);
        Self {
            sent: !unsent && unprocessed.is_none(),
            stale: unsent && fresh.is_none() || unprocessed == Some(Unprocessed::GoingAway),
            fault,
            error,
        }
    }
}

/// What ended a connection: TLS, or something else.
pub(crate) fn blame(endpoint: &Endpoint, refusal: &Refusal, error: hyper::Error) -> (Fault, Error) {
    if let Some(cause) = refusal.cause() {
        let text = format!("TLS with {endpoint} failed");
        let error = Error::new(ErrorKind::Transport, text).with_source(cause);
        (Fault::Refused, error)
    } else {
        let fault = if is_malformed(&error) {
            Fault::Refused
        } else {
            Fault::Broken
        };
        let error = unanswered(error, "the connection broke before an answer came");
        (fault, error)
    }
}

/// Why there is no answer: what came is none, or the connection broke, in these words.
pub(crate) fn unanswered(error: hyper::Error, broke: &'static str) -> Error {
    let (kind, text) = if is_malformed(&error) {
        let text = "the head of the answer is not HTTP, or too large: check the server's address and any proxy in between";
        (ErrorKind::Peer, text)
    } else {
        (ErrorKind::Transport, broke)
    };
    Error::new(kind, text).with_source(error)
}

/// Whether the peer broke the rules of heads, frames or chunks. A connection that ends too early breaks none.
pub(crate) fn is_malformed(error: &hyper::Error) -> bool {
    if error.is_parse() {
        return true;
    }
    let Some(source) = std::error::Error::source(error) else {
        return false;
    };
    #[cfg(feature = "http2")]
    if let Some(error) = source.downcast_ref::<h2::Error>() {
        return error.is_library();
    }
    source.downcast_ref::<io::Error>().is_some_and(|error| {
        let kinds = [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];
        kinds.contains(&error.kind()) && !is_tls(error)
    })
}

#[cfg(feature = "rustls")]
fn is_tls(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

#[cfg(not(feature = "rustls"))]
fn is_tls(_: &io::Error) -> bool {
    false
}

/// Why an HTTP/2 server has not looked at a request that it may have received (RFC 9113, 6.8 and 8.7): so it may be sent
/// again, whatever it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "HTTP/2 only"))]
pub(crate) enum Unprocessed {
    /// The request's number is above the last one of a GOAWAY. A restarted API server does that.
    GoingAway,
    /// So it is, and the GOAWAY reports an error: the next attempt waits its time.
    Failing,
    /// `REFUSED_STREAM`.
    Refused,
}

impl Unprocessed {
    #[cfg(feature = "http2")]
    pub(crate) fn of(error: &hyper::Error) -> Option<Self> {
        let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
        if !error.is_remote() {
            return None;
        }
        // h2 gives this error to streams above the last one only; the others see the connection's end.
        if error.is_go_away() {
            return Some(match error.reason() {
                Some(h2::Reason::NO_ERROR) => Self::GoingAway,
                Some(_) | None => Self::Failing,
            });
        }
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        refused.then_some(Self::Refused)
    }

    #[cfg(not(feature = "http2"))]
    pub(crate) fn of(_: &hyper::Error) -> Option<Self> {
        None
    }
}
