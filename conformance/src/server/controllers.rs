//! What a controller manager does: namespaces end, definitions are served, workloads report, garbage goes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::App;
use super::delete::{self, DeleteOptions};
use super::kinds::Kind;
use super::store::{Change, ChangeType, key};
use super::time::Timestamp;
use super::update::{self, Writer};

/// The name of the only node.
pub(crate) const NODE: &str = "node-1";

/// Creates what every cluster has, before anybody can ask for it.
pub(crate) fn bootstrap(app: &App) {
    let create = |resource: &str, namespace: &str, object: Value| {
        if let Some(kind) = app.kinds.by_storage(resource) {
            let writer = Writer::new(&kind, "kube-apiserver", "Update", "", false);
            // The names are valid and new.
            let _ = app
                .store
                .transact(|tx| update::create(tx, &kind, namespace, object, &writer));
        }
    };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        create("namespaces", "", json!({"metadata": {"name": name}}));
        create(
            "serviceaccounts",
            name,
            json!({"metadata": {"name": "default"}}),
        );
        authority(app, name);
    }
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({"metadata": {"name": "kubernetes", "labels": labels}, "spec": {"clusterIP": "10.96.0.1", "ipFamilyPolicy": "SingleStack", "ports": ports}});
    create("services", "default", service);
    let labels = json!({"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    create(
        "nodes",
        "",
        json!({"metadata": {"name": NODE, "labels": labels}, "spec": {"podCIDR": "10.244.0.0/24"}}),
    );
    let now = Timestamp::now().rfc3339();
    let status = json!({
        "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"}, "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now,
            "reason": "KubeletReady", "message": "kubelet is posting ready status"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": NODE}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1.0", "osImage": "embedded",
            "containerRuntimeVersion": "containerd://2.3.4", "kubeletVersion": "v1.36.2", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64"},
    });
    app.store
        .transact(|tx| update::modify(tx, "nodes", NODE, |node| node["status"] = status));
}

/// Follows all changes after a revision for as long as it is polled.
pub(crate) async fn run(app: Arc<App>, cursor: u64) {
    let react = |change: &Change| react(&app, change);
    app.store.follow(None, cursor, react, || resync(&app)).await;
}

/// Looks at everything; returns the revision since which it did.
fn resync(app: &App) -> u64 {
    let revision = app.store.revision();
    for kind in app.kinds.all() {
        for (_, object) in app.store.list(&kind.storage(), "").1 {
            settle(app, &kind, &object);
        }
    }
    revision
}

fn react(app: &App, change: &Change) {
    if change.change == ChangeType::Deleted {
        let storage = &*change.resource;
        if storage == "customresourcedefinitions.apiextensions.k8s.io" {
            undefine(app, &change.object);
        }
        if let Some(uid) = change.object["metadata"]["uid"].as_str() {
            collect_dependents(app, uid);
        }
        settle_owners(app, &change.object);
        if let Some(namespace) = change.object["metadata"]["namespace"].as_str()
            && let Some(object) = app.store.get("namespaces", namespace)
        {
            end_namespace(app, &object);
        }
        return;
    }
    if let Some(kind) = app.kinds.by_storage(&change.resource)
        && let Some(object) = app.store.get(&change.resource, &change.key)
    {
        settle(app, &kind, &object);
    }
}

/// Brings one object to where it should be.
fn settle(app: &App, kind: &Kind, object: &Value) {
    let deleting = object["metadata"]["deletionTimestamp"].is_string();
    if deleting {
        finish_propagation(app, kind, object);
    }
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "namespaces") if deleting => end_namespace(app, object),
        ("", "namespaces") => {
            default_account(app, object);
            if let Some(name) = object["metadata"]["name"].as_str() {
                authority(app, name);
            }
        }
        ("apiextensions.k8s.io", _) if !deleting => define(app, object),
        ("apps", resource) if !deleting => report(app, resource, object),
        _ => {}
    }
}

fn object_key(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    key(text("namespace"), text("name"))
}

fn default_account(app: &App, namespace: &Value) {
    let Some(name) = namespace["metadata"]["name"].as_str() else {
        return;
    };
    let Some(kind) = app.kinds.by_storage("serviceaccounts") else {
        return;
    };
    if app
        .store
        .get("serviceaccounts", &key(name, "default"))
        .is_none()
    {
        let writer = Writer::new(&kind, "kube-controller-manager", "Update", "", false);
        let account = json!({"metadata": {"name": "default"}});
        // The namespace may have ended in between.
        let _ = app
            .store
            .transact(|tx| update::create(tx, &kind, name, account, &writer));
    }
}

