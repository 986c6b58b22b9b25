//! In what two answers differ, beside what differs from one cluster or moment to the next.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What is not compared, and why; the first part of the written list.
pub(super) const IGNORED: &[(&str, &str)] = &[
    ("`Date`, `Audit-Id`", "differ with every answer"),
    (
        "`X-Kubernetes-Pf-*`",
        "uids of objects of priority and fairness, which clients do not read",
    ),
    (
        "`Content-Length` or chunks, and where chunks are cut",
        "a matter of buffers in the real server; bodies are compared after decoding",
    ),
    (
        "values of `Etag`, `Last-Modified`, `Expires`, `Location`'s hash",
        "hashes and times; that they are there is compared",
    ),
    (
        "uids, resourceVersions, times and ages, addresses, container ids, generated names, continue tokens, certificates",
        "replaced by placeholders before anything is compared, in texts as well",
    ),
    (
        "cuts of frames, and the order of standard output and error among each other",
        "races in the real server; each channel's bytes are compared as a whole",
    ),
];

/// Headers whose value is compared.
const EXACT: &[&str] = &[
    "content-type",
    "cache-control",
    "warning",
    "retry-after",
    "vary",
    "allow",
    "connection",
    "content-encoding",
    "upgrade",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "x-content-type-options",
    "x-stream-protocol-version",
    "accept-ranges",
];

/// Headers of which it is only compared that they are there.
const PRESENT: &[&str] = &["etag", "last-modified", "expires", "location"];

/// One difference: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The place, such as `status`, `header warning` or `body.items[].status`.
    pub place: String,
    /// What was expected and what came, for people.
    pub detail: String,
}

impl Difference {
    pub(super) fn new(place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            detail: detail.into(),
        }
    }

    pub(super) fn between(place: &str, expected: &str, got: &str) -> Self {
        Self::new(place, format!("{} instead of {}", cut(got), cut(expected)))
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(240) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

type Headers = [(String, String)];

/// Differences of two heads.
pub(super) fn heads(expected: &Headers, got: &Headers, found: &mut Vec<Difference>) {
    let values = |headers: &Headers, name: &str| -> Vec<String> {
        let mut values: Vec<String> = headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| scrub(value))
            .collect();
        values.sort();
        values
    };
    for name in EXACT {
        let (a, b) = (values(expected, name), values(got, name));
        if a != b {
            let place = format!("header {name}");
            found.push(Difference::between(
                &place,
                &format!("{a:?}"),
                &format!("{b:?}"),
            ));
        }
    }
    for name in PRESENT {
        let (a, b) = (values(expected, name).len(), values(got, name).len());
        if a != b {
            found.push(Difference::new(
                format!("header {name}"),
                format!("{b} times instead of {a}"),
            ));
        }
    }
}

/// Fields that hold something else on every cluster.
fn volatile(key: &str) -> bool {
    matches!(
        key,
        "uid"
            | "resourceVersion"
            | "continue"
            | "time"
            | "startedAt"
            | "finishedAt"
            | "startTime"
            | "eventTime"
            | "containerID"
            | "imageID"
            | "hostIP"
            | "podIP"
            | "ip"
            | "clusterIP"
            | "nodeName"
            | "token"
            | "host"
    ) || key.ends_with("Timestamp")
        || key.ends_with("Time")
}

/// Differences of two JSON values.
pub(super) fn values(place: &str, expected: &Value, got: &Value, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Value::Object(a), Value::Object(b)) => {
            // Keys may hold addresses: those of managed fields.
            let scrubbed = |map: &'_ Map<String, Value>| -> BTreeMap<String, Value> {
                let entry = |(key, value): (&String, &Value)| (scrub(key), value.clone());
                map.iter().map(entry).collect()
            };
            let (a, b) = (scrubbed(a), scrubbed(b));
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let inner = format!("{place}.{key}");
                let generated = key == "name" && expected.get("generateName").is_some();
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) if generated || volatile(key) => types(&inner, a, b, found),
                    (Some(a), Some(b)) => values(&inner, a, b, found),
                    (Some(a), None) => found.push(Difference::new(
                        inner,
                        format!("{} is missing", cut(&a.to_string())),
                    )),
                    (None, Some(b)) => found.push(Difference::new(
                        inner,
                        format!("{} is too much", cut(&b.to_string())),
                    )),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let inner = format!("{place}[]");
            if a.len() != b.len() {
                found.push(Difference::new(
                    inner.clone(),
                    format!("{} entries instead of {}", b.len(), a.len()),
                ));
            }
            for (a, b) in a.iter().zip(b) {
                values(&inner, a, b, found);
            }
        }
        (Value::String(a), Value::String(b)) => {
            if a != b && scrub(a) != scrub(b) {
                found.push(Difference::between(place, &scrub(a), &scrub(b)));
            }
        }
        _ if expected == got => {}
        _ => found.push(Difference::between(
            place,
            &expected.to_string(),
            &got.to_string(),
        )),
    }
}

/// The same type is enough.
fn types(place: &str, expected: &Value, got: &Value, found: &mut Vec<Difference>) {
    if std::mem::discriminant(expected) != std::mem::discriminant(got) {
        found.push(Difference::between(
            place,
            &expected.to_string(),
            &got.to_string(),
        ));
    }
}

