//! A cache over the events of a reflector.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::ReflectEvent;
use super::snapshot::{ObjectKey, Objects, Snapshot};
use super::version::is_older;
use crate::resource::Object;
use crate::{BadObject, Error};

/// What an event changed in a [`Store`].
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<K> {
    /// An object is new.
    Added(Arc<K>),
    /// An object has another version.
    Updated {
        /// As it was.
        old: Arc<K>,
        /// As it is.
        new: Arc<K>,
    },
    /// An object is gone: its last state that is known, which after a list is not the last that there was.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object as it is now, or was last.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => {
                object
            }
        }
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(object) => Self::Added(object.clone()),
            Self::Updated { old, new } => Self::Updated {
                old: old.clone(),
                new: new.clone(),
            },
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

/// A set of objects that is being read, and what of it could not be read.
struct Building<K> {
    objects: Objects<K>,
    bad: BTreeSet<ObjectKey>,
}

type Keys<K> = dyn Fn(&K) -> Vec<String> + Send + Sync;

/// A secondary index.
struct Index<K> {
    keys: Arc<Keys<K>>,
    entries: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys)(object) {
            self.entries.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys)(object) {
            if let Some(keys) = self.entries.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
    }
}

/// The objects of a collection by namespace and name, as the events of a [`Reflector`](super::Reflector) tell them.
///
/// It is a plain value: whoever owns it applies the events, and gives [snapshots](Self::snapshot) to others. What is
/// read is always a whole set: a new list shows when it is complete, all at once.
///
/// An event that is older than what is there (the server said it twice) is ignored, where versions can be compared.
/// An object that cannot be decoded keeps its last state that could, and is [named](Self::bad).
///
/// ```
/// use kubewire::Dynamic;
/// use kubewire::reflect::{ReflectEvent, Store};
///
/// let pod = |json: &str| serde_json::from_str::<Dynamic>(json).unwrap();
/// let mut store = Store::new();
/// store.apply(ReflectEvent::Init);
/// store.apply(ReflectEvent::InitApply(pod(r#"{"metadata":{"namespace":"a","name":"web"}}"#)));
/// assert!(!store.is_ready() && store.get("a", "web").is_none());
/// let changes = store.apply(ReflectEvent::InitDone { resource_version: "7".into() });
/// assert_eq!((changes.len(), store.len(), store.resource_version()), (1, 1, Some("7")));
/// assert!(store.get("a", "web").is_some());
/// ```
pub struct Store<K> {
    objects: Objects<K>,
    bad: BTreeSet<ObjectKey>,
    building: Option<Building<K>>,
    indexes: BTreeMap<&'static str, Index<K>>,
    version: Option<String>,
    ready: bool,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self {
            objects: Objects::default(),
            bad: BTreeSet::new(),
            building: None,
            indexes: BTreeMap::new(),
            version: None,
            ready: false,
        }
    }
}

impl<K: Object> Store<K> {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an index: `keys` gives the values under which an object is to be found.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::reflect::Store;
    ///
    /// let store = Store::<Pod>::new().index("node", |pod| {
    ///     pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect()
    /// });
    /// assert!(store.indexed("node", "node-1").is_empty());
    /// # }
    /// ```
    #[must_use]
    pub fn index(
        mut self,
        name: &'static str,
        keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        let mut index = Index {
            keys: Arc::new(keys),
            entries: BTreeMap::new(),
        };
        for (key, object) in self.objects.entries() {
            index.insert(&key, object);
        }
        self.indexes.insert(name, index);
        self
    }

    /// Takes an event; what it changed. Nothing is copied.
    ///
    /// The changes of [`InitDone`](ReflectEvent::InitDone) are the difference between the sets, with a
    /// [`Change::Deleted`] for each object that vanished while nobody looked. An object that was replaced by
    /// another of the same name is deleted and added.
    pub fn apply(&mut self, event: ReflectEvent<K>) -> Vec<Change<K>> {
        let mut changes = Vec::new();
        match event {
            ReflectEvent::Init => {
                self.building = Some(Building {
                    objects: Objects::default(),
                    bad: BTreeSet::new(),
                });
            }
            ReflectEvent::InitApply(object) => {
                if let Some(building) = &mut self.building {
                    let key = ObjectKey::of(&object);
                    if !building.objects.outdates(&key, &object) {
                        building.bad.remove(&key);
                        building.objects.insert(&key, Arc::new(object));
                    }
                }
            }
            ReflectEvent::InitDone { resource_version } => {
                self.swap(&mut changes);
                self.version = Some(resource_version).filter(|version| !version.is_empty());
            }
            ReflectEvent::Apply(object) => {
                let key = ObjectKey::of(&object);
                self.saw(object.meta().resource_version);
                if !self.objects.outdates(&key, &object) {
                    self.bad.remove(&key);
                    self.put(&key, Arc::new(object), &mut changes);
                }
            }
            ReflectEvent::Delete(object) => self.delete(&object, &mut changes),
            ReflectEvent::Bad(error) => self.set_bad(&error, &mut changes),
            ReflectEvent::Stale(_) | ReflectEvent::Fresh => {}
        }
        changes
    }

