//! Objects by namespace and name, shared by copying on writes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::version::is_older;
use crate::BadObject;
use crate::resource::Object;

/// Which object of a collection.
///
/// ```
/// use kubewire::reflect::ObjectKey;
/// assert_eq!(ObjectKey::new("default", "web").to_string(), "default/web");
/// assert_eq!(ObjectKey::new("", "node-1").to_string(), "node-1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object; the namespace of a cluster-scoped one is empty.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of this object.
    #[must_use]
    pub fn of<K: Object>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(
            meta.namespace.unwrap_or_default(),
            meta.name.unwrap_or_default(),
        )
    }

    pub(super) fn of_bad(object: &BadObject) -> Option<Self> {
        Some(Self::new(
            object.namespace.clone().unwrap_or_default(),
            object.name.clone()?,
        ))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

type Names<K> = BTreeMap<String, Arc<K>>;

/// The map of a store. Both levels are shared with snapshots until they change.
pub(super) struct Objects<K> {
    namespaces: Arc<BTreeMap<String, Arc<Names<K>>>>,
    len: usize,
}

impl<K> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self {
            namespaces: self.namespaces.clone(),
            len: self.len,
        }
    }
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            namespaces: Arc::default(),
            len: 0,
        }
    }
}

impl<K> Objects<K> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn lookup(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.namespaces.get(namespace)?.get(name)
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<K>> {
        self.lookup(&key.namespace, &key.name)
    }

    pub(super) fn contains(&self, key: &ObjectKey) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn insert(&mut self, key: &ObjectKey, object: Arc<K>) -> Option<Arc<K>> {
        let namespaces = Arc::make_mut(&mut self.namespaces);
        let names = match namespaces.get_mut(&key.namespace) {
            Some(names) => names,
            None => namespaces.entry(key.namespace.clone()).or_default(),
        };
        let old = Arc::make_mut(names).insert(key.name.clone(), object);
        self.len += usize::from(old.is_none());
        old
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        if !self.contains(key) {
            return None;
        }
        let namespaces = Arc::make_mut(&mut self.namespaces);
        let names = Arc::make_mut(namespaces.get_mut(&key.namespace)?);
        let old = names.remove(&key.name)?;
        if names.is_empty() {
            namespaces.remove(&key.namespace);
        }
        self.len -= 1;
        Some(old)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces.values().flat_map(|names| names.values())
    }

    pub(super) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces
            .get(namespace)
            .into_iter()
            .flat_map(|names| names.values())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (ObjectKey, &Arc<K>)> {
        self.namespaces.iter().flat_map(|(namespace, names)| {
            names
                .iter()
                .map(move |(name, object)| (ObjectKey::new(namespace, name), object))
        })
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.entries().map(|(key, _)| key).collect()
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (ObjectKey, Arc<K>)> {
        let namespaces = Arc::unwrap_or_clone(self.namespaces);
        namespaces.into_iter().flat_map(|(namespace, names)| {
            Arc::unwrap_or_clone(names)
                .into_iter()
                .map(move |(name, object)| (ObjectKey::new(namespace.clone(), name), object))
        })
    }
}

impl<K: Object> Objects<K> {
    /// Whether what is there is certainly newer than this object.
    pub(super) fn outdates(&self, key: &ObjectKey, object: &K) -> bool {
        self.get(key).is_some_and(|old| {
            let (old, new) = (old.meta(), object.meta());
            match (new.resource_version, old.resource_version) {
                (Some(new), Some(old)) => is_older(new, old),
                _ => false,
            }
        })
    }
}

/// The objects of a [`Store`](super::Store) as they were at one moment. Cheap to clone, and unchanging.
///
/// ```
/// use kubewire::{Dynamic, reflect::Store};
/// let store = Store::<Dynamic>::new();
/// let snapshot = store.snapshot();
/// assert!(snapshot.is_empty() && !snapshot.is_ready());
/// ```
pub struct Snapshot<K> {
    objects: Objects<K>,
    ready: bool,
    version: Option<String>,
}

impl<K> Snapshot<K> {
    pub(super) fn new(objects: Objects<K>, ready: bool, version: Option<String>) -> Self {
        Self {
            objects,
            ready,
            version,
        }
    }

    /// An object; the namespace of a cluster-scoped one is empty.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.lookup(namespace, name)
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.iter()
    }

    /// The objects of a namespace, by name.
    pub fn list_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.objects.iter_in(namespace)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the collection was complete once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The version of the last change that is in it.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            ready: self.ready,
            version: self.version.clone(),
        }
    }
}

impl<K> fmt::Debug for Snapshot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("len", &self.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
