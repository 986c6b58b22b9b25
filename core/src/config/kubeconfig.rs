//! The content of kubeconfig files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::secret::Secret;

/// A kubeconfig: one file, or several merged.
///
/// Every field that kubectl knows is here, under its own name; fields that are not known are kept
/// in `other` and written back. Serialized as JSON it is a kubeconfig again, because JSON is YAML;
/// mind that this writes the secrets.
///
/// `Debug` shows no secret, no exec argument, and of unknown fields the names only.
///
/// ```
/// use kubewire::config::{Cluster, Context, Kubeconfig, Named, Overrides};
///
/// let mut kubeconfig = Kubeconfig::default();
/// let mut cluster = Cluster::default();
/// cluster.server = Some("https://10.0.0.1:6443".to_owned());
/// kubeconfig.clusters.push(Named::new("prod", cluster));
/// let mut context = Context::default();
/// context.cluster = Some("prod".to_owned());
/// kubeconfig.contexts.push(Named::new("main", context));
/// kubeconfig.current_context = Some("main".to_owned());
///
/// let config = kubeconfig.resolve(&Overrides::default())?;
/// assert_eq!(config.endpoint.to_string(), "https://10.0.0.1:6443");
/// assert_eq!(config.namespace, "default");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Kubeconfig {
    /// API servers.
    pub clusters: Vec<Named<Cluster>>,
    /// Credentials.
    pub users: Vec<Named<User>>,
    /// Pairs of the two.
    pub contexts: Vec<Named<Context>>,
    /// `current-context`: which context is used if none is asked for.
    pub current_context: Option<String>,
    /// `preferences`, which kubectl no longer reads.
    pub preferences: Option<Opaque>,
    /// Extensions of tools.
    pub extensions: Vec<Named<Opaque>>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
    /// The files this was read from, for errors.
    pub files: Vec<PathBuf>,
}

/// An entry of one of the lists of a kubeconfig.
///
/// ```
/// use kubewire::config::{Context, Named};
/// let mut context = Named::new("dev", Context::default());
/// context.value.namespace = Some("team-a".to_owned());
/// assert!(context.origin.is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Named<T> {
    /// What other entries refer to it by.
    pub name: String,
    /// The entry.
    pub value: T,
    /// Where it was read from. Relative paths in it are relative to that file's directory.
    pub origin: Option<Origin>,
    /// Fields beside the name and the value that are not known.
    pub other: BTreeMap<String, Opaque>,
}

impl<T> Named<T> {
    /// An entry that comes from no file.
    pub fn new(name: impl Into<String>, value: T) -> Self {
        Self {
            name: name.into(),
            value,
            origin: None,
            other: BTreeMap::new(),
        }
    }
}

/// A place in a file. Displayed as `path:line`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1; 0 if it is not known.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// An API server.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Cluster {
    /// `server`: the URL.
    pub server: Option<String>,
    /// `tls-server-name`: the name to ask for and to verify, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// `insecure-skip-tls-verify`: whether any server certificate is accepted.
    pub insecure_skip_tls_verify: Option<bool>,
    /// `certificate-authority`: a PEM file.
    pub certificate_authority: Option<String>,
    /// `certificate-authority-data`: PEM in base64.
    pub certificate_authority_data: Option<String>,
    /// `proxy-url`: an http, https or socks5 proxy.
    pub proxy_url: Option<String>,
    /// `disable-compression`: whether answers are to come uncompressed.
    pub disable_compression: Option<bool>,
    /// Extensions; `client.authentication.k8s.io/exec` is handed to exec plugins.
    pub extensions: Vec<Named<Opaque>>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.server.as_deref().map(without_userinfo))
            .field("tls_server_name", &self.tls_server_name)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("certificate_authority", &self.certificate_authority)
            .field(
                "certificate_authority_data",
                &self.certificate_authority_data.as_ref().map(|_| Hidden),
            )
            .field(
                "proxy_url",
                &self.proxy_url.as_deref().map(without_userinfo),
            )
            .field("disable_compression", &self.disable_compression)
            .field("extensions", &self.extensions)
            .field("other", &self.other)
            .finish()
    }
}

