//! What a cluster serves: groups, versions, resources; its version and its health.
//!
//! [`Discover`] asks, [`Discovery`] is the answer. Asking takes two requests on servers of Kubernetes 1.30 or later; older
//! ones, and those that do not aggregate, are asked for each group version.
//!
//! ```
//! use kubewire::discovery::Discover;
//! use kubewire::{End, Limits, Verb};
//!
//! # fn answer_of(path: &str) -> (&'static str, &'static str) {
//! #     let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
//! #     if path == "/api" { return (v2, r#"{"items":[]}"#) }
//! #     (v2, r#"{"items":[{"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
//! #       {"resource":"deployments","responseKind":{"group":"","version":"","kind":"Deployment"},
//! #        "scope":"Namespaced","singularResource":"deployment","shortNames":["deploy"],"verbs":["get","list"]}]}]}]}"#)
//! # }
//! let mut discover = Discover::new();
//! while let Some(want) = discover.poll_want() {
//!     // A client would send it: client.send(want.call).await
//!     let (request, mut exchange) = want.call.begin(&Limits::default());
//!     let (content_type, body) = answer_of(request.uri().path());
//!     let head = http::Response::builder().header("content-type", content_type).body(()).unwrap();
//!     exchange.handle_head(&head.into_parts().0)?;
//!     exchange.handle_data(body.into())?;
//!     exchange.handle_end(End::Clean)?;
//!     let answer = exchange.poll_item().map(|answer| answer.unwrap());
//!     discover.handle_answer(want.id, answer);
//! }
//! let discovery = discover.finish()?;
//! let deployments = discovery.resolve("deploy").unwrap();
//! assert_eq!(deployments.resource().plural(), "deployments");
//! assert!(deployments.has_verb("list") && !deployments.has_verb("watch"));
//! # Ok::<(), kubewire::Error>(())
//! ```

mod document;
mod run;
mod server;

use std::fmt;

pub use document::{DiscoveryAnswer, DiscoveryDecoder};
pub use run::{Discover, DiscoveryWant};
pub use server::{Health, HealthCheck, HealthDecoder, HealthReport, ServerVersion, VersionInfo};

use crate::{ApiResource, Error};

/// What a cluster serves, in the server's order of preference. Plain data: it can be kept, and brought up to date with
/// [`Discover::refresh`].
///
/// ```
/// let nothing = kubewire::discovery::Discovery::default();
/// assert!(nothing.resolve("pods").is_none());
/// assert_eq!(nothing.resources().count(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    core: Root,
    groups: Root,
    failures: Vec<DiscoveryFailure>,
}

/// What `/api` or `/apis` serves.
#[derive(Clone, Debug, Default)]
struct Root {
    etag: Option<String>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Clone, Debug, Default)]
struct Version {
    name: String,
    stale: bool,
    resources: Vec<DiscoveredResource>,
}

/// A part of the API that could not be read. The others are not affected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiscoveryFailure {
    /// What it is: `/api`, `/apis`, or a group and version such as `metrics.k8s.io/v1beta1`.
    pub what: String,
    /// Why. None if the server itself could not reach the aggregated API behind it (`Stale`).
    pub error: Option<Error>,
}

/// A resource that the cluster serves.
#[derive(Clone, PartialEq, Eq)]
pub struct DiscoveredResource {
    resource: ApiResource,
    singular: String,
    short_names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
    subresources: Vec<DiscoveredSubresource>,
}

/// A subresource of a [`DiscoveredResource`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveredSubresource {
    /// The name, such as `scale`.
    pub name: String,
    /// The kind of its answers, such as `Scale`; empty if the server does not tell.
    pub kind: String,
    /// `group/version` of the kind, such as `autoscaling/v1`.
    pub api_version: String,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl Discovery {
    /// Finds a resource by what people call it: plural (`deployments`), singular (`deployment`), kind (`Deployment`) or
    /// short name (`deploy`), with or without group (`deployments.apps`) or version and group (`deployments.v1.apps`).
    ///
    /// Where several fit, plurals come before singulars, kinds and short names, the core group before others in the
    /// server's order, and the preferred version of a group before its others. That nothing is found says little as long
    /// as there are [`failures`](Self::failures).
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&DiscoveredResource> {
        let (name, place) = match name.split_once('.') {
            Some((name, place)) => (name, Some(place)),
            None => (name, None),
        };
        let in_group = |group: &str, version: &str| match place {
            None => true,
            Some(place) if place == group => true,
            // `v1.apps`, or `v1.` for the core group.
            Some(place) => place.split_once('.') == Some((version, group)),
        };
        if name.is_empty() {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        let tests: [&dyn Fn(&DiscoveredResource) -> bool; 4] = [
            &|found| found.resource.plural() == lower,
            &|found| found.singular == lower,
            &|found| found.resource.kind().eq_ignore_ascii_case(name),
            &|found| found.short_names.contains(&lower),
        ];
        tests.iter().find_map(|test| {
            self.resources().find(|found| {
                in_group(found.resource.group(), found.resource.version()) && test(found)
            })
        })
    }

    /// Finds the resource of an object by its `apiVersion` and `kind`.
    #[must_use]
    pub fn find(&self, api_version: &str, kind: &str) -> Option<&DiscoveredResource> {
        self.resources().find(|found| {
            found.resource.kind() == kind && found.resource.api_version() == api_version
        })
    }

    /// All resources, of all versions, the preferred ones first.
    pub fn resources(&self) -> impl Iterator<Item = &DiscoveredResource> {
        self.versions().flat_map(|(_, version)| &version.resources)
    }

    /// Groups and their versions, the preferred version first. The core group is empty.
    pub fn group_versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.versions()
            .map(|(group, version)| (group, version.name.as_str()))
    }

    /// The parts that could not be read, or only in an old state.
    #[must_use]
    pub fn failures(&self) -> &[DiscoveryFailure] {
        &self.failures
    }

    fn versions(&self) -> impl Iterator<Item = (&str, &Version)> {
        let groups = self.core.groups.iter().chain(&self.groups.groups);
        groups.flat_map(|group| {
            group
                .versions
                .iter()
                .map(|version| (group.name.as_str(), version))
        })
    }
}

impl Root {
    fn version(&self, group: &str, version: &str) -> Option<&Version> {
        let group = self.groups.iter().find(|known| known.name == group)?;
        group.versions.iter().find(|known| known.name == version)
    }
}

impl DiscoveredResource {
    /// The resource, for [`Api::dynamic`](crate::Api::dynamic).
    #[must_use]
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// The singular name; may be empty.
    #[must_use]
    pub fn singular(&self) -> &str {
        &self.singular
    }

    /// Abbreviations.
    #[must_use]
    pub fn short_names(&self) -> &[String] {
        &self.short_names
    }

    /// The groupings that it belongs to, such as `all`.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// What can be done with it, in the words of Kubernetes' authorization.
    #[must_use]
    pub fn verbs(&self) -> &[String] {
        &self.verbs
    }

    /// Whether this can be done with it.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Its subresources.
    #[must_use]
    pub fn subresources(&self) -> &[DiscoveredSubresource] {
        &self.subresources
    }

    /// One of its subresources.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&DiscoveredSubresource> {
        self.subresources.iter().find(|known| known.name == name)
    }
}

impl fmt::Debug for DiscoveredResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.resource)
    }
}

/// `group/version`, or the version alone.
fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
