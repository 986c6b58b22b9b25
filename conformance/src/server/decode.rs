//! Reading objects from request bodies.

use serde_json::Value;

use super::call::{Call, WriteOptions};
use super::kinds::Kind;
use super::negotiate;
use super::patch::{DEEPEST, is_deeper};
use super::schema;
use super::status::{Failure, Result};

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
    let value: Value = serde_saphyr::from_str(first)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))?;
    if is_deeper(&value, DEEPEST) {
        return Err("yaml: exceeded max depth".into());
    }
    Ok(value)
}

pub(crate) fn unsupported(accepted: &str) -> Failure {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    Failure::new(415, "UnsupportedMediaType", message)
}

/// Reads an object of `kind` (or, of a subresource, of another) from the body.
pub(crate) fn decode(
    call: &Call,
    kind_name: &str,
    api_version: &str,
    custom: bool,
) -> Result<Value> {
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

pub(crate) fn check_type(kind_name: &str, api_version: &str, object: &Value) -> Result<()> {
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
pub(crate) fn unknown_fields(kind: &Kind, object: &mut Value) -> Vec<String> {
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
pub(crate) fn check_shape(kind: &Kind, object: &Value) -> Result<()> {
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
pub(crate) fn validate_fields(
    kind: &Kind,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>> {
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

/// Reads the object of a subresource that is of another kind.
pub(crate) fn decode_other(call: &Call, kind: &str, api_version: &str) -> Result<Value> {
    decode(call, kind, api_version, false)
}
