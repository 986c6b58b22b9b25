//! Deletion.

use serde_json::{Value, json};

use super::call::{Call, Target};
use super::decode;
use super::kinds::Kind;
use super::list;
use super::negotiate;
use super::reply::{self, Reply};
use super::status::{Cause, Failure, Qualified, Result};
use super::store::{Object, Transaction};
use super::time::Timestamp;
use super::update;

/// `DeleteOptions`, from the body or else from the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    pub(crate) fn from_value(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            grace: value["gracePeriodSeconds"].as_i64(),
            policy: text(&value["propagationPolicy"]),
            orphan_dependents: value["orphanDependents"].as_bool(),
            uid: text(&value["preconditions"]["uid"]),
            resource_version: text(&value["preconditions"]["resourceVersion"]),
            dry_run: value["dryRun"].as_array().is_some_and(|a| !a.is_empty()),
        }
    }

    fn read(call: &Call) -> Result<Self> {
        let mut causes = Vec::new();
        let options = if call.body.is_empty() {
            let query = &call.query;
            let text = |key: &str| query.get(key).filter(|v| !v.is_empty()).map(str::to_owned);
            Self {
                grace: query.integer("gracePeriodSeconds")?,
                policy: text("propagationPolicy"),
                orphan_dependents: query.flag("orphanDependents"),
                uid: text("uid"),
                resource_version: text("resourceVersion"),
                dry_run: call.dry_run(&mut causes),
            }
        } else {
            let value = Self::decode(call)?;
            for entry in value["dryRun"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|v| **v != "All")
            {
                causes.push(Cause::not_supported(
                    "dryRun",
                    &format!("[{entry}]"),
                    "\"All\"",
                ));
            }
            Self::from_value(&value)
        };
        if let Some(policy) = &options.policy {
            if options.orphan_dependents.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(Cause::invalid(
                    "propagationPolicy",
                    &format!("{policy:?}"),
                    detail,
                ));
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan") {
                let supported = "\"Foreground\", \"Background\", \"Orphan\", \"nil\"";
                causes.push(Cause::not_supported(
                    "propagationPolicy",
                    &format!("{policy:?}"),
                    supported,
                ));
            }
        }
        if causes.is_empty() {
            return Ok(options);
        }
        Err(Failure::invalid(
            &Qualified {
                group: "meta.k8s.io",
                name: "DeleteOptions",
            },
            "",
            &causes,
        ))
    }

    fn decode(call: &Call) -> Result<Value> {
        let media = negotiate::content_type(&call.headers);
        let parsed = match media.as_str() {
            "application/json" => decode::parse_json(&call.body),
            "application/yaml" => decode::parse_yaml(&call.body),
            _ => {
                let message = "the body of the request was in an unknown format - accepted media types include: \
                    application/json, application/yaml, application/vnd.kubernetes.protobuf";
                return Err(Failure::new(415, "UnsupportedMediaType", message));
            }
        };
        let value = parsed.map_err(|why| {
            Failure::bad_request(format!(
                "couldn't get version/kind; json parse error: {why}"
            ))
        })?;
        let kind = value["kind"].as_str().unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            let version = value["apiVersion"].as_str().unwrap_or_default();
            let message = format!(
                "no kind \"{kind}\" is registered for version \"{version}\" in scheme \
                 \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
            );
            return Err(Failure::bad_request(message));
        }
        Ok(value)
    }
}

/// An object after its deletion.
pub(crate) enum Deleted {
    /// It waits for finalizers or for its grace period.
    Pending(Object),
    Gone(Value),
}

pub(crate) fn delete(call: &Call, target: &Target) -> Result<Reply> {
    let kind = &target.kind;
    negotiate::accept(&call.headers, &call.query, false)?;
    let options = DeleteOptions::read(call)?;
    let deleted = call
        .app
        .store
        .transact(|tx| delete_in(tx, kind, &target.key(), &options))?;
    match deleted {
        Deleted::Pending(object) => {
            let code = if options.orphan_dependents == Some(false) {
                202
            } else {
                200
            };
            reply::object(call, kind, code, &object)
        }
        Deleted::Gone(object) if kind.returns_deleted => reply::object(call, kind, 200, &object),
        Deleted::Gone(object) => {
            let mut details = json!({"name": target.name, "kind": kind.resource, "uid": object["metadata"]["uid"]});
            if !kind.group.is_empty() {
                details["group"] = kind.group.as_str().into();
            }
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            reply::value(call, 200, &status)
        }
    }
}

