//! What the tests of the reflector share.

#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(unreachable_pub, reason = "a module of several tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kubewire::meta::{ListMeta, MetaView};
use kubewire::reflect::{
    Backoff, ListMode, ReflectEvent, Reflector, ReflectorConfig, Want, WantId,
};
use kubewire::stream::{Bookmark, WatchEvent};
use kubewire::{Api, ApiResource, Call, Dynamic, End, Error, Limits, Namespace, Object, Raw, Verb};
use serde_json::Value;

pub const PODS: ApiResource = ApiResource::core("Pod", "pods");

pub fn paged() -> ReflectorConfig {
    ReflectorConfig::default().list_mode(ListMode::Paged)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An exchange with Kubernetes v1.36.
#[expect(clippy::disallowed_methods, reason = "the recordings are files")]
pub fn recording(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/reflect")
        .join(name)
        .with_extension("json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The smallest object there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Thing {
    pub name: String,
    pub uid: String,
    pub version: String,
}

impl Object for Thing {
    fn meta(&self) -> MetaView<'_> {
        let mut meta = MetaView::default();
        meta.name = Some(&self.name);
        meta.namespace = Some("n");
        meta.uid = Some(&self.uid);
        meta.resource_version = Some(&self.version);
        meta
    }
}

pub fn thing(name: &str, version: u64) -> Thing {
    Thing {
        name: name.to_owned(),
        uid: format!("u{name}"),
        version: version.to_string(),
    }
}

pub fn dynamic(name: &str, version: u64) -> Dynamic {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("u{name}"), "resourceVersion": version.to_string()}
    }))
    .unwrap()
}

pub fn api<K>() -> Api<K> {
    Api::of(PODS, Namespace::All)
}

pub fn bookmark<K>(version: u64, end: bool) -> WatchEvent<K> {
    let mut bookmark = Bookmark::default();
    bookmark.resource_version = version.to_string();
    bookmark.initial_events_end = end;
    WatchEvent::Bookmark(bookmark)
}

pub fn list_meta(version: u64, token: Option<&str>) -> ListMeta {
    let mut meta = ListMeta::default();
    meta.resource_version = Some(version.to_string());
    meta.continue_token = token.map(str::to_owned);
    meta
}

/// What a client gets for a failed answer.
pub fn refused(code: u16, headers: &[(&str, &str)], body: &str) -> Error {
    let request = http::Request::new(Bytes::new());
    let (_, mut exchange) = Call::new(Verb::Get, request, Raw::default()).begin(&Limits::default());
    let mut head = http::Response::builder().status(code);
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    exchange
        .handle_head(&head.body(()).unwrap().into_parts().0)
        .unwrap();
    exchange
        .handle_data(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    exchange.handle_end(End::Clean).unwrap_err()
}

pub fn status(code: u16, reason: &str) -> Error {
    let body = format!(
        r#"{{"kind":"Status","status":"Failure","metadata":{{}},"reason":"{reason}","code":{code},"message":"m"}}"#
    );
    refused(code, &[], &body)
}

pub fn expired(token: Option<&str>) -> Error {
    let token = token.unwrap_or_default();
    refused(
        410,
        &[],
        &format!(
            r#"{{"kind":"Status","metadata":{{"continue":"{token}"}},"status":"Failure","reason":"Expired","code":410}}"#
        ),
    )
}

pub fn too_large() -> Error {
    refused(
        504,
        &[("retry-after", "1")],
        r#"{"kind":"Status","metadata":{},"status":"Failure","reason":"Timeout","code":504,
            "details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}]}}"#,
    )
}

/// A failure after which the server wants to be left alone for ever.
pub fn endless_retry_after() -> Error {
    let error = refused(503, &[("retry-after", "18446744073709551615")], "");
    assert_eq!(error.retry_after(), Some(secs(u64::MAX)));
    error
}

pub fn endless_backoff() -> Backoff {
    Backoff::default()
        .first(Duration::MAX)
        .cap(Duration::MAX)
        .quiet(Duration::MAX)
        .max_retry_after(Duration::MAX)
}

/// The error of an object that does not decode, in an event of this type or, without one, in a list.
pub fn bad(event: Option<&str>, json: &str) -> Error {
    #[derive(serde::Deserialize)]
    struct Strict {
        #[serde(rename = "spec")]
        _spec: u32,
    }
    impl Object for Strict {
        fn meta(&self) -> MetaView<'_> {
            MetaView::default()
        }
    }
    use kubewire::Operation as _;
    let api = api::<Strict>();
    let Some(event) = event else {
        let call = api.list().items().into_call().unwrap();
        return first_error(call, &format!(r#"{{"items":[{json}]}}"#));
    };
    let call = api.watch().into_call().unwrap();
    first_error(
        call,
        &format!("{{\"type\":\"{event}\",\"object\":{json}}}\n"),
    )
}

fn first_error<D: kubewire::Decode>(call: Call<D>, body: &str) -> Error {
    let (_, mut exchange) = call.begin(&Limits::default());
    exchange
        .handle_head(&http::Response::new(()).into_parts().0)
        .unwrap();
    exchange
        .handle_data(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    match exchange.poll_item() {
        Err(error) => error,
        Ok(_) => panic!("no error"),
    }
}

/// A parameter of the request.
pub fn query<'a>(uri: &'a http::Uri, key: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == key).then_some(value))
}

