//! Which operation of the public API a recorded request is.

use std::collections::BTreeMap;
use std::str::FromStr;

use std::time::Duration;

use kubewire::{
    ApiResource, Dynamic, FieldValidation, IncludeObject, LogStream, Namespace, Propagation, Scope,
    VersionMatch,
};
use serde_json::Value;

use super::compare::{go_true, gzip, plain_json, yaml};
use super::kinds::Kinds;
use super::target::{Target, go_bool, media_type};
use super::transcript::{Body, Request, Transcript};
use crate::server::parse_go_duration;

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

/// A recorded request in the words of the public API.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    /// The kind.
    pub(super) resource: ApiResource,
    /// Where.
    pub(super) namespace: Namespace,
    /// The object; none for a collection.
    pub(super) name: Option<String>,
    /// The object itself, or a subresource.
    pub(super) part: Part,
    /// In which form objects are asked for.
    pub(super) view: View,
    /// What every operation can be told.
    pub(super) common: Common,
    /// What is to be done.
    pub(super) action: Action,
}

/// In which form objects are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As they are.
    Full,
    /// Only their metadata.
    Metadata,
    /// As rows of a table, with `includeObject`.
    Table(Option<IncludeObject>),
}

/// What every operation can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    /// `timeout`.
    pub(super) timeout: Option<Duration>,
    /// `pretty`.
    pub(super) pretty: bool,
    /// `Accept-Encoding: gzip`.
    pub(super) gzip: bool,
}

/// The object itself, or a subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The object or collection.
    Object,
    /// `status`.
    Status,
    /// `scale`.
    Scale,
    /// `log`.
    Log,
    /// `ephemeralcontainers`.
    Ephemeral,
    /// `resize`.
    Resize,
    /// `approval`.
    Approval,
    /// `finalize`.
    Finalize,
    /// Another one, or one of the above as any.
    Any(String),
}

/// What is to be done, with its options.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Read an object.
    Get {
        /// `resourceVersion`.
        version: Option<String>,
    },
    /// Read a collection.
    List(ListAsk),
    /// Follow a collection.
    Watch(WatchAsk),
    /// Make an object.
    Create(Write),
    /// Replace an object.
    Replace(Write),
    /// Change an object.
    Patch {
        /// The form of the patch.
        form: Form,
        /// `force`.
        force: bool,
        /// Body and options.
        write: Write,
    },
    /// Delete an object.
    Delete(DeleteAsk),
    /// Delete a collection.
    DeleteCollection(ListAsk, DeleteAsk),
    /// Evict a pod.
    Evict(Write, DeleteAsk),
    /// Put a pod on a node.
    Bind {
        /// The node.
        node: String,
        /// The pod's uid.
        uid: Option<String>,
        /// The options.
        write: Write,
    },
    /// Ask for a token.
    Token(TokenAsk),
    /// Read a log.
    Logs(LogAsk),
}

/// A request for a token.
#[derive(Clone, Debug)]
pub(super) struct TokenAsk {
    /// `spec.audiences`.
    pub(super) audiences: Vec<String>,
    /// `spec.expirationSeconds`.
    pub(super) expiration: Option<i64>,
    /// `spec.boundObjectRef`: kind, name and uid.
    pub(super) bound: Option<(String, String, Option<String>)>,
    /// The options.
    pub(super) write: Write,
}

/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The options of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct ListAsk {
    /// `labelSelector`.
    pub(super) labels: Option<String>,
    /// `fieldSelector`.
    pub(super) fields: Option<String>,
    /// `shardSelector`.
    pub(super) shards: Option<String>,
    /// `limit`.
    pub(super) limit: Option<u32>,
    /// `continue`.
    pub(super) token: Option<String>,
    /// `resourceVersion`.
    pub(super) version: Option<String>,
    /// `resourceVersionMatch`.
    pub(super) version_match: Option<VersionMatch>,
    /// `timeoutSeconds`.
    pub(super) timeout: Option<u32>,
}

