//! One error type for everything that can go wrong with a call or a session.

mod reason;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::meta::Status;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong as written: a bad name, options that contradict each other, a method used
    /// in the wrong state. Nothing was sent. Change the program or its input.
    Usage,
    /// The API server answered with a failure. [`Error::status`] tells which.
    Api,
    /// The peer (server, proxy or node) broke HTTP, JSON, WebSocket or channel rules.
    Peer,
    /// One object or event could not be decoded. [`Error::bad_object`] identifies it. A stream goes on with the
    /// next one; where there is one answer only, it is terminal.
    Object,
    /// A bound of [`Limits`](crate::Limits) was passed. Raise it or ask for less.
    Limit,
    /// The peer went away before the answer was complete.
    Truncated,
    /// A connection could not be made or broke: DNS, TCP, TLS, HTTP.
    Transport,
    /// A deadline passed.
    Timeout,
    /// Configuration is missing, unreadable or contradicts itself.
    Config,
    /// Credentials could not be obtained or were refused.
    Credentials,
    /// The client, session or channel was closed before; nothing more can be done with it.
    Closed,
}

/// The identity of an object that could not be decoded, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadObject {
    /// `metadata.namespace`, if it could be read.
    pub namespace: Option<String>,
    /// `metadata.name`, if it could be read.
    pub name: Option<String>,
    /// `metadata.resourceVersion`, if it could be read: a watch may resume after it.
    pub resource_version: Option<String>,
    /// Whether a watch told that the object is gone: what could not be read is its last state.
    pub is_deleted: bool,
    /// Size of the object's JSON in bytes.
    pub len: usize,
}

/// An answer with a failure status code.
#[derive(Clone)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    pub(crate) status: Option<Status>,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) audit_id: Option<String>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    failure: Option<Failure>,
    /// Whether the request was a POST: a bare 409 means something else then.
    posted: bool,
    object: Option<BadObject>,
    request: Option<(http::Method, String)>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Why a call or session failed.
///
/// [`kind`](Self::kind) says what to do about it, the predicates answer the usual questions, and
/// [`source`](std::error::Error::source) keeps the cause. `Display` is one lower-case sentence
/// without the cause's text. No payload appears in `Display` or `Debug`: of an undecodable object
/// only its identity and the place of the fault are kept.
///
/// Errors are cheap to clone, so that a machine that failed can repeat its error.
///
/// # Examples
///
/// ```
/// use kubewire::{Api, Operation, ErrorKind, Dynamic, ApiResource};
///
/// let maps = Api::<Dynamic>::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
/// let error = maps.get("a/b").into_call().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Usage);
/// assert!(error.to_string().contains("name"));
/// ```
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

impl Error {
    /// An error of a given kind. Adapters use it for [`ErrorKind::Transport`] and its relatives.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                failure: None,
                posted: false,
                object: None,
                request: None,
                source: None,
            }),
        }
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(Arc::from(source.into()));
        self
    }

    /// Attaches the method and path of the request that failed. The query is not kept: it may hold
    /// a command line.
    #[must_use]
    pub fn with_request(mut self, method: &http::Method, uri: &http::Uri) -> Self {
        if self.inner.request.is_none() {
            self.inner.request = Some((method.clone(), uri.path().to_owned()));
        }
        self
    }

    pub(crate) fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn peer(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Peer, message)
    }

    pub(crate) fn limit(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    pub(crate) fn api(failure: Failure) -> Self {
        let mut error = Self::new(ErrorKind::Api, "the server refused the request");
        error.inner.failure = Some(failure);
        error
    }

    pub(crate) fn posted(mut self, posted: bool) -> Self {
        self.inner.posted = posted;
        self
    }

    /// A `Status` that came inside a stream (an ERROR watch event, an error channel).
    pub(crate) fn from_status(status: Status) -> Self {
        let code = status
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = status.retry_after();
        Self::api(Failure {
            code,
            status: Some(status),
            body: Bytes::new(),
            retry_after,
            audit_id: None,
        })
    }

    pub(crate) fn object(error: &serde_json::Error, object: BadObject) -> Self {
        let mut result = Self::new(ErrorKind::Object, json_fault(error));
        result.inner.object = Some(object);
        result
    }

    /// The object was the last state of a deleted one.
    pub(crate) fn of_deletion(mut self) -> Self {
        if let Some(object) = &mut self.inner.object {
            object.is_deleted = true;
        }
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The HTTP status code of a failed answer.
    #[must_use]
    pub fn code(&self) -> Option<StatusCode> {
        self.inner.failure.as_ref().map(|failure| failure.code)
    }

    /// The `Status` of a failed answer, if the server sent one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.inner.failure.as_ref()?.status.as_ref()
    }

    /// The first bytes of a failed answer's body, whatever it was (at most
    /// [`Limits::max_error_body`](crate::Limits::max_error_body)).
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.inner.failure.as_ref().map(|failure| &failure.body)
    }

    /// How long the server asked to wait, from the `Retry-After` header or the Status.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.failure.as_ref()?.retry_after
    }

    /// The `Audit-Id` of a failed answer, by which a cluster's audit log can be searched.
    #[must_use]
    pub fn audit_id(&self) -> Option<&str> {
        self.inner.failure.as_ref()?.audit_id.as_deref()
    }

    /// The object that could not be decoded.
    #[must_use]
    pub fn bad_object(&self) -> Option<&BadObject> {
        self.inner.object.as_ref()
    }

    /// Method and path of the request, once a transport has attached them.
    #[must_use]
    pub fn request(&self) -> Option<(&http::Method, &str)> {
        self.inner
            .request
            .as_ref()
            .map(|(method, path)| (method, path.as_str()))
    }
}

