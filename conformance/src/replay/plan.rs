//! Which operation of the public API a recorded request is.

use kubewire::{
    Dynamic, FieldValidation, IncludeObject, LogStream, Namespace, Propagation, VersionMatch,
};
use serde_json::Value;

use super::compare::{gzip, yaml};
use super::intent::{
    Action, Common, DeleteAsk, Form, Intent, ListAsk, LogAsk, Part, TokenAsk, View, WatchAsk, Write,
};
use super::kinds::Kinds;
use super::request::{Answer, Or, Parameters, Place, answer, content_type};
use super::target::{Target, go_bool, media_type};
use super::transcript::{Body, Request, Transcript};

/// What is to be done with a request.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// It is an operation of the public API.
    Operation(Box<Intent>),
    /// It asks the server about itself.
    Server(super::server::Ask),
    /// It goes through a pod, service or node.
    Proxy(super::server::ProxyAsk),
    /// No operation expresses it; why not.
    Raw(String),
}

impl Plan {
    /// What a recorded request is.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub(super) fn of(
        transcript: &Transcript,
        request: &Request,
        kinds: &Kinds,
    ) -> Result<Self, String> {
        let body = request.body()?;
        let target = Target::parse(&request.target);
        let plan = if let Some(server) = super::server::ask(request, &body, &target) {
            server.map(Self::Server)
        } else if let Some(proxy) = super::server::proxy(transcript, request, &body, &target, kinds)
        {
            proxy.map(Self::Proxy)
        } else {
            let intent = plan(transcript, request, &body, kinds);
            intent.map(|intent| Self::Operation(Box::new(intent)))
        };
        Ok(plan.unwrap_or_else(Self::Raw))
    }
}

#[expect(clippy::too_many_lines, reason = "from top to bottom of a request")]
fn plan(transcript: &Transcript, request: &Request, body: &Body, kinds: &Kinds) -> Or<Intent> {
    let target = Target::parse(&request.target);
    if !target.dropped.is_empty() {
        return Err("a query that servers read only in part".to_owned());
    }
    let Some(place) = Place::parse(&target.segments) else {
        return Err("a path outside the resources".to_owned());
    };
    if place.plural == "watch" {
        return Err("the deprecated path of watches".to_owned());
    }
    for header in ["content-encoding", "upgrade"] {
        if request.header(header).is_some() {
            return Err(format!("header {header}"));
        }
    }
    let part = match place.sub {
        [] => Part::Object,
        [sub] if sub == "status" => Part::Status,
        [sub] if sub == "scale" => Part::Scale,
        [sub] if sub == "log" => Part::Log,
        [sub] if sub == "ephemeralcontainers" => Part::Ephemeral,
        [sub] if sub == "resize" => Part::Resize,
        [sub] if sub == "approval" => Part::Approval,
        [sub] if sub == "finalize" => Part::Finalize,
        [sub] if SESSIONS.contains(&sub.as_str()) => return Err(format!("subresource {sub}")),
        [sub] => Part::Any(sub.clone()),
        [sub, ..] => return Err(format!("a path below the subresource {sub}")),
    };
    let namespaced_path = place.namespace.is_some();
    let resource = kinds.resource(
        place.group,
        place.version,
        place.plural,
        namespaced_path,
        transcript,
    );
    let namespace = match place.namespace {
        Some(namespace) => Namespace::Named(namespace.to_owned()),
        None => Namespace::All,
    };
    let mut parameters = Parameters::new(&target);
    let has_name = place.name.is_some();
    let watches =
        request.method == "GET" && !has_name && target.parameter("watch").is_some_and(go_bool);
    let common = if watches || part == Part::Log {
        // Layout of the JSON only.
        let _ = parameters.all("pretty");
        Common {
            gzip: request.header("accept-encoding").is_some_and(gzip),
            ..Common::default()
        }
    } else {
        parameters.common(request)?
    };
    let action = match (request.method.as_str(), &part, has_name) {
        ("GET", Part::Log, true) => Action::Logs(logs(&mut parameters)?),
        (_, Part::Log, _) => return Err(format!("{} of a log", request.method)),
        ("GET", _, true) => Action::Get {
            version: parameters.text("resourceVersion")?,
        },
        ("GET", Part::Object, false) => {
            if parameters.flag("watch")? {
                Action::Watch(watch(&mut parameters)?)
            } else {
                Action::List(list(&mut parameters)?)
            }
        }
        ("POST", Part::Object, false) => Action::Create(write(request, body, &mut parameters)?),
        ("POST", Part::Any(sub), true) => {
            let write = write(request, body, &mut parameters)?;
            let special = special(sub, &place, &write);
            special.unwrap_or(Action::Create(write))
        }
        ("PUT", _, true) => Action::Replace(write(request, body, &mut parameters)?),
        ("PATCH", _, true) => patch(request, body, &mut parameters)?,
        ("DELETE", Part::Object, true) => Action::Delete(delete(request, body, &mut parameters)?),
        ("DELETE", Part::Object, false) => delete_collection(request, body, &mut parameters)?,
        (method, _, _) => return Err(format!("{method} where no operation has it")),
    };
    let answer = view(request, &part, &action)?;
    let view = match answer {
        View::Table(_) => View::Table(match parameters.text("includeObject")?.as_deref() {
            None | Some("") => None,
            Some("None") => Some(IncludeObject::None),
            Some("Metadata") => Some(IncludeObject::Metadata),
            Some("Object") => Some(IncludeObject::Object),
            Some(_) => return Err("an includeObject that there is not".to_owned()),
        }),
        view => view,
    };
    parameters.finish()?;
    let takes_body = !matches!(
        action,
        Action::Get { .. } | Action::List(_) | Action::Watch(_) | Action::Logs(_)
    );
    if !takes_body && !matches!(body, Body::Bytes(bytes) if bytes.is_empty()) {
        return Err("a body where there should be none".to_owned());
    }
    Ok(Intent {
        resource,
        namespace,
        name: place.name.map(str::to_owned),
        part,
        view,
        common,
        action,
    })
}

