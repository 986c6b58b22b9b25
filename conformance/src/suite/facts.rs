//! What a cluster has, found out before the scenarios run.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview};
use k8s_openapi::api::core::v1::Pod;
use kubewire::{Api, Call, Error};
use serde_json::json;

use crate::scenario::{Calls, Need, START, create_pod};

/// Why each need is not met.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    unmet: BTreeMap<Need, String>,
}

impl Facts {
    /// Why a scenario with these needs makes no sense here.
    #[must_use]
    pub fn unmet(&self, needs: &[Need]) -> Option<&str> {
        needs
            .iter()
            .find_map(|need| self.unmet.get(need))
            .map(String::as_str)
    }

    /// Finds out about each of the needs, where there is something to find out; `env` is in a namespace of its own.
    pub(super) async fn find<E: Calls>(env: &E, needs: impl IntoIterator<Item = Need>) -> Self {
        let mut facts = Self::default();
        for need in needs {
            if facts.unmet.contains_key(&need) {
                continue;
            }
            if let Some(why) = facts.why_not(env, need).await {
                facts.unmet.insert(need, why);
            }
        }
        facts
    }

    async fn why_not<E: Calls>(&self, env: &E, need: Need) -> Option<String> {
        let place = env.place();
        match need {
            Need::Embedded => place
                .server
                .is_none()
                .then(|| "needs faults and counters of the embedded server".to_owned()),
            Need::Tls => {
                (!place.config().endpoint.is_https()).then(|| "needs a server with TLS".to_owned())
            }
            Need::FastIo => None,
            Need::Node => node(env).await,
            Need::May(verb, group, resource) => match may(env, verb, group, resource).await {
                Ok(true) => None,
                Ok(false) => Some(
                    format!("needs the right to {verb} {resource} {group}")
                        .trim()
                        .to_owned(),
                ),
                Err(error) => Some(format!("cannot find out about rights: {error}")),
            },
            Need::Roles => {
                let roles = Call::raw(Method::GET, "/apis/rbac.authorization.k8s.io/v1");
                match env.send(roles).await {
                    Ok(_) => None,
                    Err(_) => Some("needs roles that count, and this server has none".to_owned()),
                }
            }
        }
    }
}

async fn may<E: Calls>(env: &E, verb: &str, group: &str, resource: &str) -> Result<bool, Error> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut review = SelfSubjectAccessReview::default();
    review.spec.resource_attributes = Some(ResourceAttributes {
        namespace: Some(env.place().namespace().to_owned()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        ..ResourceAttributes::default()
    });
    let review = env.send(Api::new().create(&review)).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

/// Runs a pod, which also fetches the image.
async fn node<E: Calls>(env: &E) -> Option<String> {
    let pod = json!({
        "metadata": {"name": "probe"},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": env.place().image(), "command": ["sh", "-c", "true"]}],
        },
    });
    let ends = async {
        create_pod(env, pod).await;
        loop {
            let pod: Pod = env.send(env.api().get("probe")).await.ok()?;
            let status = pod.status.unwrap_or_default();
            match status.phase.as_deref() {
                Some("Succeeded") => return Some(()),
                Some("Failed") => return None,
                Some(_) | None => env.pause(Duration::from_millis(100)).await,
            }
        }
    };
    match env.within(START, ends).await.flatten() {
        Some(()) => None,
        None => Some(format!(
            "needs a node that runs pods: one with image {} did not end well",
            env.place().image()
        )),
    }
}
