//! The kinds that are served: a table of built-in ones, and those that custom resource definitions add.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

use super::encode::Style;
use super::status::Qualified;

/// One resource in one version.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "each is a column of the table"
)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<Scale>,
    /// DELETE answers with the object instead of a `Status`.
    pub(crate) returns_deleted: bool,
    /// PUT creates what is absent.
    pub(crate) create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub(crate) unconditional_update: bool,
    /// The JSON paths that field selectors may name beside name and namespace.
    pub(crate) selectable: Vec<String>,
    pub(crate) custom: Option<Custom>,
}

/// Where a scale subresource finds its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

/// What a custom resource definition says about one version.
#[derive(Clone, Debug)]
pub(crate) struct Custom {
    pub(crate) schema: Value,
    pub(crate) columns: Vec<Value>,
    pub(crate) list_kind: String,
    pub(crate) warning: Option<String>,
}

impl Kind {
    /// The key under which objects are stored: the same for all versions.
    pub(crate) fn storage(&self) -> String {
        storage_key(&self.group, &self.resource)
    }

    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub(crate) fn list_kind(&self) -> String {
        self.custom
            .as_ref()
            .map_or_else(|| format!("{}List", self.kind), |c| c.list_kind.clone())
    }

    pub(crate) fn style(&self) -> Style {
        if self.custom.is_some() {
            Style::Sorted
        } else {
            Style::Typed
        }
    }

    pub(crate) fn qualified_resource(&self) -> Qualified<'_> {
        Qualified {
            group: &self.group,
            name: &self.resource,
        }
    }

    pub(crate) fn qualified_kind(&self) -> Qualified<'_> {
        Qualified {
            group: &self.group,
            name: &self.kind,
        }
    }

    pub(crate) fn is(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }

    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        let all = [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        let without = if self.is("", "namespaces") {
            "deletecollection"
        } else {
            ""
        };
        all.into_iter().filter(|verb| *verb != without).collect()
    }

    /// The subresources that discovery lists: name, kind, group, version and verbs.
    pub(crate) fn subresources(&self) -> Vec<(&'static str, Value, Vec<&'static str>)> {
        let own = json!({"group": "", "version": "", "kind": self.kind});
        let read_write = vec!["get", "patch", "update"];
        let mut list = Vec::new();
        if self.is("", "pods") {
            let named = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
            list.push((
                "attach",
                named("", "", "PodAttachOptions"),
                vec!["create", "get"],
            ));
            list.push(("binding", named("", "", "Binding"), vec!["create"]));
            list.push((
                "eviction",
                named("policy", "v1", "Eviction"),
                vec!["create"],
            ));
            list.push((
                "exec",
                named("", "", "PodExecOptions"),
                vec!["create", "get"],
            ));
            list.push(("log", own.clone(), vec!["get"]));
            list.push((
                "portforward",
                named("", "", "PodPortForwardOptions"),
                vec!["create", "get"],
            ));
        }
        if self.is("", "namespaces") {
            list.push(("finalize", own.clone(), vec!["update"]));
        }
        if self.is("", "serviceaccounts") {
            let kind =
                json!({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"});
            list.push(("token", kind, vec!["create"]));
        }
        if self.scale.is_some() {
            let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
            list.push(("scale", kind, read_write.clone()));
        }
        if self.has_status {
            list.push(("status", own, read_write));
        }
        list
    }

    /// The zero object that a bookmark of this kind carries beside its metadata.
    pub(crate) fn zero(&self) -> Value {
        if self.custom.is_some() {
            return json!({});
        }
        let template = json!({"metadata": {}, "spec": {"containers": null}});
        match self.resource.as_str() {
            "pods" => json!({"spec": {"containers": null}, "status": {}}),
            "namespaces" => json!({"spec": {}, "status": {}}),
            "services" => json!({"spec": {}, "status": {"loadBalancer": {}}}),
            "nodes" => {
                json!({"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
                "architecture": ""}}})
            }
            "deployments" => {
                json!({"spec": {"replicas": 0, "selector": null, "template": template, "strategy": {}}, "status": {}})
            }
            "replicasets" => {
                json!({"spec": {"selector": null, "template": template}, "status": {"replicas": 0}})
            }
            "statefulsets" => {
                json!({"spec": {"replicas": 0, "selector": null, "template": template, "serviceName": "",
                "updateStrategy": {}}, "status": {"replicas": 0, "availableReplicas": 0}})
            }
            "daemonsets" => {
                json!({"spec": {"selector": null, "template": template, "updateStrategy": {}}, "status": {
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}})
            }
            "jobs" => json!({"spec": {"template": template}, "status": {}}),
            "leases" => json!({"spec": {}}),
            "events" => {
                json!({"involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
                "eventTime": null, "reportingComponent": "", "reportingInstance": ""})
            }
            "customresourcedefinitions" => json!({
                "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": null},
                "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}}),
            _ => json!({}),
        }
    }
}

