//! The three patches that are not apply.

use serde_json::{Map, Value};

use super::fields::{ListKind, Typing, same_item};
use super::kinds::Kind;
use super::status::{Failure, Result};

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902. The server does not tell which operation failed.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<()> {
    let Some(operations) = patch.as_array() else {
        let kind = match patch {
            Value::Object(_) => "object",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null | Value::Array(_) => "value",
        };
        let message = format!(
            "error decoding patch: json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        );
        return Err(Failure::bad_request(message));
    };
    if operations.len() > 10_000 {
        let message = format!(
            "The allowed maximum operations in a JSON patch is 10000, got {}",
            operations.len()
        );
        return Err(Failure::new(413, "RequestEntityTooLarge", message));
    }
    let mut copied = 0;
    for operation in operations {
        if apply(target, operation, &mut copied).is_none() {
            let message = "the server rejected our request due to an error in our request";
            return Err(Failure::new(422, "Invalid", message).details(serde_json::json!({})));
        }
    }
    Ok(())
}

/// What copies may add up to: a real server has a limit as well, or a few operations would fill the memory.
const COPY_LIMIT: usize = 1 << 20;
/// Values nested deeper than this are refused rather than overflow a stack.
pub(crate) const DEEPEST: usize = 250;

/// Whether `value` is nested deeper than `limit`.
pub(crate) fn is_deeper(value: &Value, limit: usize) -> bool {
    let inner = |inner: &Value| limit == 0 || is_deeper(inner, limit - 1);
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(map) => map.values().any(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn apply(target: &mut Value, operation: &Value, copied: &mut usize) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" => add(target, path, operation.get("value")?.clone()),
        "remove" => remove(target, path).map(|_| ()),
        "replace" => {
            check_depth(path, operation.get("value")?)?;
            let at = target.pointer_mut(path)?;
            *at = operation.get("value")?.clone();
            Some(())
        }
        "move" => {
            let value = remove(target, operation["from"].as_str()?)?;
            add(target, path, value)
        }
        "copy" => {
            let value = target.pointer(operation["from"].as_str()?)?.clone();
            *copied += value.to_string().len();
            if *copied > COPY_LIMIT {
                return None;
            }
            add(target, path, value)
        }
        "test" => {
            let expected = operation.get("value").unwrap_or(&Value::Null);
            let found = target.pointer(path).unwrap_or(&Value::Null);
            (found == expected).then_some(())
        }
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn check_depth(path: &str, value: &Value) -> Option<()> {
    let above = path.matches('/').count();
    (above < DEEPEST && !is_deeper(value, DEEPEST - above)).then_some(())
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    check_depth(path, &value)?;
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, key) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) => {
            let index = if key == "-" {
                items.len()
            } else {
                key.parse().ok()?
            };
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&key),
        Value::Array(items) => {
            let index: usize = key.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Strategic merge: lists by their keys, with directives.
pub(crate) fn strategic(kind: &Kind, target: &mut Value, patch: &Value) {
    strategic_at(Typing::root(kind), target, patch);
}

/// The merge keys of patches differ from those of apply: ports are found by number alone.
fn patch_keys<'a>(list: &ListKind<'a>) -> Option<Vec<&'a str>> {
    match list {
        ListKind::Map(keys) => keys.first().map(|key| vec![*key]),
        ListKind::Set | ListKind::Atomic => None,
    }
}

fn strategic_at(typing: Typing<'_>, target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if patch.get("$patch").is_some_and(|d| d == "replace") {
        *target = Value::Object(
            patch
                .iter()
                .filter(|(k, _)| !k.starts_with('$'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        );
        return;
    }
    if patch.get("$patch").is_some_and(|d| d == "delete") {
        *target = Value::Object(Map::new());
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(items), Some(gone)) = (
                map.get_mut(list).and_then(Value::as_array_mut),
                value.as_array(),
            ) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // $setElementOrder is followed below, $retainKeys was above.
        } else if value.is_null() {
            map.remove(key);
        } else {
            let inner = typing.field(key);
            let slot = map.entry(key.clone()).or_insert(Value::Null);
            match value {
                Value::Array(items) => strategic_list(inner, slot, items),
                _ => strategic_at(inner, slot, value),
            }
        }
    }
    for (key, order) in patch {
        if let (Some(list), Some(order)) = (key.strip_prefix("$setElementOrder/"), order.as_array())
            && let Some(items) = map.get_mut(list).and_then(Value::as_array_mut)
        {
            let keys = patch_keys(&typing.field(list).list());
            items.sort_by_key(|item| {
                let same = |wanted: &Value| match &keys {
                    Some(keys) => same_item(keys, wanted, item),
                    None => wanted == item,
                };
                order.iter().position(same).unwrap_or(usize::MAX)
            });
        }
    }
}

