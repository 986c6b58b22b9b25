//! Compares a request that the client built with the recorded one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::request::{Place, accept_of};
use super::target::{Target, go_bool, media_type};
use super::transcript::{Body, Request};
use crate::server::parse_go_duration;

/// In what a built request may differ from the recorded one, and still mean the same to a server.
/// Everything else is a mismatch.
pub const EQUIVALENCES: &[(&str, &str)] = &[
    (
        "boolean",
        "a boolean parameter: anything but 0 and false is true, absent is false",
    ),
    (
        "pretty",
        "pretty is true (1, t, true) or as good as absent; of a watch or a log it changes nothing",
    ),
    (
        "duration",
        "timeout is a duration of Go, written in any way; an empty one is none",
    ),
    (
        "fallback",
        "what an Accept names after a view (metadata) are other forms of JSON for servers that do not have it",
    ),
    (
        "action",
        "eviction, binding and token request: the namespace of the body is the path's, dryRun counts in the query as in the body, the target is a Node of v1, no audiences are none",
    ),
    (
        "policy",
        "jobs and replication controllers that are deleted without a policy orphan their dependents",
    ),
    (
        "discovery",
        "discovery is asked for as v2, v2beta1 and legacy JSON: a recorded Accept may name fewer, the answer tells which it is",
    ),
    (
        "tunnel",
        "a tunnel may be asked for with ports, which change nothing: each connection names its own",
    ),
    (
        "accept",
        "no Accept, */* and application/json all mean JSON, whatever its charset, pretty and stream say; for a log all of them, and text/plain, mean text; for an upgrade only no Accept and */* are the same",
    ),
    ("content-type", "a body without Content-Type is JSON"),
    ("charset", "charset=utf-8 of a Content-Type changes nothing"),
    (
        "delete-options",
        "options of DELETE: the body's if there is one, else the query's; the client sends a body, or none if every option is the default",
    ),
    (
        "empty-metadata",
        "null or empty metadata, and null or empty fields of it, are as good as absent in a body",
    ),
    (
        "yaml",
        "an apply patch in YAML, of one document, is the same in JSON, which is YAML",
    ),
    (
        "encoding",
        "percent-encoding, + for a blank, and the order of parameters (but not that of command and ports)",
    ),
    (
        "offer",
        "an upgrade offers v5.channel.k8s.io, v4.channel.k8s.io (port-forward: v4.channel.k8s.io), whatever the recorded one offers: the answer is judged by ours",
    ),
    (
        "terminal",
        "stderr of a session with a terminal is not asked for: servers have none there",
    ),
    (
        "ports",
        "several ports of one parameter, with commas, are the same in several",
    ),
    ("container", "an empty container is as good as none"),
    (
        "transport",
        "Host, User-Agent, Connection, Content-Length, Authorization, Impersonate-*, Accept-Encoding other than gzip, Expect, and Origin of an upgrade: the transport adds them",
    ),
];

const BOOLEANS: &[&str] = &[
    "watch",
    "allowWatchBookmarks",
    "follow",
    "previous",
    "timestamps",
    "insecureSkipTLSVerifyBackend",
    "force",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
];

/// Three-valued: absent is not false.
const OPTIONAL_BOOLEANS: &[&str] = &["sendInitialEvents", "orphanDependents"];

const DELETE_OPTIONS: &[&str] = &[
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "dryRun",
    "uid",
    "resourceVersion",
];

/// A request in the form in which two are compared, and the equivalences that made it so.
#[derive(Clone, Debug)]
pub(super) struct Canonical {
    /// The request as JSON, for a readable diff.
    pub(super) form: Value,
    /// Names from [`EQUIVALENCES`].
    pub(super) used: BTreeSet<&'static str>,
}

/// How Go's `ParseBool` says yes.
#[must_use]
pub(super) fn go_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Whether an Accept-Encoding takes gzip.
#[must_use]
pub(super) fn gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let (name, parameters) = media_type(coding);
        name == "gzip" && parameters.get("q").is_none_or(|q| q != "0")
    })
}

struct Parts<'a> {
    method: &'a str,
    target: &'a str,
    accept: Option<&'a str>,
    content_type: Option<&'a str>,
    accept_encoding: Option<&'a str>,
    /// None if it was not recorded.
    body: Option<&'a [u8]>,
}

impl Canonical {
    /// The recorded request.
    #[must_use]
    pub(super) fn recorded(request: &Request, body: &Body) -> Self {
        Self::of(&Parts {
            method: &request.method,
            target: &request.target,
            accept: request.header("accept"),
            content_type: request.header("content-type"),
            accept_encoding: request.header("accept-encoding"),
            body: match body {
                Body::Bytes(bytes) => Some(bytes),
                Body::Omitted => None,
            },
        })
    }

