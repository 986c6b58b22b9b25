//! Which operation of the public API an upgrade is, and in what its request may differ.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::intent::bad_segment;
use super::super::target::Target;
use super::super::transcript::{Body, Request};
use super::model::Asked;
use super::script::SessionAsk;

/// How an upgrade is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// By an operation.
    Operation,
    /// The operation refuses, and should.
    Refuse(&'static str),
    /// No operation expresses it; why not.
    Raw(String),
}

/// What the transport adds, or the program by `Upgrade::request_mut`.
const TRANSPORT: &[&str] = &[
    "host",
    "user-agent",
    "connection",
    "upgrade",
    "content-length",
    "authorization",
    "accept-encoding",
    "origin",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-protocol",
];

fn all<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request
        .headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// The key of the handshake, which has 16 bytes.
pub(super) fn key(request: &Request) -> Option<[u8; 16]> {
    let [key] = all(request, "sec-websocket-key")[..] else {
        return None;
    };
    STANDARD.decode(key).ok()?.try_into().ok()
}

fn token(values: &[&str], wanted: &str) -> bool {
    values
        .iter()
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// The ports, if all of them are such.
pub(super) fn ports(ask: &SessionAsk) -> Option<Vec<u16>> {
    ask.ports.iter().map(|port| port.parse().ok()).collect()
}

/// What the model needs to know.
pub(super) fn asked(ask: &SessionAsk) -> Asked {
    if ask.subresource == "portforward" {
        return Asked::Ports(ports(ask).unwrap_or_default());
    }
    Asked::Streams {
        attach: ask.subresource == "attach",
        stdin: ask.stdin,
        stdout: ask.stdout,
        stderr: ask.stderr,
        tty: ask.tty,
    }
}

impl Plan {
    pub(super) fn of(ask: &SessionAsk, request: &Request) -> Result<Self, String> {
        let inexpressible = inexpressible(ask, request)?;
        Ok(match (inexpressible, refuse(ask)) {
            (Some(why), _) => Self::Raw(why),
            (None, Some(why)) => Self::Refuse(why),
            (None, None) => Self::Operation,
        })
    }
}

fn inexpressible(ask: &SessionAsk, request: &Request) -> Result<Option<String>, String> {
    if request.method != "GET" {
        return Ok(Some(format!("{} where an upgrade is GET", request.method)));
    }
    if !token(&all(request, "upgrade"), "websocket") {
        return Ok(Some("an upgrade to no WebSocket".to_owned()));
    }
    let version = all(request, "sec-websocket-version");
    if version != ["13"] {
        let version = version.join(", ");
        return Ok(Some(format!("Sec-WebSocket-Version {version}")));
    }
    if key(request).is_none() {
        return Ok(Some("no Sec-WebSocket-Key of 16 bytes".to_owned()));
    }
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if name == "accept" && value.trim() != "*/*" {
            return Ok(Some(format!("Accept: {value}")));
        }
        if name != "accept"
            && !TRANSPORT.contains(&name.as_str())
            && !name.starts_with("impersonate-")
        {
            return Ok(Some(format!("header {name}")));
        }
    }
    if request.body()? != Body::Bytes(Vec::new()) {
        return Ok(Some("an upgrade with a body".to_owned()));
    }
    if !Target::parse(&request.target).dropped.is_empty() {
        return Ok(Some("a query that servers read only in part".to_owned()));
    }
    if !ask.others.is_empty() {
        return Ok(Some(format!("parameter {}", ask.others.join(", "))));
    }
    if ports(ask).is_none() {
        return Ok(Some(
            "a value of ports that the option's type has not".to_owned(),
        ));
    }
    Ok(None)
}

fn refuse(ask: &SessionAsk) -> Option<&'static str> {
    if let Some(why) = bad_segment(&ask.namespace).or_else(|| bad_segment(&ask.pod)) {
        return Some(why);
    }
    if ask.subresource == "portforward" {
        let ports = ports(ask)?;
        return match ports.len() {
            0 => Some("a port-forward without ports"),
            1..=127 => ports.contains(&0).then_some("port 0"),
            _ => Some("more than 127 ports"),
        };
    }
    if ask.subresource == "exec" && ask.command.is_empty() {
        return Some("an exec without command");
    }
    let stderr = ask.stderr && !ask.tty;
    (!ask.stdin && !ask.stdout && !stderr).then_some("none of stdin, stdout and stderr")
}

/// An upgrade in the form in which two are compared, and the equivalences that made it so.
pub(super) struct Canonical {
    pub(super) form: Value,
    pub(super) used: BTreeSet<&'static str>,
}

