//! How a body is cut into chunks never changes what comes out: for every decoder, on good and bad input.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod chunking_support;

use std::fmt::Write as _;

use bytes::Bytes;
use chunking_support::*;
use http::Request;
use kubewire::stream::{ItemSplitter, Lines, LogLines, Watch};
use kubewire::{Api, Call, Decode, Dynamic, End, Limits, Operation, Verb};

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
