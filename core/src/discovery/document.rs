//! The documents that servers describe themselves with.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use serde::Deserialize;

use super::{DiscoveredResource, DiscoveredSubresource, Group, Version, group_version};
use crate::call::{Decode, End, Raw, Unary, decode};
use crate::meta::null_default;
use crate::{ApiResource, Error, Limits, Scope};

/// One discovery document, for [`Discover::handle_answer`](super::Discover::handle_answer).
#[derive(Clone, Debug)]
pub struct DiscoveryAnswer(pub(super) Document);

#[derive(Clone, Debug)]
pub(super) enum Document {
    /// Groups with all that is in them.
    Aggregated {
        etag: Option<String>,
        groups: Vec<Group>,
    },
    /// The versions of the core group.
    Versions(Vec<String>),
    /// The names of groups and their versions.
    Groups(Vec<(String, Vec<String>)>),
    /// What is in one version.
    Resources(Vec<DiscoveredResource>),
    /// The same as last time.
    NotModified,
}

/// Decodes a discovery document by its `Content-Type`, which is the only thing that tells whether the server aggregates.
#[derive(Clone, Default)]
pub struct DiscoveryDecoder {
    raw: Raw,
    /// Group and version that was asked for, if it was one.
    place: Option<(String, String)>,
    aggregated: bool,
    etag: Option<String>,
    /// The document did not decode; the error repeats.
    fault: Option<Error>,
}

impl DiscoveryDecoder {
    pub(super) fn of_version(group: &str, version: &str) -> Self {
        Self {
            place: Some((group.to_owned(), version.to_owned())),
            ..Self::default()
        }
    }

    fn document(&self, body: &[u8]) -> Result<Document, Error> {
        if self.aggregated {
            let list: Aggregated = decode(body)?;
            return Ok(Document::Aggregated {
                etag: self.etag.clone(),
                groups: list
                    .items
                    .into_iter()
                    .map(AggregatedGroup::into_group)
                    .collect(),
            });
        }
        if let Some((group, version)) = &self.place {
            let list: LegacyResources = decode(body)?;
            return Ok(Document::Resources(list.into_resources(group, version)));
        }
        let legacy: Legacy = decode(body)?;
        match legacy.kind.as_str() {
            "APIVersions" => Ok(Document::Versions(legacy.versions)),
            "APIGroupList" => {
                let groups = legacy.groups.into_iter().map(LegacyGroup::ordered);
                Ok(Document::Groups(groups.collect()))
            }
            _ => Err(Error::peer("the answer is no discovery document")),
        }
    }
}

impl Decode for DiscoveryDecoder {
    type Item = DiscoveryAnswer;

    fn begin(&mut self, limits: &Limits) {
        self.raw.begin(limits);
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        let text = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        let content_type = text(CONTENT_TYPE).unwrap_or_default();
        self.aggregated = content_type
            .split(';')
            .any(|part| part.trim().eq_ignore_ascii_case("as=APIGroupDiscoveryList"));
        self.etag = text(ETAG);
        self.raw.handle_head(head)
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.raw.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.raw.handle_end(end)
    }

    fn poll_item(&mut self) -> Result<Option<DiscoveryAnswer>, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(body) = self.raw.poll_item()? else {
            return Ok(None);
        };
        self.document(&body)
            .inspect_err(|error| self.fault = Some(error.clone()))
            .map(|document| Some(DiscoveryAnswer(document)))
    }

    fn has_items(&self) -> bool {
        self.raw.has_items()
    }

    fn buffered(&self) -> usize {
        self.raw.buffered()
    }

    fn recover(&mut self, failure: &Error) -> Option<DiscoveryAnswer> {
        let not_modified = failure.code() == Some(http::StatusCode::NOT_MODIFIED);
        not_modified.then_some(DiscoveryAnswer(Document::NotModified))
    }
}

impl Unary for DiscoveryDecoder {}

impl fmt::Debug for DiscoveryDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryDecoder")
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Aggregated {
    #[serde(default, deserialize_with = "null_default")]
    items: Vec<AggregatedGroup>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default, deserialize_with = "null_default")]
    metadata: Named,
    #[serde(default, deserialize_with = "null_default")]
    versions: Vec<AggregatedVersion>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "null_default")]
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default, deserialize_with = "null_default")]
    freshness: String,
    #[serde(default, deserialize_with = "null_default")]
    resources: Vec<AggregatedResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    #[serde(default, deserialize_with = "null_default")]
    response_kind: GroupVersionKind,
    #[serde(default, deserialize_with = "null_default")]
    scope: String,
    #[serde(default, deserialize_with = "null_default")]
    singular_resource: String,
    #[serde(default, deserialize_with = "null_default")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    short_names: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    categories: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    subresources: Vec<AggregatedSubresource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedSubresource {
    subresource: String,
    #[serde(default, deserialize_with = "null_default")]
    response_kind: GroupVersionKind,
    #[serde(default, deserialize_with = "null_default")]
    verbs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind {
    #[serde(deserialize_with = "null_default")]
    group: String,
    #[serde(deserialize_with = "null_default")]
    version: String,
    #[serde(deserialize_with = "null_default")]
    kind: String,
}