/// Credentials.
///
/// ```
/// use kubewire::config::{Exec, User};
///
/// let mut exec = Exec::default();
/// exec.command = Some("aws".to_owned());
/// exec.args = vec!["eks".to_owned(), "get-token".to_owned()];
/// let mut user = User::default();
/// user.exec = Some(exec);
/// let json = serde_json::to_string(&user)?;
/// assert_eq!(json, r#"{"exec":{"command":"aws","args":["eks","get-token"]}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct User {
    /// `client-certificate`: a PEM file.
    pub client_certificate: Option<String>,
    /// `client-certificate-data`: PEM in base64.
    pub client_certificate_data: Option<Secret>,
    /// `client-key`: a PEM file.
    pub client_key: Option<String>,
    /// `client-key-data`: PEM in base64.
    pub client_key_data: Option<Secret>,
    /// `token`: a bearer token.
    pub token: Option<Secret>,
    /// `tokenFile`: a file with a bearer token. It beats `token`.
    pub token_file: Option<String>,
    /// `as`: the user to impersonate.
    pub act_as: Option<String>,
    /// `as-uid`: the UID to impersonate.
    pub act_as_uid: Option<String>,
    /// `as-groups`: the groups to impersonate.
    pub act_as_groups: Vec<String>,
    /// `as-user-extra`: extra fields to impersonate.
    pub act_as_user_extra: BTreeMap<String, Vec<String>>,
    /// `username`, for basic authentication.
    pub username: Option<String>,
    /// `password`, for basic authentication.
    pub password: Option<Secret>,
    /// `auth-provider`: the legacy plugins, of which `oidc` is left.
    pub auth_provider: Option<AuthProvider>,
    /// `exec`: a program that prints credentials.
    pub exec: Option<Exec>,
    /// Extensions of tools.
    pub extensions: Vec<Named<Opaque>>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

/// `auth-provider` of a user.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AuthProvider {
    /// Which plugin.
    pub name: String,
    /// Its settings and tokens.
    pub config: BTreeMap<String, Secret>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

/// `exec` of a user, as in the file. [`ExecPlugin`](super::ExecPlugin) is what comes of it.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Exec {
    /// `command`: a path, or a name that is looked up in `PATH`.
    pub command: Option<String>,
    /// `args`.
    pub args: Vec<String>,
    /// `env`: variables that are set on top of the own environment.
    pub env: Vec<ExecEnv>,
    /// `apiVersion` of the plugin's input and output.
    pub api_version: Option<String>,
    /// `installHint`: shown if the command is missing.
    pub install_hint: Option<String>,
    /// `provideClusterInfo`: whether the plugin is told about the cluster.
    pub provide_cluster_info: Option<bool>,
    /// `interactiveMode`: `Never`, `IfAvailable` or `Always`.
    pub interactive_mode: Option<String>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("command", &self.command)
            .field("args", &format_args!("[{} hidden]", self.args.len()))
            .field("env", &self.env)
            .field("api_version", &self.api_version)
            .field("install_hint", &self.install_hint)
            .field("provide_cluster_info", &self.provide_cluster_info)
            .field("interactive_mode", &self.interactive_mode)
            .field("other", &self.other)
            .finish()
    }
}

/// An environment variable of an exec plugin.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ExecEnv {
    /// The variable.
    pub name: String,
    /// What it is set to.
    pub value: Option<Secret>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

/// A cluster with a user.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Context {
    /// `cluster`: the name of a cluster.
    pub cluster: Option<String>,
    /// `user`: the name of a user; none for no credentials.
    pub user: Option<String>,
    /// `namespace`: the default for calls that name none.
    pub namespace: Option<String>,
    /// Extensions of tools.
    pub extensions: Vec<Named<Opaque>>,
    /// Fields that are not known.
    pub other: BTreeMap<String, Opaque>,
}

