//! The work by kubewire, on any runtime.

use std::pin::pin;

use ::kubewire::reflect::{ListMode, ReflectEvent, ReflectorConfig};
use ::kubewire::session::Outcome;
use ::kubewire::stream::WatchEvent;
use ::kubewire::{
    Api, ApiResource, Decode, Dynamic, Endpoint, Error, Operation, Streaming, config::Config,
};
use futures_util::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire_driver::{Cache, Client, Drive};

use super::{WRITE, held, namespace, units};
use crate::job::{Done, Job, Target, Work};

pub(super) fn client<R: Drive>(target: &Target, runtime: R) -> Client<R> {
    let endpoint = Endpoint::parse(&target.url).expect("a URL");
    let mut config = Config::new(endpoint);
    if let Some(ca) = &target.ca {
        config = config.ca_pem(ca.as_bytes());
    }
    Client::builder(config, runtime).build().expect("a client")
}

pub(super) async fn run<R: Drive>(client: &Client<R>, job: Job) -> Done {
    let namespace = namespace(&job);
    let pods = || Api::<Pod>::namespaced(namespace.as_str());
    let times = job.times;
    let mut done = 0;
    match job.work {
        Work::Get => {
            let maps = Api::<ConfigMap>::namespaced(namespace.as_str());
            let gets = stream::iter(0..job.size * times)
                .map(|_| async { client.send(maps.get("settings")).await.expect("a map") });
            let mut gets = pin!(gets.buffer_unordered(job.parallel));
            while let Some(map) = gets.next().await {
                done += usize::from(map.data.is_some());
            }
        }
        Work::ListCollected
        | Work::ListMetadata
        | Work::ListDynamic
        | Work::ListStreamed
        | Work::ListLean => {
            for _ in 0..times {
                done += list(client, pods(), job.work).await;
            }
        }
        Work::Watch => done = count(client, pods().watch(), job.size).await,
        Work::WatchLean => {
            done = count(client, pods().watch().without_managed_fields(), job.size).await;
        }
        Work::WatchMetadata => done = count(client, pods().metadata().watch(), job.size).await,
        Work::WatchDynamic => done = count(client, unknown(&pods()).watch(), job.size).await,
        Work::LogLines => done = count(client, pods().logs("x").follow(true), usize::MAX).await,
        Work::LogBytes => {
            let path = format!("/api/v1/namespaces/{namespace}/pods/x/log?follow=true");
            let log = ::kubewire::Call::raw(http::Method::GET, &path).chunks();
            done = count(client, log, usize::MAX).await;
        }
        Work::ExecStdout | Work::ExecStdin => {
            let session = |_| exec(client, pods(), &job);
            let sessions = stream::iter(0..job.parallel).map(session);
            let mut sessions = pin!(sessions.buffer_unordered(job.parallel));
            while let Some(bytes) = sessions.next().await {
                done += bytes;
            }
        }
        Work::ForwardDown | Work::ForwardUp => done = forward(client, pods(), &job).await,
        Work::IdleWatches => {
            let mut watches = Vec::with_capacity(job.parallel);
            for _ in 0..job.parallel {
                let mut watch = client.stream(pods().watch());
                let event = watch
                    .next()
                    .await
                    .expect("an event")
                    .expect("which decodes");
                assert!(matches!(event, WatchEvent::Modified(_)));
                drop(event);
                watches.push(watch);
            }
            return held(watches.len());
        }
        Work::ReflectFill | Work::ReflectFillPaged | Work::ReflectChurn => {
            let mode = if job.work == Work::ReflectFillPaged {
                ListMode::Paged
            } else {
                ListMode::Streaming
            };
            for _ in 0..times {
                let config = ReflectorConfig::default().list_mode(mode);
                done += reflect(client, pods(), config, &job).await;
            }
        }
    }
    units(done)
}

/// The same pods, without their type.
fn unknown(pods: &Api<Pod>) -> Api<Dynamic> {
    Api::of(ApiResource::core("Pod", "pods"), pods.namespace().clone())
}

async fn list<R: Drive>(client: &Client<R>, pods: Api<Pod>, work: Work) -> usize {
    match work {
        Work::ListStreamed => count(client, pods.list().items(), usize::MAX).await,
        Work::ListLean => {
            let list = pods.list().without_managed_fields();
            count(client, list.items(), usize::MAX).await
        }
        Work::ListMetadata => {
            let list = client.send(pods.metadata().list()).await;
            list.expect("a list").items.len()
        }
        Work::ListDynamic => {
            let list = client.send(unknown(&pods).list()).await;
            list.expect("a list").items.len()
        }
        _ => client.send(pods.list()).await.expect("a list").items.len(),
    }
}

async fn count<R: Drive, O>(client: &Client<R>, operation: O, most: usize) -> usize
where
    O: Operation,
    O::Decoder: Streaming,
{
    let mut items = client.stream(operation);
    let mut done = 0;
    while done < most
        && let Some(item) = next::<O::Decoder>(&mut items).await
    {
        drop(item);
        done += 1;
    }
    done
}

async fn next<D: Decode>(
    items: &mut (impl Stream<Item = Result<D::Item, Error>> + Unpin),
) -> Option<D::Item> {
    items.next().await.map(|item| item.expect("an item"))
}

async fn exec<R: Drive>(client: &Client<R>, pods: Api<Pod>, job: &Job) -> usize {
    let total = job.size << 20;
    let exec = pods.exec("x").command(["cat"]);
    if job.work == Work::ExecStdin {
        let mut process = client.open(exec.stdin()).await.expect("a session");
        let mut stdin = process.stdin.take().expect("an input");
        let data = vec![b'x'; WRITE];
        for _ in 0..total / WRITE {
            stdin.write_all(&data).await.expect("it is taken");
        }
        assert!(matches!(process.wait().await, Outcome::Exited(0)));
        return total;
    }
    let mut process = client.open(exec).await.expect("a session");
    let mut stdout = process.stdout.take().expect("an output");
    let mut done = 0;
    while let Some(chunk) = stdout.chunk().await {
        done += chunk.len();
    }
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
    assert_eq!(done, total);
    done
}

async fn forward<R: Drive>(client: &Client<R>, pods: Api<Pod>, job: &Job) -> usize {
    let (total, up) = (job.size << 20, job.work == Work::ForwardUp);
    let ports = pods.port_forward(if up { "up" } else { "down" }, [80]);
    let mut forward = client.open(ports).await.expect("a session");
    let connection = &mut forward.connections[0];
    if up {
        let data = vec![b'x'; WRITE];
        for _ in 0..total / WRITE {
            connection.write_all(&data).await.expect("it is taken");
        }
        assert!(connection.chunk().await.is_some());
        return total;
    }
    let mut done = 0;
    while done < total {
        done += connection.chunk().await.expect("data").len();
    }
    done
}

async fn reflect<R: Drive>(
    client: &Client<R>,
    pods: Api<Pod>,
    config: ReflectorConfig,
    job: &Job,
) -> usize {
    let cache = Cache::new();
    let mut events = client.reflect(pods, config).expect("a reflector");
    let mut changes = 0;
    loop {
        let event = events.next().await.expect("it does not end");
        let change = matches!(event, ReflectEvent::Apply(_));
        let ready = matches!(event, ReflectEvent::InitDone { .. });
        cache.apply(event);
        changes += usize::from(change);
        if ready && job.work != Work::ReflectChurn {
            let len = cache.snapshot().len();
            assert_eq!(len, job.size);
            return len;
        }
        if change && changes == job.size {
            return changes;
        }
    }
}
