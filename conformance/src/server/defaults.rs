//! What the server adds to an object that a client leaves out.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::{random, schema};

fn set(map: &mut Map<String, Value>, key: &str, value: Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value);
    }
}

/// Object fields that hold nothing are not kept, as in Go's `omitempty`.
fn drop_empty(map: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        let empty = match map.get(*key) {
            Some(Value::Null) => true,
            Some(Value::Object(inner)) => inner.is_empty(),
            Some(Value::Array(inner)) => inner.is_empty(),
            Some(Value::String(inner)) => inner.is_empty(),
            _ => false,
        };
        if empty {
            map.remove(*key);
        }
    }
}

/// Sets defaults, on creation and on every update.
pub(crate) fn apply(kind: &Kind, object: &mut Value) {
    if let Some(custom) = &kind.custom {
        schema::default(&custom.schema, object);
    }
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        drop_empty(
            metadata,
            &[
                "labels",
                "annotations",
                "finalizers",
                "ownerReferences",
                "managedFields",
                "generateName",
                "selfLink",
            ],
        );
        metadata.retain(|_, value| !value.is_null());
    }
    if kind.custom.is_some() {
        return;
    }
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "configmaps") => drop_empty(map, &["data", "binaryData", "immutable"]),
        ("", "secrets") => secret(map),
        ("", "namespaces") => namespace(map),
        ("", "pods") => pod(map),
        ("", "services") => service(map),
        ("apps", "deployments") => deployment(map),
        ("apps", "replicasets") => {
            let spec = spec(map);
            set(spec, "replicas", json!(1));
            template(spec);
            set(status(map), "replicas", json!(0));
        }
        ("apps", "statefulsets") => {
            let spec = spec(map);
            set(spec, "replicas", json!(1));
            set(spec, "podManagementPolicy", json!("OrderedReady"));
            set(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            );
            set(spec, "revisionHistoryLimit", json!(10));
            template(spec);
            let status = status(map);
            set(status, "replicas", json!(0));
            set(status, "availableReplicas", json!(0));
        }
        ("apps", "daemonsets") => {
            let spec = spec(map);
            set(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
            );
            set(spec, "revisionHistoryLimit", json!(10));
            template(spec);
            let status = status(map);
            for key in [
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ] {
                set(status, key, json!(0));
            }
        }
        ("batch", "jobs") => job(map),
        ("apiextensions.k8s.io", _) => definition(map),
        _ => {}
    }
}

fn spec(map: &mut Map<String, Value>) -> &mut Map<String, Value> {
    object(map, "spec")
}

fn status(map: &mut Map<String, Value>) -> &mut Map<String, Value> {
    object(map, "status")
}

fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key.to_owned()).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(inner) => inner,
        _ => unreachable!("an object was just put there"),
    }
}

fn secret(map: &mut Map<String, Value>) {
    use base64::Engine as _;
    if let Some(Value::Object(strings)) = map.remove("stringData") {
        let data = object(map, "data");
        for (key, value) in strings {
            let text = base64::engine::general_purpose::STANDARD
                .encode(value.as_str().unwrap_or_default());
            data.insert(key, text.into());
        }
    }
    set(map, "type", json!("Opaque"));
    drop_empty(map, &["data"]);
}

fn namespace(map: &mut Map<String, Value>) {
    let metadata = object(map, "metadata");
    let name = metadata.get("name").cloned().unwrap_or_default();
    object(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name);
    let finalizing = metadata.contains_key("deletionTimestamp");
    if !finalizing {
        set(spec(map), "finalizers", json!(["kubernetes"]));
    }
    set(status(map), "phase", json!("Active"));
}

fn container(value: &mut Value) {
    let Some(container) = value.as_object_mut() else {
        return;
    };
    set(container, "resources", json!({}));
    set(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set(container, "terminationMessagePolicy", json!("File"));
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    set(
        container,
        "imagePullPolicy",
        json!(if latest { "Always" } else { "IfNotPresent" }),
    );
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(port) = port.as_object_mut() {
            set(port, "protocol", json!("TCP"));
        }
    }
    drop_empty(
        container,
        &[
            "command",
            "args",
            "env",
            "envFrom",
            "ports",
            "volumeMounts",
            "workingDir",
        ],
    );
}

fn pod_spec(spec: &mut Map<String, Value>) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        spec.get_mut(field)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .for_each(container);
    }
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    for volume in spec
        .get_mut("volumes")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(volume) = volume.as_object_mut() {
            if volume.len() <= 1 {
                volume.insert("emptyDir".into(), json!({}));
            }
            for source in ["configMap", "secret", "projected", "downwardAPI"] {
                if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                    set(source, "defaultMode", json!(420));
                }
            }
        }
    }
    drop_empty(
        spec,
        &[
            "initContainers",
            "ephemeralContainers",
            "volumes",
            "nodeSelector",
            "imagePullSecrets",
        ],
    );
}

