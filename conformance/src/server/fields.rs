//! Field ownership: what `metadata.managedFields` says, and how lists are merged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// A path as `fieldsV1` spells it: `f:spec`, `k:{"name":"main"}`, `v:"x"`.
pub(crate) type Path = Vec<String>;

/// Where in the types of an object a value stands.
#[derive(Clone, Copy)]
pub(crate) enum Typing<'a> {
    /// In a compiled-in type: known by its name and that of the field around it.
    BuiltIn { parent: &'a str, name: &'a str },
    /// In a custom resource with this schema.
    Schema(Option<&'a Value>),
}

/// How a list is merged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListKind<'a> {
    Atomic,
    Set,
    Map(Vec<&'a str>),
}

impl<'a> Typing<'a> {
    pub(crate) fn root(kind: &'a Kind) -> Self {
        match &kind.custom {
            Some(custom) => Self::Schema(Some(&custom.schema)),
            None => Self::BuiltIn {
                parent: "",
                name: "",
            },
        }
    }

    pub(crate) fn field(self, field: &'a str) -> Self {
        match self {
            Self::BuiltIn { name, .. } => Self::BuiltIn {
                parent: name,
                name: field,
            },
            Self::Schema(Some(schema)) => {
                let root = schema["properties"].get("metadata").is_some()
                    || schema["properties"].get("spec").is_some();
                if field == "metadata" && root {
                    return Self::BuiltIn {
                        parent: "",
                        name: "metadata",
                    };
                }
                Self::Schema(
                    schema["properties"]
                        .get(field)
                        .or_else(|| schema.get("additionalProperties")),
                )
            }
            Self::Schema(None) if field == "metadata" => Self::BuiltIn {
                parent: "",
                name: "metadata",
            },
            Self::Schema(None) => self,
        }
    }

    pub(crate) fn item(self) -> Self {
        match self {
            Self::BuiltIn { .. } => self,
            Self::Schema(schema) => Self::Schema(schema.and_then(|s| s.get("items"))),
        }
    }

    pub(crate) fn list(self) -> ListKind<'a> {
        match self {
            Self::BuiltIn { parent, name } => match name {
                "containers"
                | "initContainers"
                | "ephemeralContainers"
                | "env"
                | "volumes"
                | "imagePullSecrets"
                | "secrets" => ListKind::Map(vec!["name"]),
                "ports" if parent.to_lowercase().ends_with("containers") => {
                    ListKind::Map(vec!["containerPort", "protocol"])
                }
                "ports" if parent == "spec" => ListKind::Map(vec!["port", "protocol"]),
                "volumeMounts" => ListKind::Map(vec!["mountPath"]),
                "volumeDevices" => ListKind::Map(vec!["devicePath"]),
                "conditions" => ListKind::Map(vec!["type"]),
                "hostAliases" | "podIPs" => ListKind::Map(vec!["ip"]),
                "ownerReferences" => ListKind::Map(vec!["uid"]),
                "topologySpreadConstraints" => {
                    ListKind::Map(vec!["topologyKey", "whenUnsatisfiable"])
                }
                "finalizers" => ListKind::Set,
                _ => ListKind::Atomic,
            },
            Self::Schema(schema) => match schema.and_then(|s| s["x-kubernetes-list-type"].as_str())
            {
                Some("set") => ListKind::Set,
                Some("map") => {
                    let keys = schema.and_then(|s| s["x-kubernetes-list-map-keys"].as_array());
                    ListKind::Map(
                        keys.into_iter()
                            .flatten()
                            .filter_map(Value::as_str)
                            .collect(),
                    )
                }
                _ => ListKind::Atomic,
            },
        }
    }

    /// Whether an object here is owned as a whole.
    pub(crate) fn atomic(self) -> bool {
        match self {
            Self::BuiltIn { name, .. } => {
                matches!(name, "selector" | "nodeSelector" | "matchLabels")
            }
            Self::Schema(schema) => schema.is_some_and(|s| s["x-kubernetes-map-type"] == "atomic"),
        }
    }

    /// Whether the value here is a member of its own when somebody sets it (`.`), as maps and pointers are.
    fn dotted(self) -> bool {
        match self {
            Self::BuiltIn { parent, name } => {
                let maps = [
                    "labels",
                    "annotations",
                    "data",
                    "binaryData",
                    "stringData",
                    "rollingUpdate",
                    "conversion",
                    "limits",
                    "requests",
                ];
                maps.contains(&name)
                    || (!parent.is_empty()
                        && !matches!(self.list(), ListKind::Atomic)
                        && !matches!(name, "containers" | "initContainers"))
            }
            Self::Schema(_) => true,
        }
    }
}

/// The `k:` element of a list item; `None` if it lacks a key.
fn item_key(keys: &[&str], item: &Value) -> Option<String> {
    let mut map = Map::new();
    for key in keys {
        let value = match item.get(*key) {
            Some(value) => value.clone(),
            // The schema's default for ports.
            None if *key == "protocol" => json!("TCP"),
            None => return None,
        };
        map.insert((*key).to_owned(), value);
    }
    Some(format!("k:{}", Value::Object(map)))
}

