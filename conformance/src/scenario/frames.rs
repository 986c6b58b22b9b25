//! HTTP/2 frame by frame: streams that are refused or reset, connections that go away, and limits of the server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, join_all, select};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::config::Config;
use kubewire::policy::Retry;
use kubewire::{Endpoint, Error, ErrorKind};
use kubewire_driver::{Client, Drive};

use super::pods::{failure, map};
use super::{Calls, Env};
use crate::peers::{Asked, Frame, Manner, Peer, code};
use crate::server::Server;

driven! { Faults;
    a_refused_stream_is_asked_for_again;
    what_a_goaway_leaves_out_is_asked_again;
    what_a_goaway_includes_is_finished;
    a_connection_that_ends_after_its_goaway_is_broken;
    a_stream_that_is_reset_is_no_reason_to_create_twice;
    a_body_that_is_reset_is_cut_off;
    a_refusal_of_the_rest_of_a_request_is_an_answer;
    what_is_no_http2_is_told_as_such;
    calls_beyond_the_servers_limit_of_streams_wait;
    calls_do_not_wait_behind_watches;
    settings_that_come_late_hold_up_nobody;
}

/// More than this is a hang.
const PATIENCE: Duration = Duration::from_secs(20);

const OBJECT: &str = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}"#;

/// A right answer.
fn good(asked: Asked) -> Vec<Frame> {
    let status = if asked.posts { 201 } else { 200 };
    vec![
        Frame::Head(asked.stream, status),
        Frame::Data(asked.stream, OBJECT, true),
    ]
}

struct Bench<'a, R: Drive> {
    env: &'a Env<R>,
    client: Client<R>,
    peer: Peer,
}

impl<'a, R: Drive> Bench<'a, R> {
    fn new(
        env: &'a Env<R>,
        manner: Manner,
        script: impl FnMut(Asked) -> Vec<Frame> + Send + 'static,
    ) -> Self {
        Self::with(env, manner, Retry::default(), script)
    }

    fn with(
        env: &'a Env<R>,
        manner: Manner,
        retry: Retry,
        script: impl FnMut(Asked) -> Vec<Frame> + Send + 'static,
    ) -> Self {
        // It lends its certificate.
        let server = Server::builder().tls(true).start().expect("a server");
        let tls = server.tls_config().expect("a certificate");
        let mut tls = rustls::ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let peer = Peer::frames(manner, script).expect("a server");
        let peer = peer.behind_tls(Arc::new(tls)).expect("TLS");
        let endpoint = Endpoint::parse(&format!("https://{}", peer.address())).expect("a URL");
        let config = Config::new(endpoint).ca_pem(server.ca_pem().expect("an authority"));
        let client = env.builder_with(config).retry(retry).build();
        Self {
            env,
            client: client.expect("a client"),
            peer,
        }
    }

    /// As the first request is answered in this way, and others right.
    fn first(env: &'a Env<R>, first: fn(Asked) -> Vec<Frame>) -> Self {
        Self::new(env, Manner::default(), move |asked| {
            if asked.before == 0 {
                first(asked)
            } else {
                good(asked)
            }
        })
    }

    async fn get(&self) -> Result<ConfigMap, Error> {
        let get = self.client.send(self.env.api::<ConfigMap>().get("a"));
        self.env.within(PATIENCE, get).await.expect("an answer")
    }

    async fn create(&self) -> Result<ConfigMap, Error> {
        let map = map("a", "green");
        let create = self.client.send(self.env.api().create(&map));
        self.env.within(PATIENCE, create).await.expect("an answer")
    }

    fn asked(&self) -> usize {
        self.peer.received().len()
    }

    /// The client goes on.
    async fn works(&self) {
        self.get().await.expect("a map");
        self.create().await.expect("a map");
    }
}

