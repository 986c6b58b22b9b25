//! Server-side apply.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{self, Leaves, ListKind, Manager, Members, Path, Scope, Typing};
use super::kinds::Kind;
use super::status::{Failure, Result};

/// Merges `config` into `live` on behalf of `who`; `live` is `None` if the object does not exist yet.
pub(crate) fn apply(
    kind: &Kind,
    live: Option<&Value>,
    config: &Value,
    scope: Scope,
    who: &Manager,
    force: bool,
) -> Result<Value> {
    let mut result = live.cloned().unwrap_or_else(|| json!({"metadata": {}}));
    let mut managers = fields::managers(&result);
    let wanted = fields::leaves(kind, config, scope, Members::Items);
    let set: BTreeSet<Path> = wanted.keys().cloned().collect();
    let at = managers.iter().position(|m| {
        m.is(
            &who.name,
            &who.operation,
            &who.api_version,
            &who.subresource,
        )
    });
    let mine = at.map(|at| managers.remove(at));

    if let Some(live) = live {
        let present = fields::leaves(kind, live, Scope::All, Members::All);
        let conflicts = conflicts(&managers, &wanted, &present);
        if !conflicts.is_empty() && !force {
            return Err(conflict(&conflicts));
        }
        for (index, path) in &conflicts {
            managers[index.0].fields.remove(path);
        }
    }

    merge(Typing::root(kind), &mut result, &strip(config));

    // What this manager applied before and left out now goes, unless somebody else wants it.
    let dropped = mine
        .iter()
        .flat_map(|m| m.fields.iter())
        .filter(|path| !set.contains(*path));
    let owned = |path: &Path| {
        managers
            .iter()
            .any(|m| m.fields.iter().any(|f| f.starts_with(path)))
    };
    let mut dropped: Vec<&Path> = dropped
        .filter(|path| !owned(path) && !set.iter().any(|p| p.starts_with(path)))
        .collect();
    dropped.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in dropped {
        fields::remove(kind, &mut result, path);
    }

    let time = match &mine {
        Some(mine) if mine.fields == set => mine.time.clone(),
        _ => who.time.clone(),
    };
    managers.push(Manager {
        fields: set,
        time,
        ..who.clone()
    });
    fields::set_managers(&mut result, managers);
    Ok(result)
}

/// The index of a manager and what messages call it.
struct Owner(usize, String);

fn conflicts(
    managers: &[Manager],
    wanted: &Leaves<'_>,
    present: &Leaves<'_>,
) -> Vec<(Owner, Path)> {
    let mut found = Vec::new();
    for (index, manager) in managers.iter().enumerate() {
        for (path, value) in wanted.iter().filter(|(_, value)| value.is_some()) {
            if manager.fields.contains(path) && present.get(path) != Some(value) {
                let mut name = format!("{:?}", manager.name);
                if !manager.subresource.is_empty() {
                    name = format!("{name} with subresource {:?}", manager.subresource);
                }
                if manager.operation == "Update" {
                    name = format!("{name} using {}", manager.api_version);
                }
                found.push((Owner(index, name), path.clone()));
            }
        }
    }
    found
}

fn conflict(conflicts: &[(Owner, Path)]) -> Failure {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(owner, path)| {
            let message = format!("conflict with {}", owner.1);
            json!({"reason": "FieldManagerConflict", "message": message, "field": fields::display(path)})
        })
        .collect();
    let mut owners: Vec<&str> = conflicts
        .iter()
        .map(|(owner, _)| owner.1.as_str())
        .collect();
    owners.dedup();
    let text = match conflicts {
        [(owner, path)] => format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            owner.1,
            fields::display(path)
        ),
        many => {
            let groups: Vec<String> = owners
                .iter()
                .map(|name| {
                    let paths = many.iter().filter(|(owner, _)| owner.1 == **name);
                    let lines: Vec<String> = paths
                        .map(|(_, path)| format!("\n- {}", fields::display(path)))
                        .collect();
                    if let [line] = lines.as_slice() {
                        format!("conflict with {name}: {}", line.trim_start_matches("\n- "))
                    } else {
                        format!("conflicts with {name}:{}", lines.concat())
                    }
                })
                .collect();
            format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                groups.join("\n")
            )
        }
    };
    Failure::new(409, "Conflict", text).details(json!({"causes": causes}))
}

/// The configuration without what the server alone decides.
fn strip(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "managedFields",
            "selfLink",
        ] {
            metadata.remove(key);
        }
    }
    config
}

fn merge(typing: Typing<'_>, live: &mut Value, config: &Value) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !typing.atomic() => {
            for (field, value) in config {
                match live.get_mut(field) {
                    Some(inner) => merge(typing.field(field), inner, value),
                    None => {
                        live.insert(field.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(config)) => match typing.list() {
            ListKind::Map(keys) => {
                for item in config {
                    match live
                        .iter_mut()
                        .find(|other| fields::same_item(&keys, other, item))
                    {
                        Some(other) => merge(typing.item(), other, item),
                        None => live.push(item.clone()),
                    }
                }
            }
            ListKind::Set => {
                let missing: Vec<Value> = config
                    .iter()
                    .filter(|item| !live.contains(item))
                    .cloned()
                    .collect();
                live.extend(missing);
            }
            ListKind::Atomic => live.clone_from(config),
        },
        (live, config) => *live = config.clone(),
    }
}
