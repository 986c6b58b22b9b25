//! One request, as the handlers see it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::App;
use super::auth::User;
use super::kinds::Kind;
use super::query::Query;
use super::status::{Cause, Failure, Qualified, Result};

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
    /// Who asked, if `user` is somebody else.
    pub(crate) impersonator: Option<User>,
    pub(crate) body: Bytes,
}

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    /// Empty for cluster-scoped resources and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Target {
    pub(crate) fn key(&self) -> String {
        super::store::key(&self.namespace, &self.name)
    }

    pub(crate) fn not_found(&self) -> Failure {
        Failure::not_found(&self.kind.qualified_resource(), &self.name)
    }

    /// The prefix of the keys of a collection.
    pub(crate) fn prefix(&self) -> String {
        if self.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", self.namespace)
        }
    }
}

/// The query parameters of writes.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent query parameters"
)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) strict: bool,
    pub(crate) warn: bool,
    pub(crate) force: bool,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Checks `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(crate) fn write_options(&self, kind: &str, apply: bool) -> Result<WriteOptions> {
        let mut causes = Vec::new();
        let force = self.query.flag("force");
        if kind == "PatchOptions" && !apply && force.is_some() {
            causes.push(Cause::forbidden(
                "force",
                "may not be specified for non-apply patch",
            ));
        }
        let manager = self.query.text("fieldManager");
        if apply && manager.is_empty() {
            causes.push(Cause::required(
                "fieldManager",
                "is required for apply patch",
            ));
        }
        if manager.len() > 128 {
            causes.push(Cause::new(
                "FieldValueTooLong",
                "Too long: may not be more than 128 bytes",
                "fieldManager",
            ));
        }
        if let Some(bad) = manager.chars().find(|c| c.is_control()) {
            let detail = format!("should only contain printable characters (found {bad:?})");
            causes.push(Cause::invalid(
                "fieldManager",
                &format!("{manager:?}"),
                &detail,
            ));
        }
        let dry_run = self.dry_run(&mut causes);
        let validation = self.query.text("fieldValidation");
        if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
            let supported = "\"\", \"Ignore\", \"Strict\", \"Warn\"";
            causes.push(Cause::not_supported(
                "fieldValidation",
                &format!("{validation:?}"),
                supported,
            ));
        }
        if !causes.is_empty() {
            return Err(Failure::invalid(
                &Qualified {
                    group: "meta.k8s.io",
                    name: kind,
                },
                "",
                &causes,
            ));
        }
        Ok(WriteOptions {
            dry_run,
            manager: if manager.is_empty() {
                self.default_manager()
            } else {
                manager.to_owned()
            },
            strict: validation == "Strict",
            warn: validation != "Ignore",
            force: force.unwrap_or(false),
        })
    }

    pub(crate) fn dry_run(&self, causes: &mut Vec<Cause>) -> bool {
        let values: Vec<&str> = self.query.all("dryRun").filter(|v| !v.is_empty()).collect();
        if values.iter().any(|v| *v != "All") {
            causes.push(Cause::not_supported(
                "dryRun",
                &format!("{values:?}"),
                "\"All\"",
            ));
        }
        !values.is_empty()
    }

    fn default_manager(&self) -> String {
        let agent = self.header("user-agent").unwrap_or_default();
        let prefix = agent.split('/').next().unwrap_or_default();
        let printable: String = prefix
            .chars()
            .filter(|c| !c.is_control())
            .take(128)
            .collect();
        if printable.is_empty() {
            "unknown".into()
        } else {
            printable
        }
    }
}
