//! JSON as the API server writes it.
//!
//! Objects are kept as `serde_json` values, whose keys are in alphabetical order. Go writes struct
//! fields in declaration order and map keys sorted, and escapes `<`, `>` and `&`; this module puts both
//! back, so that a client sees the bytes that a real server would send.

use serde_json::{Map, Value};

/// How the keys of an object are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A compiled-in Go type.
    Typed,
    /// A map: alphabetical throughout (custom resources).
    Sorted,
}

/// Keys of Go structs that do not stand in alphabetical order, over all the types that the server knows.
const STRUCT_ORDER: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "groupVersion",
    "type",
    "object",
    "observedGeneration",
    "name",
    "manager",
    "operation",
    "generateName",
    "selfLink",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "continue",
    "remainingItemCount",
    "immutable",
    "secrets",
    "spec",
    "volumes",
    "initContainers",
    "containers",
    "ephemeralContainers",
    "phase",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "minReadySeconds",
    "selector",
    "template",
    "strategy",
    "rollingUpdate",
    "maxUnavailable",
    "maxSurge",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "state",
    "lastState",
    "ready",
    "restartCount",
    "image",
    "imageID",
    "command",
    "args",
    "workingDir",
    "hostPort",
    "containerPort",
    "port",
    "targetPort",
    "nodePort",
    "protocol",
    "ports",
    "envFrom",
    "env",
    "value",
    "valueFrom",
    "limits",
    "requests",
    "resources",
    "resizePolicy",
    "volumeMounts",
    "volumeDevices",
    "mountPath",
    "subPath",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "stdin",
    "stdinOnce",
    "tty",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "dnsPolicy",
    "nodeSelector",
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "nodeName",
    "securityContext",
    "hostNetwork",
    "affinity",
    "schedulerName",
    "tolerations",
    "priority",
    "enableServiceLinks",
    "preemptionPolicy",
    "key",
    "operator",
    "effect",
    "tolerationSeconds",
    "conditions",
    "status",
    "lastProbeTime",
    "lastUpdateTime",
    "lastTransitionTime",
    "exitCode",
    "signal",
    "reason",
    "message",
    "startedAt",
    "finishedAt",
    "containerID",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    "qosClass",
    "started",
    "details",
    "group",
    "causes",
    "field",
    "retryAfterSeconds",
    "code",
    "data",
    "binaryData",
    "columnDefinitions",
    "rows",
    "cells",
    "format",
    "description",
    "items",
    "version",
    "versions",
    "resource",
    "responseKind",
    "scope",
    "singularResource",
    "singularName",
    "namespaced",
    "verbs",
    "shortNames",
    "categories",
    "subresources",
    "freshness",
    "preferredVersion",
    "storageVersionHash",
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];

/// Keys under which Go has a map with keys of the user, sorted.
const MAPS: &[&str] = &[
    "labels",
    "annotations",
    "data",
    "binaryData",
    "stringData",
    "matchLabels",
    "nodeSelector",
    "fieldsV1",
    "limits",
    "requests",
    "capacity",
    "allocatable",
    "overhead",
    "openAPIV3Schema",
];

fn rank(key: &str) -> usize {
    STRUCT_ORDER
        .iter()
        .position(|k| *k == key)
        .unwrap_or(STRUCT_ORDER.len())
}

/// Writes `value` without a final newline.
pub(crate) fn to_json(value: &Value, style: Style) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    Writer {
        out: &mut out,
        pretty: false,
    }
    .value(value, style, 0);
    out
}

