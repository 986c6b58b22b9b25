//! Deleting objects.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::path::Target;
use super::{Api, json_body, request};
use crate::call::{Call, Decode, End, Operation, Raw, Unary, Verb, decode};
use crate::meta::Status;
use crate::resource::Object;
use crate::{Error, Limits};

/// What happens to the objects that the deleted one owns.
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

/// What a deletion did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Deleted<K> {
    /// The object is gone; the server said so with a Status.
    Gone(Box<Status>),
    /// The object, which may still be there: waiting for finalizers, for its containers to end, or
    /// for its dependents. Some kinds (services, namespaces …) answer this way even when they are gone.
    Object(K),
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    propagation_policy: Option<Propagation>,
    #[serde(skip_serializing_if = "Preconditions::is_empty")]
    preconditions: Preconditions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dry_run: Vec<&'static str>,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
}

impl Preconditions {
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

impl DeleteOptions {
    /// The body; none if every option is the server's default. With a body the server ignores the query, so all
    /// options go here.
    fn body(&self) -> Result<Option<(HeaderValue, Bytes)>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            kind: &'a str,
            api_version: &'a str,
            #[serde(flatten)]
            options: &'a DeleteOptions,
        }
        if self.grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            return Err(Error::usage("grace_period_seconds must not be negative"));
        }
        if self.grace_period_seconds.is_none()
            && self.propagation_policy.is_none()
            && self.preconditions.is_empty()
            && self.dry_run.is_empty()
        {
            return Ok(None);
        }
        let body = json_body(&Body {
            kind: "DeleteOptions",
            api_version: "v1",
            options: self,
        })?;
        Ok(Some((HeaderValue::from_static("application/json"), body)))
    }
}

/// Deletes one object. See [`Api::delete`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Delete<K> {
    pub(super) target: Target,
    accept: HeaderValue,
    options: DeleteOptions,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    /// Deletes one object, or begins to.
    ///
    /// Without a [`propagation_policy`](Delete::propagation_policy) the kind decides: deleting a job or
    /// replication controller leaves its pods.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation, Propagation, Scope};
    /// let jobs = Api::dynamic(ApiResource::new("batch", "v1", "Job", "jobs", Scope::Namespaced)).in_namespace("default");
    /// let call = jobs.delete("j").propagation_policy(Propagation::Background).into_call()?;
    /// assert_eq!(call.request().uri(), "/apis/batch/v1/namespaces/default/jobs/j");
    /// assert_eq!(call.request().body(), r#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#);
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn delete(&self, name: &str) -> Delete<K> {
        Delete {
            target: self.object(name),
            accept: self.view.accept_object(),
            options: DeleteOptions::default(),
            object: PhantomData,
        }
    }
}

impl<K> Delete<K> {
    /// How long the object may take to end, in seconds; 0 is at once. Pods only.
    pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
        self.options.grace_period_seconds = Some(seconds);
        self
    }

    /// What happens to dependents.
    pub fn propagation_policy(mut self, policy: Propagation) -> Self {
        self.options.propagation_policy = Some(policy);
        self
    }

    /// Deletes only the object with this uid, not a namesake (else 409).
    pub fn precondition_uid(mut self, uid: impl Into<String>) -> Self {
        self.options.preconditions.uid = Some(uid.into());
        self
    }

    /// Deletes only this version of the object (else 409).
    pub fn precondition_resource_version(mut self, version: impl Into<String>) -> Self {
        self.options.preconditions.resource_version = Some(version.into());
        self
    }

    /// The server does everything but delete.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.options.dry_run = if dry_run { vec!["All"] } else { Vec::new() };
        self
    }
}

impl<K: Object> Operation for Delete<K> {
    type Decoder = DeletedDecoder<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<DeletedDecoder<K>>, Error> {
        let body = self.options.body()?;
        let request = request(
            Method::DELETE,
            self.target.resolve(namespace)?,
            self.accept,
            body,
        )?;
        Ok(Call::new(Verb::Delete, request, DeletedDecoder::default()))
    }
}

/// Decodes the answer of a deletion by its kind.
pub struct DeletedDecoder<K> {
    raw: Raw,
    /// The answer did not decode; the error repeats.
    fault: Option<Error>,
    object: PhantomData<fn() -> K>,
}

impl<K> Default for DeletedDecoder<K> {
    fn default() -> Self {
        Self {
            raw: Raw::default(),
            fault: None,
            object: PhantomData,
        }
    }
}

impl<K> Clone for DeletedDecoder<K> {
    fn clone(&self) -> Self {
        Self {
            raw: self.raw.clone(),
            fault: self.fault.clone(),
            object: PhantomData,
        }
    }
}

impl<K> fmt::Debug for DeletedDecoder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeletedDecoder").field(&self.raw).finish()
    }
}

impl<K: Object> Decode for DeletedDecoder<K> {
    type Item = Deleted<K>;

    fn begin(&mut self, limits: &Limits) {
        self.raw.begin(limits);
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        self.raw.handle_head(head)
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.raw.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.raw.handle_end(end)
    }

    fn poll_item(&mut self) -> Result<Option<Deleted<K>>, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(body) = self.raw.poll_item()? else {
            return Ok(None);
        };
        deleted(&body)
            .map(Some)
            .inspect_err(|error| self.fault = Some(error.clone()))
    }

    fn has_items(&self) -> bool {
        self.raw.has_items()
    }

    fn buffered(&self) -> usize {
        self.raw.buffered()
    }
}

fn deleted<K: Object>(body: &[u8]) -> Result<Deleted<K>, Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Kind {
        kind: String,
        api_version: String,
    }
    let Kind { kind, api_version } = decode(body)?;
    if kind == "Status" && api_version == "v1" {
        return decode(body).map(|status| Deleted::Gone(Box::new(status)));
    }
    decode(body).map(Deleted::Object)
}

impl<K: Object> Unary for DeletedDecoder<K> {}
