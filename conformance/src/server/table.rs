//! Tables, as `kubectl get` asks for them.

use serde_json::{Value, json};

use super::call::Call;
use super::kinds::Kind;
use super::reply;
use super::status::{Cause, Failure, Qualified, Result};
use super::time::{Timestamp, human_duration};

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources \
    may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for \
    creation idempotence and configuration definition. Cannot be updated. More info: \
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not \
    guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is \
    represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const DATA: &str = "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or \
    '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap \
    with the keys in the BinaryData field, this is enforced during validation process.";
const NODE: &str = "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for \
    scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes \
    responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be \
    scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename";
const NOMINATED: &str = "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be \
    scheduled right away as preemption victims receive their graceful termination periods. This field does not \
    guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other \
    nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority \
    pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod \
    is scheduled.";
const GATES: &str = "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its \
    containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: \
    https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates";

/// A table of `objects`, with the objects that `includeObject` asks for.
pub(crate) fn table(
    call: &Call,
    kind: &Kind,
    objects: &[&Value],
    metadata: &Value,
) -> Result<Value> {
    let include = call.query.text("includeObject");
    if !matches!(include, "" | "None" | "Metadata" | "Object") {
        let supported = "\"Metadata\", \"None\", \"Object\"";
        let cause = Cause::not_supported("includeObject", &format!("{include:?}"), supported);
        let mut failure = Failure::invalid(
            &Qualified {
                group: "meta.k8s.io",
                name: "TableOptions",
            },
            "",
            &[cause],
        );
        if let Some(message) = failure.status()["message"].as_str() {
            failure = Failure::bad_request(message);
        }
        return Err(failure);
    }
    Ok(rows(kind, objects, metadata, include))
}

/// A table whose options were checked.
pub(crate) fn rows(kind: &Kind, objects: &[&Value], metadata: &Value, include: &str) -> Value {
    let columns = columns(kind);
    let row = |object: &&Value| {
        let cells: Vec<Value> = columns.iter().map(|(_, cell)| cell(object)).collect();
        let mut row = json!({"cells": cells});
        match include {
            "None" => row["object"] = Value::Null,
            "Object" => row["object"] = Value::clone(object),
            _ => row["object"] = reply::partial(object),
        }
        row
    };
    let rows: Vec<Value> = objects.iter().map(row).collect();
    let definitions: Vec<&Value> = columns.iter().map(|(definition, _)| definition).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}

type Cell = Box<dyn Fn(&Value) -> Value>;
type Column = (Value, Cell);

