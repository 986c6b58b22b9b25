//! Kinds: what the API serves under which path.

mod dynamic;
#[cfg(feature = "k8s-openapi")]
mod k8s;
mod markers;
mod scale;

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

pub use dynamic::Dynamic;
pub use markers::{
    HasApproval, HasAttach, HasBinding, HasEphemeralContainers, HasEviction, HasExec, HasFinalize,
    HasLogs, HasPortForward, HasProxy, HasResize, HasScale, HasStatus, HasToken,
};
pub use scale::{Scale, ScaleSpec, ScaleStatus};

use crate::meta::{MetaView, PartialObjectMetadata};

/// Whether the objects of a resource live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Each object is in a namespace.
    Namespaced,
    /// Objects belong to the cluster.
    Cluster,
}

/// A resource that the API serves: group, version, kind, plural name and scope.
///
/// It comes from a type ([`Resource`]), from code, or from discovery. Making one of constants allocates nothing.
///
/// ```
/// use kubewire::{ApiResource, Scope};
/// const GADGETS: ApiResource =
///     ApiResource::new("golden.example.com", "v1", "Gadget", "gadgets", Scope::Namespaced);
/// assert_eq!(GADGETS.api_version(), "golden.example.com/v1");
/// assert_eq!(ApiResource::core("Node", "nodes").cluster_scoped().api_version(), "v1");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiResource {
    group: Cow<'static, str>,
    version: Cow<'static, str>,
    kind: Cow<'static, str>,
    plural: Cow<'static, str>,
    scope: Scope,
}

impl ApiResource {
    /// A resource from constants; `group` is empty for the core group.
    #[must_use]
    pub const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        scope: Scope,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            scope,
        }
    }

    /// A namespaced resource of the core group, version `v1`.
    #[must_use]
    pub const fn core(kind: &'static str, plural: &'static str) -> Self {
        Self::new("", "v1", kind, plural, Scope::Namespaced)
    }

    /// A resource that was found at run time.
    #[must_use]
    pub fn discovered(
        group: String,
        version: String,
        kind: String,
        plural: String,
        scope: Scope,
    ) -> Self {
        Self {
            group: Cow::Owned(group),
            version: Cow::Owned(version),
            kind: Cow::Owned(kind),
            plural: Cow::Owned(plural),
            scope,
        }
    }

    /// The same resource without namespaces.
    #[must_use]
    pub const fn cluster_scoped(mut self) -> Self {
        self.scope = Scope::Cluster;
        self
    }

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version, such as `v1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kind, such as `Pod`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The lower-case plural of the URL, such as `pods`.
    #[must_use]
    pub fn plural(&self) -> &str {
        &self.plural
    }

    /// Whether objects live in namespaces.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// `group/version`, or the version alone for the core group: what objects carry as `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.version)
        } else {
            Cow::Owned(format!("{}/{}", self.group, self.version))
        }
    }
}

impl fmt::Debug for ApiResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.plural, self.version, self.group)
    }
}

/// What can be decoded from an object of the API.
pub trait Object: DeserializeOwned {
    /// Its metadata: a reflector has to know what an object is called and which version it is.
    fn meta(&self) -> MetaView<'_>;

    /// Puts kind and apiVersion in where they are missing: items of built-in lists come without.
    /// Types that know their kind need not do anything.
    fn fill_types(&mut self, _resource: &ApiResource) {}
}

/// A type that stands for one resource of the API.
///
/// With the feature `k8s-openapi` every object type of that crate is one. For custom resources
/// implement it, or use [`resource!`](crate::resource!).
pub trait Resource: Object {
    /// Which resource.
    fn api_resource() -> ApiResource;
}

impl Object for PartialObjectMetadata {
    fn meta(&self) -> MetaView<'_> {
        MetaView::from(&self.metadata)
    }

    fn fill_types(&mut self, _: &ApiResource) {
        if self.kind.is_empty() {
            "PartialObjectMetadata".clone_into(&mut self.kind);
            "meta.k8s.io/v1".clone_into(&mut self.api_version);
        }
    }
}

/// Makes a type of one's own a [`Resource`], with the subresources it has. It has a field `metadata`:
/// an [`ObjectMeta`](crate::meta::ObjectMeta) of this crate or of k8s-openapi.
///
/// ```
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Gadget {
///     metadata: kubewire::meta::ObjectMeta,
///     spec: serde_json::Value,
/// }
/// kubewire::resource!(Gadget: "golden.example.com", "v1", "Gadget", "gadgets", Namespaced; HasStatus, HasScale);
///
/// use kubewire::{Api, Operation};
/// let call = Api::<Gadget>::namespaced("default").get("one").into_call()?;
/// assert_eq!(call.request().uri(), "/apis/golden.example.com/v1/namespaces/default/gadgets/one");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[macro_export]
macro_rules! resource {
    ($type:ty: $group:literal, $version:literal, $kind:literal, $plural:literal, $scope:ident $(; $($marker:ident),*)?) => {
        impl $crate::Object for $type {
            fn meta(&self) -> $crate::meta::MetaView<'_> {
                $crate::meta::MetaView::from(&self.metadata)
            }
        }
        impl $crate::Resource for $type {
            fn api_resource() -> $crate::ApiResource {
                $crate::ApiResource::new($group, $version, $kind, $plural, $crate::Scope::$scope)
            }
        }
        $($(impl $crate::$marker for $type {})*)?
    };
}
