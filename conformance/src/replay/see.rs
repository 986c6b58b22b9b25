//! What comes out, and what should, as JSON.

use k8s_openapi::api as k8s;
use kubewire::meta::Table;
use kubewire::stream::WatchEvent;
use kubewire::{Deleted, Object};
use serde::Serialize;
use serde_json::{Value, json};

use super::feed;

/// Bytes as text that keeps every byte: ISO 8859-1.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Takes out what is as good as absent in an object: null or empty metadata and fields of it.
/// Whether there was something.
pub(super) fn settle(object: &mut Value) -> bool {
    const EMPTY: &[&str] = &["labels", "annotations", "ownerReferences", "finalizers"];
    let Value::Object(fields) = object else {
        return false;
    };
    let before = fields.len();
    fields.retain(|key, value| {
        !(matches!(key.as_str(), "apiVersion" | "kind") && (value.is_null() || value == ""))
    });
    let mut changed = fields.len() < before;
    let Some(metadata) = fields.get_mut("metadata") else {
        return changed;
    };
    if let Value::Object(metadata) = metadata {
        let before = metadata.len();
        metadata.retain(|key, value| {
            let empty = *value == json!({}) || *value == json!([]);
            !(value.is_null() || (empty && EMPTY.contains(&key.as_str())))
        });
        changed |= metadata.len() < before;
    }
    if metadata.is_null() || *metadata == json!({}) {
        fields.remove("metadata");
        changed = true;
    }
    changed
}

pub(super) fn settled(mut object: Value) -> Value {
    settle(&mut object);
    object
}

/// An object as JSON; what has no JSON form shows as a difference.
pub(super) fn see_object(object: &impl Serialize) -> Value {
    serde_json::to_value(object).map_or_else(|error| error.to_string().into(), settled)
}

/// How a type should give an object back, by its own `serde` implementation alone.
pub(super) fn as_type<K: Object + Serialize>(object: &Value) -> Option<Value> {
    let object: K = serde_json::from_value(object.clone()).ok()?;
    Some(see_object(&object))
}

/// Dynamic objects, and metadata: as they are.
pub(super) fn as_it_is(object: &Value) -> Option<Value> {
    let fits = object.is_object() && matches!(object["metadata"], Value::Object(_) | Value::Null);
    fits.then(|| settled(object.clone()))
}

/// The metadata view: a server that ignores the wish sends whole objects.
pub(super) fn as_metadata(object: &Value) -> Option<Value> {
    let mut object = as_it_is(object)?;
    if let Value::Object(fields) = &mut object {
        fields.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    Some(object)
}

/// A Scale by the type of `k8s-openapi`, ours or theirs: zero replicas may be written or left out.
pub(super) fn as_scale(object: &Value) -> Option<Value> {
    let mut scale: k8s::autoscaling::v1::Scale = serde_json::from_value(object.clone()).ok()?;
    scale.spec.get_or_insert_default().replicas.get_or_insert(0);
    Some(see_object(&scale))
}

pub(super) fn see_event<K>(event: WatchEvent<K>, see: &dyn Fn(K) -> Value) -> Value {
    match event {
        WatchEvent::Added(object) => json!({ "added": see(object) }),
        WatchEvent::Modified(object) => json!({ "modified": see(object) }),
        WatchEvent::Deleted(object) => json!({ "deleted": see(object) }),
        WatchEvent::Bookmark(bookmark) => json!({
            "bookmark": bookmark.resource_version,
            "initialEventsEnd": bookmark.initial_events_end,
        }),
        WatchEvent::Unknown(name) => json!({ "unknown": name }),
        _ => Value::Null,
    }
}

pub(super) fn see_deleted<K>(deleted: Deleted<K>, see: &dyn Fn(K) -> Value) -> Value {
    match deleted {
        Deleted::Gone(status) => json!({ "gone": feed::status_value(&json!(status)) }),
        Deleted::Object(object) => json!({ "object": see(object) }),
        _ => Value::Null,
    }
}

pub(super) fn as_status(object: &Value) -> Option<Value> {
    object.is_object().then(|| feed::status_value(object))
}

pub(super) fn see_status(status: &kubewire::meta::Status) -> Value {
    feed::status_value(&json!(status))
}

pub(super) fn as_token(object: &Value) -> Option<Value> {
    let token = object["status"]["token"].as_str()?;
    let until = object["status"]["expirationTimestamp"].as_str()?;
    Some(json!([token, until]))
}

/// A table of JSON: what its columns and rows say.
pub(super) fn as_table(object: &Value) -> Option<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if object["kind"] != "Table" {
        return None;
    }
    let mut metadata = serde_json::Map::new();
    for key in [
        "resourceVersion",
        "continue",
        "remainingItemCount",
        "shardInfo",
    ] {
        let value = &object["metadata"][key];
        if !value.is_null() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let columns: Vec<_> = list(&object["columnDefinitions"])
        .iter()
        .map(|column| {
            json!([
                text(&column["name"]),
                text(&column["type"]),
                text(&column["format"]),
                text(&column["description"]),
                column["priority"].as_i64().unwrap_or_default(),
            ])
        })
        .collect();
    let rows: Vec<_> = list(&object["rows"])
        .iter()
        .map(|row| {
            let conditions: Vec<_> = list(&row["conditions"])
                .iter()
                .map(|condition| {
                    let keys = ["type", "status", "reason", "message"];
                    keys.map(|key| text(&condition[key]))
                })
                .collect();
            json!([
                list(&row["cells"]),
                conditions,
                settled(row["object"].clone())
            ])
        })
        .collect();
    Some(json!({ "metadata": metadata, "columns": columns, "rows": rows }))
}

pub(super) fn see_table(table: Table) -> Value {
    let columns: Vec<_> = table
        .column_definitions
        .into_iter()
        .map(|it| json!([it.name, it.r#type, it.format, it.description, it.priority]))
        .collect();
    let rows: Vec<_> = table
        .rows
        .into_iter()
        .map(|row| {
            let conditions: Vec<_> = row
                .conditions
                .into_iter()
                .map(|it| [it.r#type, it.status, it.reason, it.message])
                .collect();
            let object = row.object.map(|object| see_object(&object));
            json!([row.cells, conditions, object])
        })
        .collect();
    json!({ "metadata": table.metadata, "columns": columns, "rows": rows })
}
