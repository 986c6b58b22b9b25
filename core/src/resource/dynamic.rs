//! Objects of kinds that are known at run time only.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{ApiResource, Object};
use crate::meta::{Key, MetaView, ObjectMeta, TypeMeta};
use crate::{BadObject, Error};

/// An object of any kind: types and metadata decoded, everything else kept as raw JSON until asked for.
///
/// Nothing is lost or changed by reading an object and writing it back.
///
/// ```
/// use kubewire::Dynamic;
/// let mut object: Dynamic = serde_json::from_str(
///     r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","new":1},"data":{"n":9007199254740993}}"#).unwrap();
/// assert_eq!(object.metadata.name.as_deref(), Some("a"));
/// let data: std::collections::BTreeMap<String, u64> = object.get("data")?.unwrap();
/// assert_eq!(data["n"], 9007199254740993);
/// object.set("immutable", &true)?;
/// let text = serde_json::to_string(&object).unwrap();
/// assert!(text.contains(r#""new":1"#) && text.ends_with(r#""immutable":true}"#));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Dynamic {
    /// apiVersion and kind.
    pub types: TypeMeta,
    /// The metadata.
    pub metadata: ObjectMeta,
    fields: Vec<(Box<str>, Box<RawValue>)>,
}

impl Dynamic {
    /// An object of a kind, with a name and nothing else.
    #[must_use]
    pub fn new(resource: &ApiResource, name: &str) -> Self {
        let mut object = Self::default();
        object.metadata.name = Some(name.to_owned());
        object.fill_types(resource);
        object
    }

    /// Decodes one top-level field, such as `spec`. `None` if there is none, or it is null.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Object`](crate::ErrorKind::Object) if it does not fit `T`.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>, Error> {
        let Some(raw) = self.raw(field) else {
            return Ok(None);
        };
        serde_json::from_str(raw).map_err(|error| {
            let mut object = BadObject::default();
            object.namespace.clone_from(&self.metadata.namespace);
            object.name.clone_from(&self.metadata.name);
            object.len = raw.len();
            Error::object(&error, object)
        })
    }

    /// The JSON of one top-level field as it was received.
    #[must_use]
    pub fn raw(&self, field: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(name, _)| **name == *field)
            .map(|(_, raw)| raw.get())
    }

    /// The names of the top-level fields, besides types and metadata.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| &**name)
    }

    /// Sets one top-level field. To change types or metadata, use the fields of this struct.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the value has no JSON form, or the field is
    /// `apiVersion`, `kind` or `metadata`.
    pub fn set<T: Serialize>(&mut self, field: &str, value: &T) -> Result<(), Error> {
        if matches!(field, "apiVersion" | "kind" | "metadata") {
            return Err(Error::usage(
                "types and metadata are set through the struct's fields",
            ));
        }
        let raw = to_raw_value(value)
            .map_err(|error| Error::usage("the value has no JSON form").with_source(error))?;
        self.remove(field);
        self.fields.push((field.into(), raw));
        Ok(())
    }

    /// Removes one top-level field; whether it was there.
    pub fn remove(&mut self, field: &str) -> bool {
        let before = self.fields.len();
        self.fields.retain(|(name, _)| **name != *field);
        self.fields.len() < before
    }
}

impl Object for Dynamic {
    fn meta(&self) -> MetaView<'_> {
        MetaView::from(&self.metadata)
    }

    fn fill_types(&mut self, resource: &ApiResource) {
        if self.types.kind.is_empty() {
            resource.kind().clone_into(&mut self.types.kind);
        }
        if self.types.api_version.is_empty() {
            self.types.api_version = resource.api_version().into_owned();
        }
    }
}

impl<'de> Deserialize<'de> for Dynamic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Dynamic;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an API object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dynamic, A::Error> {
                let mut object = Dynamic::default();
                while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                    match &*key {
                        "apiVersion" => object.types.api_version = text(map.next_value()?),
                        "kind" => object.types.kind = text(map.next_value()?),
                        "metadata" => object.metadata = map.next_value()?,
                        _ => object
                            .fields
                            .push((key.into_owned().into(), map.next_value()?)),
                    }
                }
                Ok(object)
            }
        }
        fn text(value: Option<String>) -> String {
            value.unwrap_or_default()
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Dynamic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.types.api_version.is_empty() {
            map.serialize_entry("apiVersion", &self.types.api_version)?;
        }
        if !self.types.kind.is_empty() {
            map.serialize_entry("kind", &self.types.kind)?;
        }
        map.serialize_entry("metadata", &self.metadata)?;
        for (name, raw) in &self.fields {
            map.serialize_entry(name, raw)?;
        }
        map.end()
    }
}

/// Identity and field names only.
impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamic")
            .field("kind", &self.types.kind)
            .field("namespace", &self.metadata.namespace)
            .field("name", &self.metadata.name)
            .field("fields", &self.fields().collect::<Vec<_>>())
            .finish()
    }
}
