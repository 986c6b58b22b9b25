//! Fuzz targets of kubewire, as plain functions.
//!
//! Each module is one target: `run(data)` reads `data` as decisions and bytes, uses the machines of
//! the core with them, and asserts what must always hold. `fuzz_targets/` gives these functions to
//! libFuzzer, `tests/replay.rs` replays `corpus/` on a stable compiler.

mod drive;
mod frames;
mod input;
mod json;
mod sessions;
mod wire;

pub mod channel;
pub mod exchange;
pub mod gzip;
pub mod kubeconfig;
pub mod lines;
pub mod list_items;
pub mod names_and_queries;
pub mod portforward;
pub mod reflector_model;
pub mod session_ops;
pub mod spdy;
pub mod watch;

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. Each has a folder in `corpus/` and a binary in `fuzz_targets/`.
pub const TARGETS: &[Target] = &[
    ("channel", channel::run),
    ("exchange", exchange::run),
    ("gzip", gzip::run),
    ("kubeconfig", kubeconfig::run),
    ("lines", lines::run),
    ("list_items", list_items::run),
    ("names_and_queries", names_and_queries::run),
    ("portforward", portforward::run),
    ("reflector_model", reflector_model::run),
    ("session_ops", session_ops::run),
    ("spdy", spdy::run),
    ("watch", watch::run),
];
