//! Replays recorded exchanges of a real API server through the core: request out, answer in.
//!
//! For each transcript the replayer finds out which operation of the public API the recorded request
//! is, builds it, and compares what was built with what was recorded (see [`EQUIVALENCES`]). Then
//! the recorded answer is fed, cut in several ways, and what comes out is compared with the recorded
//! body as plain `serde_json` reads it. Sessions follow in the same way: the handshake through the
//! public operation, then the frames of both sides, compared with a model of the protocol that is
//! made of nothing but the frames. Nothing here knows a single file.
//!
//! ```no_run
//! let folders = kubewire_conformance::replay::folders();
//! let report = kubewire_conformance::replay::run(&folders);
//! println!("{report}");
//! assert!(report.mismatches.is_empty());
//! ```

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most operations have a few of all actions and shapes"
)]

mod compare;
mod expect;
mod feed;
mod kinds;
mod plan;
mod server;
pub mod sessions;
pub mod target;
pub mod transcript;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use k8s_openapi::api as k8s;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use kubewire::meta::Table;
use kubewire::stream::{Collect, LogLines, Watch, WatchEvent};
use kubewire::{
    AnySubresource, Api, ApiResource, Call, Decode, Deleted, DeletedCollection, Dynamic, Error,
    ErrorKind, Get, Json, Namespace, Object, Operation, Patch, PatchObject, Propagation, Raw,
    Replace, Resource, Scale, Scope, Subresource, TableApi, Verb,
};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use compare::EQUIVALENCES;
pub use sessions::Sessions;

use compare::{Canonical, differences};
use expect::{Expectation, Shape};
use feed::{Answer, Cut, feed};
use kinds::Kinds;
use plan::{
    Action, Common, DeleteAsk, Form, Intent, ListAsk, LogAsk, Part, Plan, TokenAsk, View, WatchAsk,
    Write,
};
use transcript::{Body, Coding, Request, Response, Transcript};

/// The folder of this crate's transcripts, and those of the environment variable
/// `KUBEWIRE_TRANSCRIPTS` (separated by colons).
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts"));
    let more = std::env::var_os("KUBEWIRE_TRANSCRIPTS").unwrap_or_default();
    let more = std::env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    std::iter::once(own).chain(more).collect()
}

/// What came of a replay.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many transcripts were read.
    pub transcripts: usize,
    /// Requests that the public API expressed as they were recorded, by operation.
    pub operations: BTreeMap<String, usize>,
    /// Requests that the public API refused, as it should, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Answers to requests that no operation expresses, by reason.
    pub raw: BTreeMap<String, usize>,
    /// Names of transcripts that were not replayed, by reason.
    pub skipped: BTreeMap<String, Vec<String>>,
    /// What did not fit: the file's name, and how.
    pub mismatches: Vec<(String, String)>,
    /// How often an equivalence was needed.
    pub equivalences: BTreeMap<&'static str, usize>,
    /// Answers decoded with a type of `k8s-openapi` as well, by kind.
    pub typed: BTreeMap<String, usize>,
    /// Answers by what they were.
    pub answers: BTreeMap<&'static str, usize>,
    /// How often an answer was fed to a machine.
    pub feeds: usize,
    /// How many items came out of the machines.
    pub items: usize,
    /// The sessions.
    pub sessions: Sessions,
    /// Resources known from recorded discovery.
    pub resources: usize,
}

/// Replays every transcript of the folders.
#[must_use]
pub fn run(folders: &[PathBuf]) -> Report {
    let mut report = Report::default();
    let mut kinds = Kinds::default();
    let mut transcripts = Vec::new();
    for folder in folders {
        let files = match transcript::files(folder) {
            Ok(files) => files,
            Err(error) => {
                report
                    .mismatches
                    .push((folder.display().to_string(), error));
                continue;
            }
        };
        for file in files {
            let label = file.display().to_string();
            match transcript::read(&file) {
                Ok(transcript) => {
                    kinds.learn(&transcript);
                    transcripts.push((label, transcript));
                }
                Err(error) => report.mismatches.push((label, error)),
            }
        }
    }
    report.resources = kinds.len();
    for (label, transcript) in &transcripts {
        report.transcripts += 1;
        let replayed = catch_unwind(AssertUnwindSafe(|| replay(transcript, &kinds, &mut report)));
        let faults = match replayed {
            Ok(Ok(faults)) => faults,
            Ok(Err(error)) => vec![error],
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref().copied());
                vec![format!("panicked: {}", text.unwrap_or("?"))]
            }
        };
        let faults = faults.into_iter().map(|fault| (label.clone(), fault));
        report.mismatches.extend(faults);
    }
    report
}

/// Bytes as text that keeps every byte: ISO 8859-1.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Takes out what is as good as absent in an object: null or empty metadata and fields of it.
/// Whether there was something.
fn settle(object: &mut Value) -> bool {
    const EMPTY: &[&str] = &["labels", "annotations", "ownerReferences", "finalizers"];
    let Value::Object(fields) = object else {
        return false;
    };
    let before = fields.len();
    fields.retain(|key, value| {
        !(matches!(key.as_str(), "apiVersion" | "kind") && (value.is_null() || value == ""))
    });
    let mut changed = fields.len() < before;
    let Some(metadata) = fields.get_mut("metadata") else {
        return changed;
    };
    if let Value::Object(metadata) = metadata {
        let before = metadata.len();
        metadata.retain(|key, value| {
            let empty = *value == json!({}) || *value == json!([]);
            !(value.is_null() || (empty && EMPTY.contains(&key.as_str())))
        });
        changed |= metadata.len() < before;
    }
    if metadata.is_null() || *metadata == json!({}) {
        fields.remove("metadata");
        changed = true;
    }
    changed
}

