//! Lists: collected, or item by item over all pages.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use super::{ItemSplitter, strip};
use crate::api::Pages;
use crate::call::{Call, Decode, End, Streaming, Unary, Verb, decode};
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

/// The JSON of single objects of a collection to objects.
#[derive(Clone)]
pub(super) struct Objects {
    resource: ApiResource,
    pub(super) skip_managed_fields: bool,
    scratch: Vec<u8>,
}

impl Objects {
    pub(super) fn new(resource: ApiResource) -> Self {
        Self {
            resource,
            skip_managed_fields: false,
            scratch: Vec::new(),
        }
    }

    /// Decodes one object; an object that is no JSON is that object's fault only.
    pub(super) fn decode<K: Object>(&mut self, json: &[u8]) -> Result<K, Error> {
        self.parse(json)
            .map_err(|error| Error::object(&error, crate::call::identify(json)))
    }

    /// Decodes one object.
    pub(super) fn parse<K: Object>(&mut self, json: &[u8]) -> Result<K, serde_json::Error> {
        let stripped = if self.skip_managed_fields {
            strip::managed_fields(json, &mut self.scratch)
        } else {
            None
        };
        let json = stripped.unwrap_or(json);
        // Checking all at once is faster than string by string. Where a field is not UTF-8 it matters only if
        // somebody wants it.
        let mut object: K = match std::str::from_utf8(json) {
            Ok(text) => serde_json::from_str(text)?,
            Err(_) => serde_json::from_slice(json)?,
        };
        object.fill_types(&self.resource);
        Ok(object)
    }
}

/// Raw items to objects.
#[derive(Clone)]
struct ItemDecoder {
    splitter: ItemSplitter,
    objects: Objects,
    done: bool,
}

impl ItemDecoder {
    fn new(resource: ApiResource) -> Self {
        Self {
            splitter: ItemSplitter::new(0),
            objects: Objects::new(resource),
            done: false,
        }
    }

    fn next<K: Object>(&mut self) -> Option<Result<K, Error>> {
        let json = self.splitter.next_item()?;
        Some(self.objects.decode(&json))
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        let fault = match end {
            // Also where the JSON is complete: what was to follow may have been a checksum.
            End::Truncated => "the list was cut off",
            End::Clean if self.splitter.is_complete() => {
                // Unreadable metadata may hide a continue token: the list must not look like the last page.
                self.metadata().map_err(|error| {
                    Error::peer("the list's metadata does not decode").with_source(error)
                })?;
                self.done = true;
                return Ok(());
            }
            End::Clean if self.splitter.is_ended() => {
                return Err(Error::peer("the answer is not a list"));
            }
            End::Clean => "the list ended early",
        };
        Err(Error::new(ErrorKind::Truncated, fault))
    }

