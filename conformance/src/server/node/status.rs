//! The status of pods, as a kubelet writes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::App;
use super::super::fields::{self, Scope};
use super::super::store::key;
use super::super::time::Timestamp;
use super::super::update::{self, Writer};
use super::pod::{Pod, Slot, State, container_status};

fn phase(pod: &Pod, slots: &[Slot]) -> &'static str {
    let main: Vec<&Slot> = slots.iter().filter(|s| !s.init).collect();
    let code = |slot: &Slot| match &slot.state {
        State::Terminated(terminated) => Some(terminated.code),
        State::Waiting { .. } | State::Running { .. } => None,
    };
    let init_failed = slots
        .iter()
        .any(|s| s.init && code(s).is_some_and(|c| c != 0));
    if init_failed && pod.restart_policy == "Never" {
        return "Failed";
    }
    let codes: Vec<i32> = main.iter().filter_map(|s| code(s)).collect();
    if codes.len() == main.len() {
        let failed = codes.iter().any(|c| *c != 0);
        return if failed { "Failed" } else { "Succeeded" };
    }
    let started = |s: &&&Slot| {
        matches!(s.state, State::Running { .. } | State::Terminated(_))
            || s.restarts > 0
            || s.last.is_some()
    };
    if main.iter().any(|s| started(&s)) {
        "Running"
    } else {
        "Pending"
    }
}

/// Writes the status of a pod, if there is something new.
pub(crate) fn report(app: &App, pod: &Pod) {
    let slots = pod.slots();
    let Some(kind) = app.kinds.by_storage("pods") else {
        return;
    };
    let writer = Writer::new(&kind, "kubelet", "Update", "status", false);
    app.store.transact(|tx| {
        let at = key(&pod.namespace, &pod.name);
        if tx
            .get("pods", &at)
            .is_none_or(|object| object["metadata"]["uid"] != pod.uid)
        {
            return;
        }
        update::modify(tx, "pods", &at, |object| {
            let old = object.clone();
            let status = status(pod, &slots, &old);
            if status == old["status"] {
                return;
            }
            object["status"] = status;
            fields::update(
                &kind,
                Some(&old),
                object,
                Scope::OnlyStatus,
                &writer.manager,
            );
        });
    });
}

fn status(pod: &Pod, slots: &[Slot], old: &Value) -> Value {
    let phase = phase(pod, slots);
    let sandbox = *pod.ready.borrow();
    let unready: Vec<&str> = slots
        .iter()
        .filter(|s| !s.init && !matches!(s.state, State::Running { .. }))
        .map(|s| s.name.as_str())
        .collect();
    let initialized = slots
        .iter()
        .filter(|s| s.init)
        .all(|s| matches!(&s.state, State::Terminated(t) if t.code == 0));
    let done = matches!(phase, "Succeeded" | "Failed");
    let (reason, message) = match phase {
        "Succeeded" => ("PodCompleted", String::new()),
        "Failed" => ("PodFailed", String::new()),
        _ => (
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        ),
    };
    let ready = unready.is_empty() && !done;
    let mut reasons = BTreeMap::new();
    if !ready {
        reasons.insert("Ready", (reason, message.clone()));
        reasons.insert("ContainersReady", (reason, message));
    }
    if !initialized {
        reasons.insert(
            "Initialized",
            (
                "ContainersNotInitialized",
                "containers with incomplete status".to_owned(),
            ),
        );
    }
    let generation = &old["metadata"]["generation"];
    let before = old["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let now = Timestamp::now().rfc3339();
    let condition = |r#type: &str, truth: bool| {
        let truth = if truth { "True" } else { "False" };
        let since = before
            .iter()
            .find(|c| c["type"] == r#type && c["status"] == truth)
            .map(|c| c["lastTransitionTime"].clone());
        let mut value = json!({"type": r#type, "observedGeneration": generation, "status": truth, "lastProbeTime": null,
            "lastTransitionTime": since.unwrap_or_else(|| now.as_str().into())});
        if let Some((reason, message)) = reasons.get(r#type) {
            value["reason"] = (*reason).into();
            if !message.is_empty() {
                value["message"] = message.as_str().into();
            }
        }
        value
    };
    let conditions = json!([
        condition("PodReadyToStartContainers", sandbox && !done),
        condition("Initialized", initialized),
        condition("Ready", ready),
        condition("ContainersReady", ready),
        condition("PodScheduled", true),
    ]);
    let of = |init: bool| -> Vec<Value> {
        slots
            .iter()
            .filter(|s| s.init == init)
            .map(container_status)
            .collect()
    };
    let mut status = json!({
        "observedGeneration": generation, "phase": phase, "conditions": conditions, "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}], "startTime": pod.started.rfc3339(), "containerStatuses": of(false),
        "qosClass": old["status"]["qosClass"],
    });
    if let Some(containers) = status["containerStatuses"].as_array_mut() {
        for container in containers {
            tell_resources(container, &old["spec"]["containers"]);
        }
    }
    let specs = old["spec"]["containers"].as_array();
    status["resources"] = match specs.map(Vec::as_slice) {
        Some([only]) if !only["resources"].is_null() => only["resources"].clone(),
        _ => json!({}),
    };
    if slots.iter().any(|s| s.init) {
        status["initContainerStatuses"] = of(true).into();
    }
    if sandbox {
        status["podIP"] = pod.ip.as_str().into();
        status["podIPs"] = json!([{"ip": pod.ip}]);
    }
    status
}

/// What a container that was started has been given, and as whom it runs.
fn tell_resources(container: &mut Value, specs: &Value) {
    if container["containerID"].is_null() {
        return;
    }
    let spec = specs
        .as_array()
        .into_iter()
        .flatten()
        .find(|spec| spec["name"] == container["name"]);
    let resources = spec.map_or(&Value::Null, |spec| &spec["resources"]);
    let requests = resources["requests"].clone();
    if !requests.is_null() {
        container["allocatedResources"] = requests;
    }
    container["resources"] = if resources.is_null() {
        json!({})
    } else {
        resources.clone()
    };
    container["user"] = json!({"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}});
}
