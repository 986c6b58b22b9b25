//! Kubernetes' API protocol as plain values.
//!
//! What a client has to know of Kubernetes is here: which request an operation is, how its answer is
//! decoded, what the frames of an exec session mean. What a client has to do is not: nothing in this crate
//! opens a socket, reads a clock, starts a task or takes a lock. So it works under any runtime, or
//! none, and under a fuzzer.
//!
//! ```text
//!   your program
//!        |
//!   kubewire-tokio   kubewire-smol   your runtime        dial, sleep, spawn
//!        \________________|________________/
//!                  kubewire-driver                       HTTP by hyper, TLS, pool, session pump
//!                         |
//!                     kubewire                           this crate: values in, values out
//!   Api -> Operation -> Call -> request + Exchange -> items
//!   Api -> UpgradeOperation -> Upgrade -> request + Handshake -> Session or Tunnel
//!   Api -> Reflector -> wants and events -> Store
//! ```
//!
//! To talk to a cluster under tokio or smol, use `kubewire-tokio` or `kubewire-smol`, which re-export this
//! crate. To embed it, see [`Call`] and [`Exchange`] for plain requests and the module [`session`] for
//! exec, attach and port-forward; `examples/blocking.rs` is a complete client over `std::net`. What a
//! transport has to decide is here as well: whom to be ([`auth`]), through which proxy to go ([`proxy`]), when
//! to try again and when to give up ([`policy`]). [`reflect`] keeps up to
//! date about collections.
//!
//! # The machine contract
//!
//! > A machine is a plain value. `handle_*` tells it what happened. `poll_*` takes what it wants done,
//! > until it says `None`. After any `&mut self` call, drain every `poll_*` before waiting.
//! > `poll_timeout` is the one instant to wait for; when it passes, call `handle_timeout(now)`. Nothing
//! > is lost if you stop at any point. Errors are terminal and repeat. Memory held is bounded by
//! > [`Limits`], and `buffered()` tells how much.
//!
//! `now` and random bytes are arguments. How the input was cut into chunks makes no difference. The one
//! error that is not terminal is an [`ErrorKind::Object`]: it concerns one object of a stream.
//!
//! # Examples
//!
//! ```
//! use kubewire::{Api, ApiResource, End, Limits, Operation};
//!
//! let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
//! let (request, mut exchange) = pods.list().labels("app=web").items().into_call()?.begin(&Limits::default());
//! assert_eq!(request.uri(), "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb");
//!
//! exchange.handle_head(&http::Response::new(()).into_parts().0)?;
//! exchange.handle_data(r#"{"kind":"PodList","items":[{"metadata":{"name":"web-0"}},{"metada"#.into())?;
//! assert_eq!(exchange.poll_item()?.unwrap().metadata.name.as_deref(), Some("web-0"));
//! assert!(exchange.poll_item()?.is_none());
//! exchange.handle_data(r#"ta":{"name":"web-1"}}]}"#.into())?;
//! assert_eq!(exchange.poll_item()?.unwrap().metadata.name.as_deref(), Some("web-1"));
//! exchange.handle_end(End::Clean)?;
//! # Ok::<(), kubewire::Error>(())
//! ```
//!
//! # Features
//!
//! - `ws` (default): sessions, with WebSocket framing by tungstenite over an in-memory pipe.
//! - `k8s-openapi`: every type of that crate is a [`Resource`]. Enable the version feature of k8s-openapi
//!   in your own program.
//! - `kubeconfig`: reading kubeconfig files.
//!
//! # What semantic versioning does not cover
//!
//! Default limits and timeouts, the text of errors and of `Debug`, and the types of error sources.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
pub mod auth;
mod call;
pub mod channel;
pub mod config;
pub mod discovery;
mod error;
mod limits;
pub mod meta;
pub mod policy;
pub mod proxy;
pub mod reflect;
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
    Warning, path_template,
};
pub use error::{BadObject, Error, ErrorKind};
pub use limits::Limits;
pub use resource::{
    ApiResource, Dynamic, HasApproval, HasAttach, HasBinding, HasEphemeralContainers, HasEviction,
    HasExec, HasFinalize, HasLogs, HasPortForward, HasProxy, HasResize, HasScale, HasStatus,
    HasToken, Object, Resource, Scale, ScaleSpec, ScaleStatus, Scope,
};
pub use selector::{FieldSelector, IntoFieldSelector, IntoLabelSelector, LabelSelector};
#[cfg(feature = "ws")]
#[cfg_attr(docsrs, doc(cfg(feature = "ws")))]
pub use session::PortForwardTunnelOperation;
