//! The reviews: requests that store nothing.

use serde_json::{Value, json};

use super::auth::User;
use super::call::Call;
use super::decode;
use super::rbac::Attributes;
use super::reply::{self, Reply};
use super::status::{Failure, Result};
use super::time::Timestamp;

/// Groups that have nothing but reviews.
pub(crate) const GROUPS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Group, resource and kind of the reviews.
pub(crate) const REVIEWS: [(&str, &str, &str); 4] = [
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
    ),
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
    ),
];

/// Serves a review; `None` if the path names none.
pub(crate) fn serve(
    call: &Call,
    group: &str,
    version: &str,
    rest: &[&str],
) -> Option<Result<Reply>> {
    let [resource] = rest else { return None };
    let (_, _, kind) = REVIEWS
        .iter()
        .find(|(g, r, _)| *g == group && r == resource && version == "v1")?;
    if call.method != http::Method::POST {
        return Some(Err(Failure::method_not_allowed()));
    }
    Some(review(call, &format!("{group}/v1"), kind))
}

fn review(call: &Call, api_version: &str, kind: &str) -> Result<Reply> {
    let mut review = decode::decode_other(call, kind, api_version)?;
    review["kind"] = kind.into();
    review["apiVersion"] = api_version.into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    review["status"] = match kind {
        "SelfSubjectReview" => {
            json!({"userInfo": call.user.info()})
        }
        "TokenReview" => match call
            .app
            .auth
            .token_user(review["spec"]["token"].as_str().unwrap_or_default())
        {
            Some(user) => {
                json!({"authenticated": true, "user": user.info()})
            }
            None => json!({"user": {}, "error": "[invalid bearer token]"}),
        },
        _ => access(call, kind, &review["spec"]),
    };
    if kind == "SelfSubjectReview" {
        review["metadata"]["creationTimestamp"] = Timestamp::now().rfc3339().into();
    } else if review["spec"].is_null() {
        review["spec"] = Value::Object(serde_json::Map::new());
    }
    reply::value(call, 201, &review)
}

/// Whether the one who asks, or is asked about, may do this.
fn access(call: &Call, kind: &str, spec: &Value) -> Value {
    let user = match spec["user"].as_str() {
        Some(name) if kind == "SubjectAccessReview" => {
            let groups = spec["groups"].as_array().into_iter().flatten();
            User::named(name, groups.filter_map(Value::as_str))
        }
        _ => call.user.clone(),
    };
    let wanted = &spec["resourceAttributes"];
    let text = |name: &str| wanted[name].as_str().unwrap_or_default();
    let asked = Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    };
    json!({"allowed": call.app.grants.allow(&user, &asked)})
}
