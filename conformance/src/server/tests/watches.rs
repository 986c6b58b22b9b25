use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, LIMIT, Open};
use super::{MAPS, config_map, start};
use crate::server::Server;

fn watch(client: &Client, query: &str) -> Open {
    let open = client.open("GET", &format!("{MAPS}?watch=true&{query}"), &[], b"");
    assert_eq!(open.head.status, 200);
    open
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn events_follow_a_list() {
    let (server, client) = start();
    client.post(MAPS, &config_map("old", &json!({}))).ok();
    let list = client.get(MAPS).ok();
    let mut events = watch(&client, &format!("resourceVersion={}", version(&list)));
    client
        .post(MAPS, &config_map("a", &json!({"k": "<&>"})))
        .ok();
    client
        .patch("merge", &format!("{MAPS}/a"), r#"{"data":{"k":"w"}}"#)
        .ok();
    client.delete(&format!("{MAPS}/a")).ok();
    let line = events.line().unwrap();
    assert!(line.starts_with(r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a""#), "{line}");
    assert!(line.contains(r#""k":"\u003c\u0026\u003e""#), "{line}");
    let (kind, modified) = events.event().unwrap();
    assert_eq!(
        (kind.as_str(), &modified["data"]["k"]),
        ("MODIFIED", &json!("w"))
    );
    let (kind, deleted) = events.event().unwrap();
    assert_eq!(
        (kind.as_str(), &deleted["data"]["k"]),
        ("DELETED", &json!("w"))
    );
    assert!(version(&deleted).parse::<u64>().unwrap() > version(&modified).parse().unwrap());
    assert_eq!(server.stats().watches_open, 1);
    drop(events);
    let deadline = Instant::now() + LIMIT;
    while server.stats().watches_open > 0 {
        assert!(Instant::now() < deadline, "a watch outlives its client");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn selectors_turn_changes_into_arrivals_and_departures() {
    let (_server, client) = start();
    let path = format!("{MAPS}/leaver");
    client
        .post(
            MAPS,
            &json!({"metadata": {"name": "leaver", "labels": {"sel": "out"}}}),
        )
        .ok();
    let mut events = watch(&client, "labelSelector=sel%3Din&timeoutSeconds=60");
    client
        .patch("merge", &path, r#"{"metadata":{"labels":{"sel":"in"}}}"#)
        .ok();
    let changed = client
        .patch("merge", &path, r#"{"metadata":{"labels":{"sel":"gone"}}}"#)
        .ok();
    assert_eq!(events.event().unwrap().0, "ADDED");
    let (kind, last) = events.event().unwrap();
    assert_eq!(
        (kind.as_str(), &last["metadata"]["labels"]["sel"]),
        ("DELETED", &json!("in"))
    );
    assert_eq!(version(&last), version(&changed));
    let mut one = client.open(
        "GET",
        "/api/v1/watch/namespaces/default/configmaps/leaver?timeoutSeconds=1",
        &[],
        b"",
    );
    assert_eq!(name(&one.event().unwrap().1), "leaver");
    assert_eq!(one.event(), None);
}

#[test]
fn initial_events_end_with_a_bookmark() {
    let (_server, client) = start();
    for i in 0..3 {
        client
            .post(MAPS, &config_map(&format!("m{i}"), &json!({})))
            .ok();
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60";
    let mut events = watch(&client, query);
    let initial: Vec<String> = (0..3)
        .map(|_| name(&events.event().unwrap().1).to_owned())
        .collect();
    assert_eq!(initial, ["m0", "m1", "m2"]);
    let line = events.line().unwrap();
    let list = client.get(MAPS).ok();
    let version = version(&list);
    assert_eq!(
        line,
        format!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
        )
    );
    client.post(MAPS, &config_map("later", &json!({}))).ok();
    assert_eq!(name(&events.event().unwrap().1), "later");
    let pods = client
        .open("GET", &format!("{}?watch=1&{query}", super::PODS), &[], b"")
        .line()
        .unwrap();
    assert!(
        pods.contains(r#""spec":{"containers":null},"status":{}}}"#),
        "{pods}"
    );
    let refuse = |query: &str, message: &str| {
        client.get(&format!("{MAPS}?watch=true&{query}")).refused(
            422,
            &format!("ListOptions.meta.k8s.io \"\" is invalid: {message}"),
        );
    };
    refuse(
        "sendInitialEvents=true",
        "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
    refuse(
        "resourceVersion=1&resourceVersionMatch=NotOlderThan",
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
    );
    let mut none = watch(
        &client,
        "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=1",
    );
    assert_eq!(none.event(), None);
}

#[test]
fn bookmarks_come_periodically_and_before_the_end() {
    let server = Server::builder()
        .bookmark_interval(Duration::from_millis(50))
        .start()
        .unwrap();
    let client = Client::new(&server);
    let list = client.get(MAPS).ok();
    let mut events = watch(
        &client,
        &format!(
            "resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds=1",
            version(&list)
        ),
    );
    for _ in 0..3 {
        assert_eq!(events.event().unwrap().0, "BOOKMARK");
    }
    let slow = Server::start().unwrap();
    let client = Client::new(&slow);
    let list = client.get(MAPS).ok();
    let mut events = watch(
        &client,
        &format!(
            "resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds=3",
            version(&list)
        ),
    );
    assert_eq!(events.event().unwrap().0, "BOOKMARK");
    assert_eq!(events.event(), None);
}

#[test]
fn versions_too_old_too_new_and_wrong() {
    let (server, client) = start();
    let mut old = watch(&client, "resourceVersion=1");
    let (kind, status) = old.event().unwrap();
    assert_eq!(
        (kind.as_str(), &status["reason"], &status["code"]),
        ("ERROR", &json!("Expired"), &json!(410))
    );
    assert_eq!(old.event(), None);
    let created = client.post(MAPS, &config_map("a", &json!({}))).ok();
    client
        .patch("merge", &format!("{MAPS}/a"), r#"{"data":{"k":"w"}}"#)
        .ok();
    server.compact();
    let mut compacted = watch(&client, &format!("resourceVersion={}", version(&created)));
    assert_eq!(compacted.event().unwrap().0, "ERROR");
    let mut silent = watch(&client, "resourceVersion=99999999&timeoutSeconds=1");
    assert_eq!(silent.event(), None);
    let mut early = watch(&client, "timeoutSeconds=-1");
    assert_eq!(early.event(), None);
    client.get(&format!("{MAPS}?watch=true&resourceVersion=abc")).refused(500, "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax");
    let named = client.get(&format!("{MAPS}/a?watch=true"));
    assert_eq!(named.ok()["kind"], "ConfigMap");
    let mut future = watch(
        &client,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999999",
    );
    let (kind, status) = future.event().unwrap();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(504)));
}

#[test]
fn a_watcher_that_does_not_read_is_cut_and_not_queued_for() {
    let (server, client) = start();
    let list = client.get(MAPS).ok();
    let mut events = watch(&client, &format!("resourceVersion={}", version(&list)));
    let blob = "x".repeat(900_000);
    for i in 0..40 {
        client
            .post(
                MAPS,
                &config_map(&format!("big-{i}"), &json!({"blob": blob})),
            )
            .ok();
    }
    // It is far behind when history goes.
    server.compact();
    let mut end = None;
    let mut seen = 0;
    while let Some(event) = events.event() {
        seen += 1;
        end = Some(event);
    }
    let (kind, status) = end.unwrap();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));
    assert!(seen <= 40, "{seen} events");
}

#[test]
fn other_representations() {
    let (_server, client) = start();
    for i in 0..2 {
        client
            .post(MAPS, &config_map(&format!("m{i}"), &json!({"k": "v"})))
            .ok();
    }
    let open = |accept: &str| {
        client.open(
            "GET",
            &format!("{MAPS}?watch=true&timeoutSeconds=60"),
            &[("Accept", accept)],
            b"",
        )
    };
    let (_, partial) = open("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
        .event()
        .unwrap();
    assert_eq!(
        (&partial["kind"], partial.get("data")),
        (&json!("PartialObjectMetadata"), None)
    );
    let mut table = open("application/json;as=Table;v=v1;g=meta.k8s.io");
    assert!(table.event().unwrap().1["columnDefinitions"].is_array());
    assert!(table.event().unwrap().1["columnDefinitions"].is_null());
    assert_eq!(open("application/yaml").head.status, 406);
    assert_eq!(open("application/json;stream=watch").head.status, 200);
}
