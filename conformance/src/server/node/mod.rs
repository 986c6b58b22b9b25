//! A simulated node: it schedules pods to itself and runs their containers as tasks.

pub(crate) mod files;
pub(crate) mod instance;
pub(crate) mod log;
pub(crate) mod net;
pub(crate) mod pipe;
pub(crate) mod pod;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod shell;
mod status;
pub(crate) mod terminal;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::App;
use super::controllers::NODE;
use super::store::{Change, ChangeType, key};
use super::time::Timestamp;
use super::update;
use pod::Pod;

/// The pods that run here, by uid.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pods: Mutex<BTreeMap<String, Arc<Pod>>>,
    count: AtomicU64,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.lock().get(uid).cloned()
    }

    fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

/// Follows the pods for as long as it is polled.
pub(crate) async fn run(app: Arc<App>) {
    let react = |change: &Change| react(&app, change);
    app.store
        .follow(Some("pods"), 0, react, || resync(&app))
        .await;
}

/// Looks at all pods; returns the revision at which it did.
fn resync(app: &Arc<App>) -> u64 {
    let (revision, pods) = app.store.list("pods", "");
    for (_, object) in &pods {
        observe(app, object);
    }
    let known: Vec<Arc<Pod>> = app.node.lock().values().cloned().collect();
    for pod in known {
        if !pods
            .iter()
            .any(|(_, object)| object["metadata"]["uid"] == pod.uid)
        {
            pod.stop(Duration::ZERO);
        }
    }
    revision
}

fn react(app: &Arc<App>, change: &Change) {
    if change.change == ChangeType::Deleted {
        let uid = change.object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default();
        if let Some(pod) = app.node.pod(uid) {
            pod.stop(Duration::ZERO);
        }
        return;
    }
    observe(app, &change.object);
}

fn observe(app: &Arc<App>, object: &Value) {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let deleting = object["metadata"]["deletionTimestamp"].is_string();
    if let Some(pod) = app.node.pod(uid) {
        if deleting {
            let grace = object["metadata"]["deletionGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(0);
            pod.stop(Duration::from_secs(grace));
        }
        return;
    }
    let finished = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if deleting || finished || !schedule(app, object) {
        return;
    }
    let pod = Arc::new(Pod::new(
        object,
        app.node.count.fetch_add(1, Ordering::Relaxed),
    ));
    app.node.lock().insert(uid.to_owned(), Arc::clone(&pod));
    tokio::spawn(pod.run(Arc::clone(app)));
}

/// Assigns a pod to this node; false if it does not belong here.
fn schedule(app: &App, object: &Value) -> bool {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    let at = key(text("namespace"), text("name"));
    let assigned = object["spec"]["nodeName"].as_str().unwrap_or_default();
    if !assigned.is_empty() {
        return assigned == NODE;
    }
    if object["spec"]["schedulerName"]
        .as_str()
        .is_some_and(|s| s != "default-scheduler")
    {
        return false;
    }
    let labels = app
        .store
        .get("nodes", NODE)
        .map(|node| node["metadata"]["labels"].clone())
        .unwrap_or_default();
    let fits = object["spec"]["nodeSelector"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(k, v)| labels.get(k) == Some(v)));
    let now = Timestamp::now().rfc3339();
    let uid = object["metadata"]["uid"].clone();
    app.store.transact(|tx| {
        update::modify(tx, "pods", &at, |pod| {
            if pod["metadata"]["uid"] != uid || pod["status"]["conditions"].is_array() {
                return;
            }
            let mut condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
            if fits {
                pod["spec"]["nodeName"] = NODE.into();
            } else {
                condition["status"] = "False".into();
                condition["reason"] = "Unschedulable".into();
                condition["message"] = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.".into();
            }
            pod["status"]["conditions"] = json!([condition]);
        })
    });
    fits
}