/// Subresources that are sessions or tunnels.
const SESSIONS: &[&str] = &["exec", "attach", "portforward", "proxy"];

/// An operation of its own, if it can say what the body says.
fn special(sub: &str, place: &Place<'_>, write: &Write) -> Option<Action> {
    let body = write.body.clone()?;
    let Value::Object(mut body) = body else {
        return None;
    };
    let mut string = |key: &str| match body.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (kind, version) = (string("kind")?, string("apiVersion")?);
    let mut metadata = fields(body.remove("metadata"))?;
    if metadata
        .remove("namespace")
        .is_some_and(|namespace| namespace.as_str() != place.namespace)
    {
        return None;
    }
    let name = metadata.remove("name");
    let named = name.as_ref().and_then(Value::as_str) == place.name;
    let core = place.group.is_empty() && place.version == "v1";
    let action = match (sub, place.plural, kind.as_str(), version.as_str()) {
        ("eviction", "pods", "Eviction", "policy/v1") if core && named && metadata.is_empty() => {
            let options = delete_options(fields(body.remove("deleteOptions"))?).ok()?;
            if options.orphan.is_some() || options.ignore_read_error {
                return None;
            }
            Action::Evict(write.clone(), options)
        }
        ("binding", "pods", "Binding", "v1") if core && named => {
            let uid = text(metadata.remove("uid"))?;
            let mut target = fields(body.remove("target"))?;
            let node = text(target.remove("name"))??;
            let kind = text(target.remove("kind"))?;
            let version = text(target.remove("apiVersion"))?;
            let fits = kind.is_none_or(|kind| kind == "Node")
                && version.is_none_or(|version| version == "v1")
                && target.is_empty()
                && metadata.is_empty();
            if !fits {
                return None;
            }
            let write = write.clone();
            Action::Bind { node, uid, write }
        }
        ("token", "serviceaccounts", "TokenRequest", "authentication.k8s.io/v1")
            if core && name.is_none() && metadata.is_empty() =>
        {
            let mut spec = fields(body.remove("spec"))?;
            let audiences = spec.remove("audiences").unwrap_or(Value::Null);
            let audiences: Option<Vec<String>> = serde_json::from_value(audiences).ok()?;
            let expiration = match spec.remove("expirationSeconds") {
                None | Some(Value::Null) => None,
                Some(seconds) => Some(seconds.as_i64()?),
            };
            let mut bound = fields(spec.remove("boundObjectRef"))?;
            let bound = if bound.is_empty() {
                None
            } else {
                let kind = text(bound.remove("kind"))??;
                let version = text(bound.remove("apiVersion"))??;
                let name = text(bound.remove("name"))??;
                let uid = text(bound.remove("uid"))?;
                let known = ["Pod", "Secret", "Node"].contains(&kind.as_str());
                if !known || version != "v1" || !bound.is_empty() {
                    return None;
                }
                Some((kind, name, uid))
            };
            if !spec.is_empty() {
                return None;
            }
            Action::Token(TokenAsk {
                audiences: audiences.unwrap_or_default(),
                expiration,
                bound,
                write: write.clone(),
            })
        }
        _ => return None,
    };
    body.is_empty().then_some(action)
}

