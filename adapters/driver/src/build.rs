//! From a configuration to a client.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, USER_AGENT};
use kubewire::config::{Auth, Config};
use kubewire::{Error, ErrorKind, Limits};

use crate::auth::Authorization;
use crate::client::Inner;
use crate::connect::Connector;
use crate::pool::Pool;
use crate::{Client, Drive, Timeouts};

/// Makes a [`Client`] with other than the default options.
#[derive(Debug)]
#[must_use = "call build"]
pub struct ClientBuilder<R> {
    config: Config,
    runtime: R,
    limits: Limits,
    timeouts: Timeouts,
    headers: Vec<(HeaderName, HeaderValue)>,
    http2: bool,
}

impl<R: Drive> ClientBuilder<R> {
    /// A client for this configuration on this runtime.
    pub fn new(config: Config, runtime: R) -> Self {
        Self {
            config,
            runtime,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            headers: Vec::new(),
            http2: cfg!(feature = "http2"),
        }
    }

    /// Bounds on what answers and sessions may hold in memory.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long to wait for what.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// A header of every request. Given more than once, a name has several values.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What the client calls itself; `kubewire/VERSION` otherwise. Servers take the part before the first `/`
    /// as the default field manager.
    pub fn user_agent(self, agent: HeaderValue) -> Self {
        self.header(USER_AGENT, agent)
    }

    /// Whether HTTP/2 may be used, if the server offers it. By default it is.
    pub fn http2(mut self, allow: bool) -> Self {
        self.http2 = allow && cfg!(feature = "http2");
        self
    }

    /// Makes the client. It reads the files that the configuration names and connects to nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a configuration that contradicts itself, or material that cannot be read or used.
    pub fn build(mut self) -> Result<Client<R>, Error> {
        let config = &self.config;
        config.check()?;
        if config.proxy_url.is_some() {
            return Err(unsupported("proxy-url"));
        }
        let authorization = match &config.auth {
            Auth::TokenFile { path, initial } => Authorization::file(path, initial.as_ref())?,
            Auth::Exec(_) => return Err(unsupported("exec credential plugins")),
            Auth::Provider(_) => return Err(unsupported("auth-provider")),
            auth @ (Auth::None | Auth::Token(_) | Auth::Basic { .. } | _) => {
                Authorization::Fixed(auth.header()?)
            }
        };
        if let Some(who) = &config.impersonate {
            self.headers.extend(who.headers()?);
        }
        let connector = Connector {
            #[cfg(feature = "rustls")]
            tls: self.tls()?,
            runtime: self.runtime,
            endpoint: self.config.endpoint,
            timeouts: self.timeouts,
        };
        Ok(Client {
            inner: Arc::new(Inner {
                pool: Arc::new(Pool::new(connector)),
                namespace: self.config.namespace,
                authorization,
                headers: self.headers,
                limits: self.limits,
                disable_compression: self.config.disable_compression,
            }),
        })
    }

    #[cfg(feature = "rustls")]
    fn tls(&self) -> Result<Option<crate::tls_config::TlsConfig>, Error> {
        let Config { endpoint, tls, .. } = &self.config;
        if !endpoint.is_https() {
            return Ok(None);
        }
        let read =
            |material: &kubewire::config::Material| material.load(|path| std::fs::read(path));
        let ca = tls.ca.as_ref().map(read).transpose()?;
        let client = match &tls.client {
            Some(client) => Some((read(&client.certificate)?, read(&client.key)?)),
            None => None,
        };
        let name = tls
            .server_name
            .as_deref()
            .unwrap_or_else(|| endpoint.host());
        let pem = crate::tls_config::Pem {
            ca: ca.as_ref().map(kubewire::config::Pem::as_bytes),
            client: client
                .as_ref()
                .map(|(certificate, key)| (certificate.as_bytes(), key.as_bytes())),
            insecure_skip_verify: tls.dangerous_insecure_skip_verify,
        };
        crate::tls_config::TlsConfig::new(&pem, name, self.http2).map(Some)
    }
}

fn unsupported(what: &'static str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("{what}: not supported by this version of kubewire"),
    )
}

impl<R: Drive + Default> Client<R> {
    /// A client for this configuration, on the runtime that will poll it.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn new(config: Config) -> Result<Self, Error> {
        ClientBuilder::new(config, R::default()).build()
    }

    /// A client for the cluster that `kubectl` would talk to, or the one that this program runs in.
    ///
    /// Looks at the files that `KUBECONFIG` lists, at `~/.kube/config`, and for a service account, in this order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], naming what was tried.
    #[cfg(feature = "kubeconfig")]
    pub fn try_default() -> Result<Self, Error> {
        Self::new(crate::load::infer()?)
    }
}

impl<R: Drive> Client<R> {
    /// A client with other than the default options.
    pub fn builder(config: Config, runtime: R) -> ClientBuilder<R> {
        ClientBuilder::new(config, runtime)
    }
}
