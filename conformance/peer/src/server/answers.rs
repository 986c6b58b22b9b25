//! What is answered to which request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::sessions;
use crate::pods::{self, View};

/// Different events of a watch; they repeat.
const EVENTS: usize = 1000;
/// How a long body is cut: as Go's HTTP/2 server does.
const CHUNK: usize = 16 << 10;

/// A list: pods as they are shown, from which to which, of how many.
type Page = (View, usize, usize, usize);

/// Lines of a watch.
type Events = Arc<[Bytes]>;

/// Bodies that were made once.
#[derive(Default)]
pub(super) struct Answers {
    lists: Mutex<HashMap<Page, Bytes>>,
    events: Mutex<HashMap<View, Events>>,
}

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

fn streamed(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync()
}

fn once<K: Hash + Eq, V: Clone>(map: &Mutex<HashMap<K, V>>, key: K, make: impl FnOnce() -> V) -> V {
    let mut map = map.lock().expect("nobody panics");
    map.entry(key).or_insert_with(make).clone()
}

impl Answers {
    fn events(&self, view: View) -> Events {
        let make = || (0..EVENTS).map(|index| pods::event("MODIFIED", index, view).into());
        once(&self.events, view, || make().collect())
    }

    fn list(&self, view: View, total: usize, query: &Query<'_>) -> Body {
        let start = query.number("continue").unwrap_or(0).min(total);
        let limit = query
            .number("limit")
            .filter(|limit| *limit > 0)
            .unwrap_or(total);
        let end = total.min(start + limit);
        let body = once(&self.lists, (view, start, end, total), || {
            pods::list(view, start..end, total).into()
        });
        let chunks = (0..body.len().div_ceil(CHUNK))
            .map(move |index| body.slice(index * CHUNK..body.len().min((index + 1) * CHUNK)));
        streamed(stream::iter(chunks))
    }

    /// Events one at a time, as the API server flushes them; then nothing more happens.
    fn watch(&self, view: View, (pods, events): (usize, usize), query: &Query<'_>) -> Body {
        let initial = query
            .value("sendInitialEvents")
            .is_some_and(|value| value == "true");
        let added = initial.then(|| {
            let all = (0..pods).map(move |index| pods::event("ADDED", index, view).into());
            all.chain(std::iter::once(pods::initial_events_end(view).into()))
        });
        let lines = self.events(view);
        let modified = (0..events).map(move |index| lines[index % EVENTS].clone());
        let all = added.into_iter().flatten().chain(modified);
        streamed(stream::iter(all).chain(stream::pending()))
    }
}

struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next_back()
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.value(name)?.parse().ok()
    }
}

/// `n10000-500`: how many pods or MiB, and how many events.
fn amounts(namespace: &str) -> Option<(usize, usize)> {
    let (pods, events) = namespace.strip_prefix('n')?.split_once('-')?;
    Some((pods.parse().ok()?, events.parse().ok()?))
}

pub(super) fn answer(answers: &Answers, request: Request<Incoming>) -> Response<Body> {
    let query = Query(request.uri().query().unwrap_or_default());
    let accept = request.headers().get(ACCEPT);
    let metadata = accept.is_some_and(|accept| {
        String::from_utf8_lossy(accept.as_bytes()).contains("as=PartialObjectMetadata")
    });
    let view = if metadata { View::Metadata } else { View::Full };
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let ["api", "v1", "namespaces", namespace, rest @ ..] = path.as_slice() else {
        return not_found();
    };
    let amounts = amounts(namespace).unwrap_or_default();
    let body = match rest {
        ["configmaps", _] => full(pods::CONFIG_MAP),
        ["pods"] if query.value("watch").is_some() => answers.watch(view, amounts, &query),
        ["pods"] => answers.list(view, amounts.0, &query),
        ["pods", _, "log"] => log(amounts.0),
        ["pods", _, "exec"] => {
            let down = query.value("stdin").is_none_or(|value| value != "true");
            return sessions::exec(request, amounts.0 << 20, down);
        }
        ["pods", name, "portforward"] => {
            let down = *name == "down";
            return sessions::forward(request, amounts.0 << 20, down);
        }
        _ => return not_found(),
    };
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Lines of 128 bytes.
fn log(mib: usize) -> Body {
    let line = format!(
        "2026-11-23T06:19:55.000000000Z stdout F {:087}\n",
        123_456_789
    );
    let chunk = Bytes::from(line.repeat((32 << 10) / line.len()));
    streamed(stream::iter((0..mib << 5).map(move |_| chunk.clone())))
}

pub(super) fn not_found() -> Response<Body> {
    let mut response = Response::new(full(
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NotFound","code":404}"#,
    ));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
