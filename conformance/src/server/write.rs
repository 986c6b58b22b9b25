//! Create, replace and patch over HTTP.

use serde_json::{Value, json};

use super::apply;
use super::call::{Call, Target, WriteOptions};
use super::fields::Scope;
use super::kinds::Kind;
use super::negotiate;
use super::patch;
use super::reply::{self, Reply};
use super::schema;
use super::status::{Cause, Failure, Qualified, Result};
use super::update::{self, Writer, Written};

const YAML_DEPTH_LIMIT: usize = 10_000;

/// Parses a JSON document; errors in Go's words.
pub(crate) fn parse_json(bytes: &[u8]) -> std::result::Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_eof() {
            return "unexpected end of JSON input".into();
        }
        let at = bytes
            .iter()
            .position(|b| !b.is_ascii_whitespace())
            .unwrap_or(0);
        let first = bytes.get(at).copied().unwrap_or_default();
        if !matches!(
            first,
            b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9'
        ) {
            let shown = if first.is_ascii_graphic() {
                char::from(first).to_string()
            } else {
                format!("\\x{first:02x}")
            };
            return format!("invalid character '{shown}' looking for beginning of value");
        }
        format!(
            "invalid character at {}:{}: {error}",
            error.line(),
            error.column()
        )
    })
}

/// The first document of a YAML stream (JSON is YAML).
pub(crate) fn parse_yaml(bytes: &[u8]) -> std::result::Result<Value, String> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
    if text.matches('{').count() + text.matches('[').count() > YAML_DEPTH_LIMIT {
        return Err("yaml: exceeded max depth".into());
    }
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let first = text.split("\n---").next().unwrap_or_default();
    serde_saphyr::from_str(first)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))
}

fn unsupported(accepted: &str) -> Failure {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    Failure::new(415, "UnsupportedMediaType", message)
}

/// Reads an object of `kind` (or, of a subresource, of another) from the body.
fn decode(call: &Call, kind_name: &str, api_version: &str, custom: bool) -> Result<Value> {
    let yaml = match negotiate::content_type(&call.headers).as_str() {
        "application/json" => false,
        "application/yaml" => true,
        _ if custom => return Err(unsupported("application/json, application/yaml")),
        _ => {
            return Err(unsupported(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    let parsed = if yaml {
        parse_yaml(&call.body)
    } else {
        parse_json(&call.body)
    };
    let object = parsed.map_err(|why| {
        let text = String::from_utf8_lossy(&call.body);
        let mut shown: String = text.chars().take(60).collect();
        if call.body.is_empty() {
            shown = "<empty>".into();
        } else if std::str::from_utf8(&call.body).is_err() {
            use std::fmt::Write as _;
            shown = call.body.iter().take(30).fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            shown.push_str(" ...");
        }
        let message = format!("the object provided is unrecognized (must be of type {kind_name}): couldn't get version/kind; json parse error: {why} ({shown})");
        Failure::bad_request(message)
    })?;
    check_type(kind_name, api_version, &object)?;
    Ok(object)
}

fn check_type(kind_name: &str, api_version: &str, object: &Value) -> Result<()> {
    if !object.is_object() {
        let message = format!(
            "the object provided is unrecognized (must be of type {kind_name}): couldn't get version/kind"
        );
        return Err(Failure::bad_request(message));
    }
    let kind = object["kind"]
        .as_str()
        .filter(|k| !k.is_empty())
        .unwrap_or(kind_name);
    let version = object["apiVersion"]
        .as_str()
        .filter(|v| !v.is_empty())
        .unwrap_or(api_version);
    if kind == kind_name && version == api_version {
        return Ok(());
    }
    let version_part = api_version.rsplit('/').next().unwrap_or_default();
    let scheme = "pkg/api/legacyscheme/scheme.go:30";
    let known = [
        "Pod",
        "Secret",
        "ConfigMap",
        "Service",
        "Namespace",
        "ServiceAccount",
        "Node",
        "Event",
        "Endpoints",
    ];
    let why = if version == "v1" && known.contains(&kind) && kind != kind_name {
        format!("converting (v1.{kind}) to (core.{kind_name}): unknown conversion")
    } else {
        format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme \"{scheme}\"")
    };
    let message =
        format!("{kind} in version \"{version_part}\" cannot be handled as a {kind_name}: {why}");
    Err(Failure::bad_request(message))
}

/// The fields that a built-in kind has beside its metadata; `None`: not checked.
fn known_fields(kind: &Kind) -> Option<&'static [&'static str]> {
    Some(match kind.resource.as_str() {
        "configmaps" => &["data", "binaryData", "immutable"],
        "secrets" => &["data", "stringData", "type", "immutable"],
        "leases" => &["spec"],
        "serviceaccounts" => &[
            "secrets",
            "imagePullSecrets",
            "automountServiceAccountToken",
        ],
        "namespaces"
        | "pods"
        | "services"
        | "nodes"
        | "deployments"
        | "replicasets"
        | "statefulsets"
        | "daemonsets"
        | "jobs"
        | "customresourcedefinitions" => &["spec", "status"],
        _ => return None,
    })
}

const METADATA_FIELDS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Removes fields that the kind does not have, and says which.
fn unknown_fields(kind: &Kind, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| {
            let known = METADATA_FIELDS.contains(&key.as_str());
            if !known {
                unknown.push(format!("metadata.{key}"));
            }
            known
        });
    }
    if let Some(custom) = &kind.custom {
        unknown.extend(schema::prune(&custom.schema, object));
    } else if let (Some(fields), Some(map)) = (known_fields(kind), object.as_object_mut()) {
        map.retain(|key, _| {
            let known = matches!(key.as_str(), "apiVersion" | "kind" | "metadata")
                || fields.contains(&key.as_str());
            if !known {
                unknown.push(key.clone());
            }
            known
        });
    }
    unknown
}

