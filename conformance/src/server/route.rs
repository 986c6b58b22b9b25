//! From a request to its handler.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::App;
use super::body::Body;
use super::call::{Call, Target};
use super::channels;
use super::delete;
use super::discovery;
use super::faults::Fault;
use super::list;
use super::logs;
use super::query::{Query, percent_decode};
use super::random;
use super::rbac::{self, Attributes};
use super::reply::{self, Bare, Reply};
use super::reviews;
use super::status::{Failure, Result};
use super::subresource;
use super::time::parse_go_duration;
use super::watch;
use super::write;

const BODY_LIMIT: usize = 3_145_728;

/// Answers one request; an error ends the connection without an answer.
pub(crate) async fn handle(
    app: Arc<App>,
    certificate: bool,
    request: Request<Incoming>,
) -> io::Result<Reply> {
    let counter = if request.version() == Version::HTTP_2 {
        &app.stats.http2_requests
    } else {
        &app.stats.http1_requests
    };
    counter.fetch_add(1, Ordering::SeqCst);
    let mut trouble = None;
    match app.faults.next() {
        None => {}
        Some(Fault::Answer {
            status,
            retry_after,
            body,
        }) => {
            // Or the answer may be lost to a client that still writes.
            let _ = read_body(request.into_body()).await;
            return Ok(substitute(status, retry_after, body));
        }
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Delay(by)) => tokio::time::sleep(by).await,
        Some(Fault::Body(kind)) => trouble = Some(kind),
    }
    let head = request.method() == Method::HEAD;
    let audit = request.headers().get("audit-id").cloned();
    let headers = request.headers().clone();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let mut response = match answer(app, certificate, request, query.clone()).await {
        Ok(response) => response,
        Err(failure) => reply::failure(&headers, &query, &failure),
    };
    if head {
        *response.body_mut() = Body::empty();
    }
    let bare = response.extensions().get::<Bare>().is_some();
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS && !bare {
        let fields = response.headers_mut();
        let audit = audit.or_else(|| HeaderValue::from_str(&random::uuid()).ok());
        if let Some(audit) = audit {
            fields.insert("audit-id", audit);
        }
        fields
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
    }
    Ok(match trouble {
        Some(kind) => response.map(|body| body.with_trouble(kind)),
        None => response,
    })
}

fn substitute(status: u16, retry_after: Option<u32>, body: String) -> Reply {
    let json = body.trim_start().starts_with('{');
    let content_type = if json {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut reply = reply::plain(status, content_type, Body::sized(body));
    if let Some(seconds) = retry_after {
        reply.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    reply
}

async fn answer(
    app: Arc<App>,
    certificate: bool,
    mut request: Request<Incoming>,
    query: Query,
) -> Result<Reply> {
    let Some(path) = percent_decode(request.uri().path(), false) else {
        return Err(Failure::text(400, "400 Bad Request").closing().bare());
    };
    let public = matches!(
        path.as_str(),
        "/version" | "/livez" | "/readyz" | "/healthz"
    );
    let upgrade = request.headers().contains_key(http::header::UPGRADE)
        && request.version() == Version::HTTP_11;
    let upgrading = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    // Before anything is refused: Go's server takes what is left of a body too, so that the refusal is not lost to
    // a client that still writes.
    let body = if upgrading.is_some() {
        Bytes::new()
    } else {
        read_body(incoming).await?
    };
    let identity = app.auth.authenticate(certificate, &parts.headers)?;
    if identity.user.is_anonymous() && !public && !is_resource(&path) {
        return Err(Failure::anonymous(&path));
    }
    if let Some(timeout) = query.get("timeout").filter(|t| !t.is_empty())
        && parse_go_duration(timeout).is_none()
    {
        let message = format!(
            "invalid timeout specified in the request URL - time: invalid duration \"{timeout}\""
        );
        return Err(Failure::bad_request(message));
    }
    let call = Call {
        app,
        method: parts.method,
        query,
        headers: parts.headers,
        user: identity.user,
        impersonator: identity.impersonator,
        body,
    };
    route(call, &path, upgrading).await
}

/// Whether a path names resources, so that what may be done with them is asked later.
fn is_resource(path: &str) -> bool {
    let depth = path.trim_matches('/').split('/').count();
    (path.starts_with("/api/") && depth > 2) || (path.starts_with("/apis/") && depth > 3)
}

async fn read_body(incoming: Incoming) -> Result<Bytes> {
    match Limited::new(incoming, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::body_too_large()),
        Err(_) => Err(Failure::bad_request("unexpected EOF")),
    }
}

async fn route(
    call: Call,
    path: &str,
    upgrading: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Reply> {
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    let segments: Vec<&str> = trimmed.split('/').collect();
    let reads = call.method == Method::GET;
    let read = |response: Result<Reply>| {
        if reads {
            response
        } else {
            Err(Failure::method_not_allowed())
        }
    };
    match segments.as_slice() {
        [""] => read(discovery::paths(&call)),
        ["version"] => read(Ok(discovery::version())),
        [endpoint @ ("livez" | "readyz" | "healthz"), ..] => {
            read(Ok(discovery::health(&call, endpoint)))
        }
        ["openapi", "v3", rest @ ..] => read(Ok(discovery::openapi(&call, rest))),
        ["api"] => read(discovery::root(&call, true)),
        ["apis"] => read(discovery::root(&call, false)),
        ["api", version] => read(discovery::resources(&call, "", version)),
        ["apis", group] => read(discovery::group(&call, group)),
        ["apis", group, version] => read(discovery::resources(&call, group, version)),
        ["api", version, rest @ ..] => resource(call, "", version, rest, upgrading).await,
        ["apis", group, version, rest @ ..] => {
            resource(call, group, version, rest, upgrading).await
        }
        _ => Err(Failure::page_not_found()),
    }
}

/// What a resource path names, and whether it is one of the deprecated watch paths.
fn target(call: &Call, group: &str, version: &str, rest: &[&str]) -> Result<(Target, bool)> {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] | ["namespaces"] => {
            (None, rest)
        }
        ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
        _ => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, subresource] => (*resource, *name, *subresource),
        _ => return Err(Failure::unknown_resource()),
    };
    let Some(kind) = call.app.kinds.find(group, version, resource) else {
        let known = call.app.kinds.has_group(group);
        return Err(if known {
            Failure::unknown_resource()
        } else {
            Failure::page_not_found()
        });
    };
    let scoped = namespace.is_some();
    if kind.namespaced != scoped && (scoped || !name.is_empty()) {
        return Err(Failure::unknown_resource());
    }
    for (what, segment) in [("Namespace", namespace.unwrap_or_default()), ("Name", name)] {
        let why = match segment {
            "." => "may not be '.'",
            ".." => "may not be '..'",
            other if other.contains('%') => "may not contain '%'",
            _ => continue,
        };
        return Err(Failure::bad_request(format!(
            "{what} parameter invalid: \"{segment}\": {why}"
        )));
    }
    let target = Target {
        kind,
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    };
    Ok((target, watch))
}

