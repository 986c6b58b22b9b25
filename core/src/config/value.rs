//! How to reach an API server and who to be there.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::exec::ExecPlugin;
use super::impersonate::Impersonation;
use super::kubeconfig::{AuthProvider, without_userinfo};
use super::secret::{Pem, Secret};
use crate::call::has_sound_port;
use crate::{Endpoint, Error, ErrorKind};

/// Everything a client has to know about a cluster: a plain value.
///
/// It comes from [`Kubeconfig::resolve`](super::Kubeconfig::resolve), from [`in_cluster`](super::in_cluster),
/// from a [`Loader`](super::Loader) that tries both, or is made by hand. Files that it names are
/// to be read by the adapter: the certificates when it connects, a token file again and again.
///
/// # Credentials and plain http
///
/// Credentials go to https servers, and to http servers on a loopback address. Any other http
/// server gets them only from a configuration made by hand, or with
/// [`credentials_over_http`](Self::credentials_over_http) set; a kubeconfig that would send them in
/// clear text is refused. (kubectl drops them silently.) [`sends_credentials`](Self::sends_credentials)
/// is the rule, [`check`](Self::check) the error.
///
/// ```
/// use kubewire::Endpoint;
/// use kubewire::config::Config;
///
/// let config = Config::new(Endpoint::parse("https://10.0.0.1:6443")?)
///     .namespace("team-a")
///     .token("hunter2")
///     .ca_file("/etc/kubernetes/ca.crt");
/// config.check()?;
/// assert!(config.sends_credentials());
/// assert!(!format!("{config:?}").contains("hunter2"));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Where the API server is.
    pub endpoint: Endpoint,
    /// The namespace for calls that name none.
    pub namespace: String,
    /// How to verify the server and which certificate to show.
    pub tls: Tls,
    /// Who to be.
    pub auth: Auth,
    /// The proxy to go through. None leaves it to the environment's `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy_url: Option<ProxyUrl>,
    /// Who to act as.
    pub impersonate: Option<Impersonation>,
    /// Whether answers are to come uncompressed.
    pub disable_compression: bool,
    /// Whether credentials may go to an http server that is not on a loopback address.
    pub credentials_over_http: bool,
}

