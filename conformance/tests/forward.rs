//! Port-forwarding through a tunnel and without, in the process and on local ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::smol::net::TcpStream;
use futures_util::future::{join, join_all};

use k8s_openapi::api::core::v1::Pod;
use kubewire::session::SessionOptions;
use kubewire::{Api, ErrorKind};
use kubewire_conformance::harness::{Harness, Smol, TokioMulti, run_pod, wait_for_port, within};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive, Listen, PortStream};

suite!(
    a_half_close_gets_the_whole_answer,
    twenty_connections_share_a_tunnel_with_one_that_is_not_read,
    a_refused_port_fails_its_own_connection_only,
    connections_may_be_dropped_at_any_time,
    local_ports_are_forwarded,
    bad_ports_are_refused_before_anything_is_sent,
);

fn pods() -> Api<Pod> {
    Api::namespaced("default")
}

/// Echoes on port 7000; on 7001 answers when it has read everything.
async fn pod<R: Drive>(client: &Client<R>) {
    let script = "nc -lk -p 7000 -e cat & exec nc -lk -p 7001 -e wc -c";
    run_pod(client, "box", script).await;
    wait_for_port(client, "box", 7000).await;
    wait_for_port(client, "box", 7001).await;
}

async fn read_all(stream: &mut PortStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn a_half_close_gets_the_whole_answer<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let forwarder = client
        .forward(pods().port_forward_tunnel("box"))
        .await
        .expect("a tunnel");
    assert!(forwarder.has_tunnel());
    let mut stream = forwarder.connect(7001).await.expect("a connection");
    stream
        .write_all(&vec![1; 1_000_000])
        .await
        .expect("the pod reads");
    stream.finish().expect("tunnels have a half-close");
    assert_eq!(
        String::from_utf8_lossy(&read_all(&mut stream).await).trim(),
        "1000000"
    );
}

async fn twenty_connections_share_a_tunnel_with_one_that_is_not_read<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    let before = server.stats().websockets_opened;
    let forwarder = client
        .forward(pods().port_forward_tunnel("box"))
        .await
        .expect("a tunnel");
    let mut unread = forwarder.connect(7000).await.expect("a connection");
    // More than anybody holds for it; its reader is asleep.
    let flood = async {
        let _ = unread.write_all(&vec![0; 64 << 20]).await;
        unread
    };
    let busy = join_all((0..19_u8).map(|n| {
        let forwarder = &forwarder;
        async move {
            let mut stream = forwarder.connect(7000).await.expect("a connection");
            for round in 0..20 {
                let data = vec![n ^ round; 10_000];
                stream.write_all(&data).await.expect("the echo reads");
                let mut got = Vec::new();
                while got.len() < data.len() {
                    let mut buffer = [0; 8192];
                    let read = stream
                        .read(&mut buffer)
                        .await
                        .expect("the connection goes on");
                    assert!(read > 0, "the echo answers");
                    got.extend_from_slice(&buffer[..read]);
                }
                assert!(got == data);
            }
        }
    }));
    let busy = within(&runtime, Duration::from_secs(40), busy);
    // The flood may end, by being reset as the one in the way, or go on for ever.
    let mut flood = Box::pin(flood);
    let mut flooding = true;
    let mut busy = Box::pin(busy);
    let finished = std::future::poll_fn(|cx| {
        if flooding && flood.as_mut().poll(cx).is_ready() {
            flooding = false;
        }
        busy.as_mut().poll(cx)
    })
    .await;
    assert!(finished.is_some(), "the others are held up");
    assert_eq!(server.stats().websockets_opened, before + 1);
}

async fn a_refused_port_fails_its_own_connection_only<R: Drive>(
    _: &Server,
    client: Client<R>,
    _: R,
) {
    pod(&client).await;
    let forwarder = client
        .forward(pods().port_forward_tunnel("box"))
        .await
        .expect("a tunnel");
    let mut good = forwarder.connect(7000).await.expect("a connection");
    let mut bad = forwarder.connect(7002).await.expect("the tunnel takes it");
    let error = bad
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("nobody listens");
    assert!(error.to_string().contains("7002"), "{error}");
    good.write_all(b"still here").await.expect("the echo reads");
    assert_eq!(good.chunk().await.as_deref(), Some(&b"still here"[..]));
}