fn pod(map: &mut Map<String, Value>) {
    let spec = spec(map);
    pod_spec(spec);
    set(spec, "enableServiceLinks", json!(true));
    let containers = spec
        .get("containers")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let bounded = |c: &Value| {
        c["resources"]["limits"].is_object()
            && c["resources"]["limits"] == c["resources"]["requests"]
    };
    let none =
        |c: &Value| c["resources"]["limits"].is_null() && c["resources"]["requests"].is_null();
    let class = if containers.iter().all(none) {
        "BestEffort"
    } else if containers.iter().all(bounded) {
        "Guaranteed"
    } else {
        "Burstable"
    };
    let status = status(map);
    set(status, "phase", json!("Pending"));
    set(status, "qosClass", json!(class));
}

/// What admission adds on creation: fields that belong to no manager.
pub(crate) fn admit(kind: &Kind, object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if kind.is("", "services") {
        allocate(spec(map));
    }
    if kind.is("", "pods") {
        admit_pod(spec(map));
    }
}

/// The addresses of a service.
fn allocate(spec: &mut Map<String, Value>) {
    let address = format!("10.96.{}.{}", random::number(255), 1 + random::number(254));
    // Headless services say "None".
    set(spec, "clusterIP", json!(address));
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    set(spec, "clusterIPs", json!([address]));
    set(spec, "ipFamilies", json!(["IPv4"]));
    set(spec, "ipFamilyPolicy", json!("SingleStack"));
}

fn admit_pod(spec: &mut Map<String, Value>) {
    set(spec, "serviceAccountName", json!("default"));
    let account = spec.get("serviceAccountName").cloned().unwrap_or_default();
    set(spec, "serviceAccount", account);
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let tolerations = json!([
        toleration("node.kubernetes.io/not-ready"),
        toleration("node.kubernetes.io/unreachable")
    ]);
    set(spec, "tolerations", tolerations);
    set(spec, "priority", json!(0));
    set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
}

/// What an update that leaves it out does not take away: values that the server allocated.
pub(crate) fn keep(kind: &Kind, old: &Value, object: &mut Value) {
    let fields: &[&str] = match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "services") => &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
        ("", "pods") => &[
            "nodeName",
            "serviceAccountName",
            "serviceAccount",
            "tolerations",
            "priority",
            "preemptionPolicy",
        ],
        ("", "namespaces") => &["finalizers"],
        _ => &[],
    };
    let Some(map) = object.as_object_mut().filter(|_| !fields.is_empty()) else {
        return;
    };
    let spec = spec(map);
    for field in fields {
        if let Some(value) = old["spec"].get(*field) {
            set(spec, field, value.clone());
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    let template = object(spec, "template");
    set(template, "metadata", json!({}));
    pod_spec(object(template, "spec"));
}

fn deployment(map: &mut Map<String, Value>) {
    let spec = spec(map);
    set(spec, "replicas", json!(1));
    set(spec, "strategy", json!({"type": "RollingUpdate"}));
    if let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut) {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            let rolling = object(strategy, "rollingUpdate");
            set(rolling, "maxUnavailable", json!("25%"));
            set(rolling, "maxSurge", json!("25%"));
        }
    }
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    template(spec);
    status(map);
}

fn service(map: &mut Map<String, Value>) {
    let spec = spec(map);
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(port) = port.as_object_mut() {
            set(port, "protocol", json!("TCP"));
            let number = port.get("port").cloned().unwrap_or_default();
            set(port, "targetPort", number);
        }
    }
    set(status(map), "loadBalancer", json!({}));
}

fn job(map: &mut Map<String, Value>) {
    let spec = spec(map);
    set(spec, "parallelism", json!(1));
    set(spec, "completions", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    template(spec);
    status(map);
}

fn definition(map: &mut Map<String, Value>) {
    let names = object(spec(map), "names");
    let kind = names
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    set(names, "singular", json!(kind.to_lowercase()));
    set(names, "listKind", json!(format!("{kind}List")));
    set(spec(map), "conversion", json!({"strategy": "None"}));
    let versions = spec(map).get("versions").and_then(Value::as_array);
    let stored = versions.into_iter().flatten();
    let stored: Vec<Value> = stored
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let status = status(map);
    set(status, "conditions", Value::Null);
    set(status, "acceptedNames", json!({"plural": "", "kind": ""}));
    set(status, "storedVersions", json!(stored));
}
