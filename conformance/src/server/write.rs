//! Create, replace and patch over HTTP.

use serde_json::{Value, json};

use super::apply;
use super::call::{Call, Target, WriteOptions};
use super::decode::{
    check_shape, check_type, decode, parse_json, parse_yaml, unknown_fields, unsupported,
    validate_fields,
};
use super::fields::Scope;
use super::kinds::Kind;
use super::negotiate;
use super::patch;
use super::reply::{self, Reply};
use super::status::{Cause, Failure, Result};
use super::update::{self, Writer, Written};

fn check_namespace(target: &Target, object: &Value) -> Result<()> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if given.is_empty() || given == target.namespace {
        return Ok(());
    }
    if !target.kind.namespaced {
        return Ok(());
    }
    Err(Failure::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn check_name(target: &Target, object: &mut Value) -> Result<()> {
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if given.is_empty() {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["name"] = target.name.as_str().into();
        return Ok(());
    }
    if given == target.name {
        return Ok(());
    }
    let message = format!(
        "the name of the object ({given}) does not match the name on the URL ({})",
        target.name
    );
    Err(Failure::bad_request(message))
}

fn respond(call: &Call, target: &Target, written: &Written, warnings: &[String]) -> Result<Reply> {
    let code = if written.created { 201 } else { 200 };
    let mut response = reply::object(call, &target.kind, code, &written.object)?;
    for warning in warnings {
        reply::warn(&mut response, warning);
    }
    Ok(response)
}

pub(crate) fn create(call: &Call, target: &Target) -> Result<Reply> {
    let kind = &target.kind;
    negotiate::accept(&call.headers, &call.query, false)?;
    let options = call.write_options("CreateOptions", false)?;
    let mut object = decode(call, &kind.kind, &kind.api_version(), kind.custom.is_some())?;
    let warnings = validate_fields(kind, &mut object, &options)?;
    check_namespace(target, &object)?;
    let writer = Writer::new(kind, &options.manager, "Update", "", options.dry_run);
    let written = call
        .app
        .store
        .transact(|tx| update::create(tx, kind, &target.namespace, object, &writer))?;
    respond(call, target, &written, &warnings)
}

pub(crate) fn replace(call: &Call, target: &Target) -> Result<Reply> {
    let kind = &target.kind;
    negotiate::accept(&call.headers, &call.query, false)?;
    let options = call.write_options("UpdateOptions", false)?;
    let mut object = decode(call, &kind.kind, &kind.api_version(), kind.custom.is_some())?;
    let warnings = validate_fields(kind, &mut object, &options)?;
    check_namespace(target, &object)?;
    let unnamed = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .is_empty();
    if unnamed {
        let message = format!(
            "the name of the object () does not match the name on the URL ({})",
            target.name
        );
        return Err(Failure::bad_request(message));
    }
    check_name(target, &mut object)?;
    let writer = Writer::new(
        kind,
        &options.manager,
        "Update",
        &target.subresource,
        options.dry_run,
    );
    let written = call.app.store.transact(|tx| {
        let exists = tx.get(&kind.storage(), &target.key()).is_some();
        if !exists && kind.create_on_update && target.subresource.is_empty() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            return update::create(tx, kind, &target.namespace, object, &writer);
        }
        let version = object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        if exists && version.is_empty() && !kind.unconditional_update {
            let detail = "must be specified for an update";
            let cause = Cause::invalid("metadata.resourceVersion", "0", detail);
            return Err(Failure::invalid(
                &kind.qualified_resource(),
                &target.name,
                &[cause],
            ));
        }
        update::update(tx, kind, &target.key(), object, &writer)
    })?;
    respond(call, target, &written, &warnings)
}

/// The kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

pub(crate) fn patch_type(call: &Call, custom: bool) -> Result<PatchType> {
    let content_type = if call.headers.contains_key("content-type") {
        negotiate::content_type(&call.headers)
    } else {
        String::new()
    };
    match content_type.as_str() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" if custom => Err(unsupported(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => Err(
            Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
                .details(json!({})),
        ),
    }
}

/// Parses a patch that is no apply.
pub(crate) fn parse_patch(call: &Call) -> Result<Value> {
    parse_json(&call.body)
        .map_err(|why| Failure::bad_request(format!("error decoding patch: {why}")))
}

/// Applies a patch that is no apply to a copy of `object`.
pub(crate) fn patched(
    kind: &Kind,
    object: &Value,
    patch_type: PatchType,
    patch: &Value,
) -> Result<Value> {
    let mut object = object.clone();
    match patch_type {
        PatchType::Json => patch::json(&mut object, patch)?,
        PatchType::Strategic => patch::strategic(kind, &mut object, patch),
        PatchType::Merge | PatchType::Apply => patch::merge(&mut object, patch),
    }
    Ok(object)
}

