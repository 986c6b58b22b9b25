//! What should come out, read from the recorded bytes with nothing of kubewire.

use serde_json::{Value, json};

use super::feed::{Answer, status_value};
use super::transcript::{Coding, Ending, Response};

/// How an answer is to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One JSON value.
    Object,
    /// One JSON value, or none for 404.
    Optional,
    /// A list, collected.
    List,
    /// A list, item by item.
    Items,
    /// A watch.
    Watch,
    /// A log, line by line.
    Lines,
    /// The body as it is.
    Bytes,
    /// The body as it comes.
    Chunks,
    /// Any text, line by line.
    Text,
    /// The answer of a deletion.
    Deleted,
    /// The answer of the deletion of a collection.
    DeletedCollection,
    /// The report of a server about itself: also of one that is not well.
    Health,
    /// A discovery document: also one that has not changed.
    Discovery,
}

impl Shape {
    pub(super) fn is_streaming(self) -> bool {
        matches!(
            self,
            Self::Items | Self::Watch | Self::Lines | Self::Chunks | Self::Text
        )
    }
}

/// What is needed to know what should come out.
pub(super) struct Expectation<'a> {
    pub(super) response: &'a Response,
    pub(super) answer: &'a Answer,
    pub(super) shape: Shape,
    /// Kind and apiVersion of objects that come without, if their list does not tell.
    pub(super) types: (String, String),
    /// An object as it should come out; none if it does not fit its type.
    pub(super) object: &'a dyn Fn(&Value) -> Option<Value>,
    /// The canonical request, for the next page.
    pub(super) request: Option<&'a Value>,
}

fn fault(kind: &str) -> Value {
    json!({ "kind": kind })
}

