//! How a body is cut into chunks never changes what comes out: for every decoder, on good and bad input.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod random;

use std::fmt::Write as _;

use bytes::Bytes;
use http::Request;
use kubewire::stream::{Collect, ItemSplitter, Lines, LogLines, Watch, WatchEvent};
use kubewire::{
    Api, ApiResource, Call, Decode, Deleted, Dynamic, End, Error, ErrorKind, Exchange, Json,
    Limits, Operation, Raw, Verb, VersionMatch,
};
use random::Random;

const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");

/// Random pieces, some of them empty.
fn cut<'a>(random: &mut Random, mut body: &'a [u8]) -> Vec<&'a [u8]> {
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
struct Trace {
    items: Vec<String>,
    fault: Option<String>,
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    Watch,
    Logs,
    Collect,
    Items,
    Json,
    Raw,
    Deleted,
    Optional,
}

const ALL: &[Decoder] = &[
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
    fn run(self, pieces: &[&[u8]], end: End, limits: &Limits) -> Trace {
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

fn json(object: &Dynamic) -> String {
    serde_json::to_string(object).unwrap()
}

fn show(error: &Error) -> String {
    format!("{:?} {error}", error.kind())
}

fn ok() -> http::response::Parts {
    http::Response::new(()).into_parts().0
}

/// Takes what there is; the terminal error, if there is one.
fn drain<D: Decode>(
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
fn run<D: Decode>(
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
fn same_for_all_cuts(decoder: Decoder, body: &[u8], end: End, limits: &Limits) -> Trace {
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

fn both_ends(decoder: Decoder, body: &[u8], limits: &Limits) -> [Trace; 2] {
    [End::Clean, End::Truncated].map(|end| same_for_all_cuts(decoder, body, end, limits))
}

fn small() -> Limits {
    Limits {
        max_body: 400,
        max_line: 60,
        max_item: 60,
        ..Limits::default()
    }
}

const BODIES: &[&str] = &[
    "",
    "\n",
    "\r\n\r\n",
    " \t \n",
    // Logs.
    "one\ntwo\r\n\nfour with no newline",
    "grün ✓ 💥\nsecond\n",
    "2026-11-23T06:19:17.123456789Z x\n",
    // Objects.
    r#"{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"grün ✓ \"\\\u00e9\uD83D\uDCA5"}}"#,
    r#"{"kind":"Status","apiVersion":"v1","status":"Success","details":{"name":"a"}}"#,
    r#"{"kind":"ConfigMap","metadata":{"name":"a","labels":null,"x":[1,2]},"immutable":true}  "#,
    r#"{"kind":7,"metadata":{"name":"odd"}}"#,
    r#"{"metadata":"odd"}"#,
    r#"["no object"]"#,
    "null",
    "{",
    r#"{"kind":"ConfigMap"}{"kind":"ConfigMap"}"#,
    // Lists.
    r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"t/+ =","remainingItemCount":2},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"ü\"}]"}}]}"#,
    r#" { "items" : [ {"metadata":{"name":"a"}} , {"b":[[{"}":"]"}]]} ] , "metadata" : { "continue" : "" } , "kind":"XList" } "#,
    r#"{"items":null,"kind":"XList","metadata":{}}"#,
    r#"{"items":[],"metadata":null}"#,
    r#"{"kind":"ConfigMapList"}"#,
    r#"{"other":{"items":[1]},"items":[{"metadata":{"name":"real"}}]}"#,
    r#"{"items":[{"metadata":{"name":"good"}},1,"two",null,[3],{"metadata":{"name":4}},{"metadata":{"name":"last"}}],"metadata":{"continue":"c"}}"#,
    r#"{"items":[{"metadata":{"name":"good"}},{"metadata":4},]}"#,
    r#"{"items":[{"metadata":{"name":"good"}},{"metadata":4}],]}"#,
    r#"{"items":[{"metadata":{"name":"good"}} {"metadata":{"name":"bad"}}]}"#,
    r#"{"items":[{"metadata":{"name":"good"}}],"metadata":{"continue":5}}"#,
    r#"{"items":[{"metadata":{"name":"good"}}],"metadata":[}"#,
    r#"{"items":[{"metadata":{"name":"good"}}]} trailing"#,
    r#"{"items":[{"metadata":{"name":"good"}},{"metadata":{"na"#,
    r#"{"items":{"not":"an array"}}"#,
    r#"{"items":[{"a":"\\\"]}"},{"b":"\\"},{"c":-1.5e3}],"x":"\\","y":[]}"#,
    r#"{"kind":"Pod","metadata":{"name":"no-list"}}"#,
    // Watches.
    concat!(
        r#"{"type":"ADDED","object":{"kind":"ConfigMap","metadata":{"name":"ä","resourceVersion":"1"}}}"#,
        "\n",
        r#"{"type":"MODIFIED","object":{"kind":"ConfigMap","metadata":{"name":"a\n"},"data":{"k":"\u003c"}}}"#,
        "\r\n\n",
        r#"{"object":{"metadata":{"name":"a"}},"type":"DELETED"}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n",
        r#"{"type":"LATER","object":{}}"#,
        "\n",
    ),
    concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
        "\n",
        r#"{"type":"ADDED","object":{"metadata":{"name":"bad","labels":3}}}"#,
        "\nnot json\n{}\n7\n",
        r#"{"type":"ADDED","object":null}"#,
        "\n",
        r#"{"type":"ADDED","object":{"metadata":{"name":"whole, without newline"}}}"#,
    ),
    concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
        "\n",
        r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}"#,
        "\n",
        r#"{"type":"ADDED","object":{"metadata":{"name":"too late"}}}"#,
        "\n",
    ),
    concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
        "\n",
        r#"{"type":"ADDED","object":{"metadata":{"name":"torn"#,
    ),
];

