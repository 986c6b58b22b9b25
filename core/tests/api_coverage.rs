//! For every resource, subresource and verb that a server of 1.36 announces, the public API builds the request.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(feature = "ws")]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use kubewire::discovery::{Discover, Discovery};
use kubewire::{Api, ApiResource, Dynamic, End, Limits, Operation, Patch, Scope, UpgradeOperation};

/// What a verb is on the wire.
fn method(verb: &str) -> Method {
    match verb {
        "get" | "list" | "watch" => Method::GET,
        "create" => Method::POST,
        "update" => Method::PUT,
        "patch" => Method::PATCH,
        "delete" | "deletecollection" => Method::DELETE,
        other => panic!("unknown verb {other}"),
    }
}

fn recorded(path: &str) -> (String, String) {
    let name = if path == "/api" { "api" } else { "apis" };
    let file = format!(
        "{}/tests/data/discovery-aggregated-{name}-v2.json",
        env!("CARGO_MANIFEST_DIR")
    );
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    let text = std::fs::read_to_string(file).unwrap();
    let transcript: serde_json::Value = serde_json::from_str(&text).unwrap();
    let response = &transcript["response"];
    let headers = response["headers"].as_array().unwrap();
    let content_type = headers
        .iter()
        .find(|header| header[0] == "Content-Type")
        .unwrap();
    let chunks = response["chunks"].as_array().unwrap().iter();
    let body = chunks
        .map(|chunk| chunk["text"].as_str().unwrap())
        .collect();
    (content_type[1].as_str().unwrap().to_owned(), body)
}

fn discover() -> Discovery {
    let mut discover = Discover::new();
    while let Some(want) = discover.poll_want() {
        let (request, mut exchange) = want.call.begin(&Limits::default());
        let (content_type, body) = recorded(request.uri().path());
        let head = http::Response::builder()
            .header("content-type", content_type)
            .body(())
            .unwrap();
        exchange.handle_head(&head.into_parts().0).unwrap();
        exchange.handle_data(body.into()).unwrap();
        exchange.handle_end(End::Clean).unwrap();
        discover.handle_answer(want.id, exchange.poll_item().map(Option::unwrap));
    }
    discover.finish().unwrap()
}

fn sent<O: Operation>(operation: O) -> Request<Bytes> {
    operation.into_call().unwrap().request().clone()
}

fn object(resource: &ApiResource) -> Dynamic {
    Dynamic::new(resource, "n")
}

fn patch() -> Patch {
    Patch::merge(&serde_json::json!({}))
}

fn of_resource(api: &Api<Dynamic>, verb: &str) -> Option<Request<Bytes>> {
    let object = object(api.resource());
    Some(match verb {
        "create" => sent(api.create(&object)),
        "delete" => sent(api.delete("n")),
        "deletecollection" => sent(api.delete_collection().everything()),
        "get" => sent(api.get("n")),
        "list" => sent(api.list()),
        "patch" => sent(api.patch("n", patch())),
        "update" => sent(api.replace("n", &object)),
        "watch" => sent(api.watch()),
        _ => return None,
    })
}

/// The accessor that is named after the subresource.
fn of_subresource(api: &Api<Dynamic>, name: &str, verb: &str) -> Option<(Method, String)> {
    let object = object(api.resource());
    let object = &object;
    macro_rules! as_object {
        ($subresource:expr, $body:expr) => {
            match verb {
                "get" => sent($subresource.get()),
                "update" => sent($subresource.replace($body)),
                "patch" => sent($subresource.patch(patch())),
                _ => return None,
            }
        };
    }
    let request = match (name, verb) {
        ("status", _) => as_object!(api.status("n"), object),
        ("scale", _) => as_object!(api.scale("n"), &kubewire::Scale::default()),
        ("ephemeralcontainers", _) => as_object!(api.ephemeral_containers("n"), object),
        ("resize", _) => as_object!(api.resize("n"), object),
        ("approval", _) => as_object!(api.approval("n"), object),
        ("finalize", "update") => sent(api.finalize("n", object)),
        ("eviction", "create") => sent(api.evict("n")),
        ("binding", "create") => sent(api.bind("n", "node")),
        ("token", "create") => sent(api.create_token("n")),
        ("log", "get") => sent(api.logs("n")),
        ("proxy", _) => sent(api.proxy("n").request(method(verb), "/")),
        ("exec", "get") => api
            .exec("n")
            .command(["ls"])
            .into_upgrade()
            .unwrap()
            .request()
            .clone(),
        ("attach", "get") => api.attach("n").into_upgrade().unwrap().request().clone(),
        ("portforward", "get") => api
            .port_forward("n", [80])
            .into_upgrade()
            .unwrap()
            .request()
            .clone(),
        _ => return None,
    };
    Some((request.method().clone(), request.uri().path().to_owned()))
}

/// What is not sent, and why.
fn skipped(name: &str, verb: &str) -> Option<&'static str> {
    match (name, verb) {
        ("exec" | "attach" | "portforward", "create") => {
            Some("POST is the SPDY way; WebSocket upgrades are GET (the server answers 405)")
        }
        _ => None,
    }
}