impl Expectation<'_> {
    /// The outcome in the form of [`feed`](super::feed::feed).
    pub(super) fn outcome(&self) -> Value {
        let warnings: Vec<_> = self
            .response
            .header_values("warning")
            .flat_map(|value| warnings(&value))
            .collect();
        let (items, end, next) = self.parts();
        json!({ "warnings": warnings, "items": items, "end": end, "next": next })
    }

    fn parts(&self) -> (Vec<Value>, Value, Value) {
        let left = self.answer.ending == Ending::Left;
        let none = Value::Null;
        let Some(code) = self.response.status else {
            let end = if left {
                "open".into()
            } else {
                fault("Truncated")
            };
            return (Vec::new(), end, none);
        };
        if !self.response.is_success() {
            if left {
                return (Vec::new(), "open".into(), none);
            }
            let failure = self.failure(code);
            let own = (self.shape == Shape::Discovery && code == 304)
                || (self.shape == Shape::Health && code == 500 && failure["status"].is_null());
            if own {
                let body = super::see::text(&self.answer.body);
                let item = (self.object)(&json!({ "code": code, "body": body }));
                return (item.into_iter().collect(), "done".into(), none);
            }
            let missing = failure["is"]
                .as_array()
                .is_some_and(|is| is.contains(&"not found".into()));
            if self.shape == Shape::Optional && missing {
                return (vec![Value::Null], "done".into(), none);
            }
            return (Vec::new(), failure, none);
        }
        if self.response.coding() == Coding::Other || self.answer.damaged {
            return (Vec::new(), fault("Peer"), none);
        }
        match self.shape {
            Shape::Watch => {
                let (items, end) = self.watch();
                (items, end, none)
            }
            Shape::Chunks => {
                let end = match self.answer.ending {
                    Ending::Clean => "done".into(),
                    Ending::Truncated => fault("Truncated"),
                    Ending::Left => "open".into(),
                };
                (vec![super::see::text(&self.answer.body).into()], end, none)
            }
            Shape::Lines | Shape::Text => {
                let end = match self.answer.ending {
                    Ending::Clean => "done".into(),
                    Ending::Truncated => fault("Truncated"),
                    Ending::Left => "open".into(),
                };
                let lines = self
                    .lines()
                    .map(super::see::text)
                    .map(Value::from)
                    .collect();
                (lines, end, none)
            }
            _ if left => (Vec::new(), "open".into(), none),
            Shape::List | Shape::Items => self.list(),
            Shape::DeletedCollection => self.deleted_collection(),
            Shape::Object
            | Shape::Optional
            | Shape::Bytes
            | Shape::Deleted
            | Shape::Health
            | Shape::Discovery => match self.one() {
                Ok(item) => (vec![item], "done".into(), none),
                Err(kind) => (Vec::new(), fault(kind), none),
            },
        }
    }

    fn one(&self) -> Result<Value, &'static str> {
        if self.answer.ending == Ending::Truncated {
            return Err("Truncated");
        }
        if self.shape == Shape::Bytes {
            return Ok(super::see::text(&self.answer.body).into());
        }
        if self.shape == Shape::Health {
            let body = super::see::text(&self.answer.body);
            return (self.object)(&json!({ "code": 200, "body": body })).ok_or("Peer");
        }
        let value: Value = serde_json::from_slice(&self.answer.body).map_err(|_| "Peer")?;
        if self.shape == Shape::Discovery {
            return (self.object)(&value).ok_or("Peer");
        }
        if self.shape == Shape::Deleted {
            if value["kind"] == "Status" && value["apiVersion"] == "v1" {
                return Ok(json!({ "gone": status_value(&value) }));
            }
            let object = (self.object)(&value).ok_or("Object")?;
            return Ok(json!({ "object": object }));
        }
        (self.object)(&value).ok_or("Object")
    }

    fn deleted_collection(&self) -> (Vec<Value>, Value, Value) {
        let value = serde_json::from_slice::<Value>(&self.answer.body).unwrap_or_default();
        if value.get("items").is_none() {
            match value["status"].as_str() {
                Some("Success") => {
                    let item = json!({ "status": status_value(&value) });
                    return (vec![item], "done".into(), Value::Null);
                }
                Some("Failure") => return (Vec::new(), stream_error(&value), Value::Null),
                _ => {}
            }
        }
        let (items, end, next) = self.list();
        let items = items.into_iter().map(|list| json!({ "list": list }));
        (items.collect(), end, next)
    }

    fn list(&self) -> (Vec<Value>, Value, Value) {
        let Ok(list) = serde_json::from_slice::<Value>(&self.answer.body) else {
            let start = self.answer.body.trim_ascii_start().first();
            let kind = if matches!(start, None | Some(b'{')) {
                "Truncated"
            } else {
                "Peer"
            };
            return (Vec::new(), fault(kind), Value::Null);
        };
        let kind = list["kind"].as_str().unwrap_or_default();
        let is_list = match list.get("items") {
            Some(items) => items.is_array() || items.is_null(),
            None => kind.ends_with("List"),
        };
        if !is_list {
            return (Vec::new(), fault("Peer"), Value::Null);
        }
        let types = match (kind.strip_suffix("List"), list["apiVersion"].as_str()) {
            (Some(kind), Some(version)) => (kind.to_owned(), version.to_owned()),
            _ => self.types.clone(),
        };
        let items: Vec<_> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| (item, (self.object)(&fill(item, &types))))
            .collect();
        if matches!(self.shape, Shape::List | Shape::DeletedCollection) {
            let mut metadata = serde_json::Map::new();
            for key in ["resourceVersion", "continue", "remainingItemCount"] {
                if let Some(value) = list["metadata"].get(key).filter(|value| !value.is_null()) {
                    metadata.insert(key.to_owned(), value.clone());
                }
            }
            let items: Option<Vec<_>> = items.into_iter().map(|(_, item)| item).collect();
            return match items {
                Some(items) => (
                    vec![json!({ "metadata": metadata, "items": items })],
                    "done".into(),
                    Value::Null,
                ),
                None => (Vec::new(), fault("Object"), Value::Null),
            };
        }
        let items = items
            .into_iter()
            .map(|(raw, item)| item.unwrap_or_else(|| bad(raw)))
            .collect();
        let next = match list["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => self
                .request
                .map_or(Value::Null, |request| next_page(request, token)),
            _ => Value::Null,
        };
        (items, "done".into(), next)
    }

    /// The lines that are complete: the last one counts if the body has ended.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let body = &self.answer.body[..];
        let left = self.answer.ending == Ending::Left;
        let end = if left {
            body.iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1)
        } else {
            body.len()
        };
        let lines = body[..end].split_inclusive(|&byte| byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }

    fn watch(&self) -> (Vec<Value>, Value) {
        let mut items = Vec::new();
        let torn = !self.answer.body.ends_with(b"\n");
        let count = self.lines().count();
        for (at, line) in self.lines().enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                if !(torn && at + 1 == count) {
                    items.push(json!({ "bad": null }));
                }
                continue;
            };
            let object = &event["object"];
            let name = match event["type"].as_str() {
                Some("ADDED") => "added",
                Some("MODIFIED") => "modified",
                Some("DELETED") => "deleted",
                Some("BOOKMARK") => {
                    // In a Table watch the metadata is that of the only row.
                    let object = object["rows"].get(0).map_or(object, |row| &row["object"]);
                    let metadata = &object["metadata"];
                    let end = &metadata["annotations"]["k8s.io/initial-events-end"];
                    items.push(json!({
                        "bookmark": metadata["resourceVersion"].as_str().unwrap_or_default(),
                        "initialEventsEnd": end == "true",
                    }));
                    continue;
                }
                Some("ERROR") => return (items, stream_error(object)),
                Some(other) => {
                    items.push(json!({ "unknown": other }));
                    continue;
                }
                None => {
                    items.push(json!({ "bad": null }));
                    continue;
                }
            };
            let object = (self.object)(&fill(object, &self.types));
            items.push(
                object.map_or_else(|| bad(&event["object"]), |object| json!({ name: object })),
            );
        }
        let end = if self.answer.ending == Ending::Left {
            "open"
        } else {
            "done"
        };
        (items, end.into())
    }

    /// The error of a failed answer.
    pub(super) fn failure(&self, code: u16) -> Value {
        let body = &self.answer.body[..self.answer.body.len().min(64 << 10)];
        let status = serde_json::from_slice::<Value>(body)
            .ok()
            .filter(|status| status["status"] == "Failure");
        let header = self
            .response
            .header("retry-after")
            .and_then(|value| value.trim().parse::<u64>().ok());
        json!({
            "kind": "Api",
            "code": code,
            "status": status.as_ref().map(status_value),
            "body": super::see::text(body),
            "retryAfter": header.or_else(|| retry_after(status.as_ref()?)),
            "auditId": self.response.header("audit-id"),
            "is": predicates(code, status.as_ref()),
        })
    }
}

