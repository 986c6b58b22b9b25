//! Watching a collection.

use std::marker::PhantomData;

use http::Method;
use http::header::HeaderValue;

use super::Api;
use super::common::request_options;
use super::list_options::{ListOptions, selector_options};
use super::path::Target;
use super::table::IncludeObject;
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
    options: ListOptions,
    bookmarks: bool,
    send_initial_events: Option<bool>,
    without_managed_fields: bool,
    pub(super) include_object: Option<IncludeObject>,
    object: PhantomData<fn() -> K>,
}

request_options! { WatchObjects<K>; }
selector_options! { WatchObjects<K>: options; }

impl<K: Object> Api<K> {
    /// Watches the collection for changes, until the server ends it (after 30 to 60 minutes, or
    /// [`timeout_seconds`](WatchObjects::timeout_seconds)).
    ///
    /// To watch one object, select it: `.fields("metadata.name=x")`. An object that stops matching a selector is reported
    /// as deleted.
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
            options: ListOptions::default(),
            bookmarks: false,
            send_initial_events: None,
            without_managed_fields: false,
            include_object: None,
            object: PhantomData,
        }
    }
}

impl<K> WatchObjects<K> {
    /// Changes after this version: that of a list, a bookmark or an event. Without it (or with `0`)
    /// the watch begins with an `Added` event for every object there is.
    pub fn resource_version(mut self, version: impl Into<String>) -> Self {
        self.options.resource_version = Some(version.into());
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
        self.options.timeout_seconds = Some(seconds);
        self
    }
}

impl<K: Object> WatchObjects<K> {
    /// Cuts `metadata.managedFields` out of every object before it is decoded: about half of the work for usual
    /// objects.
    pub fn without_managed_fields(mut self) -> Self {
        self.without_managed_fields = true;
        self
    }
}

impl<K: Object> Operation for WatchObjects<K> {
    type Decoder = Watch<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Watch<K>>, Error> {
        let options = &self.options;
        if self.bookmarks && self.include_object == Some(IncludeObject::None) {
            return Err(Error::usage(
                "bookmarks and include_object(None) exclude each other: a bookmark of a table is its row's object",
            ));
        }
        let mut query = self.target.query(namespace)?;
        query.flag("watch", true);
        query.some("labelSelector", options.labels.as_deref());
        query.some("fieldSelector", options.fields.as_deref());
        query.some("shardSelector", options.shards.as_deref());
        query.some("resourceVersion", options.resource_version.as_deref());
        query.flag("allowWatchBookmarks", self.bookmarks);
        if let Some(send) = self.send_initial_events {
            query.pair("sendInitialEvents", if send { "true" } else { "false" });
            query.pair("resourceVersionMatch", "NotOlderThan");
        }
        query.some(
            "includeObject",
            self.include_object.map(IncludeObject::as_str),
        );
        query.number("timeoutSeconds", options.timeout_seconds.map(i64::from));
        let request = query.request(Method::GET, Some(self.accept), None)?;
        let mut decoder = Watch::new(self.resource);
        decoder.skip_managed_fields(self.without_managed_fields);
        Ok(Call::new(Verb::Watch, request, decoder))
    }
}
