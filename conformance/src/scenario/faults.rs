//! What goes wrong, what is tried again, and how long the client waits.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::config::Config;
use kubewire::policy::{CallTimeouts, Retry, Timeouts};
use kubewire::session::{Abort, Outcome, SessionOptions, Timeout};
use kubewire::{Api, Endpoint, ErrorKind, ExecOperation};
use kubewire_driver::Drive;

use super::Need::Embedded;
use super::pods::{map, run_pod, sh};
use super::{Calls, Env};
use crate::harness::Relay;
use crate::peers::{Peer, answer};

driven! { Faults;
    a_busy_server_is_asked_again_when_it_said;
    reads_are_repeated: Embedded;
    a_create_is_not_repeated_after_a_504: Embedded;
    an_upgrade_that_was_put_off_is_asked_again: Embedded;
    an_upgrade_is_not_repeated_for_other_reasons: Embedded;
    a_client_may_do_without_retries: Embedded;
    a_cut_connection_is_replaced: Embedded;
    a_reset_read_is_repeated: Embedded;
    stalled_reads_time_out: Embedded;
    a_total_ends_a_call_with_its_attempts: Embedded;
    a_total_ends_what_never_pauses;
    a_total_of_the_client_leaves_watches_alone;
    a_server_that_vanishes_is_noticed_by_the_pong_deadline: Embedded;
    a_lost_connection_wakes_everybody: Embedded;
}

async fn a_busy_server_is_asked_again_when_it_said<R: Drive>(env: &Env<R>) {
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
    let client = env.builder_with(Config::new(endpoint)).build();
    let start = env.runtime.now();
    // Even a create: nothing has been carried out.
    let created = client
        .expect("a client")
        .send(env.api::<ConfigMap>().create(&map("a", "green")))
        .await;
    assert_eq!(
        created.expect("created").metadata.name.as_deref(),
        Some("a")
    );
    assert!(env.runtime.now() - start >= Duration::from_secs(1));
    let received = peer.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body, received[1].body);
}

async fn reads_are_repeated<R: Drive>(env: &Env<R>) {
    env.server().faults().fail_next(2, 503, "{}");
    env.client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
}

async fn a_create_is_not_repeated_after_a_504<R: Drive>(env: &Env<R>) {
    env.server().faults().fail_next(1, 504, "{}");
    let error = env
        .client
        .send(env.api::<ConfigMap>().create(&map("a", "green")))
        .await;
    let error = error.expect_err("it may have been carried out");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(504));
    let list = env
        .client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    assert!(
        list.items
            .iter()
            .all(|map| map.metadata.name.as_deref() != Some("a"))
    );
}

/// A command that tells how often it ran.
fn counted<R: Drive>(env: &Env<R>) -> ExecOperation {
    sh(env, "echo ran >> /tmp/runs; cat /tmp/runs")
}

async fn an_upgrade_that_was_put_off_is_asked_again<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 60").await;
    let start = env.runtime.now();
    env.server().faults().busy_next(1, 429, 1);
    env.server().faults().busy_next(1, 503, 1);
    let process = env.client.open(counted(env)).await.expect("a session");
    assert!(env.runtime.now() - start >= Duration::from_secs(2));
    let output = process.output(b"").await.expect("output");
    assert_eq!(output.stdout.as_slice(), b"ran\n");
}

async fn an_upgrade_is_not_repeated_for_other_reasons<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 60").await;
    for code in [429, 500, 502, 503, 504] {
        env.server().faults().fail_next(1, code, "{}");
        let before = env.server().stats().http1_requests;
        let error = env.client.open(counted(env)).await.expect_err("refused");
        assert_eq!(error.code().map(|code| code.as_u16()), Some(code));
        assert_eq!(env.server().stats().http1_requests - before, 1);
    }
    env.server().faults().reset_next();
    let before = env.server().stats().http1_requests;
    let error = env.client.open(counted(env)).await.expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(env.server().stats().http1_requests - before, 1);
    // A client that never repeats leaves this to its caller too.
    let patient = env.builder().retry(Retry::never());
    let patient = patient.build().expect("a client");
    env.server().faults().busy_next(1, 429, 1);
    let error = patient.open(counted(env)).await.expect_err("refused");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
}

async fn a_client_may_do_without_retries<R: Drive>(env: &Env<R>) {
    let client = env.builder().retry(Retry::never()).build();
    env.server().faults().fail_next(1, 503, "{}");
    let error = client
        .expect("a client")
        .send(env.api::<ConfigMap>().list())
        .await;
    assert_eq!(
        error.expect_err("once").code().map(|code| code.as_u16()),
        Some(503)
    );
}

async fn a_cut_connection_is_replaced<R: Drive>(env: &Env<R>) {
    for _ in 0..5 {
        env.client
            .send(env.api::<ConfigMap>().list())
            .await
            .expect("a list");
        env.server().close_connections();
    }
}

