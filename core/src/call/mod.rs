//! A call is a value: a request paired with the decoder of its answer.

mod decode;
mod endpoint;
mod exchange;
mod gzip;
mod headers;
mod json;
mod template;

use std::fmt;

use bytes::Bytes;

pub use decode::{Decode, End, Streaming, Unary};
pub use endpoint::Endpoint;
pub(crate) use endpoint::has_sound_port;
pub use exchange::Exchange;
pub use headers::Warning;
pub use template::path_template;

pub use json::{Json, Optional, Raw};
pub(crate) use json::{decode, identify};

use crate::{Error, Limits};

/// What a call does to the API, in the words of Kubernetes' authorization.
///
/// A transport needs it to decide whether a request may be repeated, and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Reads one object or subresource.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection or a log until the server ends it.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
    /// A request of the caller's own.
    Raw,
}

impl Verb {
    /// Whether the answer has no natural end, so that no total deadline fits.
    #[must_use]
    pub fn is_long_running(self) -> bool {
        self == Self::Watch
    }
}

/// A request in origin form paired with the decoder of its answer.
///
/// It is plain data: carry it over any transport, keep it, clone it to repeat it.
/// [`begin`](Self::begin) splits it into the request to send and the [`Exchange`] to feed.
///
/// # Examples
///
/// ```
/// use kubewire::{Api, ApiResource, Dynamic, End, Limits, Operation};
///
/// let maps = Api::<Dynamic>::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
/// let (request, mut exchange) = maps.get("settings").into_call()?.begin(&Limits::default());
/// assert_eq!(request.uri(), "/api/v1/namespaces/default/configmaps/settings");
///
/// // … send the request, then feed what comes back:
/// let (head, ()) = http::Response::new(()).into_parts();
/// exchange.handle_head(&head)?;
/// exchange.handle_data(r#"{"kind":"ConfigMap","metadata":{"name":"settings"}}"#.into())?;
/// exchange.handle_end(End::Clean)?;
/// let object = exchange.poll_item()?.unwrap();
/// assert_eq!(object.metadata.name.as_deref(), Some("settings"));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a call does nothing until a transport carries it"]
pub struct Call<D> {
    request: http::Request<Bytes>,
    decoder: D,
    verb: Verb,
}

impl<D: Decode> Call<D> {
    /// Pairs a request of one's own with a decoder. The URI is in origin form (`/apis/…?…`): an
    /// [`Endpoint`] adds host and path prefix.
    pub fn new(verb: Verb, request: http::Request<Bytes>, decoder: D) -> Self {
        Self {
            request,
            decoder,
            verb,
        }
    }

    /// The request.
    pub fn request(&self) -> &http::Request<Bytes> {
        &self.request
    }

    /// The request, to add headers to.
    pub fn request_mut(&mut self) -> &mut http::Request<Bytes> {
        &mut self.request
    }

    /// What the call does.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The same request with another decoder.
    pub(crate) fn map<E>(self, decoder: impl FnOnce(D) -> E) -> Call<E> {
        Call {
            request: self.request,
            decoder: decoder(self.decoder),
            verb: self.verb,
        }
    }

    /// Splits the call into the request to send and the machine that takes the answer.
    pub fn begin(mut self, limits: &Limits) -> (http::Request<Bytes>, Exchange<D>) {
        self.decoder.begin(limits);
        let exchange = Exchange::new(self.decoder, self.verb, self.request.method(), limits);
        (self.request, exchange)
    }
}

impl<D> fmt::Debug for Call<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("verb", &self.verb)
            .field("method", self.request.method())
            .field("path", &self.request.uri().path())
            .field("body_len", &self.request.body().len())
            .finish_non_exhaustive()
    }
}

/// Anything that can be turned into a [`Call`]: the operations of [`Api`](crate::Api), and calls themselves.
pub trait Operation: Sized {
    /// What decodes the answer.
    type Decoder: Decode;

    /// Builds the call; operations of an [`Api`](crate::Api) that inherits its namespace use `namespace`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when a name, a namespace or a combination of options
    /// is not valid. Nothing was sent.
    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Self::Decoder>, Error>;

    /// Builds the call of an operation that names its namespace or needs none.
    ///
    /// # Errors
    ///
    /// As [`into_call_in`](Self::into_call_in), and when the operation inherits its namespace.
    fn into_call(self) -> Result<Call<Self::Decoder>, Error> {
        self.into_call_in(None)
    }
}

impl<D: Decode> Operation for Call<D> {
    type Decoder = D;

    fn into_call_in(self, _: Option<&str>) -> Result<Self, Error> {
        Ok(self)
    }
}
