//! Watches.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::stream::WatchEvent;
use kubewire::{Api, ApiResource, Error, Patch};
use kubewire_driver::Drive;
use serde_json::json;

use super::Need::{Embedded, Tls};
use super::pods::{HELD, colour, create_map, free, held, map, typed};
use super::{Calls, Env};

calls! { Watch;
    a_watch_from_a_version_tells_what_came_after;
    a_watch_without_a_version_begins_with_what_is_there;
    initial_events_end_with_a_bookmark;
    a_watch_of_one_object_sees_no_other;
    an_object_that_leaves_the_selector_is_deleted_for_the_watch;
    a_watch_ends_in_time_without_an_error;
    a_watch_of_a_version_long_gone_is_expired;
    metadata_is_watched;
    a_table_is_watched;
    dynamic_objects_are_watched;
    a_large_event_arrives_whole;
    a_watch_over_all_namespaces_tells_them_apart;
    a_watch_of_a_missing_namespace_is_silent;
    a_write_that_changes_nothing_is_no_event;
    a_finalizer_shows_as_a_change_before_the_end;
    a_watch_goes_on_where_another_ended;
    a_burst_of_changes_loses_nothing;
}

driven! { Watch;
    a_watch_sees_what_others_write_meanwhile;
    watches_of_one_thing_see_the_same_order;
    unread_watches_hold_up_nobody;
    fifty_watches_share_a_connection: Embedded, Tls;
    a_dropped_watch_ends_at_the_server: Embedded;
    a_bookmark_comes_when_nothing_happens: Embedded;
}

/// A cluster puts a config map of its own into every namespace, at some time.
const OWN: &str = "kube-root-ca.crt";

/// What happened to whom.
fn tell(event: Result<WatchEvent<ConfigMap>, Error>) -> Option<String> {
    let (what, map) = match event.expect("an event") {
        WatchEvent::Added(map) => ("added", map),
        WatchEvent::Modified(map) => ("modified", map),
        WatchEvent::Deleted(map) => ("deleted", map),
        WatchEvent::Bookmark(_) => return None,
        other @ (WatchEvent::Unknown(_) | _) => panic!("{other:?}"),
    };
    let name = map.metadata.name.as_deref().unwrap_or_default();
    let colour = colour(&map).unwrap_or_default();
    (name != OWN).then(|| format!("{what} {name} {colour}"))
}

/// The version of the collection, once it has what a cluster puts there by itself.
async fn now<E: Calls>(env: &E) -> String {
    let maps = env.api::<ConfigMap>();
    for _ in 0..100 {
        let own = env.send(maps.get(OWN).optional()).await;
        if own.expect("an answer").is_some() {
            break;
        }
        env.pause(Duration::from_millis(100)).await;
    }
    let list = env.send(maps.list().limit(1)).await;
    let version = list.expect("a list").metadata.resource_version;
    version.expect("a version")
}

async fn recolour<E: Calls>(env: &E, name: &str, colour: &str) {
    let patch = Patch::merge(&json!({"data": {"colour": colour}}));
    let patched = env.send(env.api::<ConfigMap>().patch(name, patch)).await;
    patched.expect("it is patched");
}

async fn delete<E: Calls>(env: &E, name: &str) {
    let deleted = env.send(env.api::<ConfigMap>().delete(name)).await;
    deleted.expect("it is deleted");
}

/// The first events from a version on.
async fn events<E: Calls>(env: &E, version: &str, count: usize) -> Vec<String> {
    let watch = env.api::<ConfigMap>().watch().resource_version(version);
    let events = env.stream(watch.timeout_seconds(30));
    let told = events.filter_map(|event| std::future::ready(tell(event)));
    told.take(count).collect().await
}

