//! What is `Send`, decided at compile time. The same source runs on `harness::Local`, whose connections are not.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kubewire::Api;
use kubewire::config::Config;

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

#[test]
fn a_tokio_client_outside_of_tokio_fails_with_an_error() {
    let config = Config::new(kubewire::Endpoint::parse("http://127.0.0.1:9").expect("a URL"));
    let client = kubewire_tokio::Client::new(config).expect("a client");
    let error = smol::block_on(client.send(Api::<Pod>::namespaced("default").list()))
        .expect_err("no tokio");
    assert_eq!(error.kind(), kubewire::ErrorKind::Transport);
}
