//! From [`Kubeconfig`] to [`Config`], by kubectl's rules.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::exec::{ExecCluster, ExecPlugin, ExecVersion, InteractiveMode};
use super::impersonate::Impersonation;
use super::kubeconfig::{Cluster, Exec, Kubeconfig, Named, User};
use super::secret::{Pem, Secret};
use super::value::{Auth, ClientCertificate, Config, Material, ProxyUrl};
use crate::{Endpoint, Error, ErrorKind};

/// The extension of a cluster that exec plugins are handed.
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What to use instead of what the kubeconfig says, as kubectl's `--context`, `--cluster`, `--user`
/// and `--namespace`.
///
/// ```
/// use kubewire::config::Overrides;
/// let overrides = Overrides::default().context("staging").namespace("team-a");
/// assert_eq!(overrides.context.as_deref(), Some("staging"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrides {
    /// The context, instead of `current-context`.
    pub context: Option<String>,
    /// The cluster, instead of the context's.
    pub cluster: Option<String>,
    /// The user, instead of the context's.
    pub user: Option<String>,
    /// The namespace, instead of the context's.
    pub namespace: Option<String>,
}

impl Overrides {
    /// Sets the context.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into());
        self
    }

    /// Sets the cluster.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Whether an entry of a kubeconfig is asked for by name.
    #[cfg(feature = "kubeconfig")]
    pub(super) fn need_a_kubeconfig(&self) -> bool {
        [&self.context, &self.cluster, &self.user]
            .into_iter()
            .any(|name| set(name.as_ref()).is_some())
    }
}

/// A field that is there and not empty.
fn set<T: AsRef<str>>(field: Option<T>) -> Option<T> {
    field.filter(|text| !text.as_ref().is_empty())
}

fn set_secret(field: Option<&Secret>) -> Option<&Secret> {
    field.filter(|secret| !secret.is_empty())
}

/// An entry, for errors and for relative paths.
struct At<'a> {
    label: String,
    file: Option<&'a Path>,
}

