//! Every object type of `k8s-openapi` is a [`Resource`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, SubResourceScope};
use serde::de::DeserializeOwned;

use super::{ApiResource, Object, Resource, Scope};
use crate::meta::MetaView;

/// The scope of a `k8s-openapi` type, as a value.
trait ScopeValue {
    const SCOPE: Scope;
}

impl ScopeValue for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

impl ScopeValue for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

impl ScopeValue for SubResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

impl<K> Object for K
where
    K: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned,
{
    fn meta(&self) -> MetaView<'_> {
        MetaView::from(self.metadata())
    }
}

impl<K> Resource for K
where
    K: k8s_openapi::Resource<Scope: ScopeValue>
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + DeserializeOwned,
{
    fn api_resource() -> ApiResource {
        ApiResource::new(
            K::GROUP,
            K::VERSION,
            K::KIND,
            K::URL_PATH_SEGMENT,
            <K::Scope as ScopeValue>::SCOPE,
        )
    }
}
