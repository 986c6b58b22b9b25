//! Proxies between a client and the API server: which one, and how to talk it into a tunnel.
//!
//! 1. [`ProxySettings`] come from a configuration's `proxy-url` or from the environment, by the rules of
//!    Go's `httpproxy`, which are those of kubectl. [`ProxySettings::proxy_for`] tells the [`Proxy`] for
//!    an API server, if there is one in between.
//! 2. The driver dials the proxy's host and port, with TLS to the proxy's own name if its scheme is
//!    [`https`](ProxyScheme::Https).
//! 3. [`ProxyHandshake`] is the conversation with the proxy: HTTP's `CONNECT` or SOCKS5, by its scheme. After
//!    that the connection is one to the API server. Its TLS begins with what
//!    [`take_leftover`](ProxyHandshake::take_leftover) gives.
//!
//! A proxy is always asked for a tunnel, also for an API server without TLS, where Go would send the
//! requests themselves to the proxy: so there is one way for all of them, upgrades included.
//!
//! ```
//! use kubewire::Endpoint;
//! use kubewire::proxy::{ProxyHandshake, ProxySettings};
//!
//! let settings = ProxySettings::from_env(|name| match name {
//!     "HTTPS_PROXY" => Some("http://proxy.example:3128".into()),
//!     "NO_PROXY" => Some("10.0.0.0/8,.internal".into()),
//!     _ => None,
//! });
//! assert!(settings.proxy_for(&Endpoint::parse("https://10.1.2.3:6443")?)?.is_none());
//!
//! let server = Endpoint::parse("https://api.example:6443")?;
//! let proxy = settings.proxy_for(&server)?.unwrap();
//! assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
//!
//! let mut handshake = ProxyHandshake::new(&proxy, server.host(), server.port())?;
//! let request = handshake.poll_transmit().unwrap();
//! assert!(request.starts_with(b"CONNECT api.example:6443 HTTP/1.1\r\n"));
//! let sent = request.len();
//! handshake.transmitted(sent);
//! handshake.handle_input(b"HTTP/1.1 200 OK\r\n\r\n")?;
//! assert!(handshake.is_done());
//! # Ok::<(), kubewire::Error>(())
//! ```

mod address;
mod connect;
mod handshake;
mod no_proxy;
mod punycode;
mod settings;
mod socks5;

pub use address::{Proxy, ProxyCredentials, ProxyScheme};
pub use connect::ConnectRefused;
pub use handshake::ProxyHandshake;
pub use no_proxy::NoProxy;
pub use settings::ProxySettings;
pub use socks5::{Socks5Refused, Socks5Reply};
