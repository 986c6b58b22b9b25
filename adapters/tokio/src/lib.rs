//! A Kubernetes client on tokio.
//!
//! ```no_run
//! use k8s_openapi::api::core::v1::Pod;
//! use kubewire_tokio::{Client, kubewire::Api};
//!
//! # async fn example() -> Result<(), kubewire_tokio::kubewire::Error> {
//! let client = Client::try_default()?;
//! let pods = client.send(Api::<Pod>::all().list().labels("app=web").limit(500)).await?;
//! for pod in pods.items {
//!     println!("{:?}", pod.metadata.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] is [`kubewire_driver::Client`] on [`TokioRuntime`]; operations come from [`kubewire::Api`].
//! `kubewire-smol` has the same names.

#[cfg(feature = "exec-plugin")]
mod process;
mod runtime;

pub use kubewire;
#[cfg(feature = "copy")]
pub use kubewire_driver::copy;
pub use kubewire_driver::{Cache, Event, Observer, RequestInfo, Timeouts};
#[cfg(feature = "ws")]
pub use kubewire_driver::{
    Forward, Forwarder, Output, PortListener, PortStream, Process, Reader, TunnelHandle, Writer,
};
pub use runtime::{Bind, Dial, Sleep, TokioRuntime};

/// A client of one API server, on tokio. See [`kubewire_driver::Client`] for its methods.
pub type Client = kubewire_driver::Client<TokioRuntime>;
