//! What is `Send`, decided at compile time. The same source runs on `harness::Local`, whose connections are not.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kubewire::Api;
use kubewire::config::Config;
use kubewire::reflect::ReflectorConfig;
use kubewire::reflect::wait::{Wait, pod_ready};
use kubewire_conformance::harness;
use kubewire_conformance::server::Server;

fn is_send<T: Send>(value: T) -> T {
    value
}

fn is_sync<T: Sync>(_: &T) {}

macro_rules! futures_are_send {
    ($client:ty) => {{
        let config = Config::new(kubewire::Endpoint::parse("http://127.0.0.1:9").expect("a URL"));
        // Neither needs a running executor.
        let client = is_send(<$client>::new(config).expect("a client"));
        is_sync(&client);
        let pods = Api::<Pod>::namespaced("default");
        drop(is_send(client.send(pods.get("a"))));
        drop(is_send(client.send(pods.list())));
        drop(is_send(client.stream(pods.watch())));
        drop(is_send(client.stream(pods.list().items()).next()));
        drop(is_send(client.open(pods.exec("a").command(["true"]))));
        let config = ReflectorConfig::default;
        drop(is_send(
            client
                .reflect(pods.clone(), config())
                .expect("events")
                .next(),
        ));
        let wait = Wait::for_object("default", "a", pod_ready());
        drop(is_send(client.wait(pods.clone(), config(), wait)));
        drop(is_send(client.forward(pods.port_forward_tunnel("a"))));
        drop(is_send(async move {
            let mut process = client.open(pods.exec("a").command(["true"])).await?;
            process.wait().await;
            client.open(pods.port_forward("a", [80])).await.map(drop)
        }));
    }};
}

#[test]
fn clients_and_their_futures_are_send_on_both_runtimes() {
    futures_are_send!(kubewire_tokio::Client);
    futures_are_send!(kubewire_smol::Client);
}

fn tokio(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).enable_all();
    builder.build().expect("tokio starts")
}

/// Over HTTP/1.1 and HTTP/2: its connections belong to the executor that made them, and may go with it.
#[test]
fn a_client_made_on_one_executor_works_on_another() {
    let pods = Api::<Pod>::namespaced("default");
    for tls in [false, true] {
        let server = Server::builder().tls(tls).start().expect("a server");
        // Without any executor.
        let client = harness::client(&server, kubewire_tokio::TokioRuntime::new()).build();
        let client = client.expect("a client");
        let (first, second) = (tokio(1), tokio(2));
        first.block_on(client.send(pods.list())).expect("a list");
        second.block_on(client.send(pods.list())).expect("a list");
        let mut watch = client.stream(Api::<Namespace>::all().watch());
        let event = second.block_on(watch.next());
        event.expect("an event").expect("which decodes");
        drop(first);
        second.block_on(client.send(pods.list())).expect("a list");
        drop(second);
        let third = tokio(1);
        third.block_on(client.send(pods.list())).expect("a list");
        // What belonged to an executor that is gone ends; it does not hang.
        let ended = async {
            let rest = watch.collect::<Vec<_>>();
            tokio::time::timeout(Duration::from_secs(30), rest).await
        };
        third.block_on(ended).expect("it ends");

        let client = harness::client(&server, kubewire_smol::SmolRuntime::new()).build();
        let client = client.expect("a client");
        smol::block_on(client.send(pods.list())).expect("a list");
        let other = std::thread::spawn({
            let (client, pods) = (client.clone(), pods.clone());
            move || smol::block_on(client.send(pods.list())).map(drop)
        });
        other.join().expect("no panic").expect("a list");
        smol::block_on(client.send(pods.list())).expect("a list");
    }
}

#[test]
fn a_tokio_client_outside_of_tokio_fails_with_an_error() {
    let config = Config::new(kubewire::Endpoint::parse("http://127.0.0.1:9").expect("a URL"));
    let client = kubewire_tokio::Client::new(config).expect("a client");
    let error = smol::block_on(client.send(Api::<Pod>::namespaced("default").list()))
        .expect_err("no tokio");
    assert_eq!(error.kind(), kubewire::ErrorKind::Transport);
}
