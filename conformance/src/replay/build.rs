//! Operations as an intent wants them.

use kubewire::{
    Api, ApiResource, Call, Dynamic, Error, ErrorKind, Get, Json, Object, Operation, Patch,
    PatchObject, Propagation, Replace,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::intent::{
    Action, Common, DeleteAsk, Form, Intent, ListAsk, LogAsk, TokenAsk, WatchAsk, Write,
};

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

/// The body of a write; a stand-in for one that was not recorded.
pub(super) fn object_of<K: Object>(write: &Write) -> Option<K> {
    let bytes: &[u8] = match &write.body {
        Some(_) => &write.bytes,
        None => br#"{"metadata":{"name":"stand-in"}}"#,
    };
    serde_json::from_slice(bytes).ok()
}

pub(super) fn patch_of(form: Form, write: &Write) -> Option<Patch> {
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

pub(super) fn get<K>(get: Get<K>, version: Option<&String>, c: &Common) -> Get<K> {
    let mut get = common!(get, c);
    if let Some(version) = version {
        get = get.resource_version(version);
    }
    get
}

pub(super) fn list<K: Object>(api: &Api<K>, ask: &ListAsk, c: &Common) -> kubewire::ListObjects<K> {
    list_options!(api.list(), ask, c)
}

pub(super) fn watch<K>(
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

pub(super) fn logs(api: &Api<Dynamic>, name: &str, ask: &LogAsk, c: &Common) -> kubewire::Logs {
    let mut logs = api
        .logs(name)
        .accept_gzip(c.gzip)
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
pub(super) fn orphans(resource: &ApiResource) -> bool {
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

pub(super) fn delete<K: Object>(
    api: &Api<K>,
    name: &str,
    ask: &DeleteAsk,
    c: &Common,
) -> kubewire::Delete<K> {
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

pub(super) fn delete_collection<K: Object>(
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

pub(super) fn token(
    api: &Api<Dynamic>,
    name: &str,
    ask: &TokenAsk,
    c: &Common,
) -> kubewire::CreateToken {
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
pub(super) fn action(
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

pub(super) fn create<K: Object + Serialize>(
    api: &Api<K>,
    body: &K,
    write: &Write,
    c: &Common,
) -> kubewire::Create<K> {
    write_options!(api.create(body), write, c)
}

pub(super) fn replace<K>(replace: Replace<K>, write: &Write, c: &Common) -> Replace<K> {
    write_options!(replace, write, c)
}

pub(super) fn patch<K>(
    patch: PatchObject<K>,
    force: bool,
    write: &Write,
    c: &Common,
) -> PatchObject<K> {
    let mut patch = write_options!(patch, write, c);
    if force {
        patch = patch.force(true);
    }
    patch
}

pub(super) use {common, list_options, write_options};
