//! What comes of answers: failures in every form, lists, tables, deletions.

#![allow(clippy::unwrap_used, reason = "a test")]

mod api_support;

use api_support::{Answer, MAPS, answer, feed, feed_to, maps, names};
use http::StatusCode;
use kubewire::stream::WatchEvent;
use kubewire::{
    Call, Decode, DeletedCollection, Dynamic, End, Error, ErrorKind, Limits, Operation,
};

fn get(answer: &Answer) -> Error {
    let (items, error) = feed(maps().get("n"), answer, 7, &Limits::default());
    assert!(items.is_empty());
    error.expect("an error")
}

#[test]
fn failures_keep_code_and_first_bytes_whatever_their_body_is() {
    let timeout = r#"{"metadata":{},"status":"Failure","message":"Timeout: …","reason":"Timeout","details":{},"code":504}"#;
    for (answer, reason, has_status) in [
        (
            answer(404, "404 page not found\n").header("content-type", "text/plain; charset=utf-8"),
            Some("NotFound"),
            false,
        ),
        (answer(404, ""), Some("NotFound"), false),
        (
            answer(502, "<html><body>Bad Gateway</body></html>")
                .header("content-type", "text/html"),
            Some("InternalError"),
            false,
        ),
        (
            answer(404, r#"{"error":"no such route"}"#).header("content-type", "application/json"),
            Some("NotFound"),
            false,
        ),
        (
            answer(502, r#"{"message":"upstream"}"#).header("content-type", "application/json"),
            Some("InternalError"),
            false,
        ),
        (
            answer(503, r#"{"status":{"conditions":[]}}"#),
            Some("ServiceUnavailable"),
            false,
        ),
        (
            answer(409, r#"{"kind":"Status","status":"Failure","code":"409"}"#),
            Some("Conflict"),
            false,
        ),
        // JSON that says it is text, without a kind:
        (
            answer(504, timeout).header("content-type", "text/plain; charset=utf-8"),
            Some("Timeout"),
            true,
        ),
        (answer(504, timeout).gzip(), Some("Timeout"), true),
        (
            answer(429, "Too many requests, please try again later.\n"),
            Some("TooManyRequests"),
            false,
        ),
        // Cut off, and garbage:
        (
            answer(503, r#"{"kind":"Status","status":"Fail"#).cut(),
            Some("ServiceUnavailable"),
            false,
        ),
        (answer(500, [0xff, 0xfe, 0]), Some("InternalError"), false),
        (
            answer(500, "not gzip").header("content-encoding", "gzip"),
            Some("InternalError"),
            false,
        ),
        (
            answer(500, "?").header("content-encoding", "br"),
            Some("InternalError"),
            false,
        ),
        (answer(301, ""), None, false),
        (answer(418, "teapot"), None, false),
    ] {
        let error = get(&answer);
        let code = StatusCode::from_u16(answer.code).unwrap();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Api, Some(code)));
        assert_eq!(error.reason(), reason, "{error}");
        assert_eq!(error.status().is_some(), has_status, "{error}");
        if answer
            .headers
            .iter()
            .all(|(name, _)| *name != "content-encoding")
        {
            assert_eq!(error.body().unwrap(), &answer.body);
        }
    }
    // A bare 409 of a create means something else.
    let (_, error) = feed(
        maps().create(&Dynamic::new(&MAPS, "n")),
        &answer(409, "conflict"),
        7,
        &Limits::default(),
    );
    assert!(error.is_some_and(|error| error.is_already_exists() && !error.is_conflict()));
    // Only so much is kept.
    let limits = Limits {
        max_error_body: 10,
        ..Limits::default()
    };
    for answer in [
        answer(500, vec![b'x'; 100]),
        answer(500, vec![b'x'; 5 << 20]).gzip(),
    ] {
        let (_, error) = feed(maps().get("n"), &answer, 64, &limits);
        assert_eq!(error.unwrap().body().unwrap(), "xxxxxxxxxx");
    }
}

#[test]
fn failures_carry_what_the_headers_say() {
    let body = r#"{"kind":"Status","status":"Failure","reason":"TooManyRequests","code":429,
        "details":{"causes":[{"reason":"DisruptionBudget","message":"g"}],"retryAfterSeconds":10}}"#;
    let refused = answer(429, body)
        .header("audit-id", "a-1")
        .header("warning", "299 - \"one\"")
        .header("warning", "299 - \"two\"");
    let call = maps().evict("p").into_call().unwrap();
    let (_, error, exchange) = feed_to(call.begin(&Limits::default()).1, &refused, 7);
    let error = error.unwrap();
    assert!(error.is_disruption_budget() && error.is_too_many_requests());
    assert_eq!(error.retry_after().unwrap().as_secs(), 10);
    assert_eq!(error.audit_id(), Some("a-1"));
    let texts: Vec<&str> = exchange
        .warnings()
        .iter()
        .map(|warning| warning.text.as_str())
        .collect();
    assert_eq!(texts, ["one", "two"]);
    // The header counts before the body; a date is none.
    assert_eq!(
        get(&refused.clone().header("retry-after", "3"))
            .retry_after()
            .unwrap()
            .as_secs(),
        3
    );
    let text = answer(429, "busy").header("retry-after", "Mon, 23 Nov 2026 06:19:17 GMT");
    assert_eq!(get(&text).retry_after(), None);
    // An expired token brings another.
    let expired = answer(
        410,
        r#"{"kind":"Status","metadata":{"continue":"fresh"},"status":"Failure","reason":"Expired","code":410}"#,
    );
    assert!(get(&expired).is_expired());
    assert_eq!(get(&expired).continue_token(), Some("fresh"));
    let later = r#"{"kind":"Status","status":"Failure","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]},"code":504}"#;
    assert!(get(&answer(504, later)).is_resource_version_too_large());
}

#[test]
fn a_successful_answer_that_is_no_json_is_the_peers_fault() {
    for body in ["<html>login</html>", "", " ", "nonsense"] {
        let error = get(&answer(200, body));
        assert_eq!(error.kind(), ErrorKind::Peer, "{body}");
        assert!(!error.to_string().contains("login"));
    }
    let login =
        answer(200, "<html>login</html>").header("content-type", "text/html; charset=utf-8");
    let limits = Limits::default();
    for error in [
        get(&login),
        feed(maps().list(), &login, 7, &limits).1.unwrap(),
        feed(maps().watch(), &login, 7, &limits).1.unwrap(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Peer);
        assert!(
            error.to_string().contains("text/html") && !error.to_string().contains("login"),
            "{error}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
    for half in [answer(200, "{").cut(), answer(200, "{")] {
        assert_eq!(get(&half).kind(), ErrorKind::Truncated);
    }
    assert_eq!(get(&answer(101, "")).kind(), ErrorKind::Peer);
    assert_eq!(
        get(&answer(200, "{}").header("content-encoding", "br")).kind(),
        ErrorKind::Peer
    );
}

#[test]
fn the_deletion_of_a_collection_answers_in_two_ways() {
    let operation = || maps().delete_collection().everything();
    let list = answer(
        200,
        r#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}"#,
    );
    let status = answer(
        200,
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"kind":"configmaps"}}"#,
    );
    let null = answer(
        200,
        r#"{"kind":"PartialObjectMetadataList","metadata":{},"items":null}"#,
    );
    for size in [1, 5, usize::MAX] {
        let decode = |answer: &Answer| feed(operation(), answer, size, &Limits::default());
        let (items, error) = decode(&list);
        assert!(error.is_none(), "{error:?}");
        assert!(
            matches!(&items[..], [DeletedCollection::List(list)] if names(&list.items) == ["a"])
        );
        let (items, error) = decode(&status);
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(&items[..], [DeletedCollection::Status(status)] if status.is_success()));
        let (items, error) = decode(&null);
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(&items[..], [DeletedCollection::List(list)] if list.items.is_empty()));
        for bad in [
            answer(200, "<html>"),
            answer(200, "{}"),
            answer(200, r#"{"kind":"Pod","spec":{}}"#),
            answer(200, "[1]"),
        ] {
            assert_eq!(decode(&bad).1.unwrap().kind(), ErrorKind::Peer);
        }
        assert_eq!(
            decode(&list.clone().cut()).1.unwrap().kind(),
            ErrorKind::Truncated
        );
        let mut short = list.clone();
        short.body.truncate(60);
        assert_eq!(decode(&short).1.unwrap().kind(), ErrorKind::Truncated);
        let failed = answer(
            200,
            r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#,
        );
        assert!(decode(&failed).1.unwrap().is_forbidden());
    }
}

#[test]
fn all_pages_are_one_list_and_never_endless() {
    let page = |name: &str, token: &str| {
        answer(
            200,
            format!(
                r#"{{"metadata":{{"resourceVersion":"7","continue":"{token}"}},"items":[{{"metadata":{{"name":"{name}"}}}}]}}"#
            ),
        )
    };
    let run = |pages: &[Answer], limits: &Limits| -> Result<Vec<String>, Error> {
        let mut call = maps()
            .list()
            .limit(1)
            .labels("a=b")
            .all_pages()
            .into_call()
            .unwrap();
        for (index, page) in pages.iter().enumerate() {
            let (request, exchange) = call.begin(limits);
            assert_eq!(
                request.uri().query().unwrap().contains("continue="),
                index > 0
            );
            assert!(
                request
                    .uri()
                    .query()
                    .unwrap()
                    .starts_with("labelSelector=a%3Db&limit=1")
            );
            assert_eq!(request.headers()["accept-encoding"], "gzip");
            let (mut items, error, mut exchange) = feed_to(exchange, page, 9);
            if let Some(error) = error {
                return Err(error);
            }
            if let Some(list) = items.pop() {
                assert!(exchange.follow_up().is_none());
                assert_eq!(list.metadata.next_page(), None);
                return Ok(names(&list.items).into_iter().map(str::to_owned).collect());
            }
            call = exchange.follow_up().unwrap();
        }
        panic!("more pages are asked for");
    };
    let default = Limits::default();
    assert_eq!(
        run(&[page("a", "t1"), page("b", "t2"), page("c", "")], &default).unwrap(),
        ["a", "b", "c"]
    );
    let endless = [page("a", "t1"), page("b", "t1"), page("c", "")];
    assert_eq!(run(&endless, &default).unwrap_err().kind(), ErrorKind::Peer);
    let expired = answer(
        410,
        r#"{"kind":"Status","metadata":{"continue":"x"},"status":"Failure","reason":"Expired"}"#,
    );
    assert!(
        run(&[page("a", "t1"), expired], &default)
            .unwrap_err()
            .is_expired()
    );
    // The limit is for all pages together.
    let small = Limits {
        max_body: 50,
        ..Limits::default()
    };
    let error = run(&[page("a", "t1"), page("b", "t2"), page("c", "")], &small).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    // The items of a stream notice it as well.
    let mut exchange = maps()
        .list()
        .limit(1)
        .continue_token("t1")
        .items()
        .into_call()
        .unwrap()
        .begin(&default)
        .1;
    exchange
        .handle_head(&http::Response::new(()).into_parts().0)
        .unwrap();
    exchange.handle_data(page("a", "t1").body.into()).unwrap();
    assert!(exchange.poll_item().unwrap().is_some());
    assert_eq!(
        exchange.handle_end(End::Clean).unwrap_err().kind(),
        ErrorKind::Peer
    );
}

#[test]
fn the_metadata_view_takes_whole_objects_where_there_is_none() {
    let api = maps().metadata();
    let one = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
    let many = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    for (accept, expected) in [
        (accept(api.get("a")), one),
        (accept(api.watch()), one),
        (accept(api.list()), many),
    ] {
        assert_eq!(accept, expected);
    }

    let object = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"u"},"data":{"k":"v"}}"#;
    let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},
        "items":[{"metadata":{"name":"a","uid":"u"},"spec":{"containers":[]},"status":{"phase":"Running"}}]}"#;
    let event = format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n");
    for size in [1, 4096] {
        let got = whole(api.get("a"), object, size);
        assert_eq!(got.metadata.uid.as_deref(), Some("u"));
        let got = whole(api.list(), list, size);
        assert_eq!(got.items[0].metadata.uid.as_deref(), Some("u"));
        let WatchEvent::Added(got) = whole(api.watch(), &event, size) else {
            panic!("another event");
        };
        assert_eq!(got.metadata.uid.as_deref(), Some("u"));
    }
}

