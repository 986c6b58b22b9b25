//! The structural schemas of custom resources: pruning, defaults, validation, and the types of lists.

use serde_json::{Map, Value};

use super::status::Cause;

/// Removes what the schema does not know; returns the paths that were removed.
pub(crate) fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut pruned = Vec::new();
    if let Some(map) = object.as_object_mut() {
        prune_map(schema, map, "", true, &mut pruned);
    }
    pruned
}

fn prune_map(
    schema: &Value,
    map: &mut Map<String, Value>,
    path: &str,
    root: bool,
    pruned: &mut Vec<String>,
) {
    let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
    let keep_all = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let properties = schema["properties"].as_object();
    let additional = &schema["additionalProperties"];
    map.retain(|key, value| {
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if embedded && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            return true;
        }
        if let Some(inner) = properties.and_then(|p| p.get(key)) {
            prune_value(inner, value, &at, pruned);
            return true;
        }
        if additional.is_object() {
            prune_value(additional, value, &at, pruned);
            return true;
        }
        if keep_all || additional == true {
            return true;
        }
        pruned.push(at);
        false
    });
}

fn prune_value(schema: &Value, value: &mut Value, path: &str, pruned: &mut Vec<String>) {
    match value {
        Value::Object(map) => prune_map(schema, map, path, false, pruned),
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                prune_value(&schema["items"], item, &format!("{path}[{i}]"), pruned);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in the defaults of absent properties.
pub(crate) fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
                let absent = map
                    .get(key)
                    .is_none_or(|v| v.is_null() && inner["nullable"] != true);
                if absent && let Some(value) = inner.get("default") {
                    map.insert(key.clone(), value.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    default(inner, value);
                }
            }
            if schema["additionalProperties"].is_object() {
                map.values_mut()
                    .for_each(|value| default(&schema["additionalProperties"], value));
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| default(&schema["items"], item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds what is wrong with `value` to `causes`.
pub(crate) fn validate(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name_of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if let Some(wanted) = schema["type"].as_str() {
        let found = name_of(value);
        if !(found == wanted || (wanted == "number" && found == "integer") || int_or_string) {
            let detail = format!(
                "Invalid value: \"{found}\": {} in body must be of type {wanted}: \"{found}\"",
                at(path)
            );
            causes.push(Cause::new("FieldValueTypeInvalid", detail, at(path)));
            return;
        }
    }
    if let Some(options) = schema["enum"].as_array()
        && !options.contains(value)
    {
        let supported: Vec<String> = options.iter().map(Value::to_string).collect();
        causes.push(Cause::not_supported(
            at(path),
            &value.to_string(),
            &supported.join(", "),
        ));
    }
    if let Some(number) = value.as_f64() {
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            let detail = format!(
                "{} in body should be greater than or equal to {least}",
                at(path)
            );
            causes.push(Cause::invalid(at(path), &value.to_string(), &detail));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            let detail = format!(
                "{} in body should be less than or equal to {most}",
                at(path)
            );
            causes.push(Cause::invalid(at(path), &value.to_string(), &detail));
        }
    }
    match value {
        Value::Object(map) => {
            for key in schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                if !map.contains_key(key) {
                    causes.push(Cause::required(join(path, key), ""));
                }
            }
            for (key, inner) in map {
                let additional = &schema["additionalProperties"];
                let property = schema["properties"].get(key).unwrap_or(additional);
                if property.is_object() && !(path.is_empty() && key == "metadata") {
                    validate(property, inner, &join(path, key), causes);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items
                .iter()
                .enumerate()
                .filter(|_| schema["items"].is_object())
            {
                validate(&schema["items"], item, &format!("{path}[{i}]"), causes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn at(path: &str) -> String {
    if path.is_empty() {
        "<nil>".into()
    } else {
        path.into()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_defaults_come() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "blue"},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}});
        let mut object = json!({"kind": "X", "metadata": {"name": "a"}, "spec": {"size": 0, "nope": 1, "any": {"x": 1}}});
        assert_eq!(prune(&schema, &mut object), ["spec.nope"]);
        default(&schema, &mut object);
        assert_eq!(
            object["spec"],
            json!({"size": 0, "color": "blue", "any": {"x": 1}})
        );
        let mut causes = Vec::new();
        validate(&schema, &object, "", &mut causes);
        validate(&schema, &json!({"spec": {"color": 1}}), "", &mut causes);
        assert_eq!(causes.len(), 3);
    }
}
