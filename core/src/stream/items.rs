//! Cuts a list body into its items while it arrives.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

use crate::Error;
use crate::meta::Key;

/// How much of a list's own fields (`kind`, `metadata` …) is kept.
const MAX_FIELD: usize = 64 << 10;

/// Splits the JSON of a list into the raw JSON of its items, without decoding them.
///
/// Items may come before or after the list's other fields (custom resources have `items` first), and
/// `null` stands for no items. An item inside one chunk is a slice of it. The splitter
/// checks the list's own syntax only: an item that is no JSON shows when it is decoded.
///
/// ```
/// let mut splitter = kubewire::stream::ItemSplitter::new(1 << 20);
/// splitter.push(&r#"{"kind":"PodList","items":[{"a":1},{"b""#.into())?;
/// assert_eq!(splitter.next_item().unwrap(), r#"{"a":1}"#);
/// assert_eq!(splitter.next_item(), None);
/// splitter.push(&r#":2}],"metadata":{"resourceVersion":"7"}}"#.into())?;
/// assert_eq!(splitter.next_item().unwrap(), r#"{"b":2}"#);
/// assert!(splitter.is_complete());
/// assert_eq!(splitter.metadata(), br#"{"resourceVersion":"7"}"#);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone)]
pub struct ItemSplitter {
    at: At,
    scan: Value,
    /// The key or field that is being read, or the start of an item whose end has not come.
    partial: BytesMut,
    field: Field,
    kind: Bytes,
    metadata: Bytes,
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    max_item: usize,
    saw_items: bool,
    fault: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    /// Before a key, or the end of the object (only if nothing or a comma came before).
    Key {
        first: bool,
    },
    InKey,
    Colon,
    Value,
    InValue,
    AfterValue,
    Item {
        first: bool,
    },
    InItem,
    AfterItem,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Items,
    Kind,
    Metadata,
    Other,
}

impl Field {
    fn of(key: &[u8]) -> Self {
        match key {
            b"items" => Self::Items,
            b"kind" => Self::Kind,
            b"metadata" => Self::Metadata,
            _ => Self::Other,
        }
    }
}

/// The text of a JSON string; empty if it is none.
fn unescape(json: &[u8]) -> Cow<'_, str> {
    serde_json::from_slice::<Key<'_>>(json).map_or(Cow::Borrowed(""), |key| key.0)
}

/// Finds where a JSON value ends.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    depth: usize,
    in_string: bool,
    escaped: bool,
    scalar: bool,
}

impl Value {
    /// Looks at more of the value; the number of bytes up to its end, if that is here.
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                let found = memchr2(b'"', b'\\', &bytes[at..])?;
                at += found + 1;
                if bytes[at - 1] == b'\\' {
                    self.escaped = true;
                } else {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth == 0 => return Some(at),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                b',' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 && self.scalar => {
                    return Some(at);
                }
                _ if self.depth == 0 => self.scalar = true,
                _ => {}
            }
            at += 1;
        }
        None
    }
}

impl ItemSplitter {
    /// A splitter that refuses items of more than `max_item` bytes.
    #[must_use]
    pub fn new(max_item: usize) -> Self {
        Self {
            at: At::Start,
            scan: Value::default(),
            partial: BytesMut::new(),
            field: Field::Other,
            kind: Bytes::new(),
            metadata: Bytes::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            max_item,
            saw_items: false,
            fault: None,
        }
    }

    pub(crate) fn set_max_item(&mut self, max_item: usize) {
        self.max_item = max_item;
    }