async fn a_refused_stream_is_asked_for_again<R: Drive>(env: &Env<R>) {
    let refuse = |asked: Asked| vec![Frame::Reset(asked.stream, code::REFUSED_STREAM)];
    let bench = Bench::first(env, refuse);
    bench.get().await.expect("the second time");
    assert_eq!(bench.asked(), 2);
    bench.works().await;

    // Even a create: a refused stream is one that nobody has looked at.
    let bench = Bench::first(env, refuse);
    bench.create().await.expect("the second time");
    let bodies: BTreeSet<_> = bench.peer.received().into_iter().map(|r| r.body).collect();
    assert_eq!((bench.asked(), bodies.len()), (2, 1));
    bench.works().await;

    let always = move |asked: Asked| refuse(asked);
    let bench = Bench::with(env, Manner::default(), Retry::never(), always);
    let error = failure(bench.create().await);
    assert_eq!((error.kind(), bench.asked()), (ErrorKind::Transport, 1));
}

async fn what_a_goaway_leaves_out_is_asked_again<R: Drive>(env: &Env<R>) {
    const FIRST: [fn(Asked) -> Vec<Frame>; 3] = [
        |_| vec![Frame::GoAway(0, code::NO_ERROR)],
        |_| vec![Frame::GoAway(0, code::ENHANCE_YOUR_CALM), Frame::Close],
        |_| vec![Frame::GoAway(0, code::INTERNAL_ERROR), Frame::Close],
    ];
    for first in FIRST {
        let bench = Bench::first(env, first);
        bench.create().await.expect("over another connection");
        assert_eq!(bench.asked(), 2);
        bench.works().await;
    }
}

async fn what_a_goaway_includes_is_finished<R: Drive>(env: &Env<R>) {
    let bench = Bench::first(env, |asked| {
        let mut frames = good(asked);
        frames.insert(0, Frame::GoAway(asked.stream, code::NO_ERROR));
        frames.insert(2, Frame::GoAway(asked.stream, code::NO_ERROR));
        frames
    });
    bench.create().await.expect("a map");
    assert_eq!(bench.asked(), 1);
    bench.works().await;
}

async fn a_connection_that_ends_after_its_goaway_is_broken<R: Drive>(env: &Env<R>) {
    let first = |asked: Asked| {
        vec![
            Frame::GoAway(asked.stream, code::ENHANCE_YOUR_CALM),
            Frame::Close,
        ]
    };
    only_reads_are_repeated(env, first).await;
}

/// After this answer to the first request.
async fn only_reads_are_repeated<R: Drive>(env: &Env<R>, first: fn(Asked) -> Vec<Frame>) {
    let bench = Bench::first(env, first);
    let error = failure(bench.create().await);
    assert_eq!((error.kind(), bench.asked()), (ErrorKind::Transport, 1));
    bench.works().await;

    let bench = Bench::first(env, first);
    bench.get().await.expect("a read may be repeated");
    assert_eq!(bench.asked(), 2);
}

async fn a_stream_that_is_reset_is_no_reason_to_create_twice<R: Drive>(env: &Env<R>) {
    const FIRST: [fn(Asked) -> Vec<Frame>; 3] = [
        |asked| vec![Frame::Reset(asked.stream, code::INTERNAL_ERROR)],
        |asked| vec![Frame::Reset(asked.stream, code::CANCEL)],
        |asked| vec![Frame::Reset(asked.stream, code::ENHANCE_YOUR_CALM)],
    ];
    for first in FIRST {
        only_reads_are_repeated(env, first).await;
    }
}

async fn a_body_that_is_reset_is_cut_off<R: Drive>(env: &Env<R>) {
    fn half(asked: Asked, code: u32) -> Vec<Frame> {
        vec![
            Frame::Head(asked.stream, if asked.posts { 201 } else { 200 }),
            Frame::Data(asked.stream, &OBJECT[..20], false),
            Frame::Reset(asked.stream, code),
        ]
    }
    const FIRST: [fn(Asked) -> Vec<Frame>; 3] = [
        |asked| half(asked, code::INTERNAL_ERROR),
        |asked| half(asked, code::CANCEL),
        |asked| half(asked, code::NO_ERROR),
    ];
    for first in FIRST {
        let bench = Bench::first(env, first);
        let error = failure(bench.get().await);
        assert_eq!((error.kind(), bench.asked()), (ErrorKind::Truncated, 1));
        bench.works().await;
        let bench = Bench::first(env, first);
        let error = failure(bench.create().await);
        assert_eq!((error.kind(), bench.asked()), (ErrorKind::Truncated, 1));
        bench.works().await;
    }
}

