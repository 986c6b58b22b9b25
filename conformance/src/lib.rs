//! The embedded API server and the conformance suite of kubewire.

pub mod harness;
pub mod peers;
pub mod replay;
pub mod server;
pub mod tour;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
