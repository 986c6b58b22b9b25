//! The subresources that are plain requests: scale, eviction, binding, token, finalize.

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, Target};
use super::decode;
use super::delete::{self, DeleteOptions};
use super::kinds::Scale;
use super::list;
use super::reply::{self, Reply};
use super::status::{Cause, Failure, Result};
use super::store::Object;
use super::time::Timestamp;
use super::update::{self, Writer};
use super::write::{self, PatchType};

/// Routes a request for a subresource that this module or `write` serves; `None` if there is no such subresource.
pub(crate) async fn serve(call: &Call, target: &Target) -> Option<Result<Reply>> {
    let kind = &target.kind;
    let read_write = match target.subresource.as_str() {
        "status" if kind.has_status => true,
        "scale" => {
            let scale = kind.scale.clone()?;
            return Some(match call.method {
                Method::GET => get_scale(call, target, &scale),
                Method::PUT => put_scale(call, target, &scale),
                Method::PATCH => patch_scale(call, target, &scale),
                _ => Err(Failure::method_not_allowed()),
            });
        }
        "eviction" | "binding" | "token" | "finalize" => false,
        _ => return None,
    };
    if read_write {
        return Some(match call.method {
            Method::GET => list::get(call, target).await,
            Method::PUT => write::replace(call, target),
            Method::PATCH => write::patch(call, target),
            _ => Err(Failure::method_not_allowed()),
        });
    }
    let handler = match (target.subresource.as_str(), kind.resource.as_str()) {
        ("eviction", "pods") => evict,
        ("binding", "pods") => bind,
        ("token", "serviceaccounts") => token,
        ("finalize", "namespaces") if call.method == Method::PUT => {
            return Some(finalize(call, target));
        }
        ("finalize", "namespaces") => return Some(Err(Failure::method_not_allowed())),
        _ => return None,
    };
    Some(if call.method == Method::POST {
        handler(call, target)
    } else {
        Err(Failure::method_not_allowed())
    })
}

fn success(call: &Call) -> Result<Reply> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    reply::value(call, 201, &status)
}

fn stored(call: &Call, target: &Target) -> Result<Object> {
    call.app
        .store
        .get(&target.kind.storage(), &target.key())
        .ok_or_else(|| target.not_found())
}

fn evict(call: &Call, target: &Target) -> Result<Reply> {
    stored(call, target)?;
    let eviction = decode::decode_other(call, "Eviction", "policy/v1")?;
    let name = eviction["metadata"]["name"]
        .as_str()
        .unwrap_or(&target.name);
    if name != target.name {
        return Err(Failure::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = DeleteOptions::from_value(&eviction["deleteOptions"]);
    options.dry_run |= call.query.all("dryRun").any(|v| v == "All");
    call.app
        .store
        .transact(|tx| delete::delete_in(tx, &target.kind, &target.key(), &options))?;
    success(call)
}

fn bind(call: &Call, target: &Target) -> Result<Reply> {
    let binding = decode::decode_other(call, "Binding", "v1")?;
    let node = binding["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if node.is_empty() {
        let cause = Cause::required("target.name", "");
        return Err(Failure::invalid_other("", "Binding", &target.name, cause));
    }
    call.app.store.transact(|tx| {
        let pod = tx
            .get("pods", &target.key())
            .ok_or_else(|| target.not_found())?;
        if let Some(assigned) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
            let why = format!(
                "pod {} is already assigned to node \"{assigned}\"",
                target.name
            );
            let resource = super::status::Qualified {
                group: "",
                name: "pods/binding",
            };
            return Err(Failure::conflict(&resource, &target.name, &why));
        }
        update::modify(tx, "pods", &target.key(), |pod| {
            pod["spec"]["nodeName"] = node.into();
        });
        Ok(())
    })?;
    success(call)
}

fn token(call: &Call, target: &Target) -> Result<Reply> {
    let account = stored(call, target)?;
    let mut request = decode::decode_other(call, "TokenRequest", "authentication.k8s.io/v1")?;
    let seconds = request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(3600);
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.to_string(), detail);
        return Err(Failure::invalid_other(
            "authentication.k8s.io",
            "TokenRequest",
            "",
            cause,
        ));
    }
    let now = Timestamp::now();
    let user = format!("system:serviceaccount:{}:{}", target.namespace, target.name);
    let issued = call
        .app
        .auth
        .issue(&user, now.seconds.saturating_add(seconds));
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["metadata"] = json!({
        "name": target.name, "namespace": target.namespace, "uid": account["metadata"]["uid"],
        "creationTimestamp": now.rfc3339(),
    });
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    if !request["spec"]["audiences"].is_array() {
        request["spec"]["audiences"] = json!([call.app.issuer()]);
    }
    request["spec"]["expirationSeconds"] = seconds.into();
    if request["spec"]["boundObjectRef"].is_null() {
        request["spec"]["boundObjectRef"] = Value::Null;
    }
    request["status"] =
        json!({"token": issued, "expirationTimestamp": now.plus_seconds(seconds).rfc3339()});
    reply::value(call, 201, &request)
}

