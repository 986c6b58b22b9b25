//! The API of one kind of object: operations as values.

mod actions;
pub(crate) mod common;
mod delete;
mod delete_collection;
mod delete_options;
mod list;
mod list_options;
mod logs;
mod path;
mod proxy;
mod query;
mod raw;
mod read;
#[cfg(feature = "ws")]
mod sessions;
mod subresource;
mod table;
mod watch;
mod write;

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::header::HeaderValue;

pub use actions::{Bind, CreateToken, Evict, Token};
pub use delete::{Delete, Deleted};
pub use delete_collection::{DeleteCollection, DeletedCollection, DeletedCollectionDecoder};
pub use delete_options::Propagation;
pub(crate) use list::Pages;
pub use list::{ListAll, ListItems, ListObjects};
pub use list_options::VersionMatch;
pub use logs::{LogStream, LogText, Logs};
pub use path::Namespace;
pub use proxy::Proxy;
pub use raw::{RawChunks, RawJson, RawLines, RawOperation};
pub use read::{Get, GetOptional};
#[cfg(feature = "ws")]
pub use sessions::{AttachOperation, ExecOperation, PortForwardOperation, UpgradeOperation};
pub use subresource::{AnySubresource, Subresource};
pub use table::{IncludeObject, ListTable, TableApi};
pub use watch::WatchObjects;
pub use write::{Create, FieldValidation, Patch, PatchObject, Replace};

pub(crate) use path::{Target, group_version_path};

use crate::Error;
use crate::meta::PartialObjectMetadata;
use crate::resource::{ApiResource, Dynamic, Resource};

/// The operations on one kind of object.
///
/// Plain data: making one costs nothing, and it can be reused under any client and runtime. Each
/// method gives an operation, whose options are builder methods named as Kubernetes names them; a client carries it
/// (`client.send(pods.get("web-0"))`), or [`Operation::into_call`](crate::Operation::into_call) turns it into a request and its decoder.
///
/// The namespace is inherited from the client ([`new`](Self::new)), [`all`](Self::all) of them, or [`namespaced`](Self::namespaced).
/// Wrong names and contradicting options are refused when the call is built, before anything is sent.
///
/// ```
/// # #[cfg(feature = "k8s-openapi")] {
/// use k8s_openapi::api::core::v1::Pod;
/// use kubewire::{Api, Operation};
///
/// let pods = Api::<Pod>::namespaced("default");
/// let call = pods.list().labels("app=web").limit(500).into_call()?;
/// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb&limit=500");
/// # }
/// # Ok::<(), kubewire::Error>(())
/// ```
///
/// Subresources are there only for kinds that have them:
///
/// ```compile_fail
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// kubewire::Api::<ConfigMap>::namespaced("default").logs("settings");
/// ```
pub struct Api<K> {
    resource: ApiResource,
    namespace: Namespace,
    view: View,
    object: PhantomData<fn() -> K>,
}

/// In which form objects are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Full,
    Metadata,
    Table,
}

impl View {
    fn accept_object(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Full => "application/json",
            Self::Metadata => {
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
            }
            Self::Table => "application/json;as=Table;v=v1;g=meta.k8s.io",
        })
    }

    fn accept_list(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Full => "application/json",
            Self::Metadata => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
            }
            Self::Table => "application/json;as=Table;v=v1;g=meta.k8s.io",
        })
    }
}

impl<K: Resource> Api<K> {
    /// Objects in the client's namespace, or cluster-scoped ones.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the namespace is a decision")]
    pub fn new() -> Self {
        Self::of(K::api_resource(), Namespace::Inherit)
    }

    /// Objects in all namespaces; for lists and watches.
    #[must_use]
    pub fn all() -> Self {
        Self::of(K::api_resource(), Namespace::All)
    }

    /// Objects in one namespace.
    #[must_use]
    pub fn namespaced(namespace: impl Into<String>) -> Self {
        Self::of(K::api_resource(), Namespace::Named(namespace.into()))
    }
}

impl Api<Dynamic> {
    /// Objects of a kind that is known at run time, in the client's namespace.
    #[must_use]
    pub fn dynamic(resource: ApiResource) -> Self {
        Self::of(resource, Namespace::Inherit)
    }
}

impl<K> Api<K> {
    /// Objects of any resource, decoded as `K`.
    #[must_use]
    pub fn of(resource: ApiResource, namespace: Namespace) -> Self {
        Self {
            resource,
            namespace,
            view: View::Full,
            object: PhantomData,
        }
    }

    /// The same kind in one namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Namespace::Named(namespace.into());
        self
    }

    /// The same kind in all namespaces.
    #[must_use]
    pub fn in_all_namespaces(mut self) -> Self {
        self.namespace = Namespace::All;
        self
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Where it looks for objects.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The same objects, of which the server sends only the metadata. Get, list, patch, watch and
    /// delete; what would write a whole object is refused. From servers that cannot send metadata alone (some aggregated
    /// APIs) whole objects come, of which the metadata is kept.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces().metadata();
    /// let call = pods.list().into_call()?;
    /// assert!(call.request().headers()["accept"].to_str().unwrap().contains("as=PartialObjectMetadataList"));
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> Api<PartialObjectMetadata> {
        Api {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            view: View::Metadata,
            object: PhantomData,
        }
    }

    fn object(&self, name: &str) -> Target {
        Target::object(&self.resource, &self.namespace, name)
    }

    /// One object, for an operation that sends a whole one.
    fn whole(&self, mut target: Target) -> Target {
        if self.view == View::Metadata {
            target.refuse("the metadata view has no whole objects to write: use patch, or Api without metadata()");
        }
        target
    }
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            view: self.view,
            object: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Api<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("resource", &self.resource)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Shows where an operation goes, and neither its options nor its body.
macro_rules! debug_as_path {
    ($($type:ident $(<$k:ident>)?: $($field:tt).+;)*) => {$(
        impl$(<$k>)? fmt::Debug for $type$(<$k>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($type), self.$($field).+)
            }
        }
    )*};
}

debug_as_path! {
    AnySubresource: target;
    Bind: target;
    Create<K>: target;
    CreateToken: target;
    Delete<K>: target;
    DeleteCollection<K>: target;
    Evict: target;
    Get<K>: target;
    GetOptional<K>: 0.target;
    ListAll<K>: 0.target;
    ListItems<K>: 0.target;
    ListObjects<K>: target;
    ListTable: target;
    Logs: target;
    LogText: 0.target;
    PatchObject<K>: target;
    RawChunks: 0.target;
    RawJson<T>: operation.target;
    RawLines: 0.target;
    RawOperation: target;
    Replace<K>: target;
    Subresource<T>: target;
    WatchObjects<K>: target;
}

#[cfg(feature = "ws")]
debug_as_path! {
    AttachOperation: target;
    ExecOperation: target;
    PortForwardOperation: target;
}

/// Serialises a body now, so that an operation holds bytes and not a borrow.
fn json_body(value: &impl serde::Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::usage("the body has no JSON form").with_source(error))
}
