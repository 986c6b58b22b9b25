//! Operations that are about no object of a collection: version, health, discovery, proxies, and
//! requests for any path.

use bytes::Bytes;
use kubewire::discovery::{
    Discover, Discovery, DiscoveryAnswer, DiscoveryDecoder, Health, HealthReport, ServerVersion,
    VersionInfo,
};
use kubewire::{
    Api, ApiResource, Call, Dynamic, End, Error, ErrorKind, Limits, Namespace, Operation,
    RawOperation, Scope, Verb,
};
use serde_json::{Value, json};

use super::expect::Shape;
use super::intent::{Common, bad_segment, token};
use super::kinds::Kinds;
use super::request::{Or, Parameters, Place};
use super::run::{Check, Run};
use super::see::text;
use super::target::{Target, media_type};
use super::transcript::{Body, Request, Transcript};

/// The paths of health.
pub(super) const HEALTH: &[&str] = &["livez", "readyz", "healthz"];

/// What a server is asked about itself.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// `/version`.
    Version(Common),
    /// `/livez` and its kin.
    Health(HealthAsk),
    /// What it serves.
    Discovery(DiscoveryAsk),
}

/// The options of a question for health.
#[derive(Clone, Debug)]
pub(super) struct HealthAsk {
    path: String,
    verbose: bool,
    exclude: Vec<String>,
    check: Option<String>,
    gzip: bool,
}

/// One document of discovery.
#[derive(Clone, Debug)]
pub(super) struct DiscoveryAsk {
    path: String,
    /// Group and version, if it is one.
    version: Option<(String, String)>,
    etag: Option<String>,
}

/// A request to what is behind the server.
#[derive(Clone, Debug)]
pub(super) struct ProxyAsk {
    resource: ApiResource,
    namespace: Namespace,
    name: String,
    https: bool,
    port: Option<String>,
    path: String,
}

/// Whether the request is a question about the server; a reason if it is, but in no words of ours.
pub(super) fn ask(request: &Request, body: &Body, target: &Target) -> Option<Or<Ask>> {
    if request.method != "GET" || !target.dropped.is_empty() {
        return None;
    }
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    let ask = match segments[..] {
        ["version"] => version(request, target),
        [path, ref check @ ..] if HEALTH.contains(&path) => health(request, target, path, check),
        ["api" | "apis"] => discovery(request, target, None),
        ["api", version] => discovery(request, target, Some(("", version))),
        ["apis", group, version] => discovery(request, target, Some((group, version))),
        _ => return None,
    };
    let none = *body == Body::Bytes(Vec::new());
    Some(ask.and_then(|ask| {
        if none {
            Ok(ask)
        } else {
            Err("a body where there should be none".to_owned())
        }
    }))
}

/// The forms that an Accept names.
fn forms(request: &Request) -> Vec<String> {
    let accept = request.header("accept").unwrap_or("*/*");
    let form = |form| {
        let (mut media, mut parameters) = media_type(form);
        super::compare::plain_json(&media, &mut parameters);
        for (key, value) in parameters {
            media.extend([";", &key, "=", &value]);
        }
        media
    };
    accept.split(',').map(form).collect()
}

fn plain(request: &Request) -> Or<()> {
    match forms(request).as_slice() {
        [form] if form == "*/*" || form == "application/json" => Ok(()),
        _ => Err(format!(
            "Accept: {}",
            request.header("accept").unwrap_or_default()
        )),
    }
}

fn version(request: &Request, target: &Target) -> Or<Ask> {
    plain(request)?;
    let mut parameters = Parameters::new(target);
    let common = parameters.common(request)?;
    parameters.finish()?;
    Ok(Ask::Version(common))
}

fn health(request: &Request, target: &Target, path: &str, check: &[&str]) -> Or<Ask> {
    plain(request)?;
    let mut parameters = Parameters::new(target);
    let ask = HealthAsk {
        path: path.to_owned(),
        verbose: !parameters.all("verbose").is_empty(),
        exclude: parameters.all("exclude"),
        check: (!check.is_empty()).then(|| check.join("/")),
        gzip: request
            .header("accept-encoding")
            .is_some_and(super::compare::gzip),
    };
    parameters.finish()?;
    if check
        .iter()
        .any(|part| matches!(*part, "" | "." | "..") || part.contains('/'))
    {
        return Err("a check that has no name".to_owned());
    }
    Ok(Ask::Health(ask))
}

/// The forms of discovery documents, the best one first.
const DOCUMENTS: &[&str] = &[
    "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2",
    "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2beta1",
    "application/json",
];

