//! Collections.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kubewire::discovery::Discover;
use kubewire::policy::Retry;
use kubewire::{Api, ApiResource, DeletedCollection, Error, ErrorKind, VersionMatch};
use kubewire_driver::Drive;
use serde_json::json;

use super::pods::{create_map, failure, typed};
use super::{Calls, Env};

calls! { Lists;
    a_list_holds_what_was_created;
    a_list_of_nothing_is_empty;
    pages_hold_every_object_once;
    pages_that_come_out_even_end;
    all_pages_are_one_list;
    a_page_tells_how_much_follows;
    a_page_is_asked_for_by_its_token;
    pages_are_of_one_point_in_time;
    labels_select;
    fields_select;
    an_invalid_selector_is_refused;
    a_list_over_all_namespaces_tells_them_apart;
    a_list_at_an_exact_version_is_the_past;
    a_list_not_older_than_a_version_has_what_it_had;
    a_list_from_the_cache_is_a_list;
    metadata_is_listed_without_the_rest;
    tables_come_in_pages;
    managed_fields_may_be_left_out;
    items_of_built_in_kinds_are_dynamic_objects;
    a_large_list_is_the_same_compressed_and_not;
    a_collection_is_deleted_by_its_selector;
    a_collection_is_not_emptied_by_accident;
    a_stream_that_is_dropped_asks_for_no_more;
    what_a_server_serves_is_discovered;
}

driven! { Lists;
    a_version_from_the_future_is_refused;
    lists_side_by_side_do_not_mix;
}

fn label(map: &str, colour: &str, size: Option<&str>) -> ConfigMap {
    typed(
        json!({"metadata": {"name": map, "labels": {"set": "x", "colour": colour, "size": size.map_or("none", |s| s)}}}),
    )
}

async fn create_secrets<E: Calls>(env: &E, count: usize) {
    for n in 0..count {
        let secret: Secret = typed(json!({"metadata": {"name": format!("s-{n:03}")}}));
        env.send(env.api().create(&secret))
            .await
            .expect("it is made");
    }
}

fn secret_names(list: impl IntoIterator<Item = Secret>) -> Vec<String> {
    let names = list.into_iter().filter_map(|secret| secret.metadata.name);
    names.collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s-{n:03}")).collect()
}

async fn a_list_holds_what_was_created<E: Calls>(env: &E) {
    create_secrets(env, 3).await;
    let list = env.send(env.api::<Secret>().list()).await.expect("a list");
    assert!(list.metadata.resource_version.is_some());
    assert_eq!(secret_names(list.items), expected(3));
}

async fn a_list_of_nothing_is_empty<E: Calls>(env: &E) {
    let list = env.send(env.api::<Secret>().list()).await.expect("a list");
    assert!(list.items.is_empty() && list.metadata.next_page().is_none());
    let mut items = env.stream(env.api::<Secret>().list().items());
    assert!(items.next().await.is_none());
}

async fn pages_hold_every_object_once<E: Calls>(env: &E) {
    create_secrets(env, 23).await;
    let items = env.stream(env.api::<Secret>().list().limit(7).items());
    let items: Vec<Secret> = items.map(|item| item.expect("an item")).collect().await;
    assert_eq!(secret_names(items), expected(23));
}

async fn pages_that_come_out_even_end<E: Calls>(env: &E) {
    create_secrets(env, 6).await;
    for limit in [1, 2, 3, 6, 7] {
        let items = env.stream(env.api::<Secret>().list().limit(limit).items());
        let items: Vec<Secret> = items.map(|item| item.expect("an item")).collect().await;
        assert_eq!(secret_names(items), expected(6), "{limit} a page");
    }
}

async fn all_pages_are_one_list<E: Calls>(env: &E) {
    create_secrets(env, 10).await;
    let list = env
        .send(env.api::<Secret>().list().limit(3).all_pages())
        .await;
    let list = list.expect("a list");
    assert!(list.metadata.next_page().is_none());
    assert!(list.metadata.resource_version.is_some());
    assert_eq!(secret_names(list.items), expected(10));
}