/// An object's fields; nothing is as good as none.
fn fields(value: Option<Value>) -> Option<serde_json::Map<String, Value>> {
    match value {
        None | Some(Value::Null) => Some(serde_json::Map::new()),
        Some(Value::Object(fields)) => Some(fields),
        Some(_) => None,
    }
}

/// A text that may be absent; the outer `None` is something else.
#[expect(clippy::option_option, reason = "absent is not wrong")]
fn text(value: Option<Value>) -> Option<Option<String>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    }
}

/// In which form objects are asked for.
fn view(request: &Request, part: &Part, action: &Action) -> Or<View> {
    if *part == Part::Log {
        // Servers send text whatever they are asked for.
        return match request.header("accept").map(media_type) {
            None => Ok(View::Full),
            Some((media, parameters))
                if parameters.is_empty()
                    && ["*/*", "text/plain", "application/json"].contains(&&*media) =>
            {
                Ok(View::Full)
            }
            Some(_) => Err("an Accept that logs do not have".to_owned()),
        };
    }
    let answer = answer(request)?;
    match (answer, action) {
        (Answer::Json, _) => Ok(View::Full),
        (Answer::MetadataList, Action::List(_) | Action::DeleteCollection(..)) => {
            Ok(View::Metadata)
        }
        (
            Answer::Metadata,
            Action::Get { .. } | Action::Watch(_) | Action::Patch { .. } | Action::Delete(_),
        ) if *part == Part::Object => Ok(View::Metadata),
        (Answer::Table, Action::Get { .. } | Action::Watch(_) | Action::List(_))
            if *part == Part::Object =>
        {
            Ok(View::Table(None))
        }
        _ => Err(format!(
            "Accept: {} where the operation takes another form",
            request.header("accept").unwrap_or_default()
        )),
    }
}

fn logs(parameters: &mut Parameters) -> Or<LogAsk> {
    Ok(LogAsk {
        container: parameters.text("container")?,
        follow: parameters.flag("follow")?,
        previous: parameters.flag("previous")?,
        timestamps: parameters.flag("timestamps")?,
        since_seconds: parameters.number("sinceSeconds")?,
        since_time: parameters.text("sinceTime")?,
        tail: parameters.number("tailLines")?,
        limit: parameters.number("limitBytes")?,
        insecure: parameters.flag("insecureSkipTLSVerifyBackend")?,
        stream: match parameters.text("stream")?.as_deref() {
            None => None,
            Some("All") => Some(LogStream::All),
            Some("Stdout") => Some(LogStream::Stdout),
            Some("Stderr") => Some(LogStream::Stderr),
            Some(_) => return Err("a stream that there is not".to_owned()),
        },
    })
}

