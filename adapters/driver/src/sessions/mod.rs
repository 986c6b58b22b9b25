//! Sessions on connections of their own: the upgrade, the task that moves the bytes, and the handles of exec, attach and
//! port-forward.

mod forward;
mod forwarder;
mod halves;
mod machine;
mod open;
mod process;
mod task;

pub use forward::{Forward, PortStream, TunnelHandle};
pub use forwarder::{Forwarder, PortListener};
pub use halves::{Reader, Writer};
pub(crate) use open::open;
pub use open::{Handles, Openable};
pub use process::{Output, Process};
pub use task::SessionTask;
