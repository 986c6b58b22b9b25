//! Which kinds have which subresources, for the compiler.

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub trait $name {}
        impl $name for super::Dynamic {}
    )*};
}

markers! {
    /// Kinds with a `status` subresource.
    HasStatus;
    /// Kinds with a `scale` subresource.
    HasScale;
    /// Kinds with a `log` subresource: pods.
    HasLogs;
    /// Kinds with an `exec` subresource: pods.
    HasExec;
    /// Kinds with an `attach` subresource: pods.
    HasAttach;
    /// Kinds with a `portforward` subresource: pods.
    HasPortForward;
    /// Kinds with an `eviction` subresource: pods.
    HasEviction;
    /// Kinds with an `ephemeralcontainers` subresource: pods.
    HasEphemeralContainers;
    /// Kinds with a `resize` subresource: pods.
    HasResize;
    /// Kinds with a `binding` subresource: pods.
    HasBinding;
    /// Kinds with a `token` subresource: service accounts.
    HasToken;
    /// Kinds with an `approval` subresource: certificate signing requests.
    HasApproval;
    /// Kinds with a `finalize` subresource: namespaces.
    HasFinalize;
    /// Kinds with a `proxy` subresource: pods, services, nodes.
    HasProxy;
}

#[cfg(feature = "k8s-openapi")]
mod k8s {
    #[allow(clippy::wildcard_imports, reason = "a table")]
    use super::*;
    use k8s_openapi::api::networking::v1 as networking;
    use k8s_openapi::api::{
        admissionregistration::v1 as admission, apps::v1 as apps,
        autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling, batch::v1 as batch,
        certificates::v1 as certificates, core::v1 as core, flowcontrol::v1 as flowcontrol,
        policy::v1 as policy, storage::v1 as storage,
    };
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
    use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

    macro_rules! table {
        ($($marker:ident: $($type:ty),*;)*) => {$($(impl $marker for $type {})*)*};
    }

    table! {
        HasStatus: core::Namespace, core::Node, core::PersistentVolume, core::PersistentVolumeClaim,
            core::Pod, core::ReplicationController, core::ResourceQuota, core::Service,
            apps::DaemonSet, apps::Deployment, apps::ReplicaSet, apps::StatefulSet,
            batch::CronJob, batch::Job, autoscaling::HorizontalPodAutoscaler,
            policy::PodDisruptionBudget, networking::Ingress, networking::ServiceCIDR,
            apiextensions::CustomResourceDefinition, apiregistration::APIService, autoscaling_v1::HorizontalPodAutoscaler,
            certificates::CertificateSigningRequest, storage::VolumeAttachment,
            admission::ValidatingAdmissionPolicy, flowcontrol::FlowSchema, flowcontrol::PriorityLevelConfiguration;
        HasScale: core::ReplicationController, apps::Deployment, apps::ReplicaSet, apps::StatefulSet;
        HasLogs: core::Pod;
        HasExec: core::Pod;
        HasAttach: core::Pod;
        HasPortForward: core::Pod;
        HasEviction: core::Pod;
        HasEphemeralContainers: core::Pod;
        HasResize: core::Pod;
        HasBinding: core::Pod;
        HasToken: core::ServiceAccount;
        HasApproval: certificates::CertificateSigningRequest;
        HasFinalize: core::Namespace;
        HasProxy: core::Pod, core::Service, core::Node;
    }

    k8s_openapi::k8s_if_ge_1_34! {
        impl HasStatus for k8s_openapi::api::resource::v1::ResourceClaim {}
    }
}
