//! Waiting for conditions.

mod conditions;
mod inspect;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use super::{ObjectKey, ReflectEvent};
use crate::resource::Object;

pub use conditions::{
    Condition, Progress, crd_established, created, deleted, deleted_uid, deployment_rolled_out,
    has_condition, job_complete, namespace_gone, pod_ready,
};
pub use inspect::Inspect;

/// Which objects have to meet the condition.
#[derive(Clone, Debug)]
enum Whom {
    Named(BTreeSet<ObjectKey>),
    All { at_least: usize },
    Any,
}

/// How far one object is.
#[derive(Clone, Debug)]
struct Seen {
    progress: Progress,
}

/// Waits until objects meet a [`Condition`], as the events of a [`Reflector`](super::Reflector) tell.
///
/// Nothing is decided before the collection is complete for the first time: only then is an
/// object that did not come known not to exist. To wait for one object, let the reflector select it
/// ([`ReflectorConfig::object`](super::ReflectorConfig::object)). What is held is one line of summary for each object.
///
/// ```
/// use kubewire::Dynamic;
/// use kubewire::reflect::{ReflectEvent, wait::{Wait, pod_ready}};
///
/// let pod = |ready: &str| serde_json::from_value::<Dynamic>(serde_json::json!({
///     "metadata": {"namespace": "default", "name": "web-0"},
///     "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
/// })).unwrap();
/// let mut wait = Wait::for_object("default", "web-0", pod_ready());
/// wait.handle_event(&ReflectEvent::Init);
/// wait.handle_event(&ReflectEvent::InitApply(pod("False")));
/// wait.handle_event(&ReflectEvent::InitDone { resource_version: "7".into() });
/// assert!(wait.poll_outcome().is_none());
/// wait.handle_event(&ReflectEvent::Apply(pod("True")));
/// assert!(wait.poll_outcome().unwrap().is_ok());
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Wait<K> {
    whom: Whom,
    condition: Condition<K>,
    deadline: Option<Instant>,
    seen: BTreeMap<ObjectKey, Seen>,
    building: Option<BTreeMap<ObjectKey, Seen>>,
    ready: bool,
    stale: Option<String>,
    outcome: Option<Result<(), WaitError>>,
}

impl<K: Object> Wait<K> {
    fn new(whom: Whom, condition: Condition<K>) -> Self {
        Self {
            whom,
            condition,
            deadline: None,
            seen: BTreeMap::new(),
            building: None,
            ready: false,
            stale: None,
            outcome: None,
        }
    }

    /// Waits for one object; the namespace of a cluster-scoped one is empty.
    pub fn for_object(namespace: &str, name: &str, condition: Condition<K>) -> Self {
        Self::for_objects([ObjectKey::new(namespace, name)], condition)
    }

    /// Waits until each of these objects meets the condition.
    pub fn for_objects(keys: impl IntoIterator<Item = ObjectKey>, condition: Condition<K>) -> Self {
        Self::new(Whom::Named(keys.into_iter().collect()), condition)
    }

    /// Waits until every object of the collection meets the condition, and there are at least so many.
    pub fn for_all(at_least: usize, condition: Condition<K>) -> Self {
        Self::new(Whom::All { at_least }, condition)
    }

    /// Waits until any object of the collection meets the condition.
    pub fn for_any(condition: Condition<K>) -> Self {
        Self::new(Whom::Any, condition)
    }

