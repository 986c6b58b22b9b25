//! Discovery, versions, health, and a small `OpenAPI` index.

use std::fmt::Write as _;

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use serde_json::{Value, json};

use super::body::Body;
use super::call::Call;
use super::encode::{self, Style};
use super::kinds::{Kind, api_version};
use super::negotiate;
use super::reply::{self, Reply};
use super::reviews;
use super::status::{Failure, Result};

/// Groups with their versions, in the order of discovery; the core group has no name.
fn groups(call: &Call) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let kinds = call.app.kinds.all();
    let built_in = kinds.iter().map(|k| (k.group.as_str(), k.version.as_str()));
    let reviews = reviews::REVIEWS.iter().map(|(group, _, _)| (*group, "v1"));
    for (group, version) in built_in.chain(reviews) {
        match groups.iter_mut().find(|(name, _)| name == group) {
            Some((_, versions)) if versions.iter().any(|v| v == version) => {}
            Some((_, versions)) => versions.push(version.to_owned()),
            None => groups.push((group.to_owned(), vec![version.to_owned()])),
        }
    }
    groups
}

/// `/api` and `/apis`.
pub(crate) fn root(call: &Call, core: bool) -> Result<Reply> {
    let groups: Vec<_> = groups(call)
        .into_iter()
        .filter(|(name, _)| name.is_empty() == core)
        .collect();
    if negotiate::aggregated_discovery(&call.headers)? {
        return Ok(aggregated(call, &groups));
    }
    if core {
        let address = call.app.address.to_string();
        let value = json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]});
        return reply::value(call, 200, &value);
    }
    let list: Vec<Value> = groups
        .iter()
        .map(|(name, versions)| group_value(name, versions))
        .collect();
    reply::value(
        call,
        200,
        &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list}),
    )
}

