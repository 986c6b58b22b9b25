//! The files: what was on the wire, as bytes.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

/// One recorded exchange. The schema is in `transcripts/README.md`.
#[derive(Clone, Debug, Deserialize)]
pub struct Transcript {
    /// The file's name without its ending.
    pub name: String,
    /// `exec`, `attach`, `portforward` or `watch`, for WebSocket exchanges.
    #[serde(default)]
    pub kind: Option<String>,
    /// The request of an HTTP exchange.
    #[serde(default)]
    pub request: Option<Request>,
    /// The answer of an HTTP exchange.
    #[serde(default)]
    pub response: Option<Response>,
    /// The HTTP part of a WebSocket exchange.
    #[serde(default)]
    pub handshake: Option<Handshake>,
    /// What followed the handshake.
    #[serde(default)]
    pub frames: Vec<super::sessions::script::RecordedFrame>,
    /// How a WebSocket exchange ended.
    #[serde(default)]
    pub end: Option<String>,
    /// `client-cert`, `token`, `viewer` or `none`.
    #[serde(default)]
    pub auth: String,
    /// What the exchange went over, if not TLS.
    #[serde(default)]
    pub transport: Option<String>,
}

/// The HTTP part of a WebSocket exchange.
#[derive(Clone, Debug, Deserialize)]
pub struct Handshake {
    /// The upgrade request.
    pub request: Request,
    /// Its answer: 101, or a refusal.
    pub response: Response,
}

/// A recorded request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Headers in order; values decoded as ISO 8859-1.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    body_omitted: Option<Value>,
}

/// The body of a recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// As it was sent; empty if there was none.
    Bytes(Vec<u8>),
    /// Too large to be recorded.
    Omitted,
}

/// A recorded answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Response {
    /// The status code; none if the server hung up without an answer.
    #[serde(default)]
    pub status: Option<u16>,
    /// Headers in order; values decoded as ISO 8859-1.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    chunks: Vec<Chunk>,
    #[serde(default)]
    partial_chunk: Option<Chunk>,
    /// How the body or the stream ended.
    #[serde(default)]
    pub end: String,
    /// When it ended, in milliseconds since the request was sent.
    #[serde(default)]
    pub end_t_ms: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

/// How a recorded body ended, for a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As HTTP frames it.
    Clean,
    /// The server or the connection broke it off.
    Truncated,
    /// The recorder left while the server had more to say.
    Left,
}

/// The content coding of a recorded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// None.
    None,
    /// gzip.
    Gzip,
    /// One that clients do not know.
    Other,
}

impl Chunk {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(coded)) => STANDARD
                .decode(coded)
                .map_err(|error| format!("a chunk's base64: {error}")),
            _ => Err("a chunk has neither or both of text and base64".to_owned()),
        }
    }
}

/// ISO 8859-1 back to bytes.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect()
}

/// A header's value, if it is there once or more; the first one.
fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

impl Request {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// How a body is made that is too large to be recorded.
    #[must_use]
    pub fn omitted(&self) -> Option<&str> {
        self.body_omitted.as_ref()?.get("how")?.as_str()
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn body(&self) -> Result<Body, String> {
        if self.body_omitted.is_some() {
            return Ok(Body::Omitted);
        }
        match (&self.body, &self.body_base64) {
            (_, Some(coded)) => STANDARD
                .decode(coded)
                .map(Body::Bytes)
                .map_err(|error| format!("the request body's base64: {error}")),
            (Some(text), None) => Ok(Body::Bytes(text.clone().into_bytes())),
            (None, None) => Ok(Body::Bytes(Vec::new())),
        }
    }
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Every header of this name, as bytes.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| latin1(value))
    }

    /// The media type of the body, without parameters, in lower case.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let (media, _) = super::target::media_type(self.header("content-type")?);
        Some(media)
    }

    /// Whether the status code is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|code| (200..300).contains(&code))
    }

    /// The content coding of the body.
    #[must_use]
    pub fn coding(&self) -> Coding {
        let mut codings = self.header_values("content-encoding");
        let first = codings.next().unwrap_or_default();
        let first = first.trim_ascii().to_ascii_lowercase();
        match (first.as_slice(), codings.next()) {
            (b"" | b"identity", None) => Coding::None,
            (b"gzip" | b"x-gzip", None) => Coding::Gzip,
            _ => Coding::Other,
        }
    }

    /// The chunks of the body, decoded from transfer coding, as they came.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn chunks(&self) -> Result<Vec<Vec<u8>>, String> {
        self.chunks
            .iter()
            .chain(&self.partial_chunk)
            .map(Chunk::bytes)
            .collect()
    }

    /// How the body ended.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self.end.as_str() {
            "content-length" | "last-chunk" | "no-body" => Ending::Clean,
            "client-closed" | "open" => Ending::Left,
            _ => Ending::Truncated,
        }
    }

    /// The head, as a transport hands it over; none if there was no answer.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn head(&self) -> Result<Option<http::response::Parts>, String> {
        let Some(status) = self.status else {
            return Ok(None);
        };
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = http::StatusCode::from_u16(status).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| format!("header {name:?}: {error}"))?;
            let bytes = latin1(value).ok_or_else(|| format!("header {name}: not ISO 8859-1"))?;
            let value = HeaderValue::from_bytes(&bytes)
                .map_err(|error| format!("header {name}: {error}"))?;
            headers.append(name, value);
        }
        head.headers = headers;
        Ok(Some(head))
    }
}

/// Every `*.json` below a folder, in order.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry
                .map_err(|error| format!("{}: {error}", folder.display()))?
                .path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads one file.
///
/// # Errors
///
/// If it cannot be read or does not follow the schema.
pub fn read(path: &Path) -> Result<Transcript, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}