async fn a_page_tells_how_much_follows<E: Calls>(env: &E) {
    create_secrets(env, 5).await;
    let page = env
        .send(env.api::<Secret>().list().limit(2))
        .await
        .expect("a page");
    assert_eq!(page.items.len(), 2);
    assert!(page.metadata.next_page().is_some());
    assert_eq!(page.metadata.remaining_item_count, Some(3));
}

async fn a_page_is_asked_for_by_its_token<E: Calls>(env: &E) {
    create_secrets(env, 5).await;
    let list = || env.api::<Secret>().list().limit(3);
    let first = env.send(list()).await.expect("a page");
    let token = first.metadata.next_page().expect("a token").to_owned();
    let second = env
        .send(list().continue_token(token))
        .await
        .expect("a page");
    assert!(second.metadata.next_page().is_none());
    assert_eq!(
        secret_names(first.items.into_iter().chain(second.items)),
        expected(5)
    );
    let wrong = env.send(list().continue_token("nonsense")).await;
    assert!(failure(wrong).is_bad_request());
}

async fn pages_are_of_one_point_in_time<E: Calls>(env: &E) {
    create_secrets(env, 6).await;
    let secrets = env.api::<Secret>();
    let mut items = env.stream(secrets.list().limit(2).items());
    let mut names = Vec::new();
    while let Some(item) = items.next().await {
        names.extend(secret_names([item.expect("an item")]));
        if names.len() == 1 {
            env.send(secrets.delete("s-005"))
                .await
                .expect("it is deleted");
            let late: Secret = typed(json!({"metadata": {"name": "s-004-late"}}));
            env.send(secrets.create(&late)).await.expect("it is made");
        }
    }
    assert_eq!(names, expected(6));
}

async fn labels_select<E: Calls>(env: &E) {
    for (name, colour, size) in [
        ("a", "red", Some("l")),
        ("b", "green", Some("s")),
        ("c", "blue", None),
    ] {
        let map = label(name, colour, size);
        env.send(env.api().create(&map)).await.expect("it is made");
    }
    for (selector, names) in [
        ("set=x", "a b c"),
        ("set=x,colour=red", "a"),
        ("set=x,colour!=red", "b c"),
        ("set=x,colour in (red,blue)", "a c"),
        ("set=x,colour notin (red,blue)", "b"),
        ("set,!other,size=s", "b"),
        ("other", ""),
    ] {
        let list = env
            .send(env.api::<ConfigMap>().list().labels(selector))
            .await;
        let items = list.expect("a list").items;
        let found: Vec<_> = items
            .into_iter()
            .filter_map(|map| map.metadata.name)
            .collect();
        assert_eq!(found.join(" "), names, "{selector}");
    }
}

async fn fields_select<E: Calls>(env: &E) {
    create_secrets(env, 3).await;
    for (selector, count) in [
        ("metadata.name=s-001", 1),
        ("metadata.name!=s-001", 2),
        ("metadata.name=none", 0),
        ("type=Opaque", 3),
    ] {
        let list = env.send(env.api::<Secret>().list().fields(selector)).await;
        assert_eq!(list.expect("a list").items.len(), count, "{selector}");
    }
}

async fn an_invalid_selector_is_refused<E: Calls>(env: &E) {
    let refused = |error: &Error| error.kind() == ErrorKind::Usage || error.is_bad_request();
    for selector in ["a in (", "=", "a==b==c", "a b"] {
        let error = failure(
            env.send(env.api::<ConfigMap>().list().labels(selector))
                .await,
        );
        assert!(refused(&error), "{selector}: {error}");
    }
    let error = failure(
        env.send(env.api::<ConfigMap>().list().fields("no.such.field=x"))
            .await,
    );
    assert!(refused(&error), "{error}");
}

async fn a_list_over_all_namespaces_tells_them_apart<E: Calls>(env: &E) {
    let namespace = env.place().namespace();
    let map: ConfigMap = typed(json!({"metadata": {"name": "a", "labels": {"of": namespace}}}));
    env.send(env.api().create(&map)).await.expect("it is made");
    let all = Api::<ConfigMap>::all()
        .list()
        .labels(format!("of={namespace}"));
    let list = env.send(all).await.expect("a list");
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].metadata.namespace.as_deref(), Some(namespace));
}