    fn metadata(&self) -> Result<ListMeta, Error> {
        match self.splitter.metadata() {
            b"" | b"null" => Ok(ListMeta::default()),
            json => decode(json),
        }
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

    /// Cuts `metadata.managedFields` out of items before they are decoded.
    pub fn skip_managed_fields(&mut self, skip: bool) {
        self.items.objects.skip_managed_fields = skip;
    }

    pub(crate) fn saw_items(&self) -> bool {
        self.items.splitter.saw_items()
    }

    fn collect(&mut self) -> Result<(), Error> {
        while let Some(json) = self.items.splitter.next_item() {
            self.seen += json.len();
            if self.seen > self.max_body {
                return Err(Error::limit("the list is longer than Limits::max_body"));
            }
            self.list.push(self.items.objects.decode(&json)?);
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

/// Collects all pages as one [`List`]. After a page that is not the last there is no item: the call goes on
/// with [`follow_up`](Decode::follow_up).
#[derive(Clone)]
pub struct CollectAll<K> {
    page: Collect<K>,
    pages: Pages,
    next: Option<NextPage>,
}

/// The request for the page after this one.
type NextPage = (http::Request<Bytes>, Pages);

impl<K: Object> CollectAll<K> {
    pub(crate) fn new(resource: ApiResource, pages: Pages) -> Self {
        Self {
            page: Collect::new(resource),
            pages,
            next: None,
        }
    }

    /// Cuts `metadata.managedFields` out of items before they are decoded.
    pub fn skip_managed_fields(&mut self, skip: bool) {
        self.page.skip_managed_fields(skip);
    }
}

impl<K: Object> Decode for CollectAll<K> {
    type Item = List<K>;

    fn begin(&mut self, limits: &Limits) {
        self.page.begin(limits);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.page.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.page.handle_end(end)?;
        let metadata = self.page.items.metadata()?;
        if let Some(token) = metadata.next_page() {
            self.next = Some(self.pages.next(token)?);
        }
        Ok(())
    }

    fn poll_item(&mut self) -> Result<Option<List<K>>, Error> {
        if self.next.is_some() {
            return Ok(None);
        }
        self.page.poll_item()
    }

    fn has_items(&self) -> bool {
        self.next.is_none() && self.page.has_items()
    }

    fn buffered(&self) -> usize {
        self.page.buffered()
    }

    fn follow_up(&mut self) -> Option<Call<Self>> {
        let (request, pages) = self.next.take()?;
        let objects = &self.page.items.objects;
        let mut next = Self::new(objects.resource.clone(), pages);
        next.skip_managed_fields(objects.skip_managed_fields);
        next.page.list = std::mem::take(&mut self.page.list);
        next.page.seen = self.page.seen;
        self.page.items.done = false;
        Some(Call::new(Verb::List, request, next))
    }
}

impl<K: Object> Unary for CollectAll<K> {}

impl<K> fmt::Debug for CollectAll<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectAll")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

/// Decodes a collection item by item, page after page. What is held is one chunk and one item.
pub struct Items<K> {
    page: ItemDecoder,
    pages: Pages,
    next: Option<NextPage>,
    item: PhantomData<fn() -> K>,
}

impl<K> Clone for Items<K> {
    fn clone(&self) -> Self {
        Self {
            page: self.page.clone(),
            pages: self.pages.clone(),
            next: self.next.clone(),
            item: PhantomData,
        }
    }
}

impl<K: Object> Items<K> {
    pub(crate) fn new(resource: ApiResource, pages: Pages) -> Self {
        Self {
            page: ItemDecoder::new(resource),
            pages,
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

    /// Cuts `metadata.managedFields` out of items before they are decoded.
    pub fn skip_managed_fields(&mut self, skip: bool) {
        self.page.objects.skip_managed_fields = skip;
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
        // Here and not when it is asked for: a page that cannot be followed is an error, not the end.
        if let Some(token) = self.page.metadata()?.next_page() {
            self.next = Some(self.pages.next(token)?);
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
        let (request, pages) = self.next.take()?;
        let mut next = Self::new(self.page.objects.resource.clone(), pages);
        next.skip_managed_fields(self.page.objects.skip_managed_fields);
        Some(Call::new(Verb::List, request, next))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ListObjects;
    use crate::{Api, Dynamic, Exchange, Operation};

    #[test]
    fn the_first_fault_of_a_list_counts_however_it_is_cut() {
        // Found by the fuzz target `list_items`: in one chunk, the fault after the item was told.
        let body = br#"{"items":[{"metadata":{"name":"a"},"x":y}],,"#;
        let fault = |cut: usize| {
            let mut collect = Collect::<Dynamic>::new(ApiResource::core("Pod", "pods"));
            collect.begin(&Limits::default());
            let (before, after) = body.split_at(cut);
            let result = collect
                .handle_data(Bytes::from_static(before))
                .and_then(|()| collect.handle_data(Bytes::from_static(after)));
            result.unwrap_err().kind()
        };
        for cut in 0..=body.len() {
            assert_eq!(fault(cut), ErrorKind::Object, "cut at {cut}");
        }
    }

    fn collect(limits: &Limits, skip: bool) -> Collect<Dynamic> {
        let mut collect = Collect::new(ApiResource::core("Pod", "pods"));
        collect.skip_managed_fields(skip);
        collect.begin(limits);
        collect
    }

    const FIELDS: &str =
        r#"{"items":[{"metadata":{"name":"a","managedFields":[{}]}}],"metadata":{}}"#;

    #[test]
    fn managed_fields_of_collected_items_are_cut_out_if_asked() {
        for skip in [false, true] {
            let mut collect = collect(&Limits::default(), skip);
            collect.handle_data(FIELDS.into()).unwrap();
            collect.handle_end(End::Clean).unwrap();
            let list = collect.poll_item().unwrap().unwrap();
            let fields = &list.items[0].metadata.managed_fields;
            assert_eq!(fields.is_none(), skip, "{skip}");
        }
    }

    #[test]
    fn items_together_are_as_long_as_the_limit_at_most() {
        let item = r#"{"metadata":{}}"#;
        let body = format!(r#"{{"items":[{item},{item}]}}"#);
        for (max_body, accepted) in [(2 * item.len(), true), (2 * item.len() - 1, false)] {
            let limits = Limits {
                max_body,
                ..Limits::default()
            };
            let result = collect(&limits, false).handle_data(body.clone().into());
            assert_eq!(result.is_ok(), accepted);
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Limit);
            }
        }
    }

    #[test]
    fn what_a_list_holds_besides_its_items_is_counted() {
        let mut collect = collect(&Limits::default(), false);
        collect.handle_data(r#"{"items":[{"a":"#.into()).unwrap();
        assert_eq!(collect.buffered(), 5);
    }

    fn pods() -> ListObjects<Dynamic> {
        Api::dynamic(ApiResource::core("Pod", "pods"))
            .in_all_namespaces()
            .list()
    }

    /// An answer that has begun.
    fn answer<O: Operation>(
        operation: O,
        limits: &Limits,
        body: &'static str,
    ) -> Exchange<O::Decoder> {
        let (_, mut exchange) = operation.into_call().unwrap().begin(limits);
        let (head, ()) = http::Response::new(()).into_parts();
        exchange.handle_head(&head).unwrap();
        exchange.handle_data(body.into()).unwrap();
        exchange
    }

    #[test]
    fn managed_fields_of_other_lists_are_cut_out_if_asked() {
        for (list, skip) in [(pods(), false), (pods().without_managed_fields(), true)] {
            let mut items = answer(list.clone().items(), &Limits::default(), FIELDS);
            let item = items.poll_item().unwrap().unwrap();
            assert_eq!(item.metadata.managed_fields.is_none(), skip);
            let mut pages = answer(list.all_pages(), &Limits::default(), FIELDS);
            pages.handle_end(End::Clean).unwrap();
            let list = pages.poll_item().unwrap().unwrap();
            assert_eq!(list.items[0].metadata.managed_fields.is_none(), skip);
        }
    }

    #[test]
    fn streamed_items_hold_what_is_counted() {
        let mut items = answer(pods().items(), &Limits::default(), r#"{"items":[{"a":"#);
        assert_eq!(items.buffered(), 5);
        assert!(items.poll_item().unwrap().is_none());
        items
            .handle_data(r#"1}],"metadata":{"resourceVersion":"7"}}"#.into())
            .unwrap();
        assert!(items.poll_item().unwrap().is_some());
        let metadata = items.decoder().metadata().unwrap();
        assert_eq!(metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn all_pages_hold_what_is_counted_and_keep_to_the_limit() {
        let mut pages = answer(pods().all_pages(), &Limits::default(), r#"{"items":[{"a":"#);
        assert_eq!(pages.buffered(), 5);
        assert!(pages.poll_item().unwrap().is_none());
        pages.handle_data("1}]}".into()).unwrap();
        assert!(!pages.is_done());
        pages.handle_end(End::Clean).unwrap();
        assert!(!pages.is_done(), "the list was not taken");
        assert_eq!(pages.poll_item().unwrap().unwrap().items.len(), 1);
        assert!(pages.is_done());
        let limits = Limits {
            max_item: 4,
            ..Limits::default()
        };
        let (_, mut pages) = pods().all_pages().into_call().unwrap().begin(&limits);
        let (head, ()) = http::Response::new(()).into_parts();
        pages.handle_head(&head).unwrap();
        let result = pages.handle_data(r#"{"items":[{"a":1}"#.into());
        let error = result.err().or_else(|| pages.poll_item().err());
        assert_eq!(error.unwrap().kind(), ErrorKind::Limit);
    }
}
