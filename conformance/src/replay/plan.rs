//! Which operation of the public API a recorded request is.

use std::collections::BTreeMap;
use std::str::FromStr;

use kubewire::{
    ApiResource, Dynamic, FieldValidation, Namespace, Propagation, Scope, VersionMatch,
};
use serde_json::Value;

use super::compare::{plain_json, yaml};
use super::kinds::Kinds;
use super::target::{Target, go_bool, media_type};
use super::transcript::{Body, Request, Transcript};

/// What is to be done with a request.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// It is an operation of the public API.
    Operation(Box<Intent>),
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
    /// Whether only metadata is asked for.
    pub(super) metadata: bool,
    /// What is to be done.
    pub(super) action: Action,
}

/// The object itself, or a subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The object or collection.
    Object,
    /// `status`.
    Status,
    /// `scale`.
    Scale,
    /// `log`.
    Log,
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
    /// Read a log.
    Logs(LogAsk),
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
}

/// What a path says.
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    namespace: Option<&'a str>,
    plural: &'a str,
    name: Option<&'a str>,
    sub: &'a [String],
}

impl<'a> Place<'a> {
    fn parse(segments: &'a [String]) -> Option<Self> {
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
struct Parameters(BTreeMap<String, Vec<String>>);

type Or<T> = Result<T, String>;

impl Parameters {
    fn new(target: &Target) -> Self {
        let mut map = BTreeMap::<String, Vec<String>>::new();
        for (key, value) in &target.query {
            map.entry(key.clone()).or_default().push(value.clone());
        }
        // Layout of the JSON only.
        map.remove("pretty");
        Self(map)
    }

    fn text(&mut self, key: &str) -> Or<Option<String>> {
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

    fn finish(self) -> Or<()> {
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
}

fn answer(request: &Request) -> Or<Answer> {
    let Some(accept) = request.header("accept") else {
        return Ok(Answer::Json);
    };
    let (media, mut parameters) = media_type(accept);
    plain_json(&media, &mut parameters);
    let view = |name: &str| {
        parameters.len() == 3
            && parameters.get("as").is_some_and(|view| view == name)
            && parameters.get("g").is_some_and(|g| g == "meta.k8s.io")
            && parameters.get("v").is_some_and(|v| v == "v1")
    };
    match media.as_str() {
        "*/*" | "application/json" if parameters.is_empty() => Ok(Answer::Json),
        "application/json" if !accept.contains(',') && view("PartialObjectMetadata") => {
            Ok(Answer::Metadata)
        }
        "application/json" if !accept.contains(',') && view("PartialObjectMetadataList") => {
            Ok(Answer::MetadataList)
        }
        _ => Err(format!("Accept: {accept}")),
    }
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
        Ok(match plan(transcript, request, &body, kinds) {
            Ok(intent) => Self::Operation(Box::new(intent)),
            Err(why) => Self::Raw(why),
        })
    }
}

fn plan(transcript: &Transcript, request: &Request, body: &Body, kinds: &Kinds) -> Or<Intent> {
    let target = Target::parse(&request.target);
    if !target.dropped.is_empty() {
        return Err("a query that servers read only in part".to_owned());
    }
    let Some(place) = Place::parse(&target.segments) else {
        return Err("a path outside the resources (discovery, version, health …)".to_owned());
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
        [sub, ..] => return Err(format!("subresource {sub}")),
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
    let action = match (request.method.as_str(), part, has_name) {
        ("GET", Part::Log, true) => Action::Logs(logs(&mut parameters)?),
        ("GET", Part::Object | Part::Status | Part::Scale, true) => Action::Get {
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
        ("PUT", Part::Object | Part::Status | Part::Scale, true) => {
            Action::Replace(write(request, body, &mut parameters)?)
        }
        ("PATCH", Part::Object | Part::Status | Part::Scale, true) => {
            patch(request, body, &mut parameters)?
        }
        ("DELETE", Part::Object, true) => Action::Delete(delete(request, body, &mut parameters)?),
        ("DELETE", Part::Object, false) => return Err("deletecollection".to_owned()),
        (method, _, _) => return Err(format!("{method} where no operation has it")),
    };
    parameters.finish()?;
    let takes_body = !matches!(
        action,
        Action::Get { .. } | Action::List(_) | Action::Watch(_) | Action::Logs(_)
    );
    if !takes_body && !matches!(body, Body::Bytes(bytes) if bytes.is_empty()) {
        return Err("a body where there should be none".to_owned());
    }
    let metadata = view(request, part, &action)?;
    Ok(Intent {
        resource,
        namespace,
        name: place.name.map(str::to_owned),
        part,
        metadata,
        action,
    })
}

/// Whether only metadata is asked for.
fn view(request: &Request, part: Part, action: &Action) -> Or<bool> {
    if part == Part::Log {
        // Servers send text whatever they are asked for.
        return match request.header("accept").map(media_type) {
            None => Ok(false),
            Some((media, parameters))
                if parameters.is_empty()
                    && ["*/*", "text/plain", "application/json"].contains(&&*media) =>
            {
                Ok(false)
            }
            Some(_) => Err("an Accept that logs do not have".to_owned()),
        };
    }
    let answer = answer(request)?;
    let wrong = || {
        Err(format!(
            "Accept: {} where the operation takes another form",
            request.header("accept").unwrap_or_default()
        ))
    };
    match (answer, action) {
        (Answer::Json, _) => Ok(false),
        (Answer::MetadataList, Action::List(_)) => Ok(true),
        (
            Answer::Metadata,
            Action::Get { .. } | Action::Watch(_) | Action::Patch { .. } | Action::Delete(_),
        ) if part == Part::Object => Ok(true),
        _ => wrong(),
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
    })
}

fn list(parameters: &mut Parameters) -> Or<ListAsk> {
    Ok(ListAsk {
        labels: parameters.text("labelSelector")?,
        fields: parameters.text("fieldSelector")?,
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
    let from_query = DeleteAsk {
        grace: parameters.number("gracePeriodSeconds")?,
        policy: parameters
            .text("propagationPolicy")?
            .as_deref()
            .map(policy)
            .transpose()?,
        uid: parameters.text("uid")?,
        version: parameters.text("resourceVersion")?,
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
    let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(bytes) else {
        return Err("a body that is not JSON".to_owned());
    };
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

fn token(text: &str) -> bool {
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
        match &self.action {
            Action::List(ask) => ask.must_refuse(),
            Action::Create(write) | Action::Replace(write) => write.must_refuse(),
            Action::Patch { form, force, write } => match form {
                Form::Apply if write.manager.is_none() => Some("an apply without field manager"),
                Form::Json | Form::Merge | Form::Strategic if *force => {
                    Some("force for a patch that is no apply")
                }
                Form::Json | Form::Merge | Form::Strategic | Form::Apply => write.must_refuse(),
            },
            Action::Delete(ask) => ask
                .grace
                .is_some_and(|seconds| seconds < 0)
                .then_some("a negative grace period"),
            Action::Logs(ask) => ask.must_refuse(),
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
            Action::Logs(ask) if ask.follow => "logs, followed",
            Action::Logs(_) => "logs",
        };
        let part = match self.part {
            Part::Object | Part::Log => "",
            Part::Status => "status: ",
            Part::Scale => "scale: ",
        };
        let view = if self.metadata { "metadata: " } else { "" };
        format!("{part}{view}{action}")
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
        } else {
            None
        }
    }
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
        } else if below(self.tail, 0) {
            Some("negative tailLines")
        } else if below(self.limit, 1) {
            Some("limitBytes below 1")
        } else {
            None
        }
    }
}
