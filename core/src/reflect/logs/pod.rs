//! What a follower has to know of a pod.

use serde::Deserialize;

use crate::meta::{MetaView, ObjectMeta};
use crate::resource::{HasLogs, Object};

/// The few fields of a pod that tell whether more log is to come.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodFacts {
    metadata: ObjectMeta,
    #[serde(deserialize_with = "crate::meta::null_default")]
    spec: Spec,
    #[serde(deserialize_with = "crate::meta::null_default")]
    status: PodStatus,
}

impl Object for PodFacts {
    fn meta(&self) -> MetaView<'_> {
        MetaView::from(&self.metadata)
    }
}

impl HasLogs for PodFacts {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    restart_policy: Option<String>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "crate::meta::null_default")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    restart_count: u64,
    #[serde(deserialize_with = "crate::meta::null_default")]
    state: State,
    #[serde(deserialize_with = "crate::meta::null_default")]
    last_state: State,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct State {
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
}

/// Where one container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It never ran, so there is no log.
    NotYet,
    /// It runs, or ran and may run again.
    Lives { restarts: u64, running: bool },
    /// It ended and will not run again.
    Over {
        restarts: u64,
        exit_code: Option<i32>,
    },
    /// The pod has no such container.
    Missing,
}

impl PodFacts {
    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref()
    }

    /// The container that is meant if none is named, as kubectl takes it.
    pub(super) fn default_container(&self) -> Option<&str> {
        let annotated = self
            .metadata
            .annotations
            .get("kubectl.kubernetes.io/default-container");
        let first = self.spec.containers.first().map(|first| &first.name);
        annotated.or(first).map(String::as_str)
    }

    pub(super) fn stage(&self, container: &str) -> Stage {
        let spec = &self.spec;
        let named = |list: &[Container]| {
            list.iter()
                .find(|found| found.name == container)
                .map(|found| found.restart_policy.clone())
        };
        // A container ends by its own policy, or by its sort, or by that of the pod.
        let policy = if let Some(policy) = named(&spec.containers) {
            policy.or_else(|| spec.restart_policy.clone())
        } else if let Some(policy) = named(&spec.init_containers) {
            // An init container is repeated until it succeeds, unless the pod is never to be restarted.
            policy.or_else(|| match spec.restart_policy.as_deref() {
                Some("Never") => Some("Never".to_owned()),
                _ => Some("OnFailure".to_owned()),
            })
        } else if named(&spec.ephemeral_containers).is_some() {
            Some("Never".to_owned())
        } else {
            return Stage::Missing;
        };
        let pod_over = matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let status = &self.status;
        let found = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ]
        .into_iter()
        .flatten()
        .find(|found| found.name == container);
        let Some(found) = found else {
            return if pod_over {
                Stage::Over {
                    restarts: 0,
                    exit_code: None,
                }
            } else {
                Stage::NotYet
            };
        };
        let restarts = found.restart_count;
        if found.state.running.is_some() {
            return Stage::Lives {
                restarts,
                running: true,
            };
        }
        let Some(ended) = &found.state.terminated else {
            return if pod_over {
                Stage::Over {
                    restarts,
                    exit_code: found
                        .last_state
                        .terminated
                        .as_ref()
                        .map(|ended| ended.exit_code),
                }
            } else if found.last_state.terminated.is_some() {
                Stage::Lives {
                    restarts,
                    running: false,
                }
            } else {
                Stage::NotYet
            };
        };
        let again = match policy.as_deref() {
            Some("Never") => false,
            Some("OnFailure") => ended.exit_code != 0,
            _ => true,
        };
        let leaving = self.metadata.deletion_timestamp.is_some();
        if pod_over || leaving || !again {
            Stage::Over {
                restarts,
                exit_code: Some(ended.exit_code),
            }
        } else {
            Stage::Lives {
                restarts,
                running: false,
            }
        }
    }
}
