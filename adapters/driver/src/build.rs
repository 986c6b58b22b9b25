//! From a configuration to a client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{
    AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use kubewire::auth::Credentials;
use kubewire::config::Config;
use kubewire::policy::{CallTimeouts, Retry, Seed};
use kubewire::proxy::ProxySettings;
use kubewire::{Error, ErrorKind, Limits};

use crate::client::Inner;
use crate::connect::Connector;
use crate::observe::Telemetry;
use crate::pool::Pool;
use crate::signer::Signer;
use crate::{Client, Drive, Observer, Timeouts};

/// Makes a [`Client`] with other than the default options.
#[derive(Debug)]
#[must_use = "call build"]
pub struct ClientBuilder<R> {
    config: Config,
    runtime: R,
    limits: Limits,
    timeouts: Timeouts,
    retry: Retry,
    proxies: Option<ProxySettings>,
    exec_timeout: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
    http2: bool,
    telemetry: Telemetry,
}

impl<R: Drive> ClientBuilder<R> {
    /// A client for this configuration on this runtime.
    pub fn new(config: Config, runtime: R) -> Self {
        Self {
            config,
            runtime,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            proxies: None,
            exec_timeout: Some(Duration::from_mins(5)),
            headers: Vec::new(),
            http2: cfg!(feature = "http2"),
            telemetry: Telemetry::default(),
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

    /// When to send a request again by itself. [`Retry::never`] leaves that to the caller.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Which proxy to use, whatever the configuration and the environment say.
    pub fn proxies(mut self, proxies: ProxySettings) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// How long an exec plugin may run. Default 5 min, in which a user can log in with a browser.
    pub fn exec_timeout(mut self, time: Option<Duration>) -> Self {
        self.exec_timeout = time;
        self
    }

    /// A header of every request. Given more than once, a name has several values.
    ///
    /// `Debug` shows values that are not [sensitive](HeaderValue::set_sensitive). Those of `Authorization`,
    /// `Proxy-Authorization` and `Cookie` are.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
            value.set_sensitive(true);
        }
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

    /// Who is told about requests and connections. By default nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.telemetry.observer = Some(Arc::new(observer));
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
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| {
            Error::new(ErrorKind::Transport, "no random bytes from the system").with_source(error)
        })?;
        let mut seed = Seed::new(u64::from_ne_bytes(seed));
        let credentials = Credentials::new(config, seed.fork())?
            .terminal(std::io::IsTerminal::is_terminal(&std::io::stdin()))
            .exec_timeout(self.exec_timeout);
        let proxies = match self.proxies.take() {
            Some(proxies) => proxies,
            None => ProxySettings::new(config, |name| std::env::var_os(name))?,
        };
        let connector = Connector {
            #[cfg(feature = "rustls")]
            tls: crate::tls_config::TlsSource::new(config, self.http2, self.runtime.now())?,
            runtime: self.runtime,
            endpoint: self.config.endpoint,
            proxies,
            timeouts: self.timeouts,
            telemetry: self.telemetry,
        };
        Ok(Client {
            times: CallTimeouts::default(),
            inner: Arc::new(Inner {
                pool: Arc::new(Pool::new(connector)),
                namespace: self.config.namespace,
                signer: Signer::new(credentials),
                headers: self.headers,
                limits: self.limits,
                disable_compression: self.config.disable_compression,
                retry: self.retry,
                seed: Mutex::new(seed),
            }),
        })
    }
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
