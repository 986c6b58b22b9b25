//! Programs that print credentials.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::kubeconfig::{Opaque, without_userinfo};
use super::secret::{Pem, Secret};
use super::value::{Material, ProxyUrl};
use crate::{Error, ErrorKind};

/// A program that prints credentials: what to run, and what to tell it.
///
/// The adapter runs `command args` with its own environment, [`env`](Self::env) and
/// `KUBERNETES_EXEC_INFO` set to [`info`](Self::info). Standard input is passed on only if
/// [`interactive`](Self::interactive) says so.
///
/// ```
/// use kubewire::config::ExecPlugin;
/// let plugin = ExecPlugin::new("aws-iam-authenticator").arg("token").env("AWS_PROFILE", "dev");
/// assert_eq!(
///     plugin.info(false, None),
///     r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#
/// );
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ExecPlugin {
    /// A path, or a name that is to be looked up in `PATH`.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that are set on top of the own environment.
    pub env: Vec<(String, Secret)>,
    /// The version of its input and output.
    pub api_version: ExecVersion,
    /// What to show if the command is missing.
    pub install_hint: Option<String>,
    /// Whether it may ask the user.
    pub interactive_mode: InteractiveMode,
    /// What it is told about the cluster, if it wants to know.
    pub cluster: Option<ExecCluster>,
}

/// The version of an exec plugin's input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecVersion {
    /// `client.authentication.k8s.io/v1`.
    #[default]
    V1,
    /// `client.authentication.k8s.io/v1beta1`.
    V1Beta1,
}

impl ExecVersion {
    /// The `apiVersion`.
    ///
    /// ```
    /// use kubewire::config::ExecVersion;
    /// let version = ExecVersion::parse("client.authentication.k8s.io/v1beta1");
    /// assert_eq!(version, Some(ExecVersion::V1Beta1));
    /// assert_eq!(ExecVersion::V1.as_str(), "client.authentication.k8s.io/v1");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "client.authentication.k8s.io/v1",
            Self::V1Beta1 => "client.authentication.k8s.io/v1beta1",
        }
    }

    /// The version of that name. `v1alpha1` is gone.
    #[must_use]
    pub fn parse(api_version: &str) -> Option<Self> {
        [Self::V1, Self::V1Beta1]
            .into_iter()
            .find(|version| version.as_str() == api_version)
    }
}

/// Whether an exec plugin may ask the user on standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InteractiveMode {
    /// It never asks.
    Never,
    /// It asks if it can.
    #[default]
    IfAvailable,
    /// It cannot do without.
    Always,
}

impl InteractiveMode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "Never" => Some(Self::Never),
            "IfAvailable" => Some(Self::IfAvailable),
            "Always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// What an exec plugin is told about the cluster.
///
/// ```
/// use kubewire::config::{ExecCluster, ExecPlugin};
/// let mut plugin = ExecPlugin::new("login");
/// plugin.cluster = Some(ExecCluster::new("https://10.0.0.1"));
/// assert!(plugin.info(false, None).contains(r#""cluster":{"server":"https://10.0.0.1"}"#));
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ExecCluster {
    /// The URL of the API server.
    pub server: String,
    /// The name in its certificate, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// Whether any certificate of it is accepted.
    pub insecure_skip_tls_verify: bool,
    /// The authorities of its certificate. If it is a file, its content is to be given to
    /// [`ExecPlugin::info`].
    pub ca: Option<Material>,
    /// The proxy in between.
    pub proxy_url: Option<ProxyUrl>,
    /// Whether answers are to come uncompressed.
    pub disable_compression: bool,
    /// The cluster's extension `client.authentication.k8s.io/exec`.
    pub config: Option<Opaque>,
}

impl ExecCluster {
    /// A server, and nothing else.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            tls_server_name: None,
            insecure_skip_tls_verify: false,
            ca: None,
            proxy_url: None,
            disable_compression: false,
            config: None,
        }
    }
}

impl fmt::Debug for ExecCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecCluster")
            .field("server", &without_userinfo(&self.server))
            .field("tls_server_name", &self.tls_server_name)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("ca", &self.ca)
            .field("proxy_url", &self.proxy_url)
            .field("disable_compression", &self.disable_compression)
            .field("config", &self.config)
            .finish()
    }
}

impl fmt::Debug for ExecPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecPlugin")
            .field("command", &self.command)
            .field("args", &format_args!("[{} hidden]", self.args.len()))
            .field("env", &self.env)
            .field("api_version", &self.api_version)
            .field("install_hint", &self.install_hint)
            .field("interactive_mode", &self.interactive_mode)
            .field("cluster", &self.cluster)
            .finish()
    }
}

#[derive(Serialize)]
struct Info<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster<'a>>,
    interactive: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster<'a> {
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    insecure_skip_tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_url: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    disable_compression: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl ExecPlugin {
    /// A command of version `v1` that asks the user if it can.
    pub fn new(command: impl Into<PathBuf>) -> Self {
        Self {
            command: command.into(),
            args: Vec::new(),
            env: Vec::new(),
            api_version: ExecVersion::default(),
            install_hint: None,
            interactive_mode: InteractiveMode::default(),
            cluster: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Whether the plugin gets standard input, given whether that is a terminal nobody else reads.
    ///
    /// ```
    /// use kubewire::config::{ExecPlugin, InteractiveMode};
    /// let mut plugin = ExecPlugin::new("login");
    /// assert!(plugin.interactive(true)? && !plugin.interactive(false)?);
    /// plugin.interactive_mode = InteractiveMode::Always;
    /// assert!(plugin.interactive(false).is_err());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if it has to ask and there is no terminal.
    pub fn interactive(&self, terminal: bool) -> Result<bool, Error> {
        match self.interactive_mode {
            InteractiveMode::Never => Ok(false),
            InteractiveMode::IfAvailable => Ok(terminal),
            InteractiveMode::Always if terminal => Ok(true),
            InteractiveMode::Always => Err(Error::new(
                ErrorKind::Credentials,
                format!(
                    "the exec plugin {} has to ask the user (interactiveMode is Always), and standard input is no terminal",
                    self.command.display()
                ),
            )),
        }
    }

    /// The value of `KUBERNETES_EXEC_INFO`. `ca` is the content of the cluster's authority file, if
    /// it is a file.
    #[must_use]
    pub fn info(&self, interactive: bool, ca: Option<&Pem>) -> String {
        let cluster = self.cluster.as_ref().map(|cluster| {
            let ca = match &cluster.ca {
                Some(Material::Data(pem)) => Some(pem),
                Some(Material::File(_)) => ca,
                None => None,
            };
            Cluster {
                server: &cluster.server,
                tls_server_name: cluster.tls_server_name.as_deref(),
                insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
                certificate_authority_data: ca.map(|pem| STANDARD.encode(pem.as_bytes())),
                proxy_url: cluster.proxy_url.as_ref().map(ProxyUrl::expose),
                disable_compression: cluster.disable_compression,
                config: cluster.config.as_ref().map(|config| &config.0),
            }
        });
        let info = Info {
            kind: "ExecCredential",
            api_version: self.api_version.as_str(),
            spec: Spec {
                cluster,
                interactive,
            },
        };
        // Strings, booleans and a JSON value always serialize.
        serde_json::to_string(&info).unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::Config, what));
        if self.command.as_os_str().is_empty() {
            return wrong("the exec plugin has no command");
        }
        if self.env.iter().any(|(name, _)| name.is_empty()) {
            return wrong("a variable in env of the exec plugin has no name");
        }
        Ok(())
    }
}
