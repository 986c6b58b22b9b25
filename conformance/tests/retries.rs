//! What is sent again, and how long the client waits.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::config::Config;
use kubewire::policy::{CallTimeouts, Retry};
use kubewire::{Api, Endpoint, ErrorKind};
use kubewire_conformance::harness;
use kubewire_conformance::peers::{Peer, answer};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    a_busy_server_is_asked_again_when_it_said,
    reads_are_repeated,
    a_create_is_not_repeated_after_a_504,
    an_upgrade_that_was_put_off_is_asked_again,
    an_upgrade_is_not_repeated_for_other_reasons,
    a_client_may_do_without_retries,
    a_cut_connection_is_replaced,
    a_reset_read_is_repeated,
    stalled_reads_time_out,
    a_total_ends_a_call_with_its_attempts,
    a_total_of_the_client_leaves_watches_alone,
);

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

async fn a_busy_server_is_asked_again_when_it_said<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let mut times = 0;
    let peer = Peer::http(move |_| {
        times += 1;
        if times == 1 {
            answer(429, "Retry-After: 1\r\n", "{}")
        } else {
            let body = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}"#;
            answer(201, "", body)
        }
    })
    .expect("a server");
    let endpoint = Endpoint::parse(&format!("http://{}", peer.address())).expect("a URL");
    let client = Client::builder(Config::new(endpoint), runtime.clone()).build();
    let start = runtime.now();
    // Even a create: nothing has been carried out.
    let created = client
        .expect("a client")
        .send(maps().create(&map("a")))
        .await;
    assert_eq!(
        created.expect("created").metadata.name.as_deref(),
        Some("a")
    );
    assert!(runtime.now() - start >= Duration::from_secs(1));
    let received = peer.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body, received[1].body);
}

async fn reads_are_repeated<R: Drive>(server: &Server, client: Client<R>, _: R) {
    server.faults().fail_next(2, 503, "{}");
    client.send(maps().list()).await.expect("a list");
}

async fn a_create_is_not_repeated_after_a_504<R: Drive>(server: &Server, client: Client<R>, _: R) {
    server.faults().fail_next(1, 504, "{}");
    let error = client.send(maps().create(&map("a"))).await;
    let error = error.expect_err("it may have been carried out");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(504));
    let list = client.send(maps().list()).await.expect("a list");
    assert!(
        list.items
            .iter()
            .all(|map| map.metadata.name.as_deref() != Some("a"))
    );
}

/// A command that says on standard output that it ran.
fn exec() -> impl kubewire::UpgradeOperation<Protocol = kubewire::session::Exec> {
    Api::<Pod>::namespaced("default").exec("a").command([
        "sh",
        "-c",
        "echo ran >> /tmp/runs; cat /tmp/runs",
    ])
}

async fn an_upgrade_that_was_put_off_is_asked_again<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    harness::run_pod(&client, "a", "sleep 60").await;
    let start = runtime.now();
    server.faults().busy_next(1, 429, 1);
    server.faults().busy_next(1, 503, 1);
    let process = client.open(exec()).await.expect("a session");
    assert!(runtime.now() - start >= Duration::from_secs(2));
    let output = process.output(b"").await.expect("output");
    assert_eq!(output.stdout.as_slice(), b"ran\n");
}

async fn an_upgrade_is_not_repeated_for_other_reasons<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    harness::run_pod(&client, "a", "sleep 60").await;
    for code in [429, 500, 502, 503, 504] {
        server.faults().fail_next(1, code, "{}");
        let before = server.stats().http1_requests;
        let error = client.open(exec()).await.expect_err("refused");
        assert_eq!(error.code().map(|code| code.as_u16()), Some(code));
        assert_eq!(server.stats().http1_requests - before, 1);
    }
    server.faults().reset_next();
    let before = server.stats().http1_requests;
    let error = client.open(exec()).await.expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(server.stats().http1_requests - before, 1);
    // A client that never repeats leaves this to its caller too.
    let patient = harness::client(server, runtime).retry(Retry::never());
    let patient = patient.build().expect("a client");
    server.faults().busy_next(1, 429, 1);
    let error = patient.open(exec()).await.expect_err("refused");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
}

async fn a_client_may_do_without_retries<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let client = harness::client(server, runtime)
        .retry(Retry::never())
        .build();
    server.faults().fail_next(1, 503, "{}");
    let error = client.expect("a client").send(maps().list()).await;
    assert_eq!(
        error.expect_err("once").code().map(|code| code.as_u16()),
        Some(503)
    );
}

async fn a_cut_connection_is_replaced<R: Drive>(server: &Server, client: Client<R>, _: R) {
    for _ in 0..5 {
        client.send(maps().list()).await.expect("a list");
        server.close_connections();
    }
}

async fn a_reset_read_is_repeated<R: Drive>(server: &Server, client: Client<R>, _: R) {
    server.faults().reset_next();
    client.send(maps().list()).await.expect("a list");
    server.faults().reset_next();
    let error = client.send(maps().create(&map("a"))).await;
    assert_eq!(error.expect_err("broken").kind(), ErrorKind::Transport);
}

async fn stalled_reads_time_out<R: Drive>(server: &Server, client: Client<R>, _: R) {
    server.faults().stall_next();
    let times = CallTimeouts {
        head: Duration::from_millis(100).into(),
        ..CallTimeouts::default()
    };
    // The second attempt is answered.
    let hasty = client.with_timeouts(times);
    hasty.send(maps().list()).await.expect("a list");

    server.faults().stall_next();
    let error = hasty.send(maps().create(&map("a"))).await;
    assert_eq!(error.expect_err("silence").kind(), ErrorKind::Timeout);
    client.send(maps().list()).await.expect("a list");
}

async fn a_total_ends_a_call_with_its_attempts<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    server.faults().fail_next(5, 503, "{}");
    let hasty = client.with_timeouts(CallTimeouts::total(Duration::from_millis(500)));
    let start = runtime.now();
    let error = hasty.send(maps().list()).await.expect_err("not in time");
    // There was no time for another attempt.
    assert_eq!(error.code().map(|code| code.as_u16()), Some(503));
    assert!(runtime.now() - start < Duration::from_secs(2));
}

async fn a_total_of_the_client_leaves_watches_alone<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let phases = kubewire::policy::Timeouts {
        total: Some(Duration::from_millis(300)),
        ..kubewire::policy::Timeouts::none()
    };
    let client = harness::client(server, runtime.clone())
        .timeouts(phases.into())
        .build()
        .expect("a client");
    let mut events = client.stream(maps().watch());
    let silence = harness::within(&runtime, Duration::from_secs(1), events.next());
    if let Some(event) = silence.await {
        event.expect("an event").expect("an event");
    }
}