/// The options of a watch.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchAsk {
    /// `labelSelector`.
    pub(super) labels: Option<String>,
    /// `fieldSelector`.
    pub(super) fields: Option<String>,
    /// `shardSelector`.
    pub(super) shards: Option<String>,
    /// `resourceVersion`.
    pub(super) version: Option<String>,
    /// `allowWatchBookmarks`.
    pub(super) bookmarks: bool,
    /// `sendInitialEvents`.
    pub(super) initial: Option<bool>,
    /// `timeoutSeconds`.
    pub(super) timeout: Option<u32>,
}

/// The body and options of a write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// The body as JSON; none if it was too large to be recorded.
    pub(super) body: Option<Value>,
    /// The body's bytes.
    pub(super) bytes: Vec<u8>,
    /// `dryRun`.
    pub(super) dry_run: bool,
    /// `fieldManager`.
    pub(super) manager: Option<String>,
    /// `fieldValidation`.
    pub(super) validation: Option<FieldValidation>,
}

/// The options of a deletion.
#[derive(Clone, Debug, Default)]
pub(super) struct DeleteAsk {
    /// `gracePeriodSeconds`.
    pub(super) grace: Option<i64>,
    /// `propagationPolicy`.
    pub(super) policy: Option<Propagation>,
    /// `orphanDependents`.
    pub(super) orphan: Option<bool>,
    /// `ignoreStoreReadErrorWithClusterBreakingPotential`.
    pub(super) ignore_read_error: bool,
    /// `preconditions.uid`.
    pub(super) uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub(super) version: Option<String>,
    /// `dryRun`.
    pub(super) dry_run: bool,
}

/// The options of a log.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "PodLogOptions has them")]
pub(super) struct LogAsk {
    /// `container`.
    pub(super) container: Option<String>,
    /// `follow`.
    pub(super) follow: bool,
    /// `previous`.
    pub(super) previous: bool,
    /// `timestamps`.
    pub(super) timestamps: bool,
    /// `sinceSeconds`.
    pub(super) since_seconds: Option<i64>,
    /// `sinceTime`.
    pub(super) since_time: Option<String>,
    /// `tailLines`.
    pub(super) tail: Option<i64>,
    /// `limitBytes`.
    pub(super) limit: Option<i64>,
    /// `insecureSkipTLSVerifyBackend`.
    pub(super) insecure: bool,
    /// `stream`.
    pub(super) stream: Option<LogStream>,
}

/// What a path says.
pub(super) struct Place<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) plural: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) sub: &'a [String],
}

impl<'a> Place<'a> {
    pub(super) fn parse(segments: &'a [String]) -> Option<Self> {
        let (group, version, rest) = match segments {
            [api, version, rest @ ..] if api == "api" => ("", version, rest),
            [apis, group, version, rest @ ..] if apis == "apis" && !group.is_empty() => {
                (group.as_str(), version, rest)
            }
            _ => return None,
        };
        let own = |sub: &String| sub == "status" || sub == "finalize";
        let place = |namespace, plural: &'a String, rest: &'a [String]| Self {
            group,
            version,
            namespace,
            plural,
            name: rest.first().map(String::as_str),
            sub: rest.get(1..).unwrap_or_default(),
        };
        match rest {
            [] => None,
            // `namespaces/{name}` and its own subresources are the namespace; longer is in it.
            [first, namespace, plural, tail @ ..]
                if first == "namespaces" && !(tail.is_empty() && own(plural)) =>
            {
                Some(place(Some(namespace), plural, tail))
            }
            [plural, rest @ ..] => Some(place(None, plural, rest)),
        }
    }
}

/// Takes parameters out, one by one, so that what is left is known.
pub(super) struct Parameters(BTreeMap<String, Vec<String>>);

pub(super) type Or<T> = Result<T, String>;

impl Parameters {
    pub(super) fn new(target: &Target) -> Self {
        let mut map = BTreeMap::<String, Vec<String>>::new();
        for (key, value) in &target.query {
            map.entry(key.clone()).or_default().push(value.clone());
        }
        Self(map)
    }

