//! A Kubernetes client on tokio.

mod runtime;

pub use kubewire;
pub use kubewire_driver::{Forward, Output, PortStream, Process, Reader, Timeouts, Writer};
pub use runtime::{Dial, Sleep, TokioRuntime};

/// A client of one API server, on tokio. See [`kubewire_driver::Client`] for its methods.
pub type Client = kubewire_driver::Client<TokioRuntime>;
