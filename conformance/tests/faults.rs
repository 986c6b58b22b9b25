//! Connections that break, servers that go away, answers that come slowly or not at all: nothing hangs, and nothing
//! is sent twice that must not be. Each over HTTP/1.1 and over HTTP/2.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::policy::{CallTimeouts, Retry};
use kubewire::stream::WatchEvent;
use kubewire::{Api, Error, ErrorKind};
use kubewire_conformance::harness;
use kubewire_conformance::peers::{Peer, answer};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    a_connection_closed_between_requests_is_replaced,
    a_connection_reset_in_the_pool_is_replaced,
    a_server_that_goes_away_finishes_what_it_has,
    a_body_that_breaks_off_is_an_error_and_not_repeated,
    a_watch_that_breaks_off_ends_without_the_torn_event,
    a_body_that_stalls_times_out,
    a_slow_body_may_take_as_long_as_it_moves,
    a_slow_body_ends_with_the_total,
    a_slow_head_times_out,
    a_busy_server_gets_each_create_once_more,
    requests_in_flight_at_a_reset_are_not_doubled,
    a_reset_after_any_byte_is_an_error_or_nothing,
);

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

/// How many requests have reached the server.
fn requests(server: &Server) -> u64 {
    let stats = server.stats();
    stats.http1_requests + stats.http2_requests
}

/// Two servers with clients: one that speaks HTTP/1.1, one that speaks HTTP/2.
fn both<R: Drive>(runtime: &R) -> [(Server, Client<R>); 2] {
    [Server::builder(), Server::builder().tls(true)].map(|builder| {
        let server = builder.start().expect("the server starts");
        let client = harness::client(&server, runtime.clone()).build();
        (server, client.expect("the client is configured"))
    })
}

/// Makes an object, whatever may happen to the connection meanwhile: at most one request arrives, and what the client
/// says is true.
async fn create_once<R: Drive>(server: &Server, client: &Client<R>, name: &str) {
    let before = requests(server);
    let created = client.send(maps().create(&map(name))).await;
    let arrived = requests(server) - before;
    assert!(arrived <= 1, "{arrived} requests");
    match created {
        Ok(_) => assert_eq!(arrived, 1),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}"),
    }
}

async fn survives<R: Drive>(runtime: R, disturb: impl Fn(&Server)) {
    for (server, client) in both(&runtime) {
        for n in 0..4 {
            client.send(maps().list()).await.expect("a list");
            disturb(&server);
            client.send(maps().list()).await.expect("another list");
            disturb(&server);
            create_once(&server, &client, &format!("map-{n}")).await;
        }
    }
}

async fn a_connection_closed_between_requests_is_replaced<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    survives(runtime, Server::close_connections).await;
}

async fn a_connection_reset_in_the_pool_is_replaced<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    survives(runtime, Server::reset_connections).await;
}

/// What a rolling restart of the API servers looks like.
async fn a_server_that_goes_away_finishes_what_it_has<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    for (server, client) in both(&runtime) {
        let mut watch = client.stream(maps().watch().resource_version("0"));
        let http2 = server.ca_pem().is_some();
        client.send(maps().list()).await.expect("a list");
        let mut made = Vec::new();
        for n in 0..5 {
            let name = format!("map-{n}");
            if http2 {
                let before = requests(&server);
                let created = client.send(maps().create(&map(&name))).await;
                created.expect("GOAWAY loses nothing");
                assert_eq!(requests(&server) - before, 1);
                made.push(name);
            } else {
                create_once(&server, &client, &name).await;
            }
            server.go_away();
        }
        // The watch began before all this, on a connection that takes no new requests now.
        for name in made {
            loop {
                let event = watch
                    .next()
                    .await
                    .expect("an event")
                    .expect("which decodes");
                let WatchEvent::Added(map) = event else {
                    continue;
                };
                if map.metadata.name.as_deref() == Some(&name) {
                    break;
                }
            }
        }
        drop(watch);
        client.send(maps().list()).await.expect("a list");
    }
}

