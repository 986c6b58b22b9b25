//! Answers, decoded as other types than those of their operation.

use k8s_openapi::api as k8s;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use kubewire::stream::{Collect, LogLines, Watch};
use kubewire::{Api, ApiResource, Deleted, Dynamic, Json, Namespace, Raw, Resource, Scope};
use serde::Serialize;
use serde_json::{Value, json};

use super::expect::Shape;
use super::intent::Intent;
use super::run::{Check, Run, raw_call};
use super::see::{as_it_is, as_type, see_deleted, see_event, see_object, text};

/// The kinds that are decoded with a type of `k8s-openapi` as well.
macro_rules! typed_kinds {
    ($pass:ident) => {
        $pass![
            k8s::core::v1::Pod,
            k8s::core::v1::ConfigMap,
            k8s::core::v1::Namespace,
            k8s::core::v1::Service,
            k8s::core::v1::Node,
            k8s::core::v1::Event,
            k8s::core::v1::Secret,
            k8s::core::v1::ServiceAccount,
            k8s::core::v1::PersistentVolumeClaim,
            k8s::core::v1::ReplicationController,
            k8s::apps::v1::Deployment,
            k8s::apps::v1::ReplicaSet,
            k8s::apps::v1::StatefulSet,
            k8s::apps::v1::DaemonSet,
            k8s::batch::v1::Job,
            k8s::batch::v1::CronJob,
            k8s::policy::v1::PodDisruptionBudget,
            k8s::coordination::v1::Lease,
            k8s::rbac::v1::ClusterRole,
            k8s::rbac::v1::Role,
            k8s::certificates::v1::CertificateSigningRequest,
            k8s::authentication::v1::SelfSubjectReview,
            k8s::authorization::v1::SelfSubjectAccessReview,
            apiextensions::CustomResourceDefinition
        ]
    };
}

