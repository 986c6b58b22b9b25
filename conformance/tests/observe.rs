//! What an observer and a `tracing` subscriber see of a client's work, and what they must not see.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kubewire::{Api, ErrorKind};
use kubewire_conformance::harness;
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive, Event};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

suite!(
    every_request_is_told_from_start_to_end,
    connections_and_retries_are_told,
    an_abandoned_stream_is_told,
);

#[test]
fn a_builder_shows_no_header_that_is_a_secret() {
    let server = Server::start().expect("the server starts");
    let secret = |text| HeaderValue::from_static(text);
    let builder = harness::client(&server, kubewire_smol::SmolRuntime::new())
        .header(AUTHORIZATION, secret("Bearer s3cret"))
        .header(PROXY_AUTHORIZATION, secret("Basic s3cret"))
        .header(COOKIE, secret("session=s3cret"))
        .header(USER_AGENT, secret("visible"));
    let text = format!("{builder:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(text.contains("visible"), "{text}");
}

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

/// One line for each event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last request's end. Connections speak from tasks of their own, before it or after.
    fn last_end(&self) -> String {
        let lines = self.take().into_iter().rev();
        let mut ends = lines.filter(|line| line.starts_with("end "));
        ends.next().expect("a request ended")
    }

    fn observe(&self, event: &Event<'_>) {
        self.push(match event {
            Event::Started { request, .. } => {
                format!("start {} {}", request.method, request.template)
            }
            Event::Retrying {
                attempt, status, ..
            } => format!("retry after {attempt}: {status:?}"),
            Event::Ended {
                attempts,
                status,
                bytes,
                error,
                complete,
                ..
            } => {
                let body = if *bytes > 0 { "body" } else { "nothing" };
                let code = status.map(|code| code.as_u16());
                format!("end {code:?} {body} {attempts} {error:?} {complete}")
            }
            Event::Connected { http2, upgrade, .. } => format!("connected {http2} {upgrade}"),
            Event::Disconnected { http2, upgrade, .. } => format!("disconnected {http2} {upgrade}"),
            Event::ConnectFailed { error, .. } => format!("not connected {error:?}"),
            Event::Reauthorizing { .. } | Event::Refreshed { .. } | _ => format!("{event:?}"),
        });
    }
}

fn observed<R: Drive>(server: &Server, runtime: R) -> (Client<R>, Log) {
    let log = Log::default();
    let seen = log.clone();
    let client = harness::client(server, runtime)
        .observer(move |event: &Event<'_>| seen.observe(event))
        .build();
    (client.expect("a client"), log)
}

async fn every_request_is_told_from_start_to_end<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let (client, log) = observed(server, runtime);
    client.send(maps().list()).await.expect("a list");
    assert_eq!(
        log.take(),
        [
            "start GET /api/v1/namespaces/{namespace}/configmaps",
            "connected false false",
            "end Some(200) body 1 None true",
        ]
    );
    client
        .send(maps().get("none"))
        .await
        .expect_err("no such map");
    assert_eq!(
        log.take(),
        [
            "start GET /api/v1/namespaces/{namespace}/configmaps/{name}",
            "end Some(404) body 1 Some(Api) true",
        ]
    );
    // Each page is a request.
    let pages = client.stream(maps().list().limit(1).items());
    let items = pages.collect::<Vec<_>>().await.len();
    let ends = log
        .take()
        .into_iter()
        .filter(|line| line.starts_with("end"));
    assert_eq!(ends.count(), items.max(1));
}

