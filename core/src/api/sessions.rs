//! Operations that become sessions: exec, attach, port-forward.

use super::Api;
use super::path::Target;
use super::query::Query;
use crate::Error;
use crate::resource::{HasAttach, HasExec, HasPortForward};
use crate::session::{
    Attach, Exec, Offer, PortForward, PortForwardTunnel, PortForwardTunnelOperation,
    SessionOptions, Streams, Upgrade,
};

/// An operation whose answer is a session. The counterpart of [`Operation`](crate::Operation) for
/// `client.open`.
pub trait UpgradeOperation: Sized {
    /// What the session is about.
    type Protocol: Offer;

    /// Builds the upgrade; operations of an [`Api`] that inherits its namespace use `namespace`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when a name, a port or a combination of options
    /// is not valid. Nothing was sent.
    fn into_upgrade_in(self, namespace: Option<&str>) -> Result<Upgrade<Self::Protocol>, Error>;

    /// Builds the upgrade of an operation that names its namespace.
    ///
    /// # Errors
    ///
    /// As [`into_upgrade_in`](Self::into_upgrade_in), and when the namespace is inherited.
    fn into_upgrade(self) -> Result<Upgrade<Self::Protocol>, Error> {
        self.into_upgrade_in(None)
    }
}

impl<P: Offer> UpgradeOperation for Upgrade<P> {
    type Protocol = P;

    fn into_upgrade_in(self, _: Option<&str>) -> Result<Self, Error> {
        Ok(self)
    }
}

/// Which streams a process is to have, and in which container it is.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "PodExecOptions has them")]
struct Process {
    container: Option<String>,
    stdin: bool,
    tty: bool,
    no_stdout: bool,
    no_stderr: bool,
    options: SessionOptions,
}

impl Process {
    fn streams(&self) -> Result<Streams, Error> {
        let mut streams = Streams::new();
        if self.stdin {
            streams = streams.stdin();
        }
        if !self.no_stdout {
            streams = streams.stdout();
        }
        if !self.no_stderr && !self.tty {
            streams = streams.stderr();
        }
        if self.tty {
            streams = streams.tty();
        }
        if streams.has_stdin() || streams.has_stdout() || streams.has_stderr() {
            Ok(streams)
        } else {
            Err(Error::usage(
                "the process needs at least one of stdin, stdout and stderr",
            ))
        }
    }

    /// The server's defaults are all false, whatever its documentation says.
    fn append(&self, streams: Streams, query: &mut Query) {
        query.some("container", self.container.as_deref());
        query.flag("stdin", streams.has_stdin());
        query.flag("stdout", streams.has_stdout());
        query.flag("stderr", streams.has_stderr());
        query.flag("tty", streams.has_tty());
    }
}

macro_rules! process_options {
    ($type:ident) => {
        impl $type {
            /// Which container; may be left out for pods with one.
            pub fn container(mut self, name: impl Into<String>) -> Self {
                self.process.container = Some(name.into());
                self
            }

            /// With input. Without this the process reads an empty one.
            pub fn stdin(mut self) -> Self {
                self.process.stdin = true;
                self
            }

            /// In a terminal: output and error output come merged on stdout, sizes can be sent.
            pub fn tty(mut self) -> Self {
                self.process.tty = true;
                self
            }

            /// Output is thrown away by the server.
            pub fn without_stdout(mut self) -> Self {
                self.process.no_stdout = true;
                self
            }

            /// Error output is thrown away by the server.
            pub fn without_stderr(mut self) -> Self {
                self.process.no_stderr = true;
                self
            }

            /// Deadlines, pings, and what happens when output is not read.
            pub fn options(mut self, options: SessionOptions) -> Self {
                self.process.options = options;
                self
            }
        }
    };
}

process_options!(ExecOperation);
process_options!(AttachOperation);

/// Runs a command in a container. See [`Api::exec`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ExecOperation {
    pub(super) target: Target,
    command: Vec<String>,
    process: Process,
}

impl<K: HasExec> Api<K> {
    /// Runs a command in a running container of a pod: `pods/exec`.
    ///
    /// Since Kubernetes 1.35 this needs the verb `create` on `pods/exec` besides `get`; who has `get` only is told 403
    /// with an empty reason.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, UpgradeOperation};
    /// let shell = Api::<Pod>::namespaced("default").exec("web-0").command(["sh"]).stdin().tty().into_upgrade()?;
    /// assert_eq!(
    ///     shell.request().uri(),
    ///     "/api/v1/namespaces/default/pods/web-0/exec?command=sh&stdin=true&stdout=true&tty=true"
    /// );
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn exec(&self, name: &str) -> ExecOperation {
        ExecOperation {
            target: self.object(name).sub("exec"),
            command: Vec::new(),
            process: Process::default(),
        }
    }
}

impl ExecOperation {
    /// The command and its arguments. There is no shell unless it is one.
    pub fn command<I>(mut self, command: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }
}

impl UpgradeOperation for ExecOperation {
    type Protocol = Exec;