fn finalize(call: &Call, target: &Target) -> Result<Reply> {
    let namespace = decode::decode_other(call, "Namespace", "v1")?;
    let finalizers = namespace["spec"]["finalizers"].clone();
    let object = call.app.store.transact(|tx| {
        let change = |object: &mut Value| match finalizers {
            Value::Array(list) if !list.is_empty() => {
                object["spec"]["finalizers"] = Value::Array(list);
            }
            _ => object["spec"] = json!({}),
        };
        update::modify(tx, "namespaces", &target.key(), change).ok_or_else(|| target.not_found())
    })?;
    reply::object(call, &target.kind, 200, &object)
}

/// The value at a path such as `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|p| !p.is_empty())
        .fold(object, |v, part| v.get(part).unwrap_or(&Value::Null))
}

fn set_at(object: &mut Value, path: &str, value: Value) {
    let mut slot = object;
    for part in path.split('.').filter(|p| !p.is_empty()) {
        if !slot.is_object() {
            *slot = json!({});
        }
        slot = &mut slot[part];
    }
    *slot = value;
}

fn to_scale(object: &Value, scale: &Scale, built_in: bool) -> Result<Value> {
    let replicas = at(object, &scale.spec_replicas);
    if replicas.is_null() && !built_in {
        let why = format!(
            "the spec replicas field \"{}\" does not exist",
            scale.spec_replicas
        );
        return Err(Failure::internal(&why));
    }
    let metadata = &object["metadata"];
    let mut result = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {}, "status": {"replicas": at(object, &scale.status_replicas).as_i64().unwrap_or(0)},
    });
    if let Some(count) = replicas.as_i64().filter(|n| *n != 0) {
        result["spec"]["replicas"] = count.into();
    }
    let selector = if let Some(path) = &scale.selector {
        at(object, path).as_str().unwrap_or_default().to_owned()
    } else {
        let labels = object["spec"]["selector"]["matchLabels"].as_object();
        let pairs = labels
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
        pairs.collect::<Vec<_>>().join(",")
    };
    if !selector.is_empty() {
        result["status"]["selector"] = selector.into();
    }
    Ok(result)
}

fn get_scale(call: &Call, target: &Target, scale: &Scale) -> Result<Reply> {
    let object = stored(call, target)?;
    reply::value(
        call,
        200,
        &to_scale(&object, scale, target.kind.custom.is_none())?,
    )
}

/// Writes the replicas of a scale back into its object.
fn store_scale(
    call: &Call,
    target: &Target,
    scale: &Scale,
    writer: &Writer,
    change: impl FnOnce(&mut Value) -> Result<()>,
) -> Result<Reply> {
    let kind = &target.kind;
    let built_in = kind.custom.is_none();
    let written = call.app.store.transact(|tx| {
        let old = tx
            .get(&kind.storage(), &target.key())
            .cloned()
            .ok_or_else(|| target.not_found())?;
        let mut wanted = to_scale(&old, scale, built_in)?;
        change(&mut wanted)?;
        let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let detail = "must be greater than or equal to 0";
            let cause = Cause::invalid("spec.replicas", &replicas.to_string(), detail);
            return Err(Failure::invalid_other(
                "autoscaling",
                "Scale",
                &target.name,
                cause,
            ));
        }
        let mut object = Value::clone(&old);
        set_at(&mut object, &scale.spec_replicas, replicas.into());
        object["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"].clone();
        if wanted["metadata"]["uid"].is_string() {
            object["metadata"]["uid"] = wanted["metadata"]["uid"].clone();
        }
        update::update(tx, kind, &target.key(), object, writer)
    })?;
    reply::value(call, 200, &to_scale(&written.object, scale, built_in)?)
}

fn put_scale(call: &Call, target: &Target, scale: &Scale) -> Result<Reply> {
    let options = call.write_options("UpdateOptions", false)?;
    let given = decode::decode_other(call, "Scale", "autoscaling/v1")?;
    let writer = Writer::new(
        &target.kind,
        &options.manager,
        "Update",
        "scale",
        options.dry_run,
    );
    let name = given["metadata"]["name"].as_str().unwrap_or_default();
    if name != target.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        );
        return Err(Failure::bad_request(message));
    }
    store_scale(call, target, scale, &writer, |wanted| {
        *wanted = given;
        Ok(())
    })
}

fn patch_scale(call: &Call, target: &Target, scale: &Scale) -> Result<Reply> {
    let patch_type = write::patch_type(call, target.kind.custom.is_some())?;
    let apply = patch_type == PatchType::Apply;
    let options = call.write_options("PatchOptions", apply)?;
    let patch = if apply {
        decode::parse_yaml(&call.body)
            .map_err(|why| Failure::bad_request(format!("error decoding YAML: {why}")))?
    } else {
        write::parse_patch(call)?
    };
    let writer = Writer::new(
        &target.kind,
        &options.manager,
        "Update",
        "scale",
        options.dry_run,
    );
    store_scale(call, target, scale, &writer, |wanted| {
        *wanted = write::patched(&target.kind, wanted, patch_type, &patch)?;
        Ok(())
    })
}