    /// A request that was built.
    #[must_use]
    pub(super) fn built(request: &http::Request<Bytes>) -> Self {
        let target = request.uri().to_string();
        let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
        Self::of(&Parts {
            method: request.method().as_str(),
            target: &target,
            accept: header("accept"),
            content_type: header("content-type"),
            accept_encoding: header("accept-encoding"),
            body: Some(request.body()),
        })
    }

    fn of(parts: &Parts<'_>) -> Self {
        let mut used = BTreeSet::new();
        let target = Target::parse(parts.target);
        if parts.target.contains(['%', '+']) {
            used.insert("encoding");
        }
        let is_log = target.segments.last().is_some_and(|last| last == "log");
        let mut query = Vec::new();
        let watches = target.parameter("watch").is_some_and(go_bool);
        let is_health = super::server::HEALTH.contains(&target.segments[0].as_str());
        for (key, value) in &target.query {
            if key == "pretty" && !watches && !is_log && go_true(value) {
                query.push((key.clone(), "true".to_owned()));
            } else if key == "pretty" {
                used.insert("pretty");
            } else if key == "verbose" && is_health {
                // That it is there is enough.
                query.push((key.clone(), "true".to_owned()));
            } else if key == "timeout" {
                used.insert("duration");
                if !value.is_empty() {
                    let nanos = parse_go_duration(value).map(|time| time.as_nanos().to_string());
                    query.push((key.clone(), nanos.unwrap_or_else(|| value.clone())));
                }
            } else if BOOLEANS.contains(&key.as_str()) {
                if value != "true" {
                    used.insert("boolean");
                }
                if go_bool(value) {
                    query.push((key.clone(), "true".to_owned()));
                }
            } else if OPTIONAL_BOOLEANS.contains(&key.as_str()) {
                query.push((key.clone(), go_bool(value).to_string()));
            } else {
                query.push((key.clone(), value.clone()));
            }
        }
        let mut form = Map::new();
        let place = Place::parse(&target.segments);
        if parts.method == "DELETE" {
            let collection = place.as_ref().is_some_and(|place| place.name.is_none());
            let (mut options, by_query) = delete_options(&mut query, parts.body, collection);
            let orphans = place.as_ref().is_some_and(|place| {
                [("batch", "jobs"), ("", "replicationcontrollers")]
                    .contains(&(place.group, place.plural))
            });
            if let (true, Value::Object(options)) = (orphans, &mut options)
                && !["propagationPolicy", "orphanDependents"]
                    .iter()
                    .any(|key| options.contains_key(*key))
            {
                used.insert("policy");
                options.insert("propagationPolicy".to_owned(), "Orphan".into());
            }
            if by_query {
                used.insert("delete-options");
            }
            form.insert("deleteOptions".to_owned(), options);
        } else {
            form.insert(
                "contentType".to_owned(),
                content_type(parts, &mut used).into(),
            );
            let mut body = body(parts, &mut used);
            if let (Some(place), "POST") = (&place, parts.method)
                && settle_action(place, &mut body, &mut query)
            {
                used.insert("action");
            }
            form.insert("body".to_owned(), body);
        }
        query.sort();
        let given = parts.accept.unwrap_or("*/*");
        let first = accept_of(given).inspect(|_| {
            if given.contains(',') {
                used.insert("fallback");
            }
        });
        let (mut accept, mut parameters) = first.unwrap_or_else(|| media_type(given));
        plain_json(&accept, &mut parameters);
        let json = ["*/*", "application/json"].contains(&&*accept);
        if parameters.is_empty() && (json || (is_log && accept == "text/plain")) {
            if parts.accept != Some("application/json") {
                used.insert("accept");
            }
            "the default".clone_into(&mut accept);
        }
        form.insert("method".to_owned(), parts.method.into());
        form.insert("path".to_owned(), target.segments.into());
        form.insert("query".to_owned(), json!(query));
        form.insert("accept".to_owned(), json!([accept, parameters]));
        form.insert(
            "gzip".to_owned(),
            parts.accept_encoding.is_some_and(gzip).into(),
        );
        if !target.dropped.is_empty() {
            form.insert("droppedQuery".to_owned(), target.dropped.into());
        }
        Self {
            form: form.into(),
            used,
        }
    }

    /// Takes the body out, where there is nothing to compare it with.
    pub(super) fn ignore_body(&mut self) {
        if let Value::Object(form) = &mut self.form {
            form.remove("body");
        }
    }
}

/// Takes out the parameters that change nothing about JSON but its layout.
pub(super) fn plain_json(media: &str, parameters: &mut BTreeMap<String, String>) {
    if media == "application/json" {
        parameters.retain(|key, value| match key.as_str() {
            "charset" => !value.eq_ignore_ascii_case("utf-8"),
            "stream" => value != "watch",
            key => key != "pretty",
        });
    }
}