/// Whether two list items have the same keys.
pub(crate) fn same_item(keys: &[&str], a: &Value, b: &Value) -> bool {
    item_key(keys, a).is_some_and(|key| item_key(keys, b) == Some(key))
}

/// Which members (`.`) count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    /// Only list items: what an apply owns.
    Items,
    /// Maps and lists as well: what an update owns of what it adds.
    All,
}

/// The part of an object that a write is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    WithoutStatus,
    OnlyStatus,
}

/// Every leaf of an object with its value; members have none.
pub(crate) type Leaves<'a> = BTreeMap<Path, Option<&'a Value>>;

/// Collects the leaves of `object`, without those that nobody owns.
pub(crate) fn leaves<'a>(
    kind: &'a Kind,
    object: &'a Value,
    scope: Scope,
    members: Members,
) -> Leaves<'a> {
    const UNOWNED: [&str; 10] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    ];
    let mut found = Leaves::new();
    let root = Typing::root(kind);
    for (field, value) in object.as_object().into_iter().flatten() {
        let status = field == "status";
        let skipped = match scope {
            Scope::All => false,
            Scope::WithoutStatus => status,
            Scope::OnlyStatus => !status,
        };
        if skipped
            || matches!(field.as_str(), "apiVersion" | "kind")
            || (kind.resource == "namespaces" && field == "spec")
        {
            continue;
        }
        let mut path = vec![format!("f:{field}")];
        if field == "metadata" {
            for (key, inner) in value
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(k, _)| !UNOWNED.contains(&k.as_str()))
            {
                path.push(format!("f:{key}"));
                collect(
                    root.field("metadata").field(key),
                    inner,
                    members,
                    &mut path,
                    &mut found,
                );
                path.pop();
            }
        } else {
            collect(root.field(field), value, members, &mut path, &mut found);
        }
    }
    found
}

fn collect<'a>(
    typing: Typing<'a>,
    value: &'a Value,
    members: Members,
    path: &mut Path,
    found: &mut Leaves<'a>,
) {
    match value {
        Value::Object(map) if !map.is_empty() && !typing.atomic() => {
            if members == Members::All && typing.dotted() {
                found.insert(path.clone(), None);
            }
            for (field, inner) in map {
                path.push(format!("f:{field}"));
                collect(typing.field(field), inner, members, path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() && typing.list() != ListKind::Atomic => {
            if members == Members::All && typing.dotted() {
                found.insert(path.clone(), None);
            }
            let list = typing.list();
            for item in items {
                let element = match &list {
                    ListKind::Map(keys) => item_key(keys, item),
                    _ => Some(format!("v:{item}")),
                };
                let Some(element) = element else { continue };
                path.push(element);
                found.insert(path.clone(), None);
                for (field, inner) in item.as_object().into_iter().flatten() {
                    path.push(format!("f:{field}"));
                    collect(typing.item().field(field), inner, members, path, found);
                    path.pop();
                }
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone(), Some(value));
        }
    }
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) fields: BTreeSet<Path>,
}

impl Manager {
    pub(crate) fn is(
        &self,
        name: &str,
        operation: &str,
        api_version: &str,
        subresource: &str,
    ) -> bool {
        self.name == name
            && self.operation == operation
            && self.api_version == api_version
            && self.subresource == subresource
    }
}

pub(crate) fn managers(object: &Value) -> Vec<Manager> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let parse = |entry: &Value| {
        let mut fields = BTreeSet::new();
        decode(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
        Manager {
            name: text(entry, "manager"),
            operation: text(entry, "operation"),
            api_version: text(entry, "apiVersion"),
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
            fields,
        }
    };
    entries
        .iter()
        .filter(|e| e["operation"].is_string())
        .map(parse)
        .collect()
}

/// Writes the managers back; those without fields go.
pub(crate) fn set_managers(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|m| !m.fields.is_empty());
    managers.sort_by(|a, b| {
        let time = if a.operation == "Update" {
            a.time.cmp(&b.time)
        } else {
            std::cmp::Ordering::Equal
        };
        a.operation
            .cmp(&b.operation)
            .then(time)
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    let entries = managers.iter().map(|m| {
        let mut entry = json!({
            "manager": m.name, "operation": m.operation, "apiVersion": m.api_version, "time": m.time,
            "fieldsType": "FieldsV1", "fieldsV1": encode(&m.fields),
        });
        if !m.subresource.is_empty() {
            entry["subresource"] = m.subresource.as_str().into();
        }
        entry
    });
    let entries: Vec<Value> = entries.collect();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), Value::Array(entries));
        }
    }
}

fn encode(fields: &BTreeSet<Path>) -> Value {
    let mut root = json!({});
    for path in fields {
        let mut at = &mut root;
        for element in path {
            at = &mut at[element.as_str()];
            if at.is_null() {
                *at = json!({});
            }
        }
        // Sorted: whatever lies below this path comes next.
        at["."] = json!({});
    }
    simplify(&mut root);
    root
}

