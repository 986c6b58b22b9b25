//! What is dropped before its end: the client goes on.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::Patch;
use kubewire::session::Outcome;
use kubewire_driver::{Client, Drive};

use super::Need::{Embedded, Node, Tls};
use super::pods::{run_pod, sh};
use super::{Calls, Env};
use crate::harness::drop_at_await;

driven! { Cancellation;
    a_dropped_call_leaves_the_client_usable;
    a_dropped_stream_leaves_the_client_usable;
    a_dropped_dial_hands_over_to_those_who_wait_for_it;
    a_dial_that_nobody_polls_holds_up_no_other: Tls;
    sessions_may_be_dropped_at_every_await: Node;
    dropping_all_handles_closes_the_connection: Embedded;
    three_hundred_sessions_leave_nothing_behind: Embedded;
    connections_may_be_dropped_at_any_time: Embedded;
}

/// As many awaits as the longest of the futures has, and some more.
const AWAITS: Range<usize> = 1..12;

async fn pod<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "nc -lk -p 7000 -e cat").await;
}

async fn works<R: Drive>(env: &Env<R>, client: &Client<R>) {
    let map =
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let apply = env
        .api::<ConfigMap>()
        .patch("a", Patch::apply(&map))
        .field_manager("test");
    client.send(apply).await.expect("the client works");
}

async fn a_dropped_call_leaves_the_client_usable<R: Drive>(env: &Env<R>) {
    works(env, &env.client).await;
    for awaits in AWAITS {
        drop_at_await(env.client.send(env.api::<ConfigMap>().get("a")), awaits).await;
        works(env, &env.client).await;
        drop_at_await(env.client.send(env.api::<ConfigMap>().list()), awaits).await;
        works(env, &env.client).await;
        // On a new client the future dials first.
        let patch = Patch::merge(&serde_json::json!({"data": {"k": "v"}}));
        drop_at_await(
            env.client.send(env.api::<ConfigMap>().patch("a", patch)),
            awaits,
        )
        .await;
        works(env, &env.client).await;
    }
}

async fn a_dropped_stream_leaves_the_client_usable<R: Drive>(env: &Env<R>) {
    works(env, &env.client).await;
    for awaits in AWAITS {
        let mut watch = env.client.stream(env.api::<ConfigMap>().watch());
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
        works(env, &env.client).await;

        let mut items = env
            .client
            .stream(env.api::<ConfigMap>().list().limit(1).items());
        drop_at_await(items.next(), awaits).await;
        drop(items);
        works(env, &env.client).await;
    }
    let logs = env.api::<Pod>().logs("none");
    assert!(
        env.client
            .stream(logs)
            .next()
            .await
            .expect("an answer")
            .expect_err("no such pod")
            .is_not_found()
    );
}

async fn a_dropped_dial_hands_over_to_those_who_wait_for_it<R: Drive>(env: &Env<R>) {
    for awaits in AWAITS {
        let client = env.builder().build().expect("a client");
        let first = client.clone();
        let second = client.clone();
        // The first begins to dial; the second waits for it, and takes over when it is dropped.
        let dropped = drop_at_await(
            async move { first.send(env.api::<ConfigMap>().list()).await },
            awaits,
        );
        let (_, list) =
            futures_util::future::join(dropped, second.send(env.api::<ConfigMap>().list())).await;
        list.expect("the second call is served");
        works(env, &client).await;
    }
}

async fn dropping_all_handles_closes_the_connection<R: Drive>(env: &Env<R>) {
    pod(env).await;
    for round in 0..50 {
        let process = env
            .client
            .open(sh(env, "cat").stdin())
            .await
            .expect("a session");
        if round % 2 == 0 {
            let kubewire_driver::Process { stdin, stdout, .. } = process;
            drop(stdout);
            drop(stdin);
        }
    }
    while env.server().stats().websockets_open > 0 {
        env.pause(Duration::from_millis(5)).await;
    }
}

async fn a_dial_that_nobody_polls_holds_up_no_other<R: Drive>(env: &Env<R>) {
    let list = || Box::pin(env.client.send(env.api::<ConfigMap>().list()));
    let mut first = list();
    assert!((&mut first).now_or_never().is_none());
    let others = join_all((0..10).map(|_| list()));
    let others = env.within(Duration::from_secs(20), others).await;
    for result in others.expect("they go on without it") {
        result.expect("a list");
    }
    first.await.expect("a list");
}

async fn sessions_may_be_dropped_at_every_await<R: Drive>(env: &Env<R>) {
    pod(env).await;
    for awaits in 1..10 {
        drop_at_await(env.client.open(sh(env, "cat").stdin()), awaits).await;
        let process = env
            .client
            .open(sh(env, "cat").stdin())
            .await
            .expect("the client is usable");
        drop_at_await(process.output(&vec![1; 300_000]), awaits).await;

        let mut process = env
            .client
            .open(sh(env, "cat").stdin())
            .await
            .expect("the client is usable");
        let mut stdin = process.stdin.take().expect("stdin");
        let mut stdout = process.stdout.take().expect("stdout");
        // It would wait for ever.
        let waiting = drop_at_await(process.wait(), awaits);
        env.within(Duration::from_millis(20), waiting).await;
        stdin
            .write_all(b"ping\n")
            .await
            .expect("the session is usable");
        // A `chunk` that was dropped took nothing; one that came to its end took all.
        if !drop_at_await(stdout.chunk(), awaits).await {
            assert_eq!(stdout.chunk().await.as_deref(), Some(&b"ping\n"[..]));
        }
        stdin.finish().expect("the input ends");
        assert!(matches!(process.wait().await, Outcome::Exited(0)));
    }
}

async fn three_hundred_sessions_leave_nothing_behind<R: Drive>(env: &Env<R>) {
    pod(env).await;
    for round in 0..300 {
        let process = env
            .client
            .open(sh(env, "cat").stdin())
            .await
            .expect("a session");
        if round % 3 == 0 {
            process.close();
        }
    }
    while env.server().stats().websockets_open > 0 {
        env.pause(Duration::from_millis(5)).await;
    }
    assert_eq!(env.server().stats().websockets_opened, 300);
}

async fn connections_may_be_dropped_at_any_time<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let forwarder = env
        .client
        .forward(env.api::<Pod>().port_forward_tunnel("box"))
        .await
        .expect("a tunnel");
    for n in 0..300 {
        let mut stream = forwarder.connect(7000).await.expect("a connection");
        if n % 3 > 0 {
            stream.write_all(b"x").await.expect("the echo reads");
        }
        if n % 3 > 1 {
            stream.chunk().await.expect("the echo answers");
        }
    }
    drop(forwarder);
    while env.server().stats().websockets_open > 0 {
        env.pause(Duration::from_millis(5)).await;
    }
}
