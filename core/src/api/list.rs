//! Listing a collection.

use std::marker::PhantomData;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request};

use super::path::Target;
use super::query::Query;
use super::{Api, request};
use crate::Error;
use crate::call::{Call, Operation, Verb};
use crate::resource::{ApiResource, Object};
use crate::stream::{Collect, Items};

/// How a `resourceVersion` is meant in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VersionMatch {
    /// The state at exactly this version.
    Exact,
    /// This version or a newer one.
    NotOlderThan,
}

impl VersionMatch {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::NotOlderThan => "NotOlderThan",
        }
    }
}

/// What a list asks for; enough to ask for its next page.
#[derive(Clone)]
pub(crate) struct ListRequest {
    path: String,
    accept: HeaderValue,
    labels: Option<String>,
    fields: Option<String>,
    limit: Option<u32>,
    timeout_seconds: Option<u32>,
}

impl ListRequest {
    fn query(&self) -> Query {
        let mut query = Query::new(self.path.clone());
        query.some("labelSelector", self.labels.as_deref());
        query.some("fieldSelector", self.fields.as_deref());
        query.number("limit", self.limit.map(i64::from));
        query.number("timeoutSeconds", self.timeout_seconds.map(i64::from));
        query
    }

    /// The next page: the same selectors and limit, and no version, which the token implies.
    pub(crate) fn next_page(&self, token: &str) -> Result<Request<Bytes>, Error> {
        let mut query = self.query();
        query.pair("continue", token);
        request(Method::GET, query.finish(), self.accept.clone(), None)
    }
}

/// Lists a collection: one page, collected. See [`Api::list`]; [`items`](Self::items) streams all pages.
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListObjects<K> {
    pub(super) target: Target,
    resource: ApiResource,
    accept: HeaderValue,
    labels: Option<String>,
    fields: Option<String>,
    limit: Option<u32>,
    continue_token: Option<String>,
    resource_version: Option<String>,
    version_match: Option<VersionMatch>,
    timeout_seconds: Option<u32>,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    /// Lists the collection.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
    /// let call = pods.list().fields("spec.nodeName=n1").limit(50).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&limit=50");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn list(&self) -> ListObjects<K> {
        ListObjects {
            target: Target::collection(&self.resource, &self.namespace),
            resource: self.resource.clone(),
            accept: self.view.accept_list(),
            labels: None,
            fields: None,
            limit: None,
            continue_token: None,
            resource_version: None,
            version_match: None,
            timeout_seconds: None,
            object: PhantomData,
        }
    }
}

impl<K: Object> ListObjects<K> {
    /// Only objects whose labels match (`app=web,tier in (a,b),!old`).
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only objects whose fields match (`metadata.name=x`). Which fields there are depends on the kind.
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// At most this many objects a page. Servers ignore it together with `resource_version("0")`,
    /// so that combination is refused.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Goes on after a page, with the token of its [`ListMeta`](crate::meta::ListMeta). The other
    /// options must be the same as for that page, without versions.
    pub fn continue_token(mut self, token: impl Into<String>) -> Self {
        self.continue_token = Some(token.into());
        self
    }

    /// The version to list at; `0` takes any that the server has cached. See [`version_match`](Self::version_match).
    pub fn resource_version(mut self, version: impl Into<String>) -> Self {
        self.resource_version = Some(version.into());
        self
    }

    /// How [`resource_version`](Self::resource_version) is meant. Without it servers take it as
    /// "not older than", with a limit as "exact".
    pub fn version_match(mut self, how: VersionMatch) -> Self {
        self.version_match = Some(how);
        self
    }

    /// How long the server may take, in seconds.
    pub fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    /// Item by item, over all pages: nothing is collected.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
    /// let (_, mut exchange) = pods.list().limit(1).items().into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
    /// exchange.handle_data(r#"{"items":[{"metadata":{"name":"a"}}],"metadata":{"continue":"t"}}"#.into())?;
    /// assert_eq!(exchange.poll_item()?.unwrap().metadata.name.as_deref(), Some("a"));
    /// exchange.handle_end(End::Clean)?;
    /// let next = exchange.follow_up().unwrap();
    /// assert_eq!(next.request().uri(), "/api/v1/pods?limit=1&continue=t");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn items(self) -> ListItems<K> {
        ListItems(self)
    }

    fn build(
        self,
        namespace: Option<&str>,
    ) -> Result<(Request<Bytes>, ApiResource, ListRequest), Error> {
        let version = self
            .resource_version
            .as_deref()
            .filter(|version| !version.is_empty());
        let fault = if self.version_match.is_some() && version.is_none() {
            Some("version_match needs a resource_version")
        } else if self.version_match == Some(VersionMatch::Exact) && version == Some("0") {
            Some("version_match(Exact) and resource_version(\"0\") contradict each other")
        } else if self.continue_token.is_some() && version.is_some_and(|version| version != "0") {
            Some(
                "continue_token and resource_version exclude each other: the token implies the version",
            )
        } else if self.continue_token.is_some() && self.version_match.is_some() {
            Some(
                "continue_token and version_match exclude each other: the token implies the version",
            )
        } else if self.limit.is_some_and(|limit| limit > 0) && version == Some("0") {
            Some(
                "limit is ignored by servers together with resource_version(\"0\"): leave one of them out",
            )
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(Error::usage(fault));
        }
        let pages = ListRequest {
            path: self.target.resolve(namespace)?,
            accept: self.accept,
            labels: self.labels,
            fields: self.fields,
            limit: self.limit,
            timeout_seconds: self.timeout_seconds,
        };
        let mut query = pages.query();
        query.some("continue", self.continue_token.as_deref());
        query.some("resourceVersion", self.resource_version.as_deref());
        query.some(
            "resourceVersionMatch",
            self.version_match.map(VersionMatch::as_str),
        );
        let request = request(Method::GET, query.finish(), pages.accept.clone(), None)?;
        Ok((request, self.resource, pages))
    }
}

impl<K: Object> Operation for ListObjects<K> {
    type Decoder = Collect<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Collect<K>>, Error> {
        let (request, resource, _) = self.build(namespace)?;
        Ok(Call::new(Verb::List, request, Collect::new(resource)))
    }
}

/// Lists a collection item by item. See [`ListObjects::items`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListItems<K>(pub(super) ListObjects<K>);

impl<K: Object> Operation for ListItems<K> {
    type Decoder = Items<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Items<K>>, Error> {
        let (request, resource, pages) = self.0.build(namespace)?;
        Ok(Call::new(Verb::List, request, Items::new(resource, pages)))
    }
}
