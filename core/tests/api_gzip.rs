//! Compressed answers: any cut, any number of members, damage, bombs.

#![allow(clippy::unwrap_used, reason = "a test")]

mod api_support;

use api_support::{answer, feed, gzip, maps, names};
use kubewire::stream::WatchEvent;
use kubewire::{Call, End, ErrorKind, Limits, Operation};

#[test]
fn a_compressed_list_is_inflated_however_it_is_cut() {
    let item = |index: usize| {
        format!(
            r#"{{"metadata":{{"name":"m{index}"}},"data":{{"k":"{}"}}}}"#,
            "v".repeat(500)
        )
    };
    let items: Vec<String> = (0..200).map(item).collect();
    let body = format!(
        r#"{{"kind":"ConfigMapList","items":[{}],"metadata":{{"resourceVersion":"7"}}}}"#,
        items.join(",")
    );
    let whole = answer(200, body.clone()).gzip();
    let (head, tail) = body.split_at(60_000);
    let mut members = whole.clone();
    members.body = [gzip(head.as_bytes()), gzip(b""), gzip(tail.as_bytes())].concat();
    for answer in [whole, members] {
        for size in [1, 2, 17, 1000, usize::MAX] {
            let (streamed, error) = feed(maps().list().items(), &answer, size, &Limits::default());
            assert!(error.is_none(), "{error:?}");
            assert_eq!(streamed.len(), 200);
            let (mut lists, error) = feed(maps().list(), &answer, size, &Limits::default());
            assert!(error.is_none(), "{error:?}");
            let list = lists.pop().unwrap();
            assert_eq!(names(&list.items)[199], "m199");
            assert_eq!(list.metadata.resource_version.as_deref(), Some("7"));
        }
        // Not drained in between: a caller that polls only at the end.
        let mut exchange = maps()
            .list()
            .items()
            .into_call()
            .unwrap()
            .begin(&Limits::default())
            .1;
        let head = http::Response::builder()
            .header("content-encoding", "gzip")
            .body(())
            .unwrap();
        exchange.handle_head(&head.into_parts().0).unwrap();
        for chunk in answer.body.chunks(100) {
            exchange.handle_data(chunk.to_vec().into()).unwrap();
        }
        exchange.handle_end(End::Clean).unwrap();
        assert!(!exchange.is_done() && !exchange.wants_data() && exchange.buffered() > 0);
        let mut count = 0;
        while exchange.poll_item().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(
            (count, exchange.is_done(), exchange.buffered() < 100),
            (200, true, true)
        );
    }
}

#[test]
fn damaged_compression_is_told_apart() {
    let body = r#"{"kind":"ConfigMapList","items":[{"metadata":{"name":"a"}}],"metadata":{}}"#;
    let good = answer(200, body).gzip();
    for cut in [0, 5, 15, good.body.len() - 9, good.body.len() - 1] {
        let mut short = good.clone();
        short.body.truncate(cut);
        for end in [End::Clean, End::Truncated] {
            short.end = end;
            let (_, error) = feed(maps().list(), &short, 4, &Limits::default());
            assert_eq!(error.unwrap().kind(), ErrorKind::Truncated, "{cut} {end:?}");
        }
    }
    let mut bad = good.clone();
    *bad.body.last_mut().unwrap() ^= 1;
    let mut more = good.clone();
    more.body.extend(b"more");
    for bad in [
        bad,
        more,
        answer(200, body).header("content-encoding", "gzip"),
    ] {
        let (_, error) = feed(maps().list(), &bad, 4, &Limits::default());
        assert_eq!(error.unwrap().kind(), ErrorKind::Peer);
    }
}

