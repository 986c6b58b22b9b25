//! Kubeconfigs for tests.

#![allow(dead_code, reason = "not every test needs everything")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kubewire::config::{Config, Kubeconfig, Overrides};
use serde_json::{Value, json};

pub(crate) fn parse(text: &str) -> Kubeconfig {
    Kubeconfig::parse(text.as_bytes(), Path::new("/home/me/.kube/config")).unwrap()
}

/// One cluster `c` and one user `u` with these fields.
pub(crate) fn with(cluster: &Value, user: &Value) -> Result<Config, kubewire::Error> {
    let file = json!({
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    parse(&file.to_string()).resolve(&Overrides::default())
}

pub(crate) fn user(user: &Value) -> Config {
    with(&json!({"server": "https://h"}), user).unwrap()
}
