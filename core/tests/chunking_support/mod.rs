//! Every decoder, whole and in pieces.

#![allow(dead_code, reason = "not every test needs everything")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../random/mod.rs"]
mod random;

use bytes::Bytes;
use http::Request;
use kubewire::stream::{Collect, LogLines, Watch, WatchEvent};
use kubewire::{
    Api, ApiResource, Call, Decode, Deleted, Dynamic, End, Error, ErrorKind, Exchange, Json,
    Limits, Operation, Raw, Verb,
};
pub(crate) use random::Random;

pub(crate) const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");

/// Random pieces, some of them empty.
pub(crate) fn cut<'a>(random: &mut Random, mut body: &'a [u8]) -> Vec<&'a [u8]> {
    let most = 1 + random.below(64);
    let mut pieces = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at(random.below(most + 1).min(body.len()));
        pieces.push(piece);
        body = rest;
    }
    pieces
}

/// Everything that an exchange shows to its user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) items: Vec<String>,
    pub(crate) fault: Option<String>,
    pub(crate) next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    Watch,
    Logs,
    Collect,
    Items,
    Json,
    Raw,
    Deleted,
    Optional,
}

pub(crate) const ALL: &[Decoder] = &[
    Decoder::Watch,
    Decoder::Logs,
    Decoder::Collect,
    Decoder::Items,
    Decoder::Json,
    Decoder::Raw,
    Decoder::Deleted,
    Decoder::Optional,
];

impl Decoder {
    pub(crate) fn run(self, pieces: &[&[u8]], end: End, limits: &Limits) -> Trace {
        let raw = || Request::new(Bytes::new());
        let maps = || Api::dynamic(MAPS).in_namespace("default");
        match self {
            Self::Watch => run(
                Call::new(Verb::Watch, raw(), Watch::<Dynamic>::new(MAPS)),
                pieces,
                end,
                limits,
                true,
                |event| match event {
                    WatchEvent::Added(object) => format!("added {}", json(&object)),
                    WatchEvent::Modified(object) => format!("modified {}", json(&object)),
                    WatchEvent::Deleted(object) => format!("deleted {}", json(&object)),
                    WatchEvent::Bookmark(bookmark) => format!("{bookmark:?}"),
                    WatchEvent::Unknown(name) => format!("unknown {name}"),
                    _ => "?".to_owned(),
                },
            ),
            Self::Logs => run(
                Call::new(Verb::Get, raw(), LogLines::new()),
                pieces,
                end,
                limits,
                true,
                |line| line.bytes().escape_ascii().to_string(),
            ),
            Self::Collect => run(
                Call::new(Verb::List, raw(), Collect::<Dynamic>::new(MAPS)),
                pieces,
                end,
                limits,
                false,
                |list| {
                    let items: Vec<_> = list.items.iter().map(json).collect();
                    format!("{:?} {items:?}", list.metadata)
                },
            ),
            Self::Items => run(
                maps().list().limit(3).items().into_call().unwrap(),
                pieces,
                end,
                limits,
                true,
                |object| json(&object),
            ),
            Self::Json => run(
                Call::new(Verb::Get, raw(), Json::<Dynamic>::default()),
                pieces,
                end,
                limits,
                false,
                |object| json(&object),
            ),
            Self::Raw => run(
                Call::new(Verb::Get, raw(), Raw::default()),
                pieces,
                end,
                limits,
                false,
                |body| body.escape_ascii().to_string(),
            ),
            Self::Deleted => run(
                Call::new(Verb::Delete, raw(), Json::<Deleted<Dynamic>>::default()),
                pieces,
                end,
                limits,
                false,
                |deleted| match deleted {
                    Deleted::Gone(status) => format!("gone {status:?}"),
                    Deleted::Object(object) => json(&object),
                    _ => String::new(),
                },
            ),
            Self::Optional => run(
                maps().get("a").optional().into_call().unwrap(),
                pieces,
                end,
                limits,
                false,
                |object| object.as_ref().map_or_else(|| "none".to_owned(), json),
            ),
        }
    }
}

pub(crate) fn json(object: &Dynamic) -> String {
    serde_json::to_string(object).unwrap()
}

