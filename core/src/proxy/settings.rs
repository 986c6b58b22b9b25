//! Which proxy is between us and a server.

use std::ffi::OsString;

use super::Proxy;
use super::no_proxy::{NoProxy, address};
use crate::config::Config;
use crate::{Endpoint, Error, ErrorKind};

/// Which proxy to use for which server: none, always the same, or what the environment says.
///
/// # The environment
///
/// As Go's `httpproxy`, and so kubectl, has it:
///
/// - For an https server `HTTPS_PROXY`, for an http server `HTTP_PROXY`. In lower case they count if those are
///   not set or empty. `ALL_PROXY` does not count.
/// - A value without a scheme is an http proxy: `proxy.example:3128`.
/// - [`NO_PROXY`](NoProxy) or `no_proxy` lists servers that are reached directly. It is the **server's** host that is
///   looked up in it.
/// - `localhost` and loopback addresses are always reached directly.
/// - If there is a `REQUEST_METHOD`, this is a CGI program, and whoever sends it a request header `Proxy`
///   has set `HTTP_PROXY`: to use that is refused.
///
/// Where Go ignores a value that does not parse, and goes on without a proxy, this is an error.
///
/// ```
/// use kubewire::Endpoint;
/// use kubewire::proxy::ProxySettings;
///
/// let settings = ProxySettings::from_env(|name| match name {
///     "https_proxy" => Some("proxy.example:3128".into()),
///     "NO_PROXY" => Some("svc.cluster.local".into()),
///     _ => None,
/// });
/// let proxy = |url: &str| {
///     let proxy = settings.proxy_for(&Endpoint::parse(url).unwrap()).unwrap();
///     proxy.map(|proxy| proxy.to_string())
/// };
/// assert_eq!(proxy("https://api.example").as_deref(), Some("http://proxy.example:3128"));
/// assert_eq!(proxy("https://kubernetes.default.svc.cluster.local"), None);
/// assert_eq!(proxy("http://api.example"), None);
/// assert_eq!(proxy("https://127.0.0.1:6443"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    rule: Rule,
}

#[derive(Clone, Debug, Default)]
enum Rule {
    #[default]
    Never,
    Always(Proxy),
    Environment(Box<Environment>),
}

#[derive(Clone, Debug)]
struct Environment {
    http: Option<Result<Proxy, Error>>,
    https: Option<Result<Proxy, Error>>,
    no_proxy: NoProxy,
    cgi: bool,
}

impl ProxySettings {
    /// No proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This proxy for every server, whatever the environment says.
    #[must_use]
    pub fn always(proxy: Proxy) -> Self {
        Self {
            rule: Rule::Always(proxy),
        }
    }

    /// What the environment says. Values that do not parse are reported by
    /// [`proxy_for`](Self::proxy_for), if they would be used.
    #[must_use]
    pub fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |names: [&'static str; 2]| {
            let set = |name: &'static str| Some((name, env(name).filter(|text| !text.is_empty())?));
            names.into_iter().find_map(set)
        };
        let proxy = |names| {
            variable(names).map(|(name, value)| {
                let text = value
                    .into_string()
                    .map_err(|_| Error::new(ErrorKind::Config, format!("{name} is not text")))?;
                let with_scheme;
                let url = if text.contains("://") {
                    &text
                } else {
                    with_scheme = zeroize::Zeroizing::new(format!("http://{text}"));
                    &with_scheme
                };
                Proxy::parse(url)
                    .map_err(|error| Error::new(ErrorKind::Config, format!("{name}: {error}")))
            })
        };
        let no_proxy = variable(["NO_PROXY", "no_proxy"])
            .map(|(_, list)| NoProxy::parse(&list.to_string_lossy()))
            .unwrap_or_default();
        Self {
            rule: Rule::Environment(Box::new(Environment {
                http: proxy(["HTTP_PROXY", "http_proxy"]),
                https: proxy(["HTTPS_PROXY", "https_proxy"]),
                no_proxy,
                cgi: variable(["REQUEST_METHOD", "REQUEST_METHOD"]).is_some(),
            })),
        }
    }

    /// What a configuration says: its `proxy-url` for every server, or else the environment.
    ///
    /// ```
    /// use kubewire::Endpoint;
    /// use kubewire::config::{Config, ProxyUrl};
    /// use kubewire::proxy::ProxySettings;
    ///
    /// let config = Config::new(Endpoint::parse("https://127.0.0.1:6443")?)
    ///     .proxy_url(ProxyUrl::parse("socks5://127.0.0.1:1080")?);
    /// let settings = ProxySettings::new(&config, |_| None)?;
    /// assert!(settings.proxy_for(&config.endpoint)?.is_some());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the `proxy-url` does not parse.
    pub fn new(config: &Config, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        match &config.proxy_url {
            Some(url) => Ok(Self::always(Proxy::try_from(url).map_err(|error| {
                Error::new(ErrorKind::Config, format!("proxy-url: {error}"))
            })?)),
            None => Ok(Self::from_env(env)),
        }
    }

    /// The proxy for a server; none to reach it directly.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with the variable's name, if its value does not parse or is not to be
    /// trusted.
    pub fn proxy_for(&self, server: &Endpoint) -> Result<Option<Proxy>, Error> {
        match &self.rule {
            Rule::Never => Ok(None),
            Rule::Always(proxy) => Ok(Some(proxy.clone())),
            Rule::Environment(environment) => environment.proxy_for(server),
        }
    }
}

impl Environment {
    fn proxy_for(&self, server: &Endpoint) -> Result<Option<Proxy>, Error> {
        let proxy = if server.is_https() {
            &self.https
        } else {
            &self.http
        };
        let Some(proxy) = proxy else {
            return Ok(None);
        };
        let host = server.host();
        let is_local = host.eq_ignore_ascii_case("localhost")
            || address(host).is_some_and(|address| address.is_loopback());
        if is_local || self.no_proxy.matches(host, server.port()) {
            return Ok(None);
        }
        if self.cgi && !server.is_https() {
            return Err(Error::new(
                ErrorKind::Config,
                "HTTP_PROXY is not used because REQUEST_METHOD is set: \
                 in a CGI program it comes from whoever sent the request",
            ));
        }
        proxy.clone().map(Some)
    }
}