fn column(
    name: &str,
    r#type: &str,
    description: &str,
    priority: i64,
    cell: impl Fn(&Value) -> Value + 'static,
) -> Column {
    let format = if name == "Name" { "name" } else { "" };
    let definition = json!({"name": name, "type": r#type, "format": format, "description": description, "priority": priority});
    (definition, Box::new(cell))
}

fn text(value: &Value) -> Value {
    match value {
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

fn age(value: &Value) -> Value {
    let created = value.as_str().and_then(Timestamp::parse_rfc3339);
    created.map_or_else(
        || "<unknown>".into(),
        |at| human_duration(at.elapsed()).into(),
    )
}

fn count(value: &Value) -> Value {
    value.as_i64().unwrap_or(0).into()
}

fn columns(kind: &Kind) -> Vec<Column> {
    let mut columns = vec![column("Name", "string", NAME, 0, |o| {
        text(&o["metadata"]["name"])
    })];
    if let Some(custom) = &kind.custom
        && !custom.columns.is_empty()
    {
        columns.extend(custom.columns.iter().map(custom_column));
        return columns;
    }
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "configmaps") => {
            let length = |v: &Value| v.as_object().map_or(0, serde_json::Map::len);
            columns.push(column("Data", "string", DATA, 0, move |o| {
                (length(&o["data"]) + length(&o["binaryData"])).into()
            }));
        }
        ("", "pods") => pods(&mut columns),
        ("", "namespaces") => {
            columns.push(column(
                "Status",
                "string",
                "The status of the namespace",
                0,
                |o| text(&o["status"]["phase"]),
            ));
        }
        ("", "nodes") => {
            columns.push(column(
                "Status",
                "string",
                "The status of the node",
                0,
                |_| "Ready".into(),
            ));
            columns.push(column("Version", "string", "Kubelet Version", 0, |o| {
                text(&o["status"]["nodeInfo"]["kubeletVersion"])
            }));
        }
        ("apps", "deployments") => {
            columns.push(column(
                "Ready",
                "string",
                "Number of the pod with ready state",
                0,
                |o| {
                    format!(
                        "{}/{}",
                        count(&o["status"]["readyReplicas"]),
                        count(&o["spec"]["replicas"])
                    )
                    .into()
                },
            ));
            columns.push(column("Up-to-date", "string", "Updated replicas", 0, |o| {
                count(&o["status"]["updatedReplicas"])
            }));
            columns.push(column(
                "Available",
                "string",
                "Available replicas",
                0,
                |o| count(&o["status"]["availableReplicas"]),
            ));
        }
        _ => {}
    }
    columns.push(column("Age", "string", AGE, 0, |o| {
        age(&o["metadata"]["creationTimestamp"])
    }));
    if kind.is("", "pods") {
        wide_pods(&mut columns);
    }
    columns
}

/// The columns of pods that only wide tables show.
fn wide_pods(columns: &mut Vec<Column>) {
    columns.push(column(
        "IP",
        "string",
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        1,
        |o| {
            let ip = text(&o["status"]["podIP"]);
            if ip == "" { "<none>".into() } else { ip }
        },
    ));
    columns.push(column("Node", "string", NODE, 1, |o| {
        let node = text(&o["spec"]["nodeName"]);
        if node == "" { "<none>".into() } else { node }
    }));
    columns.push(column("Nominated Node", "string", NOMINATED, 1, |o| {
        let node = text(&o["status"]["nominatedNodeName"]);
        if node == "" { "<none>".into() } else { node }
    }));
    columns.push(column("Readiness Gates", "string", GATES, 1, |_| {
        "<none>".into()
    }));
}

fn pods(columns: &mut Vec<Column>) {
    let statuses = |o: &Value| {
        o["status"]["containerStatuses"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    columns.push(column(
        "Ready",
        "string",
        "The aggregate readiness state of this pod for accepting traffic.",
        0,
        move |o| {
            let ready = statuses(o).iter().filter(|s| s["ready"] == true).count();
            let total = o["spec"]["containers"].as_array().map_or(0, Vec::len);
            format!("{ready}/{total}").into()
        },
    ));
    columns.push(column(
        "Status",
        "string",
        "The aggregate status of the containers in this pod.",
        0,
        move |o| {
            if o["metadata"]["deletionTimestamp"].is_string() {
                return "Terminating".into();
            }
            let reason = statuses(o).iter().rev().find_map(|s| {
                let state = &s["state"];
                let reason = state["waiting"]["reason"]
                    .as_str()
                    .or_else(|| state["terminated"]["reason"].as_str());
                reason.map(str::to_owned)
            });
            reason.map_or_else(|| text(&o["status"]["phase"]), Into::into)
        },
    ));
    columns.push(column(
        "Restarts",
        "string",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        0,
        move |o| {
            let restarts: i64 = statuses(o)
                .iter()
                .filter_map(|s| s["restartCount"].as_i64())
                .sum();
            restarts.to_string().into()
        },
    ));
}

fn custom_column(definition: &Value) -> Column {
    let path = definition["jsonPath"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let kind = definition["type"].as_str().unwrap_or("string").to_owned();
    let description = definition["description"].as_str().map_or_else(
        || format!("Custom resource definition column (in JSONPath format): {path}"),
        str::to_owned,
    );
    let priority = definition["priority"].as_i64().unwrap_or(0);
    let name = definition["name"].as_str().unwrap_or_default();
    let cell_kind = kind.clone();
    column(name, &kind, &description, priority, move |object| {
        let mut value = object;
        for part in path.split('.').filter(|p| !p.is_empty()) {
            value = value.get(part).unwrap_or(&Value::Null);
        }
        match (cell_kind.as_str(), value) {
            ("date", value) => age(value),
            (_, Value::Object(_) | Value::Array(_)) => value.to_string().into(),
            (_, other) => other.clone(),
        }
    })
}
