//! Carries kubewire's calls and sessions over hyper connections, for any async runtime.
//!
//! Programs use `kubewire-tokio` or `kubewire-smol`, which name the runtime. This crate is for those who
//! bring another one: implement [`Runtime`] (dial, sleep), [`Host`] (files, programs) and `hyper::rt::Executor` (spawn), and [`Client`] works.
//!
//! The client spawns one task for each connection and session, as a named future ([`H1Task`], [`H2Task`], `SessionTask`),
//! so that whether it is `Send` follows from the runtime's connections: nothing here asks for it. Tasks end
//! with the connection, and sessions with their last handle.
//!
//! # Cancel safety
//!
//! Every future may be dropped at any await, and the client goes on. What that means for the call or session
//! is said at each method.
//!
//! # What semantic versioning does not cover
//!
//! Default timeouts, the settings of connections, the text of errors and of `Debug`, and the types of error sources.

mod build;
mod client;
mod connect;
mod connection;
#[cfg(feature = "copy")]
pub mod copy;
mod exchange;
mod fault;
mod host;
#[cfg(any(unix, windows))]
mod keep_alive;
#[cfg(feature = "kubeconfig")]
pub mod load;
mod observe;
mod pool;
mod program;
mod reflect;
mod runtime;
#[cfg(feature = "ws")]
mod sessions;
mod signer;
mod signs;
mod time;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
mod tls_config;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(feature = "rustls")]
mod trust;

pub use build::ClientBuilder;
pub use client::{Client, Timeouts};
#[cfg(feature = "http2")]
pub use connection::H2Task;
pub use connection::{H1Task, RequestBody, Transport};
pub use host::{Host, read_start};
#[cfg(any(unix, windows))]
pub use keep_alive::keep_alive;
pub use observe::{Event, Observer, RequestInfo};
pub use program::{program, program_output};
pub use reflect::Cache;
pub use runtime::{Drive, Listen, Runtime};
#[cfg(feature = "ws")]
pub use sessions::{
    Forward, Forwarder, Handles, Openable, Output, PortListener, PortStream, Process, Reader,
    SessionTask, TunnelHandle, Writer,
};
