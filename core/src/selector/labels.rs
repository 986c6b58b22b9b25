//! Label selectors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{IntoLabelSelector, parse};
use crate::Error;

/// A selector of objects by their labels. All requirements must hold.
///
/// It is built by methods or parsed from text, can be given to
/// [`labels`](crate::ListObjects::labels), and can be applied here to labels that are known.
///
/// The syntax has no escapes. A key or value that no label can have is refused when the selector is used, so
/// that input from elsewhere cannot smuggle in a requirement.
///
/// ```
/// use kubewire::LabelSelector;
/// use std::collections::BTreeMap;
///
/// let selector = LabelSelector::new().eq("app", "web").is_in("tier", ["a", "b"]).not_exists("old");
/// assert_eq!(selector.to_string(), "app=web,tier in (a,b),!old");
/// assert_eq!("app == web, tier in (b, a),!old".parse::<LabelSelector>()?, selector);
///
/// let mut labels = BTreeMap::from([("app", "web"), ("tier", "b")]);
/// assert!(selector.matches(&labels));
/// labels.insert("old", "");
/// assert!(!selector.matches(&labels));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    fault: Option<Error>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equals(String),
    NotEquals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    NotExists,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// A selector of everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The label is there and has this value.
    #[must_use]
    pub fn eq(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.and(key, Test::Equals(value.into()))
    }

    /// The label has another value, or is not there.
    #[must_use]
    pub fn ne(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.and(key, Test::NotEquals(value.into()))
    }

    /// The label is there and has one of these values.
    #[must_use]
    pub fn is_in<V>(self, key: impl Into<String>, values: V) -> Self
    where
        V: IntoIterator<Item: Into<String>>,
    {
        self.and(key, Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// The label has none of these values, or is not there.
    #[must_use]
    pub fn not_in<V>(self, key: impl Into<String>, values: V) -> Self
    where
        V: IntoIterator<Item: Into<String>>,
    {
        self.and(
            key,
            Test::NotIn(values.into_iter().map(Into::into).collect()),
        )
    }

    /// The label is there.
    #[must_use]
    pub fn exists(self, key: impl Into<String>) -> Self {
        self.and(key, Test::Exists)
    }

    /// The label is not there.
    #[must_use]
    pub fn not_exists(self, key: impl Into<String>) -> Self {
        self.and(key, Test::NotExists)
    }

    /// The label is a number above this one.
    #[must_use]
    pub fn greater_than(self, key: impl Into<String>, number: i64) -> Self {
        self.and(key, Test::GreaterThan(number))
    }

    /// The label is a number below this one.
    #[must_use]
    pub fn less_than(self, key: impl Into<String>, number: i64) -> Self {
        self.and(key, Test::LessThan(number))
    }

    /// Whether it has no requirements: everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.fault.is_none()
    }

    /// Whether these labels match. A selector that is not valid matches nothing.
    #[must_use]
    pub fn matches<K, V>(&self, labels: &BTreeMap<K, V>) -> bool
    where
        K: std::borrow::Borrow<str> + Ord,
        V: AsRef<str>,
    {
        let holds = |requirement: &Requirement| {
            let value = labels.get(requirement.key.as_str()).map(AsRef::as_ref);
            requirement.test.holds(value)
        };
        self.fault.is_none() && self.requirements.iter().all(holds)
    }

    fn and(mut self, key: impl Into<String>, test: Test) -> Self {
        let requirement = Requirement {
            key: key.into(),
            test,
        };
        match requirement.check() {
            Ok(()) => self.requirements.push(requirement),
            Err(error) => {
                self.fault.get_or_insert(error);
            }
        }
        self
    }

    pub(super) fn of(requirements: Vec<Requirement>) -> Result<Self, Error> {
        requirements.iter().try_for_each(Requirement::check)?;
        Ok(Self {
            requirements,
            fault: None,
        })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Equals(want) => value == Some(want),
            Self::NotEquals(want) => value != Some(want),
            Self::In(set) => value.is_some_and(|value| set.contains(value)),
            Self::NotIn(set) => !value.is_some_and(|value| set.contains(value)),
            Self::Exists => value.is_some(),
            Self::NotExists => value.is_none(),
            Self::GreaterThan(than) => number().is_some_and(|number| number > *than),
            Self::LessThan(than) => number().is_some_and(|number| number < *than),
        }
    }
}

