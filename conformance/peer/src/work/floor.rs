//! What the work costs without a Kubernetes client: the parser alone, the socket alone, the WebSocket alone.

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{WRITE, namespace, units};
use crate::job::{Done, Job, Work};
use crate::pods::{self, View};

/// What is made before the clock starts.
pub(super) struct Floor {
    body: String,
}

#[derive(Deserialize)]
struct List<K> {
    items: Vec<K>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Pod,
}

impl Floor {
    pub(super) fn new(job: &Job) -> Self {
        let body = match job.work {
            Work::ListCollected => pods::list(View::Full, 0..job.size, job.size),
            Work::Watch => (0..1000)
                .map(|index| pods::event("MODIFIED", index, View::Full))
                .collect(),
            _ => String::new(),
        };
        Self { body }
    }

    pub(super) async fn run(&mut self, job: &Job) -> Done {
        let done = match job.work {
            Work::Get => get(job).await,
            Work::ListCollected => {
                let mut done = 0;
                for _ in 0..job.times {
                    let list: List<Pod> =
                        serde_json::from_slice(self.body.as_bytes()).expect("a list");
                    done += list.items.len();
                }
                done
            }
            Work::Watch => {
                let lines = self.body.as_bytes().split_inclusive(|byte| *byte == b'\n');
                let mut done = 0;
                for line in lines.cycle().take(job.size) {
                    let event: Event = serde_json::from_slice(line).expect("an event");
                    assert!(event.kind == "MODIFIED" && event.object.metadata.name.is_some());
                    done += 1;
                }
                done
            }
            Work::LogBytes => log(job).await,
            Work::ExecStdout | Work::ForwardDown | Work::ExecStdin | Work::ForwardUp => {
                let sessions = (0..job.parallel).map(|_| session(job));
                join_all(sessions).await.into_iter().sum()
            }
            _ => panic!("this has no floor"),
        };
        units(done)
    }
}

fn authority(job: &Job) -> &str {
    let plain = job.target.url.strip_prefix("http://");
    plain.expect("floors are measured over TCP")
}

async fn connect(job: &Job) -> TcpStream {
    let stream = TcpStream::connect(authority(job))
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("it can be");
    stream
}

async fn http(job: &Job) -> http1::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(connect(job).await);
    let (sender, connection) = http1::handshake(io).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    job: &Job,
    path: &str,
) -> http::Response<Incoming> {
    let path = format!("/api/v1/namespaces/{}/{path}", namespace(job));
    let request = http::Request::get(path)
        .header("host", authority(job))
        .body(Empty::new())
        .expect("a request");
    sender.send_request(request).await.expect("an answer")
}

/// Over as many connections as there are requests at the same time.
async fn get(job: &Job) -> usize {
    let each = (0..job.parallel).map(|_| async {
        let mut sender = http(job).await;
        for _ in 0..job.size * job.times / job.parallel {
            let answer = send(&mut sender, job, "configmaps/settings").await;
            let body = answer
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            let map: ConfigMap = serde_json::from_slice(&body).expect("a map");
            assert!(map.data.is_some());
        }
        job.size * job.times / job.parallel
    });
    join_all(each).await.into_iter().sum()
}

async fn log(job: &Job) -> usize {
    let mut body = send(&mut http(job).await, job, "pods/x/log")
        .await
        .into_body();
    let mut done = 0;
    while let Some(frame) = body.frame().await {
        done += usize::from(frame.expect("a frame").is_data());
    }
    done
}

async fn session(job: &Job) -> usize {
    let total = job.size << 20;
    let (path, protocol) = match job.work {
        Work::ExecStdin => ("pods/x/exec?stdin=true", "v5.channel.k8s.io"),
        Work::ExecStdout => ("pods/x/exec?stdout=true", "v5.channel.k8s.io"),
        Work::ForwardUp => ("pods/up/portforward?ports=80", "v4.channel.k8s.io"),
        _ => ("pods/down/portforward?ports=80", "v4.channel.k8s.io"),
    };
    let url = format!(
        "ws://{}/api/v1/namespaces/{}/{path}",
        authority(job),
        namespace(job)
    );
    let mut request = url.into_client_request().expect("a URL");
    let header = http::HeaderValue::from_static(protocol);
    request
        .headers_mut()
        .insert("sec-websocket-protocol", header);
    let handshake = tokio_tungstenite::client_async(request, connect(job).await);
    let (mut socket, _): (WebSocketStream<TcpStream>, _) = handshake.await.expect("a session");
    if matches!(job.work, Work::ExecStdin | Work::ForwardUp) {
        let message = Bytes::from(vec![0; 1 + WRITE]);
        for _ in 0..total / WRITE {
            let message = Message::Binary(message.clone());
            socket.send(message).await.expect("it is taken");
        }
        let _ = socket.next().await;
        return total;
    }
    let mut done = 0;
    while done < total
        && let Some(message) = socket.next().await
    {
        let len = message.expect("a message").len();
        // The ports are announced in three bytes each.
        done += if len == 3 { 0 } else { len - 1 };
    }
    done
}
