//! The objects and what happened to them.
//!
//! One lock guards objects, revision and history. Every write is a transaction under it, so there are no
//! conflicts to retry; a list at an older revision is made by undoing history. Watches have no queue of
//! their own: each keeps a cursor into the history, and one that falls out of it is told that it is too old.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub(crate) type Object = Arc<Value>;

/// The first revision, so that small resource versions are too old as they are on a server with a past.
const FIRST_REVISION: u64 = 200;
const HISTORY_CHANGES: usize = 8192;
const HISTORY_BYTES: usize = 64 << 20;
/// How much of the history is followed at a time.
const BATCH: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeType {
    Added,
    Modified,
    Deleted,
}

/// One write.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_field_names,
    reason = "the type of a change is what it is called everywhere"
)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) resource: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) change: ChangeType,
    /// The object after the write; of a deletion, the last state with the deletion's resourceVersion.
    pub(crate) object: Object,
    pub(crate) previous: Option<Object>,
    size: usize,
}

/// A revision that history no longer has; carries the oldest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld(pub(crate) u64);

#[derive(Debug)]
struct Inner {
    revision: u64,
    objects: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Object>>,
    history: VecDeque<Change>,
    history_bytes: usize,
    /// History begins after this revision.
    compacted: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

/// The key of an object within its resource.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            revision: FIRST_REVISION,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            history_bytes: 0,
            compacted: FIRST_REVISION,
        };
        Self {
            inner: Mutex::new(inner),
            revision: watch::Sender::new(FIRST_REVISION),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of new revisions.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(crate) fn get(&self, resource: &str, key: &str) -> Option<Object> {
        self.lock().objects.get(resource)?.get(key).cloned()
    }

    /// The objects whose key starts with `prefix`, in order, and the revision.
    pub(crate) fn list(&self, resource: &str, prefix: &str) -> (u64, Vec<(Arc<str>, Object)>) {
        let inner = self.lock();
        (inner.revision, inner.range(resource, prefix))
    }

    /// The objects as they were at `revision`.
    pub(crate) fn list_at(
        &self,
        resource: &str,
        prefix: &str,
        revision: u64,
    ) -> Result<Vec<(Arc<str>, Object)>, TooOld> {
        let inner = self.lock();
        if revision < inner.compacted {
            return Err(TooOld(inner.compacted));
        }
        let mut objects: BTreeMap<Arc<str>, Object> =
            inner.range(resource, prefix).into_iter().collect();
        for change in inner
            .history
            .iter()
            .rev()
            .take_while(|c| c.revision > revision)
        {
            if &*change.resource == resource && change.key.starts_with(prefix) {
                match &change.previous {
                    Some(previous) => objects.insert(Arc::clone(&change.key), Arc::clone(previous)),
                    None => objects.remove(&change.key),
                };
            }
        }
        Ok(objects.into_iter().collect())
    }

    /// Up to `limit` changes of a resource after `cursor` (of all resources if `None`), and the new cursor.
    pub(crate) fn changes(
        &self,
        resource: Option<&str>,
        cursor: u64,
        limit: usize,
    ) -> Result<(Vec<Change>, u64), TooOld> {
        let inner = self.lock();
        if cursor < inner.compacted {
            return Err(TooOld(inner.compacted));
        }
        let start = inner.history.partition_point(|c| c.revision <= cursor);
        let wanted = |change: &&Change| resource.is_none_or(|r| &*change.resource == r);
        let changes: Vec<Change> = inner
            .history
            .range(start..)
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect();
        let next = match changes.last() {
            Some(last) if changes.len() == limit => last.revision,
            _ => inner.revision.max(cursor),
        };
        Ok((changes, next))
    }

    /// Hands over the changes of a resource after `cursor` (of all resources if `None`) for as long as it is polled.
    /// If history is shorter than that, `resync` looks at everything, and says at which revision.
    pub(crate) async fn follow(
        &self,
        resource: Option<&str>,
        mut cursor: u64,
        react: impl Fn(&Change),
        resync: impl Fn() -> u64,
    ) {
        let mut revisions = self.subscribe();
        loop {
            revisions.mark_unchanged();
            let Ok((changes, next)) = self.changes(resource, cursor, BATCH) else {
                cursor = resync();
                continue;
            };
            cursor = next;
            let more = changes.len() == BATCH;
            for change in changes {
                react(&change);
            }
            if more {
                tokio::task::yield_now().await;
            } else if revisions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs `body` with the lock held, then wakes the watches.
    pub(crate) fn transact<T>(&self, body: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.revision;
        let result = body(&mut Transaction { inner: &mut inner });
        let after = inner.revision;
        drop(inner);
        if after != before {
            self.revision.send_if_modified(|current| {
                let newer = after > *current;
                *current = after.max(*current);
                newer
            });
        }
        result
    }

    /// Wakes the watches although nothing was written.
    pub(crate) fn nudge(&self) {
        self.revision.send_modify(|_| {});
    }

    /// Forgets history: older resource versions are gone.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        inner.compacted = inner.revision;
        inner.history.clear();
        inner.history_bytes = 0;
    }
}

impl Inner {
    fn range(&self, resource: &str, prefix: &str) -> Vec<(Arc<str>, Object)> {
        let Some(objects) = self.objects.get(resource) else {
            return Vec::new();
        };
        let from = (
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        );
        let range = objects
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix));
        range
            .map(|(key, object)| (Arc::clone(key), Arc::clone(object)))
            .collect()
    }

    fn record(&mut self, change: Change) {
        self.history_bytes += change.size;
        self.history.push_back(change);
        while self.history.len() > HISTORY_CHANGES || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= oldest.size;
            self.compacted = oldest.revision;
        }
    }
}

