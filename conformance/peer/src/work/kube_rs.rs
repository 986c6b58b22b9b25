//! The work by kube-rs.

use std::pin::pin;

use futures_util::{AsyncBufReadExt as _, AsyncReadExt as _, Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ApiResource, AttachParams, DynamicObject, ListParams, LogParams, WatchParams};
use kube::runtime::{reflector, watcher};
use kube::{Api, Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{WRITE, held, namespace, units};
use crate::job::{self, Done, Job, Target, Work};

pub(super) fn client(target: &Target) -> Client {
    let mut config = Config::new(target.url.parse().expect("a URL"));
    if let Some(ca) = &target.ca {
        let ca = pem(ca);
        config.root_cert = Some(vec![ca]);
    }
    Client::try_from(config).expect("a client")
}

fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).expect("a certificate");
    certificate.to_vec()
}

pub(super) async fn run(client: &Client, job: &Job) -> Done {
    let namespace = namespace(job);
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let kind = ApiResource::erase::<Pod>(&());
    let unknown = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &kind);
    let (list, watch) = (ListParams::default(), WatchParams::default());
    let times = job.times;
    let mut done = 0;
    match job.work {
        Work::Get => {
            let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
            let gets = stream::iter(0..job.size * times)
                .map(|_| async { maps.get("settings").await.expect("a map") });
            let mut gets = pin!(gets.buffer_unordered(job.parallel));
            while let Some(map) = gets.next().await {
                done += usize::from(map.data.is_some());
            }
        }
        // It has no list that is streamed, and no way to leave managed fields out.
        Work::ListCollected | Work::ListStreamed | Work::ListLean => {
            for _ in 0..times {
                done += pods.list(&list).await.expect("a list").items.len();
            }
        }
        Work::ListMetadata => {
            for _ in 0..times {
                done += pods.list_metadata(&list).await.expect("a list").items.len();
            }
        }
        Work::ListDynamic => {
            for _ in 0..times {
                done += unknown.list(&list).await.expect("a list").items.len();
            }
        }
        Work::Watch | Work::WatchLean => {
            done = count(pods.watch(&watch, "0").await.expect("a watch"), job.size).await;
        }
        Work::WatchMetadata => {
            let events = pods.watch_metadata(&watch, "0").await;
            done = count(events.expect("a watch"), job.size).await;
        }
        Work::WatchDynamic => {
            done = count(unknown.watch(&watch, "0").await.expect("a watch"), job.size).await;
        }
        Work::LogBytes | Work::LogLines => done = log(&pods, job).await,
        Work::ExecStdout | Work::ExecStdin => {
            let sessions = stream::iter(0..job.parallel).map(|_| exec(&pods, job));
            let mut sessions = pin!(sessions.buffer_unordered(job.parallel));
            while let Some(bytes) = sessions.next().await {
                done += bytes;
            }
        }
        Work::ForwardDown | Work::ForwardUp => done = forward(&pods, job).await,
        Work::IdleWatches => {
            let mut watches = Vec::with_capacity(job.parallel);
            for _ in 0..job.parallel {
                let mut watch = Box::pin(pods.watch(&watch, "0").await.expect("a watch"));
                drop(
                    watch
                        .next()
                        .await
                        .expect("an event")
                        .expect("which decodes"),
                );
                watches.push(watch);
            }
            return held(watches.len());
        }
        Work::ReflectFill | Work::ReflectFillPaged | Work::ReflectChurn => {
            for _ in 0..times {
                done += reflect(pods.clone(), job).await;
            }
        }
    }
    units(done)
}

async fn count<T, E: std::fmt::Debug>(
    items: impl Stream<Item = Result<T, E>>,
    most: usize,
) -> usize {
    let mut items = pin!(items);
    let mut done = 0;
    while done < most
        && let Some(item) = items.next().await
    {
        drop(item.expect("an item"));
        done += 1;
    }
    done
}

async fn log(pods: &Api<Pod>, job: &Job) -> usize {
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let log = pods.log_stream("x", &follow).await.expect("a log");
    if job.work == Work::LogLines {
        return count(log.lines(), usize::MAX).await;
    }
    let (mut log, mut buffer, mut done) = (pin!(log), vec![0; WRITE], 0);
    loop {
        match log.read(&mut buffer).await.expect("bytes") {
            0 => return done,
            _ => done += 1,
        }
    }
}

async fn exec(pods: &Api<Pod>, job: &Job) -> usize {
    let total = job.size << 20;
    let input = job.work == Work::ExecStdin;
    let mut params = AttachParams::default()
        .stdin(input)
        .stdout(!input)
        .stderr(false);
    if job.client == job::Client::KubeWide {
        params = params.max_stdin_buf_size(WRITE).max_stdout_buf_size(WRITE);
    }
    let mut process = pods.exec("x", ["cat"], &params).await.expect("a session");
    let status = process.take_status().expect("a status");
    let mut done = 0;
    if input {
        let mut stdin = process.stdin().expect("an input");
        let data = vec![b'x'; WRITE];
        for _ in 0..total / WRITE {
            stdin.write_all(&data).await.expect("it is taken");
            done += WRITE;
        }
        stdin.flush().await.expect("it is sent");
    } else {
        let mut stdout = process.stdout().expect("an output");
        let mut buffer = vec![0; WRITE];
        loop {
            match stdout.read(&mut buffer).await.expect("bytes") {
                0 => break,
                n => done += n,
            }
        }
    }
    assert_eq!(done, total);
    let status = status.await.expect("a status");
    assert_eq!(status.status.as_deref(), Some("Success"));
    done
}

async fn forward(pods: &Api<Pod>, job: &Job) -> usize {
    let (total, up) = (job.size << 20, job.work == Work::ForwardUp);
    let name = if up { "up" } else { "down" };
    let mut ports = pods.portforward(name, &[80]).await.expect("a session");
    let mut connection = ports.take_stream(80).expect("a connection");
    let mut buffer = vec![b'x'; WRITE];
    if up {
        for _ in 0..total / WRITE {
            connection.write_all(&buffer).await.expect("it is taken");
        }
        connection.flush().await.expect("it is sent");
        assert_eq!(connection.read(&mut buffer).await.expect("bytes"), 1);
        return total;
    }
    let mut done = 0;
    while done < total {
        match connection.read(&mut buffer).await.expect("bytes") {
            0 => panic!("it ended after {done} bytes"),
            n => done += n,
        }
    }
    done
}

async fn reflect(pods: Api<Pod>, job: &Job) -> usize {
    let (reader, writer) = reflector::store();
    let mut config = watcher::Config::default();
    if job.work != Work::ReflectFillPaged {
        config = config.streaming_lists();
    }
    let mut events = pin!(reflector(writer, watcher(pods, config)));
    let mut changes = 0;
    loop {
        match events
            .next()
            .await
            .expect("it does not end")
            .expect("an event")
        {
            watcher::Event::Apply(_) => changes += 1,
            watcher::Event::InitDone if job.work != Work::ReflectChurn => {
                let len = reader.len();
                assert_eq!(len, job.size);
                return len;
            }
            watcher::Event::InitDone
            | watcher::Event::Init
            | watcher::Event::InitApply(_)
            | watcher::Event::Delete(_) => {}
        }
        if changes == job.size {
            return changes;
        }
    }
}