impl Config {
    /// An API server without credentials, in the namespace `default`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            namespace: "default".to_owned(),
            tls: Tls::default(),
            auth: Auth::None,
            proxy_url: None,
            impersonate: None,
            disable_compression: false,
            credentials_over_http: true,
        }
    }

    /// Sets the namespace for calls that name none.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets a bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.auth = Auth::Token(token.into());
        self
    }

    /// Sets a file with a bearer token, which is read again when it may have changed.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.auth = Auth::TokenFile {
            path: path.into(),
            initial: None,
        };
        self
    }

    /// Sets a user name and password. API servers do not take them, proxies in front may.
    #[must_use]
    pub fn basic(mut self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.auth = Auth::Basic {
            username: username.into(),
            password: password.into(),
        };
        self
    }

    /// Sets a program that prints credentials.
    #[must_use]
    pub fn exec(mut self, plugin: ExecPlugin) -> Self {
        self.auth = Auth::Exec(Box::new(plugin));
        self
    }

    /// Sets the certificates of the authorities that the server's is verified against.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.ca = Some(Material::Data(Pem::new(pem)));
        self
    }

    /// As [`ca_pem`](Self::ca_pem), from a file.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(Material::File(path.into()));
        self
    }

    /// Sets the client certificate (with its chain) and its key.
    #[must_use]
    pub fn client_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some(ClientCertificate {
            certificate: Material::Data(Pem::new(certificate)),
            key: Material::Data(Pem::new(key)),
        });
        self
    }

    /// As [`client_pem`](Self::client_pem), from files.
    #[must_use]
    pub fn client_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.client = Some(ClientCertificate {
            certificate: Material::File(certificate.into()),
            key: Material::File(key.into()),
        });
        self
    }

    /// Sets the name to ask the server for and to verify, if it is not the endpoint's host.
    #[must_use]
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    /// Accepts any server certificate. Whoever sits in between can read everything and act as you.
    #[must_use]
    pub fn dangerous_insecure_skip_tls_verify(mut self, skip: bool) -> Self {
        self.tls.dangerous_insecure_skip_verify = skip;
        self
    }

    /// Sets the proxy to go through.
    #[must_use]
    pub fn proxy_url(mut self, proxy: ProxyUrl) -> Self {
        self.proxy_url = Some(proxy);
        self
    }

    /// Acts as someone else.
    #[must_use]
    pub fn impersonate(mut self, who: Impersonation) -> Self {
        self.impersonate = Some(who);
        self
    }

    /// Asks for answers that are not compressed.
    #[must_use]
    pub fn disable_compression(mut self, disable: bool) -> Self {
        self.disable_compression = disable;
        self
    }

    /// Allows credentials on an http server that is not on a loopback address, or forbids them.
    #[must_use]
    pub fn credentials_over_http(mut self, allow: bool) -> Self {
        self.credentials_over_http = allow;
        self
    }

    /// Whether credentials and impersonation may be sent to the endpoint.
    ///
    /// ```
    /// use kubewire::Endpoint;
    /// use kubewire::config::Config;
    /// let sends = |url| {
    ///     let config = Config::new(Endpoint::parse(url).unwrap());
    ///     config.credentials_over_http(false).sends_credentials()
    /// };
    /// assert!(sends("https://example.org") && sends("http://127.0.0.1:8001") && sends("http://[::1]"));
    /// assert!(!sends("http://example.org") && !sends("http://127.0.0.1.example.org"));
    /// ```
    #[must_use]
    pub fn sends_credentials(&self) -> bool {
        self.endpoint.is_https() || self.credentials_over_http || is_loopback(self.endpoint.host())
    }

    /// Whether the parts fit together. A client has to ask before it uses a configuration, for the
    /// fields can be changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for credentials that [may not be sent](Self::sends_credentials), an
    /// authority together with `insecure-skip-tls-verify`, a token or impersonation that no header
    /// can carry, and an exec plugin without a command or of an unknown version.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::Config, what));
        if self.tls.dangerous_insecure_skip_verify && self.tls.ca.is_some() {
            return wrong(
                "insecure-skip-tls-verify cannot be set together with a certificate authority",
            );
        }
        if let Some(who) = &self.impersonate {
            who.headers()?;
        }
        match &self.auth {
            Auth::None => return Ok(()),
            Auth::Token(token)
            | Auth::TokenFile {
                initial: Some(token),
                ..
            } => {
                if token.is_empty() {
                    return wrong("the token is empty");
                }
                if !token.fits_a_header() {
                    return wrong("the token holds characters that no header can carry");
                }
            }
            Auth::Basic { username, .. } => {
                if username.contains(':') {
                    return wrong("a user name for basic authentication cannot hold a colon");
                }
            }
            Auth::Exec(plugin) => plugin.check()?,
            Auth::TokenFile { initial: None, .. } | Auth::Provider(_) => {}
        }
        if !self.sends_credentials() {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the server {} is not https, so the {} would be sent in clear text",
                    self.endpoint,
                    self.auth.what()
                ),
            ));
        }
        Ok(())
    }
}

/// `localhost` and its subdomains, `127.0.0.0/8` and `::1`.
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// How to verify the server, and which certificate to show to it.
///
/// ```
/// use kubewire::Endpoint;
/// use kubewire::config::Config;
///
/// let config = Config::new(Endpoint::parse("https://10.0.0.1")?)
///     .client_files("/pki/dev.crt", "/pki/dev.key")
///     .tls_server_name("api.example");
/// let files: Vec<_> = config.tls.materials().filter_map(|material| material.path()).collect();
/// assert_eq!(files.len(), 2);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Tls {
    /// The authorities that the server's certificate is verified against; none for the system's.
    pub ca: Option<Material>,
    /// The certificate to show.
    pub client: Option<ClientCertificate>,
    /// The name to ask the server for and to verify, if it is not the endpoint's host. The `Host`
    /// header stays what it is.
    pub server_name: Option<String>,
    /// Whether any server certificate is accepted. Whoever sits in between can read everything
    /// and act as you.
    pub dangerous_insecure_skip_verify: bool,
}

