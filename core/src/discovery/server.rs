//! The server's version and health.

use std::fmt;

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use serde::Deserialize;

use crate::api::Target;
use crate::api::common::{answer_options, request_options};
use crate::call::{Call, Decode, End, Json, Operation, Raw, Unary, Verb};
use crate::meta::null_default;
use crate::{Error, Limits};

/// Asks for the server's version: `GET /version`. Usually anybody may.
///
/// ```
/// use kubewire::Operation;
/// use kubewire::discovery::ServerVersion;
/// assert_eq!(ServerVersion::new().into_call()?.request().uri(), "/version");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct ServerVersion {
    target: Target,
}

request_options! { ServerVersion; }
answer_options! { ServerVersion; }

impl ServerVersion {
    /// The operation.
    pub fn new() -> Self {
        Self {
            target: Target::raw("/version"),
        }
    }
}

impl Default for ServerVersion {
    fn default() -> Self {
        Self::new()
    }
}

impl Operation for ServerVersion {
    type Decoder = Json<VersionInfo>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Self::Decoder>, Error> {
        let accept = HeaderValue::from_static("application/json");
        let request = self
            .target
            .query(namespace)?
            .request(Method::GET, Some(accept), None)?;
        Ok(Call::new(Verb::Get, request, Json::default()))
    }
}

/// The version of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct VersionInfo {
    /// `1`.
    #[serde(deserialize_with = "null_default")]
    pub major: String,
    /// Such as `36`; some providers add a `+`. See [`minor_number`](Self::minor_number).
    #[serde(deserialize_with = "null_default")]
    pub minor: String,
    /// Such as `v1.36.2`.
    #[serde(deserialize_with = "null_default")]
    pub git_version: String,
    /// The commit.
    #[serde(deserialize_with = "null_default")]
    pub git_commit: String,
    /// `clean`, or not.
    #[serde(deserialize_with = "null_default")]
    pub git_tree_state: String,
    /// RFC 3339.
    #[serde(deserialize_with = "null_default")]
    pub build_date: String,
    /// The Go version.
    #[serde(deserialize_with = "null_default")]
    pub go_version: String,
    /// The Go compiler.
    #[serde(deserialize_with = "null_default")]
    pub compiler: String,
    /// Such as `linux/amd64`.
    #[serde(deserialize_with = "null_default")]
    pub platform: String,
    /// The major version that the server behaves like.
    pub emulation_major: Option<String>,
    /// The minor version that the server behaves like.
    pub emulation_minor: Option<String>,
    /// The oldest major version that it gets along with.
    pub min_compatibility_major: Option<String>,
    /// The oldest minor version that it gets along with.
    pub min_compatibility_minor: Option<String>,
}

impl VersionInfo {
    /// The minor version as a number.
    ///
    /// ```
    /// let version: kubewire::discovery::VersionInfo = serde_json::from_str(r#"{"major":"1","minor":"33+"}"#).unwrap();
    /// assert_eq!(version.minor_number(), Some(33));
    /// ```
    #[must_use]
    pub fn minor_number(&self) -> Option<u32> {
        self.minor.trim_end_matches('+').parse().ok()
    }
}

/// Asks how the server is: `/livez`, `/readyz` or the deprecated `/healthz`. Usually anybody may.
///
/// ```
/// use kubewire::Operation;
/// use kubewire::discovery::Health;
/// let call = Health::readyz().verbose(true).exclude("etcd").into_call()?;
/// assert_eq!(call.request().uri(), "/readyz?verbose=true&exclude=etcd");
/// let call = Health::livez().check("poststarthook/crd-informer-synced").into_call()?;
/// assert_eq!(call.request().uri(), "/livez/poststarthook/crd-informer-synced");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Health {
    target: Target,
    verbose: bool,
    exclude: Vec<String>,
    check: Option<String>,
}

request_options! { Health; }

impl Health {
    fn new(path: &str) -> Self {
        Self {
            target: Target::raw(path),
            verbose: false,
            exclude: Vec::new(),
            check: None,
        }
    }

    /// Whether the server is alive; otherwise it should be restarted.
    pub fn livez() -> Self {
        Self::new("/livez")
    }