/// RFC 9113, section 8.1: a server that has answered may ask for the rest not to be sent.
async fn a_refusal_of_the_rest_of_a_request_is_an_answer<R: Drive>(env: &Env<R>) {
    let manner = Manner {
        hasty: true,
        ..Manner::default()
    };
    let bench = Bench::new(env, manner, |asked| {
        if asked.before > 0 {
            return good(asked);
        }
        vec![
            Frame::Head(asked.stream, 413),
            Frame::Data(asked.stream, "{}", true),
            Frame::Reset(asked.stream, code::NO_ERROR),
        ]
    });
    let large = map("a", &"x".repeat(1 << 20));
    let create = bench.client.send(env.api().create(&large));
    let error = failure(env.within(PATIENCE, create).await.expect("an answer"));
    assert_eq!(
        error.code().map(|code| code.as_u16()),
        Some(413),
        "{error:?}"
    );
    bench.works().await;
}

async fn what_is_no_http2_is_told_as_such<R: Drive>(env: &Env<R>) {
    const TEXTS: [&[u8]; 2] = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nhunter2",
        // A frame for a stream that nobody has opened.
        &[0, 0, 0, 1, 5, 0, 0, 0, 99],
    ];
    for text in TEXTS {
        let bench = Bench::new(env, Manner::default(), move |asked| {
            if asked.before == 0 {
                vec![Frame::Bytes(text.to_vec())]
            } else {
                good(asked)
            }
        });
        let error = failure(bench.create().await);
        let text = format!("{error} {error:?}");
        assert_eq!(
            (error.kind(), bench.asked()),
            (ErrorKind::Peer, 1),
            "{text}"
        );
        assert!(text.contains("HTTP") && !text.contains("hunter2"), "{text}");
        bench.works().await;
    }
}

/// The connections that requests came by.
type Connections = Arc<Mutex<BTreeSet<usize>>>;

fn lock(connections: &Connections) -> MutexGuard<'_, BTreeSet<usize>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn calls_beyond_the_servers_limit_of_streams_wait<R: Drive>(env: &Env<R>) {
    let manner = Manner {
        max_streams: Some(1),
        ..Manner::default()
    };
    let bench = Bench::new(env, manner, good);
    for result in join_all((0..20).map(|_| bench.get())).await {
        result.expect("a map");
    }
    for result in join_all((0..20).map(|_| bench.create())).await {
        result.expect("a map");
    }
    assert_eq!(bench.asked(), 40);
}

async fn calls_do_not_wait_behind_watches<R: Drive>(env: &Env<R>) {
    for late in [false, true] {
        let manner = Manner {
            max_streams: Some(1),
            late,
            ..Manner::default()
        };
        let connections = Connections::default();
        let seen = connections.clone();
        let bench = Bench::new(env, manner, move |asked| {
            lock(&seen).insert(asked.connection);
            // Watches that are silent.
            if asked.before < 3 {
                vec![Frame::Head(asked.stream, 200)]
            } else {
                good(asked)
            }
        });
        let mut watches: Vec<_> = (0..3)
            .map(|_| bench.client.stream(env.api::<ConfigMap>().watch()))
            .collect();
        let arrived = async {
            while bench.asked() < 3 {
                env.pause(Duration::from_millis(5)).await;
            }
        };
        let events = join_all(watches.iter_mut().map(StreamExt::next));
        let arrived = async {
            let (events, arrived) = (Box::pin(events), Box::pin(arrived));
            matches!(select(events, arrived).await, Either::Right(_))
        };
        let arrived = env.within(PATIENCE, arrived).await;
        assert_eq!(arrived, Some(true), "{} watches arrived", bench.asked());
        bench.works().await;
        assert_eq!(lock(&connections).len(), 4, "one each");
    }
}

async fn settings_that_come_late_hold_up_nobody<R: Drive>(env: &Env<R>) {
    let manner = Manner {
        late: true,
        ..Manner::default()
    };
    let connections = Connections::default();
    let seen = connections.clone();
    let bench = Bench::new(env, manner, move |asked| {
        lock(&seen).insert(asked.connection);
        good(asked)
    });
    for result in join_all((0..50).map(|_| bench.get())).await {
        result.expect("a map");
    }
    assert_eq!(lock(&connections).len(), 1, "a connection for all");
}