fn settled(mut object: Value) -> Value {
    settle(&mut object);
    object
}

/// An object as JSON; what has no JSON form shows as a difference.
fn see_object(object: &impl Serialize) -> Value {
    serde_json::to_value(object).map_or_else(|error| error.to_string().into(), settled)
}

/// How a type should give an object back, by its own `serde` implementation alone.
fn as_type<K: Object + Serialize>(object: &Value) -> Option<Value> {
    let object: K = serde_json::from_value(object.clone()).ok()?;
    Some(see_object(&object))
}

/// Dynamic objects, and metadata: as they are.
fn as_it_is(object: &Value) -> Option<Value> {
    let fits = object.is_object() && matches!(object["metadata"], Value::Object(_) | Value::Null);
    fits.then(|| settled(object.clone()))
}

/// The metadata view: a server that ignores the wish sends whole objects.
fn as_metadata(object: &Value) -> Option<Value> {
    let mut object = as_it_is(object)?;
    if let Value::Object(fields) = &mut object {
        fields.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    Some(object)
}

/// A Scale by the type of `k8s-openapi`, ours or theirs: zero replicas may be written or left out.
fn as_scale(object: &Value) -> Option<Value> {
    let mut scale: k8s::autoscaling::v1::Scale = serde_json::from_value(object.clone()).ok()?;
    scale.spec.get_or_insert_default().replicas.get_or_insert(0);
    Some(see_object(&scale))
}

/// Replays one transcript; what did not fit.
fn replay(
    transcript: &Transcript,
    kinds: &Kinds,
    report: &mut Report,
) -> Result<Vec<String>, String> {
    if let Some(handshake) = &transcript.handshake {
        return sessions::replay(transcript, handshake, report);
    }
    let (Some(request), Some(response)) = (&transcript.request, &transcript.response) else {
        return Err("neither an exchange nor a handshake".to_owned());
    };
    if response.status == Some(101) {
        return sessions::switched(request, response, report);
    }
    let plan = Plan::of(transcript, request, kinds)?;
    let mut run = Run::new(request, response, report)?;
    run.count_answer();
    match plan {
        Plan::Operation(intent) => run.operation(&intent),
        Plan::Server(ask) => run.server(&ask),
        Plan::Proxy(ask) => run.proxied(&ask),
        Plan::Raw(why) => run.raw(&why),
    }
    Ok(run.faults)
}

/// What every operation can be told.
macro_rules! common {
    ($operation:expr, $c:expr) => {{
        let mut operation = $operation.accept_gzip($c.gzip).pretty($c.pretty);
        if let Some(timeout) = $c.timeout {
            operation = operation.timeout(timeout);
        }
        operation
    }};
}

/// The options of everything that selects objects of a collection.
macro_rules! list_options {
    ($operation:expr, $ask:expr, $c:expr) => {{
        let mut list = common!($operation, $c);
        if let Some(labels) = &$ask.labels {
            list = list.labels(labels);
        }
        if let Some(fields) = &$ask.fields {
            list = list.fields(fields);
        }
        if let Some(shards) = &$ask.shards {
            list = list.shard_selector(shards);
        }
        if let Some(limit) = $ask.limit {
            list = list.limit(limit);
        }
        if let Some(token) = &$ask.token {
            list = list.continue_token(token);
        }
        if let Some(version) = &$ask.version {
            list = list.resource_version(version);
        }
        if let Some(how) = $ask.version_match {
            list = list.version_match(how);
        }
        if let Some(seconds) = $ask.timeout {
            list = list.timeout_seconds(seconds);
        }
        list
    }};
}

/// The options of writes.
macro_rules! write_options {
    ($operation:expr, $write:expr, $c:expr) => {{
        let mut operation = common!($operation, $c).dry_run($write.dry_run);
        if let Some(manager) = &$write.manager {
            operation = operation.field_manager(manager);
        }
        if let Some(validation) = $write.validation {
            operation = operation.field_validation(validation);
        }
        operation
    }};
}

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

/// One transcript under replay.
struct Run<'a> {
    request: &'a Request,
    response: &'a Response,
    answer: Answer,
    body: Body,
    canonical: Canonical,
    report: &'a mut Report,
    faults: Vec<String>,
}

/// How one operation is to be judged.
struct Check<'a> {
    what: &'a str,
    shape: Shape,
    /// The verb that the call should have; none if the request is not to be looked at.
    verb: Option<Verb>,
    /// Whether the body is to be compared.
    with_body: bool,
    types: (String, String),
    object: &'a dyn Fn(&Value) -> Option<Value>,
}

impl<'a> Run<'a> {
    fn new(
        request: &'a Request,
        response: &'a Response,
        report: &'a mut Report,
    ) -> Result<Self, String> {
        let body = request.body()?;
        Ok(Self {
            request,
            response,
            answer: Answer::of(response)?,
            canonical: Canonical::recorded(request, &body),
            body,
            report,
            faults: Vec::new(),
        })
    }

    fn count_answer(&mut self) {
        let what = match self.response.status {
            None => "no answer at all",
            Some(200..=299) if self.response.coding() == Coding::Gzip => "success, compressed",
            Some(200..=299) if self.response.coding() == Coding::Other => {
                "a content coding that was not asked for: refused"
            }
            Some(200..=299) => "success",
            Some(_) => "failure",
        };
        *self.report.answers.entry(what).or_default() += 1;
    }