fn content_type(parts: &Parts<'_>, used: &mut BTreeSet<&'static str>) -> Option<String> {
    let empty = parts.body.is_some_and(<[u8]>::is_empty);
    let Some(given) = parts.content_type else {
        if !empty {
            used.insert("content-type");
        }
        return (!empty).then(|| "application/json".to_owned());
    };
    let (media, parameters) = media_type(given);
    if parameters.is_empty() {
        return Some(media);
    }
    if parameters.len() == 1
        && parameters
            .get("charset")
            .is_some_and(|set| set.eq_ignore_ascii_case("utf-8"))
    {
        used.insert("charset");
        return Some(media);
    }
    Some(given.to_owned())
}

/// One YAML document.
pub(super) fn yaml(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_saphyr::from_str::<Value>(text)
        .ok()
        .filter(Value::is_object)
}

fn body(parts: &Parts<'_>, used: &mut BTreeSet<&'static str>) -> Value {
    let Some(bytes) = parts.body.filter(|bytes| !bytes.is_empty()) else {
        return Value::Null;
    };
    let body = serde_json::from_slice::<Value>(bytes).ok().or_else(|| {
        let is_apply = parts.content_type == Some("application/apply-patch+yaml");
        let body = is_apply.then(|| yaml(bytes))??;
        used.insert("yaml");
        Some(body)
    });
    let Some(mut body) = body else {
        return json!({ "not JSON": String::from_utf8_lossy(bytes) });
    };
    if super::see::settle(&mut body) {
        used.insert("empty-metadata");
    }
    body
}

/// Gives a body that is an action the form in which two are compared; whether that changed anything.
fn settle_action(place: &Place<'_>, body: &mut Value, query: &mut Vec<(String, String)>) -> bool {
    let [sub] = place.sub else {
        return false;
    };
    let before = (body.clone(), query.clone());
    if !["eviction", "binding", "token"].contains(&sub.as_str()) {
        return false;
    }
    if let Value::Object(metadata) = &mut body["metadata"]
        && metadata.get("namespace").and_then(Value::as_str) == place.namespace
    {
        metadata.remove("namespace");
    }
    super::see::settle(body);
    match sub.as_str() {
        "eviction" => {
            let in_query = query
                .iter()
                .any(|(key, value)| key == "dryRun" && value == "All");
            if in_query || body["deleteOptions"]["dryRun"] == json!(["All"]) {
                query.retain(|(key, _)| key != "dryRun");
                query.push(("dryRun".to_owned(), "All".to_owned()));
                body["deleteOptions"]["dryRun"] = Value::Null;
            }
            if let Value::Object(options) = &mut body["deleteOptions"] {
                options.remove("kind");
                options.remove("apiVersion");
                options.retain(|_, value| {
                    !(value.is_null() || *value == json!([]) || *value == json!({}))
                });
            }
            if body["deleteOptions"] == json!({}) {
                body["deleteOptions"] = Value::Null;
            }
        }
        "binding" => {
            for (key, value) in [("kind", "Node"), ("apiVersion", "v1")] {
                let target = &mut body["target"];
                if target.is_object() && matches!(&target[key], Value::Null) {
                    target[key] = value.into();
                }
            }
        }
        _ => {
            if body["spec"]["audiences"] == json!([]) {
                body["spec"]["audiences"] = Value::Null;
            }
        }
    }
    if let Value::Object(fields) = body {
        fields.retain(|_, value| !value.is_null());
        if let Some(Value::Object(spec)) = fields.get_mut("spec") {
            spec.retain(|_, value| !value.is_null());
        }
    }
    before != (body.clone(), query.clone())
}

/// The options that a server acts on; whether they come from the query.
fn delete_options(
    query: &mut Vec<(String, String)>,
    body: Option<&[u8]>,
    collection: bool,
) -> (Value, bool) {
    let mut options = Map::new();
    let mut by_query = false;
    let from_query: Vec<_> = query
        .extract_if(.., |(key, _)| {
            DELETE_OPTIONS.contains(&key.as_str()) && !(collection && key == "resourceVersion")
        })
        .collect();
    let bytes = body.unwrap_or_default();
    if !bytes.is_empty() {
        let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(bytes) else {
            return (
                json!({ "not an object": String::from_utf8_lossy(bytes) }),
                false,
            );
        };
        body.remove("kind");
        body.remove("apiVersion");
        body.retain(|_, value| !(value.is_null() || *value == json!([]) || *value == json!({})));
        return (body.into(), !from_query.is_empty());
    }
    let mut preconditions = Map::new();
    for (key, value) in from_query {
        by_query = true;
        match key.as_str() {
            "gracePeriodSeconds" => {
                let number = value
                    .parse::<i64>()
                    .map_or_else(|_| value.clone().into(), Value::from);
                options.insert(key, number);
            }
            "dryRun" => {
                options.insert(key, json!([value]));
            }
            "orphanDependents" | "ignoreStoreReadErrorWithClusterBreakingPotential" => {
                options.insert(key, go_bool(&value).into());
            }
            "uid" | "resourceVersion" => {
                preconditions.insert(key, value.into());
            }
            _ => {
                options.insert(key, value.into());
            }
        }
    }
    if !preconditions.is_empty() {
        options.insert("preconditions".to_owned(), preconditions.into());
    }
    (options.into(), by_query)
}

