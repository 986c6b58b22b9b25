//! What every operation can be told: headers, `pretty`, `timeout`, compression.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};

use super::path::Target;
use super::query::Query;
use crate::Error;

/// Options of the request itself, whatever it does. It travels with the [`Target`].
#[derive(Clone, Default)]
pub(crate) struct Common {
    pretty: bool,
    timeout: Option<Duration>,
    gzip: bool,
    headers: Option<Box<HeaderMap>>,
}

impl Common {
    pub(crate) fn append(&self, query: &mut Query) {
        query.flag("pretty", self.pretty);
        if let Some(timeout) = self.timeout {
            query.pair("timeout", &go_duration(timeout));
        }
    }

    pub(crate) fn accepts_gzip(&self) -> bool {
        self.gzip
    }

    pub(crate) fn take_headers(&mut self) -> Option<HeaderMap> {
        self.headers.take().map(|headers| *headers)
    }
}

/// As Go's `time.ParseDuration` reads it.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, size) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if nanos.is_multiple_of(size) {
            return format!("{}{unit}", nanos / size);
        }
    }
    format!("{nanos}ns")
}

/// Headers that frame the message: setting them would desynchronise the connection.
const FRAMING: [HeaderName; 7] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    TE,
    TRAILER,
];

/// Headers that say what the decoder expects.
const CODING: [HeaderName; 3] = [ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE];

impl Target {
    pub(crate) fn set_pretty(&mut self, pretty: bool) {
        self.common.pretty = pretty;
    }

    pub(crate) fn set_gzip(&mut self, gzip: bool) {
        self.common.gzip = gzip;
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        if timeout.is_zero() {
            self.refuse("timeout(0) means the server's default: leave it out");
        }
        self.common.timeout = Some(timeout);
    }

    /// Adds a header; `typed` operations set some themselves.
    pub(crate) fn add_header(
        &mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
        typed: bool,
    ) {
        let Ok(name) = name.try_into() else {
            return self.refuse("the header's name is not valid");
        };
        let Ok(value) = value.try_into() else {
            return self.refuse(format!("the value of the header {name} is not valid"));
        };
        if FRAMING.contains(&name) {
            return self.refuse(format!("the header {name} belongs to the transport"));
        }
        if typed && CODING.contains(&name) {
            return self.refuse(format!("the header {name} belongs to the operation"));
        }
        let headers = self.common.headers.get_or_insert_default();
        // `HeaderMap::extend` keeps several values of one name together.
        if headers.try_append(name, value).is_err() {
            self.refuse("too many headers");
        }
    }

    pub(crate) fn set_user_agent(&mut self, agent: &str) {
        let Ok(value) = HeaderValue::from_str(agent) else {
            return self.refuse("the User-Agent is not a valid header value");
        };
        let headers = self.common.headers.get_or_insert_default();
        headers.insert(USER_AGENT, value);
    }
}

/// Resolves a target into the query that is built on it.
impl Target {
    pub(crate) fn query(self, namespace: Option<&str>) -> Result<Query, Error> {
        let (path, common) = self.resolve(namespace)?;
        Ok(Query::new(path, common))
    }
}

/// Options of every operation.
macro_rules! request_options {
    ($($type:ident $(<$k:ident>)?;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// Adds a header to this request, such as `Impersonate-User` or `Audit-ID`. Several values of one name are
            /// kept. Headers that frame the message or that the decoder depends on are refused.
            pub fn header(
                mut self,
                name: impl TryInto<http::HeaderName>,
                value: impl TryInto<http::HeaderValue>,
            ) -> Self {
                self.target.add_header(name, value, true);
                self
            }
        }
        crate::api::common::carriage_options! { $type$(<$k>)?; }
    )*};
}

/// Options of every request, also of a raw one.
macro_rules! carriage_options {
    ($($type:ident $(<$k:ident>)?;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// The User-Agent of this request instead of the client's.
            pub fn user_agent(mut self, agent: &str) -> Self {
                self.target.set_user_agent(agent);
                self
            }

            /// Whether the server may compress the answer (`Accept-Encoding: gzip`); it does so above 128 KiB.
            /// Compressed answers are understood in any case.
            pub fn accept_gzip(mut self, accept: bool) -> Self {
                self.target.set_gzip(accept);
                self
            }
        }
    )*};
}

/// Options of every operation that the server answers at once.
macro_rules! answer_options {
    ($($type:ident $(<$k:ident>)?;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// How long the server may work on it (`timeout`), at most its own limit, 60 s by default. When it is over
            /// the answer is 504. Not to be mixed up with how long the client waits.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.target.set_timeout(timeout);
                self
            }

            /// Indented JSON, for people who look at the wire.
            pub fn pretty(mut self, pretty: bool) -> Self {
                self.target.set_pretty(pretty);
                self
            }
        }
    )*};
}

pub(crate) use {answer_options, carriage_options, request_options};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_reads_them() {
        for (duration, text) in [
            (Duration::from_secs(90), "90s"),
            (Duration::from_millis(1500), "1500ms"),
            (Duration::from_micros(7), "7us"),
            (Duration::from_nanos(1_000_000_001), "1000000001ns"),
            (Duration::MAX, "18446744073709551615999999999ns"),
        ] {
            assert_eq!(go_duration(duration), text);
        }
    }
}
