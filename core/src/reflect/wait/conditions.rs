//! The usual conditions.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Inspect;
use crate::resource::{HasLogs, Object};

/// How far an object is from a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It meets it.
    Met,
    /// Not now; what is the matter, for people.
    NotYet(String),
    /// Not any more; why, for people.
    Never(String),
}

impl Progress {
    /// Whether the condition is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        *self == Self::Met
    }
}

type Check<K> = dyn Fn(Option<&K>) -> Progress + Send + Sync;

/// What an object is to be, or that it is not to be at all.
///
/// The functions of this module make the usual ones; [`new`](Self::new) and [`so_that`](Self::so_that) any other.
#[derive(Clone)]
pub struct Condition<K> {
    what: Arc<str>,
    check: Arc<Check<K>>,
}

impl<K> Condition<K> {
    /// A condition of one's own: `what` it is, for people, and how far an object is from it, or its absence.
    pub fn new(what: &str, check: impl Fn(Option<&K>) -> Progress + Send + Sync + 'static) -> Self {
        Self {
            what: what.into(),
            check: Arc::new(check),
        }
    }

    /// That an object exists for which `check` is true.
    ///
    /// ```
    /// use kubewire::{Dynamic, reflect::wait::Condition};
    /// let labelled = Condition::<Dynamic>::so_that("is labelled", |object| !object.metadata.labels.is_empty());
    /// assert!(!labelled.check(Some(&Dynamic::default())).is_met());
    /// ```
    pub fn so_that(what: &str, check: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self {
        Self::new(what, move |object| match object {
            Some(object) if check(object) => Progress::Met,
            Some(_) => Progress::NotYet("not so".to_owned()),
            None => absent(),
        })
    }

    /// How far an object is, or its absence.
    #[must_use]
    pub fn check(&self, object: Option<&K>) -> Progress {
        (self.check)(object)
    }
}

impl<K> fmt::Display for Condition<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl<K> fmt::Debug for Condition<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.what)
    }
}

fn absent() -> Progress {
    Progress::NotYet("does not exist".to_owned())
}

fn unobserved() -> Progress {
    Progress::NotYet("the change was not observed yet".to_owned())
}

/// The parts of a status that conditions look at. A part that does not fit counts as absent: other kinds may have others
/// of its name.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "fitting")]
    phase: Option<String>,
    #[serde(deserialize_with = "fitting")]
    reason: Option<String>,
    #[serde(deserialize_with = "fitting_entries")]
    conditions: Vec<Entry>,
    #[serde(deserialize_with = "fitting")]
    observed_generation: Option<i64>,
    #[serde(deserialize_with = "fitting")]
    replicas: i64,
    #[serde(deserialize_with = "fitting")]
    updated_replicas: i64,
    #[serde(deserialize_with = "fitting")]
    available_replicas: i64,
}

#[derive(Deserialize)]
struct Entry {
    r#type: String,
    status: String,
    #[serde(default, deserialize_with = "fitting")]
    reason: Option<String>,
    #[serde(rename = "observedGeneration", default, deserialize_with = "fitting")]
    observed_generation: Option<i64>,
}

fn fitting<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(T::deserialize(Value::deserialize(from)?).unwrap_or_default())
}

fn fitting_entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    let entries: Vec<Value> = fitting(from)?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| Entry::deserialize(entry).ok())
        .collect())
}

impl Status {
    fn of<K: Inspect>(object: &K) -> Self {
        object.field("status").unwrap_or_default()
    }