impl Run<'_> {
    /// A second pass with the type of `k8s-openapi`, where there is one.
    pub(super) fn typed(&mut self, intent: &Intent) {
        macro_rules! pass {
            ($($kind:ty),*) => {$(
                if self.typed_as::<$kind>(intent) {
                    return;
                }
            )*};
        }
        typed_kinds!(pass);
    }

    /// The same for an answer alone: the kind is what the body says.
    pub(super) fn typed_answer(&mut self) {
        let (shape, _) = self.shape();
        let first = serde_json::Deserializer::from_slice(&self.answer.body)
            .into_iter::<Value>()
            .next();
        let Some(Ok(first)) = first else {
            return;
        };
        let object = if shape == Shape::Watch {
            &first["object"]
        } else {
            &first
        };
        let kind = object["kind"].as_str().unwrap_or_default();
        let kind = if shape == Shape::List {
            kind.strip_suffix("List").unwrap_or_default()
        } else {
            kind
        };
        let types = (
            kind.to_owned(),
            object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        );
        macro_rules! pass {
            ($($kind:ty),*) => {$(
                if self.typed_answer_as::<$kind>(shape, &types) {
                    return;
                }
            )*};
        }
        typed_kinds!(pass);
    }

    /// Whether `K` is the kind.
    pub(super) fn typed_answer_as<K: Resource + Serialize>(
        &mut self,
        shape: Shape,
        types: &(String, String),
    ) -> bool {
        let resource = K::api_resource();
        if (resource.kind(), &*resource.api_version()) != (types.0.as_str(), types.1.as_str()) {
            return false;
        }
        self.count_typed(&resource);
        let request = &http::Request::new(bytes::Bytes::new());
        let check = Check {
            what: &format!("the answer as {}", resource.kind()),
            shape,
            verb: None,
            with_body: false,
            types: types.clone(),
            object: &as_type::<K>,
        };
        let see = |object: K| see_object(&object);
        match shape {
            Shape::List => self.exercise(
                &check,
                &|| Ok(raw_call(request, Collect::<K>::new(resource.clone()))),
                &|list| {
                    let items: Vec<_> = list.items.into_iter().map(see).collect();
                    json!({ "metadata": list.metadata, "items": items })
                },
            ),
            Shape::Watch => self.exercise(
                &check,
                &|| Ok(raw_call(request, Watch::<K>::new(resource.clone()))),
                &|event| see_event(event, &see),
            ),
            Shape::Object => self.exercise(
                &check,
                &|| Ok(raw_call(request, Json::<K>::default())),
                &see,
            ),
            Shape::Deleted => self.exercise(
                &check,
                &|| Ok(raw_call(request, Json::<Deleted<K>>::default())),
                &|deleted| see_deleted(deleted, &see),
            ),
            _ => {}
        }
        true
    }

    pub(super) fn count_typed(&mut self, resource: &ApiResource) {
        let kind = resource.kind().to_owned();
        *self.report.typed.entry(kind).or_default() += 1;
    }

    /// Whether `K` is the kind.
    pub(super) fn typed_as<K: Resource + Serialize + Clone>(&mut self, intent: &Intent) -> bool {
        let resource = K::api_resource();
        if resource != intent.resource {
            let of = |resource: &ApiResource| {
                [
                    resource.group().to_owned(),
                    resource.version().to_owned(),
                    resource.plural().to_owned(),
                ]
            };
            if of(&resource) == of(&intent.resource) {
                self.faults.push(format!(
                    "the typed resource is {} {:?}, discovery says {} {:?}",
                    resource.kind(),
                    resource.scope(),
                    intent.resource.kind(),
                    intent.resource.scope()
                ));
            }
            return false;
        }
        self.count_typed(&resource);
        let types = (
            resource.kind().to_owned(),
            resource.api_version().into_owned(),
        );
        let api = match (&intent.namespace, resource.scope()) {
            (Namespace::Named(namespace), _) => Api::<K>::namespaced(namespace.clone()),
            (_, Scope::Namespaced) => Api::<K>::all(),
            (_, Scope::Cluster) => Api::<K>::new(),
        };
        self.objects(intent, &api, &as_type::<K>, &types, true);
        true
    }

    /// A request that no operation expresses: the answer is replayed nevertheless.
    pub(super) fn raw(&mut self, why: &str) {
        *self.report.raw.entry(why.to_owned()).or_default() += 1;
        self.any_path();
        self.answer_only();
    }

    /// Replays the answer by what its body is, with a raw call.
    pub(super) fn answer_only(&mut self) {
        let mut request = http::Request::new(bytes::Bytes::new());
        if let Ok(method) = http::Method::try_from(self.request.method.as_str()) {
            *request.method_mut() = method;
        }
        if let Ok(uri) = self.request.target.parse() {
            *request.uri_mut() = uri;
        }
        let request = &request;
        let (shape, types) = self.shape();
        let check = |object| Check {
            what: "a raw call",
            shape,
            verb: None,
            with_body: false,
            types: types.clone(),
            object,
        };
        let resource = ApiResource::discovered(
            types
                .1
                .rsplit_once('/')
                .map_or_else(String::new, |(group, _)| group.to_owned()),
            types.1.rsplit('/').next().unwrap_or_default().to_owned(),
            types.0.clone(),
            "things".to_owned(),
            Scope::Namespaced,
        );
        let as_dynamic = check(&as_it_is);
        let whole = |value: &Value| Some(value.clone());
        match shape {
            Shape::List | Shape::Items => self.exercise(
                &as_dynamic,
                &|| Ok(raw_call(request, Collect::<Dynamic>::new(resource.clone()))),
                &|list| {
                    let items: Vec<_> = list.items.iter().map(see_object).collect();
                    json!({ "metadata": list.metadata, "items": items })
                },
            ),
            Shape::Watch => self.exercise(
                &as_dynamic,
                &|| Ok(raw_call(request, Watch::<Dynamic>::new(resource.clone()))),
                &|event| see_event(event, &|object: Dynamic| see_object(&object)),
            ),
            Shape::Lines => self.exercise(
                &as_dynamic,
                &|| Ok(raw_call(request, LogLines::new())),
                &|line| text(line.bytes()).into(),
            ),
            Shape::Deleted => self.exercise(
                &as_dynamic,
                &|| Ok(raw_call(request, Json::<Deleted<Dynamic>>::default())),
                &|deleted| see_deleted(deleted, &|object: Dynamic| see_object(&object)),
            ),
            Shape::Object | Shape::Optional => self.exercise(
                &check(&whole),
                &|| Ok(raw_call(request, Json::<Value>::default())),
                &|value| value,
            ),
            _ => self.exercise(
                &as_dynamic,
                &|| Ok(raw_call(request, Raw::default())),
                &|body| text(&body).into(),
            ),
        }
        self.typed_answer();
    }

    /// What the body of a raw call is, and the kind of its items.
    pub(super) fn shape(&self) -> (Shape, (String, String)) {
        let none = (String::new(), String::new());
        let body = &self.answer.body[..];
        let media = self.response.media_type().unwrap_or_default();
        let target = super::target::Target::parse(&self.request.target);
        if media == "text/plain" && target.segments.last().is_some_and(|last| last == "log") {
            return (Shape::Lines, none);
        }
        if media != "application/json" || !self.response.is_success() {
            return (Shape::Bytes, none);
        }
        let watches = self.request.method == "GET"
            && target
                .parameter("watch")
                .is_some_and(super::target::go_bool);
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        let Some(Ok(first)) = values.next() else {
            let shape = if watches { Shape::Watch } else { Shape::Bytes };
            return (shape, none);
        };
        if first["type"].is_string() && first["object"].is_object() {
            return (Shape::Watch, none);
        }
        let kind = first["kind"].as_str().unwrap_or_default();
        match (first.get("items"), kind.strip_suffix("List")) {
            (Some(Value::Array(_) | Value::Null), Some(kind)) => {
                let version = first["apiVersion"].as_str().unwrap_or_default();
                (Shape::List, (kind.to_owned(), version.to_owned()))
            }
            _ if self.request.method == "DELETE" => (Shape::Deleted, none),
            _ => (Shape::Object, none),
        }
    }
}