fn stream_error(status: &Value) -> Value {
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or(500);
    json!({
        "kind": "Api",
        "code": code,
        "status": status_value(status),
        "body": "",
        "retryAfter": retry_after(status),
        "auditId": null,
        "is": predicates(code, Some(status)),
    })
}

fn retry_after(status: &Value) -> Option<u64> {
    status["details"]["retryAfterSeconds"]
        .as_u64()
        .filter(|seconds| *seconds > 0)
}

/// By reason; by code only if there is no reason.
fn predicates(code: u16, status: Option<&Value>) -> Vec<&'static str> {
    const TABLE: &[(&str, &[&str], u16)] = &[
        ("already exists", &["AlreadyExists"], 0),
        ("conflict", &["Conflict"], 409),
        ("expired", &["Expired", "Gone"], 410),
        ("forbidden", &["Forbidden"], 403),
        ("invalid", &["Invalid"], 422),
        ("not found", &["NotFound"], 404),
        ("timeout", &["Timeout"], 504),
        ("too many requests", &["TooManyRequests"], 429),
        ("unauthorized", &["Unauthorized"], 401),
    ];
    let reason = status
        .and_then(|status| status["reason"].as_str())
        .filter(|reason| !reason.is_empty());
    let mut holds: Vec<_> = TABLE
        .iter()
        .filter(|(_, reasons, of)| match reason {
            Some(reason) => reasons.contains(&reason),
            None => *of == code,
        })
        .map(|(name, _, _)| *name)
        .collect();
    let caused = |reason: &str| {
        let causes = status.and_then(|status| status["details"]["causes"].as_array());
        causes.is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == reason))
    };
    if caused("DisruptionBudget") {
        holds.push("disruption budget");
    }
    if caused("FieldManagerConflict") && holds.contains(&"conflict") {
        holds.push("apply conflict");
    }
    holds.sort_unstable();
    holds
}

fn bad(object: &Value) -> Value {
    json!({ "bad": object["metadata"]["name"].as_str() })
}

/// Kind and apiVersion, where they are missing.
fn fill(object: &Value, (kind, version): &(String, String)) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        for (key, value) in [("kind", kind), ("apiVersion", version)] {
            if fields
                .get(key)
                .is_none_or(|given| given.is_null() || given == "")
            {
                fields.insert(key.to_owned(), value.clone().into());
            }
        }
    }
    object
}

/// The same request with the token, and without versions.
fn next_page(request: &Value, token: &str) -> Value {
    let mut next = request.clone();
    let mut query: Vec<_> = next["query"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|pair| {
            !["continue", "resourceVersion", "resourceVersionMatch"]
                .iter()
                .any(|key| pair[0] == *key)
        })
        .cloned()
        .collect();
    query.push(json!(["continue", token]));
    query.sort_by_key(ToString::to_string);
    next["query"] = query.into();
    next
}

/// RFC 7234 section 5.5: code, agent, quoted text, and a date perhaps; several with commas.
fn warnings(value: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(value);
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let mut found = Vec::new();
    // A word up to a blank.
    let word = |at: &mut usize| {
        let start = *at;
        while chars.get(*at).is_some_and(|char| *char != ' ') {
            *at += 1;
        }
        let word: String = chars[start..*at].iter().collect();
        *at += 1;
        word
    };
    let quoted = |at: &mut usize| {
        let mut text = String::new();
        if chars.get(*at) != Some(&'"') {
            return None;
        }
        loop {
            *at += 1;
            match chars.get(*at)? {
                '"' => break,
                '\\' => {
                    *at += 1;
                    text.push(*chars.get(*at)?);
                }
                char => text.push(*char),
            }
        }
        *at += 1;
        Some(text)
    };
    while at < chars.len() {
        let Ok(code) = word(&mut at).parse::<u16>() else {
            break;
        };
        let agent = word(&mut at);
        let Some(text) = quoted(&mut at) else {
            break;
        };
        found.push(json!([code, agent, text]));
        // The date, if there is one, holds a comma.
        if chars.get(at) == Some(&' ') && chars.get(at + 1) == Some(&'"') {
            at += 1;
            if quoted(&mut at).is_none() {
                break;
            }
        }
        while matches!(chars.get(at), Some(',' | ' ')) {
            at += 1;
        }
    }
    found
}
