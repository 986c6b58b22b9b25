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
}

#[cfg(feature = "k8s-openapi")]
mod k8s {
    #[allow(clippy::wildcard_imports, reason = "a table")]
    use super::*;
    use k8s_openapi::api::networking::v1 as networking;
    use k8s_openapi::api::{
        apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core,
        policy::v1 as policy,
    };
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;

    macro_rules! table {
        ($($marker:ident: $($type:ty),*;)*) => {$($(impl $marker for $type {})*)*};
    }

    table! {
        HasStatus: core::Namespace, core::Node, core::PersistentVolume, core::PersistentVolumeClaim,
            core::Pod, core::ReplicationController, core::ResourceQuota, core::Service,
            apps::DaemonSet, apps::Deployment, apps::ReplicaSet, apps::StatefulSet,
            batch::CronJob, batch::Job, autoscaling::HorizontalPodAutoscaler,
            policy::PodDisruptionBudget, networking::Ingress, apiextensions::CustomResourceDefinition;
        HasScale: core::ReplicationController, apps::Deployment, apps::ReplicaSet, apps::StatefulSet;
        HasLogs: core::Pod;
        HasExec: core::Pod;
        HasAttach: core::Pod;
        HasPortForward: core::Pod;
        HasEviction: core::Pod;
        HasEphemeralContainers: core::Pod;
        HasResize: core::Pod;
    }
}
