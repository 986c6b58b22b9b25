//! Objects and pods for scenarios.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kubewire::stream::WatchEvent;
use kubewire::{Api, Error, ExecOperation, Patch};
use kubewire_driver::Reader;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Calls;

/// How long a container may take to start: on a real cluster its image may have to be pulled.
pub(crate) const START: Duration = Duration::from_mins(3);

/// A typed object.
pub(super) fn typed<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the object fits its type")
}

/// A config map with one key.
pub(super) fn map(name: &str, colour: &str) -> ConfigMap {
    typed(json!({"metadata": {"name": name}, "data": {"colour": colour}}))
}

/// Creates it.
pub(super) async fn create_map<E: Calls>(env: &E, name: &str, colour: &str) -> ConfigMap {
    let map = map(name, colour);
    let created = env.send(env.api().create(&map)).await;
    created.expect("the config map is created")
}

/// The name of objects that finalizers hold; whoever cleans up lets them go.
pub(crate) const HELD: &str = "held";

/// A config map that is held by a finalizer.
pub(super) fn held() -> ConfigMap {
    typed(json!({"metadata": {"name": HELD, "finalizers": ["example.com/hold"]}}))
}

/// Lets it go.
pub(crate) fn free() -> Patch {
    Patch::merge(&json!({"metadata": {"finalizers": null}}))
}

/// The value of its key.
pub(super) fn colour(map: &ConfigMap) -> Option<&str> {
    map.data.as_ref()?.get("colour").map(String::as_str)
}

/// The error of a call that had to fail.
pub(super) fn failure<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("what had to be refused was done"),
        Err(error) => error,
    }
}

/// A pod with one container, `main`, that runs a shell script.
pub(super) fn pod<E: Calls>(env: &E, name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": env.place().image(), "command": ["sh", "-c", script]}],
        },
    })
}

/// Creates a pod, as soon as the namespace takes some.
pub(crate) async fn create_pod<E: Calls>(env: &E, pod: Value) -> Pod {
    let accounts = env.api::<ServiceAccount>();
    // Pods are refused until a controller has made the account.
    while env
        .send(accounts.get("default").optional())
        .await
        .expect("an answer")
        .is_none()
    {
        env.pause(Duration::from_millis(50)).await;
    }
    env.send(env.api().create(&typed::<Pod>(pod)))
        .await
        .expect("the pod is created")
}

/// Waits until a pod's condition holds.
pub(super) async fn until_pod<E: Calls>(env: &E, name: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
    let wait = async {
        loop {
            let watch = env.api::<Pod>().watch();
            let watch = watch.fields(format!("metadata.name={name}"));
            let mut events = env.stream(watch.timeout_seconds(45));
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event.expect("an event")
                    && holds(&pod)
                {
                    return pod;
                }
            }
        }
    };
    let Some(pod) = env.within(START, wait).await else {
        panic!("pod {name} did not get there");
    };
    pod
}

/// The phase of a pod.
pub(super) fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status.and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Makes a pod that runs a shell script, and waits until it does.
pub(super) async fn run_pod<E: Calls>(env: &E, name: &str, script: &str) -> Api<Pod> {
    create_pod(env, pod(env, name, script)).await;
    until_pod(env, name, |pod| {
        assert!(!matches!(phase(pod), "Failed" | "Succeeded"), "it ended");
        phase(pod) == "Running"
    })
    .await;
    env.api()
}
/// Makes a pod that runs a shell script, and waits until that has ended.
pub(super) async fn finish_pod<E: Calls>(env: &E, name: &str, script: &str) -> Api<Pod> {
    create_pod(env, pod(env, name, script)).await;
    until_pod(env, name, |pod| {
        matches!(phase(pod), "Failed" | "Succeeded")
    })
    .await;
    env.api()
}

/// All that comes until the end.
pub(super) async fn all(reader: &mut Reader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.chunk().await {
        all.extend_from_slice(&chunk);
    }
    all
}

/// A shell script to run in the pod `box`.
pub(super) fn sh<E: Calls>(env: &E, script: &str) -> ExecOperation {
    env.api::<Pod>().exec("box").command(["sh", "-c", script])
}
