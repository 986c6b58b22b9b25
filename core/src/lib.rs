//! kubewire.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod limits;
pub mod meta;

pub use error::{BadObject, Error, ErrorKind};
pub use limits::Limits;