async fn a_watch_from_a_version_tells_what_came_after<E: Calls>(env: &E) {
    create_map(env, "old", "grey").await;
    let version = now(env).await;
    create_map(env, "a", "green").await;
    recolour(env, "a", "blue").await;
    create_map(env, "b", "red").await;
    delete(env, "a").await;
    assert_eq!(
        events(env, &version, 4).await,
        [
            "added a green",
            "modified a blue",
            "added b red",
            "deleted a blue"
        ]
    );
}

async fn a_watch_without_a_version_begins_with_what_is_there<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    create_map(env, "b", "blue").await;
    let watch = env.api::<ConfigMap>().watch().timeout_seconds(30);
    let mut told = Vec::new();
    let mut events = env.stream(watch);
    while told.len() < 2 {
        told.extend(tell(events.next().await.expect("an event")));
    }
    told.sort();
    assert_eq!(told, ["added a green", "added b blue"]);
}

async fn initial_events_end_with_a_bookmark<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let watch = env.api::<ConfigMap>().watch().fields("metadata.name=a");
    let watch = watch
        .send_initial_events(true)
        .bookmarks(true)
        .timeout_seconds(30);
    let mut events = env.stream(watch);
    let first = tell(events.next().await.expect("an event"));
    assert_eq!(first.as_deref(), Some("added a green"));
    loop {
        let event = events.next().await.expect("an event").expect("an event");
        let WatchEvent::Bookmark(bookmark) = event else {
            panic!("{event:?}");
        };
        if bookmark.initial_events_end {
            assert!(!bookmark.resource_version.is_empty());
            break;
        }
    }
}

async fn a_watch_of_one_object_sees_no_other<E: Calls>(env: &E) {
    let version = now(env).await;
    for name in ["a", "b", "c"] {
        create_map(env, name, "green").await;
    }
    delete(env, "b").await;
    let watch = env.api::<ConfigMap>().watch().fields("metadata.name=b");
    let events = env.stream(watch.resource_version(version).timeout_seconds(30));
    let told: Vec<_> = events.take(2).map(tell).collect().await;
    let told: Vec<_> = told.into_iter().flatten().collect();
    assert_eq!(told, ["added b green", "deleted b green"]);
}

async fn an_object_that_leaves_the_selector_is_deleted_for_the_watch<E: Calls>(env: &E) {
    let version = now(env).await;
    let map: ConfigMap = typed(json!({"metadata": {"name": "a", "labels": {"in": "yes"}}}));
    let made = env.send(env.api().create(&map)).await.expect("it is made");
    let patch = Patch::merge(&json!({"metadata": {"labels": {"in": "no"}}}));
    let left = env.send(env.api::<ConfigMap>().patch("a", patch)).await;
    let left = left.expect("it is patched");
    let watch = env.api::<ConfigMap>().watch().labels("in=yes");
    let mut events = env.stream(watch.resource_version(version).timeout_seconds(30));
    let Some(Ok(WatchEvent::Added(first))) = events.next().await else {
        panic!("it came");
    };
    assert_eq!(first, made);
    let Some(Ok(WatchEvent::Deleted(last))) = events.next().await else {
        panic!("it went");
    };
    assert_eq!(
        last.metadata.resource_version,
        left.metadata.resource_version
    );
}

async fn a_watch_ends_in_time_without_an_error<E: Calls>(env: &E) {
    let version = now(env).await;
    let watch = env.api::<ConfigMap>().watch().resource_version(version);
    let events = env.stream(watch.timeout_seconds(1));
    let events: Vec<_> = events.collect().await;
    assert!(events.iter().all(Result::is_ok), "{events:?}");
}

async fn a_watch_of_a_version_long_gone_is_expired<E: Calls>(env: &E) {
    let watch = env.api::<ConfigMap>().watch().resource_version("1");
    let mut events = env.stream(watch.timeout_seconds(30));
    let mut error = None;
    while let Some(event) = events.next().await {
        error = event.err();
    }
    // A cluster that is very young still knows.
    if let Some(error) = error {
        assert!(error.is_expired(), "{error}");
    }
}