async fn connections_may_be_dropped_at_any_time<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    let forwarder = client
        .forward(pods().port_forward_tunnel("box"))
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
    while server.stats().websockets_open > 0 {
        runtime
            .sleep_until(runtime.now() + Duration::from_millis(5))
            .await;
    }
}

async fn local_ports_are_forwarded<R: Drive + Listen>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let forwarder = Arc::new(
        client
            .forward(pods().port_forward_tunnel("box"))
            .await
            .expect("a tunnel"),
    );
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut good = forwarder.listen(any, 7001).await.expect("a port is free");
    let mut bad = forwarder.listen(any, 7009).await.expect("a port is free");
    let (good_addr, bad_addr) = (good.local_addr(), bad.local_addr());
    let mut failures = Vec::new();
    let clients = async {
        let counts = join_all((1..=5).map(|n: usize| async move {
            let mut stream = TcpStream::connect(good_addr).await.expect("it listens");
            stream
                .write_all(&vec![0; n * 100_000])
                .await
                .expect("it reads");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("it is connected");
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .await
                .expect("it answers");
            answer.trim().to_owned()
        }))
        .await;
        assert_eq!(counts, ["100000", "200000", "300000", "400000", "500000"]);
        let mut refused = TcpStream::connect(bad_addr).await.expect("it listens");
        assert_eq!(refused.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    };
    let serve = async {
        let bad = bad.serve(|_, error| failures.push(error.to_string()));
        join(good.serve(|_, error| panic!("{error}")), bad).await
    };
    futures_util::future::select(Box::pin(clients), Box::pin(serve)).await;
    assert!(
        failures.len() == 1 && failures[0].contains("7009"),
        "{failures:?}"
    );
    drop((good, bad));
    assert!(
        TcpStream::connect(good_addr).await.is_err(),
        "nobody listens any more"
    );
}

async fn bad_ports_are_refused_before_anything_is_sent<R: Drive>(
    server: &Server,
    client: Client<R>,
    _: R,
) {
    let operation = pods().port_forward("box", []);
    let error = client
        .open(operation.options(SessionOptions::default()))
        .await
        .expect_err("no ports");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(server.stats().connections_opened, 0);
}

/// 256 MiB each way, compared byte by byte.
fn a_quarter_of_a_gibibyte<H: Harness>() {
    kubewire_conformance::harness::scenario::<H>(async |_, client, _| {
        pod(&client).await;
        let forwarder = client
            .forward(pods().port_forward_tunnel("box"))
            .await
            .expect("a tunnel");
        let (mut reader, mut writer) = forwarder.connect(7000).await.expect("a connection").split();
        let block: Vec<u8> = (0..1_u32 << 20)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let write = async {
            for _ in 0..256 {
                writer.write_all(&block).await.expect("the echo reads");
            }
            writer.finish().expect("tunnels have a half-close");
        };
        let read = async {
            let mut at = 0;
            while let Some(chunk) = reader.chunk().await {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    let from = at % block.len();
                    let n = rest.len().min(block.len() - from);
                    assert!(rest[..n] == block[from..from + n], "byte {at} is wrong");
                    (at, rest) = (at + n, &rest[n..]);
                }
            }
            at
        };
        let ((), total) = join(write, read).await;
        assert_eq!(total, 256 << 20);
    });
}

#[test]
fn a_quarter_of_a_gibibyte_is_byte_exact_on_tokio() {
    a_quarter_of_a_gibibyte::<TokioMulti>();
}

#[test]
fn a_quarter_of_a_gibibyte_is_byte_exact_on_smol() {
    a_quarter_of_a_gibibyte::<Smol>();
}
