//! Collections as tables, the way `kubectl get` shows them.

use http::Method;
use http::header::HeaderValue;

use super::common::{answer_options, request_options};
use super::list_options::{ListOptions, list_options, selector_options};
use super::path::Target;
use super::{Api, Get, Namespace, View, WatchObjects};
use crate::Error;
use crate::call::{Call, Json, Operation, Verb};
use crate::meta::Table;
use crate::resource::ApiResource;

/// How much of each object comes with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata. The server's default.
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Object => "Object",
        }
    }
}

/// The table view of an [`Api`]. See [`Api::table`].
///
/// ```
/// use kubewire::{Api, ApiResource, Operation};
/// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default").table();
/// let call = pods.watch().bookmarks(true).into_call()?;
/// assert_eq!(call.request().uri().query(), Some("watch=true&allowWatchBookmarks=true"));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TableApi {
    inner: Api<Table>,
}

impl<K> Api<K> {
    /// The same objects as rows of a [`Table`] that the server lays out. Get, list and watch.
    ///
    /// A server that has no tables for this kind (some aggregated APIs) answers 406, or sends the objects instead, which is
    /// an [`ErrorKind::Object`](crate::ErrorKind::Object) error.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, IncludeObject, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default").table();
    /// let call = pods.list().labels("app=web").include_object(IncludeObject::None).into_call()?;
    /// assert_eq!(
    ///     call.request().uri(),
    ///     "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb&includeObject=None"
    /// );
    /// assert_eq!(call.request().headers()["accept"], "application/json;as=Table;v=v1;g=meta.k8s.io");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    #[must_use]
    pub fn table(&self) -> TableApi {
        let mut inner = Api::of(self.resource.clone(), self.namespace.clone());
        inner.view = View::Table;
        TableApi { inner }
    }
}

impl TableApi {
    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &ApiResource {
        self.inner.resource()
    }

    /// Where it looks for objects.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        self.inner.namespace()
    }

    /// One object, as a table of one row.
    pub fn get(&self, name: &str) -> Get<Table> {
        self.inner.get(name)
    }

    /// The collection, a page at a time.
    pub fn list(&self) -> ListTable {
        let mut target = Target::collection(&self.inner.resource, &self.inner.namespace);
        target.set_gzip(true);
        ListTable {
            target,
            accept: View::Table.accept_list(),
            options: ListOptions::default(),
            include_object: None,
        }
    }

    /// Changes of the collection; each event has a table of one row. **Only the first event has
    /// [`column_definitions`](Table::column_definitions)**: keep them.
    pub fn watch(&self) -> WatchObjects<Table> {
        self.inner.watch()
    }
}

impl Get<Table> {
    /// How much of the object comes with its row.
    pub fn include_object(mut self, include: IncludeObject) -> Self {
        self.include_object = Some(include);
        self
    }
}

impl WatchObjects<Table> {
    /// How much of the object comes with its row. Bookmarks need [`IncludeObject::Metadata`], the default.
    pub fn include_object(mut self, include: IncludeObject) -> Self {
        self.include_object = Some(include);
        self
    }
}

/// Lists a collection as a table. See [`TableApi::list`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ListTable {
    pub(super) target: Target,
    accept: HeaderValue,
    options: ListOptions,
    include_object: Option<IncludeObject>,
}

request_options! { ListTable; }
answer_options! { ListTable; }
selector_options! { ListTable: options; }
list_options! { ListTable: options; }

impl ListTable {
    /// How much of each object comes with its row.
    pub fn include_object(mut self, include: IncludeObject) -> Self {
        self.include_object = Some(include);
        self
    }
}

impl Operation for ListTable {
    type Decoder = Json<Table>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<Table>>, Error> {
        self.options.check()?;
        let mut query = self.target.query(namespace)?;
        self.options.append(&mut query);
        query.some(
            "includeObject",
            self.include_object.map(IncludeObject::as_str),
        );
        let request = query.request(Method::GET, Some(self.accept), None)?;
        Ok(Call::new(Verb::List, request, Json::default()))
    }
}
