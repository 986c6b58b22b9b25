//! A Kubernetes client on smol.
//!
//! ```no_run
//! use k8s_openapi::api::core::v1::Pod;
//! use kubewire_smol::{Client, kubewire::Api};
//!
//! # async fn example() -> Result<(), kubewire_smol::kubewire::Error> {
//! let client = Client::try_default()?;
//! let pods = client.send(Api::<Pod>::all().list().labels("app=web").limit(500)).await?;
//! for pod in pods.items {
//!     println!("{:?}", pod.metadata.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] is [`kubewire_driver::Client`] on [`SmolRuntime`]; operations come from [`kubewire::Api`].
//! `kubewire-tokio` has the same names.

mod connection;
mod process;
mod runtime;
mod sleep;

pub use connection::Connection;
pub use kubewire;
#[cfg(feature = "copy")]
pub use kubewire_driver::copy;
pub use kubewire_driver::{Cache, Event, Observer, RequestInfo, Timeouts};
#[cfg(feature = "ws")]
pub use kubewire_driver::{
    Forward, Forwarder, Output, PortListener, PortStream, Process, Reader, TunnelHandle, Writer,
};
pub use runtime::{Dial, SmolRuntime};
pub use sleep::Sleep;

/// A client of one API server, on smol. See [`kubewire_driver::Client`] for its methods.
pub type Client = kubewire_driver::Client<SmolRuntime>;
