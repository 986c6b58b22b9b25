//! Watch events.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Lines;
use super::list::Objects;
use crate::call::{Decode, End, Streaming, identify};
use crate::meta::{ObjectMeta, Status};
use crate::resource::{ApiResource, Object};
use crate::{BadObject, Error, ErrorKind, Limits};

/// A change of a watched collection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent<K> {
    /// The object was created, exists already (at the start of a watch without a version), or
    /// began to match the selector.
    Added(K),
    /// The object was changed.
    Modified(K),
    /// The object was deleted or no longer matches the selector; its last state, with the version
    /// of the deletion.
    Deleted(K),
    /// Nothing changed up to a version.
    Bookmark(Bookmark),
    /// A type that this version does not know. Nothing is lost by ignoring it.
    Unknown(String),
}

/// "You have seen everything up to this version."
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bookmark {
    /// Where a new watch may go on from.
    pub resource_version: String,
    /// This bookmark ends the initial events of a streaming list: what came so far is the whole
    /// collection at this version (annotation `k8s.io/initial-events-end`).
    pub initial_events_end: bool,
}

/// Decodes the body of a watch: one event a line (wire format of the API machinery's JSON framer).
///
/// An ERROR event ends the watch as an [`ErrorKind::Api`] error, whose
/// [`is_expired`](Error::is_expired) tells that a new list is needed. An object that does not decode
/// is an [`ErrorKind::Object`] error between the other events. The end of a watch, clean or cut, is
/// no error: watch again from the last version. A torn last line is dropped.
pub struct Watch<K> {
    lines: Lines,
    objects: Objects,
    ended: bool,
    item: PhantomData<fn() -> K>,
}

impl<K: Object> Watch<K> {
    /// A decoder for watches of this resource.
    #[must_use]
    pub fn new(resource: ApiResource) -> Self {
        Self {
            lines: Lines::new(0),
            objects: Objects::new(resource),
            ended: false,
            item: PhantomData,
        }
    }

    /// Cuts `metadata.managedFields` out before objects are decoded.
    pub fn skip_managed_fields(&mut self, skip: bool) {
        self.objects.skip_managed_fields = skip;
    }

    fn event(&mut self, line: &[u8]) -> Result<WatchEvent<K>, Error> {
        // In one pass, if the line looks as API servers write it; anything odd takes the long way.
        if let Some((wrap, json)) = plain(line)
            && let Ok(object) = self.objects.parse(json)
        {
            return Ok(wrap(object));
        }
        self.any_event(line)
    }

    fn any_event(&mut self, line: &[u8]) -> Result<WatchEvent<K>, Error> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let envelope: Envelope<'_> = serde_json::from_slice(line).map_err(|error| {
            Error::object(
                &error,
                BadObject {
                    len: line.len(),
                    ..BadObject::default()
                },
            )
        })?;
        let json = envelope.object.get().as_bytes();
        Ok(match &*envelope.r#type {
            "ADDED" => WatchEvent::Added(self.objects.decode(json)?),
            "MODIFIED" => WatchEvent::Modified(self.objects.decode(json)?),
            "DELETED" => {
                WatchEvent::Deleted(self.objects.decode(json).map_err(Error::of_deletion)?)
            }
            "BOOKMARK" => WatchEvent::Bookmark(bookmark(json)?),
            "ERROR" => {
                let status = serde_json::from_slice::<Status>(json)
                    .map_err(|error| Error::object(&error, identify(json)))?;
                return Err(Error::from_status(status));
            }
            other => WatchEvent::Unknown(other.to_owned()),
        })
    }
}