/// A write in progress: reads see what it wrote.
pub(crate) struct Transaction<'a> {
    inner: &'a mut Inner,
}

impl Transaction<'_> {
    pub(crate) fn get(&self, resource: &str, key: &str) -> Option<&Object> {
        self.inner.objects.get(resource)?.get(key)
    }

    /// All objects of a resource.
    pub(crate) fn all(&self, resource: &str) -> Vec<(Arc<str>, Object)> {
        self.inner.range(resource, "")
    }

    /// Stores `value` under a new resourceVersion.
    pub(crate) fn put(&mut self, resource: &str, key: &str, mut value: Value) -> Object {
        let revision = self.bump(&mut value);
        let object = Arc::new(value);
        let resource: Arc<str> = resource.into();
        let key: Arc<str> = key.into();
        let objects = self.inner.objects.entry(Arc::clone(&resource)).or_default();
        let previous = objects.insert(Arc::clone(&key), Arc::clone(&object));
        let change = if previous.is_some() {
            ChangeType::Modified
        } else {
            ChangeType::Added
        };
        let size = weight(&object);
        self.inner.record(Change {
            revision,
            resource,
            key,
            change,
            object: Arc::clone(&object),
            previous,
            size,
        });
        object
    }

    /// Removes an object; `last` is the state that watches see.
    pub(crate) fn delete(&mut self, resource: &str, key: &str, mut last: Value) -> Option<Object> {
        let previous = self.inner.objects.get_mut(resource)?.remove(key)?;
        let revision = self.bump(&mut last);
        let object = Arc::new(last);
        let change = Change {
            revision,
            resource: resource.into(),
            key: key.into(),
            change: ChangeType::Deleted,
            object: Arc::clone(&object),
            size: weight(&object),
            previous: Some(previous),
        };
        self.inner.record(change);
        Some(object)
    }

    fn bump(&mut self, value: &mut Value) -> u64 {
        self.inner.revision += 1;
        value["metadata"]["resourceVersion"] = self.inner.revision.to_string().into();
        self.inner.revision
    }
}

/// A rough size in memory, to bound the history.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => 32 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            32 + map
                .iter()
                .map(|(k, v)| 48 + k.len() + weight(v))
                .sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(store: &Store, key: &str, text: &str) -> u64 {
        let object = store.transact(|tx| tx.put("r", key, json!({"metadata": {}, "v": text})));
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn older_revisions_come_back_by_undoing_history() {
        let store = Store::new();
        let first = put(&store, "a", "1");
        put(&store, "b", "1");
        let second = put(&store, "a", "2");
        store.transact(|tx| tx.delete("r", "b", json!({"metadata": {}})));
        let at = |revision| -> Vec<String> {
            let list = store.list_at("r", "", revision).unwrap();
            list.iter()
                .map(|(k, o)| format!("{k}={}", o["v"].as_str().unwrap()))
                .collect()
        };
        assert_eq!(at(first), ["a=1"]);
        assert_eq!(at(second), ["a=2", "b=1"]);
        assert_eq!(at(store.revision()), ["a=2"]);
        let (changes, cursor) = store.changes(Some("r"), first, 10).unwrap();
        assert_eq!(
            changes.iter().map(|c| c.change).collect::<Vec<_>>(),
            [ChangeType::Added, ChangeType::Modified, ChangeType::Deleted]
        );
        assert_eq!(cursor, store.revision());
        store.compact();
        assert_eq!(
            store.changes(Some("r"), first, 10).unwrap_err(),
            TooOld(store.revision())
        );
        assert!(
            store
                .changes(Some("r"), store.revision(), 10)
                .unwrap()
                .0
                .is_empty()
        );
        assert!(store.list_at("r", "", first).is_err());
    }

    #[test]
    fn history_is_bounded() {
        let store = Store::new();
        for i in 0..(HISTORY_CHANGES + 10) {
            put(&store, "a", &i.to_string());
        }
        assert!(store.lock().history.len() <= HISTORY_CHANGES);
        assert!(store.changes(Some("r"), FIRST_REVISION, 1).is_err());
    }
}
