//! The server as its clients see it.

mod client;
mod controllers;
mod forwards;
mod lists;
mod objects;
mod pods;
mod process;
mod sessions;
mod watches;
mod websocket;
mod writes;

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

/// A pod `box` that runs a script.
fn with_pod(container: Value) -> (Server, Client) {
    let (server, client) = start();
    let mut container = container;
    container["name"] = "main".into();
    container["image"] = "busybox:1.36".into();
    client.post(PODS, &json!({"metadata": {"name": "box"}, "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}})).ok();
    client.phase("box", "Running");
    (server, client)
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
