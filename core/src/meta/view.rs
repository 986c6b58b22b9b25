//! The metadata of an object of any type, borrowed.

use std::collections::BTreeMap;
use std::fmt;

use super::ObjectMeta;

/// What is asked of every object's metadata, whichever type decoded it: see
/// [`Object::meta`](crate::Object::meta).
///
/// ```
/// use kubewire::{Dynamic, Object};
/// let object: Dynamic = serde_json::from_str(
///     r#"{"metadata":{"name":"a","uid":"u1","resourceVersion":"7","labels":{"app":"web"}}}"#).unwrap();
/// let meta = object.meta();
/// assert_eq!((meta.name, meta.namespace, meta.resource_version), (Some("a"), None, Some("7")));
/// assert_eq!(meta.label("app"), Some("web"));
/// ```
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct MetaView<'a> {
    /// The name.
    pub name: Option<&'a str>,
    /// The namespace; absent on cluster-scoped objects.
    pub namespace: Option<&'a str>,
    /// Unique over all time and space.
    pub uid: Option<&'a str>,
    /// The version of the object. Opaque text.
    pub resource_version: Option<&'a str>,
    /// Counts changes of the desired state.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Annotations.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// Whether a `deletionTimestamp` is set: the object is on its way out.
    pub is_terminating: bool,
}

impl MetaView<'_> {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels?.get(key).map(String::as_str)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations?.get(key).map(String::as_str)
    }
}

/// Identity only: annotations may hold whole objects.
impl fmt::Debug for MetaView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaView")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("uid", &self.uid)
            .field("resource_version", &self.resource_version)
            .finish_non_exhaustive()
    }
}

impl<'a> From<&'a ObjectMeta> for MetaView<'a> {
    fn from(meta: &'a ObjectMeta) -> Self {
        Self {
            name: meta.name.as_deref(),
            namespace: meta.namespace.as_deref(),
            uid: meta.uid.as_deref(),
            resource_version: meta.resource_version.as_deref(),
            generation: meta.generation,
            labels: Some(&meta.labels),
            annotations: Some(&meta.annotations),
            is_terminating: meta.deletion_timestamp.is_some(),
        }
    }
}

#[cfg(feature = "k8s-openapi")]
impl<'a> From<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta> for MetaView<'a> {
    fn from(meta: &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Self {
        Self {
            name: meta.name.as_deref(),
            namespace: meta.namespace.as_deref(),
            uid: meta.uid.as_deref(),
            resource_version: meta.resource_version.as_deref(),
            generation: meta.generation,
            labels: meta.labels.as_ref(),
            annotations: meta.annotations.as_ref(),
            is_terminating: meta.deletion_timestamp.is_some(),
        }
    }
}