/// Every namespace has the authority's certificate.
fn authority(app: &App, name: &str) {
    const NAME: &str = "kube-root-ca.crt";
    const WHAT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
        such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
        Kubernetes clusters.";
    let Some(kind) = app.kinds.by_storage("configmaps") else {
        return;
    };
    if app.store.get("configmaps", &key(name, NAME)).is_some() {
        return;
    }
    let writer = Writer::new(&kind, "kube-controller-manager", "Update", "", false);
    let certificate = app.tls.as_ref().map_or("", |tls| tls.ca_pem.as_str());
    let map = json!({"metadata": {"name": NAME, "annotations": {"kubernetes.io/description": WHAT}},
        "data": {"ca.crt": certificate}});
    // The namespace may have ended in between.
    let _ = app
        .store
        .transact(|tx| update::create(tx, &kind, name, map, &writer));
}

/// Deletes what a terminating namespace still holds, and then the namespace.
fn end_namespace(app: &App, namespace: &Value) {
    if !namespace["metadata"]["deletionTimestamp"].is_string() {
        return;
    }
    let Some(name) = namespace["metadata"]["name"].as_str() else {
        return;
    };
    let prefix = format!("{name}/");
    let mut left = false;
    for kind in app.kinds.all().iter().filter(|k| k.namespaced) {
        let storage = kind.storage();
        for (key, object) in app.store.list(&storage, &prefix).1 {
            if !object["metadata"]["deletionTimestamp"].is_string() {
                let options = DeleteOptions::default();
                // Somebody else may have deleted it.
                let _ = app
                    .store
                    .transact(|tx| delete::delete_in(tx, kind, &key, &options));
            }
            left |= app.store.get(&storage, &key).is_some();
        }
    }
    if !left {
        app.store.transact(|tx| {
            update::modify(tx, "namespaces", name, |namespace| {
                namespace["metadata"]["deletionGracePeriodSeconds"] = 0.into();
                namespace["spec"] = json!({});
            })
        });
    }
}

