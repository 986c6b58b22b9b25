//! The embedded API server and the conformance suite of kubewire.

pub mod cli;
pub mod fidelity;
pub mod harness;
pub mod peers;
pub mod replay;
pub mod rig;
pub mod scenario;
pub mod server;
pub mod suite;
pub mod tour;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
