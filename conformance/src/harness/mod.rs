//! Executors to run the same scenario on.

mod ahead;
mod blocking;
mod interop;
mod local;
mod local_host;
mod relay;
mod scratch;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kubewire::config::Config;
use kubewire::stream::WatchEvent;
use kubewire::{Api, Endpoint};
use kubewire_driver::{Client, ClientBuilder, Drive, Forwarder};
use kubewire_smol::SmolRuntime;
use kubewire_tokio::TokioRuntime;

pub use ahead::Ahead;
pub use blocking::{Blocking, BlockingBackend};
pub use interop::{Interop, output};
pub use local::{LocalIo, LocalRuntime};
pub use relay::Relay;
pub use scratch::Scratch;

use crate::server::Server;

/// An executor and the runtime that goes with it.
pub trait Harness {
    /// What the driver runs on.
    type Runtime: Drive;

    /// Makes the executor, and runs the scenario on it to its end.
    fn run<T>(scenario: impl AsyncFnOnce(Self::Runtime) -> T) -> T;
}

/// tokio with two worker threads.
#[derive(Debug)]
pub struct TokioMulti;

/// tokio with one thread.
#[derive(Debug)]
pub struct TokioCurrent;

/// smol's global executor.
#[derive(Debug)]
pub struct Smol;

/// One thread, and connections that are not `Send`.
#[derive(Debug)]
pub struct Local;

impl Harness for TokioMulti {
    type Runtime = TokioRuntime;

    fn run<T>(scenario: impl AsyncFnOnce(TokioRuntime) -> T) -> T {
        tokio_executor(tokio::runtime::Builder::new_multi_thread().worker_threads(2))
            .block_on(scenario(TokioRuntime::new()))
    }
}

impl Harness for TokioCurrent {
    type Runtime = TokioRuntime;

    fn run<T>(scenario: impl AsyncFnOnce(TokioRuntime) -> T) -> T {
        tokio_executor(&mut tokio::runtime::Builder::new_current_thread())
            .block_on(scenario(TokioRuntime::new()))
    }
}

fn tokio_executor(builder: &mut tokio::runtime::Builder) -> tokio::runtime::Runtime {
    builder.enable_all().build().expect("tokio starts")
}

impl Harness for Smol {
    type Runtime = SmolRuntime;

    fn run<T>(scenario: impl AsyncFnOnce(SmolRuntime) -> T) -> T {
        smol::block_on(scenario(SmolRuntime::new()))
    }
}

impl Harness for Local {
    type Runtime = LocalRuntime;

    fn run<T>(scenario: impl AsyncFnOnce(LocalRuntime) -> T) -> T {
        let runtime = LocalRuntime::default();
        runtime.block_on(scenario(runtime.clone()))
    }
}

/// How long a scenario may take before it counts as hung.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a scenario with an embedded server and a client for it.
///
/// # Panics
///
/// If the scenario does, or if it hangs.
pub fn scenario<H: Harness>(scenario: impl AsyncFnOnce(&Server, Client<H::Runtime>, H::Runtime)) {
    with_server::<H>(&Server::start().expect("the server starts"), scenario);
}

/// As [`scenario`], with a server of the caller's.
///
/// # Panics
///
/// If the scenario does, or if it hangs.
pub fn with_server<H: Harness>(
    server: &Server,
    scenario: impl AsyncFnOnce(&Server, Client<H::Runtime>, H::Runtime),
) {
    H::run(async |runtime: H::Runtime| {
        let client = client(server, runtime.clone())
            .build()
            .expect("the client is configured");
        let scenario = scenario(server, client, runtime.clone());
        assert!(
            within(&runtime, PATIENCE, scenario).await.is_some(),
            "the scenario hangs"
        );
    });
}

/// A client for an embedded server, with the server's token.
///
/// # Panics
///
/// If the server has no usable URL.
pub fn client<R: Drive>(server: &Server, runtime: R) -> ClientBuilder<R> {
    let endpoint = Endpoint::parse(&server.url()).expect("the server has a URL");
    let mut config = Config::new(endpoint).token(server.token());
    if let Some(ca) = server.ca_pem() {
        config = config.ca_pem(ca);
    }
    Client::builder(config, runtime)
}

/// Makes a pod in the namespace `default` with one container that runs a shell script, and waits until it runs.
///
/// # Panics
///
/// If it does not come to run.
pub async fn run_pod<R: Drive>(client: &Client<R>, name: &str, script: &str) {
    let pods = Api::<Pod>::namespaced("default");
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": "busybox", "command": ["sh", "-c", script]},
        ]},
    }))
    .expect("a pod");
    client
        .send(pods.create(&pod))
        .await
        .expect("the pod is created");
    let mut events = client.stream(pods.watch().fields(format!("metadata.name={name}")));
    while let Some(event) = events.next().await {
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event.expect("an event") else {
            continue;
        };
        if pod.status.and_then(|status| status.phase).as_deref() == Some("Running") {
            return;
        }
    }
    panic!("the pod never ran");
}

/// Waits until something in a pod echoes or answers on a port: a pod that runs does not listen yet.
///
/// # Panics
///
/// If the tunnel has ended.
pub async fn wait_for_port<R: Drive>(runtime: &R, forwarder: &Forwarder<R>, port: u16) {
    loop {
        let mut stream = forwarder.connect(port).await.expect("a connection");
        if stream.write_all(b"x").await.is_ok()
            && stream.finish().is_ok()
            && stream.chunk().await.is_some()
        {
            return;
        }
        let again = runtime.now() + Duration::from_millis(50);
        runtime.sleep_until(again).await;
    }
}

/// Awaits a future for a limited time.
pub async fn within<R: Drive, T>(
    runtime: &R,
    time: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = pin!(runtime.sleep_until(runtime.now() + time));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Polls a future until it has been pending so many times, then drops it. Whether it was completed before.
pub async fn drop_at_await(future: impl Future, awaits: usize) -> bool {
    until_await(future, awaits).await.is_some()
}

/// As [`drop_at_await`]; what the future came to if it was completed.
pub async fn until_await<T>(future: impl Future<Output = T>, awaits: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut pending = 0;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            pending += 1;
            if pending >= awaits {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

/// Makes a test of each scenario on each executor.
///
/// A scenario is `async fn name<R: Drive>(&Server, Client<R>, R)`.
#[macro_export]
macro_rules! suite {
    ($($scenario:ident),* $(,)?) => {
        $crate::suite!(@executor tokio_multi, TokioMulti, $($scenario)*);
        $crate::suite!(@executor tokio_current, TokioCurrent, $($scenario)*);
        $crate::suite!(@executor smol, Smol, $($scenario)*);
        $crate::suite!(@executor local, Local, $($scenario)*);
    };
    (@executor $module:ident, $harness:ident, $($scenario:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    $crate::harness::scenario::<$crate::harness::$harness>(super::$scenario);
                }
            )*
        }
    };
}