#[test]
fn cuts_do_not_matter() {
    for body in BODIES {
        for decoder in ALL {
            both_ends(*decoder, body.as_bytes(), &Limits::default());
        }
    }
}

#[test]
fn cuts_do_not_matter_where_limits_are_passed() {
    for body in BODIES {
        for decoder in ALL {
            both_ends(*decoder, body.as_bytes(), &small());
        }
    }
    // Just at, and one over.
    for len in 58..64 {
        let line = "x".repeat(len);
        for body in [
            format!("a\n{line}\nb\n"),
            format!("a\n{line}"),
            format!(r#"{{"items":[{{}},"{line}",{{}}]}}"#),
            format!(r#"{{"items":[{{}}],"{line}":"{line}"}}"#),
        ] {
            for decoder in ALL {
                both_ends(*decoder, body.as_bytes(), &small());
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text_pass_through_logs_and_nothing_else() {
    let body = b"\xff\xfe\n\x00\xc3\n\xa4\r\n\xf0\x9f";
    let [clean, cut] = both_ends(Decoder::Logs, body, &Limits::default());
    assert_eq!(
        clean.items,
        [r"\xff\xfe", r"\x00\xc3", r"\xa4\r", r"\xf0\x9f"]
    );
    assert_eq!(clean.fault, None);
    assert_eq!(cut.items, clean.items);
    assert!(cut.fault.unwrap().starts_with("Truncated"));
    for decoder in [
        Decoder::Json,
        Decoder::Collect,
        Decoder::Items,
        Decoder::Deleted,
    ] {
        for trace in both_ends(decoder, body, &Limits::default()) {
            assert!(trace.fault.is_some() && trace.items.is_empty(), "{trace:?}");
        }
    }
}

#[test]
fn what_was_complete_before_a_fault_is_given() {
    let list = r#"{"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}},{"metadata":{"na"#;
    let [clean, cut] = both_ends(Decoder::Items, list.as_bytes(), &Limits::default());
    assert_eq!(clean.items.len(), 2);
    assert!(clean.fault.unwrap().starts_with("Truncated"));
    assert_eq!(cut.items.len(), 2);
    assert!(cut.fault.unwrap().starts_with("Truncated"));

    let long = format!(r#"{{"items":[{{}},{{}},"{}",{{}}]}}"#, "x".repeat(100));
    let [trace, _] = both_ends(Decoder::Items, long.as_bytes(), &small());
    assert_eq!(trace.items.len(), 2);
    assert!(trace.fault.unwrap().starts_with("Limit"));

    let lines = format!("one\ntwo\n{}\nfour\n", "x".repeat(100));
    let [trace, _] = both_ends(Decoder::Logs, lines.as_bytes(), &small());
    assert_eq!(trace.items, ["one", "two"]);
    assert!(trace.fault.unwrap().starts_with("Limit"));

    let events = BODIES[BODIES.len() - 2];
    let [trace, _] = both_ends(Decoder::Watch, events.as_bytes(), &Limits::default());
    assert_eq!(trace.items.len(), 1);
    assert!(trace.fault.unwrap().starts_with("Api 410 Expired"));
}

#[test]
fn a_bad_object_is_one_bad_item_of_a_stream_and_fails_a_collected_list() {
    let body = BODIES
        .iter()
        .find(|body| body.contains(r#""two",null"#))
        .unwrap();
    let [items, _] = both_ends(Decoder::Items, body.as_bytes(), &Limits::default());
    assert_eq!(items.items.len(), 7, "{items:?}");
    assert_eq!(
        items
            .items
            .iter()
            .filter(|item| item.starts_with("bad: Object"))
            .count(),
        5
    );
    assert!(items.next.unwrap().ends_with("?limit=3&continue=c"));
    let [list, _] = both_ends(Decoder::Collect, body.as_bytes(), &Limits::default());
    assert!(list.items.is_empty() && list.fault.unwrap().starts_with("Object"));
}

/// A silent end would look like the last page.
#[test]
fn metadata_that_does_not_decode_is_no_end_of_a_list() {
    for metadata in [r#"{"continue":5}"#, "[}", "7", r#""t""#] {
        let body = format!(r#"{{"metadata":{metadata},"items":[{{"metadata":{{"name":"a"}}}}]}}"#);
        for decoder in [Decoder::Items, Decoder::Collect] {
            for trace in both_ends(decoder, body.as_bytes(), &Limits::default()) {
                assert!(trace.fault.is_some(), "{decoder:?} {metadata}: {trace:?}");
                assert_eq!(trace.next, None);
            }
        }
    }
}

#[test]
fn a_torn_last_event_is_dropped_and_a_whole_one_is_not() {
    let torn = BODIES[BODIES.len() - 1];
    for trace in both_ends(Decoder::Watch, torn.as_bytes(), &Limits::default()) {
        assert_eq!((trace.items.len(), trace.fault), (1, None));
    }
    let whole = format!("{torn}\"}}}}}}");
    for trace in both_ends(Decoder::Watch, whole.as_bytes(), &Limits::default()) {
        assert_eq!((trace.items.len(), trace.fault), (2, None));
    }
}

/// Failed answers are collected by the exchange itself.
#[test]
fn cuts_of_a_failed_answer_do_not_matter() {
    let status =
        r#"{"kind":"Status","status":"Failure","message":"grün","reason":"NotFound","code":404}"#;
    let limits = Limits {
        max_error_body: 120,
        ..Limits::default()
    };
    let long = "x".repeat(1000);
    for body in [status, "404 page not found\n", "", long.as_str()] {
        let mut random = Random::new(7);
        let mut seen = None;
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        let mut cuts = vec![vec![body.as_bytes()], bytes];
        cuts.extend((0..64).map(|_| cut(&mut random, body.as_bytes())));
        for pieces in cuts {
            let call = Api::dynamic(MAPS).in_namespace("d").get("a").into_call();
            let (_, mut exchange) = call.unwrap().begin(&limits);
            let mut head = ok();
            head.status = http::StatusCode::NOT_FOUND;
            exchange.handle_head(&head).unwrap();
            for piece in pieces {
                exchange.handle_data(Bytes::copy_from_slice(piece)).unwrap();
                assert!(exchange.buffered() <= 120);
                assert!(exchange.wants_data());
            }
            let error = exchange.handle_end(End::Truncated).unwrap_err();
            assert_eq!(show(&exchange.poll_item().unwrap_err()), show(&error));
            let kept = error.body().unwrap();
            assert_eq!(kept[..], body.as_bytes()[..body.len().min(120)]);
            let got = (show(&error), error.status().cloned());
            assert_eq!(*seen.get_or_insert_with(|| got.clone()), got);
            assert!(error.is_not_found());
        }
    }
}

#[test]
fn lines_and_items_of_the_bare_splitters_do_not_depend_on_cuts() {
    fn lines(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, Result<Option<Bytes>, String>) {
        let mut lines = Lines::new(max);
        let mut found = Vec::new();
        for piece in pieces {
            let pushed = lines.push(Bytes::copy_from_slice(piece));
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => found.push(line),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(show(&lines.next_line().unwrap_err()), show(&error));
                        return (found, Err(show(&error)));
                    }
                }
            }
            assert!(pushed.is_ok());
            assert!(!lines.has_input());
            assert!(lines.buffered() <= max + 1);
        }
        (found, Ok(lines.finish()))
    }
    fn items(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, Result<bool, String>, Vec<u8>) {
        let mut splitter = ItemSplitter::new(max);
        let mut found = Vec::new();
        for piece in pieces {
            let pushed = splitter.push(&Bytes::copy_from_slice(piece));
            found.extend(std::iter::from_fn(|| splitter.next_item()));
            if let Err(error) = pushed {
                return (found, Err(show(&error)), Vec::new());
            }
        }
        let metadata = splitter.metadata().to_vec();
        (found, Ok(splitter.is_complete()), metadata)
    }
    let mut random = Random::new(3);
    for body in BODIES {
        let body = body.as_bytes();
        for max in [10, 60, 1 << 20] {
            let whole = (lines(&[body], max), items(&[body], max));
            for at in 0..=body.len() {
                let (left, right) = body.split_at(at);
                let pieces = [left, right];
                assert_eq!((lines(&pieces, max), items(&pieces, max)), whole, "{at}");
            }
            for _ in 0..64 {
                let pieces = cut(&mut random, body);
                assert_eq!((lines(&pieces, max), items(&pieces, max)), whole);
            }
        }
    }
}

#[test]
fn what_is_held_is_one_line_or_item_and_one_chunk() {
    fn check<D: Decode>(call: Call<D>, body: &str, most: usize) -> usize {
        let mut items = 0;
        let (_, mut exchange) = call.begin(&Limits::default());
        exchange.handle_head(&ok()).unwrap();
        let mut random = Random::new(11);
        for piece in cut(&mut random, body.as_bytes()) {
            exchange.handle_data(Bytes::copy_from_slice(piece)).unwrap();
            assert!(exchange.buffered() <= most + piece.len());
            while exchange.poll_item().unwrap().is_some() {
                items += 1;
            }
            assert!(exchange.buffered() <= most, "{} held", exchange.buffered());
        }
        exchange.handle_end(End::Clean).unwrap();
        while exchange.poll_item().unwrap().is_some() {
            items += 1;
        }
        items
    }
    let mut events = String::new();
    let mut list = String::from(r#"{"kind":"ConfigMapList","items":["#);
    for at in 0..2000 {
        let data = "d".repeat(at % 190);
        let object = format!(r#"{{"metadata":{{"name":"map-{at}"}},"data":{{"k":"{data}"}}}}"#);
        let _ = writeln!(events, r#"{{"type":"ADDED","object":{object}}}"#);
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(list, "{comma}{object}");
    }
    list.push_str(r#"],"metadata":{"resourceVersion":"5"}}"#);

    let raw = || Request::new(Bytes::new());
    let longest = 190 + 80;
    let watch = Call::new(Verb::Watch, raw(), Watch::<Dynamic>::new(MAPS));
    assert_eq!(check(watch, &events, longest), 2000);
    let logs = Call::new(Verb::Get, raw(), LogLines::new());
    assert_eq!(check(logs, &events, longest), 2000);
    let maps = Api::dynamic(MAPS).in_namespace("default");
    let items = maps.list().items().into_call().unwrap();
    assert_eq!(check(items, &list, longest), 2000);
    // A collected list holds its result besides, which `buffered` does not count.
    let collect = maps.list().into_call().unwrap();
    assert_eq!(check(collect, &list, longest), 1);
}

#[test]
fn pages_follow_one_another() {
    let maps = Api::dynamic(MAPS).in_namespace("default");
    let first = maps
        .list()
        .labels("a in (b,c)")
        .fields("x=y")
        .limit(2)
        .resource_version("5")
        .version_match(VersionMatch::Exact)
        .timeout_seconds(9)
        .items();
    let mut call = first.into_call().unwrap();
    let base = "/api/v1/namespaces/default/configmaps?labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=x%3Dy&limit=2&timeoutSeconds=9";
    assert_eq!(
        call.request().uri().to_string(),
        format!("{base}&resourceVersion=5&resourceVersionMatch=Exact")
    );
    let accept = call.request().headers()["accept"].clone();
    let tokens = ["t+/1=", "ü 2", ""];
    let mut names = Vec::new();
    for (page, token) in tokens.iter().enumerate() {
        let (_, mut exchange) = call.begin(&Limits::default());
        exchange.handle_head(&ok()).unwrap();
        let body = format!(
            r#"{{"metadata":{{"continue":"{token}"}},"items":[{{"metadata":{{"name":"{page}"}}}},7]}}"#
        );
        for byte in body.as_bytes().chunks(1) {
            exchange.handle_data(Bytes::copy_from_slice(byte)).unwrap();
            assert!(exchange.follow_up().is_none(), "before the end");
            match exchange.poll_item() {
                Ok(item) => names.extend(item.and_then(|item| item.metadata.name)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Object),
            }
        }
        exchange.handle_end(End::Clean).unwrap();
        let next = exchange.follow_up();
        if page == 2 {
            assert!(next.is_none(), "an empty token is the end");
            break;
        }
        call = next.unwrap();
        let encoded = ["t%2B%2F1%3D", "%C3%BC%202"][page];
        assert_eq!(
            call.request().uri().to_string(),
            format!("{base}&continue={encoded}")
        );
        assert_eq!(call.request().headers()["accept"], accept);
        assert_eq!(call.verb(), Verb::List);
    }
    assert_eq!(names, ["0", "1", "2"]);
}

/// A silent end would look like the last page.
#[test]
fn a_token_that_cannot_be_used_is_no_end_of_a_list() {
    let token = "+".repeat(30_000);
    let body = format!(r#"{{"metadata":{{"continue":"{token}"}},"items":[{{}}]}}"#);
    let trace = Decoder::Items.run(&[body.as_bytes()], End::Clean, &Limits::default());
    assert_eq!(trace.items.len(), 1);
    assert!(trace.fault.unwrap().starts_with("Peer"));
}

#[test]
fn a_page_that_was_not_drained_or_not_whole_has_no_next() {
    let maps = Api::dynamic(MAPS).in_namespace("default");
    let body = r#"{"metadata":{"continue":"t"},"items":[{},{}]}"#;
    let start = || {
        let (_, mut exchange) = maps
            .list()
            .items()
            .into_call()
            .unwrap()
            .begin(&Limits::default());
        exchange.handle_head(&ok()).unwrap();
        exchange
    };
    let mut exchange = start();
    exchange.handle_data(body.into()).unwrap();
    exchange.handle_end(End::Clean).unwrap();
    assert!(exchange.follow_up().is_none());
    while exchange.poll_item().unwrap().is_some() {}
    assert!(exchange.follow_up().is_some());

    let mut exchange = start();
    exchange
        .handle_data(body[..body.len() - 3].to_owned().into())
        .unwrap();
    while exchange.poll_item().unwrap().is_some() {}
    assert!(exchange.handle_end(End::Truncated).is_err());
    assert!(exchange.follow_up().is_none());
}

/// Garbage with the alphabet of what is expected gets further than noise.
#[test]
fn garbage_is_never_a_panic_and_never_depends_on_cuts() {
    const WORDS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\n",
        "\r\n",
        " ",
        "0",
        "-1.5e3",
        "null",
        "true",
        "\"items\":[",
        "\"kind\":\"XList\"",
        "\"metadata\":{",
        "\"continue\":\"t\"",
        "{\"type\":\"",
        "ADDED",
        "ERROR",
        "BOOKMARK",
        "\",\"object\":{",
        "\"name\":\"a\"",
        "}}\n",
        "ü",
        "\u{0}",
        "\"rows\":[{\"object\":",
        "{\"metadata\":{\"name\":\"x\"}}",
        "\\u00e",
        "\"code\":410",
    ];
    let mut random = Random::new(0xDEAD_BEEF);
    let limits = small();
    let (mut items, mut faults) = (0, 0);
    for round in 0..10_000 {
        let mut body = Vec::new();
        let count = random.below(24);
        for _ in 0..count {
            if random.below(8) == 0 {
                body.push(random.byte());
            } else {
                body.extend_from_slice(random.pick(WORDS).as_bytes());
            }
        }
        let decoder = ALL[round % ALL.len()];
        let end = if random.below(2) == 0 {
            End::Clean
        } else {
            End::Truncated
        };
        let whole = decoder.run(&[&body], end, &limits);
        items += whole.items.len();
        faults += usize::from(whole.fault.is_some());
        let bytes: Vec<_> = body.chunks(1).collect();
        for pieces in [bytes, cut(&mut random, &body), cut(&mut random, &body)] {
            let got = decoder.run(&pieces, end, &limits);
            assert_eq!(
                got,
                whole,
                "{decoder:?} round {round}: {}",
                body.escape_ascii()
            );
        }
    }
    // Else the garbage is too easy.
    assert!(
        items > 2000 && faults > 2000,
        "{items} items, {faults} faults"
    );
}
