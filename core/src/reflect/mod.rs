//! Keeping up to date.

mod backoff;
mod config;
mod event;
mod machine;
mod snapshot;
mod store;
mod turns;
mod version;
mod want;

pub use backoff::Backoff;
pub use config::{Freshness, ListMode, OnExpired, ReflectorConfig};
pub use event::{ReflectEvent, StaleReason};
pub use machine::Reflector;
pub use snapshot::{ObjectKey, Snapshot};
pub use store::{Change, Store};
pub use want::{Answer, Answers, Want, WantId};
