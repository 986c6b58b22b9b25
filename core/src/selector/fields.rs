//! Field selectors.

use std::fmt;

use super::IntoFieldSelector;
use crate::Error;

/// A selector of objects by their fields. All conditions must hold.
///
/// Values may be any text: what has a meaning in the syntax is escaped. Which fields can be selected depends on the
/// kind; `metadata.name` and `metadata.namespace` always can.
///
/// ```
/// use kubewire::{Api, ApiResource, FieldSelector, Operation};
/// let mine = FieldSelector::new().eq("spec.nodeName", "n1").ne("metadata.name", "a,b=c");
/// assert_eq!(mine.to_string(), r"spec.nodeName=n1,metadata.name!=a\,b\=c");
/// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
/// let call = pods.list().fields(mine).into_call()?;
/// assert!(pods.list().fields(FieldSelector::new().eq("a=b", "c")).into_call().is_err());
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct FieldSelector {
    text: String,
    fault: Option<Error>,
}

impl FieldSelector {
    /// A selector of everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The field has this value.
    #[must_use]
    pub fn eq(self, field: &str, value: &str) -> Self {
        self.and(field, "=", value)
    }

    /// The field does not have this value.
    #[must_use]
    pub fn ne(self, field: &str, value: &str) -> Self {
        self.and(field, "!=", value)
    }

    /// Whether there are no conditions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn and(mut self, field: &str, operator: &str, value: &str) -> Self {
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-[]'\"/@".contains(char);
        if field.is_empty() || !field.chars().all(fits) {
            self.fault.get_or_insert_with(|| {
                Error::usage(format!("{field:?} is not the path of a field"))
            });
            return self;
        }
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(field);
        self.text.push_str(operator);
        for char in value.chars() {
            if matches!(char, '\\' | ',' | '=') {
                self.text.push('\\');
            }
            self.text.push(char);
        }
        self
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldSelector({self})")
    }
}

impl IntoFieldSelector for FieldSelector {
    fn into_field_selector(self) -> Result<String, Error> {
        self.fault.map_or(Ok(self.text), Err)
    }
}

impl IntoFieldSelector for &FieldSelector {
    fn into_field_selector(self) -> Result<String, Error> {
        self.clone().into_field_selector()
    }
}