    /// Feeds the answer to what `make` builds, in all cuts, and compares.
    fn exercise<D: Decode>(
        &mut self,
        check: &Check<'_>,
        make: &dyn Fn() -> Result<Call<D>, Error>,
        see: &dyn Fn(D::Item) -> Value,
    ) {
        let expected = Expectation {
            response: self.response,
            answer: &self.answer,
            shape: check.shape,
            types: check.types.clone(),
            object: check.object,
            request: Some(&self.canonical.form),
        }
        .outcome();
        for cut in Cut::all(&self.request.target, self.answer.body.len()) {
            let outcome = make()
                .map_err(|error| format!("building it again failed: {error}"))
                .and_then(|call| feed(call, &self.answer, cut, check.shape.is_streaming(), see));
            self.report.feeds += 1;
            let differences = match outcome {
                Ok(mut got) => {
                    if check.shape == Shape::Chunks && expected["items"] != json!([]) {
                        // How a body comes is not what it is.
                        let pieces = got["items"].as_array().into_iter().flatten();
                        let body: String = pieces.filter_map(Value::as_str).collect();
                        got["items"] = json!([body]);
                    }
                    self.report.items += got["items"].as_array().map_or(0, Vec::len);
                    differences(&expected, &got)
                }
                Err(breach) => vec![breach],
            };
            if !differences.is_empty() {
                self.faults.push(format!(
                    "{}, answer cut {cut:?}:\n      {}",
                    check.what,
                    differences.join("\n      ")
                ));
                return;
            }
        }
    }

    /// Compares a request and exercises its answer.
    fn call<D: Decode>(
        &mut self,
        check: &Check<'_>,
        make: &dyn Fn() -> Result<Call<D>, Error>,
        see: &dyn Fn(D::Item) -> Value,
    ) {
        let call = match make() {
            Ok(call) => call,
            Err(error) => {
                self.faults
                    .push(format!("{}: refused: {error}", check.what));
                return;
            }
        };
        if let Some(verb) = check.verb {
            let mut built = Canonical::built(call.request());
            let mut recorded = self.canonical.clone();
            if !check.with_body || self.body == Body::Omitted {
                built.ignore_body();
                recorded.ignore_body();
            }
            let mut differences = differences(&recorded.form, &built.form);
            if call.verb() != verb {
                differences.push(format!("verb {:?} instead of {verb:?}", call.verb()));
            }
            for (name, value) in call.request().headers() {
                let known = ["accept", "content-type", "accept-encoding"].contains(&name.as_str());
                let recorded = self.request.header(name.as_str());
                if !known && recorded.map(str::as_bytes) != Some(value.as_bytes()) {
                    differences.push(format!("header {name} is too much"));
                }
            }
            if !differences.is_empty() {
                self.faults.push(format!(
                    "{}, request:\n      {}",
                    check.what,
                    differences.join("\n      ")
                ));
            }
        }
        self.exercise(check, make, see);
    }

    /// A request that is an operation of the public API.
    #[expect(clippy::too_many_lines, reason = "one arm an operation")]
    fn operation(&mut self, intent: &Intent) {
        if let Some(why) = intent.must_refuse() {
            match Self::refusal(intent) {
                Some(error) if error.kind() == ErrorKind::Usage => {
                    *self.report.refused.entry(why.to_owned()).or_default() += 1;
                }
                Some(error) => self.faults.push(format!(
                    "{why}: refused with {:?} instead of Usage",
                    error.kind()
                )),
                None => self
                    .faults
                    .push(format!("{why}: the public API lets it through")),
            }
            self.answer_only();
            return;
        }
        *self.report.operations.entry(intent.label()).or_default() += 1;
        let used = self.canonical.used.clone();
        for name in used.into_iter().chain(["transport"]) {
            *self.report.equivalences.entry(name).or_default() += 1;
        }
        let api = Api::<Dynamic>::of(intent.resource.clone(), intent.namespace.clone());
        let name = intent.name.as_deref().unwrap_or_default();
        let types = (
            intent.resource.kind().to_owned(),
            intent.resource.api_version().into_owned(),
        );
        match (&intent.action, &intent.part) {
            (Action::Evict(..) | Action::Bind { .. }, _) => {
                let check = Check {
                    what: &intent.label(),
                    shape: Shape::Object,
                    verb: Some(Verb::Create),
                    with_body: true,
                    types,
                    object: &as_status,
                };
                self.call(&check, &|| action(&api, name, intent), &|status| {
                    see_status(&status)
                });
            }
            (Action::Token(ask), _) => {
                let check = Check {
                    what: "create token",
                    shape: Shape::Object,
                    verb: Some(Verb::Create),
                    with_body: true,
                    types,
                    object: &as_token,
                };
                self.call(
                    &check,
                    &|| token(&api, name, ask, &intent.common).into_call(),
                    &|token| json!([token.token, token.expiration_timestamp]),
                );
                self.typed_answer();
            }
            (_, Part::Object) if matches!(intent.view, View::Table(_)) => {
                self.table(intent, &api.table());
            }
            (_, Part::Object) if intent.view == View::Metadata => {
                let types = (
                    "PartialObjectMetadata".to_owned(),
                    "meta.k8s.io/v1".to_owned(),
                );
                self.objects(intent, &api.metadata(), &as_metadata, &types, false);
            }
            (_, Part::Object) => {
                self.objects(intent, &api, &as_it_is, &types, false);
                self.typed(intent);
            }
            (_, Part::Scale) => {
                let see = |scale: &Scale| {
                    let scale = see_object(scale);
                    as_scale(&scale).unwrap_or(scale)
                };
                self.subresource_seen(intent, &api.scale(name), &see, &as_scale, &types);
            }
            (Action::Logs(ask), _) => self.logs(&api, name, ask, &intent.common),
            (_, Part::Log) => {}
            (_, Part::Any(sub)) => {
                self.any_subresource(intent, &api.subresource(name, sub), &types);
                self.typed_answer();
            }
            (_, Part::Finalize) => {
                if let Action::Replace(write) = &intent.action
                    && let Some(body) = object_of::<Dynamic>(write)
                {
                    let check = Check {
                        what: "finalize",
                        shape: Shape::Object,
                        verb: Some(Verb::Update),
                        with_body: true,
                        types: types.clone(),
                        object: &as_it_is,
                    };
                    self.call(
                        &check,
                        &|| replace(api.finalize(name, &body), write, &intent.common).into_call(),
                        &|object| see_object(&object),
                    );
                }
                self.any_subresource(intent, &api.subresource(name, "finalize"), &types);
                self.typed_answer();
            }
            (_, part) => {
                let part = match part {
                    Part::Ephemeral => api.ephemeral_containers(name),
                    Part::Resize => api.resize(name),
                    Part::Approval => api.approval(name),
                    _ => api.status(name),
                };
                self.subresource(intent, &part, &as_it_is, &types);
                let generic = api.subresource(name, intent.part.name());
                self.any_subresource(intent, &generic, &types);
                self.typed_answer();
            }
        }
    }

