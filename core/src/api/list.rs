//! Listing a collection.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request};

use super::Api;
use super::common::{Common, answer_options, request_options};
use super::list_options::{ListOptions, list_options, selector_options};
use super::path::Target;
use super::query::Query;
use crate::Error;
use crate::call::{Call, Operation, Verb};
use crate::resource::{ApiResource, Object};
use crate::stream::{Collect, CollectAll, Items};

/// What a list asks for: enough to ask for its next page.
#[derive(Clone)]
pub(crate) struct Pages {
    path: String,
    common: Common,
    accept: HeaderValue,
    options: ListOptions,
    /// The token that the page which is being read was asked for with.
    token: Option<String>,
}

impl Pages {
    fn first(&self) -> Result<Request<Bytes>, Error> {
        let mut query = Query::new(self.path.clone(), self.common.clone());
        self.options.append(&mut query);
        query.request(Method::GET, Some(self.accept.clone()), None)
    }

    /// The next page: the same selectors and limit, and no version, which the token implies.
    pub(crate) fn next(&self, token: &str) -> Result<(Request<Bytes>, Self), Error> {
        if self.token.as_deref() == Some(token) {
            return Err(Error::peer(
                "the list goes round in circles: its continue token repeats",
            ));
        }
        let mut query = Query::new(self.path.clone(), self.common.clone());
        self.options.append_selection(&mut query);
        query.pair("continue", token);
        let request = query
            .request(Method::GET, Some(self.accept.clone()), None)
            .map_err(|error| {
                Error::peer("the list's continue token cannot be used").with_source(error)
            })?;
        let next = Self {
            token: Some(token.to_owned()),
            ..self.clone()
        };
        Ok((request, next))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({})", self.path)
    }
}

/// Lists a collection: one page, collected. See [`Api::list`]; [`items`](Self::items) streams all pages,
/// [`all_pages`](Self::all_pages) collects them.
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListObjects<K> {
    pub(super) target: Target,
    resource: ApiResource,
    accept: HeaderValue,
    options: ListOptions,
    without_managed_fields: bool,
    object: PhantomData<fn() -> K>,
}

request_options! { ListObjects<K>; }
answer_options! { ListObjects<K>; }
selector_options! { ListObjects<K>: options; }
list_options! { ListObjects<K>: options; }

impl<K: Object> Api<K> {
    /// Lists the collection. The answer may come compressed
    /// ([`accept_gzip(false)`](ListObjects::accept_gzip) switches that off).
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
    /// let call = pods.list().fields("spec.nodeName=n1").limit(50).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&limit=50");
    /// assert_eq!(call.request().headers()["accept-encoding"], "gzip");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn list(&self) -> ListObjects<K> {
        let mut target = Target::collection(&self.resource, &self.namespace);
        target.set_gzip(true);
        ListObjects {
            target,
            resource: self.resource.clone(),
            accept: self.view.accept_list(),
            options: ListOptions::default(),
            without_managed_fields: false,
            object: PhantomData,
        }
    }
}

impl<K: Object> ListObjects<K> {
    /// Cuts `metadata.managedFields` out of every item before it is decoded: about half of the work and the memory for
    /// usual objects.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    /// let (_, mut exchange) = maps.list().without_managed_fields().into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
    /// exchange.handle_data(r#"{"items":[{"metadata":{"managedFields":[{"manager":"m"}],"name":"a"}}]}"#.into())?;
    /// exchange.handle_end(End::Clean)?;
    /// let list = exchange.poll_item()?.unwrap();
    /// assert!(list.items[0].metadata.managed_fields.is_none());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn without_managed_fields(mut self) -> Self {
        self.without_managed_fields = true;
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

    /// All pages as one [`List`](crate::stream::List). Use it with a [`limit`](Self::limit): a collection asked for without one comes as
    /// one page anyway. [`Limits::max_body`](crate::Limits::max_body) bounds all pages together.
    ///
    /// If the list takes so long that its token expires the call fails with
    /// [`is_expired`](Error::is_expired): start again, or go on inconsistently with
    /// [`Error::continue_token`].
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
    /// let mut call = pods.list().limit(1).all_pages().into_call()?;
    /// let mut pages = [
    ///     r#"{"metadata":{"continue":"t"},"items":[{"metadata":{"name":"a"}}]}"#,
    ///     r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]}"#,
    /// ].into_iter();
    /// let list = loop {
    ///     let (_, mut exchange) = call.begin(&Limits::default());
    ///     exchange.handle_head(&http::Response::new(()).into_parts().0)?;
    ///     exchange.handle_data(pages.next().unwrap().into())?;
    ///     exchange.handle_end(End::Clean)?;
    ///     if let Some(list) = exchange.poll_item()? {
    ///         break list;
    ///     }
    ///     call = exchange.follow_up().unwrap();
    /// };
    /// assert_eq!(list.items.len(), 2);
    /// assert_eq!(list.metadata.resource_version.as_deref(), Some("7"));
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn all_pages(self) -> ListAll<K> {
        ListAll(self)
    }

    fn pages(self, namespace: Option<&str>) -> Result<(Request<Bytes>, Pages), Error> {
        self.options.check()?;
        let (path, common) = self.target.resolve(namespace)?;
        let pages = Pages {
            path,
            common,
            accept: self.accept,
            token: self.options.continue_token.clone(),
            options: self.options,
        };
        Ok((pages.first()?, pages))
    }
}

impl<K: Object> Operation for ListObjects<K> {
    type Decoder = Collect<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Collect<K>>, Error> {
        self.options.check()?;
        let mut query = self.target.query(namespace)?;
        self.options.append(&mut query);
        let request = query.request(Method::GET, Some(self.accept), None)?;
        let mut decoder = Collect::new(self.resource);
        decoder.skip_managed_fields(self.without_managed_fields);
        Ok(Call::new(Verb::List, request, decoder))
    }
}

/// Lists a collection item by item. See [`ListObjects::items`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListItems<K>(pub(super) ListObjects<K>);

impl<K: Object> Operation for ListItems<K> {
    type Decoder = Items<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Items<K>>, Error> {
        let skip = self.0.without_managed_fields;
        let resource = self.0.resource.clone();
        let (request, pages) = self.0.pages(namespace)?;
        let mut decoder = Items::new(resource, pages);
        decoder.skip_managed_fields(skip);
        Ok(Call::new(Verb::List, request, decoder))
    }
}

/// Lists all pages of a collection, collected. See [`ListObjects::all_pages`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListAll<K>(pub(super) ListObjects<K>);

impl<K: Object> Operation for ListAll<K> {
    type Decoder = CollectAll<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<CollectAll<K>>, Error> {
        let skip = self.0.without_managed_fields;
        let resource = self.0.resource.clone();
        let (request, pages) = self.0.pages(namespace)?;
        let mut decoder = CollectAll::new(resource, pages);
        decoder.skip_managed_fields(skip);
        Ok(Call::new(Verb::List, request, decoder))
    }
}