    /// Adds a chunk. Take the items out before the next one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Peer`](crate::ErrorKind::Peer) if this is no JSON object with an `items` array,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) if an item is too long. They repeat; items
    /// that were complete before can still be taken.
    pub fn push(&mut self, chunk: &Bytes) -> Result<(), Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut at = 0;
        while at < chunk.len() {
            at = self.step(chunk, at).inspect_err(|error| {
                self.fault = Some(error.clone());
                self.partial = BytesMut::new();
            })?;
        }
        Ok(())
    }

    /// Handles what starts at `at`; where the next thing starts.
    fn step(&mut self, chunk: &Bytes, at: usize) -> Result<usize, Error> {
        if self.at == At::InKey {
            return self.read_key(chunk, at);
        }
        if matches!(self.at, At::InValue | At::InItem) {
            return self.read_value(chunk, at);
        }
        let byte = chunk[at];
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(at + 1);
        }
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::Key { first: true },
            (At::Key { first: true } | At::AfterValue, b'}') => At::End,
            (At::Key { .. }, b'"') => {
                self.scan = Value {
                    in_string: true,
                    ..Value::default()
                };
                At::InKey
            }
            (At::Colon, b':') => At::Value,
            (At::Value, b'[') if self.field == Field::Items => At::Item { first: true },
            (At::Value, _) => {
                self.scan = Value::default();
                self.at = At::InValue;
                return Ok(at);
            }
            (At::AfterValue, b',') => At::Key { first: false },
            (At::Item { first: true } | At::AfterItem, b']') => At::AfterValue,
            (At::AfterItem, b',') => At::Item { first: false },
            (At::Item { .. }, b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                self.scan = Value::default();
                self.at = At::InItem;
                return Ok(at);
            }
            _ => return Err(not_a_list()),
        };
        Ok(at + 1)
    }

    fn read_key(&mut self, chunk: &Bytes, at: usize) -> Result<usize, Error> {
        let end = self.scan.advance(&chunk[at..]);
        let piece = &chunk[at..at + end.unwrap_or(chunk.len() - at)];
        if self.partial.len() + piece.len() > MAX_FIELD {
            return Err(not_a_list());
        }
        self.partial.extend_from_slice(piece);
        let Some(end) = end else {
            return Ok(chunk.len());
        };
        self.field = match &self.partial[..] {
            key if memchr(b'\\', key).is_some() => {
                Field::of(unescape(&[b"\"", key].concat()).as_bytes())
            }
            [key @ .., b'"'] => Field::of(key),
            _ => Field::Other,
        };
        self.saw_items |= self.field == Field::Items;
        self.partial.clear();
        self.at = At::Colon;
        Ok(at + end)
    }

    fn read_value(&mut self, chunk: &Bytes, at: usize) -> Result<usize, Error> {
        let is_item = self.at == At::InItem;
        let max = if is_item { self.max_item } else { MAX_FIELD };
        let keep = is_item || self.field != Field::Other;
        let end = self.scan.advance(&chunk[at..]);
        let stop = at + end.unwrap_or(chunk.len() - at);
        if keep && self.partial.len() + (stop - at) > max {
            return Err(Error::limit(if is_item {
                "an item of the list is longer than Limits::max_item"
            } else {
                "a field of the list is longer than 64 KiB"
            }));
        }
        if end.is_none() {
            if keep {
                self.partial.extend_from_slice(&chunk[at..]);
            }
            return Ok(chunk.len());
        }
        let value = if self.partial.is_empty() {
            chunk.slice(at..stop)
        } else {
            self.partial.extend_from_slice(&chunk[at..stop]);
            self.partial.split().freeze()
        };
        if value.is_empty() && keep {
            return Err(not_a_list());
        }
        if is_item {
            self.ready_bytes += value.len();
            self.ready.push_back(value);
            self.at = At::AfterItem;
            return Ok(stop);
        }
        self.at = At::AfterValue;
        match self.field {
            Field::Items if value != "null" => return Err(not_a_list()),
            // Copies, so that a small field does not keep its chunk alive.
            Field::Kind => self.kind = Bytes::copy_from_slice(&value),
            Field::Metadata => self.metadata = Bytes::copy_from_slice(&value),
            Field::Items | Field::Other => {}
        }
        Ok(stop)
    }

    /// The raw JSON of the next item.
    pub fn next_item(&mut self) -> Option<Bytes> {
        let item = self.ready.pop_front()?;
        self.ready_bytes -= item.len();
        Some(item)
    }

    /// Whether an item waits.
    #[must_use]
    pub fn has_items(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether the list has ended and had an `items` field, or at least a kind that ends in `List`.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_ended() && (self.saw_items || unescape(&self.kind).ends_with("List"))
    }

    /// Whether the list's `items` have begun.
    pub(crate) fn saw_items(&self) -> bool {
        self.saw_items
    }

    /// Whether the JSON ended, as a list or not.
    pub(crate) fn is_ended(&self) -> bool {
        self.at == At::End && self.fault.is_none()
    }

    /// The raw JSON of the list's `metadata`; empty until it has come.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.len() + self.ready_bytes + self.metadata.len() + self.kind.len()
    }
}

fn not_a_list() -> Error {
    Error::peer("the answer is not a list")
}

