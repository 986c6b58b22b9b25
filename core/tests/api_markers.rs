//! The types of `k8s-openapi` have the subresources that the recorded server announces, no fewer and no more.

#![cfg(feature = "k8s-openapi")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
    autoscaling::v2 as autoscaling_v2, batch::v1 as batch, certificates::v1 as certificates,
    core::v1 as core, flowcontrol::v1 as flowcontrol, networking::v1 as networking,
    policy::v1 as policy, resource::v1 as resource, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use kubewire::{
    HasApproval, HasAttach, HasBinding, HasEphemeralContainers, HasEviction, HasExec, HasFinalize,
    HasLogs, HasPortForward, HasProxy, HasResize, HasScale, HasStatus, HasToken, Resource,
};

/// Compiles only if the type has the marker; notes which subresource that is.
fn note<K: Resource>(found: &mut BTreeSet<String>, subresource: &str) {
    found.insert(format!("{:?}/{subresource}", K::api_resource()));
}

macro_rules! markers {
    ($found:ident: $($marker:ident $name:literal: $($kind:ty),*;)*) => {$(
        {
            fn has<K: Resource + $marker>(found: &mut BTreeSet<String>) {
                note::<K>(found, $name);
            }
            $(has::<$kind>(&mut $found);)*
        }
    )*};
}

fn typed() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    markers! { found:
        HasStatus "status": core::Namespace, core::Node, core::PersistentVolume, core::PersistentVolumeClaim,
            core::Pod, core::ReplicationController, core::ResourceQuota, core::Service,
            apps::DaemonSet, apps::Deployment, apps::ReplicaSet, apps::StatefulSet, batch::CronJob, batch::Job,
            autoscaling_v1::HorizontalPodAutoscaler, autoscaling_v2::HorizontalPodAutoscaler,
            certificates::CertificateSigningRequest, networking::Ingress, networking::ServiceCIDR,
            policy::PodDisruptionBudget, storage::VolumeAttachment, admission::ValidatingAdmissionPolicy,
            apiextensions::CustomResourceDefinition, apiregistration::APIService, resource::ResourceClaim,
            flowcontrol::FlowSchema, flowcontrol::PriorityLevelConfiguration;
        HasScale "scale": core::ReplicationController, apps::Deployment, apps::ReplicaSet, apps::StatefulSet;
        HasLogs "log": core::Pod;
        HasExec "exec": core::Pod;
        HasAttach "attach": core::Pod;
        HasPortForward "portforward": core::Pod;
        HasEviction "eviction": core::Pod;
        HasEphemeralContainers "ephemeralcontainers": core::Pod;
        HasResize "resize": core::Pod;
        HasBinding "binding": core::Pod;
        HasToken "token": core::ServiceAccount;
        HasApproval "approval": certificates::CertificateSigningRequest;
        HasFinalize "finalize": core::Namespace;
        HasProxy "proxy": core::Pod, core::Service, core::Node;
    }
    found
}

fn announced() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in ["api", "apis"] {
        let file = format!(
            "{}/tests/data/discovery-aggregated-{name}-v2.json",
            env!("CARGO_MANIFEST_DIR")
        );
        #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
        let text = std::fs::read_to_string(file).unwrap();
        let transcript: serde_json::Value = serde_json::from_str(&text).unwrap();
        let chunks = transcript["response"]["chunks"].as_array().unwrap().iter();
        let body: String = chunks
            .map(|chunk| chunk["text"].as_str().unwrap())
            .collect();
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        for group in document["items"].as_array().unwrap() {
            for version in group["versions"].as_array().unwrap() {
                for resource in version["resources"].as_array().unwrap() {
                    for sub in resource["subresources"].as_array().into_iter().flatten() {
                        let text = |value: &serde_json::Value| {
                            value.as_str().unwrap_or_default().to_owned()
                        };
                        found.insert(format!(
                            "{}.{}.{}/{}",
                            text(&resource["resource"]),
                            text(&version["version"]),
                            text(&group["metadata"]["name"]),
                            text(&sub["subresource"])
                        ));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn markers_are_those_of_the_server() {
    let (typed, announced) = (typed(), announced());
    println!("{} subresources of typed kinds", typed.len());
    assert_eq!(typed, announced);
}