    /// `timeout` and `pretty`, for an operation that has them.
    pub(super) fn common(&mut self, request: &Request) -> Or<Common> {
        let timeout = self.text("timeout")?;
        let timeout = timeout.filter(|text| !text.is_empty());
        let timeout =
            timeout.map(|text| parse_go_duration(&text).ok_or("a timeout that is no duration"));
        let pretty = self.text("pretty")?;
        Ok(Common {
            timeout: timeout.transpose()?,
            pretty: pretty.as_deref().is_some_and(go_true),
            gzip: request.header("accept-encoding").is_some_and(gzip),
        })
    }

    /// All values of a parameter.
    pub(super) fn all(&mut self, key: &str) -> Vec<String> {
        self.0.remove(key).unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &str) -> Or<Option<String>> {
        let Some(mut values) = self.0.remove(key) else {
            return Ok(None);
        };
        match (values.pop(), values.is_empty()) {
            (Some(value), true) => Ok(Some(value)),
            _ => Err(format!("parameter {key} more than once")),
        }
    }

    fn flag(&mut self, key: &str) -> Or<bool> {
        Ok(self.maybe_flag(key)?.unwrap_or(false))
    }

    fn maybe_flag(&mut self, key: &str) -> Or<Option<bool>> {
        Ok(self.text(key)?.as_deref().map(go_bool))
    }

    fn number<T: FromStr>(&mut self, key: &str) -> Or<Option<T>> {
        self.text(key)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| format!("a value of {key} that the option's type has not"))
    }

    /// `dryRun=All`.
    fn dry_run(&mut self) -> Or<bool> {
        match self.text("dryRun")?.as_deref() {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(_) => Err("a dryRun other than All".to_owned()),
        }
    }

    pub(super) fn finish(self) -> Or<()> {
        let left: Vec<_> = self.0.into_keys().collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("parameter {}", left.join(", ")))
        }
    }
}

/// What an Accept header asks for.
enum Answer {
    Json,
    Metadata,
    MetadataList,
    Table,
}

fn answer(request: &Request) -> Or<Answer> {
    let Some(accept) = request.header("accept") else {
        return Ok(Answer::Json);
    };
    let wrong = || Err(format!("Accept: {accept}"));
    let Some((media, parameters)) = accept_of(accept) else {
        return wrong();
    };
    let view = |name: &str| {
        parameters.len() == 3
            && parameters.get("as").is_some_and(|view| view == name)
            && parameters.get("g").is_some_and(|g| g == "meta.k8s.io")
            && parameters.get("v").is_some_and(|v| v == "v1")
    };
    match media.as_str() {
        "*/*" | "application/json" if parameters.is_empty() => Ok(Answer::Json),
        "application/json" if view("PartialObjectMetadata") => Ok(Answer::Metadata),
        "application/json" if view("PartialObjectMetadataList") => Ok(Answer::MetadataList),
        "application/json" if view("Table") => Ok(Answer::Table),
        _ => wrong(),
    }
}

/// The first form that an Accept names, if the others are forms of JSON for servers without it.
pub(super) fn accept_of(accept: &str) -> Option<(String, BTreeMap<String, String>)> {
    let mut forms = accept.split(',').map(|form| {
        let (media, mut parameters) = media_type(form);
        plain_json(&media, &mut parameters);
        (media, parameters)
    });
    let first = forms.next()?;
    let others: Vec<_> = forms.collect();
    let fallback = first.1.contains_key("as") && first.0 == "application/json";
    let json = |(media, parameters): &(String, BTreeMap<String, String>)| {
        media == "application/json" && !parameters.contains_key("q")
    };
    (others.is_empty() || (fallback && others.iter().all(json))).then_some(first)
}

