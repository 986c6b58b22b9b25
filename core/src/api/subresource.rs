//! Subresources that are objects.

use std::marker::PhantomData;

use http::Method;
use serde::Serialize;

use super::path::Target;
use super::{Api, Create, Get, Patch, PatchObject, Replace, View};
use crate::resource::{
    HasApproval, HasEphemeralContainers, HasFinalize, HasResize, HasScale, HasStatus, Object, Scale,
};

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
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::apps::v1::DaemonSet;
    /// kubewire::Api::<DaemonSet>::namespaced("default").scale("d");
    /// ```
    pub fn scale(&self, name: &str) -> Subresource<Scale> {
        self.sub(name, "scale")
    }
}

impl<K: HasStatus> Api<K> {
    /// The object's status: the whole object is read and written, but only its status counts.
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::ConfigMap;
    /// kubewire::Api::<ConfigMap>::namespaced("default").status("settings");
    /// ```
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Node;
    /// use kubewire::{Api, Operation, Patch};
    /// let condition = Patch::strategic(&serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    /// let call = Api::<Node>::new().status("n1").patch(condition).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/nodes/n1/status");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn status(&self, name: &str) -> Subresource<K> {
        self.sub(name, "status")
    }
}

impl<K: HasEphemeralContainers> Api<K> {
    /// The pod's ephemeral containers: the whole pod is read and written, but only
    /// `spec.ephemeralContainers` counts. They can be added, not changed or removed. Usually a
    /// [`Patch::strategic`].
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, Operation, Patch};
    /// let debug = Patch::strategic(&serde_json::json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}}));
    /// let call = Api::<Pod>::namespaced("default").ephemeral_containers("web-0").patch(debug).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods/web-0/ephemeralcontainers");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Node;
    /// kubewire::Api::<Node>::new().ephemeral_containers("n");
    /// ```
    pub fn ephemeral_containers(&self, name: &str) -> Subresource<K> {
        self.sub(name, "ephemeralcontainers")
    }
}

impl<K: HasResize> Api<K> {
    /// The resources of the pod's containers, which may change while it runs: the whole pod is read and
    /// written, but only `resources` and resize policies count. Progress shows in the conditions `PodResizePending`
    /// and `PodResizeInProgress`. Kubernetes 1.33 or later.
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Service;
    /// kubewire::Api::<Service>::namespaced("default").resize("s");
    /// ```
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, Operation, Patch};
    /// let more = Patch::strategic(&serde_json::json!(
    ///     {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "2"}}}]}}));
    /// let call = Api::<Pod>::namespaced("default").resize("web-0").patch(more).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods/web-0/resize");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn resize(&self, name: &str) -> Subresource<K> {
        self.sub(name, "resize")
    }
}

impl<K: HasApproval> Api<K> {
    /// The approval of a certificate signing request: the whole request is read and written, but only its
    /// conditions count (one of type `Approved` or `Denied` with status `True`).
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Pod;
    /// kubewire::Api::<Pod>::namespaced("default").approval("p");
    /// ```
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
    /// use kubewire::{Api, Operation};
    /// let request = CertificateSigningRequest::default(); // as it was read, with the condition added
    /// let call = Api::<CertificateSigningRequest>::new().approval("node-1").replace(&request).into_call()?;
    /// assert!(call.request().uri().path().ends_with("/certificatesigningrequests/node-1/approval"));
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn approval(&self, name: &str) -> Subresource<K> {
        self.sub(name, "approval")
    }
}

impl<K: HasFinalize> Api<K> {
    /// Replaces the finalizers of a namespace (`spec.finalizers`), so that it can go away. Whatever they
    /// waited for stays behind.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Namespace;
    /// use kubewire::{Api, Operation};
    /// let call = Api::<Namespace>::new().finalize("old", &Namespace::default()).into_call()?;
    /// assert_eq!((call.request().method().as_str(), call.request().uri().path()),
    ///     ("PUT", "/api/v1/namespaces/old/finalize"));
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Node;
    /// kubewire::Api::<Node>::new().finalize("n", &Node::default());
    /// ```
    pub fn finalize(&self, name: &str, object: &K) -> Replace<K>
    where
        K: Object + Serialize,
    {
        Replace::new(self.whole(self.object(name).sub("finalize")), object)
    }
}

