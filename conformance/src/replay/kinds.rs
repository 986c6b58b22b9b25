//! Which resources there are: from recorded aggregated discovery, else from the bodies.

use std::collections::BTreeMap;

use kubewire::{ApiResource, Scope};
use serde_json::Value;

use super::transcript::{Body, Transcript};

/// Resources by group, version and plural.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    known: BTreeMap<(String, String, String), (String, Scope)>,
}

impl Kinds {
    /// Learns from a transcript, if it is an answer of aggregated discovery.
    pub(super) fn learn(&mut self, transcript: &Transcript) {
        let Some(response) = &transcript.response else {
            return;
        };
        let Ok(chunks) = response.chunks() else {
            return;
        };
        let Ok(body) = serde_json::from_slice::<Value>(&chunks.concat()) else {
            return;
        };
        if body["kind"] != "APIGroupDiscoveryList" {
            return;
        }
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for group in list(&body["items"]) {
            for version in list(&group["versions"]) {
                for resource in list(&version["resources"]) {
                    let scope = match resource["scope"].as_str() {
                        Some("Cluster") => Scope::Cluster,
                        _ => Scope::Namespaced,
                    };
                    self.known.insert(
                        (
                            text(&group["metadata"]["name"]),
                            text(&version["version"]),
                            text(&resource["resource"]),
                        ),
                        (text(&resource["responseKind"]["kind"]), scope),
                    );
                }
            }
        }
    }

    /// How many resources are known.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The resource of a path. What discovery does not know takes its kind from the bodies, and its
    /// scope from the path.
    #[must_use]
    pub(super) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespaced_path: bool,
        transcript: &Transcript,
    ) -> ApiResource {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        let (kind, scope) = self.known.get(&key).cloned().unwrap_or_else(|| {
            let kind = kind_of_bodies(transcript).unwrap_or_else(|| "Unknown".to_owned());
            let scope = if namespaced_path {
                Scope::Namespaced
            } else {
                Scope::Cluster
            };
            (kind, scope)
        });
        let (group, version, plural) = key;
        ApiResource::discovered(group, version, kind, plural, scope)
    }
}

fn kind_of_bodies(transcript: &Transcript) -> Option<String> {
    let answer = transcript.response.as_ref()?.chunks().ok()?.concat();
    // The first value only: a watch has many.
    let first = serde_json::Deserializer::from_slice(&answer)
        .into_iter::<Value>()
        .next()
        .and_then(Result::ok);
    let asked = transcript.request.as_ref()?.body().ok();
    let asked = match asked {
        Some(Body::Bytes(bytes)) => serde_json::from_slice::<Value>(&bytes).ok(),
        Some(Body::Omitted) | None => None,
    };
    first.into_iter().chain(asked).find_map(|body| {
        let object = body.get("object").unwrap_or(&body);
        let kind = object["kind"].as_str()?;
        let kind = if object["items"].is_null() {
            kind
        } else {
            kind.strip_suffix("List").unwrap_or(kind)
        };
        let other = [
            "Status",
            "Table",
            "Scale",
            "PartialObjectMetadata",
            "DeleteOptions",
        ];
        (!kind.is_empty() && !other.contains(&kind)).then(|| kind.to_owned())
    })
}
