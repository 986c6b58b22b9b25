use std::io::Read as _;

use serde_json::{Value, json};

use super::client::Client;
use super::{MAPS, config_map, start};

fn fill(client: &Client, count: usize) {
    for i in 0..count {
        let parity = if i % 2 == 0 { "even" } else { "odd" };
        let body = json!({"metadata": {"name": format!("item-{i}"), "labels": {"parity": parity}}, "data": {"i": i.to_string()}});
        client.post(MAPS, &body).ok();
    }
}

/// Without what the server publishes by itself, for instance after a compaction.
fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["metadata"]["name"].as_str().unwrap())
        .filter(|name| *name != "kube-root-ca.crt")
        .collect()
}

#[test]
fn pages_show_one_moment() {
    let (_server, client) = start();
    fill(&client, 7);
    let first = client.get(&format!("{MAPS}?limit=3")).ok();
    assert_eq!(names(&first), ["item-0", "item-1", "item-2"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    assert!(first["items"][0].get("kind").is_none());
    client.post(MAPS, &config_map("item-3a", &json!({}))).ok();
    client.delete(&format!("{MAPS}/item-4")).ok();
    client
        .patch(
            "merge",
            &format!("{MAPS}/item-5"),
            r#"{"data":{"i":"new"}}"#,
        )
        .ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{MAPS}?limit=3&continue={token}")).ok();
    assert_eq!(names(&second), ["item-3", "item-4", "item-5"]);
    assert_eq!(second["items"][2]["data"]["i"], "5");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let rest = second["metadata"]["continue"].as_str().unwrap();
    let third = client.get(&format!("{MAPS}?limit=3&continue={rest}")).ok();
    assert_eq!(
        (names(&third), third["metadata"].get("continue")),
        (vec!["item-6"], None)
    );
    client
        .get(&format!("{MAPS}?continue={token}&resourceVersion=5"))
        .refused(
            400,
            "specifying resource version is not allowed when using continue",
        );
    let everywhere = client.get("/api/v1/configmaps?limit=1").ok();
    let token = everywhere["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        names(
            &client
                .get(&format!("/api/v1/configmaps?limit=1&continue={token}"))
                .ok()
        ),
        ["item-1"]
    );
}

#[test]
fn an_expired_token_comes_with_another() {
    let (server, client) = start();
    fill(&client, 4);
    let first = client.get(&format!("{MAPS}?limit=2")).ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    client.delete(&format!("{MAPS}/item-2")).ok();
    server.compact();
    let expired = client.get(&format!("{MAPS}?limit=2&continue={token}"));
    assert_eq!(expired.status, 410);
    let status = expired.json();
    assert_eq!(status["reason"], "Expired");
    let fresh = status["metadata"]["continue"].as_str().unwrap();
    let rest = client.get(&format!("{MAPS}?limit=2&continue={fresh}")).ok();
    assert_eq!(names(&rest), ["item-3"]);
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    client
        .get(&format!(
            "{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
        ))
        .refused(410, "The resourceVersion for the provided list is too old.");
}

#[test]
fn resource_versions_of_lists() {
    let (_server, client) = start();
    fill(&client, 3);
    let second = client.get(&format!("{MAPS}/item-1")).ok();
    let version = second["metadata"]["resourceVersion"].as_str().unwrap();
    let list = |query: &str| client.get(&format!("{MAPS}?{query}"));
    assert_eq!(
        list(&format!(
            "resourceVersion={version}&resourceVersionMatch=Exact"
        ))
        .ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        names(&list(&format!("resourceVersion={version}")).ok()).len(),
        3
    );
    assert_eq!(
        names(&list(&format!("resourceVersion={version}&limit=5")).ok()).len(),
        2,
        "with a limit it is exact"
    );
    assert_eq!(
        names(&list("resourceVersion=0&limit=1").ok()).len(),
        3,
        "any version knows no limit"
    );
    list("resourceVersion=abc").refused(400, "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax");
    list("limit=ten").refused(400, "strconv.ParseInt: parsing \"ten\": invalid syntax");
    let prefix = "ListOptions.meta.k8s.io \"\" is invalid: ";
    list("resourceVersionMatch=Exact").refused(422, &format!("{prefix}resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"));
    list("resourceVersion=0&resourceVersionMatch=Exact").refused(422, &format!("{prefix}resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
    list("sendInitialEvents=true").refused(
        422,
        &format!("{prefix}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
    );
    let future = list("resourceVersion=99999999");
    assert_eq!(
        (future.status, future.header("retry-after")),
        (504, Some("1"))
    );
    assert_eq!(
        future.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    let hurried = list("resourceVersion=99999999&timeout=100ms");
    assert_eq!(
        (hurried.status, hurried.header("content-type")),
        (504, Some("text/plain; charset=utf-8"))
    );
    list("timeout=soon").refused(
        400,
        "invalid timeout specified in the request URL - time: invalid duration \"soon\"",
    );
}

#[test]
fn selectors_and_representations() {
    let (_server, client) = start();
    fill(&client, 6);
    let list = |query: &str| client.get(&format!("{MAPS}?{query}"));
    assert_eq!(
        names(&list("labelSelector=parity%3Dodd").ok()),
        ["item-1", "item-3", "item-5"]
    );
    assert_eq!(
        names(&list("fieldSelector=metadata.name%3Ditem-3").ok()),
        ["item-3"]
    );
    assert_eq!(
        names(&list("labelSelector=parity;x").ok()).len(),
        6,
        "a semicolon drops the pair"
    );
    list("fieldSelector=data.i%3D3").refused(
        400,
        "\"data.i\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    list("labelSelector=a%20in%20%28").refused(
        400,
        "unable to parse requirement: found '', expected: ',', ')' or identifier",
    );
    let exact = list("labelSelector=parity%3Dodd&limit=3").ok();
    assert!(exact["metadata"]["continue"].is_null(), "nothing follows");
    let accept = |value: &str, query: &str| {
        client.request("GET", &format!("{MAPS}?{query}"), &[("Accept", value)], b"")
    };
    let partial = accept(
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "",
    )
    .ok();
    assert_eq!(
        (&partial["kind"], partial["items"][0].get("data")),
        (&json!("PartialObjectMetadataList"), None)
    );
    let none = accept(
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "labelSelector=none",
    )
    .ok();
    assert_eq!(none["items"], Value::Null);
    accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "").refused(406, "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)");
    let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io", "").ok();
    assert_eq!(
        (
            table["rows"].as_array().unwrap().len(),
            &table["rows"][0]["cells"][1]
        ),
        (6, &json!(1))
    );
}

#[test]
fn large_lists_are_compressed_when_asked_for_exactly() {
    let (_server, client) = start();
    for i in 0..3 {
        client
            .post(
                MAPS,
                &config_map(&format!("fat-{i}"), &json!({"blob": "x".repeat(60_000)})),
            )
            .ok();
    }
    let get = |encoding: &str| client.request("GET", MAPS, &[("Accept-Encoding", encoding)], b"");
    assert_eq!(get("*").header("content-encoding"), None);
    let compressed = get("gzip, deflate");
    assert_eq!(
        (
            compressed.header("content-encoding"),
            compressed.header("vary")
        ),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    let mut plain = String::new();
    flate2::read::GzDecoder::new(compressed.body.as_slice())
        .read_to_string(&mut plain)
        .unwrap();
    assert_eq!(plain, client.get(MAPS).text());
}
