//! Lists: collected, or item by item over all pages.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::Request;

use super::ItemSplitter;
use crate::api::ListRequest;
use crate::call::{Call, Decode, End, Streaming, Unary, decode};
use crate::meta::ListMeta;
use crate::resource::{ApiResource, Object};
use crate::{Error, ErrorKind, Limits};

/// One page of a collection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct List<K> {
    /// The collection's version and the token of the next page.
    pub metadata: ListMeta,
    /// The items of the page, in the server's order.
    pub items: Vec<K>,
}

/// Raw items to objects.
#[derive(Clone)]
struct ItemDecoder {
    splitter: ItemSplitter,
    resource: ApiResource,
    done: bool,
}

impl ItemDecoder {
    fn new(resource: ApiResource) -> Self {
        Self {
            splitter: ItemSplitter::new(0),
            resource,
            done: false,
        }
    }

    fn next<K: Object>(&mut self) -> Option<Result<K, Error>> {
        let json = self.splitter.next_item()?;
        Some(decode_object(&json, &self.resource))
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        if self.splitter.is_complete() {
            // Unreadable metadata may hide a continue token: the list must not look like the last page.
            self.metadata().map_err(|error| {
                Error::peer("the list's metadata does not decode").with_source(error)
            })?;
            self.done = true;
            return Ok(());
        }
        if self.splitter.is_ended() {
            return Err(Error::peer("the answer is not a list"));
        }
        let how = if end == End::Clean {
            "ended early"
        } else {
            "was cut off"
        };
        Err(Error::new(ErrorKind::Truncated, format!("the list {how}")))
    }

    fn metadata(&self) -> Result<ListMeta, Error> {
        match self.splitter.metadata() {
            b"" | b"null" => Ok(ListMeta::default()),
            json => decode(json),
        }
    }
}

/// Decodes one object of a collection; an object that is no JSON is that object's fault only.
pub(super) fn decode_object<K: Object>(json: &[u8], resource: &ApiResource) -> Result<K, Error> {
    match serde_json::from_slice::<K>(json) {
        Ok(mut object) => {
            object.fill_types(resource);
            Ok(object)
        }
        Err(error) => Err(Error::object(&error, crate::call::identify(json))),
    }
}

/// Decodes a page as one [`List`], item by item while it arrives: what is held is the result, one
/// item and one chunk. An item that does not decode fails the list.
#[derive(Clone)]
pub struct Collect<K> {
    items: ItemDecoder,
    list: Vec<K>,
    seen: usize,
    max_body: usize,
}

impl<K: Object> Collect<K> {
    /// A decoder for lists of this resource.
    #[must_use]
    pub fn new(resource: ApiResource) -> Self {
        Self {
            items: ItemDecoder::new(resource),
            list: Vec::new(),
            seen: 0,
            max_body: 0,
        }
    }

    fn collect(&mut self) -> Result<(), Error> {
        while let Some(json) = self.items.splitter.next_item() {
            self.seen += json.len();
            if self.seen > self.max_body {
                return Err(Error::limit("the list is longer than Limits::max_body"));
            }
            self.list.push(decode_object(&json, &self.items.resource)?);
        }
        Ok(())
    }
}

impl<K: Object> Decode for Collect<K> {
    type Item = List<K>;

    fn begin(&mut self, limits: &Limits) {
        self.items.splitter.set_max_item(limits.max_item);
        self.max_body = limits.max_body;
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        // A bad item comes before a fault that the same chunk brings after it.
        let pushed = self.items.splitter.push(&chunk);
        self.collect()?;
        pushed
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.items.handle_end(end)
    }

    fn buffered(&self) -> usize {
        self.items.splitter.buffered()
    }

    fn poll_item(&mut self) -> Result<Option<List<K>>, Error> {
        if !std::mem::take(&mut self.items.done) {
            return Ok(None);
        }
        let metadata = self.items.metadata()?;
        Ok(Some(List {
            metadata,
            items: std::mem::take(&mut self.list),
        }))
    }

    fn has_items(&self) -> bool {
        self.items.done
    }
}

impl<K: Object> Unary for Collect<K> {}

impl<K> fmt::Debug for Collect<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect")
            .field("items", &self.list.len())
            .finish_non_exhaustive()
    }
}

/// Decodes a collection item by item, page after page. What is held is one chunk and one item.
pub struct Items<K> {
    page: ItemDecoder,
    request: ListRequest,
    next: Option<Request<Bytes>>,
    item: PhantomData<fn() -> K>,
}

impl<K> Clone for Items<K> {
    fn clone(&self) -> Self {
        Self {
            page: self.page.clone(),
            request: self.request.clone(),
            next: self.next.clone(),
            item: PhantomData,
        }
    }
}

impl<K: Object> Items<K> {
    pub(crate) fn new(resource: ApiResource, request: ListRequest) -> Self {
        Self {
            page: ItemDecoder::new(resource),
            request,
            next: None,
            item: PhantomData,
        }
    }

    /// The metadata of the page that is being read, once it has come.
    ///
    /// # Errors
    ///
    /// If it does not decode.
    pub fn metadata(&self) -> Result<ListMeta, Error> {
        self.page.metadata()
    }
}

impl<K: Object> Decode for Items<K> {
    type Item = K;

    fn begin(&mut self, limits: &Limits) {
        self.page.splitter.set_max_item(limits.max_item);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.page.splitter.push(&chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.page.handle_end(end)?;
        // Made now, so that a token that cannot be used is an error and not the last page.
        if let Some(token) = self.page.metadata()?.next_page() {
            let next = self.request.next_page(token).map_err(|error| {
                Error::peer("the list's continue token cannot be used").with_source(error)
            })?;
            self.next = Some(next);
        }
        Ok(())
    }

    fn buffered(&self) -> usize {
        self.page.splitter.buffered()
    }

    fn poll_item(&mut self) -> Result<Option<K>, Error> {
        self.page.next().transpose()
    }

    fn has_items(&self) -> bool {
        self.page.splitter.has_items()
    }

    fn follow_up(&mut self) -> Option<Call<Self>> {
        let request = self.next.clone()?;
        let next = Self::new(self.page.resource.clone(), self.request.clone());
        Some(Call::new(crate::call::Verb::List, request, next))
    }
}

impl<K: Object> Streaming for Items<K> {}

impl<K> fmt::Debug for Items<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items")
            .field("splitter", &self.page.splitter)
            .finish_non_exhaustive()
    }
}