    fn into_upgrade_in(self, namespace: Option<&str>) -> Result<Upgrade<Exec>, Error> {
        if self.command.is_empty() {
            return Err(Error::usage("exec needs a command"));
        }
        let streams = self.process.streams()?;
        let mut query = self.target.query(namespace)?;
        for argument in &self.command {
            query.pair("command", argument);
        }
        self.process.append(streams, &mut query);
        let uri = query.uri()?;
        Ok(Upgrade::new(uri, Exec::new(streams)).options(self.process.options))
    }
}

/// Attaches to a container's process. See [`Api::attach`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct AttachOperation {
    pub(super) target: Target,
    process: Process,
}

impl<K: HasAttach> Api<K> {
    /// Attaches to the process that a container runs: `pods/attach`. The exit code is never told.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, UpgradeOperation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let attach = pods.attach("web-0").container("main").tty().into_upgrade()?;
    /// assert_eq!(
    ///     attach.request().uri(),
    ///     "/api/v1/namespaces/default/pods/web-0/attach?container=main&stdout=true&tty=true"
    /// );
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn attach(&self, name: &str) -> AttachOperation {
        AttachOperation {
            target: self.object(name).sub("attach"),
            process: Process::default(),
        }
    }
}

impl UpgradeOperation for AttachOperation {
    type Protocol = Attach;

    fn into_upgrade_in(self, namespace: Option<&str>) -> Result<Upgrade<Attach>, Error> {
        let streams = self.process.streams()?;
        let mut query = self.target.query(namespace)?;
        self.process.append(streams, &mut query);
        let uri = query.uri()?;
        Ok(Upgrade::new(uri, Attach::new(streams)).options(self.process.options))
    }
}

/// Connects to ports of a pod. See [`Api::port_forward`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct PortForwardOperation {
    pub(super) target: Target,
    ports: Vec<u16>,
    options: SessionOptions,
}

impl<K: HasPortForward> Api<K> {
    /// Connects to ports of a pod: `pods/portforward`, one connection for each entry. The same port may be given more than
    /// once.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, UpgradeOperation};
    /// let forward = Api::<Pod>::namespaced("default").port_forward("web-0", [8080]).into_upgrade()?;
    /// assert_eq!(forward.request().uri(), "/api/v1/namespaces/default/pods/web-0/portforward?ports=8080");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn port_forward(
        &self,
        name: &str,
        ports: impl IntoIterator<Item = u16>,
    ) -> PortForwardOperation {
        PortForwardOperation {
            target: self.object(name).sub("portforward"),
            ports: ports.into_iter().collect(),
            options: SessionOptions::default(),
        }
    }

    /// Connects to ports of a pod at any time and any number of times, over one connection to the
    /// server: `pods/portforward` as a [`Tunnel`](crate::session::Tunnel). Unlike
    /// [`port_forward`](Self::port_forward) it keeps the end of each direction, and one connection
    /// does not hold up the others.
    ///
    /// A server that has no tunnels refuses it with an error for which
    /// [`PortForwardTunnel::is_unsupported`] holds;
    /// [`connection`](PortForwardTunnelOperation::connection) is the other way, for each connection.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, UpgradeOperation};
    /// let forward = Api::<Pod>::namespaced("default").port_forward_tunnel("web-0");
    /// let alone = forward.connection(8080).into_upgrade()?;
    /// let tunnel = forward.into_upgrade()?;
    /// assert_eq!(tunnel.request().uri(), "/api/v1/namespaces/default/pods/web-0/portforward");
    /// assert_eq!(alone.request().uri(), "/api/v1/namespaces/default/pods/web-0/portforward?ports=8080");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn port_forward_tunnel(&self, name: &str) -> PortForwardTunnelOperation {
        PortForwardTunnelOperation {
            alone: self.port_forward(name, []),
        }
    }
}

impl PortForwardTunnelOperation {
    /// Deadlines, pings, and what happens when a connection is not read.
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.alone.options = options;
        self
    }

    /// One connection to a port of the same pod without a tunnel: the way for servers that have
    /// none.
    pub fn connection(&self, port: u16) -> PortForwardOperation {
        let mut alone = self.alone.clone();
        alone.ports = vec![port];
        alone
    }
}

impl UpgradeOperation for PortForwardTunnelOperation {
    type Protocol = PortForwardTunnel;

    fn into_upgrade_in(self, namespace: Option<&str>) -> Result<Upgrade<PortForwardTunnel>, Error> {
        let uri = self.alone.target.query(namespace)?.uri()?;
        Ok(Upgrade::new(uri, PortForwardTunnel::new()).options(self.alone.options))
    }
}

impl PortForwardOperation {
    /// Deadlines, pings, and what happens when a connection is not read.
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }
}

impl UpgradeOperation for PortForwardOperation {
    type Protocol = PortForward;

    fn into_upgrade_in(self, namespace: Option<&str>) -> Result<Upgrade<PortForward>, Error> {
        let mut query = self.target.query(namespace)?;
        for port in &self.ports {
            query.number("ports", Some(i64::from(*port)));
        }
        let protocol = PortForward::new(self.ports)?;
        let uri = query.uri()?;
        Ok(Upgrade::new(uri, protocol).options(self.options))
    }
}
