//! Watch bodies: any cut gives what an independent reading of each line says.
//!
//! Input: `[n, flags, limit, chunk lengths …, body]`.

use kubewire::stream::{Watch, WatchEvent};
use kubewire::{ApiResource, Call, Dynamic, End, Limits, Object, Verb};
use serde_json::Value;

use crate::drive::{Record, drive};
use crate::input::Input;
use crate::json::Fields;

const PODS: ApiResource = ApiResource::core("Pod", "pods");

/// One event for each line that is not blank, up to an ERROR; each event what its line says; the
/// same however the body is cut.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, body) = Input::with_body(data);
    let end = if choices.flag() {
        End::Truncated
    } else {
        End::Clean
    };
    let max = choices.pick(&[1 << 20, 20, 100, 1000]);
    let chunks = choices.cut(body);
    let whole = watch(&[body], end, max);
    let cut = watch(&chunks, end, max);
    assert_eq!(whole, cut, "cut {chunks:?}");
    compare(&whole, body, max);
}

fn watch(chunks: &[&[u8]], end: End, max_line: usize) -> Record {
    let limits = Limits {
        max_line,
        ..Limits::default()
    };
    let call = Call::new(
        Verb::Watch,
        http::Request::default(),
        Watch::<Dynamic>::new(PODS),
    );
    let (_, mut exchange) = call.begin(&limits);
    drive(&mut exchange, chunks, end, max_line + 1, |event| {
        show(&event)
    })
}

fn show(event: &WatchEvent<Dynamic>) -> String {
    let (kind, content) = match event {
        WatchEvent::Added(object) => ("ADDED", serde_json::to_string(object)),
        WatchEvent::Modified(object) => ("MODIFIED", serde_json::to_string(object)),
        WatchEvent::Deleted(object) => ("DELETED", serde_json::to_string(object)),
        WatchEvent::Bookmark(mark) => return format!("BOOKMARK {mark:?}"),
        WatchEvent::Unknown(kind) => return format!("? {kind}"),
        _ => panic!("a new kind of event: teach it to this target"),
    };
    format!("{kind} {}", content.expect("an object has a JSON form"))
}

fn compare(record: &Record, body: &[u8], max: usize) {
    let mut lines: Vec<_> = body.split(|&byte| byte == b'\n').collect();
    // What follows the last newline does not count if its end is missing; it is a fault if it is too long.
    let last = lines.pop().unwrap_or_default();
    let is_torn =
        serde_json::from_slice::<serde::de::IgnoredAny>(last).is_err_and(|error| error.is_eof());
    if !is_torn || last.len() > max {
        lines.push(last);
    }
    let mut items = record.items.iter();
    for line in lines {
        if line.len() > max {
            let fault = record.fault.as_deref().unwrap_or_default();
            assert!(fault.starts_with("Limit"), "{fault}");
            assert!(items.next().is_none());
            return;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Some(item) = items.next() else {
            let fields = Fields::parse(line).expect("only an ERROR event ends a watch");
            let kind: String = fields
                .only("type")
                .and_then(|kind| serde_json::from_str(kind.get()).ok())
                .unwrap_or_default();
            assert_eq!(kind, "ERROR");
            let fault = record.fault.as_deref().unwrap_or_default();
            assert!(fault.starts_with("Api"), "{fault}");
            return;
        };
        check(item, line);
    }
    assert_eq!(items.next(), None, "more events than lines");
    assert_eq!(record.fault, None);
}

fn check(item: &Result<String, String>, line: &[u8]) {
    let expected = Fields::parse(line).as_ref().and_then(expect);
    match (item, expected) {
        (Ok(item), Some(Expected::Event(expected))) => assert_eq!(item, &expected),
        (Ok(item), Some(Expected::Bookmark)) => assert!(item.starts_with("BOOKMARK"), "{item}"),
        (Err(fault), None | Some(Expected::Bookmark)) => {
            assert!(fault.starts_with("Object"), "{fault}");
        }
        // What is no UTF-8 in a field that nobody reads is not looked at; the model cannot read such a line.
        (Ok(_), None) if std::str::from_utf8(line).is_err() => {}
        (item, expected) => panic!("{item:?} instead of {expected:?}"),
    }
}

/// What an event is by hand.
#[derive(Debug)]
enum Expected {
    Event(String),
    /// A bookmark, good or bad: its content is not looked at.
    Bookmark,
}

/// `None` for an object that is bad.
fn expect(fields: &Fields) -> Option<Expected> {
    let kind: String = serde_json::from_str(fields.only("type")?.get()).ok()?;
    let object = fields.only("object")?.get();
    match kind.as_str() {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let mut object: Dynamic = serde_json::from_str(object).ok()?;
            object.fill_types(&PODS);
            let text = serde_json::to_string(&object).ok()?;
            Some(Expected::Event(format!("{kind} {text}")))
        }
        "BOOKMARK" => bookmark(object),
        "ERROR" => None,
        _ => Some(Expected::Event(format!("? {kind}"))),
    }
}

fn bookmark(object: &str) -> Option<Expected> {
    let value: Value = serde_json::from_str(object).ok()?;
    // Only the plain form is judged: one metadata with one text and nothing odd about it.
    let plain = value
        .as_object()
        .is_some_and(|fields| fields.len() == 1 && object.matches("metadata").count() == 1);
    let metadata = value.get("metadata").and_then(Value::as_object);
    let (true, Some(metadata)) = (plain, metadata) else {
        return Some(Expected::Bookmark);
    };
    match metadata.get("resourceVersion") {
        Some(Value::String(version))
            if metadata.len() == 1 && object.matches("resourceVersion").count() == 1 =>
        {
            Some(Expected::Event(format!(
                "BOOKMARK Bookmark {{ resource_version: {version:?}, initial_events_end: false }}"
            )))
        }
        _ => Some(Expected::Bookmark),
    }
}
