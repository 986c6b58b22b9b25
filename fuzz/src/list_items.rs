//! Lists against `serde_json` on the same bytes.
//!
//! Input: `[n, flags, limit, chunk lengths …, body]`.

use bytes::Bytes;
use kubewire::stream::ItemSplitter;
use kubewire::{Api, ApiResource, Dynamic, End, ErrorKind, Exchange, Limits, Object, Operation};
use serde_json::value::RawValue;

use crate::drive::{Record, drive, shown};
use crate::input::Input;
use crate::json::Fields;

const PODS: ApiResource = ApiResource::core("Pod", "pods");
/// What a splitter keeps of a list's own fields.
const MAX_FIELD: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
struct Split {
    items: Vec<Bytes>,
    fault: Option<String>,
    metadata: Bytes,
    complete: bool,
}

/// The items of every list that is JSON, in order; the same however it is cut, faults included.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, body) = Input::with_body(data);
    let flags = choices.byte();
    let max_item = choices.pick(&[1 << 20, 10, 100, 1000]);
    let max_body = if flags & 2 == 2 { 200 } else { 1 << 20 };
    let end = if flags & 1 == 1 {
        End::Truncated
    } else {
        End::Clean
    };
    let chunks = choices.cut(body);

    let whole = split(&[body], max_item);
    assert_eq!(whole, split(&chunks, max_item), "cut {chunks:?}");
    let expected = Fields::parse(body).map(|fields| expect(&fields, max_item));
    if let Some(expected) = &expected {
        assert_eq!(&whole, expected);
    }

    let limits = Limits {
        max_item,
        max_body,
        ..Limits::default()
    };
    let items = |chunks: &[&[u8]]| {
        let operation = Api::dynamic(PODS).in_all_namespaces().list().limit(7);
        let call = operation.items().into_call().expect("a good list");
        let (_, mut exchange) = call.begin(&limits);
        let record = feed(&mut exchange, chunks, end, max_item, |item: Dynamic| {
            serde_json::to_string(&item).expect("an object has a JSON form")
        });
        let next = exchange.follow_up();
        (record, next.map(|call| call.request().uri().to_string()))
    };
    let (record, next) = items(&[body]);
    assert_eq!(
        (record.clone(), next.clone()),
        items(&chunks),
        "cut {chunks:?}"
    );
    let unreadable = !matches!(&*whole.metadata, b"" | b"null")
        && serde_json::from_slice::<kubewire::meta::ListMeta>(&whole.metadata).is_err();
    if whole.fault.is_none() && whole.complete && end == End::Clean && !unreadable {
        let objects: Vec<_> = whole.items.iter().map(|item| object(item)).collect();
        let got: Vec<_> = record.items.iter().map(|item| item.clone().ok()).collect();
        assert_eq!(got, objects);
        assert_eq!(record.fault, None);
        if let Some(uri) = next {
            assert!(uri.starts_with("/api/v1/pods?limit=7&continue="), "{uri}");
        }
    } else {
        assert!(record.fault.is_some());
        assert_eq!(record.items.len(), whole.items.len());
    }

    let collect = |chunks: &[&[u8]]| {
        let operation = Api::dynamic(PODS).in_all_namespaces().list();
        let (_, mut exchange) = operation.into_call().expect("a good list").begin(&limits);
        feed(&mut exchange, chunks, end, max_item, |list| {
            let items = serde_json::to_string(&list.items).expect("objects have a JSON form");
            format!("{} {items}", list.items.len())
        })
    };
    let list = collect(&[body]);
    assert_eq!(list, collect(&chunks), "cut {chunks:?}");
    let size: usize = whole.items.iter().map(Bytes::len).sum();
    let good = record.fault.is_none() && record.items.iter().all(Result::is_ok);
    if list.items.iter().any(Result::is_ok) {
        assert!(good && size <= max_body);
    }
}

fn feed<D: kubewire::Decode>(
    exchange: &mut Exchange<D>,
    chunks: &[&[u8]],
    end: End,
    max_item: usize,
    show: impl Fn(D::Item) -> String,
) -> Record {
    let bound = max_item.max(MAX_FIELD) + 2 * MAX_FIELD;
    drive(exchange, chunks, end, bound, show)
}

fn object(json: &[u8]) -> Option<String> {
    let mut object: Dynamic = serde_json::from_slice(json).ok()?;
    object.fill_types(&PODS);
    serde_json::to_string(&object).ok()
}

fn split(chunks: &[&[u8]], max_item: usize) -> Split {
    let mut splitter = ItemSplitter::new(max_item);
    let mut items = Vec::new();
    let mut fault = None;
    let mut fed = 0;
    for chunk in chunks {
        let result = splitter.push(&Bytes::copy_from_slice(chunk));
        fed += chunk.len();
        assert!(splitter.buffered() <= fed);
        while let Some(item) = splitter.next_item() {
            items.push(item);
        }
        assert!(!splitter.has_items());
        assert!(splitter.buffered() <= max_item.max(MAX_FIELD) + 2 * MAX_FIELD);
        match (result, &fault) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => panic!("errors are terminal and repeat"),
            (Err(error), None) => fault = Some(shown(&error)),
            (Err(error), Some(fault)) => assert_eq!(fault, &shown(&error)),
        }
    }
    Split {
        items,
        metadata: Bytes::copy_from_slice(splitter.metadata()),
        complete: fault.is_none() && splitter.is_complete(),
        fault,
    }
}

/// What the splitter has to say about a JSON object.
fn expect(fields: &Fields, max_item: usize) -> Split {
    let mut expected = Split {
        items: Vec::new(),
        fault: None,
        metadata: Bytes::new(),
        complete: false,
    };
    let too_long = || {
        let kind = ErrorKind::Limit;
        Some(format!(
            "{kind:?}: an item of the list is longer than Limits::max_item"
        ))
    };
    let mut saw_items = false;
    let mut is_list = false;
    for (name, value) in &fields.0 {
        match name.as_str() {
            "items" => {
                saw_items = true;
                if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
                    for item in items {
                        if item.get().len() > max_item {
                            expected.fault = too_long();
                            return expected;
                        }
                        expected.items.push(item.get().to_owned().into());
                    }
                } else if value.get() != "null" {
                    expected.fault =
                        Some(format!("{:?}: the answer is not a list", ErrorKind::Peer));
                    return expected;
                }
            }
            "kind" => {
                let kind: String = serde_json::from_str(value.get()).unwrap_or_default();
                is_list = kind.ends_with("List");
            }
            "metadata" => expected.metadata = Bytes::copy_from_slice(value.get().as_bytes()),
            _ => {}
        }
        if matches!(name.as_str(), "kind" | "metadata") && value.get().len() > MAX_FIELD {
            expected.fault = too_long();
            return expected;
        }
    }
    expected.complete = saw_items || is_list;
    expected
}