fn accept(operation: impl Operation) -> http::HeaderValue {
    operation.into_call().unwrap().request().headers()["accept"].clone()
}

/// The one item of a good answer.
fn whole<O: Operation>(operation: O, body: &str, size: usize) -> <O::Decoder as Decode>::Item {
    let (mut items, error) = feed(operation, &answer(200, body), size, &Limits::default());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(items.len(), 1);
    items.remove(0)
}

#[test]
fn tables_decode_and_other_kinds_do_not_pass_for_them() {
    let table = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7","continue":"t"},
        "columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"","priority":0}],
        "rows":[{"cells":["a"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a"}}},
                {"cells":["b"],"conditions":[{"type":"Completed","status":"True"}],"object":null}]}"#;
    let (tables, error) = feed(
        maps().table().list(),
        &answer(200, table),
        50,
        &Limits::default(),
    );
    assert!(error.is_none(), "{error:?}");
    let table = &tables[0];
    assert_eq!(
        (
            table.column("Name"),
            table.rows.len(),
            table.metadata.next_page()
        ),
        (Some(0), 2, Some("t"))
    );
    assert_eq!(
        table.rows[0]
            .object
            .as_ref()
            .unwrap()
            .metadata
            .name
            .as_deref(),
        Some("a")
    );
    assert!(!format!("{:?}", table.rows[0]).contains("cells: [\""));
    let (_, error) = feed(
        maps().table().list(),
        &answer(200, r#"{"kind":"ConfigMapList","items":[]}"#),
        50,
        &Limits::default(),
    );
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Object);
    assert!(error.to_string().contains("kind Table"), "{error}");
    let events = concat!(
        r#"{"type":"ADDED","object":{"kind":"Table","metadata":{},"columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["a"]}]}}"#,
        "\n",
        r#"{"type":"MODIFIED","object":{"kind":"Table","metadata":{},"columnDefinitions":null,"rows":[{"cells":["b"]}]}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"Table","columnDefinitions":null,"rows":[{"cells":["",0],"object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}]}}"#,
        "\n",
    );
    let (events, error) = feed(
        maps().table().watch(),
        &answer(200, events),
        11,
        &Limits::default(),
    );
    assert!(error.is_none(), "{error:?}");
    let [
        WatchEvent::Added(first),
        WatchEvent::Modified(second),
        WatchEvent::Bookmark(bookmark),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (
            first.column_definitions.len(),
            second.column_definitions.len()
        ),
        (1, 0)
    );
    assert!(bookmark.initial_events_end && bookmark.resource_version == "9");
}

#[test]
fn raw_answers_come_as_bytes_json_lines_or_chunks() {
    let raw = || Call::raw(http::Method::GET, "/x");
    let text = answer(200, "one\ntwo\n\nlast");
    let limits = Limits::default();
    assert_eq!(feed(raw(), &text, 3, &limits).0, [&text.body[..]]);
    assert_eq!(
        feed(raw().lines(), &text, 3, &limits).0,
        ["one", "two", "", "last"]
    );
    assert_eq!(
        feed(raw().chunks(), &text, 3, &limits).0.concat(),
        text.body
    );
    assert_eq!(
        feed(raw().json::<u8>(), &answer(200, "7"), 3, &limits).0,
        [7]
    );
    let (lines, error) = feed(raw().lines(), &text.clone().cut(), 3, &limits);
    assert_eq!(
        (lines.len(), error.unwrap().kind()),
        (4, ErrorKind::Truncated)
    );
    let (_, error) = feed(raw().chunks(), &text.clone().cut(), 3, &limits);
    assert_eq!(error.unwrap().kind(), ErrorKind::Truncated);
    let (_, error) = feed(raw().json::<u8>(), &answer(404, "no"), 3, &limits);
    assert!(error.unwrap().is_not_found());
}

#[test]
fn nothing_of_a_dynamic_object_is_lost() {
    let json = r#"{"apiVersion":"v1","kind":"X","metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"O","name":"o","uid":"u","future":{"x":1}}],"managedFields":[{"manager":"m"}],"big":123456789012345678901234567890,"float":1.10},"spec":{"n":1e400,"s":"\u003c"},"future":[1.0]}"#;
    let object: Dynamic = serde_json::from_str(json).unwrap();
    let back = serde_json::to_string(&object).unwrap();
    for part in [
        r#""future":{"x":1}"#,
        "123456789012345678901234567890",
        "1.10",
        "1e400",
        r#""\u003c""#,
        r#""future":[1.0]"#,
        r#"[{"manager":"m"}]"#,
    ] {
        assert!(back.contains(part), "{part} in {back}");
    }
}