    /// A table, with its rows.
    fn table(&mut self, intent: &Intent, api: &TableApi) {
        let c = &intent.common;
        let View::Table(include) = intent.view else {
            return;
        };
        let label = intent.label();
        let name = intent.name.as_deref().unwrap_or_default();
        let check = |shape, verb| Check {
            what: &label,
            shape,
            verb: Some(verb),
            with_body: true,
            types: ("Table".to_owned(), "meta.k8s.io/v1".to_owned()),
            object: &as_table,
        };
        macro_rules! include {
            ($operation:expr) => {{
                let operation = $operation;
                match include {
                    Some(include) => operation.include_object(include),
                    None => operation,
                }
            }};
        }
        match &intent.action {
            Action::Get { version } => self.call(
                &check(Shape::Object, Verb::Get),
                &|| include!(get(api.get(name), version.as_ref(), c)).into_call(),
                &see_table,
            ),
            Action::List(ask) => self.call(
                &check(Shape::Object, Verb::List),
                &|| include!(list_options!(api.list(), ask, c)).into_call(),
                &see_table,
            ),
            Action::Watch(ask) => self.call(
                &check(Shape::Watch, Verb::Watch),
                &|| include!(watch(api.watch(), ask, c)).into_call(),
                &|event| see_event(event, &see_table),
            ),
            _ => {}
        }
    }

