//! A recorded request in the words of the public API, and which of them are to be refused.

use std::time::Duration;

use kubewire::{
    ApiResource, FieldValidation, IncludeObject, LogStream, Namespace, Propagation, Scope,
    VersionMatch,
};
use serde_json::Value;

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
