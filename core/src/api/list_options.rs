//! The options of everything that selects objects of a collection.

use super::query::Query;
use crate::Error;

/// How a `resourceVersion` is meant in a list.
///
/// ```
/// use kubewire::{Api, ApiResource, Operation, VersionMatch};
/// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
/// let list = pods.list().limit(500).resource_version("7");
/// // Servers would read this as Exact, and as NotOlderThan without the limit: say what is meant.
/// assert!(list.clone().into_call().is_err());
/// assert!(list.version_match(VersionMatch::Exact).into_call().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VersionMatch {
    /// The state at exactly this version.
    Exact,
    /// This version or a newer one.
    NotOlderThan,
}

impl VersionMatch {
    fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::NotOlderThan => "NotOlderThan",
        }
    }
}

/// `ListOptions` of the API machinery, without what is for watches only.
#[derive(Clone, Default)]
pub(crate) struct ListOptions {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    pub(super) shards: Option<String>,
    pub(super) limit: Option<u32>,
    pub(super) continue_token: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) version_match: Option<VersionMatch>,
    pub(super) timeout_seconds: Option<u32>,
}

impl ListOptions {
    pub(super) fn check(&self) -> Result<(), Error> {
        let version = self
            .resource_version
            .as_deref()
            .filter(|version| !version.is_empty());
        let fault = if self.version_match.is_some() && version.is_none() {
            "version_match needs a resource_version"
        } else if self.version_match == Some(VersionMatch::Exact) && version == Some("0") {
            "version_match(Exact) and resource_version(\"0\") contradict each other"
        } else if self.continue_token.is_some() && version.is_some_and(|version| version != "0") {
            "continue_token and resource_version exclude each other: the token implies the version"
        } else if self.continue_token.is_some() && self.version_match.is_some() {
            "continue_token and version_match exclude each other: the token implies the version"
        } else if self.limit.is_some_and(|limit| limit > 0) && version == Some("0") {
            "limit is ignored by servers together with resource_version(\"0\"): leave one of them out"
        } else if self.limit.is_some_and(|limit| limit > 0)
            && version.is_some()
            && self.version_match.is_none()
        {
            "limit and resource_version together mean Exact to servers, each alone does not: add version_match"
        } else {
            return Ok(());
        };
        Err(Error::usage(fault))
    }

    /// Whether nothing narrows the selection.
    pub(super) fn selects_all(&self) -> bool {
        let empty = |selector: &Option<String>| selector.as_deref().is_none_or(str::is_empty);
        empty(&self.labels) && empty(&self.fields) && empty(&self.shards)
    }

    pub(super) fn append(&self, query: &mut Query) {
        self.append_selection(query);
        query.some("continue", self.continue_token.as_deref());
        query.some("resourceVersion", self.resource_version.as_deref());
        query.some(
            "resourceVersionMatch",
            self.version_match.map(VersionMatch::as_str),
        );
    }

    /// What is the same for every page.
    pub(super) fn append_selection(&self, query: &mut Query) {
        query.some("labelSelector", self.labels.as_deref());
        query.some("fieldSelector", self.fields.as_deref());
        query.some("shardSelector", self.shards.as_deref());
        query.number("limit", self.limit.map(i64::from));
        query.number("timeoutSeconds", self.timeout_seconds.map(i64::from));
    }
}

/// Builder methods for which objects are meant.
macro_rules! selector_options {
    ($($type:ident $(<$k:ident>)?: $field:ident;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// Only objects whose labels match: text (`app=web,tier in (a,b),!old`), which the server checks, or a
            /// [`LabelSelector`](crate::LabelSelector).
            pub fn labels(mut self, selector: impl crate::IntoLabelSelector) -> Self {
                match selector.into_label_selector() {
                    Ok(text) => self.$field.labels = Some(text),
                    Err(error) => self.target.fail(error),
                }
                self
            }

            /// Only objects whose fields match (`metadata.name=x`): text or a
            /// [`FieldSelector`](crate::FieldSelector). Which fields there are depends on the kind.
            pub fn fields(mut self, selector: impl crate::IntoFieldSelector) -> Self {
                match selector.into_field_selector() {
                    Ok(text) => self.$field.fields = Some(text),
                    Err(error) => self.target.fail(error),
                }
                self
            }

            /// Only a part of the objects, by a hash
            /// (`shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')`; alpha in 1.36). A server
            /// that does not know it **sends everything**: check
            /// [`ListMeta::shard_info`](crate::meta::ListMeta::shard_info).
            pub fn shard_selector(mut self, selector: impl Into<String>) -> Self {
                self.$field.shards = Some(selector.into());
                self
            }
        }
    )*};
}

/// Builder methods of lists.
macro_rules! list_options {
    ($($type:ident $(<$k:ident>)?: $field:ident;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// At most this many objects a page; a page may have fewer, even none, and not be the last. Servers ignore it
            /// together with `resource_version("0")`, so that combination is refused.
            pub fn limit(mut self, limit: u32) -> Self {
                self.$field.limit = Some(limit);
                self
            }

            /// Goes on after a page (`continue`), with the token of its [`ListMeta`](crate::meta::ListMeta). The other
            /// options must be the same as for that page, without versions.
            pub fn continue_token(mut self, token: impl Into<String>) -> Self {
                self.$field.continue_token = Some(token.into());
                self
            }

            /// The version to list at; `0` takes any that the server has cached. With a [`limit`](Self::limit) say also
            /// how it is meant: [`version_match`](Self::version_match).
            pub fn resource_version(mut self, version: impl Into<String>) -> Self {
                self.$field.resource_version = Some(version.into());
                self
            }

            /// How [`resource_version`](Self::resource_version) is meant (`resourceVersionMatch`). Without it servers take
            /// it as "not older than".
            pub fn version_match(mut self, how: $crate::VersionMatch) -> Self {
                self.$field.version_match = Some(how);
                self
            }

            /// How long the server may take, in seconds.
            pub fn timeout_seconds(mut self, seconds: u32) -> Self {
                self.$field.timeout_seconds = Some(seconds);
                self
            }
        }
    )*};
}

pub(super) use {list_options, selector_options};
