//! Watching a collection.

use std::marker::PhantomData;

use http::Method;
use http::header::HeaderValue;

use super::path::Target;
use super::query::Query;
use super::{Api, request};
use crate::Error;
use crate::call::{Call, Operation, Verb};
use crate::resource::{ApiResource, Object};
use crate::stream::Watch;

/// Watches a collection. See [`Api::watch`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct WatchObjects<K> {
    pub(super) target: Target,
    resource: ApiResource,
    accept: HeaderValue,
    labels: Option<String>,
    fields: Option<String>,
    resource_version: Option<String>,
    bookmarks: bool,
    send_initial_events: Option<bool>,
    timeout_seconds: Option<u32>,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    /// Watches the collection for changes, until the server ends it (after 30 to 60 minutes, or
    /// [`timeout_seconds`](WatchObjects::timeout_seconds)).
    ///
    /// To watch one object, select it: `.fields("metadata.name=x")`.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let call = pods.watch().resource_version("123").bookmarks(true).into_call()?;
    /// assert_eq!(
    ///     call.request().uri(),
    ///     "/api/v1/namespaces/default/pods?watch=true&resourceVersion=123&allowWatchBookmarks=true"
    /// );
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn watch(&self) -> WatchObjects<K> {
        WatchObjects {
            target: Target::collection(&self.resource, &self.namespace),
            resource: self.resource.clone(),
            accept: self.view.accept_object(),
            labels: None,
            fields: None,
            resource_version: None,
            bookmarks: false,
            send_initial_events: None,
            timeout_seconds: None,
            object: PhantomData,
        }
    }
}

impl<K> WatchObjects<K> {
    /// Only objects whose labels match. An object that stops matching is reported as deleted.
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only objects whose fields match.
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Changes after this version: that of a list, a bookmark or an event. Without it (or with `0`)
    /// the watch begins with an `Added` event for every object there is.
    pub fn resource_version(mut self, version: impl Into<String>) -> Self {
        self.resource_version = Some(version.into());
        self
    }

    /// Asks for [`Bookmark`](crate::stream::Bookmark)s, about one a minute.
    pub fn bookmarks(mut self, allow: bool) -> Self {
        self.bookmarks = allow;
        self
    }

    /// `true` begins with the whole collection, which a bookmark ends (a *streaming list*, KEP-3157;
    /// servers without it answer 422); `false` sends changes only. Sends
    /// `resourceVersionMatch=NotOlderThan`, which the server demands with it.
    pub fn send_initial_events(mut self, send: bool) -> Self {
        self.send_initial_events = Some(send);
        self
    }

    /// When the server is to end the watch, in seconds.
    pub fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }
}

impl<K: Object> Operation for WatchObjects<K> {
    type Decoder = Watch<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Watch<K>>, Error> {
        let mut query = Query::new(self.target.resolve(namespace)?);
        query.flag("watch", true);
        query.some("labelSelector", self.labels.as_deref());
        query.some("fieldSelector", self.fields.as_deref());
        query.some("resourceVersion", self.resource_version.as_deref());
        query.flag("allowWatchBookmarks", self.bookmarks);
        if let Some(send) = self.send_initial_events {
            query.pair("sendInitialEvents", if send { "true" } else { "false" });
            query.pair("resourceVersionMatch", "NotOlderThan");
        }
        query.number("timeoutSeconds", self.timeout_seconds.map(i64::from));
        let request = request(Method::GET, query.finish(), self.accept, None)?;
        Ok(Call::new(Verb::Watch, request, Watch::new(self.resource)))
    }
}