/// Refuses values of the wrong JSON type where handlers rely on them.
fn check_shape(kind: &Kind, object: &Value) -> Result<()> {
    let go_name = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let refuse = |value: &Value, field: &str, wanted: &str| {
        let found = go_name(value);
        let version = &kind.version;
        let name = &kind.kind;
        let message = format!(
            "{name} in version \"{version}\" cannot be handled as a {name}: json: cannot unmarshal {found} into Go struct field {name}.{field} of type {wanted}"
        );
        Err(Failure::bad_request(message))
    };
    let strings = |map: &serde_json::Map<String, Value>| {
        map.values()
            .find(|v| !v.is_string() && !v.is_null())
            .cloned()
    };
    let map_fields = [
        "metadata.labels",
        "metadata.annotations",
        "data",
        "stringData",
        "binaryData",
    ];
    for field in map_fields.iter().filter(|f| {
        f.starts_with("metadata") || matches!(kind.resource.as_str(), "configmaps" | "secrets")
    }) {
        let value = field
            .split('.')
            .fold(object, |v, part| v.get(part).unwrap_or(&Value::Null));
        match value {
            Value::Null => {}
            Value::Object(map) => {
                if let Some(bad) = strings(map) {
                    return refuse(&bad, field, "string");
                }
            }
            other => return refuse(other, field, "map[string]string"),
        }
    }
    for field in [
        "metadata.finalizers",
        "metadata.ownerReferences",
        "metadata.managedFields",
        "spec.containers",
    ] {
        let checked = field != "spec.containers" || kind.is("", "pods");
        let value = field
            .split('.')
            .fold(object, |v, part| v.get(part).unwrap_or(&Value::Null));
        if checked && !value.is_null() && !value.is_array() {
            return refuse(value, field, "[]string");
        }
    }
    for field in ["metadata", "spec", "status"] {
        let value = &object[field];
        let checked = field == "metadata" || kind.custom.is_none();
        if checked && !value.is_null() && !value.is_object() {
            return refuse(value, field, "struct");
        }
    }
    for field in [
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
    ] {
        let value = &object["metadata"][field];
        if !value.is_null() && !value.is_string() {
            return refuse(value, &format!("metadata.{field}"), "string");
        }
    }
    Ok(())
}

/// Handles unknown fields by `fieldValidation`; returns the warnings.
fn validate_fields(kind: &Kind, object: &mut Value, options: &WriteOptions) -> Result<Vec<String>> {
    let unknown: Vec<String> = unknown_fields(kind, object)
        .iter()
        .map(|f| format!("unknown field \"{f}\""))
        .collect();
    if options.strict && !unknown.is_empty() {
        let (version, name) = (&kind.version, &kind.kind);
        let message = format!(
            "{name} in version \"{version}\" cannot be handled as a {name}: strict decoding error: {}",
            unknown.join(", ")
        );
        return Err(Failure::bad_request(message));
    }
    check_shape(kind, object)?;
    Ok(if options.warn { unknown } else { Vec::new() })
}

fn check_namespace(target: &Target, object: &mut Value) -> Result<()> {
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
    check_namespace(target, &mut object)?;
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
    check_namespace(target, &mut object)?;
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
    check_namespace(target, &mut config)?;
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

/// Decodes the object of a subresource that is of another kind.
pub(crate) fn decode_other(call: &Call, kind: &str, api_version: &str) -> Result<Value> {
    decode(call, kind, api_version, false)
}

/// 422 for options of a subresource.
pub(crate) fn invalid(group: &str, kind: &str, name: &str, cause: Cause) -> Failure {
    Failure::invalid(&Qualified { group, name: kind }, name, &[cause])
}
