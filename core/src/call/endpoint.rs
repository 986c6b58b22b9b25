//! Where the API server is.

use std::fmt;

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};

use crate::{Error, ErrorKind};

/// The base URL of an API server: scheme, host, port and path prefix.
///
/// Calls are in origin form (`/api/v1/…`); an endpoint turns them into what a transport sends.
///
/// ```
/// use kubewire::Endpoint;
/// let rancher = Endpoint::parse("https://host.example/k8s/clusters/c-1/")?;
/// let mut request = http::Request::get("/api/v1/pods?limit=5").body(()).unwrap();
/// rancher.origin_form(&mut request)?;
/// assert_eq!(request.uri(), "/k8s/clusters/c-1/api/v1/pods?limit=5");
/// assert_eq!(request.headers()["host"], "host.example");
/// assert_eq!((rancher.host(), rancher.port()), ("host.example", 443));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    host_header: HeaderValue,
    prefix: String,
}

impl Endpoint {
    /// Parses a server URL as in a kubeconfig. Without a scheme it is taken as `http`, trailing
    /// slashes are dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for anything that is no `http` or `https` URL, or that holds
    /// credentials, a query or a fragment.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
        let with_scheme;
        let text = if url.contains("://") {
            url
        } else {
            with_scheme = format!("http://{url}");
            &with_scheme
        };
        if text.contains('#') {
            return Err(wrong("the server URL has a fragment"));
        }
        let uri: Uri = text
            .parse()
            .map_err(|_| wrong("the server URL does not parse"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(wrong("the server URL has no host"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong("the server URL is neither http nor https"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong(
                "the server URL holds credentials; put them in the user entry",
            ));
        }
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(wrong("the server URL has a query"));
        }
        let host_header = HeaderValue::from_str(authority.as_str())
            .map_err(|_| wrong("the server URL's host does not parse"))?;
        if authority.host().is_empty() {
            return Err(wrong("the server URL has no host"));
        }
        if !has_sound_port(&authority) {
            return Err(wrong("the server URL's port is no port number"));
        }
        let prefix = path.path().trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            host_header,
            prefix,
        })
    }

    /// Whether the connection is to be TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host to connect to; an IPv6 address is without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority
            .port_u16()
            .unwrap_or_else(|| if self.is_https() { 443 } else { 80 })
    }

    /// Makes a request ready for HTTP/1.1: path with prefix, and a `Host` header.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the path gets too long for a URI (64 KiB).
    pub fn origin_form<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        if !self.prefix.is_empty() {
            let path = self.path(request.uri())?;
            *request.uri_mut() = Uri::from(path);
        }
        request.headers_mut().insert(HOST, self.host_header.clone());
        Ok(())
    }

    /// Makes a request ready for HTTP/2: an absolute URI, from which the pseudo-headers are made.
    ///
    /// # Errors
    ///
    /// As [`origin_form`](Self::origin_form).
    pub fn absolute_form<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path(request.uri())?);
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| too_long())?;
        Ok(())
    }

    /// Whether a request's path, with this endpoint's prefix, still fits into a URI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if it is too long.
    pub fn check(&self, uri: &Uri) -> Result<(), Error> {
        if self.prefix.is_empty() {
            Ok(())
        } else {
            self.path(uri).map(drop)
        }
    }

    fn path(&self, uri: &Uri) -> Result<PathAndQuery, Error> {
        let own = uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        if self.prefix.is_empty() {
            return Ok(own);
        }
        let mut text = String::with_capacity(self.prefix.len() + own.as_str().len());
        text.push_str(&self.prefix);
        text.push_str(own.as_str());
        PathAndQuery::try_from(text).map_err(|_| too_long())
    }
}

/// Whether the port is a number, or is left out. [`Authority::port`] tells no port from one that is none.
pub(crate) fn has_sound_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match host.strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        }),
        None => false,
    }
}

fn too_long() -> Error {
    Error::usage("the path is too long for a URI")
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_parse_as_in_a_kubeconfig() {
        for (text, shown, host, port) in [
            (
                "https://10.0.0.1:6443",
                "https://10.0.0.1:6443",
                "10.0.0.1",
                6443,
            ),
            ("https://[fd00::1]", "https://[fd00::1]", "fd00::1", 443),
            (
                "localhost:8080/",
                "http://localhost:8080",
                "localhost",
                8080,
            ),
            ("https://h/a/b//", "https://h/a/b", "h", 443),
            ("https://h:", "https://h:", "h", 443),
            ("https://[::1]:1", "https://[::1]:1", "::1", 1),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (
                    endpoint.to_string().as_str(),
                    endpoint.host(),
                    endpoint.port()
                ),
                (shown, host, port)
            );
        }
        for bad in [
            "",
            "https://",
            "ftp://h",
            "https://u:p@h",
            "https://h/?a",
            "https://h/#a",
            "/x",
            "https://a b",
            "https://h:99999",
            "https://h:abc",
            "https://h:+80",
            "h:-1",
            "https://[::1]:x",
            "https://[::1]1",
        ] {
            assert_eq!(
                Endpoint::parse(bad).unwrap_err().kind(),
                ErrorKind::Config,
                "{bad}"
            );
        }
    }
}
