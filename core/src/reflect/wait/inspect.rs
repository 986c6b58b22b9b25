//! Reading parts of an object of any type.

use serde::de::DeserializeOwned;

use crate::Dynamic;
use crate::resource::Object;

/// An object of which single fields can be read by name, so that one condition serves the typed and the
/// dynamic form of a kind.
///
/// [`Dynamic`] objects and, with the feature `k8s-openapi`, the types of that crate are. For a type of
/// your own, `serde_json::to_value` is an implementation.
///
/// ```
/// use kubewire::{Dynamic, reflect::wait::Inspect};
/// let pod: Dynamic = serde_json::from_str(r#"{"metadata":{},"status":{"phase":"Running"}}"#).unwrap();
/// let status: serde_json::Value = pod.field("status").unwrap();
/// assert_eq!(status["phase"], "Running");
/// ```
pub trait Inspect: Object {
    /// A top-level field, such as `status`; `None` if it is missing or does not fit.
    fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T>;
}

impl Inspect for Dynamic {
    fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.get(name).ok().flatten()
    }
}

#[cfg(feature = "k8s-openapi")]
impl<K> Inspect for K
where
    K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
        + DeserializeOwned
        + serde::Serialize,
{
    fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let mut value = serde_json::to_value(self).ok()?;
        serde_json::from_value(value.get_mut(name)?.take()).ok()
    }
}