/// What becomes of the object of an event as Go's encoder writes it, and the object's JSON if it is nothing else.
#[expect(clippy::type_complexity, reason = "a constructor and its argument")]
fn plain<K>(line: &[u8]) -> Option<(fn(K) -> WatchEvent<K>, &[u8])> {
    let rest = line.strip_prefix(br#"{"type":""#)?;
    let (wrap, rest): (fn(K) -> WatchEvent<K>, _) =
        if let Some(rest) = rest.strip_prefix(b"MODIFIED") {
            (WatchEvent::Modified, rest)
        } else if let Some(rest) = rest.strip_prefix(b"ADDED") {
            (WatchEvent::Added, rest)
        } else {
            (WatchEvent::Deleted, rest.strip_prefix(b"DELETED")?)
        };
    let object = rest.strip_prefix(br#"","object":"#)?.strip_suffix(b"}")?;
    Some((wrap, object))
}

/// A bookmark's object does not validate as its kind: only the metadata counts. In a Table watch
/// the metadata is that of the only row.
fn bookmark(json: &[u8]) -> Result<Bookmark, Error> {
    #[derive(Deserialize)]
    struct Partial {
        #[serde(default)]
        metadata: ObjectMeta,
        #[serde(default)]
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        object: Partial,
    }
    let partial: Partial =
        serde_json::from_slice(json).map_err(|error| Error::object(&error, identify(json)))?;
    let metadata = match partial.rows.into_iter().next() {
        Some(row) => row.object.metadata,
        None => partial.metadata,
    };
    let initial_events_end = metadata
        .annotations
        .get("k8s.io/initial-events-end")
        .is_some_and(|value| value == "true");
    Ok(Bookmark {
        resource_version: metadata.resource_version.unwrap_or_default(),
        initial_events_end,
    })
}

fn is_torn(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

impl<K: Object> Decode for Watch<K> {
    type Item = WatchEvent<K>;

    fn begin(&mut self, limits: &Limits) {
        self.lines.set_max(limits.max_line);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.lines.push(chunk)
    }

    fn handle_end(&mut self, _: End) -> Result<(), Error> {
        self.ended = true;
        Ok(())
    }

    fn poll_item(&mut self) -> Result<Option<WatchEvent<K>>, Error> {
        loop {
            let line = match self.lines.next_line()? {
                Some(line) => line,
                // What follows the last newline may be the beginning of an event, which is dropped.
                None if self.ended => match self.lines.finish() {
                    Some(line) if !is_torn(&line) => line,
                    _ => return Ok(None),
                },
                None => return Ok(None),
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let event = self.event(&line);
            if event
                .as_ref()
                .is_err_and(|error| error.kind() != ErrorKind::Object)
            {
                // An ERROR event is always the last.
                self.lines = Lines::new(0);
            }
            return event.map(Some);
        }
    }

    fn has_items(&self) -> bool {
        self.lines.has_input() || (self.ended && self.lines.buffered() > 0)
    }

    fn buffered(&self) -> usize {
        self.lines.buffered()
    }
}

impl<K: Object> Streaming for Watch<K> {}

impl<K> Clone for Watch<K> {
    fn clone(&self) -> Self {
        Self {
            lines: self.lines.clone(),
            objects: self.objects.clone(),
            ended: self.ended,
            item: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Watch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Dynamic;

    #[test]
    fn the_short_way_gives_what_the_long_way_gives() {
        let object = r#"{"metadata":{"name":"a","managedFields":[{}]},"data":{"k":"v"}}"#;
        for kind in ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ADDED_LATER"] {
            for line in [
                format!(r#"{{"type":"{kind}","object":{object}}}"#),
                format!(r#"{{"type":"{kind}","object":{object}}}  "#),
                format!(r#"{{"type":"{kind}","object": {object} }}"#),
                format!(r#"{{"type":"{kind}","object":{object},"more":{{}}}}"#),
                format!(r#"{{ "type":"{kind}","object":{object}}}"#),
                format!(r#"{{"object":{object},"type":"{kind}"}}"#),
                format!(r#"{{"type":"{kind}","object":{object}}}}}"#),
                format!(r#"{{"type":"{kind}","object":{object}"#),
                format!(r#"{{"type":"{kind}","object":{object}}}{{}}"#),
                format!(r#"{{"type":"{kind}","object":[]}}"#),
                format!(r#"{{"type":"{kind}","object":}}"#),
                format!(r#"{{"type":"{kind}"}}"#),
            ] {
                let resource = ApiResource::core("ConfigMap", "configmaps");
                let mut watch = Watch::<Dynamic>::new(resource);
                let (short, long) = (
                    watch.event(line.as_bytes()),
                    watch.any_event(line.as_bytes()),
                );
                assert_eq!(format!("{short:?}"), format!("{long:?}"), "{line}");
            }
        }
    }

    #[test]
    fn managed_fields_of_events_are_cut_out_if_asked() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"managedFields":[{}]}}}"#;
        for skip in [false, true] {
            let mut watch = Watch::<Dynamic>::new(ApiResource::core("Pod", "pods"));
            watch.skip_managed_fields(skip);
            let Ok(WatchEvent::Added(object)) = watch.event(event.as_bytes()) else {
                panic!("it decodes");
            };
            assert_eq!(object.metadata.managed_fields.is_none(), skip);
        }
    }

    #[test]
    fn a_line_that_is_no_event_is_told_with_its_length() {
        let mut watch = Watch::<Dynamic>::new(ApiResource::core("Pod", "pods"));
        let error = watch.event(b"{}").unwrap_err();
        assert_eq!(error.bad_object().unwrap().len, 2);
    }

    #[test]
    fn an_event_that_has_begun_is_held_and_counts_when_the_watch_ends() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        let mut watch = Watch::<Dynamic>::new(ApiResource::core("Pod", "pods"));
        watch.begin(&Limits::default());
        watch.handle_data(event.into()).unwrap();
        assert!(watch.poll_item().unwrap().is_none());
        assert_eq!((watch.has_items(), watch.buffered()), (false, event.len()));
        watch.handle_end(End::Clean).unwrap();
        assert!(watch.has_items());
        assert!(watch.poll_item().unwrap().is_some());
        assert_eq!((watch.has_items(), watch.buffered()), (false, 0));
    }
}
