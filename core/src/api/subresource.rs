//! Subresources that are objects.

use std::marker::PhantomData;

use serde::Serialize;

use super::path::Target;
use super::{Api, Get, Patch, PatchObject, Replace, View};
use crate::resource::{HasScale, HasStatus, Object, Scale};

/// A subresource of one object that can be read, replaced and patched.
///
/// ```
/// use kubewire::{Api, ApiResource, Operation, Patch, Scope};
/// let deployments = Api::dynamic(ApiResource::new("apps", "v1", "Deployment", "deployments", Scope::Namespaced));
/// let scale = deployments.in_namespace("default").scale("web");
/// let call = scale.patch(Patch::merge(&serde_json::json!({"spec": {"replicas": 3}}))).into_call()?;
/// assert_eq!(call.request().uri(), "/apis/apps/v1/namespaces/default/deployments/web/scale");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "choose get, replace or patch"]
pub struct Subresource<T> {
    pub(super) target: Target,
    object: PhantomData<fn() -> T>,
}

impl<K: HasScale> Api<K> {
    /// The object's [`Scale`].
    pub fn scale(&self, name: &str) -> Subresource<Scale> {
        self.subresource(name, "scale")
    }
}

impl<K: HasStatus> Api<K> {
    /// The object's status: the whole object is read and written, but only its status counts.
    pub fn status(&self, name: &str) -> Subresource<K> {
        self.subresource(name, "status")
    }
}

impl<K> Api<K> {
    fn subresource<T>(&self, name: &str, subresource: &str) -> Subresource<T> {
        Subresource {
            target: self.whole(self.object(name)).sub(subresource),
            object: PhantomData,
        }
    }
}

impl<T: Object> Subresource<T> {
    /// Reads it.
    pub fn get(&self) -> Get<T> {
        Get::new(self.target.clone(), View::Full.accept_object())
    }

    /// Replaces it. With `metadata.resourceVersion` in the body the write is refused if the object has changed since.
    pub fn replace(&self, body: &T) -> Replace<T>
    where
        T: Serialize,
    {
        Replace::new(self.target.clone(), body)
    }

    /// Patches it.
    pub fn patch(&self, patch: Patch) -> PatchObject<T> {
        PatchObject::new(self.target.clone(), View::Full.accept_object(), patch)
    }
}
