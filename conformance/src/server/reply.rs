//! Writing answers.

use std::io::Write as _;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::call::Call;
use super::encode::{self, Style};
use super::kinds::Kind;
use super::negotiate::{self, Accepted, Format, Transform};
use super::query::Query;
use super::status::{Failure, Result};
use super::table;

pub(crate) type Reply = Response<Body>;

const GZIP_FROM: usize = 128 << 10;

pub(crate) fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer with a content type; none if that is empty.
pub(crate) fn plain(code: u16, content_type: &'static str, body: Body) -> Reply {
    let mut response = Response::new(body);
    *response.status_mut() = status_code(code);
    if !content_type.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

pub(crate) fn text(code: u16, text: &str) -> Reply {
    let mut response = plain(
        code,
        "text/plain; charset=utf-8",
        Body::sized(text.to_owned()),
    );
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn serialize(value: &Value, style: Style, format: Format, pretty: bool) -> (Vec<u8>, &'static str) {
    match format {
        Format::Yaml => (encode::to_yaml(value), "application/yaml"),
        Format::Json if pretty => (encode::to_json_pretty(value, style), "application/json"),
        Format::Json => {
            let mut bytes = encode::to_json(value, style);
            bytes.push(b'\n');
            (bytes, "application/json")
        }
    }
}

/// A value that is no object of the API: discovery, reviews, `Status`.
pub(crate) fn value(call: &Call, code: u16, value: &Value) -> Result<Reply> {
    let accepted = negotiate::accept(&call.headers, &call.query, false)?;
    let (bytes, content_type) = serialize(value, Style::Typed, accepted.format, accepted.pretty);
    Ok(plain(code, content_type, Body::buffered(bytes)))
}

/// Marks an answer that gets none of the headers that every answer has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare;

/// A refusal, in the representation that the client accepts.
pub(crate) fn failure(headers: &HeaderMap, query: &Query, failure: &Failure) -> Reply {
    let mut response = match failure.plain_text() {
        Some(body) if failure.is_untyped() => {
            plain(failure.code(), "", Body::sized(body.to_owned()))
        }
        Some(body) if failure.code() == 404 => text(404, body),
        Some(body) => plain(
            failure.code(),
            "text/plain; charset=utf-8",
            Body::sized(body.to_owned()),
        ),
        None => {
            let (format, pretty) = negotiate::error_format(headers, query);
            let (bytes, content_type) = serialize(failure.status(), Style::Typed, format, pretty);
            plain(failure.code(), content_type, Body::sized(bytes))
        }
    };
    if let Some(seconds) = failure.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if failure.is_bare() {
        response.extensions_mut().insert(Bare);
    }
    if let Some((name, value)) = failure.more_header() {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    if failure.closes() {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The metadata of an object alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A custom object in the version that was asked for.
pub(crate) fn in_version(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if kind.custom.is_some() {
        object["apiVersion"] = kind.api_version().into();
    }
    object
}

fn go_type(kind: &Kind, list: bool) -> String {
    if kind.custom.is_some() {
        return format!(
            "*unstructured.Unstructured{}",
            if list { "List" } else { "" }
        );
    }
    let package = if kind.group.is_empty() {
        "core"
    } else {
        kind.group.split('.').next().unwrap_or_default()
    };
    format!("*{package}.{}{}", kind.kind, if list { "List" } else { "" })
}

/// One object.
pub(crate) fn object(call: &Call, kind: &Kind, code: u16, object: &Value) -> Result<Reply> {
    let accepted = negotiate::accept(&call.headers, &call.query, false)?;
    let (value, style) = match accepted.transform {
        Transform::None => (in_version(kind, object), kind.style()),
        Transform::Metadata => (partial(object), Style::Typed),
        Transform::Table => (
            table::table(
                call,
                kind,
                &[object],
                &json!({"resourceVersion": object["metadata"]["resourceVersion"]}),
            )?,
            Style::Typed,
        ),
        Transform::MetadataList => {
            let message = format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                go_type(kind, false)
            );
            return Err(Failure::new(406, "NotAcceptable", message));
        }
    };
    Ok(encoded(call, kind, accepted, code, &value, style))
}

/// A list of objects; `metadata` is that of the list.
pub(crate) fn list<V: AsRef<Value>>(
    call: &Call,
    kind: &Kind,
    items: &[V],
    mut metadata: Value,
) -> Result<Reply> {
    let accepted = negotiate::accept(&call.headers, &call.query, false)?;
    let (value, style) = match accepted.transform {
        Transform::None => {
            let item = |item: &V| {
                let mut item = in_version(kind, item.as_ref());
                if kind.custom.is_none()
                    && let Some(map) = item.as_object_mut()
                {
                    map.remove("kind");
                    map.remove("apiVersion");
                }
                item
            };
            if kind.custom.is_some() && metadata.get("continue").is_none() {
                metadata["continue"] = "".into();
            }
            let items: Vec<Value> = items.iter().map(item).collect();
            let value = json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(), "metadata": metadata, "items": items});
            (value, kind.style())
        }
        Transform::MetadataList => {
            let items: Value = if items.is_empty() {
                Value::Null
            } else {
                items.iter().map(|item| partial(item.as_ref())).collect()
            };
            let value = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items});
            (value, Style::Typed)
        }
        Transform::Table => {
            let items: Vec<&Value> = items.iter().map(AsRef::as_ref).collect();
            (table::table(call, kind, &items, &metadata)?, Style::Typed)
        }
        Transform::Metadata => {
            let message = format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({})",
                go_type(kind, true)
            );
            return Err(Failure::new(406, "NotAcceptable", message));
        }
    };
    Ok(encoded(call, kind, accepted, 200, &value, style))
}

fn encoded(
    call: &Call,
    kind: &Kind,
    accepted: Accepted,
    code: u16,
    value: &Value,
    style: Style,
) -> Reply {
    let (bytes, content_type) = serialize(value, style, accepted.format, accepted.pretty);
    let compress = call.method == http::Method::GET
        && bytes.len() > GZIP_FROM
        && negotiate::gzip(&call.headers);
    let compressed = if compress { gzip(&bytes) } else { None };
    let is_compressed = compressed.is_some();
    let mut response = plain(
        code,
        content_type,
        Body::buffered(compressed.unwrap_or(bytes)),
    );
    if is_compressed {
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let Some(warning) = kind.custom.as_ref().and_then(|c| c.warning.as_deref()) {
        warn(&mut response, warning);
    }
    if kind.is("", "endpoints") {
        warn(
            &mut response,
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        );
    }
    response
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Adds a `Warning` header.
pub(crate) fn warn(response: &mut Reply, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
        response
            .headers_mut()
            .append(HeaderName::from_static("warning"), value);
    }
}