fn content_type(request: &Request) -> Option<String> {
    let (media, mut parameters) = media_type(request.header("content-type")?);
    if parameters
        .get("charset")
        .is_some_and(|set| set.eq_ignore_ascii_case("utf-8"))
    {
        parameters.remove("charset");
    }
    if parameters.is_empty() {
        Some(media)
    } else {
        Some(format!("{media} with parameters"))
    }
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
    let common = if watches {
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

pub(super) fn bad_segment(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("an empty name"),
        "." | ".." => Some("a name that is . or .."),
        _ if text.contains('/') => Some("a name with a slash"),
        _ if text.contains('%') => Some("a name with a percent sign"),
        _ => None,
    }
}

pub(super) fn token(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text
            .chars()
            .all(|char| matches!(char, 'a'..='z' | '0'..='9' | '-' | '.'))
}

impl Intent {
    /// Why the public API is to refuse this before it is sent, if it is: rules of the wire
    /// protocol, written down here a second time.
    #[must_use]
    pub(super) fn must_refuse(&self) -> Option<&'static str> {
        let resource = &self.resource;
        if !(resource.group().is_empty() || token(resource.group()))
            || !token(resource.version())
            || !token(resource.plural())
        {
            return Some("a resource that is no lower-case name");
        }
        if let Namespace::Named(namespace) = &self.namespace {
            if resource.scope() == Scope::Cluster {
                return Some("a namespace for a cluster-scoped kind");
            }
            if let Some(why) = bad_segment(namespace) {
                return Some(why);
            }
        }
        if let Some(why) = self.name.as_deref().and_then(bad_segment) {
            return Some(why);
        }
        let collection = matches!(self.action, Action::List(_) | Action::Watch(_));
        if !collection
            && resource.scope() == Scope::Namespaced
            && !matches!(self.namespace, Namespace::Named(_))
        {
            return Some("no namespace where one is needed");
        }
        if self.common.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Some("timeout 0");
        }
        if let Part::Any(sub) = &self.part
            && !token(sub)
        {
            return Some("a subresource that is no lower-case name");
        }
        match &self.action {
            Action::List(ask) => ask.must_refuse(),
            Action::DeleteCollection(..)
                if resource.group().is_empty() && resource.plural() == "namespaces" =>
            {
                Some("namespaces as a collection")
            }
            Action::DeleteCollection(ask, delete) => {
                ask.must_refuse().or_else(|| delete.must_refuse())
            }
            Action::Evict(write, delete) => write.must_refuse().or_else(|| delete.must_refuse()),
            Action::Bind { node, write, .. } => {
                let empty = node.is_empty().then_some("no node to put a pod on");
                empty.or_else(|| write.must_refuse())
            }
            Action::Token(ask) => {
                let short = ask.expiration.is_some_and(|seconds| seconds < 600);
                let short = short.then_some("a token for less than 10 minutes");
                short.or_else(|| ask.write.must_refuse())
            }
            Action::Create(write) | Action::Replace(write) => write.must_refuse(),
            Action::Patch { form, force, write } => match form {
                Form::Apply if write.manager.is_none() => Some("an apply without field manager"),
                Form::Json | Form::Merge | Form::Strategic if *force => {
                    Some("force for a patch that is no apply")
                }
                Form::Json | Form::Merge | Form::Strategic | Form::Apply => write.must_refuse(),
            },
            Action::Delete(ask) => ask.must_refuse(),
            Action::Logs(ask) if ask.follow && self.common.timeout.is_some() => {
                Some("a followed log with timeout")
            }
            Action::Logs(ask) => ask.must_refuse(),
            Action::Watch(ask)
                if ask.bookmarks && self.view == View::Table(Some(IncludeObject::None)) =>
            {
                Some("bookmarks of tables without objects")
            }
            Action::Get { .. } | Action::Watch(_) => None,
        }
    }

    /// The operation's name in the summary.
    #[must_use]
    pub(super) fn label(&self) -> String {
        let action = match &self.action {
            Action::Get { .. } => "get",
            Action::List(_) => "list",
            Action::Watch(_) => "watch",
            Action::Create(_) => "create",
            Action::Replace(_) => "replace",
            Action::Patch { form, .. } => match form {
                Form::Json => "patch (JSON)",
                Form::Merge => "patch (merge)",
                Form::Strategic => "patch (strategic)",
                Form::Apply => "patch (apply)",
            },
            Action::Delete(_) => "delete",
            Action::DeleteCollection(..) => "delete collection",
            Action::Evict(..) => "evict",
            Action::Bind { .. } => "bind",
            Action::Token(_) => "create token",
            Action::Logs(ask) if ask.follow => "logs, followed",
            Action::Logs(_) => "logs",
        };
        let special = matches!(
            self.action,
            Action::Evict(..) | Action::Bind { .. } | Action::Token(_)
        );
        let part = match &self.part {
            Part::Object | Part::Log => "",
            Part::Status => "status: ",
            Part::Scale => "scale: ",
            Part::Ephemeral => "ephemeral containers: ",
            Part::Resize => "resize: ",
            Part::Approval => "approval: ",
            Part::Finalize => "finalize: ",
            Part::Any(_) if special => "",
            Part::Any(_) => "any subresource: ",
        };
        let view = match self.view {
            View::Full => "",
            View::Metadata => "metadata: ",
            View::Table(_) => "table: ",
        };
        format!("{part}{view}{action}")
    }
}