pub(crate) fn show(error: &Error) -> String {
    format!("{:?} {error}", error.kind())
}

pub(crate) fn ok() -> http::response::Parts {
    http::Response::new(()).into_parts().0
}

/// Takes what there is; the terminal error, if there is one.
pub(crate) fn drain<D: Decode>(
    exchange: &mut Exchange<D>,
    streaming: bool,
    see: &impl Fn(D::Item) -> String,
    items: &mut Vec<String>,
) -> Option<Error> {
    loop {
        match exchange.poll_item() {
            Ok(Some(item)) => items.push(see(item)),
            Ok(None) => return None,
            Err(error) if streaming && error.kind() == ErrorKind::Object => {
                items.push(format!("bad: {}", show(&error)));
            }
            Err(error) => return Some(error),
        }
    }
}

/// Feeds pieces as the contract says, and checks the contract on the way.
pub(crate) fn run<D: Decode>(
    call: Call<D>,
    pieces: &[&[u8]],
    end: End,
    limits: &Limits,
    streaming: bool,
    see: impl Fn(D::Item) -> String,
) -> Trace {
    let (_, mut exchange) = call.begin(limits);
    let mut items = Vec::new();
    exchange.handle_head(&ok()).unwrap();
    let mut fault = None;
    for piece in pieces {
        assert!(exchange.wants_data(), "drained, and wants no data");
        let fed = exchange.handle_data(Bytes::copy_from_slice(piece));
        fault = drain(&mut exchange, streaming, &see, &mut items);
        assert!(
            fed.is_ok() || fault.is_some(),
            "an error that does not stay"
        );
        if fault.is_some() {
            break;
        }
        assert!(!exchange.is_done(), "done before the end");
    }
    if fault.is_none() {
        let ended = exchange.handle_end(end);
        fault = drain(&mut exchange, streaming, &see, &mut items);
        assert!(
            ended.is_ok() || fault.is_some(),
            "an error that does not stay"
        );
    }
    assert!(!exchange.wants_data(), "wants data after the end");
    let next = exchange
        .follow_up()
        .map(|call| call.request().uri().to_string());
    if let Some(fault) = &fault {
        assert_eq!(next, None, "a fault, and goes on with {next:?}");
        for _ in 0..2 {
            let again = exchange.poll_item().err().expect("the fault repeats");
            assert_eq!(show(&again), show(fault));
        }
        assert!(exchange.handle_data("{}".into()).is_err());
        assert!(exchange.handle_end(End::Clean).is_err());
    } else {
        assert!(exchange.is_done(), "drained after the end, and not done");
        assert!(exchange.poll_item().unwrap().is_none());
    }
    Trace {
        items,
        fault: fault.as_ref().map(show),
        next,
    }
}

/// Whole, byte by byte, every two-way split and 64 random ones give the same; what they give.
pub(crate) fn same_for_all_cuts(decoder: Decoder, body: &[u8], end: End, limits: &Limits) -> Trace {
    let whole = decoder.run(&[body], end, limits);
    let check = |pieces: &[&[u8]], how: &str| {
        let got = decoder.run(pieces, end, limits);
        assert_eq!(got, whole, "{decoder:?}, {how}, of {}", body.escape_ascii());
    };
    let bytes: Vec<_> = body.chunks(1).collect();
    check(&bytes, "byte by byte");
    if body.len() <= 1500 {
        for at in 0..=body.len() {
            let (left, right) = body.split_at(at);
            check(&[left, right], &format!("cut at {at}"));
            if at % 16 == 0 {
                check(&[&[], left, &[], &[], right, &[]], "with empty pieces");
            }
        }
    }
    let mut random = Random::new(0x00C0_FFEE);
    for round in 0..64 {
        let pieces = cut(&mut random, body);
        check(&pieces, &format!("random cut {round}"));
    }
    whole
}

pub(crate) fn both_ends(decoder: Decoder, body: &[u8], limits: &Limits) -> [Trace; 2] {
    [End::Clean, End::Truncated].map(|end| same_for_all_cuts(decoder, body, end, limits))
}

pub(crate) fn small() -> Limits {
    Limits {
        max_body: 400,
        max_line: 60,
        max_item: 60,
        ..Limits::default()
    }
}
