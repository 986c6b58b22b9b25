//! Deleting objects.

use std::marker::PhantomData;

use http::Method;
use http::header::HeaderValue;
use serde::Deserialize;

use super::Api;
use super::common::{answer_options, request_options};
use super::delete_options::{DeleteOptions, delete_options, precondition_options};
use super::path::Target;
use crate::Error;
use crate::call::{Call, Json, Operation, Verb, decode};
use crate::meta::Status;
use crate::resource::Object;

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

/// Deletes one object. See [`Api::delete`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Delete<K> {
    pub(super) target: Target,
    accept: HeaderValue,
    options: DeleteOptions,
    object: PhantomData<fn() -> K>,
}

request_options! { Delete<K>; }
answer_options! { Delete<K>; }
delete_options! { Delete<K>: options; }
precondition_options! { Delete<K>: options; }

impl<K: Object> Api<K> {
    /// Deletes one object, or begins to.
    ///
    /// Without a [`propagation_policy`](Delete::propagation_policy) dependents are deleted in the background. So it is by
    /// the server's own default, but for jobs and replication controllers, whose pods it would leave running: for these
    /// two kinds the policy is sent.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation, Scope};
    /// let jobs = Api::dynamic(ApiResource::new("batch", "v1", "Job", "jobs", Scope::Namespaced)).in_namespace("default");
    /// let call = jobs.delete("j").into_call()?;
    /// assert_eq!(call.request().uri(), "/apis/batch/v1/namespaces/default/jobs/j");
    /// assert_eq!(call.request().body(), r#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#);
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn delete(&self, name: &str) -> Delete<K> {
        Delete {
            target: Target::bare_object(&self.resource, &self.namespace, name),
            accept: self.view.accept_object(),
            options: DeleteOptions::for_kind(&self.resource),
            object: PhantomData,
        }
    }
}

impl<K> Delete<K> {
    /// Deletes an object even if its stored form cannot be read any more. **It may break the cluster**: finalizers and
    /// dependents are ignored. Needs the verb `unsafe-delete-ignore-read-errors` and a feature gate that is off in
    /// 1.36, without which servers ignore it. Excludes all other options.
    pub fn ignore_store_read_error_with_cluster_breaking_potential(mut self, ignore: bool) -> Self {
        self.options.ignore_store_read_error = ignore;
        self
    }
}

impl<K: Object> Operation for Delete<K> {
    type Decoder = Json<Deleted<K>>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<Deleted<K>>>, Error> {
        let body = self.options.body()?;
        let query = self.target.query(namespace)?;
        let request = query.request(Method::DELETE, Some(self.accept), body)?;
        Ok(Call::new(Verb::Delete, request, Json::default()))
    }
}

impl<K: Object> Default for Json<Deleted<K>> {
    fn default() -> Self {
        Self::with(deleted)
    }
}

/// Reads the answer of a deletion by its kind.
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