/// A JSON value that `Debug` describes without showing it.
///
/// ```
/// use kubewire::config::Opaque;
/// let value = Opaque(serde_json::json!({"audience": "hunter2"}));
/// assert_eq!(value.0["audience"], "hunter2");
/// assert_eq!(format!("{value:?}"), r#"Opaque({"audience"})"#);
/// ```
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Opaque(pub Value);

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::Object(fields) => {
                f.write_str("Opaque(")?;
                f.debug_set().entries(fields.keys()).finish()?;
                f.write_str(")")
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => f.write_str("Opaque(..)"),
        }
    }
}

struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// A URL fit for a log: `user:password@` becomes `..@`, and there is no query. If the host is none,
/// it may be a part of the credentials and is not shown.
pub(super) fn without_userinfo(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // Whatever stands before any @ may be a password with characters that nobody escaped.
    let (userinfo, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("..@", rest),
        None => ("", rest),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let after_address = authority.rsplit(']').next().unwrap_or_default();
    let is_host = match after_address.split_once(':') {
        Some((_, port)) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => true,
    };
    let shown = if is_host { rest } else { ".." };
    format!("{scheme}{userinfo}{shown}")
}

impl Kubeconfig {
    /// Merges files as kubectl does: of entries with the same name the first one counts, as a whole,
    /// and `current-context` is the first that is set.
    ///
    /// ```
    /// use kubewire::config::{Kubeconfig, Named, User};
    ///
    /// let file = |names: &[&str]| {
    ///     let mut file = Kubeconfig::default();
    ///     file.users = names.iter().map(|name| Named::new(*name, User::default())).collect();
    ///     file
    /// };
    /// let merged = Kubeconfig::merge([file(&["a"]), file(&["a", "b"])]);
    /// assert_eq!(merged.users.len(), 2);
    /// ```
    pub fn merge(files: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Self::default();
        let mut clusters = BTreeSet::new();
        let mut users = BTreeSet::new();
        let mut contexts = BTreeSet::new();
        let mut extensions = BTreeSet::new();
        for file in files {
            append(&mut merged.clusters, &mut clusters, file.clusters);
            append(&mut merged.users, &mut users, file.users);
            append(&mut merged.contexts, &mut contexts, file.contexts);
            append(&mut merged.extensions, &mut extensions, file.extensions);
            merged.current_context = merged
                .current_context
                .filter(|name| !name.is_empty())
                .or(file.current_context);
            merged.preferences = merged.preferences.or(file.preferences);
            for (name, value) in file.other {
                merged.other.entry(name).or_insert(value);
            }
            for path in file.files {
                if !merged.files.contains(&path) {
                    merged.files.push(path);
                }
            }
        }
        merged
    }

    /// Whether nothing is configured: no cluster, user, context or current context.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
            && self.users.is_empty()
            && self.contexts.is_empty()
            && self.current_context.as_deref().unwrap_or_default() == ""
    }

    /// The cluster of that name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Named<Cluster>> {
        self.clusters.iter().find(|entry| entry.name == name)
    }

    /// The user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Named<User>> {
        self.users.iter().find(|entry| entry.name == name)
    }

    /// The context of that name.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<&Named<Context>> {
        self.contexts.iter().find(|entry| entry.name == name)
    }
}

fn append<T>(list: &mut Vec<Named<T>>, seen: &mut BTreeSet<String>, more: Vec<Named<T>>) {
    for entry in more {
        if seen.insert(entry.name.clone()) {
            list.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        for (url, shown) in [
            ("http://h:1/p", "http://h:1/p"),
            ("http://u:p@h:1/p", "http://..@h:1/p"),
            ("http://u:p/q@h:1/p?x", "http://..@h:1/p"),
            ("u:p@h", "..@h"),
            ("socks5://h?token=x", "socks5://h"),
            ("http://u:p?@h", "http://.."),
            ("http://u:p", "http://.."),
            ("http://u:p@[::1]:80", "http://..@[::1]:80"),
            ("http://[::1]:x", "http://.."),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(url), shown);
        }
    }
}
