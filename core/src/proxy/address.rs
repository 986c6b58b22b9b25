//! A proxy's address and what it knows us by.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config::ProxyUrl;
use crate::{Error, ErrorKind};

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyScheme {
    /// `CONNECT` of HTTP/1.1, in clear text up to the proxy.
    Http,
    /// The same inside of TLS with the proxy.
    Https,
    /// SOCKS version 5. Names are resolved by the proxy, as in Go and unlike in curl.
    Socks5,
    /// The same.
    Socks5h,
}

impl ProxyScheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// A user name and password for a proxy. `Debug` hides both, and they are overwritten on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    username: Zeroizing<Vec<u8>>,
    password: Zeroizing<Vec<u8>>,
}

impl ProxyCredentials {
    /// Bytes as the proxy expects them; nothing is decoded.
    pub fn new(username: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        Self {
            username: Zeroizing::new(username.into()),
            password: Zeroizing::new(password.into()),
        }
    }

    pub(super) fn username(&self) -> &[u8] {
        &self.username
    }

    pub(super) fn password(&self) -> &[u8] {
        &self.password
    }

    /// The value of `Proxy-Authorization`, marked as sensitive.
    ///
    /// ```
    /// use kubewire::proxy::ProxyCredentials;
    /// assert_eq!(ProxyCredentials::new("a", "b").basic()?, "Basic YTpi");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the user name holds a colon.
    pub fn basic(&self) -> Result<HeaderValue, Error> {
        if self.username.contains(&b':') {
            return Err(wrong("the user name for the proxy holds a colon"));
        }
        let pair = Zeroizing::new([self.username(), b":", self.password()].concat());
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| wrong("the credentials for the proxy do not fit into a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredentials(..)")
    }
}

/// A proxy. `Display` and `Debug` leave out its credentials.
///
/// ```
/// use kubewire::proxy::{Proxy, ProxyScheme};
///
/// let proxy = Proxy::parse("socks5://me:p%40ss@[fd00::1]")?;
/// assert_eq!((proxy.scheme(), proxy.host(), proxy.port()), (ProxyScheme::Socks5, "fd00::1", 1080));
/// assert_eq!(proxy.to_string(), "socks5://[fd00::1]:1080");
/// assert_eq!(proxy.credentials().unwrap().basic()?, "Basic bWU6cEBzcw==");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: ProxyScheme,
    host: String,
    port: u16,
    credentials: Option<ProxyCredentials>,
}

impl Proxy {
    /// Parses a URL with one of the schemes of [`ProxyScheme`]. User name and password are
    /// percent-decoded; path, query and fragment are dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] without any part of the URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("the proxy URL has no scheme"))?;
        let scheme = ProxyScheme::parse(scheme).ok_or_else(|| {
            wrong("the scheme of the proxy URL is not http, https, socks5 or socks5h")
        })?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let credentials = userinfo
            .filter(|userinfo| !userinfo.is_empty())
            .map(|userinfo| {
                let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
                let decode = |text| {
                    percent_decode(text)
                        .ok_or_else(|| wrong("the credentials in the proxy URL do not parse"))
                };
                Ok(ProxyCredentials {
                    username: decode(username)?,
                    password: decode(password)?,
                })
            })
            .transpose()?;
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| scheme.port()),
            credentials,
        })
    }

    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The host to connect to; an IPv6 address is without brackets. It is also the name for TLS with
    /// an [`https`](ProxyScheme::Https) proxy.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to log in with.
    #[must_use]
    pub fn credentials(&self) -> Option<&ProxyCredentials> {
        self.credentials.as_ref()
    }
}

impl TryFrom<&ProxyUrl> for Proxy {
    type Error = Error;

    fn try_from(url: &ProxyUrl) -> Result<Self, Error> {
        Self::parse(url.expose())
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self
            .credentials
            .as_ref()
            .map_or("", |_| ", with credentials");
        write!(f, "Proxy({self}{credentials})")
    }
}

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::Config, what)
}

/// `host:port`, with brackets for IPv6.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), Error> {
    let bad = || wrong("the host of the proxy URL does not parse");
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            let plain = host.split('%').next().unwrap_or_default();
            if plain.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad());
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => port,
                None if rest.is_empty() => "",
                None => return Err(bad()),
            };
            (host, port)
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    if !is_host(host) {
        return Err(bad());
    }
    if port.is_empty() {
        return Ok((host, None));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    port.parse()
        .map(|port| (host, Some(port)))
        .map_err(|_| bad())
}

/// A name or an address without brackets that can stand in a request line.
pub(super) fn is_host(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]\\<>\"".contains(&byte);
    !host.is_empty() && host.bytes().all(fits)
}

fn percent_decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = text.bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || {
                let digit = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(digit).ok()
            };
            let (high, low) = (digit()?, digit()?);
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, shown) in [
            ("http://h", "http://h:80"),
            ("HTTPS://h", "https://h:443"),
            ("https://h:/x?y#z", "https://h:443"),
            ("http://h:3128/", "http://h:3128"),
            ("socks5h://10.0.0.1", "socks5h://10.0.0.1:1080"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("http://u:p@w@h:1", "http://h:1"),
            ("http://@h", "http://h:80"),
        ] {
            assert_eq!(Proxy::parse(url).unwrap().to_string(), shown, "{url}");
        }
        for url in [
            "",
            "h",
            "h:1",
            "ftp://h",
            "http://",
            "http://:1",
            "http://u@",
            "http://h:x",
            "http://h:+1",
            "http://h:65536",
            "http://[::1",
            "http://[::1]1",
            "http://[h]",
            "http://h h",
            "http://a:b:c",
            "http://u%4@h",
            "http://u:%zz@h",
            "http://u%@h",
        ] {
            let error = Proxy::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_hidden() {
        let credentials = |url| Proxy::parse(url).unwrap().credentials;
        let of = |username: &str, password: &str| Some(ProxyCredentials::new(username, password));
        assert_eq!(credentials("http://u:p@h"), of("u", "p"));
        assert_eq!(credentials("http://u@h"), of("u", ""));
        assert_eq!(credentials("http://:p@h"), of("", "p"));
        assert_eq!(credentials("http://u:a:b@h"), of("u", "a:b"));
        assert_eq!(credentials("http://%75+:%3A%2f%40%25@h"), of("u+", ":/@%"));
        assert_eq!(credentials("http://h"), None);
        let bytes = ProxyCredentials::new("u", vec![0xFF]);
        assert_eq!(credentials("http://u:%ff@h"), Some(bytes.clone()));
        assert!(bytes.basic().unwrap().is_sensitive());

        let proxy = Proxy::parse("http://user:hunter2@h").unwrap();
        let text = format!("{proxy} {proxy:?} {:?}", proxy.credentials);
        assert!(
            !text.contains("hunter2") && !text.contains("user"),
            "{text}"
        );
        let colon = Proxy::parse("http://a%3Ab:c@h").unwrap();
        assert!(colon.credentials().unwrap().basic().is_err());
    }
}