/// Deletes one object, or marks it for deletion.
pub(crate) fn delete_in(
    tx: &mut Transaction<'_>,
    kind: &Kind,
    key: &str,
    options: &DeleteOptions,
) -> Result<Deleted> {
    let storage = kind.storage();
    let name = key.rsplit('/').next().unwrap_or_default();
    let Some(old) = tx.get(&storage, key).cloned() else {
        return Err(Failure::not_found(&kind.qualified_resource(), name));
    };
    check_preconditions(kind, name, &old, options)?;
    let mut object = Value::clone(&old);
    let already = object["metadata"]["deletionTimestamp"].is_string();
    let grace = grace(kind, &object, options);
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let finalizer = match (options.policy.as_deref(), options.orphan_dependents) {
        (Some("Foreground"), _) => Some("foregroundDeletion"),
        (Some("Orphan"), _) | (None, Some(true)) => Some("orphan"),
        // Jobs keep their pods unless told otherwise; there is no object here that would notice.
        _ => None,
    };
    if !already && let Some(finalizer) = finalizer.filter(|_| may_have_dependents(kind)) {
        finalizers.push(finalizer.into());
        metadata["finalizers"] = Value::Array(finalizers);
    }
    if already {
        let current = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if grace < current {
            let since = metadata["deletionTimestamp"]
                .as_str()
                .and_then(Timestamp::parse_rfc3339);
            let base = since.unwrap_or_else(Timestamp::now);
            metadata["deletionTimestamp"] = base.plus_seconds(grace - current).rfc3339().into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
    } else {
        metadata["deletionTimestamp"] = Timestamp::now().plus_seconds(grace).rfc3339().into();
        if kind.resource != "namespaces" {
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
        if let Some(generation) = metadata["generation"].as_i64() {
            metadata["generation"] = (generation + 1).into();
        }
    }
    if kind.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
    if object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(Vec::is_empty)
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("finalizers");
    }
    if update::is_finished(&object) {
        if !options.dry_run {
            tx.delete(
                &storage,
                key,
                if kind.is("", "pods") {
                    object.clone()
                } else {
                    Value::clone(&old)
                },
            );
        }
        // What is not deleted gracefully never was terminating.
        let last = if kind.is("", "services") {
            Value::clone(&old)
        } else {
            object
        };
        return Ok(Deleted::Gone(last));
    }
    if options.dry_run || object == *old {
        return Ok(Deleted::Pending(object.into()));
    }
    Ok(Deleted::Pending(tx.put(&storage, key, object)))
}

fn may_have_dependents(kind: &Kind) -> bool {
    !matches!(kind.resource.as_str(), "events" | "namespaces")
}

/// Only pods are deleted gracefully, and only those that a node runs.
fn grace(kind: &Kind, object: &Value, options: &DeleteOptions) -> i64 {
    if !kind.is("", "pods") {
        return 0;
    }
    let scheduled = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|n| !n.is_empty());
    let finished = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if !scheduled || finished {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(30);
    match options.grace {
        Some(seconds) if seconds < 0 => 1,
        Some(seconds) => seconds,
        None => own,
    }
}

fn check_preconditions(
    kind: &Kind,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<()> {
    let kind = kind.qualified_kind();
    let current = old["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != current) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({current}). The object might have \
             been deleted and then recreated"
        );
        return Err(Failure::conflict(&kind, name, &why));
    }
    let current = old["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if let Some(version) = options
        .resource_version
        .as_deref()
        .filter(|v| *v != current)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({current}). The object might have been modified"
        );
        return Err(Failure::conflict(&kind, name, &why));
    }
    Ok(())
}

/// Deletes what a list selects; answers with the list as it was.
pub(crate) async fn delete_collection(call: &Call, target: &Target) -> Result<Reply> {
    let kind = &target.kind;
    negotiate::accept(&call.headers, &call.query, false)?;
    let options = DeleteOptions::read(call)?;
    let page = list::page(call, target).await?;
    call.app.store.transact(|tx| {
        for item in &page.items {
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            let key = super::store::key(namespace, name);
            match delete_in(tx, kind, &key, &options) {
                Ok(_) => {}
                Err(failure) if failure.code() == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    })?;
    reply::list(call, kind, &page.items, page.metadata)
}
