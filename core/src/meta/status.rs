//! `Status`, the API's answer when there is no object to answer with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A `v1` Status: why a request failed, or that it succeeded with nothing to return.
///
/// Servers, proxies and nodes leave out any part of it (inside sessions even `kind` and
/// `apiVersion` are missing), so every field is optional here.
///
/// ```
/// let status: kubewire::meta::Status = serde_json::from_str(
///     r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404,
///         "details":{"name":"nope","kind":"configmaps"}}"#).unwrap();
/// assert!(status.is_failure());
/// assert_eq!(status.details.unwrap().name.as_deref(), Some("nope"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Status {
    /// `Status`, where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `v1`, where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// List metadata; holds a fresh continue token when an old one expired.
    #[serde(deserialize_with = "super::object::null_default")]
    pub metadata: super::ListMeta,
    /// `Success` or `Failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For programs, such as `NotFound`. Unclassified failures have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// The HTTP status code it goes with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StatusDetails {
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The API group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The plural resource for most reasons, the kind for `Invalid` and failed preconditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The object's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// One entry for each thing that is wrong.
    #[serde(
        deserialize_with = "super::object::null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub causes: Vec<StatusCause>,
    /// Seconds to wait before the request may be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// One cause of a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StatusCause {
    /// The type of the cause, such as `FieldValueInvalid` or `ExitCode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people; the number, in the case of `ExitCode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The path of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Status {
    /// Reads a Status from a body or channel message. Text that is no JSON object, or one without
    /// a `status` of `Success` or `Failure`, is none.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let status: Self = serde_json::from_slice(bytes).ok()?;
        matches!(status.status.as_deref(), Some("Success" | "Failure")).then_some(status)
    }

    /// `status` is `Success`.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.as_deref() == Some("Success")
    }

    /// `status` is `Failure`.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status.as_deref() == Some("Failure")
    }

    /// The causes, of which there may be none.
    #[must_use]
    pub fn causes(&self) -> &[StatusCause] {
        self.details.as_ref().map_or(&[], |details| &details.causes)
    }

    /// Whether one of the causes has this type.
    #[must_use]
    pub fn has_cause(&self, reason: &str) -> bool {
        self.causes()
            .iter()
            .any(|cause| cause.reason.as_deref() == Some(reason))
    }

    /// `details.retryAfterSeconds`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.details.as_ref()?.retry_after_seconds?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}