/// Writes `value` indented by two blanks, without a final newline, as the server does for people.
pub(crate) fn to_json_pretty(value: &Value, style: Style) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    Writer {
        out: &mut out,
        pretty: true,
    }
    .value(value, style, 0);
    out
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    pretty: bool,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, style: Style, depth: usize) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Value::String(text) => string(self.out, text),
            Value::Array(items) => self.array(items, style, depth),
            Value::Object(map) => self.object(map, style, depth),
        }
    }

    fn array(&mut self, items: &[Value], style: Style, depth: usize) {
        self.out.push(b'[');
        for (i, item) in items.iter().enumerate() {
            self.separator(i, depth + 1);
            // An untyped object inside a typed list (a custom object in a watch event) is sorted.
            self.value(item, style, depth + 1);
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push(b']');
    }

    fn object(&mut self, map: &Map<String, Value>, style: Style, depth: usize) {
        self.out.push(b'{');
        let mut keys: Vec<&String> = map.keys().collect();
        if style == Style::Typed {
            // StatusDetails, APIResource and responseKind name their kind late.
            let late_kind = map.contains_key("kind") && !map.contains_key("apiVersion");
            // An entry of managedFields begins with its manager.
            let is_manager = map.contains_key("manager") && map.contains_key("operation");
            let is_column = map.contains_key("format") && map.contains_key("priority");
            // Status has its message before the reason, conditions and container states after it.
            let is_status = map.contains_key("status") && !map.contains_key("lastTransitionTime");
            keys.sort_by_key(|key| {
                let early = [
                    "name",
                    "singularName",
                    "namespaced",
                    "group",
                    "version",
                    "kind",
                    "uid",
                ];
                let rank = match early.iter().position(|k| k == key) {
                    Some(at) if late_kind => 2 * at,
                    _ if is_status && *key == "reason" => 2 * (early.len() + rank("message")) + 1,
                    _ if is_column => {
                        let order = ["name", "type", "format", "description"];
                        order.iter().position(|k| k == key).unwrap_or(order.len())
                    }
                    _ if is_manager && *key == "apiVersion" => {
                        2 * (early.len() + rank("operation")) + 1
                    }
                    _ => 2 * (early.len() + rank(key)),
                };
                (rank, *key)
            });
        }
        for (i, key) in keys.iter().enumerate() {
            self.separator(i, depth + 1);
            string(self.out, key);
            self.out.push(b':');
            if self.pretty {
                self.out.push(b' ');
            }
            let inner = if MAPS.contains(&key.as_str()) {
                Style::Sorted
            } else {
                style
            };
            self.value(&map[key.as_str()], inner, depth + 1);
        }
        if !keys.is_empty() {
            self.line(depth);
        }
        self.out.push(b'}');
    }

    fn separator(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(b',');
        }
        self.line(depth);
    }

    fn line(&mut self, depth: usize) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * depth, b' ');
        }
    }
}

/// Writes a JSON string as Go's encoder does: `<`, `>`, `&`, U+2028 and U+2029 escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut buffer = [0; 4];
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Writes YAML in block style, keys sorted, as `sigs.k8s.io/yaml` does.
pub(crate) fn to_yaml(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    yaml(&mut out, value, 0, false);
    out.into_bytes()
}

fn yaml(out: &mut String, value: &Value, indent: usize, in_list: bool) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (i, (key, inner)) in map.iter().enumerate() {
                if i > 0 || !in_list {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&yaml_scalar(key));
                out.push(':');
                yaml_child(out, inner, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => yaml(out, item, indent + 2, true),
                    _ => {
                        out.push_str(&yaml_leaf(item));
                        out.push('\n');
                    }
                }
            }
        }
        _ => {
            out.push_str(&yaml_leaf(value));
            out.push('\n');
        }
    }
}

fn yaml_child(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            yaml(out, value, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            yaml(out, value, indent, false);
        }
        _ => {
            out.push(' ');
            out.push_str(&yaml_leaf(value));
            out.push('\n');
        }
    }
}

fn yaml_leaf(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_scalar(text),
        other => other.to_string(),
    }
}

fn yaml_scalar(text: &str) -> String {
    let plain_start = text
        .chars()
        .next()
        .is_some_and(|c| c.is_alphanumeric() || "/._(<\\$".contains(c));
    let plain = plain_start
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text
            .chars()
            .any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
        && text.parse::<f64>().is_err()
        && !text.starts_with(|c: char| c.is_ascii_digit() && text.contains(':'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        text.to_owned()
    } else {
        Value::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn struct_fields_stand_in_go_order_and_maps_sorted() {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "data": {"name": "1", "kind": "2"},
            "metadata": {"uid": "u", "resourceVersion": "1", "namespace": "n", "name": "a", "labels": {"z": "1", "a": "2"}},
        });
        let text = String::from_utf8(to_json(&value, Style::Typed)).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"1","labels":{"a":"2","z":"1"}},"data":{"kind":"2","name":"1"}}"#
        );
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = Vec::new();
        string(&mut out, "<&>\u{2028}\"\\\u{1}\n✓");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""\u003c\u0026\u003e\u2028\"\\\u0001\n✓""#
        );
    }

    #[test]
    fn pretty_and_yaml() {
        let value = json!({"a": {"b": []}, "c": ["x", {"d": "1", "e": true}]});
        let pretty = String::from_utf8(to_json_pretty(&value, Style::Sorted)).unwrap();
        assert_eq!(
            pretty,
            "{\n  \"a\": {\n    \"b\": []\n  },\n  \"c\": [\n    \"x\",\n    {\n      \"d\": \"1\",\n      \"e\": true\n    }\n  ]\n}"
        );
        let text = String::from_utf8(to_yaml(&value)).unwrap();
        assert_eq!(text, "a:\n  b: []\nc:\n- x\n- d: \"1\"\n  e: true\n");
    }
}