impl<K> Api<K> {
    /// Any subresource of an object, also of kinds that are not known here.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Dynamic, Operation, Scope};
    /// const VMS: ApiResource =
    ///     ApiResource::new("subresources.kubevirt.io", "v1", "VirtualMachine", "virtualmachines", Scope::Namespaced);
    /// let restart = Api::dynamic(VMS).in_namespace("default").subresource("vm", "restart");
    /// let call = restart.create::<_, Dynamic>(&serde_json::json!({})).into_call()?;
    /// assert_eq!(call.request().method(), "POST");
    /// assert!(call.request().uri().path().ends_with("/virtualmachines/vm/restart"));
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn subresource(&self, name: &str, subresource: &str) -> AnySubresource {
        AnySubresource {
            target: self.whole(self.object(name)).sub(subresource),
        }
    }

    fn sub<T>(&self, name: &str, subresource: &str) -> Subresource<T> {
        Subresource {
            target: self.whole(self.object(name)).sub(subresource),
            object: PhantomData,
        }
    }
}

impl<T: Object> Subresource<T> {
    /// Reads it.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let call = pods.status("web-0").get().into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods/web-0/status");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn get(&self) -> Get<T> {
        Get::new(self.target.clone(), View::Full.accept_object())
    }

    /// Replaces it. With `metadata.resourceVersion` in the body the write is refused if the object has changed since.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Dynamic, Operation};
    /// let resource = ApiResource::core("Pod", "pods");
    /// let pod = Dynamic::new(&resource, "web-0");
    /// let pods = Api::dynamic(resource).in_namespace("default");
    /// let call = pods.status("web-0").replace(&pod).into_call()?;
    /// assert_eq!(call.request().method(), "PUT");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn replace(&self, body: &T) -> Replace<T>
    where
        T: Serialize,
    {
        Replace::new(self.target.clone(), body)
    }

    /// Patches it.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation, Patch};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let patch = Patch::merge(&serde_json::json!({"status": {"phase": "Failed"}}));
    /// let call = pods.status("web-0").patch(patch).into_call()?;
    /// assert_eq!(call.request().headers()["content-type"], "application/merge-patch+json");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn patch(&self, patch: Patch) -> PatchObject<T> {
        PatchObject::new(self.target.clone(), View::Full.accept_object(), patch)
    }
}

/// A subresource that is known by its name only. See [`Api::subresource`].
#[derive(Clone)]
#[must_use = "choose what to do with it"]
pub struct AnySubresource {
    pub(super) target: Target,
}

impl AnySubresource {
    /// Reads it.
    pub fn get<T: Object>(&self) -> Get<T> {
        Get::new(self.target.clone(), View::Full.accept_object())
    }

    /// Creates it: `POST` with a body of one kind, an answer of perhaps another.
    pub fn create<B: Serialize, T: Object>(&self, body: &B) -> Create<T> {
        Create::new(self.target.clone(), body)
    }

    /// Replaces it.
    pub fn replace<T: Object + Serialize>(&self, body: &T) -> Replace<T> {
        Replace::new(self.target.clone(), body)
    }

    /// Patches it.
    pub fn patch<T: Object>(&self, patch: Patch) -> PatchObject<T> {
        PatchObject::new(self.target.clone(), View::Full.accept_object(), patch)
    }

    /// Any request to it, with any answer: subresources need not be objects.
    pub fn request(&self, method: Method) -> super::RawOperation {
        super::RawOperation::new(method, self.target.clone())
    }
}
