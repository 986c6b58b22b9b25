//! What a reflector wants to be asked of the server, and the decoder of the answer.

use std::fmt;

use bytes::Bytes;

use crate::call::{Call, Decode, End, Operation, Streaming};
use crate::meta::ListMeta;
use crate::resource::Object;
use crate::stream::{Items, Watch, WatchEvent};
use crate::{Error, ErrorKind, Limits};

/// Names one request of a machine. Answers are given under it, and those of a request that the
/// machine has given up are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WantId(pub(super) u64);

/// A request that a [`Reflector`](super::Reflector) wants to be carried: a page of a list, or a watch.
///
/// It is an [`Operation`]: a client streams it, and each item is an [`Answer`]. Or take
/// [the call](Self::into_call) and carry it over a transport of your own.
#[must_use = "the reflector waits for the answer"]
pub struct Want<K> {
    call: Call<Answers<K>>,
}

impl<K: Object> Want<K> {
    pub(super) fn list(call: Call<Items<K>>) -> Self {
        Self {
            call: call.map(|items| Answers::new(Inner::List(Box::new(items)))),
        }
    }

    pub(super) fn watch(call: Call<Watch<K>>) -> Self {
        Self {
            call: call.map(|watch| Answers::new(Inner::Watch(Box::new(watch)))),
        }
    }

    /// The request.
    pub fn request(&self) -> &http::Request<Bytes> {
        self.call.request()
    }

    /// Whether it is a watch, which has no natural end.
    pub fn is_watch(&self) -> bool {
        self.call.verb().is_long_running()
    }

    /// The call, ready to be carried.
    pub fn into_call(self) -> Call<Answers<K>> {
        self.call
    }
}

impl<K: Object> Operation for Want<K> {
    type Decoder = Answers<K>;

    fn into_call_in(self, _: Option<&str>) -> Result<Call<Answers<K>>, Error> {
        Ok(self.call)
    }
}

impl<K> fmt::Debug for Want<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Want").field(&self.call).finish()
    }
}

/// A part of the answer to a [`Want`], in the order it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer<K> {
    /// The head of a successful answer.
    Opened,
    /// An object of a page.
    Item(K),
    /// The end of a page.
    Page(ListMeta),
    /// An event of a watch.
    Event(WatchEvent<K>),
    /// The end of a watch.
    Ended(End),
}

/// Decodes the answer to a [`Want`] into [`Answer`]s.
pub struct Answers<K> {
    inner: Inner<K>,
    opened: bool,
    ended: Option<End>,
}

enum Inner<K> {
    List(Box<Items<K>>),
    Watch(Box<Watch<K>>),
}

impl<K> Answers<K> {
    fn new(inner: Inner<K>) -> Self {
        Self {
            inner,
            opened: false,
            ended: None,
        }
    }
}

impl<K: Object> Decode for Answers<K> {
    type Item = Answer<K>;

    fn begin(&mut self, limits: &Limits) {
        match &mut self.inner {
            Inner::List(items) => items.begin(limits),
            Inner::Watch(watch) => watch.begin(limits),
        }
    }

    fn handle_head(&mut self, _: &http::response::Parts) -> Result<(), Error> {
        self.opened = true;
        Ok(())
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        match &mut self.inner {
            Inner::List(items) => items.handle_data(chunk),
            Inner::Watch(watch) => watch.handle_data(chunk),
        }
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        match &mut self.inner {
            Inner::List(items) => items.handle_end(end)?,
            Inner::Watch(watch) => watch.handle_end(end)?,
        }
        self.ended = Some(end);
        Ok(())
    }

    fn poll_item(&mut self) -> Result<Option<Answer<K>>, Error> {
        if std::mem::take(&mut self.opened) {
            return Ok(Some(Answer::Opened));
        }
        let item = match &mut self.inner {
            Inner::List(items) => items.poll_item()?.map(Answer::Item),
            Inner::Watch(watch) => {
                let event = watch.poll_item().inspect_err(|error| {
                    // An ERROR event is the last: nothing follows it, not even the end.
                    if error.kind() != ErrorKind::Object {
                        self.ended = None;
                    }
                })?;
                event.map(Answer::Event)
            }
        };
        if item.is_some() {
            return Ok(item);
        }
        let Some(end) = self.ended.take() else {
            return Ok(None);
        };
        match &self.inner {
            Inner::List(items) => Ok(Some(Answer::Page(items.metadata()?))),
            Inner::Watch(_) => Ok(Some(Answer::Ended(end))),
        }
    }

    fn has_items(&self) -> bool {
        self.opened
            || self.ended.is_some()
            || match &self.inner {
                Inner::List(items) => items.has_items(),
                Inner::Watch(watch) => watch.has_items(),
            }
    }

    fn buffered(&self) -> usize {
        match &self.inner {
            Inner::List(items) => items.buffered(),
            Inner::Watch(watch) => watch.buffered(),
        }
    }
}

impl<K: Object> Streaming for Answers<K> {}

impl<K> Clone for Answers<K> {
    fn clone(&self) -> Self {
        Self {
            inner: match &self.inner {
                Inner::List(items) => Inner::List(items.clone()),
                Inner::Watch(watch) => Inner::Watch(watch.clone()),
            },
            opened: self.opened,
            ended: self.ended,
        }
    }
}

impl<K> fmt::Debug for Answers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::List(_) => "Answers(list)",
            Inner::Watch(_) => "Answers(watch)",
        })
    }
}