pub(crate) fn patch(call: &Call, target: &Target) -> Result<Reply> {
    let kind = &target.kind;
    negotiate::accept(&call.headers, &call.query, false)?;
    let patch_type = patch_type(call, kind.custom.is_some())?;
    let options = call.write_options("PatchOptions", patch_type == PatchType::Apply)?;
    if patch_type == PatchType::Apply {
        return apply(call, target, &options);
    }
    let patch = parse_patch(call)?;
    let writer = Writer::new(
        kind,
        &options.manager,
        "Update",
        &target.subresource,
        options.dry_run,
    );
    let mut warnings = Vec::new();
    let written = call.app.store.transact(|tx| {
        let old = tx
            .get(&kind.storage(), &target.key())
            .cloned()
            .ok_or_else(|| target.not_found())?;
        let mut object = patched(kind, &reply::in_version(kind, &old), patch_type, &patch)?;
        check_type(&kind.kind, &kind.api_version(), &object)?;
        warnings = validate_fields(kind, &mut object, &options)?;
        check_name(target, &mut object)?;
        update::update(tx, kind, &target.key(), object, &writer)
    })?;
    respond(call, target, &written, &warnings)
}

fn apply(call: &Call, target: &Target, options: &WriteOptions) -> Result<Reply> {
    let kind = &target.kind;
    let config = parse_yaml(&call.body)
        .map_err(|why| Failure::bad_request(format!("error decoding YAML: {why}")))?;
    let (version, name) = (
        config["apiVersion"].as_str().unwrap_or_default(),
        config["kind"].as_str().unwrap_or_default(),
    );
    if version.is_empty() || name.is_empty() {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        return Err(Failure::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={name}"
        )));
    }
    if version != kind.api_version() || name != kind.kind {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let message = format!("invalid object type: {group}/{version}, Kind={name}");
        return Err(Failure::bad_request(message));
    }
    let mut config = config;
    check_namespace(target, &config)?;
    check_name(target, &mut config)?;
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let unknown = unknown_fields(kind, &mut config);
    let mut warnings = Vec::new();
    if let Some(field) = unknown.first() {
        if kind.custom.is_none() {
            let message = format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): .{field}: field not declared in schema",
                config["metadata"]["namespace"].as_str().unwrap_or_default(),
                target.name,
                if kind.group.is_empty() {
                    format!("/{}", kind.version)
                } else {
                    kind.api_version()
                },
                kind.kind,
            );
            return Err(Failure::unclassified(message));
        }
        warnings = unknown
            .iter()
            .map(|f| format!("unknown field \"{f}\""))
            .collect();
    }
    check_shape(kind, &config)?;
    let writer = Writer::new(
        kind,
        &options.manager,
        "Apply",
        &target.subresource,
        options.dry_run,
    );
    let scope = match target.subresource.as_str() {
        "status" => Scope::OnlyStatus,
        _ if kind.has_status => Scope::WithoutStatus,
        _ => Scope::All,
    };
    let written = call.app.store.transact(|tx| {
        let live = tx.get(&kind.storage(), &target.key()).cloned();
        let Some(live) = live else {
            return apply_absent(tx, target, &config, &writer, scope);
        };
        let mut merged = apply::apply(
            kind,
            Some(&live),
            &config,
            scope,
            &writer.manager,
            options.force,
        )?;
        for key in ["resourceVersion", "uid"] {
            if config["metadata"][key].is_string() {
                merged["metadata"][key] = config["metadata"][key].clone();
            } else if key == "resourceVersion" {
                merged["metadata"][key] = live["metadata"][key].clone();
            }
        }
        update::update(tx, kind, &target.key(), merged, &writer)
    })?;
    respond(call, target, &written, &warnings)
}

fn apply_absent(
    tx: &mut super::store::Transaction<'_>,
    target: &Target,
    config: &Value,
    writer: &Writer,
    scope: Scope,
) -> Result<Written> {
    let kind = &target.kind;
    if !target.subresource.is_empty() {
        return Err(target.not_found());
    }
    if let Some(uid) = config["metadata"]["uid"].as_str() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(Failure::conflict(
            &kind.qualified_resource(),
            &target.name,
            &why,
        ));
    }
    let mut object = apply::apply(kind, None, config, scope, &writer.manager, false)?;
    object["metadata"]["name"] = target.name.as_str().into();
    update::create(tx, kind, &target.namespace, object, writer)
}