impl<'a> At<'a> {
    fn new<T>(kind: &str, entry: &'a Named<T>) -> Self {
        let name = &entry.name;
        let label = match &entry.origin {
            Some(origin) => format!("{origin}: {kind} {name:?}"),
            None => format!("{kind} {name:?}"),
        };
        Self {
            label,
            file: entry.origin.as_ref().map(|origin| &*origin.file),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {what}", self.label))
    }

    fn both(&self, one: &str, other: &str) -> Error {
        self.wrong(&format!(
            "{one} and {other} are both set; remove one of them"
        ))
    }

    /// The same error with the entry in front.
    fn explain(&self, error: &Error) -> Error {
        self.wrong(&error.to_string())
    }

    fn path(&self, path: &str) -> PathBuf {
        match self.file.and_then(Path::parent) {
            Some(folder) => folder.join(path),
            None => PathBuf::from(path),
        }
    }

    fn decode(&self, field: &str, data: &str) -> Result<Pem, Error> {
        let mut compact = Zeroizing::new(String::with_capacity(data.len()));
        compact.extend(data.chars().filter(|c| !c.is_ascii_whitespace()));
        BASE64
            .decode(compact.as_bytes())
            .map(Pem::new)
            .map_err(|_| self.wrong(&format!("{field} is not base64")))
    }

    /// A file or the data itself.
    fn material(
        &self,
        field: &str,
        path: Option<&str>,
        data: Option<&str>,
    ) -> Result<Option<Material>, Error> {
        let data_field = format!("{field}-data");
        match (set(path), set(data)) {
            (Some(_), Some(_)) => Err(self.both(field, &data_field)),
            (Some(path), None) => Ok(Some(Material::File(self.path(path)))),
            (None, Some(data)) => self
                .decode(&data_field, data)
                .map(|pem| Some(Material::Data(pem))),
            (None, None) => Ok(None),
        }
    }
}

impl Kubeconfig {
    /// Picks the context, its cluster and its user, as kubectl does, and checks what is picked.
    ///
    /// No current context at all is an error unless a cluster is named; a context without a user
    /// is one without credentials. Entries that are not used are not looked at.
    ///
    /// `-data` fields may hold white space. Relative paths become relative to the directory of the
    /// file that the entry was read from, and so does the command of an exec plugin if it has a
    /// path separator. Of several kinds of credentials, a token file beats a token, either beats
    /// an exec plugin, and that combines with a client certificate.
    ///
    /// ```
    /// # #[cfg(feature = "kubeconfig")] {
    /// use kubewire::config::{Auth, Kubeconfig, Material, Overrides};
    ///
    /// let kubeconfig = Kubeconfig::parse(br"
    /// clusters: [{name: c, cluster: {server: 'https://10.0.0.1', certificate-authority: ca.crt}}]
    /// users: [{name: dev, user: {token: hunter2}}, {name: odd, user: {token: x, username: y}}]
    /// contexts: [{name: main, context: {cluster: c, user: dev}}]
    /// current-context: main
    /// ", "/etc/kube/config".as_ref())?;
    ///
    /// let config = kubeconfig.resolve(&Overrides::default())?;
    /// assert_eq!(config.auth, Auth::Token("hunter2".into()));
    /// assert_eq!(config.tls.ca, Some(Material::File("/etc/kube/ca.crt".into())));
    ///
    /// let error = kubeconfig.resolve(&Overrides::default().user("odd")).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "/etc/kube/config:3: user \"odd\": token and username are both set; remove one of them"
    /// );
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with the file, the entry and the fields, and never a value, for a name
    /// that is not there and for what client-go refuses: no `server`; a file field together with its
    /// `-data` twin; a token together with a password; a client certificate without a key;
    /// `as-…` fields without `as`; an exec plugin without command, `apiVersion` or (in `v1`)
    /// `interactiveMode`, or together with an `auth-provider`; an authority together with
    /// `insecure-skip-tls-verify`; a `proxy-url` that is not http, https, socks5 or socks5h. And, beyond that, for a
    /// password without user name, and for credentials that would go to a plain http server on another machine.
    pub fn resolve(&self, overrides: &Overrides) -> Result<Config, Error> {
        let name =
            set(overrides.context.as_deref()).or_else(|| set(self.current_context.as_deref()));
        let context = match name {
            Some(name) => Some(
                self.context(name)
                    .ok_or_else(|| self.missing("context", name, &names(&self.contexts)))?,
            ),
            None if set(overrides.cluster.as_deref()).is_some() => None,
            None => {
                return Err(self.wrong(&format!(
                    "no context is asked for and current-context is not set; the contexts are: {}",
                    names(&self.contexts)
                )));
            }
        };
        let pick = |over: Option<&'_ String>, own: Option<&'_ String>| {
            set(over.cloned()).or_else(|| set(own.cloned()))
        };
        let value = context.map(|context| &context.value);
        let cluster = pick(
            overrides.cluster.as_ref(),
            value.and_then(|context| context.cluster.as_ref()),
        );
        let user = pick(
            overrides.user.as_ref(),
            value.and_then(|context| context.user.as_ref()),
        );
        let namespace = pick(
            overrides.namespace.as_ref(),
            value.and_then(|context| context.namespace.as_ref()),
        );

        let Some(cluster) = cluster else {
            let at = context.map(|context| At::new("context", context));
            return Err(at.map_or_else(
                || self.wrong("no cluster is named"),
                |at| at.wrong("no cluster is named"),
            ));
        };
        let cluster = self
            .cluster(&cluster)
            .ok_or_else(|| self.missing("cluster", &cluster, &names(&self.clusters)))?;
        let user = match user {
            Some(user) => Some(
                self.user(&user)
                    .ok_or_else(|| self.missing("user", &user, &names(&self.users)))?,
            ),
            None => None,
        };
        let mut config = with_cluster(cluster, user)?;
        if let Some(namespace) = namespace {
            config.namespace = namespace;
        }
        if let Some(user) = user {
            with_user(&mut config, cluster, user)?;
        }
        let last = user.map_or_else(|| At::new("cluster", cluster), |user| At::new("user", user));
        config.check().map_err(|error| last.explain(&error))?;
        Ok(config)
    }

    fn wrong(&self, what: &str) -> Error {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let text = if files.is_empty() {
            what.to_owned()
        } else {
            format!("{}: {what}", files.join(", "))
        };
        Error::new(ErrorKind::Config, text)
    }