fn list(parameters: &mut Parameters) -> Or<ListAsk> {
    Ok(ListAsk {
        labels: parameters.text("labelSelector")?,
        fields: parameters.text("fieldSelector")?,
        shards: parameters.text("shardSelector")?,
        limit: parameters.number("limit")?,
        token: parameters.text("continue")?,
        version: parameters.text("resourceVersion")?,
        version_match: match parameters.text("resourceVersionMatch")?.as_deref() {
            None => None,
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            Some(_) => return Err("a resourceVersionMatch that there is not".to_owned()),
        },
        timeout: parameters.number("timeoutSeconds")?,
    })
}

fn watch(parameters: &mut Parameters) -> Or<WatchAsk> {
    let ask = WatchAsk {
        labels: parameters.text("labelSelector")?,
        fields: parameters.text("fieldSelector")?,
        shards: parameters.text("shardSelector")?,
        version: parameters.text("resourceVersion")?,
        bookmarks: parameters.flag("allowWatchBookmarks")?,
        initial: parameters.maybe_flag("sendInitialEvents")?,
        timeout: parameters.number("timeoutSeconds")?,
    };
    let how = parameters.text("resourceVersionMatch")?;
    match (ask.initial, how.as_deref()) {
        (Some(_), Some("NotOlderThan")) | (None, None) => Ok(ask),
        (Some(_), _) => Err("sendInitialEvents without NotOlderThan".to_owned()),
        (None, Some(_)) => Err("a watch with resourceVersionMatch alone".to_owned()),
    }
}

fn write(request: &Request, body: &Body, parameters: &mut Parameters) -> Or<Write> {
    match content_type(request).as_deref() {
        None | Some("application/json") => {}
        Some(other) => return Err(format!("a body of type {other}")),
    }
    let write = write_of(body, parameters, false)?;
    if write.body.is_some() && serde_json::from_slice::<Dynamic>(&write.bytes).is_err() {
        return Err("a body that is no object".to_owned());
    }
    Ok(write)
}

fn write_of(body: &Body, parameters: &mut Parameters, may_be_yaml: bool) -> Or<Write> {
    let (body, bytes) = match body {
        Body::Omitted => (None, Vec::new()),
        Body::Bytes(bytes) => {
            let no_json = |_| "a body that is not JSON".to_owned();
            match serde_json::from_slice::<Value>(bytes) {
                Err(_) if may_be_yaml => {
                    let Some(value) = yaml(bytes) else {
                        return Err("a body that is not one YAML document".to_owned());
                    };
                    let bytes = serde_json::to_vec(&value).map_err(no_json)?;
                    (Some(value), bytes)
                }
                value => (Some(value.map_err(no_json)?), bytes.clone()),
            }
        }
    };
    Ok(Write {
        body,
        bytes,
        dry_run: parameters.dry_run()?,
        manager: parameters.text("fieldManager")?,
        validation: match parameters.text("fieldValidation")?.as_deref() {
            None => None,
            Some("Ignore") => Some(FieldValidation::Ignore),
            Some("Warn") => Some(FieldValidation::Warn),
            Some("Strict") => Some(FieldValidation::Strict),
            Some(_) => return Err("a fieldValidation that there is not".to_owned()),
        },
    })
}

fn patch(request: &Request, body: &Body, parameters: &mut Parameters) -> Or<Action> {
    let form = match content_type(request).as_deref() {
        Some("application/json-patch+json") => Form::Json,
        Some("application/merge-patch+json") => Form::Merge,
        Some("application/strategic-merge-patch+json") => Form::Strategic,
        Some("application/apply-patch+yaml") => Form::Apply,
        Some(other) => return Err(format!("a patch of type {other}")),
        None => return Err("a patch without type".to_owned()),
    };
    Ok(Action::Patch {
        form,
        force: parameters.flag("force")?,
        write: write_of(body, parameters, form == Form::Apply)?,
    })
}

