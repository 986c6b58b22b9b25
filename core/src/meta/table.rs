//! `Table`, the server's own rendering of objects.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{ListMeta, null_default};
use crate::resource::{Dynamic, Object};

/// A `meta.k8s.io/v1` Table.
///
/// ```
/// use kubewire::meta::Table;
/// let table: Table = serde_json::from_str(
///     r#"{"kind":"Table","columnDefinitions":[{"name":"Name","type":"string"}],
///         "rows":[{"cells":["web-0"],"object":{"metadata":{"name":"web-0"}}}]}"#).unwrap();
/// assert_eq!(table.column("Name"), Some(0));
/// assert_eq!(table.rows[0].cells[0], "web-0");
/// assert!(serde_json::from_str::<Table>(r#"{"kind":"PodList","items":[]}"#).is_err());
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Table {
    /// `Table`.
    #[serde(deserialize_with = "is_table")]
    pub kind: String,
    /// The collection's version and the token of the next page.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: ListMeta,
    /// What the columns are. In a watch only the first event has them.
    #[serde(default, deserialize_with = "null_default")]
    pub column_definitions: Vec<TableColumn>,
    /// One row for each object.
    #[serde(default, deserialize_with = "null_default")]
    pub rows: Vec<TableRow>,
}

/// A server that has no tables sends the objects, which would pass for an empty table.
fn is_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let kind = super::Key::deserialize(deserializer)?;
    if kind.0 == "Table" {
        return Ok(kind.0.into_owned());
    }
    Err(D::Error::invalid_value(
        serde::de::Unexpected::Str(&kind.0),
        &"the kind Table: the server has no table for this",
    ))
}

/// What a column of a [`Table`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TableColumn {
    /// The heading.
    pub name: String,
    /// The type of the cells, as in `OpenAPI`: `string`, `integer`, `date` …
    pub r#type: String,
    /// A modifier of the type; `name` marks the column with the object's name.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0 is always shown; columns with higher numbers give way when space is short.
    pub priority: i32,
}

/// One row of a [`Table`].
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TableRow {
    /// One cell for each column; may be null.
    #[serde(default, deserialize_with = "null_default")]
    pub cells: Vec<serde_json::Value>,
    /// States of the row, such as `Completed`.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<TableRowCondition>,
    /// The object, as far as it was asked for.
    #[serde(default)]
    pub object: Option<Dynamic>,
}

/// A state of a [`TableRow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TableRowCondition {
    /// The type, such as `Completed`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// For programs.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Cells can hold what objects hold: they are left out.
impl fmt::Debug for TableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRow")
            .field("cells", &self.cells.len())
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// The index of a column, by its heading.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.column_definitions
            .iter()
            .position(|column| column.name == name)
    }
}

impl Object for Table {
    /// A table has rows, and no name.
    fn meta(&self) -> super::MetaView<'_> {
        super::MetaView::default()
    }
}
