//! Creating and changing objects, below HTTP.

use serde_json::{Value, json};

use super::fields::{self, Manager, Scope};
use super::kinds::Kind;
use super::status::{Cause, Failure, Qualified, Result};
use super::store::{self, Object, Transaction};
use super::time::Timestamp;
use super::{defaults, random, validate};

/// On whose behalf, and how.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) manager: Manager,
    pub(crate) dry_run: bool,
}

impl Writer {
    pub(crate) fn new(
        kind: &Kind,
        name: &str,
        operation: &str,
        subresource: &str,
        dry_run: bool,
    ) -> Self {
        let manager = Manager {
            name: name.to_owned(),
            operation: operation.to_owned(),
            api_version: kind.api_version(),
            subresource: subresource.to_owned(),
            time: Timestamp::now().rfc3339(),
            fields: std::collections::BTreeSet::new(),
        };
        Self { manager, dry_run }
    }

    fn applies(&self) -> bool {
        self.manager.operation == "Apply"
    }
}

/// What became of an object.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) object: Object,
    pub(crate) created: bool,
}

fn has_generation(kind: &Kind) -> bool {
    kind.custom.is_some()
        || matches!(
            kind.group.as_str(),
            "apps" | "batch" | "apiextensions.k8s.io"
        )
        || kind.resource == "pods"
}

fn main_scope(kind: &Kind) -> Scope {
    if kind.has_status {
        Scope::WithoutStatus
    } else {
        Scope::All
    }
}

/// What is too large for etcd is refused by the client that sends it there.
fn check_size(object: &Value) -> Result<()> {
    const MOST: usize = 2 << 20;
    if store::weight(object) < MOST {
        return Ok(());
    }
    let size = serde_json::to_vec(object).map_or(0, |bytes| bytes.len());
    if size < MOST {
        return Ok(());
    }
    Err(Failure::unclassified(format!(
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max ({size} vs. {MOST})"
    )))
}

/// Stores a new object.
pub(crate) fn create(
    tx: &mut Transaction<'_>,
    kind: &Kind,
    namespace: &str,
    mut object: Value,
    who: &Writer,
) -> Result<Written> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    if metadata["resourceVersion"]
        .as_str()
        .is_some_and(|v| !v.is_empty() && v != "0")
        && !who.applies()
    {
        return Err(Failure::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let generate = metadata["generateName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if metadata["name"].as_str().unwrap_or_default().is_empty() && !generate.is_empty() {
        let base: String = generate.chars().take(58).collect();
        metadata["name"] = format!("{base}{}", random::name_suffix()).into();
    }
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    if kind.namespaced {
        metadata["namespace"] = namespace.into();
        check_namespace(tx, kind, namespace, &name)?;
    } else if let Some(map) = metadata.as_object_mut() {
        map.remove("namespace");
    }
    for key in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        if let Some(map) = metadata.as_object_mut() {
            map.remove(key);
        }
    }
    if !who.applies()
        && let Some(map) = metadata.as_object_mut()
    {
        map.remove("managedFields");
    }
    metadata["uid"] = random::uuid().into();
    metadata["creationTimestamp"] = Timestamp::now().rfc3339().into();
    if has_generation(kind) {
        metadata["generation"] = 1.into();
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.as_str().into();
    if kind.has_status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    defaults::apply(kind, &mut object);
    if !who.applies() {
        fields::update(kind, None, &mut object, main_scope(kind), &who.manager);
    }
    defaults::admit(kind, &mut object);
    check(kind, &object, None)?;
    let key = store::key(namespace, &name);
    if let Some(existing) = tx.get(&kind.storage(), &key) {
        let deleted = existing["metadata"]["deletionTimestamp"].is_string();
        let failure = if deleted {
            Failure::being_deleted
        } else {
            Failure::already_exists
        };
        return Err(failure(&kind.qualified_resource(), &name));
    }
    check_size(&object)?;
    let object = if who.dry_run {
        object.into()
    } else {
        tx.put(&kind.storage(), &key, object)
    };
    Ok(Written {
        object,
        created: true,
    })
}

fn check_namespace(tx: &Transaction<'_>, kind: &Kind, namespace: &str, name: &str) -> Result<()> {
    let resource = Qualified {
        group: "",
        name: "namespaces",
    };
    let Some(object) = tx.get("namespaces", namespace) else {
        return Err(Failure::not_found(&resource, namespace));
    };
    if object["metadata"]["deletionTimestamp"].is_string() {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let cause = Cause::new(
            "NamespaceTerminating",
            format!("namespace {namespace} is being terminated"),
            "metadata.namespace",
        );
        return Err(Failure::forbidden(
            &kind.qualified_resource(),
            name,
            &why,
            &[cause],
        ));
    }
    Ok(())
}

fn check(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<()> {
    let causes = validate::validate(kind, object, old);
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::invalid(&kind.qualified_kind(), name, &causes))
}

/// Checks the resourceVersion and uid that `new` carries against `old`.
fn check_preconditions(kind: &Kind, old: &Value, new: &Value) -> Result<()> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(uid) = new["metadata"]["uid"]
        .as_str()
        .filter(|uid| !uid.is_empty() && old["metadata"]["uid"] != **uid)
    {
        let key = old["metadata"]["namespace"]
            .as_str()
            .map_or_else(|| name.to_owned(), |ns| format!("{ns}/{name}"));
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{key}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            kind.resource,
            old["metadata"]["uid"].as_str().unwrap_or_default(),
        );
        return Err(Failure::conflict(&kind.qualified_resource(), name, &why));
    }
    let version = new["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if version.is_empty() || version == "0" {
        return Ok(());
    }
    if version.parse::<u64>().is_err() {
        return Err(Failure::unclassified(format!(
            "strconv.ParseUint: parsing {version:?}: invalid syntax"
        )));
    }
    if old["metadata"]["resourceVersion"] == version {
        Ok(())
    } else {
        Err(Failure::modified(&kind.qualified_resource(), name))
    }
}

