//! Files to and from containers, by `tar` over exec.

mod unpack;

pub use unpack::{Entry, EntryKind, Item, Unpack, UnpackError};