fn group_value(name: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    let list: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

fn aggregated(call: &Call, groups: &[(String, Vec<String>)]) -> Reply {
    let item = |(name, versions): &(String, Vec<String>)| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| json!({"version": version, "resources": aggregated_resources(call, name, version), "freshness": "Current"}))
            .collect();
        let metadata = if name.is_empty() {
            json!({})
        } else {
            json!({"name": name})
        };
        json!({"metadata": metadata, "versions": versions})
    };
    let items: Vec<Value> = groups.iter().map(item).collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let mut bytes = encode::to_json(&list, Style::Typed);
    bytes.push(b'\n');
    let digest = sha1_smol::Sha1::from(&bytes)
        .digest()
        .to_string()
        .to_uppercase();
    let etag = format!("\"{digest}\"");
    let unchanged = call.header("if-none-match") == Some(etag.as_str());
    let mut response = if unchanged {
        reply::plain(304, "", Body::empty())
    } else {
        reply::plain(200, "", Body::buffered(bytes))
    };
    let headers = response.headers_mut();
    if !unchanged {
        let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn aggregated_resources(call: &Call, group: &str, version: &str) -> Vec<Value> {
    let mut resources = Vec::new();
    for kind in call
        .app
        .kinds
        .all()
        .iter()
        .filter(|k| k.group == group && k.version == version)
    {
        let mut value = json!({
            "resource": kind.resource, "responseKind": response_kind(kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": kind.singular, "verbs": kind.verbs(),
        });
        if !kind.short_names.is_empty() {
            value["shortNames"] = kind.short_names.clone().into();
        }
        if !kind.categories.is_empty() {
            value["categories"] = kind.categories.clone().into();
        }
        let subresources: Vec<Value> = kind
            .subresources()
            .into_iter()
            .map(|(name, kind, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
            .collect();
        if !subresources.is_empty() {
            value["subresources"] = subresources.into();
        }
        resources.push(value);
    }
    for (_, resource, kind) in reviews::REVIEWS
        .iter()
        .filter(|(g, _, _)| *g == group && version == "v1")
    {
        resources.push(json!({
            "resource": resource, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": "Cluster",
            "singularResource": kind.to_lowercase(), "verbs": ["create"],
        }));
    }
    resources
}

fn response_kind(kind: &Kind) -> Value {
    if kind.custom.is_some() {
        return json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    }
    json!({"group": "", "version": "", "kind": kind.kind})
}

/// `/apis/{group}`.
pub(crate) fn group(call: &Call, name: &str) -> Result<Reply> {
    let found = groups(call)
        .into_iter()
        .find(|(group, _)| group == name && !name.is_empty());
    let (name, versions) = found.ok_or_else(Failure::page_not_found)?;
    let mut value = group_value(&name, &versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    reply::value(call, 200, &value)
}

/// `/api/v1` and `/apis/{group}/{version}`.
pub(crate) fn resources(call: &Call, group: &str, version: &str) -> Result<Reply> {
    if !groups(call)
        .iter()
        .any(|(name, versions)| name == group && versions.iter().any(|v| v == version))
    {
        return Err(if call.app.kinds.has_group(group) {
            Failure::unknown_resource()
        } else {
            Failure::page_not_found()
        });
    }
    let mut list = Vec::new();
    for kind in call
        .app
        .kinds
        .all()
        .iter()
        .filter(|k| k.group == group && k.version == version)
    {
        let mut value = json!({"name": kind.resource, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs()});
        if !kind.short_names.is_empty() {
            value["shortNames"] = kind.short_names.clone().into();
        }
        if !kind.categories.is_empty() {
            value["categories"] = kind.categories.clone().into();
        }
        list.push(value);
        for (name, response, verbs) in kind.subresources() {
            let mut value = json!({"name": format!("{}/{name}", kind.resource), "singularName": "",
                "namespaced": kind.namespaced, "kind": response["kind"], "verbs": verbs});
            if response["group"] != "" {
                value["group"] = response["group"].clone();
                value["version"] = response["version"].clone();
            }
            list.push(value);
        }
    }
    for (_, resource, kind) in reviews::REVIEWS.iter().filter(|(g, _, _)| *g == group) {
        list.push(json!({"name": resource, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"]}));
    }
    let mut value = json!({"kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": list});
    if !group.is_empty() {
        value["apiVersion"] = "v1".into();
    }
    reply::value(call, 200, &value)
}

pub(crate) fn version() -> Reply {
    let value = json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "98b35193b2ac7a23a673325f5e9b830ecd5ba406",
        "gitTreeState": "clean", "buildDate": "2026-08-01T00:00:00Z", "goVersion": "go1.26.6", "compiler": "gc",
        "platform": "linux/amd64",
    });
    reply::plain(
        200,
        "application/json",
        Body::sized(encode::to_json_pretty(&value, Style::Typed)),
    )
}

pub(crate) fn health(call: &Call, endpoint: &str) -> Reply {
    if call.query.get("verbose").is_none() {
        return reply::text(200, "ok");
    }
    let mut body = String::new();
    for check in ["ping", "log", "etcd", "informer-sync"] {
        let _ = writeln!(body, "[+]{check} ok");
    }
    let _ = writeln!(body, "{endpoint} check passed");
    reply::text(200, &body)
}

/// The paths at `/`.
pub(crate) fn paths(call: &Call) -> Result<Reply> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
    for (name, versions) in groups(call)
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
    {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{name}/{v}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    reply::value(call, 200, &json!({"paths": paths}))
}

/// `/openapi/v3`: enough for `kubectl` to see that the server validates fields itself.
pub(crate) fn openapi(call: &Call, path: &[&str]) -> Reply {
    let groups = groups(call);
    let prefix = |group: &str, version: &str| {
        if group.is_empty() {
            format!("api/{version}")
        } else {
            format!("apis/{group}/{version}")
        }
    };
    if path.is_empty() {
        let mut paths = serde_json::Map::new();
        for (group, versions) in &groups {
            for version in versions {
                let at = prefix(group, version);
                paths.insert(
                    at.clone(),
                    json!({"serverRelativeURL": format!("/openapi/v3/{at}")}),
                );
            }
        }
        let body = encode::to_json(&json!({"paths": paths}), Style::Sorted);
        return reply::plain(200, "text/plain; charset=utf-8", Body::buffered(body));
    }
    let wanted = path.join("/");
    let mut known = false;
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    for kind in call
        .app
        .kinds
        .all()
        .iter()
        .filter(|k| prefix(&k.group, &k.version) == wanted)
    {
        known = true;
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let scope = if kind.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let parameter = |name: &str, r#type: &str| json!({"name": name, "in": "query", "schema": {"type": r#type, "uniqueItems": true}});
        let parameters = json!([
            parameter("dryRun", "string"),
            parameter("fieldManager", "string"),
            parameter("fieldValidation", "string"),
            parameter("force", "boolean")
        ]);
        let operation = |action: &str| {
            json!({"operationId": format!("{action}{}", kind.kind), "parameters": parameters, "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk})
        };
        let collection = format!("/{wanted}/{scope}{}", kind.resource);
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({"patch": operation("patch"), "put": operation("put")}),
        );
        paths.insert(collection, json!({"post": operation("post")}));
        let schema = json!({"type": "object", "description": format!("{} is served by the embedded API server.", kind.kind),
            "x-kubernetes-group-version-kind": [gvk]});
        schemas.insert(
            format!(
                "{}.{}.{}",
                if kind.group.is_empty() {
                    "core"
                } else {
                    &kind.group
                },
                kind.version,
                kind.kind
            ),
            schema,
        );
    }
    if !known {
        return reply::plain(404, "", Body::empty());
    }
    let document = json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": paths, "components": {"schemas": schemas}});
    let body = Body::buffered(encode::to_json(&document, Style::Sorted));
    reply::plain(200, "application/json", body)
}
