//! A future may be dropped at any of its awaits: the client goes on.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::{Api, Patch};
use kubewire_conformance::harness::drop_at_await;
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    a_dropped_call_leaves_the_client_usable,
    a_dropped_stream_leaves_the_client_usable,
    a_dropped_dial_hands_over_to_those_who_wait_for_it,
);

/// As many awaits as the longest of the futures has, and some more.
const AWAITS: std::ops::Range<usize> = 1..12;

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

async fn works<R: Drive>(client: &Client<R>) {
    let map =
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let apply = maps().patch("a", Patch::apply(&map)).field_manager("test");
    client.send(apply).await.expect("the client works");
}

async fn a_dropped_call_leaves_the_client_usable<R: Drive>(_: &Server, client: Client<R>, _: R) {
    works(&client).await;
    for awaits in AWAITS {
        drop_at_await(client.send(maps().get("a")), awaits).await;
        works(&client).await;
        drop_at_await(client.send(maps().list()), awaits).await;
        works(&client).await;
        // On a new client the future dials first.
        let patch = Patch::merge(&serde_json::json!({"data": {"k": "v"}}));
        drop_at_await(client.send(maps().patch("a", patch)), awaits).await;
        works(&client).await;
    }
}

async fn a_dropped_stream_leaves_the_client_usable<R: Drive>(
    server: &Server,
    client: Client<R>,
    _: R,
) {
    works(&client).await;
    for awaits in AWAITS {
        let mut watch = client.stream(maps().watch());
        // A stream whose `next` was dropped loses nothing.
        if !drop_at_await(watch.next(), awaits).await {
            let first = watch
                .next()
                .await
                .expect("an event")
                .expect("which decodes");
            assert!(
                matches!(first, kubewire::stream::WatchEvent::Added(_)),
                "{first:?}"
            );
        }
        drop(watch);
        works(&client).await;

        let mut items = client.stream(maps().list().limit(1).items());
        drop_at_await(items.next(), awaits).await;
        drop(items);
        works(&client).await;
    }
    let _ = server;
    let logs = Api::<Pod>::namespaced("default").logs("none");
    assert!(
        client
            .stream(logs)
            .next()
            .await
            .expect("an answer")
            .expect_err("no such pod")
            .is_not_found()
    );
}

async fn a_dropped_dial_hands_over_to_those_who_wait_for_it<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    for awaits in AWAITS {
        let client = kubewire_conformance::harness::client(server, runtime.clone())
            .build()
            .expect("a client");
        let first = client.clone();
        let second = client.clone();
        // The first begins to dial; the second waits for it, and takes over when it is dropped.
        let dropped = drop_at_await(async move { first.send(maps().list()).await }, awaits);
        let (_, list) = futures_util::future::join(dropped, second.send(maps().list())).await;
        list.expect("the second call is served");
        works(&client).await;
    }
}
