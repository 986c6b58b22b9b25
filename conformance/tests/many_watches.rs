//! A thousand watches on one client, over HTTP/2 and TLS; many requests at a time, over HTTP/1.1.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::stream::WatchEvent;
use kubewire::{Api, Patch};
use kubewire_conformance::harness::{Smol, TokioMulti, with_server, within};
use kubewire_conformance::server::Server;
use kubewire_driver::{Client, Drive};

const WATCHES: usize = 1000;

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

async fn touch<R: Drive>(client: &Client<R>, n: u32) {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "touched"}, "data": {"n": n.to_string()},
    });
    let apply = maps()
        .patch("touched", Patch::apply(&map))
        .field_manager("test");
    client.send(apply).await.expect("the config map is applied");
}

/// The median time of a read, in microseconds.
async fn latency<R: Drive>(client: &Client<R>) -> u128 {
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        client
            .send(maps().get("touched"))
            .await
            .expect("the config map is there");
        times.push(start.elapsed().as_micros());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Opens the watches; each has given its first event.
async fn open<R: Drive>(
    client: &Client<R>,
) -> Vec<impl stream::Stream<Item = Result<WatchEvent<ConfigMap>, kubewire::Error>> + Unpin + use<R>>
{
    stream::iter(0..WATCHES)
        .map(|_| async {
            let mut watch = client.stream(maps().watch().fields("metadata.name=touched"));
            let first = watch
                .next()
                .await
                .expect("an event")
                .expect("which decodes");
            assert!(matches!(first, WatchEvent::Added(_)), "{first:?}");
            watch
        })
        .buffer_unordered(50)
        .collect()
        .await
}

async fn share_connections<R: Drive>(server: &Server, client: Client<R>, runtime: R) {
    touch(&client, 0).await;
    let before = latency(&client).await;
    let mut watches = open(&client).await;
    let connections = server.stats().connections_open;
    assert!(
        connections <= 11,
        "{connections} connections for {WATCHES} watches"
    );

    // Nobody reads them while the object changes.
    for n in 1..=20 {
        touch(&client, n).await;
    }
    let during = latency(&client).await;
    println!(
        "{WATCHES} watches on {connections} connections; a read takes {before} us without them, {during} us beside them unread"
    );

    // Nothing was lost in the meantime.
    for watch in &mut watches {
        let mut last = None;
        while last.as_deref() != Some("20") {
            let event = within(&runtime, Duration::from_mins(1), watch.next())
                .await
                .expect("an event in time");
            if let WatchEvent::Modified(map) = event.expect("an event").expect("which decodes") {
                last = map.data.and_then(|mut data| data.remove("n"));
            }
        }
    }
    drop(watches);
    while server.stats().watches_open > 0 {
        runtime
            .sleep_until(runtime.now() + Duration::from_millis(5))
            .await;
    }
    touch(&client, 21).await;
}

/// One after the other: each measures.
#[test]
fn a_thousand_watches_share_connections() {
    let server = || {
        Server::builder()
            .tls(true)
            .start()
            .expect("the server starts")
    };
    with_server::<TokioMulti>(&server(), share_connections);
    with_server::<Smol>(&server(), share_connections);
}

#[test]
fn many_requests_at_a_time_keep_their_connections() {
    const AT_A_TIME: usize = 64;
    let server = Server::builder().start().expect("the server starts");
    with_server::<TokioMulti>(&server, async |server: &Server, client, _| {
        touch(&client, 0).await;
        for _ in 0..10 {
            let reads: Vec<_> = stream::iter(0..AT_A_TIME)
                .map(|_| client.send(maps().get("touched")))
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            assert!(reads.iter().all(Result::is_ok));
        }
        let opened = server.stats().connections_opened;
        assert!(opened <= AT_A_TIME as u64, "{opened} connections");
    });
}