async fn a_reset_read_is_repeated<R: Drive>(env: &Env<R>) {
    env.server().faults().reset_next();
    env.client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    env.server().faults().reset_next();
    let error = env
        .client
        .send(env.api::<ConfigMap>().create(&map("a", "green")))
        .await;
    assert_eq!(error.expect_err("broken").kind(), ErrorKind::Transport);
}

async fn stalled_reads_time_out<R: Drive>(env: &Env<R>) {
    env.server().faults().stall_next();
    let times = CallTimeouts {
        head: Duration::from_millis(300).into(),
        ..CallTimeouts::default()
    };
    // The second attempt is answered.
    let hasty = env.client.with_timeouts(times);
    hasty
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");

    env.server().faults().stall_next();
    let error = hasty
        .send(env.api::<ConfigMap>().create(&map("a", "green")))
        .await;
    assert_eq!(error.expect_err("silence").kind(), ErrorKind::Timeout);
    // On a busy machine the request may have been given up before it arrived, and the next one would be in its place.
    env.server().faults().clear();
    env.client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
}

async fn a_total_ends_a_call_with_its_attempts<R: Drive>(env: &Env<R>) {
    env.server().faults().fail_next(5, 503, "{}");
    let hasty = env
        .client
        .with_timeouts(CallTimeouts::total(Duration::from_millis(500)));
    let start = env.runtime.now();
    let error = hasty
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("not in time");
    // There was no time for another attempt, or it was cut off.
    let code = error.code().map(|code| code.as_u16());
    assert!(
        code == Some(503) || error.kind() == ErrorKind::Timeout,
        "{error}"
    );
    assert!(env.runtime.now() - start < Duration::from_secs(20));
}

async fn a_total_ends_what_never_pauses<R: Drive>(env: &Env<R>) {
    let log = "a line of a log that is written all the time\n".repeat(40_000);
    let peer = Peer::http(move |_| answer(200, "", &log)).expect("a server");
    let endpoint = Endpoint::parse(&format!("http://{}", peer.address())).expect("a URL");
    let client = env.builder_with(Config::new(endpoint)).build();
    let total = Duration::from_millis(300);
    let client = client
        .expect("a client")
        .with_timeouts(CallTimeouts::total(total));
    let logs = Api::<Pod>::namespaced("n").logs("p");
    let mut lines = client.stream(logs.follow(true));
    lines.next().await.expect("a line").expect("a line");
    // What comes meanwhile is there when the stream is read again.
    env.pause(total + Duration::from_millis(100)).await;
    let mut rest = 0;
    let error = loop {
        match lines.next().await.expect("an error before the end") {
            Ok(_) => rest += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error} after {rest}");
}

async fn a_total_of_the_client_leaves_watches_alone<R: Drive>(env: &Env<R>) {
    let phases = Timeouts {
        total: Some(Duration::from_millis(300)),
        ..Timeouts::none()
    };
    let client = env
        .builder()
        .timeouts(phases.into())
        .build()
        .expect("a client");
    let mut events = client.stream(env.api::<ConfigMap>().watch());
    let silence = env.within(Duration::from_secs(1), events.next());
    if let Some(event) = silence.await {
        event.expect("an event").expect("an event");
    }
}

async fn a_server_that_vanishes_is_noticed_by_the_pong_deadline<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
    let relay = Relay::start(env.server().addr()).expect("the relay starts");
    let mut config = env.place().config();
    let scheme = if config.endpoint.is_https() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{}", relay.addr());
    config.endpoint = Endpoint::parse(&url).expect("a URL");
    let through = env.builder_with(config).build().expect("a client");
    let millis = Duration::from_millis;
    let options = SessionOptions::default()
        .ping_interval(millis(50))
        .pong_timeout(millis(400));
    let mut process = through
        .open(sh(env, "cat").stdin().options(options))
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    stdin.write_all(b"alive").await.expect("it is");
    assert_eq!(stdout.chunk().await.as_deref(), Some(&b"alive"[..]));
    relay.freeze();
    let start = Instant::now();
    let (end, outcome) = join(stdout.chunk(), process.wait()).await;
    assert_eq!(end, None);
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Timeout(Timeout::Pong))),
        "{outcome:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        stdin.write_all(b"gone").await.expect_err("it is").kind(),
        ErrorKind::Closed
    );
}

async fn a_lost_connection_wakes_everybody<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
    let mut process = env
        .client
        .open(sh(env, "sleep 3600").stdin())
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    let full = async {
        // Nobody reads: this waits for room until the connection is lost.
        loop {
            if let Err(error) = stdin.write_all(&vec![0; 64 << 10]).await {
                return error;
            }
        }
    };
    let cut = async {
        while env.server().stats().websockets_open == 0 {
            env.pause(Duration::from_millis(5)).await;
        }
        env.server().close_connections();
    };
    let (error, (end, ())) = join(full, join(stdout.chunk(), cut)).await;
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(end, None);
    let outcome = process.wait().await;
    assert!(
        matches!(
            outcome,
            Outcome::Aborted(Abort::ConnectionLost | Abort::Transport(_))
        ),
        "{outcome:?}"
    );
}