async fn a_body_that_breaks_off_is_an_error_and_not_repeated<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    for (server, client) in both(&runtime) {
        client.send(maps().create(&map("a"))).await.expect("a map");
        let before = requests(&server);
        server.faults().cut_body_after(20);
        let error = client.send(maps().get("a")).await.expect_err("half a map");
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error:?}");
        assert_eq!(requests(&server) - before, 1);
        client.send(maps().get("a")).await.expect("a whole map");
    }
}

async fn a_watch_that_breaks_off_ends_without_the_torn_event<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    for (server, client) in both(&runtime) {
        client.send(maps().create(&map("a"))).await.expect("a map");
        server.faults().cut_body_after(20);
        let before = requests(&server);
        // To watch again is up to the reflector, or the caller.
        let events: Vec<_> = client.stream(maps().watch()).collect().await;
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(requests(&server) - before, 1);
    }
}

/// A client whose answers may be silent for this long.
fn impatient<R: Drive>(client: &Client<R>, idle: Duration) -> Client<R> {
    client.with_timeouts(CallTimeouts {
        idle: idle.into(),
        ..CallTimeouts::default()
    })
}

fn is_timeout<T>(result: Result<T, Error>) {
    let error = result.err().expect("it takes too long");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

async fn a_body_that_stalls_times_out<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    for (server, client) in both(&runtime) {
        client.send(maps().create(&map("a"))).await.expect("a map");
        let before = requests(&server);
        server.faults().stall_body_after(20);
        is_timeout(
            impatient(&client, Duration::from_millis(100))
                .send(maps().get("a"))
                .await,
        );
        assert_eq!(requests(&server) - before, 1);
        client.send(maps().get("a")).await.expect("a whole map");
    }
}

async fn a_slow_body_may_take_as_long_as_it_moves<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    for (server, client) in both(&runtime) {
        client.send(maps().create(&map("a"))).await.expect("a map");
        // A byte at a time, and in all for longer than it may be silent.
        let idle = Duration::from_secs(2);
        server.faults().trickle_next(Duration::from_millis(15));
        let start = runtime.now();
        let got = impatient(&client, idle).send(maps().get("a")).await;
        assert_eq!(got.expect("a map").metadata.name.as_deref(), Some("a"));
        assert!(runtime.now() - start > idle);

        server.faults().trickle_next(Duration::from_secs(30));
        is_timeout(
            impatient(&client, Duration::from_millis(100))
                .send(maps().get("a"))
                .await,
        );
    }
}

async fn a_slow_body_ends_with_the_total<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    for (server, client) in both(&runtime) {
        client.send(maps().create(&map("a"))).await.expect("a map");
        let before = requests(&server);
        server.faults().trickle_next(Duration::from_millis(20));
        let hasty = client.with_timeouts(CallTimeouts::total(Duration::from_millis(200)));
        is_timeout(hasty.send(maps().get("a")).await);
        assert_eq!(requests(&server) - before, 1);
    }
}

async fn a_slow_head_times_out<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let peer = Peer::slow_http(Duration::from_millis(20), answer(200, "", "{}"));
    let peer = peer.expect("a server");
    let config = kubewire::config::Config::new(
        kubewire::Endpoint::parse(&format!("http://{}", peer.address())).expect("a URL"),
    );
    let client = Client::builder(config, runtime).build().expect("a client");
    let hasty = client.with_timeouts(CallTimeouts {
        head: Duration::from_millis(200).into(),
        ..CallTimeouts::default()
    });
    is_timeout(hasty.send(maps().create(&map("a"))).await);
    assert_eq!(peer.received().len(), 1);
}

async fn a_busy_server_gets_each_create_once_more<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    for (server, client) in both(&runtime) {
        server.faults().busy_next(1, 429, 1);
        let before = requests(&server);
        let start = runtime.now();
        let created = client.send(maps().create(&map("a"))).await;
        created.expect("nothing was carried out before");
        assert!(runtime.now() - start >= Duration::from_secs(1));
        assert_eq!(requests(&server) - before, 2);

        // It may have been carried out.
        server.faults().busy_next(1, 503, 1);
        let error = client.send(maps().create(&map("b"))).await;
        let error = error.expect_err("a failure");
        assert_eq!(error.code().map(|code| code.as_u16()), Some(503));
        assert_eq!(requests(&server) - before, 3);
    }
}

