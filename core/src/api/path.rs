//! URL paths: every segment validated or encoded.

use super::common::Common;
use crate::resource::{ApiResource, Scope};
use crate::{Error, ErrorKind};

/// Where an [`Api`](crate::Api) looks for objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// The namespace that the client is configured with; none for cluster-scoped kinds.
    #[default]
    Inherit,
    /// All namespaces; lists and watches only.
    All,
    /// This one.
    Named(String),
}

/// The path of an operation, complete but for a namespace that is inherited.
///
/// Built in one allocation that has room for a usual query.
#[derive(Clone)]
pub(crate) struct Target {
    path: String,
    /// Where `namespaces/{ns}/` goes, if it is inherited.
    inherit_at: Option<usize>,
    fault: Option<Error>,
    pub(super) common: Common,
}

/// For an inherited namespace, a subresource and a usual query.
const ROOM: usize = 128;

impl Target {
    /// The collection, for get-type verbs: all namespaces are allowed.
    pub(crate) fn collection(resource: &ApiResource, namespace: &Namespace) -> Self {
        Self::new(resource, namespace, true, ROOM)
    }

    /// The collection, for verbs that need one namespace.
    pub(crate) fn one_collection(resource: &ApiResource, namespace: &Namespace) -> Self {
        Self::new(resource, namespace, false, ROOM)
    }

    /// One object, and room for what may follow.
    pub(crate) fn object(resource: &ApiResource, namespace: &Namespace, name: &str) -> Self {
        Self::sized_object(resource, namespace, name, ROOM)
    }

    /// One object, usually without anything that follows: a URI of exactly its length is not moved again.
    pub(crate) fn bare_object(resource: &ApiResource, namespace: &Namespace, name: &str) -> Self {
        let room = if *namespace == Namespace::Inherit {
            ROOM
        } else {
            0
        };
        Self::sized_object(resource, namespace, name, room)
    }

    fn sized_object(
        resource: &ApiResource,
        namespace: &Namespace,
        name: &str,
        room: usize,
    ) -> Self {
        let mut target = Self::new(resource, namespace, false, 1 + name.len() + room);
        target.path.push('/');
        target.segment("name", name);
        target
    }

    /// A subresource of the object.
    pub(crate) fn sub(mut self, subresource: &str) -> Self {
        self.path.push('/');
        self.token("subresource", subresource);
        self
    }

    /// A path of the caller's own, perhaps with a query.
    pub(crate) fn raw(path: &str) -> Self {
        let mut target = Self {
            path: path.to_owned(),
            inherit_at: None,
            fault: None,
            common: Common::default(),
        };
        let parsed = path.parse::<http::uri::PathAndQuery>();
        // What the parser changes (a fragment, which it drops) is not what was meant.
        let faithful = parsed.is_ok_and(|parsed| parsed.as_str() == path);
        if !path.starts_with('/') || path.starts_with("//") || !faithful {
            target.refuse("the path must be in origin form: /path?query, percent-encoded");
        }
        target
    }

    /// What follows a proxied object: slashes stay, everything else is encoded. The tail is never empty, for which the
    /// server would send a redirect.
    pub(crate) fn tail(&mut self, tail: &str) {
        for segment in tail.strip_prefix('/').unwrap_or(tail).split('/') {
            if matches!(segment, "." | "..") {
                self.refuse(format!(
                    "the proxied path may not contain the segment {segment:?}"
                ));
            }
            self.path.push('/');
            encode(&mut self.path, segment.as_bytes(), |byte| {
                matches!(byte, b':' | b'@' | b',' | b'=' | b'+' | b'$' | b'!' | b'*')
            });
        }
    }

    fn new(resource: &ApiResource, namespace: &Namespace, all: bool, extra: usize) -> Self {
        let prefix = match resource.group() {
            "" => "/api//".len(),
            group => "/apis///".len() + group.len(),
        };
        let scope = match namespace {
            Namespace::Named(name) => "namespaces//".len() + name.len(),
            Namespace::Inherit | Namespace::All => 0,
        };
        let len = prefix + scope + resource.version().len() + resource.plural().len();
        let mut target = Self {
            path: String::with_capacity(len + extra),
            inherit_at: None,
            fault: None,
            common: Common::default(),
        };
        if resource.group().is_empty() {
            target.path.push_str("/api/");
        } else {
            target.path.push_str("/apis/");
            target.token("group", resource.group());
            target.path.push('/');
        }
        target.token("version", resource.version());
        target.path.push('/');
        match (resource.scope(), namespace) {
            (Scope::Cluster, Namespace::Named(_)) => {
                target.refuse(format!(
                    "{} are cluster-scoped: there is no namespace to name",
                    resource.plural()
                ));
            }
            (Scope::Namespaced, Namespace::Named(name)) => {
                target.path.push_str("namespaces/");
                target.segment("namespace", name);
                target.path.push('/');
            }
            (Scope::Namespaced, Namespace::Inherit) => target.inherit_at = Some(target.path.len()),
            (Scope::Namespaced, Namespace::All) if !all => target.refuse(
                "all namespaces can only be listed and watched: this operation needs one namespace",
            ),
            (Scope::Namespaced, Namespace::All)
            | (Scope::Cluster, Namespace::All | Namespace::Inherit) => {}
        }
        target.token("plural", resource.plural());
        target
    }

    /// A segment from a user: refused where the server would take it for something else, encoded otherwise.
    fn segment(&mut self, what: &str, text: &str) {
        if let Err(error) = check_segment(what, text) {
            self.fault.get_or_insert(error);
            return;
        }
        encode(&mut self.path, text.as_bytes(), |byte| byte == b':');
    }

