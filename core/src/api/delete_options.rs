//! `DeleteOptions`: the body of deletions and evictions.

use bytes::Bytes;
use http::header::HeaderValue;
use serde::Serialize;

use super::json_body;
use super::write::JSON;
use crate::Error;
use crate::resource::ApiResource;

/// What happens to the objects that the deleted one owns.
///
/// ```
/// use kubewire::{Api, ApiResource, Operation, Propagation, Scope};
/// let sets = Api::dynamic(ApiResource::new("apps", "v1", "ReplicaSet", "replicasets", Scope::Namespaced));
/// let delete = sets.in_namespace("default").delete("web").propagation_policy(Propagation::Orphan);
/// assert!(delete.clone().into_call().is_ok());
/// assert!(delete.orphan_dependents(true).into_call().is_err(), "two ways to say it");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) propagation_policy: Option<Propagation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orphan_dependents: Option<bool>,
    #[serde(skip_serializing_if = "Preconditions::is_empty")]
    pub(super) preconditions: Preconditions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dry_run: Vec<&'static str>,
    #[serde(
        rename = "ignoreStoreReadErrorWithClusterBreakingPotential",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(super) ignore_store_read_error: bool,
    /// The policy to send if none was chosen.
    #[serde(skip)]
    fallback: Option<Propagation>,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_version: Option<String>,
}

impl Preconditions {
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

impl DeleteOptions {
    /// The server's default for these two kinds is `Orphan`, for the sake of clients of 2015.
    pub(super) fn for_kind(resource: &ApiResource) -> Self {
        let orphans = matches!(
            (resource.group(), resource.plural()),
            ("batch", "jobs") | ("", "replicationcontrollers")
        );
        Self {
            fallback: orphans.then_some(Propagation::Background),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let fault = if self.grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            "grace_period_seconds must not be negative"
        } else if self.propagation_policy.is_some() && self.orphan_dependents.is_some() {
            "propagation_policy and orphan_dependents exclude each other"
        } else if !self.ignore_store_read_error {
            return Ok(());
        } else if !self.dry_run.is_empty() {
            "ignore_store_read_error_with_cluster_breaking_potential and dry_run exclude each other"
        } else if self.propagation_policy.is_some() {
            "ignore_store_read_error_with_cluster_breaking_potential and propagation_policy exclude each other"
        } else if self.orphan_dependents.is_some() {
            "ignore_store_read_error_with_cluster_breaking_potential and orphan_dependents exclude each other"
        } else if self.grace_period_seconds.is_some() {
            "ignore_store_read_error_with_cluster_breaking_potential and grace_period_seconds exclude each other"
        } else if self.preconditions.uid.is_some() {
            "ignore_store_read_error_with_cluster_breaking_potential and precondition_uid exclude each other"
        } else if self.preconditions.resource_version.is_some() {
            "ignore_store_read_error_with_cluster_breaking_potential and precondition_resource_version exclude each other"
        } else {
            return Ok(());
        };
        Err(Error::usage(fault))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grace_period_seconds.is_none()
            && self.propagation_policy.is_none()
            && self.orphan_dependents.is_none()
            && self.preconditions.is_empty()
            && self.dry_run.is_empty()
            && !self.ignore_store_read_error
    }

    /// The body; none if every option is the server's default. With a body the server ignores the
    /// options of the query, so all of them go here.
    pub(super) fn body(mut self) -> Result<Option<(HeaderValue, Bytes)>, Error> {
        self.check()?;
        if self.propagation_policy.is_none()
            && self.orphan_dependents.is_none()
            && !self.ignore_store_read_error
        {
            self.propagation_policy = self.fallback;
        }
        if self.is_empty() {
            return Ok(None);
        }
        self.any_body().map(Some)
    }

    /// The body, even if it says nothing.
    pub(super) fn any_body(&self) -> Result<(HeaderValue, Bytes), Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            kind: &'a str,
            api_version: &'a str,
            #[serde(flatten)]
            options: &'a DeleteOptions,
        }
        let body = json_body(&Body {
            kind: "DeleteOptions",
            api_version: "v1",
            options: self,
        })?;
        Ok((JSON, body))
    }
}

/// Builder methods of deletions.
macro_rules! delete_options {
    ($($type:ident $(<$k:ident>)?: $field:ident;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// How long objects may take to end, in seconds; 0 is at once. Pods only; by default what the pod says.
            pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
                self.$field.grace_period_seconds = Some(seconds);
                self
            }

            /// What happens to dependents.
            pub fn propagation_policy(mut self, policy: $crate::Propagation) -> Self {
                self.$field.propagation_policy = Some(policy);
                self
            }

            /// Deprecated by Kubernetes: `true` is `Propagation::Orphan`, `false` is `Propagation::Background`. Excludes
            /// [`propagation_policy`](Self::propagation_policy).
            pub fn orphan_dependents(mut self, orphan: bool) -> Self {
                self.$field.orphan_dependents = Some(orphan);
                self
            }

            /// The server does everything but delete.
            pub fn dry_run(mut self, dry_run: bool) -> Self {
                self.$field.dry_run = if dry_run { vec!["All"] } else { Vec::new() };
                self
            }
        }
    )*};
}

/// Builder methods of deletions of one object.
macro_rules! precondition_options {
    ($($type:ident $(<$k:ident>)?: $field:ident;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// Only the object with this uid, not a namesake (else 409).
            pub fn precondition_uid(mut self, uid: impl Into<String>) -> Self {
                self.$field.preconditions.uid = Some(uid.into());
                self
            }

            /// Only this version of the object (else 409).
            pub fn precondition_resource_version(mut self, version: impl Into<String>) -> Self {
                self.$field.preconditions.resource_version = Some(version.into());
                self
            }
        }
    )*};
}

pub(super) use {delete_options, precondition_options};
