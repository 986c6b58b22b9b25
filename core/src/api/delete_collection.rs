//! Deleting many objects at once.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::HeaderValue;

use super::Api;
use super::common::{answer_options, request_options};
use super::delete_options::{DeleteOptions, delete_options};
use super::list_options::{ListOptions, list_options, selector_options};
use super::path::Target;
use crate::call::{Call, Decode, End, Operation, Unary, Verb};
use crate::meta::Status;
use crate::resource::{ApiResource, Object, Scope};
use crate::stream::{Collect, List};
use crate::{Error, Limits};

/// How much of an answer is kept in case it is a Status.
const MAX_STATUS: usize = 64 << 10;

/// What the deletion of a collection did.
///
/// ```
/// use kubewire::{Api, ApiResource, DeletedCollection, End, Limits, Operation};
/// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
/// let (_, mut exchange) = maps.delete_collection().labels("a=b").into_call()?.begin(&Limits::default());
/// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
/// exchange.handle_data(r#"{"kind":"ConfigMapList","items":[{"metadata":{"name":"x"}}]}"#.into())?;
/// exchange.handle_end(End::Clean)?;
/// let Some(DeletedCollection::List(list)) = exchange.poll_item()? else { unreachable!() };
/// assert_eq!(list.items.len(), 1);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeletedCollection<K> {
    /// The objects that were deleted, as they were before; some may still be there, waiting for finalizers.
    List(List<K>),
    /// The server said that it was done with a Status.
    Status(Box<Status>),
}

/// Deletes the objects of a collection. See [`Api::delete_collection`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct DeleteCollection<K> {
    pub(super) target: Target,
    resource: ApiResource,
    accept: HeaderValue,
    list: ListOptions,
    delete: DeleteOptions,
    everything: bool,
    object: PhantomData<fn() -> K>,
}

request_options! { DeleteCollection<K>; }
answer_options! { DeleteCollection<K>; }
selector_options! { DeleteCollection<K>: list; }
list_options! { DeleteCollection<K>: list; }
delete_options! { DeleteCollection<K>: delete; }

impl<K: Object> Api<K> {
    /// Deletes the objects of one namespace, or of a cluster-scoped kind, that match a selector. Not atomic: the server
    /// deletes them one by one.
    ///
    /// A selector that was forgotten empties the namespace, so it must be given, or
    /// [`everything`](DeleteCollection::everything) in its place. The dependents of jobs and replication controllers are
    /// deleted too, as by [`delete`](Self::delete).
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps"));
    /// let call = maps.clone().in_namespace("default").delete_collection().labels("app=web").into_call()?;
    /// assert_eq!(call.request().method(), "DELETE");
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/configmaps?labelSelector=app%3Dweb");
    ///
    /// // Servers answer 405 to this, so it is not sent:
    /// assert!(maps.in_all_namespaces().delete_collection().everything().into_call().is_err());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn delete_collection(&self) -> DeleteCollection<K> {
        let mut target = Target::one_collection(&self.resource, &self.namespace);
        let resource = &self.resource;
        if resource.scope() == Scope::Cluster
            && resource.group().is_empty()
            && resource.plural() == "namespaces"
        {
            target.refuse("namespaces cannot be deleted as a collection: delete them one by one");
        }
        DeleteCollection {
            target,
            resource: resource.clone(),
            accept: self.view.accept_list(),
            list: ListOptions::default(),
            delete: DeleteOptions::for_kind(resource),
            everything: false,
            object: PhantomData,
        }
    }
}

impl<K> DeleteCollection<K> {
    /// Deletes every object, in place of a selector.
    pub fn everything(mut self) -> Self {
        self.everything = true;
        self
    }
}

