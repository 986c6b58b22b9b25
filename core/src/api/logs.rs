//! Container logs.

use http::Method;
use http::header::HeaderValue;

use super::Api;
use super::common::request_options;
use super::path::Target;
use crate::Error;
use crate::call::{Call, Operation, Raw, Verb};
use crate::resource::HasLogs;
use crate::stream::LogLines;

/// Which of a container's outputs a log is to have.
///
/// ```
/// use kubewire::{Api, ApiResource, LogStream, Operation};
/// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
/// let call = pods.logs("web-0").stream(LogStream::Stderr).into_call()?;
/// assert_eq!(call.request().uri().query(), Some("stream=Stderr"));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogStream {
    /// Both, as they came.
    All,
    /// Output only.
    Stdout,
    /// Error output only.
    Stderr,
}

/// Reads a container's log, line by line. See [`Api::logs`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
#[expect(clippy::struct_excessive_bools, reason = "PodLogOptions has them")]
pub struct Logs {
    pub(super) target: Target,
    container: Option<String>,
    follow: bool,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    insecure_backend: bool,
    stream: Option<LogStream>,
}

request_options! { Logs; }

impl<K: HasLogs> Api<K> {
    /// Reads the log of a pod's container as a stream of lines.
    ///
    /// What the container writes to stdout and stderr comes in one stream. A pod that is not scheduled
    /// yet has an empty log. A followed log ends with the container; a restarted container has a new one.
    ///
    /// There is no `timeout`, as servers give no log a limit: how long to read is up to the client, and
    /// [`limit_bytes`](Logs::limit_bytes) and [`tail_lines`](Logs::tail_lines) say how much.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, Operation};
    /// let call = Api::<Pod>::namespaced("default").logs("web-0").follow(true).tail_lines(10).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods/web-0/log?follow=true&tailLines=10");
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// use std::time::Duration;
    /// use kubewire::{Api, ApiResource};
    /// Api::dynamic(ApiResource::core("Pod", "pods")).logs("web-0").timeout(Duration::from_secs(1));
    /// ```
    pub fn logs(&self, name: &str) -> Logs {
        Logs {
            target: self.object(name).sub("log"),
            container: None,
            follow: false,
            previous: false,
            timestamps: false,
            since_seconds: None,
            since_time: None,
            tail_lines: None,
            limit_bytes: None,
            insecure_backend: false,
            stream: None,
        }
    }
}

impl Logs {
    /// Which container; may be left out for pods with one.
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.container = Some(name.into());
        self
    }

    /// Goes on until the container ends.
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// The log of the container's previous run.
    pub fn previous(mut self, previous: bool) -> Self {
        self.previous = previous;
        self
    }

    /// Puts the time before each line; [`LogLine::split_timestamp`](crate::stream::LogLine::split_timestamp) takes it off.
    pub fn timestamps(mut self, timestamps: bool) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// Lines of the last so many seconds, at least 1. Excludes [`since_time`](Self::since_time).
    pub fn since_seconds(mut self, seconds: i64) -> Self {
        self.since_seconds = Some(seconds);
        self
    }

    /// Lines since a time, in RFC 3339; kubelets look at whole seconds only.
    pub fn since_time(mut self, time: impl Into<String>) -> Self {
        self.since_time = Some(time.into());
        self
    }

    /// The last so many lines.
    pub fn tail_lines(mut self, lines: i64) -> Self {
        self.tail_lines = Some(lines);
        self
    }

    /// At most so many bytes, at least 1; cuts anywhere.
    pub fn limit_bytes(mut self, bytes: i64) -> Self {
        self.limit_bytes = Some(bytes);
        self
    }

    /// The API server does not verify the kubelet's certificate: whoever stands between them can
    /// change the log.
    pub fn insecure_skip_tls_verify_backend(mut self, skip: bool) -> Self {
        self.insecure_backend = skip;
        self
    }

    /// Output or error output alone (`stream`). Servers whose feature gate `PodLogsQuerySplitStreams` is off, as it is by
    /// default in 1.36, answer 422 to any value.
    pub fn stream(mut self, stream: LogStream) -> Self {
        self.stream = Some(stream);
        self
    }

    /// The whole log as it is, collected under [`Limits::max_body`](crate::Limits::max_body).
    pub fn text(self) -> LogText {
        LogText(self)
    }

    fn check(&self) -> Result<(), Error> {
        let one_stream = matches!(self.stream, Some(LogStream::Stdout | LogStream::Stderr));
        let fault = if self.since_seconds.is_some() && self.since_time.is_some() {
            "since_seconds and since_time exclude each other"
        } else if self.since_seconds.is_some_and(|seconds| seconds < 1) {
            "since_seconds must be at least 1"
        } else if self
            .since_time
            .as_deref()
            .is_some_and(|time| !is_rfc3339(time))
        {
            "since_time must be a time in RFC 3339"
        } else if self.tail_lines.is_some_and(|lines| lines < 0) {
            "tail_lines must not be negative"
        } else if self.limit_bytes.is_some_and(|bytes| bytes < 1) {
            "limit_bytes must be at least 1"
        } else if one_stream && self.tail_lines.is_some() {
            "stream and tail_lines exclude each other: servers cannot count the lines of one stream"
        } else {
            return Ok(());
        };
        Err(Error::usage(fault))
    }

    fn build<D: crate::Decode>(
        self,
        namespace: Option<&str>,
        decoder: D,
    ) -> Result<Call<D>, Error> {
        self.check()?;
        let mut query = self.target.query(namespace)?;
        query.some("container", self.container.as_deref());
        query.flag("follow", self.follow);
        query.flag("previous", self.previous);
        query.flag("timestamps", self.timestamps);
        query.number("sinceSeconds", self.since_seconds);
        query.some("sinceTime", self.since_time.as_deref());
        query.number("tailLines", self.tail_lines);
        query.number("limitBytes", self.limit_bytes);
        query.flag("insecureSkipTLSVerifyBackend", self.insecure_backend);
        query.some(
            "stream",
            self.stream.map(|stream| match stream {
                LogStream::All => "All",
                LogStream::Stdout => "Stdout",
                LogStream::Stderr => "Stderr",
            }),
        );
        let verb = if self.follow { Verb::Watch } else { Verb::Get };
        let accept = HeaderValue::from_static("*/*");
        let request = query.request(Method::GET, Some(accept), None)?;
        Ok(Call::new(verb, request, decoder))
    }
}

/// What is no time the server would take for "since ever", or refuse.
fn is_rfc3339(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let Some((time, zone)) = bytes.split_at_checked(shape.len()) else {
        return false;
    };
    let fits = shape.iter().zip(time).all(|(want, got)| match want {
        b'd' => got.is_ascii_digit(),
        _ => want == got,
    });
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let zone = match zone.strip_prefix(b".") {
        Some(fraction) if digits(fraction) == 0 => return false,
        Some(fraction) => &fraction[digits(fraction)..],
        None => zone,
    };
    fits && match zone {
        b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

impl Operation for Logs {
    type Decoder = LogLines;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<LogLines>, Error> {
        self.build(namespace, LogLines::new())
    }
}

/// Reads a whole log. See [`Logs::text`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct LogText(pub(super) Logs);

impl Operation for LogText {
    type Decoder = Raw;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Raw>, Error> {
        if self.0.follow {
            return Err(Error::usage(
                "follow and text() exclude each other: stream the lines, or drop follow",
            ));
        }
        self.0.build(namespace, Raw::default())
    }
}