fn owns(object: &Value, uid: &str) -> bool {
    object["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|o| o["uid"] == uid))
}

fn dependents(app: &App, uid: &str) -> Vec<(Arc<Kind>, String, Value)> {
    let mut found = Vec::new();
    for kind in app.kinds.all() {
        for (key, object) in app.store.list(&kind.storage(), "").1 {
            if owns(&object, uid)
                && !found.iter().any(|(k, at, _): &(Arc<Kind>, String, Value)| {
                    k.storage() == kind.storage() && *at == *key
                })
            {
                found.push((Arc::clone(&kind), key.to_string(), Value::clone(&object)));
            }
        }
    }
    found
}

/// An owner may wait for this dependent to be gone.
fn settle_owners(app: &App, object: &Value) {
    let owners = object["metadata"]["ownerReferences"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    for owner in owners {
        let name = owner["name"].as_str().unwrap_or_default();
        for kind in app
            .kinds
            .all()
            .iter()
            .filter(|k| owner["kind"] == k.kind.as_str())
        {
            let at = key(if kind.namespaced { namespace } else { "" }, name);
            if let Some(object) = app.store.get(&kind.storage(), &at) {
                settle(app, kind, &object);
            }
        }
    }
}

/// Deletes objects whose owner is gone.
fn collect_dependents(app: &App, uid: &str) {
    for (kind, key, object) in dependents(app, uid) {
        let owners = object["metadata"]["ownerReferences"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if owners.iter().all(|o| o["uid"] == uid) {
            let options = DeleteOptions::default();
            // Somebody else may have deleted it.
            let _ = app
                .store
                .transact(|tx| delete::delete_in(tx, &kind, &key, &options));
        }
    }
}

/// Handles the finalizers by which deletion is propagated.
fn finish_propagation(app: &App, kind: &Kind, object: &Value) {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let finalizers = object["metadata"]["finalizers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    let finalizer = if has("foregroundDeletion") {
        let waiting = dependents(app, uid);
        if !waiting.is_empty() {
            for (kind, key, object) in waiting {
                if !object["metadata"]["deletionTimestamp"].is_string() {
                    let options = DeleteOptions {
                        policy: Some("Foreground".into()),
                        ..DeleteOptions::default()
                    };
                    let _ = app
                        .store
                        .transact(|tx| delete::delete_in(tx, &kind, &key, &options));
                }
            }
            if !dependents(app, uid).is_empty() {
                return;
            }
        }
        "foregroundDeletion"
    } else if has("orphan") {
        for (kind, key, _) in dependents(app, uid) {
            app.store.transact(|tx| {
                update::modify(tx, &kind.storage(), &key, |object| {
                    if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                        owners.retain(|o| o["uid"] != uid);
                    }
                })
            });
        }
        "orphan"
    } else {
        return;
    };
    app.store.transact(|tx| {
        update::modify(tx, &kind.storage(), &object_key(object), |object| {
            if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
                finalizers.retain(|f| f != finalizer);
                if finalizers.is_empty()
                    && let Some(metadata) = object["metadata"].as_object_mut()
                {
                    metadata.remove("finalizers");
                }
            }
        })
    });
}

/// Serves the resources of a definition, and says so in its status.
fn define(app: &App, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    app.kinds.define(name, Some(definition));
    let now = Timestamp::now().rfc3339();
    app.store.transact(|tx| {
        update::modify(tx, "customresourcedefinitions.apiextensions.k8s.io", name, |object| {
            if object["status"]["conditions"].is_array() {
                return;
            }
            let condition = |r#type: &str, reason: &str, message: &str| {
                json!({"type": r#type, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message})
            };
            let versions = object["spec"]["versions"].as_array().cloned().unwrap_or_default();
            let stored: Vec<Value> = versions.iter().filter(|v| v["storage"] == true).map(|v| v["name"].clone()).collect();
            object["status"] = json!({
                "conditions": [
                    condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                    condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                ],
                "acceptedNames": object["spec"]["names"], "storedVersions": stored,
            });
        })
    });
}

/// Deletes the custom objects of a definition that is gone.
fn undefine(app: &App, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    app.store.transact(|tx| {
        let objects = tx.all(name);
        for (key, object) in objects {
            tx.delete(name, &key, Value::clone(&object));
        }
    });
    app.kinds.define(name, None);
    // Watches of the kind look whether it is still there.
    app.store.nudge();
}

/// The status that follows the spec of a workload at once.
fn report(app: &App, resource: &str, object: &Value) {
    let storage = format!("{resource}.apps");
    let generation = object["metadata"]["generation"].clone();
    if object["status"]["observedGeneration"] == generation {
        return;
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let now = Timestamp::now().rfc3339();
    let mut status = json!({"observedGeneration": generation});
    match resource {
        "deployments" => {
            let condition = |r#type: &str, reason: &str, message: &str| json!({"type": r#type, "status": "True", "lastUpdateTime": now, "lastTransitionTime": now, "reason": reason, "message": message});
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            status["conditions"] = json!([
                condition(
                    "Available",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability."
                ),
                condition(
                    "Progressing",
                    "NewReplicaSetAvailable",
                    &format!("ReplicaSet \"{name}\" has successfully progressed.")
                ),
            ]);
            for field in [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
            ]
            .iter()
            .filter(|_| replicas > 0)
            {
                status[*field] = replicas.into();
            }
        }
        "replicasets" => {
            status["replicas"] = replicas.into();
            for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"]
                .iter()
                .filter(|_| replicas > 0)
            {
                status[*field] = replicas.into();
            }
        }
        "statefulsets" => {
            for field in ["replicas", "availableReplicas"] {
                status[field] = replicas.into();
            }
            for field in ["readyReplicas", "currentReplicas", "updatedReplicas"]
                .iter()
                .filter(|_| replicas > 0)
            {
                status[*field] = replicas.into();
            }
        }
        "daemonsets" => {
            for field in [
                "currentNumberScheduled",
                "desiredNumberScheduled",
                "numberReady",
                "numberAvailable",
                "updatedNumberScheduled",
            ] {
                status[field] = 1.into();
            }
            status["numberMisscheduled"] = 0.into();
        }
        _ => return,
    }
    app.store.transact(|tx| {
        update::modify(tx, &storage, &object_key(object), |object| {
            object["status"] = status;
        })
    });
}
