//! Connections to ports of pods, through a tunnel and without, in the process and on local ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::smol::net::TcpStream;
use futures_util::future::{join, join_all};
use k8s_openapi::api::core::v1::Pod;
use kubewire::ErrorKind;
use kubewire::session::SessionOptions;
use kubewire_driver::{Drive, Forwarder, Listen, PortStream};

use super::Need::{Embedded, Node};
use super::pods::{all, run_pod};
use super::{Calls, Env};
use crate::harness::wait_for_port;

driven! { PortForward;
    a_half_close_gets_the_whole_answer: Node;
    twenty_connections_share_a_tunnel_with_one_that_is_not_read: Node;
    a_refused_port_fails_its_own_connection_only: Node;
    local_ports_are_forwarded: Node;
    bad_ports_are_refused_before_anything_is_sent: Embedded;
    a_forwarded_port_carries_bytes_both_ways: Node;
    a_refused_port_is_an_error_of_its_stream: Node;
}

async fn tunnel<R: Drive>(env: &Env<R>) -> Forwarder<R> {
    let operation = env.api::<Pod>().port_forward_tunnel("box");
    env.client.forward(operation).await.expect("a tunnel")
}

async fn pod<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "exec nc -lk -p 7000 -e cat").await;
    let forwarder = tunnel(env).await;
    wait_for_port(&env.runtime, &forwarder, 7000).await;
}

async fn a_half_close_gets_the_whole_answer<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let forwarder = tunnel(env).await;
    assert!(forwarder.has_tunnel());
    let (mut reader, mut writer) = forwarder.connect(7000).await.expect("a connection").split();
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let write = async {
        writer.write_all(&data).await.expect("the echo reads");
        writer.finish().expect("tunnels have a half-close");
    };
    // The node does not tell the pod. What it has to say at once still comes, and then the end.
    let ((), answer) = join(write, all(&mut reader)).await;
    assert!(answer == data, "{} bytes", answer.len());
}

async fn twenty_connections_share_a_tunnel_with_one_that_is_not_read<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let forwarder = tunnel(env).await;
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
    let busy = env.within(Duration::from_mins(1), busy);
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
}

async fn a_refused_port_fails_its_own_connection_only<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let forwarder = tunnel(env).await;
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

async fn local_ports_are_forwarded<R: Drive + Listen>(env: &Env<R>) {
    pod(env).await;
    let forwarder = Arc::new(
        env.client
            .forward(env.api::<Pod>().port_forward_tunnel("box"))
            .await
            .expect("a tunnel"),
    );
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut good = forwarder.listen(any, 7000).await.expect("a port is free");
    let mut bad = forwarder.listen(any, 7009).await.expect("a port is free");
    let (good_addr, bad_addr) = (good.local_addr(), bad.local_addr());
    let mut failures = Vec::new();
    let clients = async {
        join_all((1..=5_u8).map(|n| async move {
            let mut stream = TcpStream::connect(good_addr).await.expect("it listens");
            let mut writer = stream.clone();
            let data = vec![n; usize::from(n) * 100_000];
            let write = async {
                writer.write_all(&data).await.expect("it reads");
                writer
                    .shutdown(std::net::Shutdown::Write)
                    .expect("it is connected");
            };
            let mut answer = Vec::new();
            let ((), read) = join(write, stream.read_to_end(&mut answer)).await;
            read.expect("it answers");
            assert!(answer == data, "{n}: {} bytes", answer.len());
        }))
        .await;
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

async fn bad_ports_are_refused_before_anything_is_sent<R: Drive>(env: &Env<R>) {
    let operation = env.api::<Pod>().port_forward("box", []);
    let error = env
        .client
        .open(operation.options(SessionOptions::default()))
        .await
        .expect_err("no ports");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(env.server().stats().websockets_opened, 0);
}

async fn a_forwarded_port_carries_bytes_both_ways<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let mut forward = env
        .client
        .open(env.api::<Pod>().port_forward("box", [7000, 7000]))
        .await
        .expect("a session");
    let second = forward.connections.pop().expect("two connections");
    let first = forward.connections.pop().expect("two connections");
    let exchange = async |stream: PortStream, byte: u8| {
        let (mut reader, mut writer) = stream.split();
        let data = vec![byte; 3 << 20];
        let write = async { writer.write_all(&data).await.expect("the echo reads") };
        let read = async {
            let mut got = Vec::new();
            while got.len() < data.len() {
                got.extend_from_slice(&reader.chunk().await.expect("the echo answers"));
            }
            got
        };
        let ((), got) = join(write, read).await;
        assert!(got == data);
        assert_eq!(
            writer.finish().expect_err("v4 has no half-close").kind(),
            ErrorKind::Usage
        );
    };
    join(exchange(first, 1), exchange(second, 2)).await;
}

async fn a_refused_port_is_an_error_of_its_stream<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let options = SessionOptions::default();
    let operation = env
        .api::<Pod>()
        .port_forward("box", [7002])
        .options(options);
    let mut forward = env.client.open(operation).await.expect("a session");
    let error = forward.connections[0]
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("nobody listens");
    assert!(error.to_string().contains("7002"), "{error}");
    let error = env
        .client
        .open(env.api::<Pod>().port_forward("box", [0]))
        .await
        .expect_err("there is no port 0");
    assert_eq!(error.kind(), ErrorKind::Usage);
}