fn discovery(request: &Request, target: &Target, version: Option<(&str, &str)>) -> Or<Ask> {
    Parameters::new(target).finish()?;
    let given = forms(request);
    let mut wanted = DOCUMENTS.iter();
    let known = given == ["*/*"] || given.iter().all(|form| wanted.any(|name| name == form));
    if !known || (version.is_some() && plain(request).is_err()) {
        let accept = request.header("accept").unwrap_or_default();
        return Err(format!("Accept: {accept}"));
    }
    if version.is_some_and(|(group, version)| {
        !token(version) || !(group.is_empty() || token(group)) || group.contains("//")
    }) {
        return Err("a group or version that is no lower-case name".to_owned());
    }
    Ok(Ask::Discovery(DiscoveryAsk {
        path: format!("/{}", target.segments.join("/")),
        version: version.map(|(group, version)| (group.to_owned(), version.to_owned())),
        etag: request.header("if-none-match").map(str::to_owned),
    }))
}

/// Whether the request is one to what is behind the server.
pub(super) fn proxy(
    transcript: &Transcript,
    request: &Request,
    body: &Body,
    target: &Target,
    kinds: &Kinds,
) -> Option<Or<ProxyAsk>> {
    let place = Place::parse(&target.segments)?;
    let core = place.group.is_empty() && ["pods", "services", "nodes"].contains(&place.plural);
    let id = place.name?;
    let [sub, path @ ..] = place.sub else {
        return None;
    };
    if sub != "proxy" || !core {
        return None;
    }
    let raw = |why: &str| Some(Err(why.to_owned()));
    if path.is_empty() {
        return raw("a proxied path without slash");
    }
    if path
        .iter()
        .any(|part| part.contains('/') || matches!(part.as_str(), "." | ".."))
    {
        return raw("a proxied path with odd segments");
    }
    if request.header("upgrade").is_some() || *body == Body::Omitted || !target.dropped.is_empty() {
        return raw("a proxied request that is no plain one");
    }
    let parts: Vec<&str> = id.split(':').collect();
    let (https, name, port) = match parts[..] {
        [name] => (false, name, None),
        [name, port] if !port.is_empty() => (false, name, Some(port)),
        ["https", name, port] => (true, name, Some(port).filter(|port| !port.is_empty())),
        _ => return raw("a proxied name that is written in another way"),
    };
    let namespaced = place.namespace.is_some();
    let resource = kinds.resource("", place.version, place.plural, namespaced, transcript);
    let fits = match place.namespace {
        Some(namespace) => {
            resource.scope() == Scope::Namespaced && bad_segment(namespace).is_none()
        }
        None => resource.scope() == Scope::Cluster,
    };
    if !fits || bad_segment(name).is_some() {
        return raw("a proxied name or namespace that there cannot be");
    }
    Some(Ok(ProxyAsk {
        resource,
        namespace: place
            .namespace
            .map_or(Namespace::All, |name| Namespace::Named(name.to_owned())),
        name: name.to_owned(),
        https,
        port: port.map(str::to_owned),
        path: format!("/{}", path.join("/")),
    }))
}

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
    pub(super) fn server(&mut self, ask: &Ask) {
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
            let built = super::Canonical::built(call.request());
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

    pub(super) fn proxied(&mut self, ask: &ProxyAsk) {
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
    pub(super) fn any_path(&mut self) {
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
        coding.is_some_and(super::compare::gzip)
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

fn see_version(info: &VersionInfo) -> Value {
    json!({
        "major": info.major,
        "minor": info.minor,
        "gitVersion": info.git_version,
        "gitCommit": info.git_commit,
        "gitTreeState": info.git_tree_state,
        "buildDate": info.build_date,
        "goVersion": info.go_version,
        "compiler": info.compiler,
        "platform": info.platform,
        "emulationMajor": info.emulation_major,
        "emulationMinor": info.emulation_minor,
        "minCompatibilityMajor": info.min_compatibility_major,
        "minCompatibilityMinor": info.min_compatibility_minor,
    })
}

fn version_value(document: &Value) -> Option<Value> {
    let mut form = see_version(&VersionInfo::default());
    for (key, value) in form.as_object_mut()? {
        match &document[key.as_str()] {
            Value::Null => {}
            Value::String(text) => *value = text.clone().into(),
            _ => return None,
        }
    }
    document.is_object().then_some(form)
}

fn see_health(report: HealthReport) -> Value {
    let checks: Vec<_> = report
        .checks
        .into_iter()
        .map(|check| json!([check.name, check.healthy, check.message]))
        .collect();
    json!({ "healthy": report.healthy, "checks": checks, "text": report.text })
}

fn health_value(answer: &Value) -> Option<Value> {
    let body = answer["body"].as_str()?.chars();
    let bytes: Vec<u8> = body.map(|char| u32::from(char).to_le_bytes()[0]).collect();
    let text = String::from_utf8_lossy(&bytes);
    let mut checks = Vec::new();
    for line in text.lines() {
        for (sign, healthy) in [("[+]", true), ("[-]", false)] {
            if let Some(rest) = line.strip_prefix(sign) {
                let mut words = rest.splitn(2, ' ');
                let name = words.next().unwrap_or_default();
                checks.push(json!([name, healthy, words.next().unwrap_or_default()]));
            }
        }
    }
    Some(json!({ "healthy": answer["code"] == 200, "checks": checks, "text": text }))
}

impl HealthAsk {
    fn operation(&self) -> Health {
        let mut health = match self.path.as_str() {
            "livez" => Health::livez(),
            "readyz" => Health::readyz(),
            _ => Health::healthz(),
        };
        for check in &self.exclude {
            health = health.exclude(check);
        }
        if let Some(check) = &self.check {
            health = health.check(check);
        }
        health.verbose(self.verbose).accept_gzip(self.gzip)
    }
}

/// Answers a question that is not the recorded one.
fn stand_in(
    call: Call<DiscoveryDecoder>,
    head: http::response::Builder,
    body: &Value,
) -> Result<DiscoveryAnswer, Error> {
    let (_, mut exchange) = call.begin(&Limits::default());
    let head = head.body(()).unwrap_or_default();
    exchange.handle_head(&head.into_parts().0)?;
    exchange.handle_data(Bytes::from(body.to_string()))?;
    let _ = exchange.handle_end(End::Clean);
    let none = || Error::new(ErrorKind::Peer, "no document");
    exchange.poll_item()?.ok_or_else(none)
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl DiscoveryAsk {
    fn discover(&self) -> Discover {
        let Some(etag) = &self.etag else {
            return Discover::new();
        };
        let mut before = Discover::new();
        while let Some(want) = before.poll_want() {
            let mut head = http::Response::builder().header("content-type", AGGREGATED);
            if want.call.request().uri().path() == self.path {
                head = head.header("etag", etag);
            }
            let answer = stand_in(want.call, head, &json!({ "items": [] }));
            before.handle_answer(want.id, answer);
        }
        Discover::refresh(before.finish().unwrap_or_default())
    }

    /// What is answered to all that is not the recorded question.
    fn other(&self, call: Call<DiscoveryDecoder>) -> Result<DiscoveryAnswer, Error> {
        let json = http::Response::builder().header("content-type", "application/json");
        match (call.request().uri().path(), &self.version) {
            ("/api", Some((group, version))) if group.is_empty() => stand_in(
                call,
                json,
                &json!({ "kind": "APIVersions", "versions": [version] }),
            ),
            ("/apis", Some((group, version))) if !group.is_empty() => stand_in(
                call,
                json,
                &json!({ "kind": "APIGroupList", "groups": [
                    { "name": group, "versions": [{ "version": version }] }] }),
            ),
            ("/api" | "/apis", _) => {
                let head = http::Response::builder().header("content-type", AGGREGATED);
                stand_in(call, head, &json!({ "items": [] }))
            }
            _ => stand_in(call, http::Response::builder().status(404), &Value::Null),
        }
    }

    /// The recorded question, as the machine asks it.
    fn call(&self) -> Result<Call<DiscoveryDecoder>, Error> {
        let mut discover = self.discover();
        while let Some(want) = discover.poll_want() {
            if want.call.request().uri().path() == self.path {
                return Ok(want.call);
            }
            let answer = self.other(want.call);
            discover.handle_answer(want.id, answer);
        }
        Err(Error::new(
            ErrorKind::Usage,
            "discovery does not ask for it",
        ))
    }

    /// What the machine makes of the answer.
    fn drive(&self, answer: DiscoveryAnswer) -> Value {
        let mut discover = self.discover();
        let mut answer = Some(answer);
        while let Some(want) = discover.poll_want() {
            let own = want.call.request().uri().path() == self.path;
            let answer = match answer.take_if(|_| own) {
                Some(answer) => Ok(answer),
                None => self.other(want.call),
            };
            discover.handle_answer(want.id, answer);
        }
        match discover.finish() {
            Ok(found) => see_discovery(&found),
            Err(error) => error.to_string().into(),
        }
    }

    /// What is in a document.
    fn expected(&self, document: &Value) -> Option<Value> {
        if document["code"] == 304 {
            return Some(json!({ "versions": [], "resources": [], "failures": [] }));
        }
        let mut found = Found::default();
        match document["kind"].as_str() {
            Some("APIGroupDiscoveryList") if self.version.is_none() => found.aggregated(document),
            Some("APIVersions") => {
                for version in strings(&document["versions"]) {
                    found.versions.push(json!(["", version]));
                    found.failures.push(version.into());
                }
            }
            Some("APIGroupList") => found.groups(document),
            Some("APIResourceList") => found.resources(document, self.version.as_ref()?),
            _ => return None,
        }
        Some(json!({
            "versions": found.versions,
            "resources": found.resources,
            "failures": found.failures,
        }))
    }
}

#[derive(Default)]
struct Found {
    versions: Vec<Value>,
    resources: Vec<Value>,
    failures: Vec<Value>,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    let texts = list(value).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The apiVersion of a subresource: as the resource's, if nothing else is said.
fn of_kind(kind: &Value, group: &str, version: &str) -> String {
    match (string(&kind["group"]), string(&kind["version"])) {
        ("", "") => joined(group, version),
        (group, version) => joined(group, version),
    }
}

impl Found {
    fn aggregated(&mut self, document: &Value) {
        for item in list(&document["items"]) {
            let group = string(&item["metadata"]["name"]);
            for version in list(&item["versions"]) {
                let name = string(&version["version"]);
                self.versions.push(json!([group, name]));
                if version["freshness"] == "Stale" {
                    self.failures.push(joined(group, name).into());
                }
                for resource in list(&version["resources"]) {
                    let subs: Vec<_> = list(&resource["subresources"])
                        .iter()
                        .map(|sub| {
                            json!([
                                string(&sub["subresource"]),
                                string(&sub["responseKind"]["kind"]),
                                of_kind(&sub["responseKind"], group, name),
                                strings(&sub["verbs"]),
                            ])
                        })
                        .collect();
                    self.resources.push(json!({
                        "apiVersion": joined(group, name),
                        "kind": string(&resource["responseKind"]["kind"]),
                        "plural": string(&resource["resource"]),
                        "namespaced": resource["scope"] != "Cluster",
                        "singular": string(&resource["singularResource"]),
                        "shortNames": strings(&resource["shortNames"]),
                        "categories": strings(&resource["categories"]),
                        "verbs": strings(&resource["verbs"]),
                        "subresources": subs,
                    }));
                }
            }
        }
    }

    /// The preferred version comes first; what is in them was not told.
    fn groups(&mut self, document: &Value) {
        for group in list(&document["groups"]) {
            let name = string(&group["name"]);
            let preferred = string(&group["preferredVersion"]["version"]);
            let versions = list(&group["versions"]).iter();
            let versions = versions.map(|version| string(&version["version"]));
            let (first, others): (Vec<_>, Vec<_>) =
                versions.partition(|version| *version == preferred);
            for version in first.into_iter().chain(others) {
                self.versions.push(json!([name, version]));
                self.failures.push(joined(name, version).into());
            }
        }
    }

    fn resources(&mut self, document: &Value, (group, version): &(String, String)) {
        self.versions.push(json!([group, version]));
        let all = list(&document["resources"]);
        for resource in all {
            let name = string(&resource["name"]);
            if name.contains('/') {
                continue;
            }
            let prefix = format!("{name}/");
            let subs: Vec<_> = all
                .iter()
                .filter_map(|sub| {
                    let own = string(&sub["name"]).strip_prefix(&prefix)?;
                    Some(json!([
                        own,
                        string(&sub["kind"]),
                        of_kind(sub, group, version),
                        strings(&sub["verbs"]),
                    ]))
                })
                .collect();
            self.resources.push(json!({
                "apiVersion": joined(group, version),
                "kind": string(&resource["kind"]),
                "plural": name,
                "namespaced": resource["namespaced"] == true,
                "singular": string(&resource["singularName"]),
                "shortNames": strings(&resource["shortNames"]),
                "categories": strings(&resource["categories"]),
                "verbs": strings(&resource["verbs"]),
                "subresources": subs,
            }));
        }
    }
}

fn see_discovery(found: &Discovery) -> Value {
    let versions: Vec<_> = found
        .group_versions()
        .map(|(group, version)| json!([group, version]))
        .collect();
    let resources: Vec<_> = found
        .resources()
        .map(|found| {
            let resource = found.resource();
            let subs: Vec<_> = found
                .subresources()
                .iter()
                .map(|sub| json!([sub.name, sub.kind, sub.api_version, sub.verbs]))
                .collect();
            json!({
                "apiVersion": resource.api_version(),
                "kind": resource.kind(),
                "plural": resource.plural(),
                "namespaced": resource.scope() == Scope::Namespaced,
                "singular": found.singular(),
                "shortNames": found.short_names(),
                "categories": found.categories(),
                "verbs": found.verbs(),
                "subresources": subs,
            })
        })
        .collect();
    let failures: Vec<_> = found
        .failures()
        .iter()
        .map(|failure| failure.what.clone())
        .collect();
    json!({ "versions": versions, "resources": resources, "failures": failures })
}