fn policy(text: &str) -> Or<Propagation> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        _ => Err("a propagationPolicy that there is not".to_owned()),
    }
}

/// Options in the body switch off those in the query.
fn delete(request: &Request, body: &Body, parameters: &mut Parameters) -> Or<DeleteAsk> {
    let version = parameters.text("resourceVersion")?;
    let mut ask = delete_with(request, body, parameters)?;
    if *body == Body::Bytes(Vec::new()) {
        ask.version = version;
    }
    Ok(ask)
}

/// The version in the query belongs to the list; without a body to every single object as well.
fn delete_collection(request: &Request, body: &Body, parameters: &mut Parameters) -> Or<Action> {
    let ask = list(parameters)?;
    if ask.version.is_some() && *body == Body::Bytes(Vec::new()) {
        return Err("a collection deleted with a version of every object".to_owned());
    }
    let delete = delete_with(request, body, parameters)?;
    if delete.uid.is_some() || delete.version.is_some() || delete.ignore_read_error {
        return Err("a collection deleted with preconditions".to_owned());
    }
    Ok(Action::DeleteCollection(ask, delete))
}

fn delete_with(request: &Request, body: &Body, parameters: &mut Parameters) -> Or<DeleteAsk> {
    let from_query = DeleteAsk {
        grace: parameters.number("gracePeriodSeconds")?,
        policy: parameters
            .text("propagationPolicy")?
            .as_deref()
            .map(policy)
            .transpose()?,
        orphan: parameters.maybe_flag("orphanDependents")?,
        ignore_read_error: parameters.flag("ignoreStoreReadErrorWithClusterBreakingPotential")?,
        uid: parameters.text("uid")?,
        version: None,
        dry_run: parameters.dry_run()?,
    };
    let bytes = match body {
        Body::Bytes(bytes) if bytes.is_empty() => return Ok(from_query),
        Body::Bytes(bytes) => bytes,
        Body::Omitted => return Err("delete options that were not recorded".to_owned()),
    };
    match content_type(request).as_deref() {
        None | Some("application/json") => {}
        Some(other) => return Err(format!("a body of type {other}")),
    }
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(bytes) else {
        return Err("a body that is not JSON".to_owned());
    };
    delete_options(body)
}

fn delete_options(mut body: serde_json::Map<String, Value>) -> Or<DeleteAsk> {
    let kind = body.remove("kind");
    let version = body.remove("apiVersion");
    if kind.is_some_and(|kind| kind != "DeleteOptions")
        || version.is_some_and(|version| version != "v1" && version != "meta.k8s.io/v1")
    {
        return Err("delete options of another kind".to_owned());
    }
    let odd = |what: &str| format!("delete option {what}");
    let mut ask = DeleteAsk::default();
    for (key, value) in body {
        match key.as_str() {
            _ if value.is_null() => {}
            "gracePeriodSeconds" => ask.grace = Some(value.as_i64().ok_or_else(|| odd(&key))?),
            "propagationPolicy" => {
                ask.policy = Some(policy(value.as_str().ok_or_else(|| odd(&key))?)?);
            }
            "orphanDependents" => ask.orphan = Some(value.as_bool().ok_or_else(|| odd(&key))?),
            "ignoreStoreReadErrorWithClusterBreakingPotential" => {
                ask.ignore_read_error = value.as_bool().ok_or_else(|| odd(&key))?;
            }
            "dryRun" if value == serde_json::json!(["All"]) => ask.dry_run = true,
            "dryRun" if value == serde_json::json!([]) => {}
            "preconditions" => {
                let Value::Object(preconditions) = value else {
                    return Err(odd(&key));
                };
                for (key, value) in preconditions {
                    let value = value.as_str().map(str::to_owned);
                    match key.as_str() {
                        "uid" => ask.uid = value,
                        "resourceVersion" => ask.version = value,
                        _ => return Err(odd(&key)),
                    }
                }
            }
            _ => return Err(odd(&key)),
        }
    }
    Ok(ask)
}