    fn condition(&self, name: &str) -> Option<&Entry> {
        self.conditions.iter().find(|entry| entry.r#type == name)
    }

    fn is_true(&self, name: &str) -> bool {
        self.condition(name)
            .is_some_and(|entry| entry.status == "True")
    }

    /// Whether a condition speaks of what the object was before its last change.
    fn is_outdated<K: Object>(&self, entry: &Entry, object: &K) -> bool {
        entry
            .observed_generation
            .or(self.observed_generation)
            .is_some_and(|seen| Some(seen) < object.meta().generation)
    }

    /// Phase, and one condition: names, states and reasons, which are tokens and no free text.
    fn summary(&self, name: &str) -> String {
        let mut text = match &self.phase {
            Some(phase) => format!("phase {phase}, {name}="),
            None => format!("{name}="),
        };
        match self.condition(name) {
            Some(entry) => {
                text.push_str(&entry.status);
                if let Some(reason) = entry.reason.as_deref().filter(|reason| !reason.is_empty()) {
                    text.push_str(": ");
                    text.push_str(reason);
                }
            }
            None => text.push_str("(not set)"),
        }
        text
    }
}

/// That the object exists.
#[must_use]
pub fn created<K: Object>() -> Condition<K> {
    Condition::new("it exists", |object| match object {
        Some(_) => Progress::Met,
        None => absent(),
    })
}

fn still_there<K: Object>(object: &K) -> Progress {
    let meta = object.meta();
    Progress::NotYet(
        if meta.is_terminating {
            "terminating"
        } else {
            "exists"
        }
        .to_owned(),
    )
}

/// That no object of the name exists.
#[must_use]
pub fn deleted<K: Object>() -> Condition<K> {
    Condition::new("it is deleted", |object| {
        object.map_or(Progress::Met, still_there)
    })
}

/// That the object with this uid does not exist, though another of its name may.
///
/// ```
/// use kubewire::{Dynamic, reflect::wait::deleted_uid};
/// let object: Dynamic = serde_json::from_str(r#"{"metadata":{"name":"a","uid":"new"}}"#).unwrap();
/// assert!(deleted_uid("old").check(Some(&object)).is_met());
/// assert!(!deleted_uid("new").check(Some(&object)).is_met());
/// ```
#[must_use]
pub fn deleted_uid<K: Object>(uid: &str) -> Condition<K> {
    let uid = uid.to_owned();
    Condition::new("it is deleted", move |object: Option<&K>| match object {
        Some(object) if object.meta().uid == Some(&uid) => still_there(object),
        Some(_) | None => Progress::Met,
    })
}

/// That a namespace is gone with all it held. While it is not, the last state says what remains.
#[must_use]
pub fn namespace_gone<K: Inspect>() -> Condition<K> {
    Condition::new("the namespace is gone", |object: Option<&K>| {
        let Some(object) = object else {
            return Progress::Met;
        };
        let status = Status::of(object);
        let mut text = format!("phase {}", status.phase.as_deref().unwrap_or("unknown"));
        for entry in status
            .conditions
            .iter()
            .filter(|entry| entry.status == "True")
        {
            text.push_str(", ");
            text.push_str(&entry.r#type);
        }
        Progress::NotYet(text)
    })
}

/// That a condition in the object's status is `True`, whatever its kind, and of the object's last change.
///
/// As for `kubectl wait`, a condition counts not before its `observedGeneration`, or without one that of the status, has
/// reached `metadata.generation`. Where none of the two is an integer, it counts as it is.
///
/// ```
/// use kubewire::{Dynamic, reflect::wait::has_condition};
/// let node: Dynamic = serde_json::from_str(
///     r#"{"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#).unwrap();
/// assert!(has_condition("Ready").check(Some(&node)).is_met());
/// ```
#[must_use]
pub fn has_condition<K: Inspect>(name: &str) -> Condition<K> {
    let name = name.to_owned();
    Condition::new(&format!("{name} is true"), move |object: Option<&K>| {
        let Some(object) = object else {
            return absent();
        };
        let status = Status::of(object);
        if let Some(entry) = status.condition(&name)
            && status.is_outdated(entry, object)
        {
            unobserved()
        } else if status.is_true(&name) {
            Progress::Met
        } else {
            Progress::NotYet(status.summary(&name))
        }
    })
}

/// That a pod is ready. A pod that has ended will never be.
#[must_use]
pub fn pod_ready<K: Inspect + HasLogs>() -> Condition<K> {
    Condition::new("the pod is ready", |object: Option<&K>| {
        let Some(object) = object else {
            return absent();
        };
        let status = Status::of(object);
        match status.phase.as_deref() {
            Some(phase @ ("Succeeded" | "Failed")) => {
                let reason = status
                    .reason
                    .as_deref()
                    .map_or(String::new(), |reason| format!(": {reason}"));
                Progress::Never(format!("phase {phase}{reason}"))
            }
            _ if status.is_true("Ready") && !object.meta().is_terminating => Progress::Met,
            _ => Progress::NotYet(status.summary("Ready")),
        }
    })
}

/// That a job is complete. A job that has failed will never be.
#[must_use]
pub fn job_complete<K: Inspect>() -> Condition<K> {
    Condition::new("the job is complete", |object: Option<&K>| {
        let Some(object) = object else {
            return absent();
        };
        let status = Status::of(object);
        if status.is_true("Complete") {
            Progress::Met
        } else if status.is_true("Failed") {
            Progress::Never(status.summary("Failed"))
        } else {
            Progress::NotYet(status.summary("Complete"))
        }
    })
}

/// That a deployment's last change is rolled out: all replicas are of the new revision and available, and no old ones are left. One that
/// exceeded its progress deadline is taken for failed.
#[must_use]
pub fn deployment_rolled_out<K: Inspect>() -> Condition<K> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        replicas: Option<i64>,
    }
    Condition::new("the deployment is rolled out", |object: Option<&K>| {
        let Some(object) = object else {
            return absent();
        };
        let status = Status::of(object);
        let wanted = object
            .field::<Spec>("spec")
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        if status.observed_generation < object.meta().generation {
            return unobserved();
        }
        if let Some(entry) = status.condition("Progressing")
            && entry.reason.as_deref() == Some("ProgressDeadlineExceeded")
        {
            return Progress::Never(status.summary("Progressing"));
        }
        let (updated, available) = (status.updated_replicas, status.available_replicas);
        if updated >= wanted && status.replicas <= updated && available >= updated {
            Progress::Met
        } else {
            Progress::NotYet(format!(
                "{updated} of {wanted} replicas are new, {available} available, {} in all",
                status.replicas
            ))
        }
    })
}

/// That a `CustomResourceDefinition` is established: its objects can be used. One whose names are taken by another
/// will not be before that one goes.
#[must_use]
pub fn crd_established<K: Inspect>() -> Condition<K> {
    Condition::new(
        "the resource definition is established",
        |object: Option<&K>| {
            let Some(object) = object else {
                return absent();
            };
            let status = Status::of(object);
            if status.is_true("Established") {
                return Progress::Met;
            }
            match status.condition("NamesAccepted") {
                Some(entry) if entry.status == "False" => {
                    Progress::NotYet(status.summary("NamesAccepted"))
                }
                _ => Progress::NotYet(status.summary("Established")),
            }
        },
    )
}