    /// Whether the server is ready for requests.
    pub fn readyz() -> Self {
        Self::new("/readyz")
    }

    /// The same for servers of long ago.
    pub fn healthz() -> Self {
        Self::new("/healthz")
    }

    /// With the single checks even if all is well.
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// Leaves a check out; may be called several times.
    pub fn exclude(mut self, check: impl Into<String>) -> Self {
        self.exclude.push(check.into());
        self
    }

    /// This check only.
    pub fn check(mut self, check: impl Into<String>) -> Self {
        self.check = Some(check.into());
        self
    }
}

impl Operation for Health {
    type Decoder = HealthDecoder;

    fn into_call_in(mut self, namespace: Option<&str>) -> Result<Call<Self::Decoder>, Error> {
        if let Some(check) = &self.check {
            if check.is_empty() {
                return Err(Error::usage("the name of the check is empty"));
            }
            self.target.tail(check);
        }
        let mut query = self.target.query(namespace)?;
        query.flag("verbose", self.verbose);
        for check in &self.exclude {
            query.pair("exclude", check);
        }
        let accept = HeaderValue::from_static("*/*");
        let request = query.request(Method::GET, Some(accept), None)?;
        Ok(Call::new(Verb::Get, request, HealthDecoder::default()))
    }
}

/// How a server is.
///
/// ```
/// use kubewire::discovery::Health;
/// use kubewire::{End, Limits, Operation};
/// let (_, mut exchange) = Health::readyz().into_call()?.begin(&Limits::default());
/// exchange.handle_head(&http::Response::builder().status(500).body(()).unwrap().into_parts().0)?;
/// exchange.handle_data("[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n".into())?;
/// exchange.handle_end(End::Clean)?;
/// let report = exchange.poll_item()?.unwrap();
/// assert!(!report.healthy);
/// assert_eq!((report.checks[1].name.as_str(), report.checks[1].healthy), ("etcd", false));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// Whether all is well.
    pub healthy: bool,
    /// The single checks: if it is not, or if they were asked for.
    pub checks: Vec<HealthCheck>,
    /// What the server wrote.
    pub text: String,
}

/// One check of a [`HealthReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// Its name, such as `etcd`.
    pub name: String,
    /// Whether it passed.
    pub healthy: bool,
    /// `ok`, `excluded: ok`, or what is wrong.
    pub message: String,
}

impl HealthReport {
    fn new(healthy: bool, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        let check = |line: &str| {
            let (sign, rest) = line.strip_prefix('[')?.split_once(']')?;
            let (name, message) = rest.split_once(' ').unwrap_or((rest, ""));
            matches!(sign, "+" | "-").then(|| HealthCheck {
                name: name.to_owned(),
                healthy: sign == "+",
                message: message.to_owned(),
            })
        };
        Self {
            healthy,
            checks: text.lines().filter_map(check).collect(),
            text,
        }
    }
}

/// Decodes the report of a server about itself. That it is not well (500) is an answer, not an error.
#[derive(Clone, Default)]
pub struct HealthDecoder(Raw);

impl Decode for HealthDecoder {
    type Item = HealthReport;

    fn begin(&mut self, limits: &Limits) {
        self.0.begin(limits);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.0.handle_data(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.0.handle_end(end)
    }

    fn poll_item(&mut self) -> Result<Option<HealthReport>, Error> {
        let body = self.0.poll_item()?;
        Ok(body.map(|body| HealthReport::new(true, &body)))
    }

    fn has_items(&self) -> bool {
        self.0.has_items()
    }

    fn buffered(&self) -> usize {
        self.0.buffered()
    }

    fn recover(&mut self, failure: &Error) -> Option<HealthReport> {
        let unwell = failure.code() == Some(http::StatusCode::INTERNAL_SERVER_ERROR);
        let body = failure
            .body()
            .filter(|_| unwell && failure.status().is_none())?;
        Some(HealthReport::new(false, body))
    }
}

impl Unary for HealthDecoder {}

impl fmt::Debug for HealthDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthDecoder").field(&self.0).finish()
    }
}