    fn delete(&mut self, object: &K, changes: &mut Vec<Change<K>>) {
        let key = ObjectKey::of(object);
        if let Some(building) = &mut self.building {
            if !building.objects.outdates(&key, object) {
                building.bad.remove(&key);
                building.objects.remove(&key);
            }
            return;
        }
        self.saw(object.meta().resource_version);
        if !self.objects.outdates(&key, object) {
            self.bad.remove(&key);
            self.take(&key, changes);
        }
    }

    fn set_bad(&mut self, error: &Error, changes: &mut Vec<Change<K>>) {
        let Some(object) = error.bad_object() else {
            return;
        };
        let Some(key) = ObjectKey::of_bad(object) else {
            return;
        };
        let BadObject { is_deleted, .. } = *object;
        match (&mut self.building, is_deleted) {
            (Some(building), true) => {
                building.bad.remove(&key);
                building.objects.remove(&key);
            }
            (Some(building), false) => {
                building.bad.insert(key);
            }
            (None, true) => {
                self.saw(object.resource_version.as_deref());
                self.bad.remove(&key);
                self.take(&key, changes);
            }
            (None, false) => {
                self.saw(object.resource_version.as_deref());
                self.bad.insert(key);
            }
        }
    }

    /// Puts the new set in the place of the old one.
    fn swap(&mut self, changes: &mut Vec<Change<K>>) {
        let Some(Building { objects: new, bad }) = self.building.take() else {
            return;
        };
        for key in self.objects.keys() {
            if !new.contains(&key) && !bad.contains(&key) {
                self.take(&key, changes);
            }
        }
        for (key, object) in new.into_entries() {
            let same = self.objects.get(&key).is_some_and(|old| {
                let (old, new) = (old.meta(), object.meta());
                new.resource_version.is_some()
                    && old.resource_version == new.resource_version
                    && old.uid == new.uid
            });
            if !same {
                self.put(&key, object, changes);
            }
        }
        self.bad = bad;
        self.ready = true;
    }

    fn put(&mut self, key: &ObjectKey, new: Arc<K>, changes: &mut Vec<Change<K>>) {
        for index in self.indexes.values_mut() {
            if let Some(old) = self.objects.get(key) {
                index.remove(key, old);
            }
            index.insert(key, &new);
        }
        match self.objects.insert(key, new.clone()) {
            None => changes.push(Change::Added(new)),
            Some(old) if old.meta().uid == new.meta().uid => {
                changes.push(Change::Updated { old, new });
            }
            Some(old) => changes.extend([Change::Deleted(old), Change::Added(new)]),
        }
    }

    fn take(&mut self, key: &ObjectKey, changes: &mut Vec<Change<K>>) {
        if let Some(old) = self.objects.remove(key) {
            for index in self.indexes.values_mut() {
                index.remove(key, &old);
            }
            changes.push(Change::Deleted(old));
        }
    }

    fn saw(&mut self, version: Option<&str>) {
        if let Some(new) = version
            && !self
                .version
                .as_deref()
                .is_some_and(|old| is_older(new, old))
        {
            self.version = Some(new.to_owned());
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

    /// The objects that have all of these labels.
    ///
    /// ```
    /// use kubewire::{Dynamic, reflect::Store};
    /// let store = Store::<Dynamic>::new();
    /// assert_eq!(store.labelled(&[("app", "web"), ("tier", "front")]).count(), 0);
    /// ```
    pub fn labelled<'a>(&'a self, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Arc<K>> {
        self.matching(|found| {
            labels
                .iter()
                .all(|(key, value)| found.get(*key).is_some_and(|found| found == value))
        })
    }

    /// The objects whose labels a selector takes, whatever implements it.
    pub fn matching(
        &self,
        selector: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> impl Iterator<Item = &Arc<K>> {
        let none = BTreeMap::new();
        self.list()
            .filter(move |object| selector(object.meta().labels.unwrap_or(&none)))
    }

    /// The objects that an [`index`](Self::index) has under a value.
    #[must_use]
    pub fn indexed(&self, index: &str, value: &str) -> Vec<&Arc<K>> {
        let keys = self
            .indexes
            .get(index)
            .and_then(|index| index.entries.get(value));
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.objects.get(key))
            .collect()
    }

    /// The names of the objects that exist in a state which could not be decoded. If there is a last state that could,
    /// [`get`](Self::get) gives that.
    pub fn bad(&self) -> impl Iterator<Item = &ObjectKey> {
        self.bad.iter()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no objects. See also [`is_ready`](Self::is_ready).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the collection was complete once: before that, nothing can be said about what there is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The version of the last change that is in the store, or of its list.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The objects as they are now, for somebody else.
    ///
    /// It costs nothing. While it is held, the first change in a namespace copies the pointers (not the objects) of that namespace.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<K> {
        Snapshot::new(self.objects.clone(), self.ready, self.version.clone())
    }
}

impl<K> fmt::Debug for Store<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("len", &self.objects.len())
            .field("bad", &self.bad.len())
            .field("ready", &self.ready)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
