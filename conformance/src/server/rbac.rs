//! Who may do what.
//!
//! Members of `system:masters` and service accounts may do everything, `viewer` what the role `view` allows; everybody
//! else what [`Server::grant`](super::Server::grant) says.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::Method;

use super::auth::User;
use super::call::Call;
use super::status::{Failure, Qualified, Result, quote};

/// Resources that the role `view` leaves out.
const HIDDEN: [&str; 2] = ["secrets", "nodes"];
/// Subresources that change something, or lead into a pod.
const INNER: [&str; 4] = ["exec", "attach", "portforward", "proxy"];
const READS: [&str; 3] = ["get", "list", "watch"];

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Attributes<'a> {
    /// Reads them off a path below `/api/VERSION` or `/apis/GROUP/VERSION`.
    pub(crate) fn of(call: &Call, group: &'a str, rest: &'a [&'a str]) -> Self {
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() => {
                if matches!(inner, ["status" | "finalize"]) {
                    ("", rest)
                } else {
                    (*namespace, inner)
                }
            }
            _ => ("", rest),
        };
        let part = |at: usize| rest.get(at).copied().unwrap_or_default();
        let name = part(1);
        let watch = call.query.flag("watch").unwrap_or(false);
        let verb = match call.method {
            Method::GET | Method::HEAD if !name.is_empty() => "get",
            Method::GET | Method::HEAD if watch => "watch",
            Method::GET | Method::HEAD => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        Self {
            verb,
            group,
            resource: part(0),
            subresource: part(2),
            namespace,
            name,
        }
    }

    fn qualified(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// 403, with the verb under which it was asked.
    pub(crate) fn forbidden(&self, user: &User, verb: &str) -> Failure {
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {}", quote(self.namespace))
        };
        let why = format!(
            "User {} cannot {verb} resource {} in API group {} {place}",
            quote(&user.name),
            quote(&self.qualified()),
            quote(self.group)
        );
        let resource = Qualified {
            group: self.group,
            name: self.resource,
        };
        Failure::forbidden(&resource, self.name, &why, &[]).nosniff()
    }

    /// 403 of a second check, which tells nothing.
    pub(crate) fn silently_forbidden(&self) -> Failure {
        let resource = Qualified {
            group: self.group,
            name: self.resource,
        };
        Failure::forbidden(&resource, self.name, "", &[])
    }
}

#[derive(Clone, Debug)]
struct Grant {
    verbs: Vec<String>,
    resource: String,
}

/// What users may do that no role tells.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<BTreeMap<String, Vec<Grant>>>);

impl Grants {
    pub(crate) fn add(&self, user: &str, verbs: &[&str], resource: &str) {
        let grant = Grant {
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            resource: resource.to_owned(),
        };
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        grants.entry(user.to_owned()).or_default().push(grant);
    }

    pub(crate) fn allow(&self, user: &User, asked: &Attributes<'_>) -> bool {
        let member = |name: &str| user.groups.iter().any(|group| group == name);
        if member("system:masters") || member("system:serviceaccounts") {
            return true;
        }
        let myself = matches!(
            asked.resource,
            "selfsubjectreviews" | "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
        );
        if myself && member("system:authenticated") {
            return true;
        }
        if user.is_viewer()
            && READS.contains(&asked.verb)
            && !HIDDEN.contains(&asked.resource)
            && !INNER.contains(&asked.subresource)
            && (!asked.namespace.is_empty()
                || asked.resource == "namespaces"
                || asked.group.is_empty())
        {
            return true;
        }
        let qualified = asked.qualified();
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        grants.get(&user.name).into_iter().flatten().any(|grant| {
            grant.resource == qualified && grant.verbs.iter().any(|verb| verb == asked.verb)
        })
    }
}

/// Lets a request about a resource pass, or refuses it.
pub(crate) fn authorize(call: &Call, asked: &Attributes<'_>) -> Result<()> {
    if let Some(real) = &call.impersonator
        && !call.app.grants.allow(
            real,
            &Attributes {
                verb: "impersonate",
                resource: "users",
                name: &call.user.name,
                ..Attributes::default()
            },
        )
    {
        let verb = format!("impersonate-on:user-info:{}", asked.verb);
        return Err(asked.forbidden(real, &verb));
    }
    if call.app.grants.allow(&call.user, asked) {
        Ok(())
    } else {
        Err(asked.forbidden(&call.user, asked.verb))
    }
}
