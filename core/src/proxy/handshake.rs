//! Either conversation.

use bytes::Bytes;

use super::{HttpConnect, Proxy, ProxyScheme, Socks5};
use crate::Error;

/// The conversation that makes a connection to a proxy one to a server: [`HttpConnect`] or [`Socks5`].
///
/// ```
/// use kubewire::proxy::{Proxy, ProxyHandshake};
///
/// let mut handshake = ProxyHandshake::new(&Proxy::parse("socks5://proxy.example")?, "api.example", 443)?;
/// // What a driver does, with a peer that plays along:
/// let mut answers = [&b"\x05\x00"[..], b"\x05\x00\x00\x01\0\0\0\0\0\0", b"unused"].into_iter();
/// while !handshake.is_done() {
///     while let Some(bytes) = handshake.poll_transmit() {
///         let written = bytes.len();
///         handshake.transmitted(written);
///     }
///     handshake.handle_input(answers.next().unwrap())?;
/// }
/// assert_eq!(answers.len(), 1);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a machine does nothing by itself"]
pub struct ProxyHandshake {
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    Http(HttpConnect),
    Socks(Socks5),
}

impl ProxyHandshake {
    /// A tunnel through this proxy, once a connection to it stands (and TLS, if its scheme is
    /// [`https`](ProxyScheme::Https)). An IPv6 address is without brackets.
    ///
    /// # Errors
    ///
    /// As [`HttpConnect::new`] and [`Socks5::new`].
    pub fn new(proxy: &Proxy, host: &str, port: u16) -> Result<Self, Error> {
        let machine = match proxy.scheme() {
            ProxyScheme::Http | ProxyScheme::Https => {
                Machine::Http(HttpConnect::new(host, port, proxy.credentials())?)
            }
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
                Machine::Socks(Socks5::new(host, port, proxy.credentials())?)
            }
        };
        Ok(Self { machine })
    }

    /// Bytes for the proxy. Write some, and say how many.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        match &mut self.machine {
            Machine::Http(machine) => machine.poll_transmit(),
            Machine::Socks(machine) => machine.poll_transmit(),
        }
    }

    /// So many bytes of [`poll_transmit`](Self::poll_transmit) were written.
    pub fn transmitted(&mut self, n: usize) {
        match &mut self.machine {
            Machine::Http(machine) => machine.transmitted(n),
            Machine::Socks(machine) => machine.transmitted(n),
        }
    }

    /// Whether bytes from the proxy are wanted.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.machine {
            Machine::Http(machine) => machine.wants_input(),
            Machine::Socks(machine) => machine.wants_input(),
        }
    }

    /// Bytes from the proxy.
    ///
    /// # Errors
    ///
    /// Why there is no tunnel. It repeats.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.machine {
            Machine::Http(machine) => machine.handle_input(bytes),
            Machine::Socks(machine) => machine.handle_input(bytes),
        }
    }

    /// The proxy ended the connection, or the time is up.
    ///
    /// # Errors
    ///
    /// Why there is no tunnel, unless there is one.
    pub fn handle_end(&mut self) -> Result<(), Error> {
        match &mut self.machine {
            Machine::Http(machine) => machine.handle_end(),
            Machine::Socks(machine) => machine.handle_end(),
        }
    }

    /// Whether the tunnel stands.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.machine {
            Machine::Http(machine) => machine.is_done(),
            Machine::Socks(machine) => machine.is_done(),
        }
    }

    /// What the server has sent through the tunnel already, to be read before anything else.
    pub fn take_leftover(&mut self) -> Bytes {
        match &mut self.machine {
            Machine::Http(machine) => machine.take_leftover(),
            Machine::Socks(machine) => machine.take_leftover(),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match &self.machine {
            Machine::Http(machine) => machine.buffered(),
            Machine::Socks(machine) => machine.buffered(),
        }
    }
}