    fn missing(&self, kind: &str, name: &str, known: &str) -> Error {
        self.wrong(&format!(
            "there is no {kind} {name:?}; the {kind}s are: {known}"
        ))
    }
}

/// Names for an error, at most ten.
fn names<T>(list: &[Named<T>]) -> String {
    if list.is_empty() {
        return "(none)".to_owned();
    }
    let mut text: Vec<_> = list
        .iter()
        .take(10)
        .map(|entry| format!("{:?}", entry.name))
        .collect();
    if list.len() > 10 {
        text.push("…".to_owned());
    }
    text.join(", ")
}

fn with_cluster(entry: &Named<Cluster>, user: Option<&Named<User>>) -> Result<Config, Error> {
    let at = At::new("cluster", entry);
    let cluster = &entry.value;
    let ca = at.material(
        "certificate-authority",
        cluster.certificate_authority.as_deref(),
        cluster.certificate_authority_data.as_deref(),
    )?;
    let insecure = cluster.insecure_skip_tls_verify.unwrap_or(false);
    if insecure && ca.is_some() {
        return Err(at.wrong(
            "certificate-authority(-data) and insecure-skip-tls-verify: true exclude each other",
        ));
    }
    let server = set(cluster.server.as_deref())
        .map(str::trim)
        .ok_or_else(|| at.wrong("server is not set"))?;
    // Without a scheme, TLS settings tell.
    let certificate = user.is_some_and(|user| {
        set(user.value.client_certificate.as_deref()).is_some()
            || set_secret(user.value.client_certificate_data.as_ref()).is_some()
    });
    let with_scheme;
    let server = if !server.contains("://") && (insecure || ca.is_some() || certificate) {
        with_scheme = format!("https://{server}");
        &with_scheme
    } else {
        server
    };
    let endpoint =
        Endpoint::parse(server).map_err(|error| at.wrong(&format!("server: {error}")))?;
    let proxy_url = set(cluster.proxy_url.as_deref())
        .map(ProxyUrl::parse)
        .transpose()
        .map_err(|error| at.wrong(&format!("proxy-url: {error}")))?;

    let mut config = Config::new(endpoint).credentials_over_http(false);
    config.tls.ca = ca;
    config.tls.dangerous_insecure_skip_verify = insecure;
    config.tls.server_name = set(cluster.tls_server_name.clone());
    config.proxy_url = proxy_url;
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    Ok(config)
}

fn with_user(
    config: &mut Config,
    cluster: &Named<Cluster>,
    entry: &Named<User>,
) -> Result<(), Error> {
    let at = At::new("user", entry);
    let user = &entry.value;
    let certificate = at.material(
        "client-certificate",
        user.client_certificate.as_deref(),
        user.client_certificate_data.as_ref().map(Secret::expose),
    )?;
    // As for client-go, a key alone is nothing.
    if let Some(certificate) = certificate {
        let key = at.material(
            "client-key",
            user.client_key.as_deref(),
            user.client_key_data.as_ref().map(Secret::expose),
        )?;
        let Some(key) = key else {
            return Err(
                at.wrong("client-certificate(-data) is set without client-key or client-key-data")
            );
        };
        config.tls.client = Some(ClientCertificate { certificate, key });
    }
    config.impersonate = impersonation(&at, user)?;
    config.auth = auth(&at, user, config, cluster)?;
    Ok(())
}

fn impersonation(at: &At<'_>, user: &User) -> Result<Option<Impersonation>, Error> {
    let uid = set(user.act_as_uid.clone());
    let Some(name) = set(user.act_as.as_deref()) else {
        let field = if uid.is_some() {
            "as-uid"
        } else if !user.act_as_groups.is_empty() {
            "as-groups"
        } else if !user.act_as_user_extra.is_empty() {
            "as-user-extra"
        } else {
            return Ok(None);
        };
        return Err(at.wrong(&format!("{field} is set without as")));
    };
    let mut who = Impersonation::user(name);
    who.uid = uid;
    who.groups.clone_from(&user.act_as_groups);
    who.extra.clone_from(&user.act_as_user_extra);
    who.headers().map_err(|error| at.explain(&error))?;
    Ok(Some(who))
}

fn auth(
    at: &At<'_>,
    user: &User,
    config: &Config,
    cluster: &Named<Cluster>,
) -> Result<Auth, Error> {
    let token = user
        .token
        .as_ref()
        .map(|token| Secret::new(token.expose().trim()))
        .filter(|token| !token.is_empty());
    let token_file = set(user.token_file.as_deref());
    let username = set(user.username.as_deref());
    let password = set_secret(user.password.as_ref());

    // Checked even if something else wins.
    let exec = user
        .exec
        .as_ref()
        .map(|exec| plugin(at, exec, config, cluster))
        .transpose()?;
    if exec.is_some() && user.auth_provider.is_some() {
        return Err(at.both("exec", "auth-provider"));
    }
    if password.is_some() && username.is_none() {
        return Err(at.wrong("password is set without username"));
    }
    if username.is_some() {
        if token.is_some() {
            return Err(at.both("token", "username"));
        }
        if token_file.is_some() {
            return Err(at.both("tokenFile", "username"));
        }
    }

    if let Some(path) = token_file {
        return Ok(Auth::TokenFile {
            path: at.path(path),
            initial: token,
        });
    }
    if let Some(token) = token {
        return Ok(Auth::Token(token));
    }
    if let Some(username) = username {
        return Ok(Auth::Basic {
            username: username.to_owned(),
            password: password.cloned().unwrap_or_else(|| Secret::new("")),
        });
    }
    if let Some(plugin) = exec {
        return Ok(Auth::Exec(Box::new(plugin)));
    }
    match &user.auth_provider {
        None => Ok(Auth::None),
        Some(provider) if provider.name == "oidc" => Ok(Auth::Provider(provider.clone())),
        Some(provider) => Err(at.wrong(&format!(
            "the auth-provider {:?} is not known; only oidc is left, the others have become exec plugins",
            provider.name
        ))),
    }
}

fn plugin(
    at: &At<'_>,
    exec: &Exec,
    config: &Config,
    cluster: &Named<Cluster>,
) -> Result<ExecPlugin, Error> {
    let command =
        set(exec.command.as_deref()).ok_or_else(|| at.wrong("exec: command is not set"))?;
    let api_version =
        set(exec.api_version.as_deref()).ok_or_else(|| at.wrong("exec: apiVersion is not set"))?;
    let api_version = ExecVersion::parse(api_version).ok_or_else(|| {
        at.wrong(&format!(
            "exec: apiVersion {api_version:?} is not known; it has to be {} or {}",
            ExecVersion::V1.as_str(),
            ExecVersion::V1Beta1.as_str()
        ))
    })?;
    let interactive_mode = match (set(exec.interactive_mode.as_deref()), api_version) {
        (Some(mode), _) => InteractiveMode::parse(mode).ok_or_else(|| {
            at.wrong(&format!(
                "exec: interactiveMode {mode:?} is not known; it has to be Never, IfAvailable or Always"
            ))
        })?,
        (None, ExecVersion::V1Beta1) => InteractiveMode::IfAvailable,
        (None, ExecVersion::V1) => {
            return Err(at.wrong(&format!(
                "exec: interactiveMode is not set, which {} requires",
                api_version.as_str()
            )));
        }
    };
    let env = exec
        .env
        .iter()
        .enumerate()
        .map(|(index, variable)| {
            if variable.name.is_empty() {
                return Err(at.wrong(&format!("exec: env[{index}] has no name")));
            }
            let value = variable.value.clone().unwrap_or_else(|| Secret::new(""));
            Ok((variable.name.clone(), value))
        })
        .collect::<Result<_, _>>()?;
    let info = exec
        .provide_cluster_info
        .unwrap_or(false)
        .then(|| ExecCluster {
            server: config.endpoint.to_string(),
            tls_server_name: config.tls.server_name.clone(),
            insecure_skip_tls_verify: config.tls.dangerous_insecure_skip_verify,
            ca: config.tls.ca.clone(),
            proxy_url: config.proxy_url.clone(),
            disable_compression: config.disable_compression,
            config: cluster
                .value
                .extensions
                .iter()
                .find(|extension| extension.name == EXEC_EXTENSION)
                .map(|extension| extension.value.clone()),
        });
    Ok(ExecPlugin {
        command: if command.contains(std::path::is_separator) {
            at.path(command)
        } else {
            PathBuf::from(command)
        },
        args: exec.args.clone(),
        env,
        api_version,
        install_hint: set(exec.install_hint.clone()),
        interactive_mode,
        cluster: info,
    })
}
