//! kubewire.

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