async fn metadata_is_watched<E: Calls>(env: &E) {
    let version = now(env).await;
    let made = create_map(env, "a", "green").await;
    let watch = env.api::<ConfigMap>().metadata().watch();
    let mut events = env.stream(watch.resource_version(version).timeout_seconds(30));
    let Some(Ok(WatchEvent::Added(object))) = events.next().await else {
        panic!("it came");
    };
    assert_eq!(object.metadata.uid, made.metadata.uid);
}

async fn a_table_is_watched<E: Calls>(env: &E) {
    let version = now(env).await;
    create_map(env, "a", "green").await;
    create_map(env, "b", "green").await;
    let watch = env.api::<ConfigMap>().table().watch();
    let mut events = env.stream(watch.resource_version(version).timeout_seconds(30));
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let Some(Ok(WatchEvent::Added(table))) = events.next().await else {
            panic!("it came");
        };
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].cells[0], name);
        // Only the first event tells the columns.
        assert_eq!(table.column("Name").is_some(), number == 0);
    }
}

async fn dynamic_objects_are_watched<E: Calls>(env: &E) {
    let version = now(env).await;
    create_map(env, "a", "green").await;
    let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps"));
    let watch = maps.in_namespace(env.place().namespace()).watch();
    let mut events = env.stream(watch.resource_version(version).timeout_seconds(30));
    let Some(Ok(WatchEvent::Added(object))) = events.next().await else {
        panic!("it came");
    };
    assert_eq!(object.raw("data"), Some(r#"{"colour":"green"}"#));
}

async fn a_large_event_arrives_whole<E: Calls>(env: &E) {
    let version = now(env).await;
    let text = "0123456789".repeat(90_000);
    create_map(env, "a", &text).await;
    create_map(env, "b", "green").await;
    let told = events(env, &version, 2).await;
    assert!(
        told[0] == format!("added a {text}"),
        "{} bytes",
        told[0].len()
    );
    assert_eq!(told[1], "added b green");
}

async fn a_watch_over_all_namespaces_tells_them_apart<E: Calls>(env: &E) {
    let version = now(env).await;
    let namespace = env.place().namespace();
    let map: ConfigMap = typed(json!({"metadata": {"name": "a", "labels": {"of": namespace}}}));
    env.send(env.api().create(&map)).await.expect("it is made");
    let watch = Api::<ConfigMap>::all()
        .watch()
        .labels(format!("of={namespace}"));
    let mut events = env.stream(watch.resource_version(version).timeout_seconds(30));
    let Some(Ok(WatchEvent::Added(map))) = events.next().await else {
        panic!("it came");
    };
    assert_eq!(map.metadata.namespace.as_deref(), Some(namespace));
}

async fn a_watch_of_a_missing_namespace_is_silent<E: Calls>(env: &E) {
    let none = Api::<ConfigMap>::namespaced(format!("{}-none", env.place().namespace()));
    let mut events = env.stream(none.watch().timeout_seconds(1));
    assert!(events.next().await.is_none());
}

async fn a_write_that_changes_nothing_is_no_event<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let version = now(env).await;
    recolour(env, "a", "green").await;
    recolour(env, "a", "blue").await;
    assert_eq!(events(env, &version, 1).await, ["modified a blue"]);
}

async fn a_finalizer_shows_as_a_change_before_the_end<E: Calls>(env: &E) {
    let version = now(env).await;
    let map = held();
    env.send(env.api().create(&map)).await.expect("it is made");
    delete(env, HELD).await;
    env.send(env.api::<ConfigMap>().patch(HELD, free()))
        .await
        .expect("it is let go");
    let told = events(env, &version, 3).await;
    assert_eq!(told, ["added held ", "modified held ", "deleted held "]);
}

async fn a_watch_goes_on_where_another_ended<E: Calls>(env: &E) {
    let mut version = now(env).await;
    for name in ["a", "b", "c"] {
        let made = create_map(env, name, "green").await;
        assert_eq!(
            events(env, &version, 1).await,
            [format!("added {name} green")]
        );
        version = made.metadata.resource_version.expect("a version");
    }
}

async fn a_burst_of_changes_loses_nothing<E: Calls>(env: &E) {
    let version = now(env).await;
    for n in 0..60 {
        create_map(env, &format!("m-{n}"), "green").await;
    }
    let told = events(env, &version, 60).await;
    let expected: Vec<_> = (0..60).map(|n| format!("added m-{n} green")).collect();
    assert_eq!(told, expected);
}

async fn a_watch_sees_what_others_write_meanwhile<R: Drive>(env: &Env<R>) {
    let version = now(env).await;
    let write = async {
        for n in 0..30 {
            create_map(env, &format!("m-{n}"), "green").await;
        }
    };
    let (told, ()) = join(events(env, &version, 30), write).await;
    let expected: Vec<_> = (0..30).map(|n| format!("added m-{n} green")).collect();
    assert_eq!(told, expected);
}

async fn watches_of_one_thing_see_the_same_order<R: Drive>(env: &Env<R>) {
    let version = now(env).await;
    let watches = join_all((0..5).map(|_| events(env, &version, 20)));
    let write = join_all((0..20).map(|n| async move {
        let map = map(&format!("m-{n}"), "green");
        env.send(env.api().create(&map)).await.expect("it is made");
    }));
    let (told, _) = join(watches, write).await;
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
}

async fn unread_watches_hold_up_nobody<R: Drive>(env: &Env<R>) {
    create_map(env, "first", "green").await;
    let mut watches = Vec::new();
    for _ in 0..8 {
        let mut events = env.stream(env.api::<ConfigMap>().watch().timeout_seconds(60));
        events.next().await.expect("an event").expect("an event");
        watches.push(events);
    }
    // More for each of them than a stream's window holds.
    let text = "0123456789".repeat(20_000);
    for n in 0..4 {
        create_map(env, &format!("m-{n}"), &text).await;
    }
    let list = env.within(
        Duration::from_secs(30),
        env.send(env.api::<ConfigMap>().list()),
    );
    let list = list.await.expect("nothing is in its way").expect("a list");
    assert!(list.items.len() >= 5);
    for mut events in watches {
        let mut seen = 0;
        while seen < 4 {
            let told = tell(events.next().await.expect("an event"));
            seen += usize::from(told.is_some_and(|told| told.starts_with("added m-")));
        }
    }
}

async fn fifty_watches_share_a_connection<R: Drive>(env: &Env<R>) {
    create_map(env, "a", "green").await;
    let before = env.server().stats();
    let watches = join_all((0..50).map(|_| async {
        let watch = env.api::<ConfigMap>().watch().fields("metadata.name=a");
        let mut events = env.stream(watch);
        events.next().await.expect("an event").expect("an event");
        events
    }));
    let watches = watches.await;
    let after = env.server().stats();
    assert_eq!(after.watches_open, 50);
    assert!(after.connections_opened - before.connections_opened <= 1);
    drop(watches);
}

async fn a_dropped_watch_ends_at_the_server<R: Drive>(env: &Env<R>) {
    create_map(env, "a", "green").await;
    for _ in 0..20 {
        let mut events = env.stream(env.api::<ConfigMap>().watch());
        events.next().await.expect("an event").expect("an event");
    }
    while env.server().stats().watches_open > 0 {
        env.pause(Duration::from_millis(5)).await;
    }
}

async fn a_bookmark_comes_when_nothing_happens<R: Drive>(env: &Env<R>) {
    let version = now(env).await;
    // It comes at the latest shortly before the end.
    let watch = env.api::<ConfigMap>().watch().resource_version(version);
    let events = env.stream(watch.bookmarks(true).timeout_seconds(3));
    let events: Vec<_> = events.collect().await;
    let marks = events
        .iter()
        .filter(|event| matches!(event, Ok(WatchEvent::Bookmark(_))));
    assert!(marks.count() > 0, "{events:?}");
}
