//! The protocol of Kubernetes' API as plain values: requests, decoders, watches and channel sessions without IO.
//!
//! An [`Api`] builds operations, an [`Operation`] becomes a [`Call`]: a request and the decoder of its answer. Whatever carries
//! requests carries calls; this is all that it takes:
//!
//! ```
//! use kubewire::{Api, ApiResource, Decode, End, Error, Limits, Operation};
//!
//! /// Carries one call over any transport that can send a request and read an answer.
//! fn send<O: Operation>(
//!     operation: O,
//!     transport: impl Fn(http::Request<bytes::Bytes>) -> http::Response<Vec<bytes::Bytes>>,
//! ) -> Result<Vec<<O::Decoder as Decode>::Item>, Error> {
//!     let mut items = Vec::new();
//!     let mut next = Some(operation.into_call_in(Some("default"))?);
//!     while let Some(call) = next {
//!         let (request, mut exchange) = call.begin(&Limits::default());
//!         let (head, chunks) = transport(request).into_parts();
//!         exchange.handle_head(&head)?;
//!         for chunk in chunks {
//!             exchange.handle_data(chunk)?;
//!             while let Some(item) = exchange.poll_item()? {
//!                 items.push(item);
//!             }
//!         }
//!         exchange.handle_end(End::Clean)?;
//!         while let Some(item) = exchange.poll_item()? {
//!             items.push(item);
//!         }
//!         next = exchange.follow_up();
//!     }
//!     Ok(items)
//! }
//!
//! let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps"));
//! let items = send(maps.list().items(), |request| {
//!     assert_eq!(request.uri(), "/api/v1/namespaces/default/configmaps");
//!     http::Response::new(vec![r#"{"items":[{"metadata":{"name":"a"}}"#.into(), "]}".into()])
//! })?;
//! assert_eq!(items[0].metadata.name.as_deref(), Some("a"));
//! # Ok::<(), Error>(())
//! ```
//!
//! # The machine contract
//!
//! A machine is a plain value. `handle_*` tells it what happened. `poll_*` takes what it wants done, until it says `None`. After
//! any `&mut self` call, drain every `poll_*` before waiting. `poll_timeout` is the one instant to wait for; when it passes, call
//! `handle_timeout(now)`. Nothing is lost if you stop at any point. Errors are terminal and repeat. Memory held is bounded by
//! [`Limits`], and `buffered()` tells how much.
//!
//! Time and randomness are arguments. How bytes were cut into chunks never changes what comes out.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod call;
pub mod channel;
pub mod discovery;
mod error;
mod limits;
pub mod meta;
mod resource;
mod selector;
#[cfg(feature = "ws")]
#[cfg_attr(docsrs, doc(cfg(feature = "ws")))]
pub mod session;
pub mod stream;
#[cfg(feature = "ws")]
#[cfg_attr(docsrs, doc(cfg(feature = "ws")))]
pub mod ws;

pub use api::*;
pub use call::{
    Call, Decode, End, Endpoint, Exchange, Json, Operation, Optional, Raw, Streaming, Unary, Verb,
    Warning,
};
pub use error::{BadObject, Error, ErrorKind};
pub use limits::Limits;
pub use resource::{
    ApiResource, Dynamic, HasApproval, HasAttach, HasBinding, HasEphemeralContainers, HasEviction,
    HasExec, HasFinalize, HasLogs, HasPortForward, HasProxy, HasResize, HasScale, HasStatus,
    HasToken, Object, Resource, Scale, ScaleSpec, ScaleStatus, Scope,
};
pub use selector::{FieldSelector, IntoFieldSelector, IntoLabelSelector, LabelSelector};