async fn requests_in_flight_at_a_reset_are_not_doubled<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    for (server, client) in both(&runtime) {
        for _ in 0..20 {
            server.faults().stall_next();
        }
        let before = requests(&server);
        let disturb = async {
            // All are on their way.
            while requests(&server) - before < 20 {
                let soon = runtime.now() + Duration::from_millis(1);
                runtime.sleep_until(soon).await;
            }
            server.reset_connections();
        };
        let creates = join_all((0..20).map(|n| {
            let client = &client;
            async move { client.send(maps().create(&map(&format!("map-{n}")))).await }
        }));
        let (results, ()) = futures_util::future::join(creates, disturb).await;
        for result in results {
            // Whether it was made is not known, and so it is not made again.
            let error = result.expect_err("the connection broke");
            assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
        }
        assert_eq!(requests(&server) - before, 20);
        client.send(maps().list()).await.expect("a list");
    }
}

/// What a reset of the connection leaves to calls that may not be repeated.
fn is_broken(error: &Error) {
    let kinds = [
        ErrorKind::Transport,
        ErrorKind::Truncated,
        ErrorKind::Closed,
    ];
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

async fn a_reset_after_any_byte_is_an_error_or_nothing<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    const PLACES: [usize; 17] = [
        0, 1, 3, 10, 30, 70, 120, 200, 300, 450, 700, 1000, 1400, 1900, 2500, 3200, 4500,
    ];
    for (server, _) in both(&runtime) {
        let client = harness::client(&server, runtime.clone()).retry(Retry {
            first: Duration::from_millis(1),
            cap: Duration::from_millis(5),
            ..Retry::default()
        });
        let client = client.build().expect("a client");
        let script = "echo one; echo two; sleep 3600";
        harness::run_pod(&client, "box", script).await;
        let pods = Api::<Pod>::namespaced("default");
        for (n, bytes) in PLACES.into_iter().enumerate() {
            for sent in [false, true] {
                let disturb = || {
                    server.close_connections();
                    if sent {
                        server.faults().reset_after_sent(bytes);
                    } else {
                        server.faults().reset_after_received(bytes);
                    }
                };
                disturb();
                // A read is repeated, unless its answer has begun.
                if let Err(error) = client.send(maps().list()).await {
                    is_broken(&error);
                }
                disturb();
                let mut items = client.stream(maps().list().items());
                while let Some(item) = items.next().await {
                    item.unwrap_or_else(|error| {
                        is_broken(&error);
                        ConfigMap::default()
                    });
                }
                disturb();
                if let Some(Err(error)) = client.stream(maps().watch()).next().await {
                    is_broken(&error);
                }
                disturb();
                let mut lines = client.stream(pods.logs("box"));
                while let Some(line) = lines.next().await {
                    match line {
                        // What came of the last one is handed out before the error.
                        Ok(line) => {
                            let text = line.text();
                            assert!(["one", "two"].iter().any(|l| l.starts_with(&*text)));
                        }
                        Err(error) => is_broken(&error),
                    }
                }
                disturb();
                let before = requests(&server);
                let name = format!("map-{n}-{sent}");
                let created = client.send(maps().create(&map(&name))).await;
                let arrived = requests(&server) - before;
                match created {
                    Ok(_) => assert_eq!(arrived, 1),
                    Err(error) => is_broken(&error),
                }
                assert!(arrived <= 1, "{arrived} requests");
                disturb();
                let exec = pods.exec("box").command(["echo", "three"]);
                match client.open(exec).await {
                    Err(error) => is_broken(&error),
                    Ok(process) => match process.output(b"").await {
                        Err(error) => is_broken(&error),
                        Ok(output) if output.outcome.code().is_some() => {
                            assert_eq!(output.stdout.as_slice(), b"three\n");
                        }
                        Ok(output) => assert!("three\n".as_bytes().starts_with(&output.stdout)),
                    },
                }
                server.faults().clear();
                client.send(maps().list()).await.expect("a list");
            }
        }
    }
}