impl Tls {
    /// Everything that has to be at hand before a connection can be made, to read ahead what is a
    /// file, or to see whether one has changed.
    pub fn materials(&self) -> impl Iterator<Item = &Material> {
        let client = self.client.iter();
        self.ca
            .iter()
            .chain(client.flat_map(|client| [&client.certificate, &client.key]))
    }
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// The certificate and its chain.
    pub certificate: Material,
    /// The private key.
    pub key: Material,
}

/// PEM, or the file that holds it.
///
/// ```
/// use kubewire::config::{Material, Pem};
///
/// let mut read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
/// let inline = Material::Data(Pem::new("-----BEGIN CERTIFICATE-----"));
/// assert!(inline.load(&mut read).is_ok());
/// let error = Material::File("/a/ca.crt".into()).load(&mut read).unwrap_err();
/// assert_eq!(error.to_string(), "cannot read /a/ca.crt");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Material {
    /// A file, for the adapter to read.
    File(PathBuf),
    /// The content itself.
    Data(Pem),
}

impl Material {
    /// The content, by a function that reads files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with the path, if it cannot be read.
    pub fn load(&self, mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Pem, Error> {
        match self {
            Self::Data(pem) => Ok(pem.clone()),
            Self::File(path) => read(path).map(Pem::new).map_err(|error| {
                Error::new(ErrorKind::Config, format!("cannot read {}", path.display()))
                    .with_source(error)
            }),
        }
    }

    /// The file that has to be read for it.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Data(_) => None,
        }
    }
}

/// Who to be. A client certificate of [`Tls`] counts besides.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Auth {
    /// Nobody, or whom the client certificate names.
    #[default]
    None,
    /// A bearer token.
    Token(Secret),
    /// A file with a bearer token, to be read again about every minute, and after a 401. If it
    /// cannot be read, the last good token stays.
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The token until the file has been read for the first time.
        initial: Option<Secret>,
    },
    /// A user name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A program that prints a token, a client certificate, or both.
    Exec(Box<ExecPlugin>),
    /// The legacy `auth-provider`; [`Kubeconfig::resolve`](super::Kubeconfig::resolve) lets `oidc` through only.
    Provider(AuthProvider),
}

impl Auth {
    /// The `Authorization` header, as far as it is known without reading a file or asking anyone.
    ///
    /// ```
    /// use kubewire::config::Auth;
    /// let header = Auth::Token("abc".into()).header()?;
    /// assert_eq!(header.unwrap(), "Bearer abc");
    /// assert!(Auth::None.header()?.is_none());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if no header can carry it.
    pub fn header(&self) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::Token(token)
            | Self::TokenFile {
                initial: Some(token),
                ..
            } => token.bearer().map(Some),
            Self::Basic { username, password } => password.basic(username).map(Some),
            Self::None
            | Self::TokenFile { initial: None, .. }
            | Self::Exec(_)
            | Self::Provider(_) => Ok(None),
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Token(_) | Self::TokenFile { .. } => "bearer token",
            Self::Basic { .. } => "password",
            Self::Exec(_) => "credentials of the exec plugin",
            Self::Provider(_) => "token of the auth-provider",
        }
    }
}

/// The URL of a proxy. It may hold a password, so `Debug` and `Display` leave the credentials out.
///
/// ```
/// use kubewire::config::ProxyUrl;
/// let proxy = ProxyUrl::parse("http://me:hunter2@proxy.example:3128")?;
/// assert_eq!(proxy.to_string(), "http://..@proxy.example:3128");
/// assert_eq!(proxy.expose(), "http://me:hunter2@proxy.example:3128");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Secret);

impl ProxyUrl {
    /// Takes an `http`, `https`, `socks5` or `socks5h` URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for another scheme, or if there is no host.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::Config, what));
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong("the proxy URL has no scheme; http, https, socks5 and socks5h are known");
        };
        if !["http", "https", "socks5", "socks5h"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return wrong("the scheme of the proxy URL is not http, https, socks5 or socks5h");
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let parses = host
            .parse::<http::uri::Authority>()
            .is_ok_and(|host| !host.host().is_empty() && has_sound_port(&host));
        if !parses || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("the host of the proxy URL does not parse");
        }
        Ok(Self(Secret::new(url)))
    }

    /// The URL with its credentials.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_userinfo(self.expose()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}
