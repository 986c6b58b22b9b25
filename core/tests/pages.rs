//! The pages of a list.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod chunking_support;

use bytes::Bytes;
use chunking_support::{Decoder, MAPS, ok};
use kubewire::{Api, End, ErrorKind, Limits, Operation, Verb, VersionMatch};

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