impl fmt::Debug for ItemSplitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemSplitter")
            .field("at", &self.at)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Result<(Vec<Bytes>, bool), Error> {
        let mut splitter = ItemSplitter::new(1000);
        let mut items = Vec::new();
        for chunk in chunks {
            splitter.push(&Bytes::copy_from_slice(chunk))?;
            items.extend(std::iter::from_fn(|| splitter.next_item()));
        }
        Ok((items, splitter.is_complete()))
    }

    #[test]
    fn every_two_way_split_gives_the_same_items() {
        let body = br#" { "kind":"AList","x":[1,{"y":"]}\"\\"}],"items" : [ {"a":"}\\\""} ,{"b":[{}]}, 1 ,"s",null ] ,"metadata":{"continue":"c"},"n":-1.5e3 } "#;
        let whole = split(&[body]).unwrap();
        assert_eq!(
            whole.0,
            [r#"{"a":"}\\\""}"#, r#"{"b":[{}]}"#, "1", "\"s\"", "null"]
        );
        assert!(whole.1);
        for at in 0..body.len() {
            assert_eq!(
                split(&[&body[..at], &body[at..]]).unwrap(),
                whole,
                "cut at {at}"
            );
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in [
            "[]",
            "1",
            "<html>",
            r#"{"items":{}}"#,
            r#"{"items":[,]}"#,
            r#"{"items":[1 2]}"#,
            r#"{"items":[1}}"#,
            "{,}",
            r#"{"a"1}"#,
            r#"{"kind":}"#,
            r#"{"items":[]}x"#,
        ] {
            assert!(split(&[body.as_bytes()]).is_err(), "{body}");
        }
        assert!(!split(&[br#"{"kind":"Pod"}"#]).unwrap().1);
        assert!(!split(&[br#"{"items":["#]).unwrap().1);
    }

    #[test]
    fn keys_may_have_escapes() {
        // Found by the fuzz target `list_items`: this was a list without items.
        let body = br#"{"kind":"PodList","\u0069tems":[{"a":1}]}"#;
        assert_eq!(split(&[body]).unwrap().0, [r#"{"a":1}"#]);
        assert!(split(&[br#"{"kind":"Pod\u004cist"}"#]).unwrap().1);
        assert!(!split(&[br#"{"\u0069tem\q":[]}"#]).unwrap().1);
    }

    #[test]
    fn a_fault_repeats_and_items_before_it_stay() {
        // Found by the fuzz target `list_items`: the next chunk was taken as if nothing had been.
        let mut splitter = ItemSplitter::new(100);
        let chunk = Bytes::from_static(br#"{"items":[{"a":1},}"#);
        let fault = splitter.push(&chunk).unwrap_err().to_string();
        for more in ["{}", "]}", ""] {
            assert_eq!(splitter.push(&more.into()).unwrap_err().to_string(), fault);
        }
        assert_eq!(splitter.next_item().unwrap(), r#"{"a":1}"#);
        assert_eq!((splitter.next_item(), splitter.buffered()), (None, 0));

        let mut splitter = ItemSplitter::new(100);
        splitter.push(&r#"{"items":[]} x"#.into()).unwrap_err();
        assert!(!splitter.is_complete());
    }

    #[test]
    fn an_item_over_the_limit_is_refused_before_it_is_held() {
        let mut splitter = ItemSplitter::new(10);
        splitter
            .push(&Bytes::from_static(br#"{"items":[{"a":"#))
            .unwrap();
        let error = splitter.push(&Bytes::from(vec![b'1'; 100])).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        assert!(splitter.buffered() < 20);
    }

    #[test]
    fn bounds_are_exact() {
        let accepted = |max_item: usize, body: &str, cut: usize| {
            let mut splitter = ItemSplitter::new(max_item);
            let (before, after) = body.as_bytes().split_at(cut);
            splitter
                .push(&Bytes::copy_from_slice(before))
                .and_then(|()| splitter.push(&Bytes::copy_from_slice(after)))
                .is_ok()
        };
        let item = r#"{"items":[{"a":1234}],"#;
        let key = |len| format!(r#"{{"{}":1,"items":[]}}"#, "k".repeat(len));
        let kind = |len| format!(r#"{{"kind":"{}","items":[]}}"#, "k".repeat(len));
        for cut in [0, 5, 15] {
            assert!(accepted(10, item, cut));
            assert!(!accepted(9, item, cut));
            // With the quotation marks that belong to them.
            assert!(accepted(10, &key(MAX_FIELD - 1), cut));
            assert!(!accepted(10, &key(MAX_FIELD), cut));
            assert!(accepted(10, &kind(MAX_FIELD - 2), cut));
            assert!(!accepted(10, &kind(MAX_FIELD - 1), cut));
        }
    }

    #[test]
    fn all_that_is_held_is_counted() {
        let mut splitter = ItemSplitter::new(100);
        let mut held = |chunk: &'static str| {
            splitter
                .push(&Bytes::from_static(chunk.as_bytes()))
                .unwrap();
            splitter.buffered()
        };
        let kind = r#""PodList""#.len();
        assert_eq!(held(r#"{"kind":"PodList","#), kind);
        assert_eq!(held(r#""metadata":{"a":1},"#), kind + 7);
        assert_eq!(held(r#""items":["#), kind + 7);
        assert_eq!(held(r#"{"a":1},"#), kind + 7 + 7);
        assert_eq!(held(r#"{"b":"#), kind + 7 + 7 + 5);
        assert_eq!(held("2}]}"), kind + 7 + 7 + 7);
        assert_eq!(splitter.next_item().unwrap().len(), 7);
        assert_eq!(splitter.buffered(), kind + 7 + 7);
    }
}