#[test]
fn every_verb_of_every_resource_and_subresource_can_be_sent() {
    let discovery = discover();
    assert!(discovery.failures().is_empty());
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<String, &str> = BTreeMap::new();
    for found in discovery.resources() {
        let resource = found.resource();
        let root = match resource.group() {
            "" => format!("/api/{}", resource.version()),
            group => format!("/apis/{group}/{}", resource.version()),
        };
        let (api, collection) = match resource.scope() {
            Scope::Cluster => (
                Api::dynamic(resource.clone()),
                format!("{root}/{}", resource.plural()),
            ),
            Scope::Namespaced => (
                Api::dynamic(resource.clone()).in_namespace("ns"),
                format!("{root}/namespaces/ns/{}", resource.plural()),
            ),
        };
        for verb in found.verbs() {
            let request = of_resource(&api, verb).unwrap_or_else(|| panic!("{resource:?} {verb}"));
            let named = matches!(verb.as_str(), "get" | "delete" | "patch" | "update");
            let path = if named {
                format!("{collection}/n")
            } else {
                collection.clone()
            };
            assert_eq!(
                (request.method(), request.uri().path()),
                (&method(verb), path.as_str())
            );
            let watches = request
                .uri()
                .query()
                .is_some_and(|query| query.starts_with("watch=true"));
            assert_eq!(watches, verb == "watch");
            *count.entry("verbs of resources").or_default() += 1;
            if resource.scope() == Scope::Namespaced && matches!(verb.as_str(), "list" | "watch") {
                let everywhere = of_resource(&api.clone().in_all_namespaces(), verb).unwrap();
                assert_eq!(
                    everywhere.uri().path(),
                    format!("{root}/{}", resource.plural())
                );
                *count.entry("verbs over all namespaces").or_default() += 1;
            }
        }
        for view in [sent(api.metadata().get("n")), sent(api.table().get("n"))] {
            assert_eq!(view.uri().path(), format!("{collection}/n"));
        }
        for sub in found.subresources() {
            for verb in &sub.verbs {
                let Some((sent_method, path)) = of_subresource(&api, &sub.name, verb) else {
                    let reason = skipped(&sub.name, verb);
                    let what = format!("{} {verb}", sub.name);
                    reasons.insert(
                        what.clone(),
                        reason.unwrap_or_else(|| panic!("{what}: no accessor")),
                    );
                    *count.entry("left out").or_default() += 1;
                    continue;
                };
                let tail = if sub.name == "proxy" { "/" } else { "" };
                let expected = format!("{collection}/n/{}{tail}", sub.name);
                assert_eq!(
                    (sent_method, path),
                    (method(verb), expected),
                    "{} {verb}",
                    sub.name
                );
                *count.entry("verbs of subresources").or_default() += 1;
                // The accessor for subresources that are not known builds the same.
                let any = api.subresource("n", &sub.name);
                let generic = match verb.as_str() {
                    "get" => sent(any.get::<Dynamic>()),
                    "create" => sent(any.create::<_, Dynamic>(&serde_json::json!({}))),
                    "update" => sent(any.replace(&object(resource))),
                    "patch" => sent(any.patch::<Dynamic>(patch())),
                    _ => sent(any.request(method(verb))),
                };
                assert_eq!(generic.method(), method(verb));
                assert_eq!(generic.uri().path(), format!("{collection}/n/{}", sub.name));
            }
        }
        *count.entry("resources").or_default() += 1;
    }
    for (what, number) in &count {
        println!("{number:5} {what}");
    }
    for (what, reason) in &reasons {
        println!("left out: {what}: {reason}");
    }
    assert_eq!(count["resources"], discovery.resources().count());
    assert!(
        count["verbs of resources"] > 400 && count["verbs of subresources"] > 80,
        "{count:?}"
    );
    assert_eq!(count["left out"], 3);
}

#[test]
fn resources_resolve_by_what_people_call_them() {
    let discovery = discover();
    let resolve = |name: &str| {
        discovery
            .resolve(name)
            .map(|found| format!("{:?}", found.resource()))
    };
    for (name, found) in [
        ("pods", "pods.v1."),
        ("pod", "pods.v1."),
        ("Pod", "pods.v1."),
        ("po", "pods.v1."),
        ("PODS", "pods.v1."),
        ("pods.v1.", "pods.v1."),
        ("deploy", "deployments.v1.apps"),
        ("deployments.apps", "deployments.v1.apps"),
        ("Deployment.v1.apps", "deployments.v1.apps"),
        ("ev", "events.v1."),
        ("events.events.k8s.io", "events.v1.events.k8s.io"),
        ("hpa", "horizontalpodautoscalers.v2.autoscaling"),
        (
            "hpa.v1.autoscaling",
            "horizontalpodautoscalers.v1.autoscaling",
        ),
        ("crd", "customresourcedefinitions.v1.apiextensions.k8s.io"),
        ("netpol", "networkpolicies.v1.networking.k8s.io"),
        ("csr", "certificatesigningrequests.v1.certificates.k8s.io"),
    ] {
        assert_eq!(resolve(name).as_deref(), Some(found), "{name}");
    }
    for name in [
        "",
        ".",
        "nope",
        "pods.apps",
        "deployments.v2.apps",
        "pods.v1.core",
    ] {
        assert_eq!(resolve(name), None, "{name}");
    }
    let scale = discovery
        .resolve("deploy")
        .unwrap()
        .subresource("scale")
        .unwrap();
    assert_eq!(
        (scale.kind.as_str(), scale.api_version.as_str()),
        ("Scale", "autoscaling/v1")
    );
    let log = discovery.resolve("po").unwrap().subresource("log").unwrap();
    assert_eq!(log.api_version, "v1");
    assert!(discovery.find("apps/v1", "Deployment").is_some());
    assert!(discovery.find("apps/v2", "Deployment").is_none());
    let namespaces = discovery.resolve("ns").unwrap();
    assert!(!namespaces.has_verb("deletecollection") && namespaces.has_verb("delete"));
}