    /// A segment from code or discovery.
    fn token(&mut self, what: &str, text: &str) {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        if text.is_empty() || text.starts_with('.') || !text.bytes().all(fits) {
            self.refuse(format!("the {what} is not a lower-case name of the API"));
            return;
        }
        self.path.push_str(text);
    }

    pub(crate) fn refuse(&mut self, why: impl Into<std::borrow::Cow<'static, str>>) {
        if self.fault.is_none() {
            self.fault = Some(Error::new(ErrorKind::Usage, why));
        }
    }

    /// An option that is wrong by itself.
    pub(crate) fn fail(&mut self, error: Error) {
        self.fault.get_or_insert(error);
    }

    /// The path, to which a query may be appended.
    pub(crate) fn resolve(mut self, inherited: Option<&str>) -> Result<(String, Common), Error> {
        if let Some(at) = self.inherit_at {
            let Some(namespace) = inherited else {
                self.refuse("this Api inherits its namespace: carry it with a client, or name the namespace");
                return Err(self.fault.unwrap_or_else(|| Error::usage("no namespace")));
            };
            let end = self.path.len();
            self.path.push_str("namespaces/");
            self.segment("namespace", namespace);
            self.path.push('/');
            // Moved into place without another buffer; what is rotated is whole characters.
            let added = self.path.len() - end;
            let mut bytes = std::mem::take(&mut self.path).into_bytes();
            bytes[at..].rotate_right(added);
            self.path = String::from_utf8(bytes).unwrap_or_default();
        }
        match self.fault {
            None => Ok((self.path, self.common)),
            Some(fault) => Err(fault),
        }
    }
}

/// The path without a query, which may hold anything.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path.split('?').next().unwrap_or_default())
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The path of what describes one version of a group.
pub(crate) fn group_version_path(group: &str, version: &str) -> Result<http::Uri, Error> {
    let mut target = Target::raw(if group.is_empty() { "/api/" } else { "/apis/" });
    if !group.is_empty() {
        target.token("group", group);
        target.path.push('/');
    }
    target.token("version", version);
    let (path, _) = target.resolve(None)?;
    http::Uri::try_from(path)
        .map_err(|error| Error::usage("the path is too long").with_source(error))
}

/// What a server accepts as a name in a path: not empty, not `.` or `..`, no `/`, no `%`. An empty
/// name would turn an object into its collection; `%2F` is decoded before the path is split.
fn check_segment(what: &str, text: &str) -> Result<(), Error> {
    let fault = match text {
        "" => "is empty".to_owned(),
        "." | ".." => format!("may not be {text:?}"),
        _ => match text.chars().find(|char| matches!(char, '/' | '%')) {
            Some(char) => format!("may not contain {char:?}"),
            None => return Ok(()),
        },
    };
    Err(Error::usage(format!("the {what} {fault}")))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn encode(out: &mut String, text: &[u8], also: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || also(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: ApiResource = ApiResource::core("Pod", "pods");
    const ROLES: ApiResource = ApiResource::new(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        Scope::Cluster,
    );

    fn named(name: &str) -> Namespace {
        Namespace::Named(name.to_owned())
    }

    #[test]
    fn paths_have_the_shape_of_the_scope() {
        let path = |target: Target, ns| target.resolve(ns).map(|(path, _)| path).unwrap();
        assert_eq!(
            path(Target::collection(&PODS, &Namespace::All), None),
            "/api/v1/pods"
        );
        assert_eq!(
            path(Target::collection(&PODS, &named("a")), None),
            "/api/v1/namespaces/a/pods"
        );
        assert_eq!(
            path(
                Target::object(&PODS, &Namespace::Inherit, "p").sub("log"),
                Some("b")
            ),
            "/api/v1/namespaces/b/pods/p/log"
        );
        assert_eq!(
            path(
                Target::object(&ROLES, &Namespace::Inherit, "system:node"),
                Some("b")
            ),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"
        );
        assert_eq!(
            path(Target::object(&PODS, &named("a"), "a b?c#d\u{e9}"), None),
            "/api/v1/namespaces/a/pods/a%20b%3Fc%23d%C3%A9"
        );
    }

    #[test]
    fn what_would_reach_something_else_is_refused() {
        for name in ["", ".", "..", "a/b", "/", "a%2fb", "%"] {
            for target in [
                Target::object(&PODS, &named("a"), name),
                Target::object(&PODS, &named(name), "a"),
            ] {
                assert_eq!(
                    target.resolve(None).err().unwrap().kind(),
                    ErrorKind::Usage,
                    "{name:?}"
                );
            }
            let inherited = Target::object(&PODS, &Namespace::Inherit, "a").resolve(Some(name));
            assert!(inherited.is_err(), "{name:?}");
        }
        assert!(
            Target::object(&PODS, &Namespace::All, "a")
                .resolve(None)
                .is_err()
        );
        assert!(
            Target::one_collection(&PODS, &Namespace::All)
                .resolve(None)
                .is_err()
        );
        assert!(
            Target::object(&ROLES, &named("a"), "a")
                .resolve(None)
                .is_err()
        );
        assert!(
            Target::collection(&PODS, &Namespace::Inherit)
                .resolve(None)
                .is_err()
        );
        let odd = ApiResource::discovered(
            "a/b".into(),
            "v1".into(),
            "K".into(),
            "ks".into(),
            Scope::Cluster,
        );
        assert!(
            Target::collection(&odd, &Namespace::All)
                .resolve(None)
                .is_err()
        );
    }
}