fn strategic_list(typing: Typing<'_>, target: &mut Value, patch: &[Value]) {
    let list = typing.list();
    let directive = |item: &Value, name: &str| item.get("$patch").is_some_and(|d| d == name);
    let clean = |item: &Value| {
        let mut item = item.clone();
        if let Some(map) = item.as_object_mut() {
            map.remove("$patch");
        }
        item
    };
    let replace = patch.iter().any(|item| directive(item, "replace"));
    let Some(keys) = patch_keys(&list).filter(|_| !replace) else {
        if list == ListKind::Set
            && let Some(items) = target.as_array_mut()
        {
            let missing: Vec<Value> = patch
                .iter()
                .filter(|item| !items.contains(item))
                .cloned()
                .collect();
            items.extend(missing);
            return;
        }
        let bare = |item: &&Value| {
            !item
                .as_object()
                .is_some_and(|m| m.len() == 1 && m.contains_key("$patch"))
        };
        *target = patch.iter().filter(bare).map(clean).collect();
        return;
    };
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(items) = target.as_array_mut() else {
        return;
    };
    for item in patch {
        let at = items.iter().position(|other| same_item(&keys, other, item));
        match at {
            Some(at) if directive(item, "delete") => {
                items.remove(at);
            }
            Some(at) => strategic_at(typing.item(), &mut items[at], item),
            None if directive(item, "delete") => {}
            None => {
                let mut new = Value::Null;
                strategic_at(typing.item(), &mut new, &clean(item));
                items.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patch() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "l": [1]});
        merge(
            &mut target,
            &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [2]}),
        );
        assert_eq!(target, json!({"a": {"c": 2, "d": {"f": 1}}, "l": [2]}));
    }

    #[test]
    fn json_patch() {
        let mut target = json!({"a": {"x/y": 1}, "l": [1, 2]});
        let patch = json!([
            {"op": "test", "path": "/a/x~1y", "value": 1}, {"op": "add", "path": "/l/-", "value": 3},
            {"op": "add", "path": "/l/0", "value": 0}, {"op": "remove", "path": "/a/x~1y"},
            {"op": "copy", "from": "/l/1", "path": "/a/n"}, {"op": "move", "from": "/a/n", "path": "/b"},
            {"op": "replace", "path": "/l/1", "value": 9},
        ]);
        json(&mut target, &patch).unwrap();
        assert_eq!(target, json!({"a": {}, "b": 1, "l": [0, 9, 2, 3]}));
        for bad in [
            json!([{"op": "remove", "path": "/none"}]),
            json!([{"op": "frob", "path": "/a"}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
        ] {
            assert_eq!(json(&mut target, &bad).unwrap_err().code(), 422);
        }
        assert_eq!(
            json(&mut target, &json!({"op": "remove"}))
                .unwrap_err()
                .code(),
            400
        );
    }

    #[test]
    fn patches_stay_within_bounds() {
        let bomb: Value = (0..40)
            .map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")}))
            .collect();
        assert!(json(&mut json!({"x": "y".repeat(100)}), &bomb).is_err());
        let mut target = json!({});
        let deep: Value = (0..300)
            .map(|n| json!({"op": "add", "path": "/a".repeat(n + 1), "value": {}}))
            .collect();
        assert!(json(&mut target, &deep).is_err());
        assert!(!is_deeper(&target, DEEPEST) && is_deeper(&target, DEEPEST - 5));
    }

    #[test]
    fn strategic_merge() {
        let kind = Kinds::new().find("", "v1", "pods").unwrap();
        let mut target = json!({"spec": {"containers": [
            {"name": "a", "image": "1", "ports": [{"containerPort": 80}], "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}});
        let patch = json!({"spec": {"containers": [
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}], "ports": [{"containerPort": 80, "name": "http"}]},
            {"name": "b", "$patch": "delete"}, {"name": "c"}], "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}});
        strategic(&kind, &mut target, &patch);
        assert_eq!(
            target,
            json!({"spec": {"containers": [{"name": "c"}, {"name": "a", "image": "2",
            "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}})
        );
    }
}