async fn resource(
    call: Call,
    group: &str,
    version: &str,
    rest: &[&str],
    upgrading: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Reply> {
    let asked = Attributes::of(&call, group, rest);
    rbac::authorize(&call, &asked)?;
    // A session is a creation, whatever its method.
    if matches!(asked.subresource, "exec" | "attach" | "portforward") && asked.verb == "get" {
        let create = Attributes {
            verb: "create",
            ..asked
        };
        if !call.app.grants.allow(&call.user, &create) {
            return Err(create.silently_forbidden());
        }
    }
    if let Some(response) = reviews::serve(&call, group, version, rest) {
        return response;
    }
    let (target, watch_path) = target(&call, group, version, rest)?;
    if watch_path && call.method == Method::GET {
        let name = Some(target.name.as_str()).filter(|name| !name.is_empty());
        return watch::watch(&call, &target, name).await;
    }
    if !target.subresource.is_empty() {
        return subresources(call, target, upgrading).await;
    }
    if target.name.is_empty() {
        let everywhere = target.kind.namespaced && target.namespace.is_empty();
        return match call.method {
            Method::GET if call.query.flag("watch").unwrap_or(false) => {
                watch::watch(&call, &target, None).await
            }
            Method::GET => list::list(&call, &target).await,
            Method::POST if !everywhere => write::create(&call, &target),
            Method::DELETE if !everywhere && !target.kind.is("", "namespaces") => {
                delete::delete_collection(&call, &target).await
            }
            _ => Err(Failure::method_not_allowed()),
        };
    }
    match call.method {
        Method::GET => list::get(&call, &target).await,
        Method::PUT => write::replace(&call, &target),
        Method::PATCH => write::patch(&call, &target),
        Method::DELETE => delete::delete(&call, &target),
        _ => Err(Failure::method_not_allowed()),
    }
}

async fn subresources(
    call: Call,
    target: Target,
    upgrading: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Reply> {
    if target.kind.is("", "pods") {
        match target.subresource.as_str() {
            "log" if call.method == Method::GET => return logs::serve(&call, &target),
            "log" => return Err(Failure::method_not_allowed()),
            "exec" | "attach" | "portforward" => {
                if !matches!(call.method, Method::GET | Method::POST) {
                    return Err(Failure::method_not_allowed());
                }
                return channels::serve(&call, &target, upgrading);
            }
            _ => {}
        }
    }
    match subresource::serve(&call, &target).await {
        Some(response) => response,
        None => Err(Failure::unknown_resource()),
    }
}