#[test]
fn bombs_meet_the_limits() {
    let limits = Limits {
        max_body: 100_000,
        max_item: 100_000,
        max_line: 100_000,
        ..Limits::default()
    };
    let spaces = vec![b' '; 6 << 20];
    let long = [br#"{"items":[{"a":""#.to_vec(), vec![b'x'; 6 << 20]].concat();
    let (_, error) = feed(
        maps().get("n"),
        &answer(200, spaces).gzip(),
        usize::MAX,
        &limits,
    );
    assert_eq!(error.unwrap().kind(), ErrorKind::Limit);
    let long = answer(200, long).gzip();
    for error in [
        feed(maps().list(), &long, usize::MAX, &limits).1,
        feed(maps().list().items(), &long, usize::MAX, &limits).1,
        feed(maps().watch(), &long, usize::MAX, &limits).1,
        feed(
            Call::raw(http::Method::GET, "/x").lines(),
            &long,
            usize::MAX,
            &limits,
        )
        .1,
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Limit);
    }
    assert!(long.body.len() < 50_000);
    // Memory is held for a piece at a time.
    let info = allocation_counter::measure(|| {
        let mut exchange = maps().watch().into_call().unwrap().begin(&limits).1;
        let head = http::Response::builder()
            .header("content-encoding", "gzip")
            .body(())
            .unwrap();
        exchange.handle_head(&head.into_parts().0).unwrap();
        let _ = exchange.handle_data(long.body.clone().into());
        while exchange.poll_item().is_ok_and(|item| item.is_some()) {}
    });
    assert!(info.bytes_max < 600_000, "{info:?}");
}

#[test]
fn a_compressed_watch_gives_events_as_they_come() {
    let event = |name: &str| {
        format!("{{\"type\":\"ADDED\",\"object\":{{\"metadata\":{{\"name\":\"{name}\"}}}}}}\n")
    };
    let call = maps().watch().accept_gzip(true).into_call().unwrap();
    let (_, mut exchange) = call.begin(&Limits::default());
    let head = http::Response::builder()
        .header("content-encoding", "gzip")
        .body(())
        .unwrap();
    exchange.handle_head(&head.into_parts().0).unwrap();
    for name in ["a", "b", "c"] {
        // Each flush of the server is a member of its own.
        exchange
            .handle_data(gzip(event(name).as_bytes()).into())
            .unwrap();
        let Some(WatchEvent::Added(object)) = exchange.poll_item().unwrap() else {
            panic!("no event");
        };
        assert_eq!(object.metadata.name.as_deref(), Some(name));
        assert!(exchange.poll_item().unwrap().is_none() && exchange.wants_data());
    }
    exchange.handle_end(End::Truncated).unwrap();
    assert!(exchange.poll_item().unwrap().is_none() && exchange.is_done());
}

#[test]
fn the_recorded_compressed_list_decodes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/list-gzip.json");
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    let text = std::fs::read_to_string(file).unwrap();
    let transcript: serde_json::Value = serde_json::from_str(&text).unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    let chunks = transcript["response"]["chunks"].as_array().unwrap().iter();
    let body: Vec<u8> = chunks
        .flat_map(|chunk| {
            base64::Engine::decode(&engine, chunk["base64"].as_str().unwrap()).unwrap()
        })
        .collect();
    let answer = answer(200, body).header("content-encoding", "gzip");
    let (lists, error) = feed(maps().list(), &answer, 1186, &Limits::default());
    assert!(error.is_none(), "{error:?}");
    assert!(!lists[0].items.is_empty());
    assert_eq!(lists[0].items[0].types.kind, "ConfigMap");
}

#[test]
fn what_a_chunk_inflates_to_does_not_wait_for_the_next() {
    let line = format!("{}\n", "x".repeat(999));
    let body = gzip(line.repeat(500).as_bytes());
    // All but the trailer, which has no output.
    let begun = &body[..body.len() - 8];
    let call = Call::raw(http::Method::GET, "/x").lines();
    let mut exchange = call.into_call().unwrap().begin(&Limits::default()).1;
    let head = http::Response::builder()
        .header("content-encoding", "gzip")
        .body(())
        .unwrap();
    exchange.handle_head(&head.into_parts().0).unwrap();
    exchange.handle_data(begun.to_vec().into()).unwrap();
    // A piece that is inflated, and what is not.
    assert!(exchange.buffered() > 32 << 10);
    let lines = std::iter::from_fn(|| exchange.poll_item().unwrap()).count();
    assert_eq!(lines, 500);
}

#[test]
fn what_does_not_fit_of_a_failure_is_not_held_compressed_either() {
    let limits = Limits::default();
    let mut exchange = maps().get("n").into_call().unwrap().begin(&limits).1;
    let head = http::Response::builder()
        .status(500)
        .header("content-encoding", "gzip")
        .body(())
        .unwrap();
    exchange.handle_head(&head.into_parts().0).unwrap();
    let body = gzip(&vec![b' '; 6 << 20]);
    exchange.handle_data(body.into()).unwrap();
    assert_eq!(exchange.buffered(), limits.max_error_body);
}
