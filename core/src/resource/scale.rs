//! The body of every `scale` subresource.

use serde::{Deserialize, Serialize};

use super::Object;
use crate::meta::{MetaView, ObjectMeta};

/// `autoscaling/v1` Scale: the number of replicas, whatever the kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Scale {
    /// `autoscaling/v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `Scale`.
    #[serde(default = "kind")]
    pub kind: String,
    /// Name and version of the scaled object.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: ScaleSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ScaleStatus>,
}

/// How many replicas are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleSpec {
    /// The number; the server leaves out a zero.
    #[serde(default)]
    pub replicas: i32,
}

/// How many replicas there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleStatus {
    /// The number.
    #[serde(default)]
    pub replicas: i32,
    /// The label selector of the replicas, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

fn api_version() -> String {
    "autoscaling/v1".to_owned()
}

fn kind() -> String {
    "Scale".to_owned()
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            api_version: api_version(),
            kind: kind(),
            metadata: ObjectMeta::default(),
            spec: ScaleSpec::default(),
            status: None,
        }
    }
}

impl Object for Scale {
    fn meta(&self) -> MetaView<'_> {
        MetaView::from(&self.metadata)
    }
}