impl Part {
    /// The name of the subresource.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Object => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Log => "log",
            Self::Ephemeral => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Approval => "approval",
            Self::Finalize => "finalize",
            Self::Any(name) => name,
        }
    }
}

impl ListAsk {
    fn must_refuse(&self) -> Option<&'static str> {
        let version = self.version.as_deref().unwrap_or_default();
        if self.version_match.is_some() && version.is_empty() {
            Some("resourceVersionMatch without resourceVersion")
        } else if self.version_match == Some(VersionMatch::Exact) && version == "0" {
            Some("exactly resourceVersion 0")
        } else if self.token.is_some() && !matches!(version, "" | "0") {
            Some("continue with resourceVersion")
        } else if self.token.is_some() && self.version_match.is_some() {
            Some("continue with resourceVersionMatch")
        } else if self.limit.unwrap_or(0) > 0 && version == "0" {
            Some("limit with resourceVersion 0")
        } else if self.limit.unwrap_or(0) > 0 && !version.is_empty() && self.version_match.is_none()
        {
            Some("limit with resourceVersion, but no resourceVersionMatch")
        } else {
            None
        }
    }
}

impl DeleteAsk {
    /// Whether any option is not the default.
    fn says_something(&self) -> bool {
        self.grace.is_some()
            || self.policy.is_some()
            || self.orphan.is_some()
            || self.uid.is_some()
            || self.version.is_some()
            || self.dry_run
    }

    fn must_refuse(&self) -> Option<&'static str> {
        if self.grace.is_some_and(|seconds| seconds < 0) {
            Some("a negative grace period")
        } else if self.policy.is_some() && self.orphan.is_some() {
            Some("propagationPolicy with orphanDependents")
        } else if self.ignore_read_error && self.says_something() {
            Some("ignoreStoreReadError with other options")
        } else {
            None
        }
    }
}

/// RFC 3339, as far as one can tell without a calendar.
fn is_time(text: &str) -> bool {
    let digits: String = text
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    let Some(rest) = digits.strip_prefix("0000-00-00T00:00:00") else {
        return false;
    };
    let zone = match rest.strip_prefix(".0") {
        Some(fraction) => fraction.trim_start_matches('0'),
        None => rest,
    };
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

impl Write {
    fn must_refuse(&self) -> Option<&'static str> {
        let manager = self.manager.as_deref()?;
        (manager.is_empty() || manager.len() > 128 || manager.chars().any(char::is_control))
            .then_some("a field manager that is empty, too long or not printable")
    }
}

impl LogAsk {
    fn must_refuse(&self) -> Option<&'static str> {
        let below = |number: Option<i64>, least| number.is_some_and(|number| number < least);
        if self.since_seconds.is_some() && self.since_time.is_some() {
            Some("sinceSeconds with sinceTime")
        } else if below(self.since_seconds, 1) {
            Some("sinceSeconds below 1")
        } else if self
            .since_time
            .as_deref()
            .is_some_and(|time| !is_time(time))
        {
            Some("a sinceTime that is no time")
        } else if self.tail.is_some()
            && matches!(self.stream, Some(LogStream::Stdout | LogStream::Stderr))
        {
            Some("tailLines of one stream")
        } else if below(self.tail, 0) {
            Some("negative tailLines")
        } else if below(self.limit, 1) {
            Some("limitBytes below 1")
        } else {
            None
        }
    }
}
