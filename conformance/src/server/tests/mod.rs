//! The server as its clients see it.

mod client;
mod lists;
mod objects;
mod pods;
mod process;
mod sessions;
mod watches;
mod websocket;

use client::Client;
use serde_json::{Value, json};

use super::Server;

/// A server whose default namespace has no maps.
fn start() -> (Server, Client) {
    let server = Server::start().unwrap();
    let root = "default/kube-root-ca.crt";
    let removed = server
        .app
        .store
        .transact(|tx| tx.delete("configmaps", root, json!({})));
    assert!(removed.is_some());
    let client = Client::new(&server);
    (server, client)
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