async fn a_list_at_an_exact_version_is_the_past<E: Calls>(env: &E) {
    create_secrets(env, 3).await;
    let secrets = env.api::<Secret>();
    let before = env.send(secrets.list()).await.expect("a list").metadata;
    env.send(secrets.delete("s-001"))
        .await
        .expect("it is deleted");
    let version = before.resource_version.expect("a version");
    let then = secrets
        .list()
        .resource_version(&version)
        .version_match(VersionMatch::Exact);
    let then = env.send(then).await.expect("a list");
    assert_eq!(then.metadata.resource_version, Some(version));
    assert_eq!(secret_names(then.items), expected(3));
}

async fn a_list_not_older_than_a_version_has_what_it_had<E: Calls>(env: &E) {
    create_secrets(env, 2).await;
    let secrets = env.api::<Secret>();
    let version = env
        .send(secrets.list())
        .await
        .expect("a list")
        .metadata
        .resource_version;
    let list = secrets.list().resource_version(version.expect("a version"));
    let list = env
        .send(list.version_match(VersionMatch::NotOlderThan))
        .await;
    assert_eq!(secret_names(list.expect("a list").items), expected(2));
}

async fn a_list_from_the_cache_is_a_list<E: Calls>(env: &E) {
    create_secrets(env, 1).await;
    // It may be older than what was just written, but not by long.
    let patience = std::time::Duration::from_secs(30);
    let caught_up = env.within(patience, async {
        loop {
            let list = env
                .send(env.api::<Secret>().list().resource_version("0"))
                .await;
            if list.expect("a list").items.len() == 1 {
                return;
            }
            env.pause(std::time::Duration::from_millis(50)).await;
        }
    });
    assert!(caught_up.await.is_some());
}

async fn metadata_is_listed_without_the_rest<E: Calls>(env: &E) {
    create_secrets(env, 4).await;
    let list = env.api::<Secret>().metadata().list().limit(3).items();
    let items: Vec<_> = env
        .stream(list)
        .map(|item| item.expect("an item"))
        .collect()
        .await;
    let names: Vec<_> = items
        .into_iter()
        .filter_map(|item| item.metadata.name)
        .collect();
    assert_eq!(names, expected(4));
}

async fn tables_come_in_pages<E: Calls>(env: &E) {
    create_secrets(env, 3).await;
    let table = env.send(env.api::<Secret>().table().list().limit(2)).await;
    let table = table.expect("a table");
    assert_eq!(table.rows.len(), 2);
    assert!(table.metadata.next_page().is_some());
    assert!(table.column("Name").is_some());
}

async fn managed_fields_may_be_left_out<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let list = || env.api::<ConfigMap>().list().fields("metadata.name=a");
    let with = env.send(list()).await.expect("a list");
    let without = env
        .send(list().without_managed_fields())
        .await
        .expect("a list");
    assert!(with.items[0].metadata.managed_fields.is_some());
    assert!(without.items[0].metadata.managed_fields.is_none());
    assert_eq!(with.items[0].data, without.items[0].data);
}

async fn items_of_built_in_kinds_are_dynamic_objects<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps"));
    let list = maps.in_namespace(env.place().namespace()).list();
    let list = env
        .send(list.fields("metadata.name=a"))
        .await
        .expect("a list");
    let data = list.items[0].get::<serde_json::Value>("data");
    assert_eq!(data.expect("it decodes"), Some(json!({"colour": "green"})));
}

async fn a_large_list_is_the_same_compressed_and_not<E: Calls>(env: &E) {
    for n in 0..20 {
        create_map(env, &format!("m-{n}"), &format!("{n} ").repeat(8000)).await;
    }
    let list = async |gzip| {
        let list = env.api::<ConfigMap>().list().accept_gzip(gzip);
        let mut items = env.send(list).await.expect("a list").items;
        let own = |name: &String| name.starts_with("m-");
        items.retain(|map| map.metadata.name.as_ref().is_some_and(own));
        items
    };
    let plain = list(false).await;
    assert!(plain.len() == 20 && plain == list(true).await);
}

