//! kubewire.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod call;
pub mod config;
mod error;
mod limits;
pub mod meta;
mod resource;
pub mod stream;

pub use api::*;
pub use call::{
    Call, Decode, End, Endpoint, Exchange, Json, Operation, Optional, Raw, Streaming, Unary, Verb,
    Warning,
};
pub use error::{BadObject, Error, ErrorKind};
pub use limits::Limits;
pub use resource::{
    ApiResource, Dynamic, HasAttach, HasEphemeralContainers, HasEviction, HasExec, HasLogs,
    HasPortForward, HasResize, HasScale, HasStatus, Object, Resource, Scale, ScaleSpec,
    ScaleStatus, Scope,
};
