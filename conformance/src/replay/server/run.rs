//! These operations, and requests for any path, built and answered.

use kubewire::discovery::ServerVersion;
use kubewire::{Api, Call, Dynamic, Error, ErrorKind, Operation, RawOperation, Verb};
use serde_json::Value;

use super::discovery::{DOCUMENTS, DiscoveryAsk};
use super::{Ask, ProxyAsk, health_value, see_health, see_version, version_value};
use crate::replay::Canonical;
use crate::replay::compare::gzip;
use crate::replay::expect::Shape;
use crate::replay::run::{Check, Run};
use crate::replay::see::text;
use crate::replay::target::{Target, media_type};
use crate::replay::transcript::Body;

/// What the transport adds by itself, or does not let programs say.
fn is_transport(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "host",
        "user-agent",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "authorization",
        "accept-encoding",
    ];
    NAMES.contains(&name) || name.starts_with("impersonate-")
}

impl Run<'_> {
    pub(in crate::replay) fn server(&mut self, ask: &Ask) {
        match ask {
            Ask::Version(common) => {
                self.built("version");
                self.call(
                    &check("version", Shape::Object, Verb::Get, &version_value),
                    &|| {
                        let mut operation = ServerVersion::new()
                            .accept_gzip(common.gzip)
                            .pretty(common.pretty);
                        if let Some(timeout) = common.timeout {
                            operation = operation.timeout(timeout);
                        }
                        operation.into_call()
                    },
                    &|info| see_version(&info),
                );
            }
            Ask::Health(ask) => {
                self.built("health");
                self.call(
                    &check("health", Shape::Health, Verb::Get, &health_value),
                    &|| ask.operation().into_call(),
                    &see_health,
                );
            }
            Ask::Discovery(ask) => self.discovery(ask),
        }
    }

    fn built(&mut self, label: &str) {
        *self.report.operations.entry(label.to_owned()).or_default() += 1;
        let used = self.canonical.used.clone();
        for name in used.into_iter().chain(["transport"]) {
            *self.report.equivalences.entry(name).or_default() += 1;
        }
    }

    fn discovery(&mut self, ask: &DiscoveryAsk) {
        self.canonical.used.insert("discovery");
        self.built(match (&ask.version, &ask.etag) {
            (None, None) => "discovery",
            (None, Some(_)) => "discovery, refreshed",
            (Some(_), _) => "discovery of a version",
        });
        if let Ok(call) = ask.call() {
            let header = |name: &str| {
                let value = call.request().headers().get(name);
                value.and_then(|value| value.to_str().ok())
            };
            let accept = header("accept").unwrap_or_default();
            let asked: Vec<_> = accept.split(',').map(media_type).collect();
            let wanted = if ask.version.is_some() {
                &DOCUMENTS[2..]
            } else {
                DOCUMENTS
            };
            let wanted: Vec<_> = wanted.iter().copied().map(media_type).collect();
            if asked != wanted {
                self.faults.push(format!("discovery asks for {accept}"));
            }
            if header("if-none-match") != ask.etag.as_deref() {
                self.faults.push("the ETag is not sent again".to_owned());
            }
            let built = Canonical::built(call.request());
            for key in ["accept", "gzip"] {
                self.canonical.form[key] = built.form[key].clone();
            }
        }
        self.call(
            &check("discovery", Shape::Discovery, Verb::Get, &|document| {
                ask.expected(document)
            }),
            &|| ask.call(),
            &|answer| ask.drive(answer),
        );
    }

    pub(in crate::replay) fn proxied(&mut self, ask: &ProxyAsk) {
        self.built("proxy");
        let target = Target::parse(&self.request.target);
        let method = self.request.method.clone();
        let headers = self.headers();
        let body = self.body.clone();
        let gzip = self.gzip();
        let make = || {
            let api = Api::<Dynamic>::of(ask.resource.clone(), ask.namespace.clone());
            let mut proxy = api.proxy(&ask.name);
            if ask.https {
                proxy = proxy.https();
            }
            if let Some(port) = &ask.port {
                proxy = match port.parse::<u16>() {
                    Ok(number) if number.to_string() == *port => proxy.port(number),
                    _ => proxy.port_name(port),
                };
            }
            let method = http::Method::try_from(method.as_str())
                .map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
            let mut operation = proxy.request(method, &ask.path).accept_gzip(gzip);
            for (key, value) in &target.query {
                operation = operation.query(key, value);
            }
            Ok(dress(operation, &headers, &body))
        };
        self.raw_operation("proxy", &make, false);
    }

    /// A request that no typed operation expresses goes through the one for any path.
    pub(in crate::replay) fn any_path(&mut self) {
        let (method, target) = (self.request.method.clone(), self.request.target.clone());
        let headers = self.headers();
        let body = self.body.clone();
        let gzip = self.gzip();
        let make = || {
            let method = http::Method::try_from(method.as_str())
                .map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
            let operation = Call::raw(method, &target).accept_gzip(gzip);
            Ok(dress(operation, &headers, &body))
        };
        // RFC 3986, and of it only what is no authority.
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        let origin = target.starts_with('/') && !target.starts_with("//");
        match make().and_then(Operation::into_call) {
            Err(error) if error.kind() == ErrorKind::Usage => {
                if origin && target.bytes().all(plain) {
                    self.faults
                        .push(format!("a raw operation: refused: {error}"));
                    return;
                }
                let why = "a raw operation: a target that is not in origin form".to_owned();
                *self.report.refused.entry(why).or_default() += 1;
            }
            Ok(_) if !origin => self
                .faults
                .push("a raw operation takes a target that is not in origin form".to_owned()),
            _ => self.raw_operation("a raw operation", &make, true),
        }
    }

    fn gzip(&self) -> bool {
        let coding = self.request.header("accept-encoding");
        coding.is_some_and(gzip)
    }

    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.request.headers.iter();
        headers
            .map(|(name, value)| {
                let value = value.chars().map(|char| u32::from(char).to_le_bytes()[0]);
                (name.to_ascii_lowercase(), value.collect())
            })
            .filter(|(name, _)| !is_transport(name))
            .collect()
    }

    /// Compares the request byte by byte, and feeds the answer to every decoder of raw operations.
    fn raw_operation(
        &mut self,
        what: &str,
        make: &dyn Fn() -> Result<RawOperation, Error>,
        verbatim: bool,
    ) {
        let call = match make().and_then(Operation::into_call) {
            Ok(call) => call,
            Err(error) => {
                self.faults.push(format!("{what}: refused: {error}"));
                return;
            }
        };
        let request = call.request();
        let mut found = Vec::new();
        let uri = request.uri().to_string();
        let same = if verbatim {
            uri == self.request.target
        } else {
            let sorted = |target: &str| {
                let mut target = Target::parse(target);
                target.query.sort();
                target
            };
            sorted(&uri) == sorted(&self.request.target)
        };
        if !same || request.method().as_str() != self.request.method {
            found.push(format!("{} {uri}", request.method()));
        }
        if call.verb() != Verb::Raw {
            found.push(format!("verb {:?}", call.verb()));
        }
        let mut recorded = self.headers();
        if self.gzip() {
            recorded.push(("accept-encoding".to_owned(), b"gzip".to_vec()));
        }
        if self.request.header("accept").is_none() {
            recorded.push(("accept".to_owned(), b"*/*".to_vec()));
        }
        let mut built: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        recorded.sort();
        built.sort();
        if recorded != built {
            found.push(format!("headers {built:?} instead of {recorded:?}"));
        }
        if let Body::Bytes(bytes) = &self.body
            && request.body() != bytes
        {
            found.push("another body".to_owned());
        }
        if !found.is_empty() {
            let found = found.join("\n      ");
            self.faults.push(format!("{what}, request:\n      {found}"));
        }
        let none = |_: &Value| None;
        let whole = |value: &Value| Some(value.clone());
        let check = |shape, object| Check {
            verb: None,
            ..check(what, shape, Verb::Raw, object)
        };
        self.exercise(
            &check(Shape::Bytes, &none),
            &|| make()?.into_call(),
            &|body| text(&body).into(),
        );
        self.exercise(
            &check(Shape::Chunks, &none),
            &|| make()?.chunks().into_call(),
            &|chunk| text(&chunk).into(),
        );
        self.exercise(
            &check(Shape::Text, &none),
            &|| make()?.lines().into_call(),
            &|line| text(&line).into(),
        );
        if self.shape().0 == Shape::Object {
            self.exercise(
                &check(Shape::Object, &whole),
                &|| make()?.json::<Value>().into_call(),
                &|value| value,
            );
        }
    }
}

fn dress(mut operation: RawOperation, headers: &[(String, Vec<u8>)], body: &Body) -> RawOperation {
    for (name, value) in headers {
        operation = operation.header(name.as_str(), value.as_slice());
    }
    match body {
        Body::Bytes(bytes) if !bytes.is_empty() => operation.body(bytes.clone()),
        Body::Bytes(_) | Body::Omitted => operation,
    }
}

fn check<'a>(
    what: &'a str,
    shape: Shape,
    verb: Verb,
    object: &'a dyn Fn(&Value) -> Option<Value>,
) -> Check<'a> {
    Check {
        what,
        shape,
        verb: Some(verb),
        with_body: true,
        types: Default::default(),
        object,
    }
}