    /// When to give up.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Takes an event of the reflector.
    pub fn handle_event(&mut self, event: &ReflectEvent<K>) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            ReflectEvent::Init => self.building = Some(BTreeMap::new()),
            ReflectEvent::InitApply(object) => {
                if let Some(building) = &mut self.building {
                    let progress = self.condition.check(Some(object));
                    building.insert(ObjectKey::of(object), Seen { progress });
                }
                return;
            }
            ReflectEvent::InitDone { .. } => {
                if let Some(building) = self.building.take() {
                    self.seen = building;
                    self.ready = true;
                }
            }
            ReflectEvent::Apply(object) => {
                let progress = self.condition.check(Some(object));
                self.seen.insert(ObjectKey::of(object), Seen { progress });
            }
            ReflectEvent::Delete(object) => self.gone(&ObjectKey::of(object)),
            ReflectEvent::Bad(error) => {
                let Some(object) = error.bad_object() else {
                    return;
                };
                let Some(key) = ObjectKey::of_bad(object) else {
                    return;
                };
                if object.is_deleted {
                    self.gone(&key);
                } else {
                    let progress = Progress::NotYet(format!("it cannot be read: {error}"));
                    let set = self.building.as_mut().unwrap_or(&mut self.seen);
                    set.insert(key, Seen { progress });
                }
            }
            ReflectEvent::Stale(reason) => self.stale = Some(reason.to_string()),
            ReflectEvent::Fresh => self.stale = None,
        }
        if self.ready && self.building.is_none() {
            self.decide();
        }
    }

    fn gone(&mut self, key: &ObjectKey) {
        self.building.as_mut().unwrap_or(&mut self.seen).remove(key);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let deadline = self.deadline.filter(|_| self.outcome.is_none())?;
        Some((deadline, "the deadline of the wait"))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.outcome.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(WaitFault::Deadline);
        }
    }

    /// How the wait ended, if it has. It repeats.
    ///
    /// # Errors
    ///
    /// When the deadline passed, or an object got into a state in which it cannot meet the condition any more.
    pub fn poll_outcome(&mut self) -> Option<Result<(), WaitError>> {
        self.outcome.clone()
    }

    fn decide(&mut self) {
        let absent = self.condition.check(None);
        let named: Vec<&Progress> = match &self.whom {
            Whom::Named(keys) => keys
                .iter()
                .map(|key| self.seen.get(key).map_or(&absent, |seen| &seen.progress))
                .collect(),
            Whom::All { .. } | Whom::Any => self.seen.values().map(|seen| &seen.progress).collect(),
        };
        let met = named.iter().filter(|progress| progress.is_met()).count();
        let never = named
            .iter()
            .filter(|progress| matches!(progress, Progress::Never(_)))
            .count();
        let (done, hopeless) = match self.whom {
            Whom::Named(_) => (met == named.len(), never > 0),
            Whom::All { at_least } => (met == named.len() && met >= at_least, never > 0),
            Whom::Any => (met > 0, false),
        };
        if done {
            self.outcome = Some(Ok(()));
        } else if hopeless {
            self.fail(WaitFault::Impossible);
        }
    }

    fn fail(&mut self, fault: WaitFault) {
        let mut last = BTreeMap::new();
        let absent = match self.condition.check(None) {
            Progress::Met => None,
            Progress::NotYet(text) | Progress::Never(text) => Some(text),
        };
        if let Whom::Named(keys) = &self.whom {
            let text = if self.ready {
                absent
            } else {
                Some("was not seen".to_owned())
            };
            for key in keys {
                last.extend(text.clone().map(|text| (key.clone(), text)));
            }
        }
        for (key, seen) in &self.seen {
            match &seen.progress {
                Progress::Met => {
                    last.remove(key);
                }
                Progress::NotYet(text) | Progress::Never(text) => {
                    last.insert(key.clone(), text.clone());
                }
            }
        }
        self.outcome = Some(Err(WaitError {
            fault,
            what: self.condition.to_string(),
            last,
            stale: self.stale.take(),
        }));
    }
}

impl<K> fmt::Debug for Wait<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("whom", &self.whom)
            .field("condition", &self.condition)
            .field("seen", &self.seen.len())
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Why a wait failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFault {
    /// The deadline passed.
    Deadline,
    /// An object is in a state from which it does not get to the condition.
    Impossible,
}

/// Why a wait failed, and the last known state of what did not meet the condition: phases, and
/// types, states and reasons of conditions; no other data of any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitError {
    fault: WaitFault,
    what: String,
    last: BTreeMap<ObjectKey, String>,
    stale: Option<String>,
}

impl WaitError {
    /// What went wrong.
    #[must_use]
    pub fn fault(&self) -> WaitFault {
        self.fault
    }

    /// The objects that did not meet the condition, each with what was the matter.
    pub fn last(&self) -> impl Iterator<Item = (&ObjectKey, &str)> {
        self.last.iter().map(|(key, text)| (key, text.as_str()))
    }

    /// Why the last known state was out of date, if it was.
    #[must_use]
    pub fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            WaitFault::Deadline => "the time was over before this was so: ",
            WaitFault::Impossible => "this cannot become so: ",
        })?;
        f.write_str(&self.what)?;
        for (at, (key, text)) in self.last.iter().take(5).enumerate() {
            f.write_str(if at == 0 { " (" } else { "; " })?;
            write!(f, "{key}: {text}")?;
        }
        if self.last.len() > 5 {
            write!(f, "; and {} more", self.last.len() - 5)?;
        }
        if !self.last.is_empty() {
            f.write_str(")")?;
        }
        if let Some(stale) = &self.stale {
            write!(f, "; last known state only, for {stale}")?;
        }
        Ok(())
    }
}

impl std::error::Error for WaitError {}
