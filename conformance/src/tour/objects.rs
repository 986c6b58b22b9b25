//! What the tour creates.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::{Value, json};

/// A label by which leftovers of an interrupted tour can be found.
const LABEL: &str = "kubewire-tour";

pub(super) fn namespace() -> Namespace {
    typed(json!({"metadata": {"generateName": "kubewire-tour-", "labels": {LABEL: "true"}}}))
}

pub(super) fn config_map(name: &str, colour: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": LABEL, "colour": colour}},
        "data": {"colour": colour},
    })
}

/// One container that prints five lines and ends, one that serves a page.
pub(super) fn pod(name: &str, image: &str) -> Pod {
    let lines = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done";
    let web = "mkdir -p /www && echo 'hello from the tour' > /www/index.html && exec httpd -f -p 8080 -h /www";
    let container =
        |name, script| json!({"name": name, "image": image, "command": ["sh", "-c", script]});
    typed(json!({
        "metadata": {"name": name, "labels": {"app": LABEL}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [container("lines", lines), container("web", web)],
        },
    }))
}

pub(super) fn deployment(name: &str, image: &str) -> Deployment {
    typed(json!({
        "metadata": {"name": name, "labels": {"app": LABEL}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "main", "image": image, "command": ["sleep", "3600"]}],
                },
            },
        },
    }))
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the objects above fit their types")
}