/// A reflector under a hand-driven clock.
pub struct Bench {
    pub reflector: Reflector<Thing>,
    pub now: Instant,
    pub start: Instant,
    pub requests: u64,
}

impl Bench {
    pub fn new(config: ReflectorConfig) -> Self {
        let start = Instant::now_for_tests();
        Self {
            reflector: Reflector::new(api(), config, 7).unwrap(),
            now: start,
            start,
            requests: 0,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The next request, waiting for it if need be; how long that took.
    pub fn want(&mut self) -> (WantId, http::Uri, Duration) {
        let before = self.now;
        for _ in 0..10 {
            if let Some((id, want)) = self.poll() {
                self.requests += 1;
                return (id, want.request().uri().clone(), self.now - before);
            }
            let (at, _) = self.reflector.poll_timeout().expect("stuck");
            self.now = self.now.max(at);
            self.reflector.handle_timeout(self.now);
        }
        panic!("no want: {:?}", self.reflector);
    }

    pub fn poll(&mut self) -> Option<(WantId, Want<Thing>)> {
        let want = self.reflector.poll_want(self.now)?;
        // Never two at once.
        assert!(self.reflector.poll_want(self.now).is_none());
        Some(want)
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.reflector.handle_timeout(self.now);
    }

    pub fn event(&mut self, id: WantId, event: WatchEvent<Thing>) {
        self.reflector.handle_event(id, event, self.now);
    }

    pub fn end(&mut self, id: WantId, result: Result<End, Error>) {
        self.reflector.handle_end(id, result, self.now);
    }

    pub fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.reflector.poll_event())
            .map(|event| show(&event))
            .collect()
    }

    /// Lists nothing in one page, and gives the watch that follows.
    pub fn listed(&mut self, version: u64) -> WantId {
        let (id, uri, _) = self.want();
        assert_eq!(query(&uri, "watch"), None, "{uri}");
        self.reflector
            .handle_page(id, &list_meta(version, None), self.now);
        let (id, uri, _) = self.want();
        assert_eq!(
            query(&uri, "resourceVersion"),
            Some(version.to_string().as_str()),
            "{uri}"
        );
        self.events();
        id
    }
}

pub fn show(event: &ReflectEvent<Thing>) -> String {
    match event {
        ReflectEvent::Init => "init".to_owned(),
        ReflectEvent::InitApply(thing) => format!("+{}@{}", thing.name, thing.version),
        ReflectEvent::InitDone { resource_version } => format!("done@{resource_version}"),
        ReflectEvent::Apply(thing) => format!("{}@{}", thing.name, thing.version),
        ReflectEvent::Delete(thing) => format!("-{}@{}", thing.name, thing.version),
        ReflectEvent::Bad(error) => format!(
            "bad {}",
            error.bad_object().and_then(|bad| bad.name.clone()).unwrap()
        ),
        ReflectEvent::Stale(reason) => {
            let text = format!("{reason:?}");
            let end = text.find(|char: char| !char.is_alphanumeric());
            format!("stale {}", &text[..end.unwrap_or(text.len())])
        }
        ReflectEvent::Fresh => "fresh".to_owned(),
        _ => panic!("unknown"),
    }
}

/// The only clock of these tests, read once a test.
pub trait TestClock {
    fn now_for_tests() -> Self;
}

impl TestClock for Instant {
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn now_for_tests() -> Self {
        Self::now()
    }
}
