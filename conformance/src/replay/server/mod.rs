//! Operations that are about no object of a collection: version, health, discovery, proxies, and
//! requests for any path.

mod discovery;
mod run;

use kubewire::discovery::{Health, HealthReport, VersionInfo};
use kubewire::{ApiResource, Namespace, Scope};
use serde_json::{Value, json};

use super::compare::{gzip, plain_json};
use super::intent::{Common, bad_segment};
use super::kinds::Kinds;
use super::request::{Or, Parameters, Place};
use super::target::{Target, media_type};
use super::transcript::{Body, Request, Transcript};
use discovery::{DiscoveryAsk, discovery};

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
        plain_json(&media, &mut parameters);
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
        gzip: request.header("accept-encoding").is_some_and(gzip),
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