pub(crate) fn storage_key(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// All kinds, and the order in which discovery lists the groups.
#[derive(Debug)]
pub(crate) struct Kinds {
    custom: RwLock<BTreeMap<String, Vec<Arc<Kind>>>>,
    built_in: Vec<Arc<Kind>>,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        Self {
            custom: RwLock::default(),
            built_in: built_in().into_iter().map(Arc::new).collect(),
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Kind>> {
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        self.built_in
            .iter()
            .chain(custom.values().flatten())
            .cloned()
            .collect()
    }

    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Kind>> {
        self.all()
            .into_iter()
            .find(|k| k.group == group && k.version == version && k.resource == resource)
    }

    /// Any version of a resource: what the server itself uses.
    pub(crate) fn by_storage(&self, key: &str) -> Option<Arc<Kind>> {
        self.all().into_iter().find(|k| k.storage() == key)
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.all().iter().any(|k| k.group == group) || super::reviews::GROUPS.contains(&group)
    }

    /// Serves the versions that a definition names; `None` withdraws them.
    pub(crate) fn define(&self, name: &str, definition: Option<&Value>) {
        let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        match definition {
            Some(definition) => custom.insert(name.to_owned(), custom_kinds(definition)),
            None => custom.remove(name),
        };
    }
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map(|a| {
            a.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

fn custom_kinds(definition: &Value) -> Vec<Arc<Kind>> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, plural) = (text(&names["kind"]), text(&names["plural"]));
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut served: Vec<&Value> = versions.iter().filter(|v| v["served"] == true).collect();
    served.sort_by_key(|v| v["storage"] != true);
    let make = |version: &&Value| {
        let sub = &version["subresources"];
        let group = text(&spec["group"]);
        let default_warning = || {
            format!(
                "{group}/{} {kind} is deprecated",
                version["name"].as_str().unwrap_or_default()
            )
        };
        let warning = version["deprecationWarning"].as_str().map(str::to_owned);
        Arc::new(Kind {
            version: text(&version["name"]),
            resource: plural.clone(),
            singular: names["singular"]
                .as_str()
                .map_or_else(|| kind.to_lowercase(), str::to_owned),
            kind: kind.clone(),
            namespaced: spec["scope"] == "Namespaced",
            short_names: strings(&names["shortNames"]),
            categories: strings(&names["categories"]),
            has_status: sub["status"].is_object(),
            scale: sub["scale"].is_object().then(|| Scale {
                spec_replicas: text(&sub["scale"]["specReplicasPath"]),
                status_replicas: text(&sub["scale"]["statusReplicasPath"]),
                selector: sub["scale"]["labelSelectorPath"]
                    .as_str()
                    .map(str::to_owned),
            }),
            returns_deleted: false,
            create_on_update: false,
            unconditional_update: false,
            selectable: version["selectableFields"]
                .as_array()
                .map(|a| {
                    a.iter()
                        .map(|f| text(&f["jsonPath"]).trim_start_matches('.').to_owned())
                        .collect()
                })
                .unwrap_or_default(),
            custom: Some(Custom {
                schema: version["schema"]["openAPIV3Schema"].clone(),
                columns: version["additionalPrinterColumns"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
                list_kind: names["listKind"]
                    .as_str()
                    .map_or_else(|| format!("{kind}List"), str::to_owned),
                warning: (version["deprecated"] == true)
                    .then(|| warning.unwrap_or_else(default_warning)),
            }),
            group,
        })
    };
    served.iter().map(make).collect()
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn built_in() -> Vec<Kind> {
    const POD_FIELDS: &[&str] = &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ];
    const EVENT_FIELDS: &[&str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    let mut kinds = vec![
        kind("", "v1", "configmaps", "ConfigMap").short("cm"),
        kind("", "v1", "endpoints", "Endpoints")
            .short("ep")
            .creates_on_update(),
        kind("", "v1", "events", "Event")
            .short("ev")
            .creates_on_update()
            .fields(EVENT_FIELDS),
        kind("", "v1", "namespaces", "Namespace")
            .short("ns")
            .cluster()
            .status()
            .returns()
            .fields(&["status.phase"]),
        kind("", "v1", "nodes", "Node")
            .short("no")
            .cluster()
            .status()
            .fields(&["spec.unschedulable"]),
        kind("", "v1", "pods", "Pod")
            .short("po")
            .all_category()
            .status()
            .returns()
            .fields(POD_FIELDS),
        kind("", "v1", "secrets", "Secret").fields(&["type"]),
        kind("", "v1", "serviceaccounts", "ServiceAccount")
            .short("sa")
            .returns(),
        kind("", "v1", "services", "Service")
            .short("svc")
            .all_category()
            .status()
            .returns()
            .creates_on_update()
            .fields(&["spec.clusterIP", "spec.type"]),
        kind("apps", "v1", "daemonsets", "DaemonSet")
            .short("ds")
            .all_category()
            .status(),
        kind("apps", "v1", "deployments", "Deployment")
            .short("deploy")
            .all_category()
            .status()
            .scale(),
        kind("apps", "v1", "replicasets", "ReplicaSet")
            .short("rs")
            .all_category()
            .status()
            .scale(),
        kind("apps", "v1", "statefulsets", "StatefulSet")
            .short("sts")
            .all_category()
            .status()
            .scale(),
        kind("batch", "v1", "jobs", "Job")
            .all_category()
            .status()
            .fields(&["status.successful"]),
        kind("coordination.k8s.io", "v1", "leases", "Lease")
            .creates_on_update()
            .conditional(),
        kind(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        )
        .short("crd")
        .short("crds")
        .cluster()
        .status()
        .conditional(),
    ];
    for kind in &mut kinds {
        if kind.resource == "endpoints" {
            kind.singular = "endpoints".into();
        }
        if kind.resource == "customresourcedefinitions" {
            kind.categories = vec!["api-extensions".into()];
        }
    }
    kinds
}

fn kind(group: &str, version: &str, resource: &str, kind: &str) -> Kind {
    Kind {
        group: group.into(),
        version: version.into(),
        resource: resource.into(),
        singular: kind.to_lowercase(),
        kind: kind.into(),
        namespaced: true,
        short_names: Vec::new(),
        categories: Vec::new(),
        has_status: false,
        scale: None,
        returns_deleted: false,
        create_on_update: false,
        unconditional_update: true,
        selectable: Vec::new(),
        custom: None,
    }
}

impl Kind {
    fn short(mut self, name: &str) -> Self {
        self.short_names.push(name.into());
        self
    }

    fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    fn status(mut self) -> Self {
        self.has_status = true;
        self
    }

    fn scale(mut self) -> Self {
        self.scale = Some(Scale {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: None,
        });
        self
    }

    fn returns(mut self) -> Self {
        self.returns_deleted = true;
        self
    }

    fn creates_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    fn conditional(mut self) -> Self {
        self.unconditional_update = false;
        self
    }

    fn all_category(mut self) -> Self {
        self.categories.push("all".into());
        self
    }

    fn fields(mut self, fields: &[&str]) -> Self {
        self.selectable = fields.iter().map(|&f| f.to_owned()).collect();
        self
    }
}
