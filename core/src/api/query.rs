//! Query strings, and the request that they end up in.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};

use super::common::Common;
use super::path::encode;
use crate::Error;

/// Appends parameters to a path.
pub(crate) struct Query {
    url: String,
    started: bool,
    common: Common,
}

impl Query {
    pub(super) fn new(path: String, common: Common) -> Self {
        Self {
            // A raw path may bring a query of its own.
            started: path.contains('?'),
            url: path,
            common,
        }
    }

    pub(crate) fn pair(&mut self, key: &str, value: &str) {
        self.key(key);
        encode(&mut self.url, value.as_bytes(), |_| false);
    }

    /// A parameter whose name is not a constant.
    pub(crate) fn foreign(&mut self, key: &str, value: &str) {
        self.separate();
        encode(&mut self.url, key.as_bytes(), |_| false);
        self.url.push('=');
        encode(&mut self.url, value.as_bytes(), |_| false);
    }

    pub(crate) fn some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.key(key);
            let _ = write!(self.url, "{value}");
        }
    }

    /// Absent is false: only `true` is worth sending.
    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.pair(key, "true");
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.url.push_str(key);
        self.url.push('=');
    }

    fn separate(&mut self) {
        let first = !std::mem::replace(&mut self.started, true);
        self.url.push(if first { '?' } else { '&' });
    }

    /// The URL of a request that something else puts together.
    #[cfg(feature = "ws")]
    pub(crate) fn uri(mut self) -> Result<Uri, Error> {
        std::mem::take(&mut self.common).append(&mut self);
        Uri::try_from(self.url).map_err(too_long)
    }

    /// Puts the request together.
    pub(crate) fn request(
        mut self,
        method: Method,
        accept: Option<HeaderValue>,
        body: Option<(HeaderValue, Bytes)>,
    ) -> Result<Request<Bytes>, Error> {
        let mut common = std::mem::take(&mut self.common);
        common.append(&mut self);
        let own = common.take_headers();
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(self.url).map_err(too_long)?;
        let headers = request.headers_mut();
        // Room for what clients add, so that the map is allocated once.
        headers.reserve(8);
        if let Some(accept) = accept {
            headers.insert(ACCEPT, accept);
        }
        if common.accepts_gzip() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some((content_type, bytes)) = body {
            headers.insert(CONTENT_TYPE, content_type);
            *request.body_mut() = bytes;
        }
        if let Some(own) = own {
            request.headers_mut().extend(own);
        }
        Ok(request)
    }
}

fn too_long(error: http::uri::InvalidUri) -> Error {
    Error::usage("the request's URL is too long, or no URL").with_source(error)
}