/// Stores a changed object; one that did not change keeps its resourceVersion.
pub(crate) fn update(
    tx: &mut Transaction<'_>,
    kind: &Kind,
    key: &str,
    mut new: Value,
    who: &Writer,
) -> Result<Written> {
    let storage = kind.storage();
    let Some(old) = tx.get(&storage, key).cloned() else {
        let name = key.rsplit('/').next().unwrap_or_default();
        return Err(Failure::not_found(&kind.qualified_resource(), name));
    };
    check_preconditions(kind, &old, &new)?;
    let status_only = who.manager.subresource == "status";
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    restore_metadata(&old, &mut new);
    if status_only {
        let mut merged = Value::clone(&old);
        match new["status"].take() {
            Value::Null => {
                merged.as_object_mut().map(|map| map.remove("status"));
            }
            status => merged["status"] = status,
        }
        merged["metadata"]["managedFields"] = new["metadata"]["managedFields"].take();
        new = merged;
    } else if kind.has_status {
        match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => {
                new.as_object_mut().map(|map| map.remove("status"));
            }
        }
    }
    new["apiVersion"] = kind.api_version().into();
    new["kind"] = kind.kind.as_str().into();
    defaults::keep(kind, &old, &mut new);
    defaults::apply(kind, &mut new);
    let scope = if status_only {
        Scope::OnlyStatus
    } else {
        main_scope(kind)
    };
    if !who.applies() {
        fields::update(kind, Some(&old), &mut new, scope, &who.manager);
    }
    if same(&old, &new) {
        return Ok(Written {
            object: old,
            created: false,
        });
    }
    if old["spec"] != new["spec"] && has_generation(kind) && !status_only {
        new["metadata"]["generation"] =
            (old["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
    }
    check(kind, &new, Some(&old))?;
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    if who.dry_run {
        return Ok(Written {
            object: new.into(),
            created: false,
        });
    }
    if is_finished(&new) {
        // The last finalizer went.
        tx.delete(&storage, key, new.clone());
        return Ok(Written {
            object: new.into(),
            created: false,
        });
    }
    Ok(Written {
        object: tx.put(&storage, key, new),
        created: false,
    })
}

/// Whether nothing holds a deleted object any more.
pub(crate) fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let finalizers = metadata["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty());
    let namespace_finalizers = object["kind"] == "Namespace"
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !finalizers
        && !namespace_finalizers
}

fn restore_metadata(old: &Value, new: &mut Value) {
    let keys = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ];
    for key in keys {
        match old["metadata"].get(key) {
            Some(value) => new["metadata"][key] = value.clone(),
            None => {
                new["metadata"].as_object_mut().map(|map| map.remove(key));
            }
        }
    }
    let empty_entry = |v: &Value| v.as_object().is_some_and(serde_json::Map::is_empty);
    let reset = new["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|a| a.iter().all(empty_entry));
    if reset {
        new["metadata"]
            .as_object_mut()
            .map(|map| map.remove("managedFields"));
    } else if new["metadata"]["managedFields"].is_null() {
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
    }
}

/// Equality but for the resourceVersion and the times of managers.
fn same(old: &Value, new: &Value) -> bool {
    let normal = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            for entry in metadata
                .get_mut("managedFields")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                entry.as_object_mut().map(|entry| entry.remove("time"));
            }
            metadata.retain(|_, value| !value.is_null());
        }
        value
    };
    normal(old) == normal(new)
}

/// What the server's own parts change: status, owner references, finalizers.
pub(crate) fn modify(
    tx: &mut Transaction<'_>,
    storage: &str,
    key: &str,
    change: impl FnOnce(&mut Value),
) -> Option<Object> {
    let old = tx.get(storage, key)?.clone();
    let mut new = Value::clone(&old);
    change(&mut new);
    if new == *old {
        return Some(old);
    }
    if is_finished(&new) {
        return tx.delete(storage, key, new);
    }
    Some(tx.put(storage, key, new))
}