/// Where two JSON values differ, one line a difference.
#[must_use]
pub(super) fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    diff("$", expected, got, &mut found);
    let more = found.len().saturating_sub(12);
    if more > 0 {
        found.truncate(12);
        found.push(format!("… and {more} more"));
    }
    found
}

fn diff(path: &str, expected: &Value, got: &Value, found: &mut Vec<String>) {
    match (expected, got) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => diff(&path, a, b, found),
                    (Some(a), None) => found.push(format!("{path}: {} is missing", show(a))),
                    (None, Some(b)) => found.push(format!("{path}: {} is too much", show(b))),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                found.push(format!(
                    "{path}: {} entries instead of {}",
                    b.len(),
                    a.len()
                ));
            }
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                diff(&format!("{path}[{at}]"), a, b, found);
            }
        }
        _ if expected == got => {}
        _ => found.push(format!(
            "{path}: {} instead of {}",
            show(got),
            show(expected)
        )),
    }
}

fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(method: &str, target: &str, body: &str) -> Canonical {
        Canonical::of(&Parts {
            method,
            target,
            accept: None,
            content_type: None,
            accept_encoding: None,
            body: Some(body.as_bytes()),
        })
    }

    #[test]
    fn options_of_a_deletion_are_the_same_in_query_and_body() {
        let query = canonical("DELETE", "/a?gracePeriodSeconds=0&uid=u&dryRun=All", "");
        let body = canonical(
            "DELETE",
            "/a",
            r#"{"kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u"},"dryRun":["All"]}"#,
        );
        assert_eq!(query.form, body.form);
        assert!(query.used.contains("delete-options"));
        let both = canonical("DELETE", "/a?uid=x", r#"{"gracePeriodSeconds":1}"#);
        assert_ne!(both.form, query.form);
        assert_eq!(both.form["deleteOptions"], json!({"gracePeriodSeconds": 1}));
    }

    #[test]
    fn an_action_means_what_its_server_reads() {
        let path = "/api/v1/namespaces/a/pods/b/eviction";
        let body = |options: &str| {
            format!(
                r#"{{"kind":"Eviction","apiVersion":"policy/v1","metadata":{{"name":"b"}}{options}}}"#
            )
        };
        let plain = canonical("POST", path, &body("")).form;
        let dry = canonical("POST", &format!("{path}?dryRun=All"), &body("")).form;
        let inside = body(r#","deleteOptions":{"dryRun":["All"]}"#);
        assert_eq!(canonical("POST", path, &inside).form, dry);
        assert_ne!(plain, dry);
        let other = body(r#","deleteOptions":{"gracePeriodSeconds":0}"#);
        assert_ne!(canonical("POST", path, &other).form, plain);
    }

    #[test]
    fn a_log_has_no_layout_but_would_have_a_timeout() {
        let log = "/api/v1/namespaces/d/pods/p/log?tailLines=1";
        let plain = canonical("GET", log, "").form;
        assert_eq!(canonical("GET", &format!("{log}&pretty=1"), "").form, plain);
        assert_ne!(
            canonical("GET", &format!("{log}&timeout=1s"), "").form,
            plain
        );
    }

    #[test]
    fn what_is_no_equivalence_is_a_difference() {
        let list = canonical("GET", "/api/v1/pods?watch=1&limit=1", "");
        for (other, same) in [
            ("/api/v1/pods?limit=1&watch=true&pretty=1", true),
            ("/api/v1/pods?limit=1&watch=true&timeout=1s", false),
            ("/api/v1/%70ods?limit=%31&watch=yes", true),
            ("/api/v1/pods?limit=1&watch=0", false),
            ("/api/v1/pods?watch=1&limit=2", false),
            ("/api/v1/pods?watch=1&limit=1&limit=1", false),
            ("/api/v1/pods/?watch=1&limit=1", false),
            ("/api/v1//pods?watch=1&limit=1", false),
        ] {
            let other_form = canonical("GET", other, "").form;
            assert_eq!(
                differences(&list.form, &other_form).is_empty(),
                same,
                "{other}"
            );
        }
    }
}
