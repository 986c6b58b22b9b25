//! The reviews: requests that store nothing.

use serde_json::{Value, json};

use super::call::Call;
use super::decode;
use super::reply::{self, Reply};
use super::status::{Failure, Result};

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
            json!({"userInfo": {"username": call.user.name, "groups": call.user.groups}})
        }
        "TokenReview" => match call
            .app
            .auth
            .token_user(review["spec"]["token"].as_str().unwrap_or_default())
        {
            Some(user) => {
                json!({"authenticated": true, "user": {"username": user.name, "groups": user.groups}})
            }
            None => json!({"user": {}, "error": "[invalid bearer token]"}),
        },
        _ => json!({"allowed": true}),
    };
    if review["spec"].is_null() {
        review["spec"] = Value::Object(serde_json::Map::new());
    }
    reply::value(call, 201, &review)
}
