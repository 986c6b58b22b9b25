//! What a server serves: which question it is, how the machine asks it, and what is in the answer.

use bytes::Bytes;
use kubewire::discovery::{Discover, Discovery, DiscoveryAnswer, DiscoveryDecoder};
use kubewire::{Call, End, Error, ErrorKind, Limits, Scope};
use serde_json::{Value, json};

use super::{Ask, forms, plain};
use crate::replay::intent::token;
use crate::replay::request::{Or, Parameters};
use crate::replay::target::Target;
use crate::replay::transcript::Request;

/// One document of discovery.
#[derive(Clone, Debug)]
pub(in crate::replay) struct DiscoveryAsk {
    pub(super) path: String,
    /// Group and version, if it is one.
    pub(super) version: Option<(String, String)>,
    pub(super) etag: Option<String>,
}

/// The forms of discovery documents, the best one first.
pub(super) const DOCUMENTS: &[&str] = &[
    "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2",
    "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2beta1",
    "application/json",
];

pub(super) fn discovery(
    request: &Request,
    target: &Target,
    version: Option<(&str, &str)>,
) -> Or<Ask> {
    Parameters::new(target).finish()?;
    let given = forms(request);
    let mut wanted = DOCUMENTS.iter();
    let known = given == ["*/*"] || given.iter().all(|form| wanted.any(|name| name == form));
    if !known || (version.is_some() && plain(request).is_err()) {
        let accept = request.header("accept").unwrap_or_default();
        return Err(format!("Accept: {accept}"));
    }
    if version.is_some_and(|(group, version)| {
        !token(version) || !(group.is_empty() || token(group)) || group.contains("//")
    }) {
        return Err("a group or version that is no lower-case name".to_owned());
    }
    Ok(Ask::Discovery(DiscoveryAsk {
        path: format!("/{}", target.segments.join("/")),
        version: version.map(|(group, version)| (group.to_owned(), version.to_owned())),
        etag: request.header("if-none-match").map(str::to_owned),
    }))
}