impl<K: Object> Operation for DeleteCollection<K> {
    type Decoder = DeletedCollectionDecoder<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Self::Decoder>, Error> {
        self.list.check()?;
        match (self.everything, self.list.selects_all()) {
            (true, true) | (false, false) => {}
            (false, true) => {
                return Err(Error::usage(
                    "delete_collection without labels or fields deletes every object: say everything() if that is meant",
                ));
            }
            (true, false) => {
                return Err(Error::usage(
                    "everything and a selector (labels, fields) exclude each other",
                ));
            }
        }
        // Without a body servers take resourceVersion for a precondition of every single object as well.
        let body = match self.delete.clone().body()? {
            None if self.list.resource_version.is_some() => Some(self.delete.any_body()?),
            body => body,
        };
        let mut query = self.target.query(namespace)?;
        self.list.append(&mut query);
        let request = query.request(Method::DELETE, Some(self.accept), body)?;
        let decoder = DeletedCollectionDecoder::new(self.resource);
        Ok(Call::new(Verb::DeleteCollection, request, decoder))
    }
}

/// Decodes the answer of a collection's deletion: a list, item by item as it comes, or a Status.
pub struct DeletedCollectionDecoder<K> {
    list: Collect<K>,
    /// The first bytes, until it is known that this is a list.
    head: BytesMut,
    status: Option<Box<Status>>,
    /// What the list decoder said, kept until it is known that this is no Status.
    fault: Option<Error>,
}

impl<K: Object> DeletedCollectionDecoder<K> {
    /// A decoder for collections of this resource.
    #[must_use]
    pub fn new(resource: ApiResource) -> Self {
        Self {
            list: Collect::new(resource),
            head: BytesMut::new(),
            status: None,
            fault: None,
        }
    }
}

impl<K: Object> Decode for DeletedCollectionDecoder<K> {
    type Item = DeletedCollection<K>;

    fn begin(&mut self, limits: &Limits) {
        self.list.begin(limits);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        if !self.list.saw_items() {
            let room = MAX_STATUS.saturating_sub(self.head.len());
            self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        if self.fault.is_none() {
            self.fault = self.list.handle_data(chunk).err();
        }
        if !self.list.saw_items() {
            return Ok(());
        }
        // It is a list: what could have been a Status is not held a second time.
        self.head = BytesMut::new();
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        if !self.list.saw_items()
            && let Some(status) = Status::from_slice(&self.head)
        {
            if status.is_failure() {
                return Err(Error::from_status(status));
            }
            self.status = Some(Box::new(status));
            return Ok(());
        }
        self.head.clear();
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.list.handle_end(end),
        }
    }

    fn poll_item(&mut self) -> Result<Option<Self::Item>, Error> {
        if let Some(status) = self.status.take() {
            return Ok(Some(DeletedCollection::Status(status)));
        }
        Ok(self.list.poll_item()?.map(DeletedCollection::List))
    }

    fn has_items(&self) -> bool {
        self.status.is_some() || self.list.has_items()
    }

    fn buffered(&self) -> usize {
        self.head.len() + self.list.buffered()
    }
}

impl<K: Object> Unary for DeletedCollectionDecoder<K> {}

impl<K> fmt::Debug for DeletedCollectionDecoder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletedCollectionDecoder")
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dynamic;

    #[test]
    fn a_list_is_not_held_a_second_time() {
        let maps = ApiResource::core("ConfigMap", "configmaps");
        let mut decoder = DeletedCollectionDecoder::<Dynamic>::new(maps);
        decoder.begin(&Limits::default());
        let body = r#"{"kind":"ConfigMapList","items":[{"metadata":{"name":"a"}}"#;
        decoder.handle_data(body.into()).unwrap();
        assert!(decoder.head.is_empty());
        assert!(decoder.buffered() < body.len());
        decoder.handle_data("]}".into()).unwrap();
        decoder.handle_end(End::Clean).unwrap();
        assert!(matches!(
            decoder.poll_item().unwrap(),
            Some(DeletedCollection::List(list)) if list.items.len() == 1
        ));
    }
}
