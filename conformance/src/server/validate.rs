//! What an object must satisfy before it is stored.

use serde_json::Value;

use super::kinds::Kind;
use super::schema;
use super::selector::{is_label_text, label_selector_matches};
use super::status::{Cause, quote};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
    'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

pub(crate) fn is_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 63
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}

pub(crate) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
            && part.chars().all(|c| alphanumeric(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Everything wrong with `object`; `old` is what it replaces.
pub(crate) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, object, old, &mut causes);
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "configmaps" | "secrets") => config(object, old, &mut causes),
        ("", "pods") => {
            pod_spec(&object["spec"], "spec", &mut causes);
            if let Some(old) = old {
                pod_update(object, old, &mut causes);
            }
        }
        ("apps", _) => workload(object, old, &mut causes),
        ("batch", "jobs") => pod_spec(
            &object["spec"]["template"]["spec"],
            "spec.template.spec",
            &mut causes,
        ),
        ("apiextensions.k8s.io", _) => definition(object, &mut causes),
        _ => {}
    }
    if let Some(custom) = &kind.custom {
        schema::validate(&custom.schema, object, "", &mut causes);
    }
    causes
}

fn metadata(kind: &Kind, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if old.is_none() {
        let label = matches!(
            (kind.group.as_str(), kind.resource.as_str()),
            ("", "namespaces" | "services")
        );
        if label && !is_label(name) {
            causes.push(Cause::invalid("metadata.name", &quote(name), LABEL));
        } else if !is_subdomain(name) {
            causes.push(Cause::invalid("metadata.name", &quote(name), SUBDOMAIN));
        }
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let key_name = key.rsplit('/').next().unwrap_or_default();
        if !is_label_text(key_name) {
            let detail = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
            causes.push(Cause::invalid("metadata.labels", &quote(key), detail));
        }
        let value = value.as_str().unwrap_or_default();
        if !value.is_empty() && !is_label_text(value) {
            causes.push(Cause::invalid(
                "metadata.labels",
                &quote(value),
                LABEL_VALUE,
            ));
        }
    }
    if let Some(old) = old
        && old["metadata"]["deletionTimestamp"].is_string()
    {
        let before = old["metadata"]["finalizers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let after = metadata["finalizers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let new: Vec<String> = after
            .iter()
            .filter(|f| !before.contains(f))
            .map(Value::to_string)
            .collect();
        if !new.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            );
            // The real server reports this twice.
            causes.push(Cause::forbidden("metadata.finalizers", &detail));
            causes.push(Cause::forbidden("metadata.finalizers", &detail));
        }
    }
}

fn config(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut total = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if key.is_empty() || !key.chars().all(valid) {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &quote(key),
                    CONFIG_KEY,
                ));
            }
            total += value.as_str().map_or(0, str::len);
        }
    }
    if total > 1 << 20 {
        causes.push(Cause::new(
            "FieldValueTooLong",
            "Too long: may not be more than 1048576 bytes",
            "",
        ));
    }
    if let Some(old) = old
        && old["immutable"] == true
    {
        let detail = "field is immutable when `immutable` is set";
        for field in ["immutable", "data", "binaryData"] {
            if object[field] != old[field] {
                causes.push(Cause::forbidden(field, detail));
            }
        }
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names = Vec::new();
    let init = spec["initContainers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let all = init
        .iter()
        .map(|c| ("initContainers", c))
        .chain(containers.iter().map(|c| ("containers", c)));
    for (i, (field, container)) in all.enumerate() {
        let index = if field == "containers" {
            i - init.len()
        } else {
            i
        };
        let at = format!("{path}.{field}[{index}]");
        match container["name"].as_str().unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{at}.name"), "")),
            name if !is_label(name) => {
                causes.push(Cause::invalid(format!("{at}.name"), &quote(name), LABEL));
            }
            name if names.contains(&name) => {
                causes.push(Cause::new(
                    "FieldValueDuplicate",
                    format!("Duplicate value: {}", quote(name)),
                    format!("{at}.name"),
                ));
            }
            name => names.push(name),
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{at}.image"), ""));
        }
    }
    match spec["restartPolicy"].as_str() {
        None | Some("Always" | "OnFailure" | "Never") => {}
        Some(other) => {
            let supported = "\"Always\", \"OnFailure\", \"Never\"";
            causes.push(Cause::not_supported(
                format!("{path}.restartPolicy"),
                &quote(other),
                supported,
            ));
        }
    }
}

fn pod_update(object: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let mutable = |value: &Value| {
        let mut spec = value["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            for key in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "nodeName",
                "ephemeralContainers",
            ] {
                map.remove(key);
            }
        }
        for field in ["containers", "initContainers"] {
            for container in spec[field].as_array_mut().into_iter().flatten() {
                if let Some(map) = container.as_object_mut() {
                    map.remove("image");
                }
            }
        }
        spec
    };
    if mutable(object) != mutable(old) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";
        causes.push(Cause::forbidden("spec", detail));
    }
}

fn workload(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if let Some(replicas) = spec["replicas"].as_i64().filter(|n| *n < 0) {
        causes.push(Cause::invalid(
            "spec.replicas",
            &replicas.to_string(),
            "must be greater than or equal to 0",
        ));
    }
    if spec["selector"].is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else {
        let labels = &spec["template"]["metadata"]["labels"];
        if !label_selector_matches(&spec["selector"], labels) {
            let detail = "`selector` does not match template `labels`";
            let shown = if labels.is_null() {
                "null".into()
            } else {
                labels.to_string()
            };
            causes.push(Cause::invalid(
                "spec.template.metadata.labels",
                &shown,
                detail,
            ));
        }
    }
    pod_spec(&spec["template"]["spec"], "spec.template.spec", causes);
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
    {
        causes.push(Cause::invalid(
            "spec.selector",
            &spec["selector"].to_string(),
            "field is immutable",
        ));
    }
}

fn definition(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (plural, group) = (text(&spec["names"]["plural"]), text(&spec["group"]));
    let name = text(&object["metadata"]["name"]);
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &quote(&name), detail));
    }
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    }
    if text(&spec["names"]["kind"]).is_empty() {
        causes.push(Cause::required("spec.names.kind", ""));
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        let shown = quote(&text(&spec["scope"]));
        causes.push(Cause::not_supported(
            "spec.scope",
            &shown,
            "\"Cluster\", \"Namespaced\"",
        ));
    }
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid(
            "spec.versions",
            &spec["versions"].to_string(),
            detail,
        ));
    }
    for (i, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            causes.push(Cause::required(
                format!("spec.versions[{i}].schema.openAPIV3Schema"),
                "",
            ));
        }
    }
}