impl Requirement {
    fn check(&self) -> Result<(), Error> {
        if !is_key(&self.key) {
            return Err(Error::usage(format!(
                "{:?} is not the key of a label",
                self.key
            )));
        }
        let values: Vec<&String> = match &self.test {
            Test::Equals(value) | Test::NotEquals(value) => vec![value],
            Test::In(set) | Test::NotIn(set) if set.is_empty() => {
                return Err(Error::usage(format!(
                    "no values for the label {:?}",
                    self.key
                )));
            }
            Test::In(set) | Test::NotIn(set) => set.iter().collect(),
            Test::Exists | Test::NotExists | Test::GreaterThan(_) | Test::LessThan(_) => Vec::new(),
        };
        match values.iter().find(|value| !is_value(value)) {
            Some(value) => Err(Error::usage(format!(
                "{value:?} is not the value of a label"
            ))),
            None => Ok(()),
        }
    }
}

/// A name of at most 63 characters, after an optional DNS name and a slash.
fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_dns_name = |text: &str| {
        text.len() <= 253
            && text.split('.').all(|label| {
                let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
                label.bytes().all(inner)
                    && !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
    };
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_dns_name)
}

/// At most 63 characters, letters and digits at both ends. May be empty.
fn is_value(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63 && value.bytes().all(inner) && end(bytes.first()) && end(bytes.last())
}

impl FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::requirements(text).and_then(Self::of)
    }
}

impl PartialEq for LabelSelector {
    fn eq(&self, other: &Self) -> bool {
        self.fault.is_none() && other.fault.is_none() && self.requirements == other.requirements
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, test }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let join = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
            match test {
                Test::Equals(value) => write!(f, "{key}={value}"),
                Test::NotEquals(value) => write!(f, "{key}!={value}"),
                Test::In(set) => write!(f, "{key} in ({})", join(set)),
                Test::NotIn(set) => write!(f, "{key} notin ({})", join(set)),
                Test::Exists => f.write_str(key),
                Test::NotExists => write!(f, "!{key}"),
                Test::GreaterThan(number) => write!(f, "{key}>{number}"),
                Test::LessThan(number) => write!(f, "{key}<{number}"),
            }?;
        }
        Ok(())
    }
}

impl fmt::Debug for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelSelector({self})")
    }
}

impl IntoLabelSelector for LabelSelector {
    fn into_label_selector(self) -> Result<String, Error> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.to_string()),
        }
    }
}

impl IntoLabelSelector for &LabelSelector {
    fn into_label_selector(self) -> Result<String, Error> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self.to_string()),
        }
    }
}

/// The selector of a workload: what its pods are listed with.
#[cfg(feature = "k8s-openapi")]
impl TryFrom<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector> for LabelSelector {
    type Error = Error;

    fn try_from(
        selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    ) -> Result<Self, Error> {
        let mut result = Self::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            result = result.eq(key, value);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let key = &expression.key;
            let values = || expression.values.iter().flatten();
            result = match expression.operator.as_str() {
                "In" => result.is_in(key, values()),
                "NotIn" => result.not_in(key, values()),
                "Exists" => result.exists(key),
                "DoesNotExist" => result.not_exists(key),
                other => {
                    return Err(Error::usage(format!(
                        "{other:?} is no operator of selectors"
                    )));
                }
            };
        }
        match result.fault {
            Some(fault) => Err(fault),
            None => Ok(result),
        }
    }
}

#[cfg(all(test, feature = "k8s-openapi"))]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

    use super::*;

    #[test]
    fn the_selector_of_a_workload_becomes_text() {
        let expression = |operator: &str, values: Option<&[&str]>| meta::LabelSelectorRequirement {
            key: "tier".to_owned(),
            operator: operator.to_owned(),
            values: values.map(|values| values.iter().map(|&value| value.to_owned()).collect()),
        };
        let mut selector = meta::LabelSelector {
            match_labels: Some(BTreeMap::from([("app".to_owned(), "web".to_owned())])),
            match_expressions: Some(vec![
                expression("In", Some(&["b", "a"])),
                expression("NotIn", Some(&["c"])),
                expression("Exists", None),
            ]),
        };
        let text = LabelSelector::try_from(&selector).map(|selector| selector.to_string());
        assert_eq!(text.unwrap(), "app=web,tier in (a,b),tier notin (c),tier");
        for bad in [expression("In", None), expression("Like", Some(&["x"]))] {
            selector.match_expressions = Some(vec![bad]);
            assert!(LabelSelector::try_from(&selector).is_err());
        }
    }
}