impl GroupVersionKind {
    /// Empty means: as the resource that this belongs to.
    fn api_version(&self, group: &str, version: &str) -> String {
        if self.group.is_empty() && self.version.is_empty() {
            group_version(group, version)
        } else {
            group_version(&self.group, &self.version)
        }
    }
}

impl AggregatedGroup {
    fn into_group(self) -> Group {
        let name = self.metadata.name;
        let versions = self
            .versions
            .into_iter()
            .map(|version| version.into_version(&name));
        Group {
            versions: versions.collect(),
            name,
        }
    }
}

impl AggregatedVersion {
    fn into_version(self, group: &str) -> Version {
        let version = self.version;
        let resources = self.resources.into_iter();
        Version {
            stale: self.freshness == "Stale",
            resources: resources
                .map(|found| found.into_resource(group, &version))
                .collect(),
            name: version,
        }
    }
}

impl AggregatedResource {
    fn into_resource(self, group: &str, version: &str) -> DiscoveredResource {
        let scope = if self.scope == "Cluster" {
            Scope::Cluster
        } else {
            Scope::Namespaced
        };
        let subresources = self
            .subresources
            .into_iter()
            .map(|found| DiscoveredSubresource {
                api_version: found.response_kind.api_version(group, version),
                name: found.subresource,
                kind: found.response_kind.kind,
                verbs: found.verbs,
            });
        DiscoveredResource {
            subresources: subresources.collect(),
            resource: ApiResource::discovered(
                group.to_owned(),
                version.to_owned(),
                self.response_kind.kind,
                self.resource,
                scope,
            ),
            singular: self.singular_resource,
            short_names: self.short_names,
            categories: self.categories,
            verbs: self.verbs,
        }
    }
}

/// `APIVersions` or `APIGroupList`.
#[derive(Deserialize)]
struct Legacy {
    #[serde(default, deserialize_with = "null_default")]
    kind: String,
    #[serde(default, deserialize_with = "null_default")]
    versions: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    groups: Vec<LegacyGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyGroup {
    name: String,
    #[serde(default, deserialize_with = "null_default")]
    versions: Vec<LegacyVersion>,
    #[serde(default)]
    preferred_version: Option<LegacyVersion>,
}

#[derive(Deserialize)]
struct LegacyVersion {
    version: String,
}

impl LegacyGroup {
    /// The preferred version comes first.
    fn ordered(self) -> (String, Vec<String>) {
        let mut versions: Vec<String> = self
            .versions
            .into_iter()
            .map(|found| found.version)
            .collect();
        if let Some(preferred) = self.preferred_version {
            versions.sort_by_key(|version| *version != preferred.version);
        }
        (self.name, versions)
    }
}

#[derive(Deserialize)]
struct LegacyResources {
    #[serde(default, deserialize_with = "null_default")]
    resources: Vec<LegacyResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyResource {
    name: String,
    #[serde(default, deserialize_with = "null_default")]
    singular_name: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(flatten)]
    kind: GroupVersionKind,
    #[serde(default, deserialize_with = "null_default")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    short_names: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    categories: Vec<String>,
}

impl LegacyResources {
    /// Subresources are entries of their own, `pods/log`.
    fn into_resources(self, group: &str, version: &str) -> Vec<DiscoveredResource> {
        let (subs, resources): (Vec<_>, Vec<_>) = self
            .resources
            .into_iter()
            .partition(|found| found.name.contains('/'));
        let mut resources: Vec<DiscoveredResource> = resources
            .into_iter()
            .map(|found| DiscoveredResource {
                resource: ApiResource::discovered(
                    group.to_owned(),
                    version.to_owned(),
                    found.kind.kind,
                    found.name,
                    if found.namespaced {
                        Scope::Namespaced
                    } else {
                        Scope::Cluster
                    },
                ),
                singular: found.singular_name,
                short_names: found.short_names,
                categories: found.categories,
                verbs: found.verbs,
                subresources: Vec::new(),
            })
            .collect();
        for sub in subs {
            let Some((parent, name)) = sub.name.split_once('/') else {
                continue;
            };
            if let Some(parent) = resources
                .iter_mut()
                .find(|found| found.resource.plural() == parent)
            {
                parent.subresources.push(DiscoveredSubresource {
                    name: name.to_owned(),
                    api_version: sub.kind.api_version(group, version),
                    kind: sub.kind.kind,
                    verbs: sub.verbs,
                });
            }
        }
        resources
    }
}
