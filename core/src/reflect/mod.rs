//! Keeping up to date.

mod backoff;
mod config;
mod event;
pub mod logs;
mod machine;
mod snapshot;
mod store;
mod turns;
mod version;
pub mod wait;
mod want;

pub use backoff::Backoff;
pub use config::{Freshness, ListMode, OnExpired, ReflectorConfig};
pub use event::{ReflectEvent, StaleReason};
pub use machine::Reflector;
pub use snapshot::{ObjectKey, Snapshot};
pub use store::{Change, Store};
pub use want::{Answer, Answers, Want, WantId};