async fn a_collection_is_deleted_by_its_selector<E: Calls>(env: &E) {
    for (name, colour) in [("a", "red"), ("b", "red"), ("c", "blue")] {
        env.send(env.api().create(&label(name, colour, None)))
            .await
            .expect("it is made");
    }
    let maps = env.api::<ConfigMap>();
    let deleted = env
        .send(maps.delete_collection().labels("colour=red"))
        .await;
    match deleted.expect("they are deleted") {
        DeletedCollection::List(list) => assert_eq!(list.items.len(), 2),
        DeletedCollection::Status(status) => assert!(status.is_success()),
        other => panic!("{other:?}"),
    }
    let left = env
        .send(maps.list().labels("set=x"))
        .await
        .expect("a list")
        .items;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].metadata.name.as_deref(), Some("c"));
}

async fn a_collection_is_not_emptied_by_accident<E: Calls>(env: &E) {
    create_secrets(env, 2).await;
    let secrets = env.api::<Secret>();
    let error = failure(env.send(secrets.delete_collection()).await);
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(
        env.send(secrets.list()).await.expect("a list").items.len(),
        2
    );
    env.send(secrets.delete_collection().everything())
        .await
        .expect("they are deleted");
    assert!(
        env.send(secrets.list())
            .await
            .expect("a list")
            .items
            .is_empty()
    );
}

async fn a_stream_that_is_dropped_asks_for_no_more<E: Calls>(env: &E) {
    create_secrets(env, 4).await;
    for taken in 0..4 {
        let items = env.stream(env.api::<Secret>().list().limit(1).items());
        let items: Vec<_> = items.take(taken).collect().await;
        assert!(items.len() == taken && items.iter().all(Result::is_ok));
    }
    assert_eq!(
        env.send(env.api::<Secret>().list())
            .await
            .expect("a list")
            .items
            .len(),
        4
    );
}

async fn what_a_server_serves_is_discovered<E: Calls>(env: &E) {
    let mut discover = Discover::new();
    while let Some(want) = discover.poll_want() {
        let answer = env.send(want.call).await;
        discover.handle_answer(want.id, answer);
    }
    let found = discover.finish().expect("it serves something");
    let deployments = found.resolve("deploy").expect("a short name");
    assert_eq!(deployments.resource().plural(), "deployments");
    assert!(deployments.has_verb("watch"));
    assert!(deployments.subresource("scale").is_some());
    let pods = found.find("v1", "Pod").expect("pods");
    let verbs: BTreeSet<_> = pods
        .subresources()
        .iter()
        .map(|sub| format!("{sub:?}"))
        .collect();
    assert!(verbs.len() > 3, "{verbs:?}");
    let api = Api::dynamic(deployments.resource().clone()).in_namespace(env.place().namespace());
    assert!(env.send(api.list()).await.expect("a list").items.is_empty());
}

async fn a_version_from_the_future_is_refused<R: Drive>(env: &Env<R>) {
    let client = env
        .builder()
        .retry(Retry::never())
        .build()
        .expect("a client");
    let secrets = env.api::<Secret>();
    let now = client.send(secrets.list()).await.expect("a list").metadata;
    let now: u64 = now
        .resource_version
        .and_then(|v| v.parse().ok())
        .expect("a number");
    let future = secrets
        .list()
        .resource_version((now + 1_000_000).to_string());
    let error = failure(
        client
            .send(future.version_match(VersionMatch::NotOlderThan))
            .await,
    );
    assert!(error.is_resource_version_too_large(), "{error}");
    assert!(error.retry_after().is_some());
}

async fn lists_side_by_side_do_not_mix<R: Drive>(env: &Env<R>) {
    create_secrets(env, 9).await;
    let lists = (1..=8).map(|limit| async move {
        let items = env.stream(env.api::<Secret>().list().limit(limit).items());
        secret_names(
            items
                .map(|item| item.expect("an item"))
                .collect::<Vec<_>>()
                .await,
        )
    });
    for names in futures_util::future::join_all(lists).await {
        assert_eq!(names, expected(9));
    }
}
