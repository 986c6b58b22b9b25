//! Requests for any path.

use std::marker::PhantomData;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::common::carriage_options;
use super::json_body;
use super::path::Target;
use crate::Error;
use crate::call::{Call, Decode, Json, Operation, Raw, Verb};
use crate::stream::{Chunks, TextLines};

/// A request for any path of the API server: what the typed operations do not cover. See [`Call::raw`] and
/// [`Proxy`](crate::Proxy).
///
/// By itself its answer is the body as bytes; [`json`](Self::json), [`lines`](Self::lines) and
/// [`chunks`](Self::chunks) decode it otherwise. Failures are errors as everywhere.
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct RawOperation {
    pub(super) target: Target,
    method: Method,
    parameters: Vec<(String, String)>,
    body: Option<Bytes>,
    long_running: bool,
}

impl Call<Raw> {
    /// A request for a path of one's own, in origin form and percent-encoded.
    ///
    /// ```
    /// use kubewire::{Call, Operation};
    /// let call = Call::raw(http::Method::GET, "/openapi/v3/api/v1").query("hash", "AB/C").into_call()?;
    /// assert_eq!(call.request().uri(), "/openapi/v3/api/v1?hash=AB%2FC");
    /// assert!(Call::raw(http::Method::GET, "https://elsewhere/").into_call().is_err());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn raw(method: Method, path: &str) -> RawOperation {
        RawOperation::new(method, Target::raw(path))
    }
}

carriage_options! { RawOperation; }

impl RawOperation {
    pub(super) fn new(method: Method, target: Target) -> Self {
        Self {
            target,
            method,
            parameters: Vec::new(),
            body: None,
            long_running: false,
        }
    }

    /// Adds a query parameter; name and value are encoded.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Adds a header, also `Accept` (by default `*/*`) and `Content-Type`. Headers that frame the message are refused.
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
    ) -> Self {
        self.target.add_header(name, value, false);
        self
    }

    /// The body; say what it is with the header `Content-Type`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// A JSON body, and the header for it.
    pub fn json_body(mut self, body: &impl Serialize) -> Self {
        match json_body(body) {
            Ok(bytes) => self.body = Some(bytes),
            Err(error) => self.target.fail(error),
        }
        self.header(CONTENT_TYPE, super::write::JSON)
    }

    /// The answer has no natural end, so that no deadline fits.
    pub fn long_running(mut self) -> Self {
        self.long_running = true;
        self
    }

    /// The answer as one JSON value.
    ///
    /// ```
    /// use kubewire::{Call, End, Limits, Operation};
    /// let version = Call::raw(http::Method::GET, "/version").json::<serde_json::Value>();
    /// let (_, mut exchange) = version.into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
    /// exchange.handle_data(r#"{"minor":"36"}"#.into())?;
    /// exchange.handle_end(End::Clean)?;
    /// assert_eq!(exchange.poll_item()?.unwrap()["minor"], "36");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn json<T: DeserializeOwned>(self) -> RawJson<T> {
        RawJson {
            operation: self,
            value: PhantomData,
        }
    }

    /// The answer line by line, as it comes.
    pub fn lines(self) -> RawLines {
        RawLines(self)
    }

    /// The answer as it comes, of any length.
    pub fn chunks(self) -> RawChunks {
        RawChunks(self)
    }

    fn build<D: Decode>(self, namespace: Option<&str>, decoder: D) -> Result<Call<D>, Error> {
        let mut query = self.target.query(namespace)?;
        for (name, value) in &self.parameters {
            query.foreign(name, value);
        }
        let accept = HeaderValue::from_static("*/*");
        let mut request = query.request(self.method, Some(accept), None)?;
        if let Some(body) = self.body {
            *request.body_mut() = body;
        }
        let verb = if self.long_running {
            Verb::Watch
        } else {
            Verb::Raw
        };
        Ok(Call::new(verb, request, decoder))
    }
}

impl Operation for RawOperation {
    type Decoder = Raw;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Raw>, Error> {
        self.build(namespace, Raw::default())
    }
}

/// A request whose answer is one JSON value. See [`RawOperation::json`].
#[must_use = "an operation does nothing until a client carries it"]
pub struct RawJson<T> {
    pub(super) operation: RawOperation,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for RawJson<T> {
    fn clone(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            value: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Operation for RawJson<T> {
    type Decoder = Json<T>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<T>>, Error> {
        self.operation.build(namespace, Json::default())
    }
}

/// A request whose answer comes line by line. See [`RawOperation::lines`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct RawLines(pub(super) RawOperation);

impl Operation for RawLines {
    type Decoder = TextLines;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<TextLines>, Error> {
        self.0.build(namespace, TextLines::default())
    }
}

/// A request whose answer comes as it is. See [`RawOperation::chunks`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct RawChunks(pub(super) RawOperation);

impl Operation for RawChunks {
    type Decoder = Chunks;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Chunks>, Error> {
        self.0.build(namespace, Chunks::default())
    }
}