/// Answers a question that is not the recorded one.
fn stand_in(
    call: Call<DiscoveryDecoder>,
    head: http::response::Builder,
    body: &Value,
) -> Result<DiscoveryAnswer, Error> {
    let (_, mut exchange) = call.begin(&Limits::default());
    let head = head.body(()).unwrap_or_default();
    exchange.handle_head(&head.into_parts().0)?;
    exchange.handle_data(Bytes::from(body.to_string()))?;
    let _ = exchange.handle_end(End::Clean);
    let none = || Error::new(ErrorKind::Peer, "no document");
    exchange.poll_item()?.ok_or_else(none)
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl DiscoveryAsk {
    fn discover(&self) -> Discover {
        let Some(etag) = &self.etag else {
            return Discover::new();
        };
        let mut before = Discover::new();
        while let Some(want) = before.poll_want() {
            let mut head = http::Response::builder().header("content-type", AGGREGATED);
            if want.call.request().uri().path() == self.path {
                head = head.header("etag", etag);
            }
            let answer = stand_in(want.call, head, &json!({ "items": [] }));
            before.handle_answer(want.id, answer);
        }
        Discover::refresh(before.finish().unwrap_or_default())
    }

    /// What is answered to all that is not the recorded question.
    fn other(&self, call: Call<DiscoveryDecoder>) -> Result<DiscoveryAnswer, Error> {
        let json = http::Response::builder().header("content-type", "application/json");
        match (call.request().uri().path(), &self.version) {
            ("/api", Some((group, version))) if group.is_empty() => stand_in(
                call,
                json,
                &json!({ "kind": "APIVersions", "versions": [version] }),
            ),
            ("/apis", Some((group, version))) if !group.is_empty() => stand_in(
                call,
                json,
                &json!({ "kind": "APIGroupList", "groups": [
                    { "name": group, "versions": [{ "version": version }] }] }),
            ),
            ("/api" | "/apis", _) => {
                let head = http::Response::builder().header("content-type", AGGREGATED);
                stand_in(call, head, &json!({ "items": [] }))
            }
            _ => stand_in(call, http::Response::builder().status(404), &Value::Null),
        }
    }

    /// The recorded question, as the machine asks it.
    pub(super) fn call(&self) -> Result<Call<DiscoveryDecoder>, Error> {
        let mut discover = self.discover();
        while let Some(want) = discover.poll_want() {
            if want.call.request().uri().path() == self.path {
                return Ok(want.call);
            }
            let answer = self.other(want.call);
            discover.handle_answer(want.id, answer);
        }
        Err(Error::new(
            ErrorKind::Usage,
            "discovery does not ask for it",
        ))
    }

    /// What the machine makes of the answer.
    pub(super) fn drive(&self, answer: DiscoveryAnswer) -> Value {
        let mut discover = self.discover();
        let mut answer = Some(answer);
        while let Some(want) = discover.poll_want() {
            let own = want.call.request().uri().path() == self.path;
            let answer = match answer.take_if(|_| own) {
                Some(answer) => Ok(answer),
                None => self.other(want.call),
            };
            discover.handle_answer(want.id, answer);
        }
        match discover.finish() {
            Ok(found) => see_discovery(&found),
            Err(error) => error.to_string().into(),
        }
    }

    /// What is in a document.
    pub(super) fn expected(&self, document: &Value) -> Option<Value> {
        if document["code"] == 304 {
            return Some(json!({ "versions": [], "resources": [], "failures": [] }));
        }
        let mut found = Found::default();
        match document["kind"].as_str() {
            Some("APIGroupDiscoveryList") if self.version.is_none() => found.aggregated(document),
            Some("APIVersions") => {
                for version in strings(&document["versions"]) {
                    found.versions.push(json!(["", version]));
                    found.failures.push(version.into());
                }
            }
            Some("APIGroupList") => found.groups(document),
            Some("APIResourceList") => found.resources(document, self.version.as_ref()?),
            _ => return None,
        }
        Some(json!({
            "versions": found.versions,
            "resources": found.resources,
            "failures": found.failures,
        }))
    }
}

#[derive(Default)]
struct Found {
    versions: Vec<Value>,
    resources: Vec<Value>,
    failures: Vec<Value>,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    let texts = list(value).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The apiVersion of a subresource: as the resource's, if nothing else is said.
fn of_kind(kind: &Value, group: &str, version: &str) -> String {
    match (string(&kind["group"]), string(&kind["version"])) {
        ("", "") => joined(group, version),
        (group, version) => joined(group, version),
    }
}

impl Found {
    fn aggregated(&mut self, document: &Value) {
        for item in list(&document["items"]) {
            let group = string(&item["metadata"]["name"]);
            for version in list(&item["versions"]) {
                let name = string(&version["version"]);
                self.versions.push(json!([group, name]));
                if version["freshness"] == "Stale" {
                    self.failures.push(joined(group, name).into());
                }
                for resource in list(&version["resources"]) {
                    let subs: Vec<_> = list(&resource["subresources"])
                        .iter()
                        .map(|sub| {
                            json!([
                                string(&sub["subresource"]),
                                string(&sub["responseKind"]["kind"]),
                                of_kind(&sub["responseKind"], group, name),
                                strings(&sub["verbs"]),
                            ])
                        })
                        .collect();
                    self.resources.push(json!({
                        "apiVersion": joined(group, name),
                        "kind": string(&resource["responseKind"]["kind"]),
                        "plural": string(&resource["resource"]),
                        "namespaced": resource["scope"] != "Cluster",
                        "singular": string(&resource["singularResource"]),
                        "shortNames": strings(&resource["shortNames"]),
                        "categories": strings(&resource["categories"]),
                        "verbs": strings(&resource["verbs"]),
                        "subresources": subs,
                    }));
                }
            }
        }
    }

    /// The preferred version comes first; what is in them was not told.
    fn groups(&mut self, document: &Value) {
        for group in list(&document["groups"]) {
            let name = string(&group["name"]);
            let preferred = string(&group["preferredVersion"]["version"]);
            let versions = list(&group["versions"]).iter();
            let versions = versions.map(|version| string(&version["version"]));
            let (first, others): (Vec<_>, Vec<_>) =
                versions.partition(|version| *version == preferred);
            for version in first.into_iter().chain(others) {
                self.versions.push(json!([name, version]));
                self.failures.push(joined(name, version).into());
            }
        }
    }

    fn resources(&mut self, document: &Value, (group, version): &(String, String)) {
        self.versions.push(json!([group, version]));
        let all = list(&document["resources"]);
        for resource in all {
            let name = string(&resource["name"]);
            if name.contains('/') {
                continue;
            }
            let prefix = format!("{name}/");
            let subs: Vec<_> = all
                .iter()
                .filter_map(|sub| {
                    let own = string(&sub["name"]).strip_prefix(&prefix)?;
                    Some(json!([
                        own,
                        string(&sub["kind"]),
                        of_kind(sub, group, version),
                        strings(&sub["verbs"]),
                    ]))
                })
                .collect();
            self.resources.push(json!({
                "apiVersion": joined(group, version),
                "kind": string(&resource["kind"]),
                "plural": name,
                "namespaced": resource["namespaced"] == true,
                "singular": string(&resource["singularName"]),
                "shortNames": strings(&resource["shortNames"]),
                "categories": strings(&resource["categories"]),
                "verbs": strings(&resource["verbs"]),
                "subresources": subs,
            }));
        }
    }
}

fn see_discovery(found: &Discovery) -> Value {
    let versions: Vec<_> = found
        .group_versions()
        .map(|(group, version)| json!([group, version]))
        .collect();
    let resources: Vec<_> = found
        .resources()
        .map(|found| {
            let resource = found.resource();
            let subs: Vec<_> = found
                .subresources()
                .iter()
                .map(|sub| json!([sub.name, sub.kind, sub.api_version, sub.verbs]))
                .collect();
            json!({
                "apiVersion": resource.api_version(),
                "kind": resource.kind(),
                "plural": resource.plural(),
                "namespaced": resource.scope() == Scope::Namespaced,
                "singular": found.singular(),
                "shortNames": found.short_names(),
                "categories": found.categories(),
                "verbs": found.verbs(),
                "subresources": subs,
            })
        })
        .collect();
    let failures: Vec<_> = found
        .failures()
        .iter()
        .map(|failure| failure.what.clone())
        .collect();
    json!({ "versions": versions, "resources": resources, "failures": failures })
}
