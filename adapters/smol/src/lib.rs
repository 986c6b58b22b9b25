//! A Kubernetes client on smol.

mod runtime;

pub use kubewire;
pub use kubewire_driver::{Forward, Output, PortStream, Process, Reader, Timeouts, Writer};
pub use runtime::{Dial, Sleep, SmolRuntime};

/// A client of one API server, on smol. See [`kubewire_driver::Client`] for its methods.
pub type Client = kubewire_driver::Client<SmolRuntime>;