/// A node that has nothing but itself is written as `{}`.
fn simplify(node: &mut Value) {
    let Some(map) = node.as_object_mut() else {
        return;
    };
    if map.len() == 1 && map.contains_key(".") {
        map.clear();
    }
    for (_, inner) in map.iter_mut().filter(|(key, _)| *key != ".") {
        simplify(inner);
    }
}

fn decode(node: &Value, path: &mut Path, fields: &mut BTreeSet<Path>) {
    let Some(map) = node.as_object() else { return };
    if (map.is_empty() || map.contains_key(".")) && !path.is_empty() {
        fields.insert(path.clone());
    }
    for (element, inner) in map.iter().filter(|(element, _)| *element != ".") {
        path.push(element.clone());
        decode(inner, path, fields);
        path.pop();
    }
}

/// Moves ownership after an update: what changed belongs to `who`, what went belongs to nobody.
pub(crate) fn update(
    kind: &Kind,
    old: Option<&Value>,
    new: &mut Value,
    scope: Scope,
    who: &Manager,
) {
    let nothing = json!({});
    let before = leaves(kind, old.unwrap_or(&nothing), scope, Members::All);
    let after = leaves(kind, new, scope, Members::All);
    let changed: BTreeSet<Path> = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    let removed: BTreeSet<Path> = before
        .into_keys()
        .filter(|path| !after.contains_key(path))
        .collect();
    let values: BTreeSet<Path> = after
        .iter()
        .filter(|(_, v)| v.is_some())
        .map(|(p, _)| p.clone())
        .collect();
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    let mut all = managers(new);
    let mut found = false;
    for manager in &mut all {
        let mine = manager.is(
            &who.name,
            &who.operation,
            &who.api_version,
            &who.subresource,
        );
        manager.fields.retain(|path| {
            !removed.contains(path) && (mine || !(changed.contains(path) && values.contains(path)))
        });
        if mine {
            found = true;
            manager.fields.extend(changed.iter().cloned());
            manager.time.clone_from(&who.time);
        }
    }
    if !found {
        all.push(Manager {
            fields: changed,
            ..who.clone()
        });
    }
    set_managers(new, all);
}

/// A path as messages spell it: `.spec.containers[name="main"].image`.
pub(crate) fn display(path: &Path) -> String {
    let element = |element: &String| match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => element.clone(),
    };
    path.iter().map(element).collect()
}

/// Removes what stands at `path`, and objects that this empties.
pub(crate) fn remove(kind: &Kind, object: &mut Value, path: &[String]) {
    remove_at(Typing::root(kind), object, path);
}

fn remove_at(typing: Typing<'_>, value: &mut Value, path: &[String]) -> bool {
    let Some((element, rest)) = path.split_first() else {
        return true;
    };
    if let Some(field) = element.strip_prefix("f:") {
        let Some(map) = value.as_object_mut() else {
            return false;
        };
        if let Some(inner) = map.get_mut(field)
            && remove_at(typing.field(field), inner, rest)
        {
            map.remove(field);
        }
        return map.is_empty();
    }
    let list = typing.list();
    let Some(items) = value.as_array_mut() else {
        return false;
    };
    let position = items.iter().position(|item| match &list {
        ListKind::Map(keys) => item_key(keys, item).as_ref() == Some(element),
        ListKind::Set | ListKind::Atomic => format!("v:{item}") == *element,
    });
    if let Some(at) = position
        && (rest.is_empty() || remove_at(typing.item(), &mut items[at], rest))
    {
        items.remove(at);
    }
    items.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::*;

    #[test]
    fn a_created_deployment_is_owned_as_on_a_real_server() {
        let kind = Kinds::new().find("apps", "v1", "deployments").unwrap();
        let object = json!({"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"replicas": 0,
            "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [{"name": "main", "env": [{"name": "X"}]}]}}}});
        let fields: BTreeSet<Path> = leaves(&kind, &object, Scope::WithoutStatus, Members::All)
            .into_keys()
            .collect();
        let encoded = encode(&fields);
        let expected = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:replicas": {}, "f:selector": {},
            "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:env": {".": {},
            "k:{\"name\":\"X\"}": {".": {}, "f:name": {}}}}}}}}});
        assert_eq!(encoded, expected);
        let mut decoded = BTreeSet::new();
        decode(&encoded, &mut Vec::new(), &mut decoded);
        assert_eq!(decoded, fields);
    }

    #[test]
    fn paths_are_shown_and_removed() {
        let kind = Kinds::new().find("", "v1", "pods").unwrap();
        let path: Path = ["f:spec", "f:containers", "k:{\"name\":\"b\"}", "f:image"]
            .map(String::from)
            .into();
        assert_eq!(display(&path), ".spec.containers[name=\"b\"].image");
        let mut object =
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "image": "x"}]}});
        remove(&kind, &mut object, &path);
        assert_eq!(
            object,
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}})
        );
        remove(&kind, &mut object, &path[..3]);
        assert_eq!(object, json!({"spec": {"containers": [{"name": "a"}]}}));
    }
}
