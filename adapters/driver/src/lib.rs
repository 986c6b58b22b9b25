//! Carries kubewire's calls and sessions over hyper connections, for any async runtime.

mod auth;
mod build;
mod client;
mod connect;
mod connection;
mod exchange;
mod forward;
mod halves;
#[cfg(feature = "kubeconfig")]
pub mod load;
mod open;
mod pool;
mod process;
mod runtime;
mod session;
mod time;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
mod tls_config;

pub use build::ClientBuilder;
pub use client::{Client, Timeouts};
#[cfg(feature = "http2")]
pub use connection::H2Task;
pub use connection::{H1Task, RequestBody, Transport};
pub use forward::{Forward, PortStream};
pub use halves::{Reader, Writer};
pub use open::{Handles, Openable};
pub use process::{Output, Process};
pub use runtime::{Drive, Runtime};
pub use session::SessionTask;
#[cfg(feature = "rustls")]
pub use tls::TlsStream;
