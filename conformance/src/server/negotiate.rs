//! Which representation a client asks for.

use http::HeaderMap;

use super::query::Query;
use super::status::{Failure, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// The `as` parameter of a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    None,
    Metadata,
    MetadataList,
    Table,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) format: Format,
    pub(crate) transform: Transform,
    pub(crate) pretty: bool,
}

const REPRESENTATIONS: &str =
    "application/json, application/yaml, application/vnd.kubernetes.protobuf";

struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(k, _)| *k == name)
            .map(|(_, v)| *v)
    }
}

fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut clauses: Vec<Clause<'_>> = values
        .flat_map(|v| v.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
            let quality = parameters
                .iter()
                .find(|(k, _)| *k == "q")
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(1.0);
            Clause {
                media_type,
                parameters,
                quality,
            }
        })
        .filter(|clause| !clause.media_type.is_empty())
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    let agent = headers
        .get(http::header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    query.flag("pretty").unwrap_or_else(|| {
        ["curl", "Wget", "Mozilla/5.0"]
            .iter()
            .any(|p| agent.starts_with(p))
    })
}

fn transform(clause: &Clause<'_>) -> Option<Transform> {
    match (
        clause.parameter("as"),
        clause.parameter("g"),
        clause.parameter("v"),
    ) {
        (None, _, _) => Some(Transform::None),
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Transform::Table),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io"), Some("v1")) => {
            Some(Transform::Metadata)
        }
        (Some("PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
            Some(Transform::MetadataList)
        }
        _ => None,
    }
}

const STREAMS: &str =
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// Chooses the representation of an answer.
pub(crate) fn accept(headers: &HeaderMap, query: &Query, watch: bool) -> Result<Accepted> {
    let pretty = wants_pretty(headers, query);
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Accepted {
            format: Format::Json,
            transform: Transform::None,
            pretty,
        });
    }
    let mut refused_transform = false;
    let mut streams_only = false;
    for clause in &clauses {
        let format = match clause.media_type {
            "*/*" | "application/json" => Format::Json,
            "application/yaml" if !watch => Format::Yaml,
            // Known, but not as a stream.
            "application/yaml" => {
                streams_only = true;
                continue;
            }
            _ => continue,
        };
        if let Some(transform) = transform(clause) {
            let pretty = clause
                .parameter("pretty")
                .map_or(pretty, |v| v == "1" || v == "true");
            return Ok(Accepted {
                format,
                transform,
                pretty,
            });
        }
        refused_transform = true;
    }
    if streams_only {
        let message = format!("only the following media types are accepted: {STREAMS}");
        return Err(Failure::new(406, "NotAcceptable", message));
    }
    Err(not_acceptable(refused_transform, watch))
}

fn not_acceptable(refused_transform: bool, watch: bool) -> Failure {
    if refused_transform {
        let message = format!("only the following media types are accepted: {REPRESENTATIONS}");
        return Failure::new(406, "NotAcceptable", message);
    }
    let more = if watch {
        format!(", {STREAMS}")
    } else {
        String::new()
    };
    let message =
        format!("406: Not Acceptable\n\nAvailable representations: {REPRESENTATIONS}{more}");
    Failure::new(406, "NotAcceptable", message).details(serde_json::json!({}))
}

/// How a failure is written: by what the client accepts, and for people if that is nothing.
pub(crate) fn error_format(headers: &HeaderMap, query: &Query) -> (Format, bool) {
    let clauses = clauses(headers);
    let plain = |clause: &Clause<'_>| {
        matches!(
            clause.media_type,
            "*/*" | "application/*" | "application/json"
        )
    };
    match clauses.first() {
        None => (Format::Json, wants_pretty(headers, query)),
        Some(first) if first.media_type == "application/yaml" => (Format::Yaml, false),
        Some(first) if first.parameter("as").is_some() => (Format::Json, true),
        Some(_) if clauses.iter().any(plain) => (Format::Json, wants_pretty(headers, query)),
        Some(_) => (Format::Json, true),
    }
}

/// Whether aggregated discovery (v2) is asked for before legacy discovery.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Result<bool> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(false);
    }
    for clause in &clauses {
        match (
            clause.media_type,
            clause.parameter("as"),
            clause.parameter("v"),
        ) {
            ("application/json", Some("APIGroupDiscoveryList"), Some("v2")) => return Ok(true),
            ("application/json" | "*/*", None, _) => return Ok(false),
            _ => {}
        }
    }
    Err(not_acceptable(true, false))
}

/// Whether large answers may be compressed: the bare token only.
pub(crate) fn gzip(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(http::header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .any(|token| token.trim() == "gzip")
}

/// The media type of a request body without its parameters; JSON if there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let bare = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if bare.is_empty() {
        "application/json".into()
    } else {
        bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, accept.parse().unwrap());
        headers
    }

    #[test]
    fn clauses_fall_back_in_order_of_quality() {
        let query = Query::default();
        let chosen = |text: &str| {
            accept(&headers(text), &query, false)
                .map(|a| (a.format, a.transform))
                .ok()
        };
        assert_eq!(
            chosen("application/cbor, application/json;q=0.9"),
            Some((Format::Json, Transform::None))
        );
        assert_eq!(
            chosen("application/yaml"),
            Some((Format::Yaml, Transform::None))
        );
        assert_eq!(chosen("application/*"), None);
        assert_eq!(chosen("application/json;as=Nope;g=meta.k8s.io;v=v1"), None);
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(chosen(table), Some((Format::Json, Transform::Table)));
        assert!(accept(&headers("application/yaml"), &query, true).is_err());
    }

    #[test]
    fn only_the_bare_token_asks_for_gzip() {
        for (value, expected) in [
            ("gzip", true),
            ("gzip, deflate", true),
            ("gzip;q=1", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(gzip(&headers), expected, "{value}");
        }
    }
}