impl Canonical {
    pub(super) fn of(request: &Request) -> Self {
        let target = Target::parse(&request.target);
        let mut used = BTreeSet::from(["transport", "offer"]);
        if request.target.contains(['%', '+']) {
            used.insert("encoding");
        }
        let ask = SessionAsk::of(request);
        let flags: Vec<_> = ask
            .iter()
            .flat_map(|ask| {
                [
                    ("stdin", ask.stdin),
                    ("stdout", ask.stdout),
                    ("stderr", ask.stderr && !ask.tty),
                    ("tty", ask.tty),
                ]
            })
            .filter(|(_, asked)| *asked)
            .map(|(name, _)| name)
            .collect();
        let mut container = None;
        if let Some(ask) = &ask {
            let streams = ["stdin", "stdout", "stderr", "tty"];
            let mut values = streams.iter().filter_map(|key| target.parameter(key));
            if values.any(|value| value != "true") {
                used.insert("boolean");
            }
            if ask.stderr && ask.tty {
                used.insert("terminal");
            }
            if target.parameters("ports").any(|list| list.contains(',')) {
                used.insert("ports");
            }
            if ask.container.as_deref() == Some("") {
                used.insert("container");
            }
            container = ask.container.as_deref().filter(|name| !name.is_empty());
        }
        if request.header("accept").is_some() {
            used.insert("accept");
        }
        let form = json!({
            "method": request.method,
            "path": target.segments,
            // Arguments and ports have an order.
            "command": ask.as_ref().map(|ask| &ask.command),
            "ports": ask.as_ref().map(|ask| &ask.ports),
            "flags": flags,
            "container": container,
            "others": ask.as_ref().map(|ask| &ask.others),
            "accept": all(request, "accept").iter().filter(|value| **value != "*/*").collect::<Vec<_>>(),
            "upgrade": all(request, "upgrade").iter().map(|value| value.to_ascii_lowercase()).collect::<Vec<_>>(),
            "connection": token(&all(request, "connection"), "upgrade"),
            "version": all(request, "sec-websocket-version"),
            "key": all(request, "sec-websocket-key"),
            "extensions": all(request, "sec-websocket-extensions"),
        });
        Self { form, used }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::compare::differences;
    use super::*;

    fn request(target: &str) -> Request {
        let text = json!({ "method": "GET", "target": target, "headers": [
            ["Connection", "keep-alive, Upgrade"], ["Upgrade", "WebSocket"],
            ["Sec-WebSocket-Version", "13"], ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="]] });
        serde_json::from_value(text).unwrap()
    }

    fn plan(target: &str) -> Plan {
        let request = request(target);
        Plan::of(&SessionAsk::of(&request).unwrap(), &request).unwrap()
    }

    #[test]
    fn upgrades_are_recognized() {
        let pod = "/api/v1/namespaces/a/pods/b";
        let raw = |why: &str| Plan::Raw(why.to_owned());
        for (query, expected) in [
            ("/exec?command=sh&stdin=1", Plan::Operation),
            ("/exec?stdin=1", Plan::Refuse("an exec without command")),
            (
                "/attach?stderr=true&tty=true",
                Plan::Refuse("none of stdin, stdout and stderr"),
            ),
            ("/attach?stdout=true&command=sh", raw("parameter command")),
            ("/attach?stdout=true&stdout=1", raw("parameter stdout")),
            ("/portforward?ports=1,2&ports=2", Plan::Operation),
            ("/portforward?ports=1&ports=0", Plan::Refuse("port 0")),
            ("/portforward", Plan::Refuse("a port-forward without ports")),
            (
                "/portforward?ports=65536",
                raw("a value of ports that the option's type has not"),
            ),
        ] {
            assert_eq!(plan(&format!("{pod}{query}")), expected, "{query}");
        }
        assert_eq!(
            plan("/api/v1/namespaces//pods/b/attach?stdout=true"),
            Plan::Refuse("an empty name")
        );
    }

    #[test]
    fn arguments_have_an_order_and_flags_have_not() {
        let exec = "/api/v1/namespaces/a/pods/b/exec";
        let form = |query: &str| Canonical::of(&request(&format!("{exec}?{query}"))).form;
        let of = form("command=a&command=b&stdin=true&stdout=true&tty=true");
        for (query, same) in [
            (
                "tty=1&stdout=yes&command=a&stdin=true&command=b&stderr=true",
                true,
            ),
            (
                "command=%61&command=b&stdin=true&stdout=true&tty=true&container=",
                true,
            ),
            ("command=b&command=a&stdin=true&stdout=true&tty=true", false),
            ("command=a&command=b&stdin=true&stdout=true", false),
            (
                "command=a&command=b&stdin=true&stdout=true&tty=true&container=c",
                false,
            ),
            (
                "command=a&command=b&stdin=true&stdout=true&tty=true&x=y",
                false,
            ),
        ] {
            assert_eq!(differences(&of, &form(query)).is_empty(), same, "{query}");
        }
    }
}
