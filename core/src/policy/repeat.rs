//! Whether a request may be carried out twice.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{Method, Request};
use serde::Deserialize;

use crate::Verb;

/// How far a request may be repeated when it is not known whether the server carried it out.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use kubewire::Verb;
/// use kubewire::policy::Repeat;
///
/// let put = |body| Request::put("/api/v1/namespaces/a/configmaps/b").body(Bytes::from_static(body)).unwrap();
/// let guarded = put(br#"{"metadata":{"name":"b","resourceVersion":"7"}}"#);
/// assert_eq!(Repeat::of(Verb::Update, &guarded), Repeat::Guarded);
/// assert_eq!(Repeat::of(Verb::Update, &put(br#"{"metadata":{"name":"b"}}"#)), Repeat::Once);
/// assert_eq!(Repeat::of(Verb::List, &put(b"")), Repeat::Freely);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// It changes nothing: reads, and writes with `dryRun`.
    Freely,
    /// A write that has the same effect twice as once: guarded by a precondition, or a server-side
    /// apply. The answer may differ: if the first attempt was carried out and its answer was lost, the
    /// second one meets a conflict, or finds nothing more to delete.
    ///
    /// Callers that want another write to be repeated say so with this.
    Guarded,
    /// At most once, unless it is certain that the server did not carry it out.
    Once,
    /// An upgrade: as [`Once`](Self::Once), and a refusal that asks to come back later (503 with `Retry-After`)
    /// says that nothing was carried out. That begins after the answer 101 only.
    Upgrade,
}

impl Repeat {
    /// What a request is, from its method, query, headers and body.
    ///
    /// It reads the body of a write, so ask when an attempt has failed and not before.
    ///
    /// - Get, list and watch: [`Freely`](Self::Freely). So are writes with `dryRun=All`, and requests of one's own with
    ///   the methods GET, HEAD and OPTIONS.
    /// - Whatever asks for an upgrade: [`Upgrade`](Self::Upgrade). That starts a process.
    /// - Update: [`Guarded`](Self::Guarded) if the object has a `metadata.resourceVersion`.
    /// - Patch: guarded if it is an apply, if it sets `metadata.resourceVersion` (a merge or strategic
    ///   merge patch), or if it tests that (a JSON patch).
    /// - Delete: guarded if it has preconditions. Without any, it could delete a new object of the same
    ///   name.
    /// - Create, and delete-collection: [`Once`](Self::Once). The name of a created object does not guard it: the second
    ///   attempt would report that it exists already.
    #[must_use]
    pub fn of(verb: Verb, request: &Request<Bytes>) -> Self {
        let upgrade = request.headers().contains_key(UPGRADE);
        match verb {
            _ if upgrade => Self::Upgrade,
            Verb::Get | Verb::List | Verb::Watch => Self::Freely,
            _ if is_dry_run(request) => Self::Freely,
            Verb::Update => when(has_version(request.body())),
            Verb::Patch => when(is_guarded_patch(request)),
            Verb::Delete => when(has_preconditions(request.body())),
            Verb::Create | Verb::DeleteCollection => Self::Once,
            Verb::Raw => match *request.method() {
                Method::GET | Method::HEAD | Method::OPTIONS => Self::Freely,
                _ => Self::Once,
            },
        }
    }
}

fn when(guarded: bool) -> Repeat {
    if guarded {
        Repeat::Guarded
    } else {
        Repeat::Once
    }
}

/// Another value of `dryRun` is refused by the server. For a deletion with a body, it ignores the
/// query.
fn is_dry_run(request: &Request<Bytes>) -> bool {
    if request.method() == Method::DELETE && !request.body().is_empty() {
        return delete_options(request.body()).is_some_and(|options| options.dry_run == ["All"]);
    }
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "dryRun=All")
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

fn has_version(body: &[u8]) -> bool {
    serde_json::from_slice(body)
        .is_ok_and(|object: Object| !object.metadata.resource_version.is_empty())
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
}

