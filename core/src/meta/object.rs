//! Type and object metadata, decoded without loss.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Go writes empty lists and maps as `null`.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A field name that borrows from the input where it can.
#[derive(Deserialize)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// `apiVersion` and `kind`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    /// `group/version`, or the version alone for the core group.
    #[serde(deserialize_with = "null_default")]
    pub api_version: String,
    /// The kind, in CamelCase.
    #[serde(deserialize_with = "null_default")]
    pub kind: String,
}

/// Metadata of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ListMeta {
    /// The version of the collection: where a watch goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The token of the next page. Servers write an empty one for "no more"; see [`next_page`](Self::next_page).
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continue_token: Option<String>,
    /// An estimate of how many items follow, only without selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<i64>,
    /// The part of the collection that this is, if the server applied a
    /// [`shard_selector`](crate::ListObjects::shard_selector).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard_info: Option<ShardInfo>,
}

/// Which part of a collection a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ShardInfo {
    /// The selector that the server applied.
    pub selector: String,
}

impl ListMeta {
    /// The token of the next page, if there is one.
    #[must_use]
    pub fn next_page(&self) -> Option<&str> {
        self.continue_token
            .as_deref()
            .filter(|token| !token.is_empty())
    }
}

/// A reference to an object that owns this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// The owner's group and version.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name, in the same namespace or cluster-scoped.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
    /// Whether this owner is the managing controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Metadata of an object. Fields that this version does not know are kept in
/// [`other`](Self::other) and written back.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The name; absent when the server is to generate it.
    pub name: Option<String>,
    /// What a generated name starts with.
    pub generate_name: Option<String>,
    /// The namespace; absent on cluster-scoped objects.
    pub namespace: Option<String>,
    /// Unique over all time and space.
    pub uid: Option<String>,
    /// The version of the object, for optimistic locking. Opaque text.
    pub resource_version: Option<String>,
    /// Counts changes of the desired state.
    pub generation: Option<i64>,
    /// RFC 3339.
    pub creation_timestamp: Option<String>,
    /// RFC 3339; set while the object is being deleted.
    pub deletion_timestamp: Option<String>,
    /// Seconds until a terminating object may be removed.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The objects that own this one.
    pub owner_references: Vec<OwnerReference>,
    /// Names that must be removed before the object goes away.
    pub finalizers: Vec<String>,
    /// Who manages which field, as raw JSON: it is half of many objects and rarely read.
    pub managed_fields: Option<Box<RawValue>>,
    /// Fields that are not known here, as they came.
    pub other: BTreeMap<String, Box<RawValue>>,
}

impl<'de> Deserialize<'de> for ObjectMeta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = ObjectMeta;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("object metadata")
            }

            fn visit_unit<E>(self) -> Result<ObjectMeta, E> {
                Ok(ObjectMeta::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectMeta, A::Error> {
                let mut meta = ObjectMeta::default();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    match &*key.0 {
                        "name" => meta.name = map.next_value()?,
                        "generateName" => meta.generate_name = map.next_value()?,
                        "namespace" => meta.namespace = map.next_value()?,
                        "uid" => meta.uid = map.next_value()?,
                        "resourceVersion" => meta.resource_version = map.next_value()?,
                        "generation" => meta.generation = map.next_value()?,
                        "creationTimestamp" => meta.creation_timestamp = map.next_value()?,
                        "deletionTimestamp" => meta.deletion_timestamp = map.next_value()?,
                        "deletionGracePeriodSeconds" => {
                            meta.deletion_grace_period_seconds = map.next_value()?;
                        }
                        "labels" => meta.labels = or_default(map.next_value()?),
                        "annotations" => meta.annotations = or_default(map.next_value()?),
                        "ownerReferences" => meta.owner_references = or_default(map.next_value()?),
                        "finalizers" => meta.finalizers = or_default(map.next_value()?),
                        "managedFields" => meta.managed_fields = map.next_value()?,
                        _ => {
                            let value = map.next_value()?;
                            meta.other.insert(key.0.into_owned(), value);
                        }
                    }
                }
                Ok(meta)
            }
        }
        deserializer.deserialize_any(Fields)
    }
}

fn or_default<T: Default>(value: Option<T>) -> T {
    value.unwrap_or_default()
}

impl Serialize for ObjectMeta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn some<M: SerializeMap, T: Serialize>(
            map: &mut M,
            key: &str,
            value: Option<&T>,
        ) -> Result<(), M::Error> {
            value.map_or(Ok(()), |value| map.serialize_entry(key, value))
        }
        let mut map = serializer.serialize_map(None)?;
        some(&mut map, "name", self.name.as_ref())?;
        some(&mut map, "generateName", self.generate_name.as_ref())?;
        some(&mut map, "namespace", self.namespace.as_ref())?;
        some(&mut map, "uid", self.uid.as_ref())?;
        some(&mut map, "resourceVersion", self.resource_version.as_ref())?;
        some(&mut map, "generation", self.generation.as_ref())?;
        some(
            &mut map,
            "creationTimestamp",
            self.creation_timestamp.as_ref(),
        )?;
        some(
            &mut map,
            "deletionTimestamp",
            self.deletion_timestamp.as_ref(),
        )?;
        some(
            &mut map,
            "deletionGracePeriodSeconds",
            self.deletion_grace_period_seconds.as_ref(),
        )?;
        some(
            &mut map,
            "labels",
            Some(&self.labels).filter(|m| !m.is_empty()),
        )?;
        some(
            &mut map,
            "annotations",
            Some(&self.annotations).filter(|m| !m.is_empty()),
        )?;
        some(
            &mut map,
            "ownerReferences",
            Some(&self.owner_references).filter(|v| !v.is_empty()),
        )?;
        some(
            &mut map,
            "finalizers",
            Some(&self.finalizers).filter(|v| !v.is_empty()),
        )?;
        some(&mut map, "managedFields", self.managed_fields.as_ref())?;
        for (key, value) in &self.other {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What the API sends when only metadata was asked for.
///
/// ```
/// use kubewire::meta::PartialObjectMetadata;
/// let object: PartialObjectMetadata = serde_json::from_str(
///     r#"{"metadata":{"name":"a","labels":null},"spec":{"ignored":true}}"#).unwrap();
/// assert_eq!(object.metadata.name.as_deref(), Some("a"));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartialObjectMetadata {
    /// `meta.k8s.io/v1`.
    #[serde(deserialize_with = "null_default")]
    pub api_version: String,
    /// `PartialObjectMetadata`.
    #[serde(deserialize_with = "null_default")]
    pub kind: String,
    /// The metadata.
    pub metadata: ObjectMeta,
}
