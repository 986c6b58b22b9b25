//! The network of a pod: ports that its programs listen on, without sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::pipe::{Reader, Writer, pipe};

/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Network(Arc<Mutex<BTreeMap<u16, mpsc::Sender<Connection>>>>);

/// A port in use, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    network: Network,
    port: u16,
    connections: mpsc::Receiver<Connection>,
}

impl Network {
    /// Takes a port; `None` if it is in use.
    pub(crate) fn listen(&self, port: u16) -> Option<Listener> {
        let (sender, connections) = mpsc::channel(BACKLOG);
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.contains_key(&port) {
            return None;
        }
        ports.insert(port, sender);
        Some(Listener {
            network: self.clone(),
            port,
            connections,
        })
    }

    /// Connects to a port; `None` if nobody listens.
    pub(crate) async fn connect(&self, port: u16) -> Option<Connection> {
        let sender = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&port)?
            .clone();
        let (to_server, from_client) = (pipe(), pipe());
        let server = Connection {
            reader: to_server.0,
            writer: from_client.1,
        };
        sender.send(server).await.ok()?;
        Some(Connection {
            reader: from_client.0,
            writer: to_server.1,
        })
    }
}

impl Listener {
    pub(crate) async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.network
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.port);
    }
}
