//! kubewire.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod limits;
pub mod meta;

pub use error::{BadObject, Error, ErrorKind};
pub use limits::Limits;

pub mod channel;
#[cfg(feature = "ws")]
#[cfg_attr(docsrs, doc(cfg(feature = "ws")))]
pub mod session;
#[cfg(feature = "ws")]
#[cfg_attr(docsrs, doc(cfg(feature = "ws")))]
pub mod ws;
