//! Decoders of unary answers.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;

use super::{Decode, End, Unary};
use crate::error::BadObject;
use crate::{Error, ErrorKind, Limits};

/// A body collected under [`Limits::max_body`]: kept as it is when it comes in one chunk, else
/// joined in a buffer that is allocated once where the length is known.
#[derive(Clone, Default)]
struct Collected {
    first: Bytes,
    joined: BytesMut,
    expected: usize,
    max: usize,
}

impl Collected {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), Error> {
        if chunk.len() > self.max.saturating_sub(self.len()) {
            return Err(Error::limit("the answer is longer than Limits::max_body"));
        }
        if self.len() == 0 {
            self.first = chunk;
            return Ok(());
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            // A length that the peer announces is trusted for 1 MiB and proven beyond.
            self.joined
                .reserve(self.expected.min(1 << 20).max(first.len() + chunk.len()));
            self.joined.put(first);
        }
        self.joined.put(chunk);
        Ok(())
    }

    fn finish(&mut self) -> Bytes {
        if self.first.is_empty() {
            self.joined.split().freeze()
        } else {
            std::mem::take(&mut self.first)
        }
    }
}

/// The body as it is, at most [`Limits::max_body`] long.
#[derive(Clone, Default)]
pub struct Raw {
    body: Collected,
    done: bool,
}

impl Decode for Raw {
    type Item = Bytes;

    fn begin(&mut self, limits: &Limits) {
        self.body.max = limits.max_body;
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        self.body.expected = length.unwrap_or(0);
        Ok(())
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.body.push(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        if end == End::Truncated {
            return Err(Error::new(ErrorKind::Truncated, "the answer was cut off"));
        }
        self.done = true;
        Ok(())
    }

    fn poll_item(&mut self) -> Result<Option<Bytes>, Error> {
        if !std::mem::take(&mut self.done) {
            return Ok(None);
        }
        Ok(Some(self.body.finish()))
    }

    fn has_items(&self) -> bool {
        self.done
    }

    fn buffered(&self) -> usize {
        self.body.len()
    }
}

impl Unary for Raw {}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw")
            .field("buffered", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One JSON value.
pub struct Json<T> {
    raw: Raw,
    decode: fn(&[u8]) -> Result<T, Error>,
    /// The value did not decode; the error repeats.
    fault: Option<Error>,
}

impl<T> Json<T> {
    /// A value that is told from others by more than its type.
    pub(crate) fn with(decode: fn(&[u8]) -> Result<T, Error>) -> Self {
        Self {
            raw: Raw::default(),
            decode,
            fault: None,
        }
    }
}

impl<T: DeserializeOwned> Default for Json<T> {
    fn default() -> Self {
        Self::with(decode)
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self {
            raw: self.raw.clone(),
            decode: self.decode,
            fault: self.fault.clone(),
        }
    }
}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json")
            .field("buffered", &self.raw.body.len())
            .finish_non_exhaustive()
    }
}

impl<T> Decode for Json<T> {
    type Item = T;

    fn begin(&mut self, limits: &Limits) {
        self.raw.begin(limits);
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        self.raw.handle_head(head)
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.raw.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.raw.handle_end(end)
    }

    fn poll_item(&mut self) -> Result<Option<T>, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(body) = self.raw.poll_item()? else {
            return Ok(None);
        };
        (self.decode)(&body)
            .map(Some)
            .inspect_err(|error| self.fault = Some(error.clone()))
    }

    fn has_items(&self) -> bool {
        self.raw.has_items()
    }

    fn buffered(&self) -> usize {
        self.raw.buffered()
    }
}

impl<T> Unary for Json<T> {}

/// Decodes one value. What is no JSON is the peer's fault, unless the rest of it is missing; JSON that does not fit names
/// its object.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Error::object(&error, identify(json)),
        serde_json::error::Category::Eof if !json.trim_ascii().is_empty() => {
            Error::new(ErrorKind::Truncated, "the answer ended early")
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            Error::peer("the answer is not JSON").with_source(Error::object(
                &error,
                BadObject {
                    len: json.len(),
                    ..BadObject::default()
                },
            ))
        }
    })
}

/// Reads as much of an object's identity as there is.
pub(crate) fn identify(json: &[u8]) -> BadObject {
    #[derive(serde::Deserialize)]
    struct Identity {
        metadata: crate::meta::ObjectMeta,
    }
    let mut object = BadObject {
        len: json.len(),
        ..BadObject::default()
    };
    if let Ok(Identity { metadata }) = serde_json::from_slice(json) {
        object.namespace = metadata.namespace;
        object.name = metadata.name;
        object.resource_version = metadata.resource_version;
    }
    object
}

/// Turns "404, it does not exist" into `None`.
#[derive(Clone, Debug, Default)]
pub struct Optional<D>(D);

impl<D> Optional<D> {
    /// Wraps the decoder of an existing object.
    pub fn new(decoder: D) -> Self {
        Self(decoder)
    }
}

impl<D: Unary> Decode for Optional<D> {
    type Item = Option<D::Item>;

    fn begin(&mut self, limits: &Limits) {
        self.0.begin(limits);
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        self.0.handle_head(head)
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.0.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.0.handle_end(end)
    }

    fn poll_item(&mut self) -> Result<Option<Self::Item>, Error> {
        Ok(self.0.poll_item()?.map(Some))
    }

    fn has_items(&self) -> bool {
        self.0.has_items()
    }

    fn buffered(&self) -> usize {
        self.0.buffered()
    }

    fn recover(&mut self, failure: &Error) -> Option<Self::Item> {
        failure.is_not_found().then_some(None)
    }
}

impl<D: Unary> Unary for Optional<D> {}