fn is_guarded_patch(request: &Request<Bytes>) -> bool {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("application/apply-patch") {
        return true;
    }
    if kind.starts_with("application/json-patch") {
        let operations: Vec<Operation> = serde_json::from_slice(request.body()).unwrap_or_default();
        return operations.iter().any(|operation| {
            operation.op == "test" && operation.path == "/metadata/resourceVersion"
        });
    }
    has_version(request.body())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteOptions {
    preconditions: Option<Preconditions>,
    dry_run: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

fn delete_options(body: &[u8]) -> Option<DeleteOptions> {
    serde_json::from_slice(body).ok()
}

fn has_preconditions(body: &[u8]) -> bool {
    delete_options(body)
        .and_then(|options| options.preconditions)
        .is_some_and(|preconditions| {
            preconditions.uid.is_some() || preconditions.resource_version.is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Api, ApiResource, Dynamic, Operation as _};

    #[test]
    fn operations_of_the_api() {
        let api = Api::<Dynamic>::dynamic(ApiResource::core("Pod", "pods")).in_namespace("a");
        let delete = api.delete("b").into_call().unwrap();
        assert_eq!(Repeat::of(delete.verb(), delete.request()), Repeat::Once);
        let delete = api.delete("b").precondition_uid("1").into_call().unwrap();
        assert_eq!(Repeat::of(delete.verb(), delete.request()), Repeat::Guarded);
        let delete = api.delete("b").dry_run(true).into_call().unwrap();
        assert_eq!(Repeat::of(delete.verb(), delete.request()), Repeat::Freely);
        let ignored = Request::delete("/x?dryRun=All").body("{}".into()).unwrap();
        assert_eq!(Repeat::of(Verb::Delete, &ignored), Repeat::Once);
        let get = api.get("b").into_call().unwrap();
        assert_eq!(Repeat::of(get.verb(), get.request()), Repeat::Freely);
    }

    #[test]
    fn bodies() {
        let patch = |kind: &str, body: &'static str| {
            let request = Request::patch("/x").header(CONTENT_TYPE, kind);
            Repeat::of(Verb::Patch, &request.body(body.into()).unwrap())
        };
        let merge = "application/merge-patch+json";
        let json = "application/json-patch+json";
        for (got, want) in [
            (
                patch("application/apply-patch+yaml", "a: b"),
                Repeat::Guarded,
            ),
            (
                patch(merge, r#"{"metadata":{"resourceVersion":"1"}}"#),
                Repeat::Guarded,
            ),
            (
                patch(merge, r#"{"metadata":{"resourceVersion":""}}"#),
                Repeat::Once,
            ),
            (
                patch(merge, r#"{"metadata":{"resourceVersion":null}}"#),
                Repeat::Once,
            ),
            (patch(merge, "{}"), Repeat::Once),
            (patch(merge, "nonsense"), Repeat::Once),
            (patch("", "[]"), Repeat::Once),
            (
                patch(
                    json,
                    r#"[{"op":"add","path":"/a","value":1},{"op":"test","path":"/metadata/resourceVersion","value":"1"}]"#,
                ),
                Repeat::Guarded,
            ),
            (
                patch(
                    json,
                    r#"[{"op":"add","path":"/metadata/resourceVersion","value":"1"}]"#,
                ),
                Repeat::Once,
            ),
        ] {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn requests_of_ones_own() {
        let raw = |request: http::request::Builder| {
            Repeat::of(Verb::Raw, &request.body(Bytes::new()).unwrap())
        };
        assert_eq!(raw(Request::get("/healthz")), Repeat::Freely);
        assert_eq!(raw(Request::post("/x")), Repeat::Once);
        assert_eq!(raw(Request::post("/x?a=b&dryRun=All")), Repeat::Freely);
        let exec = Request::get("/exec").header(UPGRADE, "websocket");
        assert_eq!(raw(exec), Repeat::Upgrade);
    }
}
