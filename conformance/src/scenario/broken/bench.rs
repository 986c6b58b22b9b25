//! A scripted server, the forms of calls to it, and what they must come to.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::config::Config;
use kubewire::policy::Retry;
use kubewire::{Endpoint, Error, ErrorKind, Limits};
use kubewire_driver::{Client, Drive};

use crate::peers::{Peer, Received, Wire};
use crate::scenario::{Calls, Env};
use crate::suite::explain;

/// What no error may show.
const SECRETS: [&str; 2] = ["hunter2", "sesame"];

/// More than this is a hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The forms of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Get,
    List,
    Items,
    Watch,
    Log,
}

impl Form {
    pub(super) const ALL: [Self; 5] = [Self::Get, Self::List, Self::Items, Self::Watch, Self::Log];

    /// The form of a request that has come.
    fn of(request: &Received) -> Self {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        match path.rsplit('/').next() {
            Some("log") => Self::Log,
            Some("configmaps") if target.contains("watch=") => Self::Watch,
            Some("configmaps") => Self::List,
            _ => Self::Get,
        }
    }

    pub(super) fn is_json(self) -> bool {
        self != Self::Log
    }

    /// A right answer's body.
    pub(super) fn body(self) -> String {
        let object = |name| {
            format!(
                r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}"}},"data":{{"colour":"hunter2"}}}}"#
            )
        };
        match self {
            Self::Get => object("a"),
            Self::List | Self::Items => format!(
                r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{},{}]}}"#,
                object("a"),
                object("b")
            ),
            Self::Watch => ["a", "b"]
                .map(object)
                .iter()
                .fold(String::new(), |mut all, object| {
                    let _ = writeln!(all, r#"{{"type":"ADDED","object":{object}}}"#);
                    all
                }),
            Self::Log => "hunter2 went in\nhunter2 came out\n".to_owned(),
        }
    }

    /// How many items are in it.
    fn items(self) -> usize {
        if self == Self::Get { 1 } else { 2 }
    }

    /// A right answer.
    pub(super) fn answer(self) -> Wire {
        sized(self, "", self.body().as_bytes())
    }
}

pub(super) fn head(form: Form, fields: &str) -> String {
    let kind = if form.is_json() {
        "application/json"
    } else {
        "text/plain"
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{fields}\r\n")
}

pub(super) fn with_head(form: Form, fields: &str, body: &[u8]) -> Wire {
    Wire::new([head(form, fields).as_bytes(), body].concat())
}

pub(super) fn sized(form: Form, fields: &str, body: &[u8]) -> Wire {
    with_head(
        form,
        &format!("{fields}Content-Length: {}\r\n", body.len()),
        body,
    )
}

pub(super) fn chunked(form: Form, chunks: &[u8]) -> Wire {
    with_head(form, "Transfer-Encoding: chunked\r\n", chunks)
}

pub(super) fn zipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("into memory");
    encoder.finish().expect("into memory")
}

pub(super) fn gzip(form: Form, zipped: &[u8]) -> Wire {
    sized(form, "Content-Encoding: gzip\r\n", zipped)
}

/// What a call must come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// All items.
    Whole,
    /// The end, after whatever was whole, without an error: to go on is up to the caller.
    Ends,
    /// This error with these words, after whatever was whole.
    Fails(ErrorKind, &'static str),
}

/// A peer that answers as it is told, and a client that trusts it.
pub(super) struct Bench<'a, R: Drive> {
    env: &'a Env<R>,
    pub(super) client: Client<R>,
    pub(super) peer: Peer,
    script: Arc<Mutex<VecDeque<Wire>>>,
}

impl<'a, R: Drive> Bench<'a, R> {
    /// Whatever it is not told to answer, the peer answers right.
    pub(super) fn new(env: &'a Env<R>) -> Self {
        let script = Arc::<Mutex<VecDeque<Wire>>>::default();
        let told = script.clone();
        let peer = Peer::wire(move |request| {
            let mut script = told.lock().unwrap_or_else(PoisonError::into_inner);
            script
                .pop_front()
                .unwrap_or_else(|| Form::of(request).answer())
        })
        .expect("a server");
        let endpoint = Endpoint::parse(&format!("http://{}", peer.address())).expect("a URL");
        let client = env
            .builder_with(Config::new(endpoint).token("sesame"))
            .retry(Retry::never())
            .limits(Limits {
                max_line: 4 << 10,
                max_item: 4 << 10,
                ..Limits::default()
            })
            .build()
            .expect("a client");
        Self {
            env,
            client,
            peer,
            script,
        }
    }

    pub(super) fn tell(&self, wire: Wire) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.push_back(wire);
    }

    /// How many items there were, and the error after them.
    pub(super) async fn ask(&self, client: &Client<R>, form: Form) -> (usize, Option<Error>) {
        let maps = self.env.api::<ConfigMap>();
        let answer = async {
            match form {
                Form::Get => one(client.send(maps.get("a")).await.map(|_| 1)),
                Form::List => one(client.send(maps.list()).await.map(|list| list.items.len())),
                Form::Items => count(client.stream(maps.list().items())).await,
                Form::Watch => count(client.stream(maps.watch())).await,
                Form::Log => count(client.stream(self.env.api::<Pod>().logs("a"))).await,
            }
        };
        let answer = self.env.within(PATIENCE, answer).await;
        answer.unwrap_or_else(|| panic!("{form:?} hangs"))
    }

    /// The answer is given to a call of this form, which meets its fate; the next call is answered.
    pub(super) async fn meets(&self, form: Form, what: &str, wire: Wire, fate: Fate) {
        self.meets_with(&self.client, form, what, wire, fate).await;
    }

    pub(super) async fn meets_with(
        &self,
        client: &Client<R>,
        form: Form,
        what: &str,
        wire: Wire,
        fate: Fate,
    ) {
        let before = self.peer.received().len();
        self.tell(wire);
        let (items, error) = self.ask(client, form).await;
        let place = format!("{what}, {form:?}: {items} items, {error:?}");
        let story = error.as_ref().map(explain).unwrap_or_default();
        for secret in SECRETS {
            assert!(
                !format!("{story} {error:?} {error:#?}").contains(secret),
                "{place}"
            );
        }
        assert!(items <= form.items(), "{place}");
        match fate {
            Fate::Whole => assert!(error.is_none() && items == form.items(), "{place}"),
            Fate::Ends => assert!(error.is_none(), "{place}"),
            Fate::Fails(kind, words) => {
                assert_eq!(error.map(|error| error.kind()), Some(kind), "{place}");
                assert!(story.contains(words), "{place}: {story}");
            }
        }
        assert_eq!(self.peer.received().len() - before, 1, "{place}");
        let (items, error) = self.ask(&self.client, form).await;
        assert!(
            error.is_none() && items == form.items(),
            "after {place}: {items}, {error:?}"
        );
    }
}

fn one(result: Result<usize, Error>) -> (usize, Option<Error>) {
    match result {
        Ok(items) => (items, None),
        Err(error) => (0, Some(error)),
    }
}

async fn count<T>(items: impl Stream<Item = Result<T, Error>>) -> (usize, Option<Error>) {
    let mut items = pin!(items);
    let mut whole = 0;
    while let Some(item) = items.next().await {
        match item {
            Ok(_) => whole += 1,
            // One item's own: what is wrong with the rest comes after it.
            Err(error) if error.kind() == ErrorKind::Object => {}
            Err(error) => return (whole, Some(error)),
        }
    }
    (whole, None)
}