/// serde's messages quote the offending value, which may be a secret: keep the shape only.
fn json_fault(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let place = format!("at line {} column {}", error.line(), error.column());
    let what = match error.classify() {
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Syntax | Category::Io => "this is not JSON".to_owned(),
        Category::Data => {
            let text = error.to_string();
            let text = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(text, _)| text);
            if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
                text.to_owned()
            } else if let (true, Some((_, expected))) = (
                text.starts_with("invalid "),
                text.rsplit_once(", expected "),
            ) {
                format!("a value does not fit, expected {expected}")
            } else {
                "a value does not fit the type".to_owned()
            }
        }
    };
    format!("{what} {place}")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        if let Some((method, path)) = &inner.request {
            write!(f, "{method} {path}: ")?;
        }
        if let Some(failure) = &inner.failure {
            write!(f, "{}", failure.code.as_u16())?;
            if let Some(status) = &failure.status {
                if let Some(reason) = status.reason.as_deref().filter(|reason| !reason.is_empty()) {
                    write!(f, " {reason}")?;
                }
                if let Some(message) = &status.message {
                    write!(f, ": {message}")?;
                }
            } else {
                let text = String::from_utf8_lossy(&failure.body);
                let mut text = text.trim().chars();
                let head: String = text.by_ref().take(200).collect();
                if !head.is_empty() {
                    let more = if text.next().is_some() { "…" } else { "" };
                    write!(f, ": {}{more}", head.escape_debug())?;
                }
            }
            return Ok(());
        }
        if let Some(object) = &inner.object {
            let name = object.name.as_deref().unwrap_or("(name unreadable)");
            match &object.namespace {
                Some(namespace) => write!(f, "object {namespace}/{name}: ")?,
                None => write!(f, "object {name}: ")?,
            }
        }
        f.write_str(&inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.inner.kind);
        debug.field("message", &format_args!("{self}"));
        if let Some(source) = &self.inner.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.inner.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only decoded")]
    struct Typed {
        data: Vec<u8>,
    }

    #[test]
    fn a_decode_fault_never_quotes_the_value() {
        for body in [
            r#"{"data":"hunter2"}"#,
            r#"{"data":["hunter2"]}"#,
            r#"{"data":"a, expected hunter2"}"#,
            r#"{"data":[1,2,99999]}"#,
            r#"{"hunter2"#,
        ] {
            let error = serde_json::from_str::<Typed>(body).unwrap_err();
            let error = Error::object(&error, BadObject::default());
            let text = format!("{error} {error:?} {error:#?}");
            assert!(
                !text.contains("hunter2") && !text.contains("99999"),
                "{text}"
            );
            assert!(text.contains("line 1"), "{text}");
        }
    }

    #[test]
    fn the_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