async fn connections_and_retries_are_told<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let (client, log) = observed(server, runtime.clone());
    server.faults().busy_next(1, 503, 0);
    client.send(maps().list()).await.expect("a list");
    let lines = log.take();
    assert!(
        lines.contains(&"retry after 1: Some(503)".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"end Some(200) body 2 None true".to_owned()),
        "{lines:?}"
    );

    harness::run_pod(&client, "a", "sleep 60").await;
    log.take();
    let exec = Api::<Pod>::namespaced("default")
        .exec("a")
        .command(["true"]);
    let process = client.open(exec).await.expect("a session");
    process.output(b"").await.expect("output");
    drop(client);
    let mut lines = log.take();
    // That of the watch by which the pod was awaited.
    lines.retain(|line| line != "disconnected false false");
    assert_eq!(
        lines.drain(..3).collect::<Vec<_>>(),
        [
            "start GET /api/v1/namespaces/{namespace}/pods/{name}/exec",
            "connected false true",
            "end Some(101) nothing 1 None true",
        ]
    );
    let wait = async {
        while !lines.contains(&"disconnected false true".to_owned()) {
            let soon = runtime.now() + Duration::from_millis(1);
            runtime.sleep_until(soon).await;
            lines.extend(log.take());
        }
    };
    let wait = harness::within(&runtime, Duration::from_mins(1), wait).await;
    assert!(wait.is_some(), "the session's end is told");

    let (client, log) = observed(server, runtime);
    server.set_down(true);
    client
        .with_timeouts(kubewire::policy::CallTimeouts::total(
            Duration::from_millis(100),
        ))
        .send(maps().list())
        .await
        .expect_err("nobody is there");
    let last = log.last_end();
    assert!(last.starts_with("end None nothing 1 Some("), "{last}");
}

async fn an_abandoned_stream_is_told<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let (client, log) = observed(server, runtime);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".to_owned());
    client.send(maps().create(&map)).await.expect("a map");
    log.take();
    let mut watch = client.stream(maps().watch());
    watch
        .next()
        .await
        .expect("an event")
        .expect("which decodes");
    drop(watch);
    let last = log.last_end();
    assert_eq!(last, "end Some(200) body 1 None false");
}

/// A subscriber that writes down everything that the client says.
struct Notes {
    log: Log,
    spans: AtomicU64,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(format!("span {}", span.metadata().name()));
        span.record(&mut text);
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        self.log.push(text.0);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text("record".to_owned());
        values.record(&mut text);
        self.log.push(text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(format!("event {}", event.metadata().target()));
        event.record(&mut text);
        self.log.push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// hyper and h2 speak too, at level TRACE; they write no headers and no payload either.
#[test]
fn a_subscriber_sees_the_fields_and_no_secret() {
    let log = Log::default();
    let notes = Notes {
        log: log.clone(),
        spans: AtomicU64::new(0),
    };
    tracing::subscriber::set_global_default(notes).expect("there is no other");
    let server = Server::builder().tls(true).start().expect("a server");
    harness::with_server::<harness::TokioMulti>(&server, work_with_secrets);
    harness::with_server::<harness::Smol>(&server, work_with_secrets);

    let text = log.take().join("\n");
    for part in [
        "span request method=POST template=/api/v1/namespaces/{namespace}/secrets",
        "span request method=GET template=/api/v1/namespaces/{namespace}/secrets/{name}",
        "record attempt=2",
        "record status=201",
        "record status=404",
        "record bytes=",
        "record duration_ms=",
        "record error=Api",
        "event kubewire message=retrying",
        "event kubewire message=connected",
    ] {
        assert!(text.contains(part), "no {part}");
    }
    let ours: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("event h"))
        .collect();
    let ours = ours.join("\n");
    for part in [
        "hunter2",
        "well-hidden",
        "well-kept",
        server.token(),
        "aHVudGVyMg",
    ] {
        assert!(!ours.contains(part), "{part} is seen");
    }
    // What others in the same process say holds no secret either.
    for part in ["hunter2", server.token(), "aHVudGVyMg"] {
        assert!(!text.contains(part), "{part} is seen");
    }
}

async fn work_with_secrets<R: Drive>(server: &Server, client: Client<R>, _: R) {
    let secrets = Api::<Secret>::namespaced("default");
    let mut secret = Secret::default();
    secret.metadata.name = Some("well-hidden".to_owned());
    let data = [("password".to_owned(), "hunter2".to_owned())];
    secret.string_data = Some(data.into());
    server.faults().busy_next(1, 429, 0);
    client
        .send(secrets.create(&secret))
        .await
        .expect("a secret");
    client
        .send(secrets.get("well-hidden"))
        .await
        .expect("a secret");
    let selected = secrets.list().fields("metadata.name=well-hidden");
    client.send(selected).await.expect("a list");
    let error = client.send(secrets.get("well-kept")).await;
    assert_eq!(error.expect_err("none").kind(), ErrorKind::Api);
    client
        .send(secrets.delete("well-hidden"))
        .await
        .expect("deleted");
}