/// A text without what differs from one moment to the next.
pub(super) fn plain(bytes: &[u8]) -> String {
    without_counts(&scrub(&String::from_utf8_lossy(bytes)))
}

/// Differences of two texts.
pub(super) fn texts(place: &str, expected: &[u8], got: &[u8], found: &mut Vec<Difference>) {
    if expected == got {
        return;
    }
    let (a, b) = (plain(expected), plain(got));
    if a != b {
        found.push(Difference::between(
            place,
            &format!("{a:?}"),
            &format!("{b:?}"),
        ));
    }
}

/// Replaces what looks like a uid, a time, an address or a large number.
pub(super) fn scrub(text: &str) -> String {
    if text.starts_with("-----BEGIN CERTIFICATE-----") {
        return "<certificate>".to_owned();
    }
    let text = without_namespaces(&without_dates(text));
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for char in text.chars() {
        if char.is_ascii_alphanumeric() || matches!(char, '-' | ':' | '.' | '+') {
            word.push(char);
        } else {
            out.push_str(&placeholder(&word));
            word.clear();
            out.push(char);
        }
    }
    out.push_str(&placeholder(&word));
    // Versions of the server, however small they are.
    for before in ["current: ", "too old resource version: 1 ("] {
        if let Some(at) = out.find(before) {
            out.truncate(at + before.len());
            out.push_str("<number>");
        }
    }
    out
}

/// Dates of HTTP are of fixed length: `Mon, 23 Nov 2026 06:26:18 GMT`.
fn without_dates(text: &str) -> String {
    const ZONE: &str = " GMT";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(ZONE) {
        let (before, after) = rest.split_at(at);
        match before
            .len()
            .checked_sub(25)
            .and_then(|start| before.get(..start))
        {
            Some(start) => {
                out.push_str(start);
                out.push_str("<date>");
            }
            None => out.push_str(before),
        }
        rest = &after[ZONE.len()..];
    }
    out + rest
}

/// Files of network namespaces, quoted.
fn without_namespaces(text: &str) -> String {
    let file = |part: &str| part.starts_with('/') && part.contains("/netns/");
    let parts: Vec<&str> = text
        .split('"')
        .map(|part| if file(part) { "<netns>" } else { part })
        .collect();
    parts.join("\"")
}

fn placeholder(word: &str) -> String {
    let bare = word.trim_end_matches(['.', ':', ',']);
    let tail = &word[bare.len()..];
    let uid = bare
        .len()
        .checked_sub(36)
        .and_then(|at| bare.split_at_checked(at));
    if let Some((before, uid)) = uid
        && is_uid(uid)
    {
        return format!("{before}<uid>{tail}");
    }
    let kind = if is_age(bare) {
        "<age>"
    } else if is_tag(bare) {
        "<tag>"
    } else if is_time(bare) {
        "<time>"
    } else if is_address(bare) || bare == "node-1" {
        // The recorded node is named after its address.
        "<address>"
    } else if bare.len() >= 40 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "<hash>"
    } else if bare.len() >= 4 && bare.len() <= 8 && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        "<number>"
    } else {
        return word.to_owned();
    };
    format!("{kind}{tail}")
}

fn is_uid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| {
            if matches!(at, 8 | 13 | 18 | 23) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// What a program counts depends on when it began.
fn without_counts(text: &str) -> String {
    const COUNTED: &str = "tick ";
    let mut parts = text.split(COUNTED);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(COUNTED);
        out.push_str(part.trim_start_matches(|char: char| char.is_ascii_digit()));
    }
    out
}

/// `76m`, `9s`: how long ago something was made.
fn is_age(word: &str) -> bool {
    word.strip_suffix(['s', 'm', 'h', 'd'])
        .is_some_and(|digits| digits.len() < 4 && digits.parse::<u16>().is_ok())
}

/// A tag of a file: its time and its size.
fn is_tag(word: &str) -> bool {
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    word.split_once('-')
        .is_some_and(|(time, size)| time.len() == 8 && hex(time) && hex(size))
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 19
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
}

fn is_address(word: &str) -> bool {
    let host = word.split(':').next().unwrap_or_default();
    host.split('.').count() == 4
        && host
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changes_with_the_cluster_is_replaced() {
        assert_eq!(
            scrub(
                "pod 0b91f1ff-cf57-4ff7-9b57-2c3b9cd9a0c1 at 10.88.0.7:8080, 2026-01-02T03:04:05Z: rv 5869, exit 137."
            ),
            "pod <uid> at <address>, <time>: rv <number>, exit 137."
        );
        assert_eq!(scrub("version 1.36.2 of a-b-c"), "version 1.36.2 of a-b-c");
    }

    #[test]
    fn differences_have_places() {
        let mut found = Vec::new();
        let a = json!({"a": [{"uid": "x", "n": 1}], "b": "s", "c": 1});
        let b = json!({"a": [{"uid": "y", "n": 2}, {}], "b": 3, "d": 1});
        values("body", &a, &b, &mut found);
        let places: Vec<_> = found.iter().map(|found| found.place.as_str()).collect();
        assert_eq!(
            places,
            ["body.a[]", "body.a[].n", "body.b", "body.c", "body.d"]
        );
    }
}