    /// A subresource by its name.
    fn any_subresource(
        &mut self,
        intent: &Intent,
        part: &AnySubresource,
        types: &(String, String),
    ) {
        let c = &intent.common;
        let label = format!("{}, by name", intent.label());
        let check = |verb| Check {
            what: &label,
            shape: Shape::Object,
            verb: Some(verb),
            with_body: true,
            types: types.clone(),
            object: &as_it_is,
        };
        let see = |object: Dynamic| see_object(&object);
        match &intent.action {
            Action::Get { version } => self.call(
                &check(Verb::Get),
                &|| get(part.get::<Dynamic>(), version.as_ref(), c).into_call(),
                &see,
            ),
            Action::Create(write) => {
                if let Some(body) = object_of::<Dynamic>(write) {
                    self.call(
                        &check(Verb::Create),
                        &|| write_options!(part.create::<_, Dynamic>(&body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Replace(write) => {
                if let Some(body) = object_of::<Dynamic>(write) {
                    self.call(
                        &check(Verb::Update),
                        &|| replace(part.replace(&body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Patch { form, force, write } => {
                if let Some(body) = patch_of(*form, write) {
                    self.call(
                        &check(Verb::Patch),
                        &|| {
                            let made = part.patch::<Dynamic>(body.clone());
                            patch(made, *force, write, c).into_call()
                        },
                        &see,
                    );
                }
            }
            _ => {}
        }
    }

    /// The error of an operation that is to be refused.
    fn refusal(intent: &Intent) -> Option<Error> {
        let api = Api::<Dynamic>::of(intent.resource.clone(), intent.namespace.clone());
        let name = intent.name.as_deref().unwrap_or_default();
        let body = |write: &Write| object_of::<Dynamic>(write);
        let c = &intent.common;
        if let View::Table(include) = intent.view {
            let api = api.table();
            return match &intent.action {
                Action::Get { version } => {
                    get(api.get(name), version.as_ref(), c).into_call().err()
                }
                Action::List(ask) => list_options!(api.list(), ask, c).into_call().err(),
                Action::Watch(ask) => {
                    let mut watch = watch(api.watch(), ask, c);
                    if let Some(include) = include {
                        watch = watch.include_object(include);
                    }
                    watch.into_call().err()
                }
                _ => None,
            };
        }
        let part = api.subresource(name, intent.part.name());
        let sub = intent.part != Part::Object;
        match &intent.action {
            Action::Evict(..) | Action::Bind { .. } => action(&api, name, intent).err(),
            Action::Token(ask) => token(&api, name, ask, c).into_call().err(),
            Action::Get { version } if sub => {
                let made = part.get::<Dynamic>();
                get(made, version.as_ref(), c).into_call().err()
            }
            Action::Get { version } => get(api.get(name), version.as_ref(), c).into_call().err(),
            Action::List(ask) => list(&api, ask, c).into_call().err(),
            Action::Watch(ask) => watch(api.watch(), ask, c).into_call().err(),
            Action::Logs(ask) => logs(&api, name, ask, c).into_call().err(),
            Action::Delete(ask) => delete(&api, name, ask, c).into_call().err(),
            Action::DeleteCollection(ask, delete) => {
                delete_collection(&api, ask, delete, c).into_call().err()
            }
            Action::Create(write) if sub => {
                let made = part.create::<_, Dynamic>(&body(write)?);
                write_options!(made, write, c).into_call().err()
            }
            Action::Create(write) => create(&api, &body(write)?, write, c).into_call().err(),
            Action::Replace(write) if sub => {
                let made = part.replace(&body(write)?);
                replace(made, write, c).into_call().err()
            }
            Action::Replace(write) => {
                let made = api.replace(name, &body(write)?);
                replace(made, write, c).into_call().err()
            }
            Action::Patch { form, force, write } if sub => {
                let made = part.patch::<Dynamic>(patch_of(*form, write)?);
                patch(made, *force, write, c).into_call().err()
            }
            Action::Patch { form, force, write } => {
                let made = api.patch(name, patch_of(*form, write)?);
                patch(made, *force, write, c).into_call().err()
            }
        }
    }

    /// Objects and collections, decoded as `K`.
    fn objects<K: Object + Serialize + Clone>(
        &mut self,
        intent: &Intent,
        api: &Api<K>,
        object: &dyn Fn(&Value) -> Option<Value>,
        types: &(String, String),
        is_typed: bool,
    ) {
        let name = intent.name.as_deref().unwrap_or_default();
        let c = &intent.common;
        let label = if is_typed {
            format!("{} as {}", intent.label(), intent.resource.kind())
        } else {
            intent.label()
        };
        let check = |shape, verb| Check {
            what: &label,
            shape,
            verb: Some(verb),
            with_body: !is_typed,
            types: types.clone(),
            object,
        };
        let see = |object: K| see_object(&object);
        match &intent.action {
            Action::Get { version } => {
                let get = || get(api.get(name), version.as_ref(), c);
                self.call(
                    &check(Shape::Object, Verb::Get),
                    &|| get().into_call(),
                    &see,
                );
                self.call(
                    &check(Shape::Optional, Verb::Get),
                    &|| get().optional().into_call(),
                    &|object| object.map_or(Value::Null, see),
                );
            }
            Action::List(ask) => {
                self.call(
                    &check(Shape::List, Verb::List),
                    &|| list(api, ask, c).into_call(),
                    &|list| {
                        let items: Vec<_> = list.items.into_iter().map(see).collect();
                        json!({ "metadata": list.metadata, "items": items })
                    },
                );
                // How many items there are before a fault is known for whole bodies only.
                if serde_json::from_slice::<Value>(&self.answer.body).is_ok() {
                    self.call(
                        &check(Shape::Items, Verb::List),
                        &|| list(api, ask, c).items().into_call(),
                        &see,
                    );
                }
            }
            Action::Watch(ask) => self.call(
                &check(Shape::Watch, Verb::Watch),
                &|| watch(api.watch(), ask, c).into_call(),
                &|event| see_event(event, &see),
            ),
            Action::Create(write) => {
                if let Some(body) = object_of::<K>(write) {
                    self.call(
                        &check(Shape::Object, Verb::Create),
                        &|| create(api, &body, write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Replace(write) => {
                if let Some(body) = object_of::<K>(write) {
                    self.call(
                        &check(Shape::Object, Verb::Update),
                        &|| replace(api.replace(name, &body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Patch { form, force, write } => {
                if let Some(body) = patch_of(*form, write) {
                    self.call(
                        &check(Shape::Object, Verb::Patch),
                        &|| patch(api.patch(name, body.clone()), *force, write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Delete(ask) => self.call(
                &check(Shape::Deleted, Verb::Delete),
                &|| delete(api, name, ask, c).into_call(),
                &|deleted| see_deleted(deleted, &see),
            ),
            Action::DeleteCollection(ask, delete) => self.call(
                &check(Shape::DeletedCollection, Verb::DeleteCollection),
                &|| delete_collection(api, ask, delete, c).into_call(),
                &|deleted| match deleted {
                    DeletedCollection::Status(status) => {
                        json!({ "status": feed::status_value(&json!(status)) })
                    }
                    DeletedCollection::List(list) => {
                        let items: Vec<_> = list.items.into_iter().map(see).collect();
                        json!({ "list": { "metadata": list.metadata, "items": items } })
                    }
                    _ => Value::Null,
                },
            ),
            _ => {}
        }
    }

    fn subresource<T: Object + Serialize>(
        &mut self,
        intent: &Intent,
        part: &Subresource<T>,
        object: &dyn Fn(&Value) -> Option<Value>,
        types: &(String, String),
    ) {
        self.subresource_seen(intent, part, &|object| see_object(object), object, types);
    }

    fn subresource_seen<T: Object + Serialize>(
        &mut self,
        intent: &Intent,
        part: &Subresource<T>,
        see: &dyn Fn(&T) -> Value,
        object: &dyn Fn(&Value) -> Option<Value>,
        types: &(String, String),
    ) {
        let label = intent.label();
        let c = &intent.common;
        let check = |verb| Check {
            what: &label,
            shape: Shape::Object,
            verb: Some(verb),
            with_body: true,
            types: types.clone(),
            object,
        };
        let see = |object: T| see(&object);
        match &intent.action {
            Action::Get { version } => self.call(
                &check(Verb::Get),
                &|| get(part.get(), version.as_ref(), c).into_call(),
                &see,
            ),
            Action::Replace(write) => {
                if let Some(body) = object_of::<T>(write) {
                    self.call(
                        &check(Verb::Update),
                        &|| replace(part.replace(&body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Patch { form, force, write } => {
                if let Some(body) = patch_of(*form, write) {
                    self.call(
                        &check(Verb::Patch),
                        &|| patch(part.patch(body.clone()), *force, write, c).into_call(),
                        &see,
                    );
                }
            }
            _ => {}
        }
    }

    fn logs(&mut self, api: &Api<Dynamic>, name: &str, ask: &LogAsk, c: &Common) {
        let check = |what, shape, verb| Check {
            what,
            shape,
            verb: Some(verb),
            with_body: true,
            types: Default::default(),
            object: &as_it_is,
        };
        let verb = if ask.follow { Verb::Watch } else { Verb::Get };
        self.call(
            &check("logs", Shape::Lines, verb),
            &|| logs(api, name, ask, c).into_call(),
            &|line| text(line.bytes()).into(),
        );
        if !ask.follow {
            self.call(
                &check("logs as text", Shape::Bytes, verb),
                &|| logs(api, name, ask, c).text().into_call(),
                &|body| text(&body).into(),
            );
        }
    }

    /// A second pass with the type of `k8s-openapi`, where there is one.
    fn typed(&mut self, intent: &Intent) {
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
    fn typed_answer(&mut self) {
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
    fn typed_answer_as<K: Resource + Serialize>(
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

    fn count_typed(&mut self, resource: &ApiResource) {
        let kind = resource.kind().to_owned();
        *self.report.typed.entry(kind).or_default() += 1;
    }

    /// Whether `K` is the kind.
    fn typed_as<K: Resource + Serialize + Clone>(&mut self, intent: &Intent) -> bool {
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
    fn raw(&mut self, why: &str) {
        *self.report.raw.entry(why.to_owned()).or_default() += 1;
        self.any_path();
        self.answer_only();
    }

    /// Replays the answer by what its body is, with a raw call.
    fn answer_only(&mut self) {
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
    fn shape(&self) -> (Shape, (String, String)) {
        let none = (String::new(), String::new());
        let body = &self.answer.body[..];
        let media = self.response.media_type().unwrap_or_default();
        let target = target::Target::parse(&self.request.target);
        if media == "text/plain" && target.segments.last().is_some_and(|last| last == "log") {
            return (Shape::Lines, none);
        }
        if media != "application/json" || !self.response.is_success() {
            return (Shape::Bytes, none);
        }
        let watches =
            self.request.method == "GET" && target.parameter("watch").is_some_and(target::go_bool);
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

fn raw_call<D: Decode>(request: &http::Request<bytes::Bytes>, decoder: D) -> Call<D> {
    Call::new(Verb::Raw, request.clone(), decoder)
}

fn see_event<K>(event: WatchEvent<K>, see: &dyn Fn(K) -> Value) -> Value {
    match event {
        WatchEvent::Added(object) => json!({ "added": see(object) }),
        WatchEvent::Modified(object) => json!({ "modified": see(object) }),
        WatchEvent::Deleted(object) => json!({ "deleted": see(object) }),
        WatchEvent::Bookmark(bookmark) => json!({
            "bookmark": bookmark.resource_version,
            "initialEventsEnd": bookmark.initial_events_end,
        }),
        WatchEvent::Unknown(name) => json!({ "unknown": name }),
        _ => Value::Null,
    }
}

fn see_deleted<K>(deleted: Deleted<K>, see: &dyn Fn(K) -> Value) -> Value {
    match deleted {
        Deleted::Gone(status) => json!({ "gone": feed::status_value(&json!(status)) }),
        Deleted::Object(object) => json!({ "object": see(object) }),
        _ => Value::Null,
    }
}

/// The body of a write; a stand-in for one that was not recorded.
fn object_of<K: Object>(write: &Write) -> Option<K> {
    let bytes: &[u8] = match &write.body {
        Some(_) => &write.bytes,
        None => br#"{"metadata":{"name":"stand-in"}}"#,
    };
    serde_json::from_slice(bytes).ok()
}

fn patch_of(form: Form, write: &Write) -> Option<Patch> {
    let bytes: &[u8] = match &write.body {
        Some(_) => &write.bytes,
        None => b"{}",
    };
    let body: Box<RawValue> = serde_json::from_slice(bytes).ok()?;
    Some(match form {
        Form::Json => Patch::json(&body),
        Form::Merge => Patch::merge(&body),
        Form::Strategic => Patch::strategic(&body),
        Form::Apply => Patch::apply(&body),
    })
}

fn as_status(object: &Value) -> Option<Value> {
    object.is_object().then(|| feed::status_value(object))
}

fn see_status(status: &kubewire::meta::Status) -> Value {
    feed::status_value(&json!(status))
}

fn as_token(object: &Value) -> Option<Value> {
    let token = object["status"]["token"].as_str()?;
    let until = object["status"]["expirationTimestamp"].as_str()?;
    Some(json!([token, until]))
}

/// A table of JSON: what its columns and rows say.
fn as_table(object: &Value) -> Option<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if object["kind"] != "Table" {
        return None;
    }
    let mut metadata = serde_json::Map::new();
    for key in [
        "resourceVersion",
        "continue",
        "remainingItemCount",
        "shardInfo",
    ] {
        let value = &object["metadata"][key];
        if !value.is_null() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let columns: Vec<_> = list(&object["columnDefinitions"])
        .iter()
        .map(|column| {
            json!([
                text(&column["name"]),
                text(&column["type"]),
                text(&column["format"]),
                text(&column["description"]),
                column["priority"].as_i64().unwrap_or_default(),
            ])
        })
        .collect();
    let rows: Vec<_> = list(&object["rows"])
        .iter()
        .map(|row| {
            let conditions: Vec<_> = list(&row["conditions"])
                .iter()
                .map(|condition| {
                    let keys = ["type", "status", "reason", "message"];
                    keys.map(|key| text(&condition[key]))
                })
                .collect();
            json!([
                list(&row["cells"]),
                conditions,
                settled(row["object"].clone())
            ])
        })
        .collect();
    Some(json!({ "metadata": metadata, "columns": columns, "rows": rows }))
}

fn see_table(table: Table) -> Value {
    let columns: Vec<_> = table
        .column_definitions
        .into_iter()
        .map(|it| json!([it.name, it.r#type, it.format, it.description, it.priority]))
        .collect();
    let rows: Vec<_> = table
        .rows
        .into_iter()
        .map(|row| {
            let conditions: Vec<_> = row
                .conditions
                .into_iter()
                .map(|it| [it.r#type, it.status, it.reason, it.message])
                .collect();
            let object = row.object.map(|object| see_object(&object));
            json!([row.cells, conditions, object])
        })
        .collect();
    json!({ "metadata": table.metadata, "columns": columns, "rows": rows })
}

fn get<K>(get: Get<K>, version: Option<&String>, c: &Common) -> Get<K> {
    let mut get = common!(get, c);
    if let Some(version) = version {
        get = get.resource_version(version);
    }
    get
}

fn list<K: Object>(api: &Api<K>, ask: &ListAsk, c: &Common) -> kubewire::ListObjects<K> {
    list_options!(api.list(), ask, c)
}

fn watch<K>(
    watch: kubewire::WatchObjects<K>,
    ask: &WatchAsk,
    c: &Common,
) -> kubewire::WatchObjects<K> {
    let mut watch = watch.bookmarks(ask.bookmarks).accept_gzip(c.gzip);
    if let Some(labels) = &ask.labels {
        watch = watch.labels(labels);
    }
    if let Some(fields) = &ask.fields {
        watch = watch.fields(fields);
    }
    if let Some(shards) = &ask.shards {
        watch = watch.shard_selector(shards);
    }
    if let Some(version) = &ask.version {
        watch = watch.resource_version(version);
    }
    if let Some(send) = ask.initial {
        watch = watch.send_initial_events(send);
    }
    if let Some(seconds) = ask.timeout {
        watch = watch.timeout_seconds(seconds);
    }
    watch
}

fn logs(api: &Api<Dynamic>, name: &str, ask: &LogAsk, c: &Common) -> kubewire::Logs {
    let mut logs = common!(api.logs(name), c)
        .follow(ask.follow)
        .previous(ask.previous)
        .timestamps(ask.timestamps)
        .insecure_skip_tls_verify_backend(ask.insecure);
    if let Some(container) = &ask.container {
        logs = logs.container(container);
    }
    if let Some(seconds) = ask.since_seconds {
        logs = logs.since_seconds(seconds);
    }
    if let Some(time) = &ask.since_time {
        logs = logs.since_time(time);
    }
    if let Some(lines) = ask.tail {
        logs = logs.tail_lines(lines);
    }
    if let Some(bytes) = ask.limit {
        logs = logs.limit_bytes(bytes);
    }
    if let Some(stream) = ask.stream {
        logs = logs.stream(stream);
    }
    logs
}

/// What a server would do without a policy.
fn orphans(resource: &ApiResource) -> bool {
    [("batch", "jobs"), ("", "replicationcontrollers")]
        .contains(&(resource.group(), resource.plural()))
}

macro_rules! delete_options {
    ($operation:expr, $api:expr, $ask:expr, $c:expr) => {{
        let mut operation = common!($operation, $c).dry_run($ask.dry_run);
        if let Some(seconds) = $ask.grace {
            operation = operation.grace_period_seconds(seconds);
        }
        if let Some(policy) = $ask.policy {
            operation = operation.propagation_policy(policy);
        }
        if let Some(orphan) = $ask.orphan {
            operation = operation.orphan_dependents(orphan);
        }
        let chosen = $ask.policy.is_some() || $ask.orphan.is_some() || $ask.ignore_read_error;
        if orphans($api.resource()) && !chosen {
            operation = operation.propagation_policy(Propagation::Orphan);
        }
        operation
    }};
}

fn delete<K: Object>(api: &Api<K>, name: &str, ask: &DeleteAsk, c: &Common) -> kubewire::Delete<K> {
    let mut delete = delete_options!(api.delete(name), api, ask, c)
        .ignore_store_read_error_with_cluster_breaking_potential(ask.ignore_read_error);
    if let Some(uid) = &ask.uid {
        delete = delete.precondition_uid(uid);
    }
    if let Some(version) = &ask.version {
        delete = delete.precondition_resource_version(version);
    }
    delete
}

fn delete_collection<K: Object>(
    api: &Api<K>,
    ask: &ListAsk,
    delete: &DeleteAsk,
    c: &Common,
) -> kubewire::DeleteCollection<K> {
    let operation = list_options!(api.delete_collection(), ask, c);
    let operation = delete_options!(operation, api, delete, c);
    let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    if empty(&ask.labels) && empty(&ask.fields) && empty(&ask.shards) {
        operation.everything()
    } else {
        operation
    }
}

fn token(api: &Api<Dynamic>, name: &str, ask: &TokenAsk, c: &Common) -> kubewire::CreateToken {
    let mut token = write_options!(api.create_token(name), ask.write, c);
    for audience in &ask.audiences {
        token = token.audience(audience);
    }
    if let Some(seconds) = ask.expiration {
        token = token.expiration_seconds(seconds);
    }
    match &ask.bound {
        None => token,
        Some((kind, name, uid)) => match kind.as_str() {
            "Pod" => token.bound_to_pod(name, uid.clone()),
            "Secret" => token.bound_to_secret(name, uid.clone()),
            _ => token.bound_to_node(name, uid.clone()),
        },
    }
}

/// An eviction or a binding.
fn action(
    api: &Api<Dynamic>,
    name: &str,
    intent: &Intent,
) -> Result<Call<Json<kubewire::meta::Status>>, Error> {
    let c = &intent.common;
    match &intent.action {
        Action::Bind { node, uid, write } => {
            let mut bind = write_options!(api.bind(name, node), write, c);
            if let Some(uid) = uid {
                bind = bind.uid(uid);
            }
            bind.into_call()
        }
        Action::Evict(write, ask) => {
            let mut evict = write_options!(api.evict(name), write, c);
            evict = evict.dry_run(write.dry_run || ask.dry_run);
            if let Some(seconds) = ask.grace {
                evict = evict.grace_period_seconds(seconds);
            }
            if let Some(policy) = ask.policy {
                evict = evict.propagation_policy(policy);
            }
            if let Some(uid) = &ask.uid {
                evict = evict.precondition_uid(uid);
            }
            if let Some(version) = &ask.version {
                evict = evict.precondition_resource_version(version);
            }
            evict.into_call()
        }
        _ => Err(Error::new(ErrorKind::Usage, "neither eviction nor binding")),
    }
}

fn create<K: Object + Serialize>(
    api: &Api<K>,
    body: &K,
    write: &Write,
    c: &Common,
) -> kubewire::Create<K> {
    write_options!(api.create(body), write, c)
}

fn replace<K>(replace: Replace<K>, write: &Write, c: &Common) -> Replace<K> {
    write_options!(replace, write, c)
}

fn patch<K>(patch: PatchObject<K>, force: bool, write: &Write, c: &Common) -> PatchObject<K> {
    let mut patch = write_options!(patch, write, c);
    if force {
        patch = patch.force(true);
    }
    patch
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn table(
            f: &mut fmt::Formatter<'_>,
            title: &str,
            rows: impl Iterator<Item = (String, usize)>,
        ) -> fmt::Result {
            let rows: Vec<_> = rows.collect();
            let sum: usize = rows.iter().map(|(_, count)| count).sum();
            writeln!(f, "{sum:5} {title}")?;
            for (name, count) in rows {
                writeln!(f, "      {count:5} {name}")?;
            }
            Ok(())
        }
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        writeln!(f, "{} transcripts, {skipped} skipped", self.transcripts)?;
        let owned = |map: &BTreeMap<String, usize>| map.clone().into_iter();
        table(
            f,
            "built as recorded, by operation",
            owned(&self.operations),
        )?;
        table(f, "refused before sending", owned(&self.refused))?;
        table(f, "sent as a raw operation", owned(&self.raw))?;
        let rows = self.skipped.iter();
        let rows = rows.map(|(why, names)| (format!("{why}: {}", names.join(" ")), names.len()));
        table(f, "skipped", rows)?;
        let named = |map: &BTreeMap<&'static str, usize>| {
            let rows = map.clone().into_iter();
            rows.map(|(name, count)| (name.to_owned(), count))
        };
        table(f, "answers", named(&self.answers))?;
        table(
            f,
            "answers decoded as a k8s-openapi type too",
            owned(&self.typed),
        )?;
        let sessions = &self.sessions;
        for (title, map) in [
            ("handshakes of sessions", &sessions.handshakes),
            ("sessions replayed", &sessions.replayed),
            ("outcomes of sessions", &sessions.outcomes),
            ("recorded client frames", &sessions.frames),
            ("payloads not as recorded", &sessions.reasons),
        ] {
            table(f, title, owned(map))?;
        }
        table(f, "uses of equivalences", named(&self.equivalences))?;
        writeln!(
            f,
            "{} feeds, {} items, {} plays of sessions, {} resources from discovery, {} mismatches",
            self.feeds,
            self.items,
            self.sessions.plays,
            self.resources,
            self.mismatches.len()
        )?;
        for (name, what) in &self.mismatches {
            writeln!(f, "MISMATCH {name}\n    {what}")?;
        }
        Ok(())
    }
}
