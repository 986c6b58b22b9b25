//! Answers that were recorded from Kubernetes v1.36 drive the documented transitions, however they are cut.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reflect_support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use kubewire::reflect::{ListMode, ReflectEvent, Reflector, ReflectorConfig, Store, Want, WantId};
use kubewire::stream::WatchEvent;
use kubewire::{Dynamic, End, Limits};
use reflect_support::*;
use serde_json::Value;

/// Gives a recorded answer to a want: what every driver does.
fn carry(
    reflector: &mut Reflector<Dynamic>,
    (id, want): (WantId, Want<Dynamic>),
    recording: &Value,
    cut: usize,
    now: Instant,
) {
    let response = &recording["response"];
    let (_, mut exchange) = want.into_call().begin(&Limits::default());
    let code = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
    let mut head = http::Response::builder().status(code);
    for header in response["headers"].as_array().unwrap() {
        head = head.header(header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    exchange
        .handle_head(&head.body(()).unwrap().into_parts().0)
        .unwrap();
    let mut drain = |exchange: &mut kubewire::Exchange<_>| {
        loop {
            match exchange.poll_item() {
                Ok(Some(answer)) => reflector.handle_answer(id, answer, now),
                Ok(None) => return,
                Err(error) if error.kind() == kubewire::ErrorKind::Object => {
                    reflector.handle_error(id, error, now);
                }
                Err(error) => {
                    reflector.handle_error(id, error, now);
                    return;
                }
            }
        }
    };
    drain(&mut exchange);
    for chunk in response["chunks"].as_array().unwrap() {
        for part in chunk["text"].as_str().unwrap().as_bytes().chunks(cut) {
            // What goes wrong comes out of the next poll.
            drop(exchange.handle_data(Bytes::copy_from_slice(part)));
            drain(&mut exchange);
        }
    }
    let clean = matches!(
        response["end"].as_str().unwrap(),
        "content-length" | "last-chunk" | "no-body"
    );
    drop(exchange.handle_end(if clean { End::Clean } else { End::Truncated }));
    drain(&mut exchange);
}

fn mode(stage: &str) -> ListMode {
    if stage == "stream" {
        ListMode::Streaming
    } else {
        ListMode::Paged
    }
}

struct Play {
    reflector: Reflector<Dynamic>,
    now: Instant,
}

impl Play {
    fn new(mode: ListMode) -> Self {
        let config = ReflectorConfig::default().list_mode(mode);
        Self {
            reflector: Reflector::new(api(), config, 3).unwrap(),
            now: Instant::now_for_tests(),
        }
    }

    /// The next request, in short, and after how long.
    fn next(&mut self) -> (String, Duration, (WantId, Want<Dynamic>)) {
        let before = self.now;
        loop {
            if let Some((id, want)) = self.reflector.poll_want(self.now) {
                let uri = want.request().uri();
                let mut text = match (query(uri, "watch"), query(uri, "sendInitialEvents")) {
                    (None, _) => "page".to_owned(),
                    (_, Some(_)) => "stream".to_owned(),
                    _ => "watch".to_owned(),
                };
                if let Some(version) = query(uri, "resourceVersion") {
                    text = format!("{text}@{version}");
                }
                if let Some(token) = query(uri, "continue") {
                    text = format!("{text}+{token}");
                }
                if text == "page" && query(uri, "limit").is_none() {
                    "all".clone_into(&mut text);
                }
                return (text, self.now - before, (id, want));
            }
            let (at, _) = self.reflector.poll_timeout().unwrap();
            self.now = at;
            self.reflector.handle_timeout(at);
        }
    }

    fn events(&mut self) -> String {
        let mut texts = Vec::new();
        while let Some(event) = self.reflector.poll_event() {
            texts.push(match event {
                ReflectEvent::Init => "init".to_owned(),
                ReflectEvent::InitApply(object) => format!("+{}", object.metadata.name.unwrap()),
                ReflectEvent::InitDone { resource_version } => format!("done@{resource_version}"),
                ReflectEvent::Apply(object) => object.metadata.name.unwrap(),
                ReflectEvent::Delete(object) => format!("-{}", object.metadata.name.unwrap()),
                ReflectEvent::Bad(error) => format!("bad {error}"),
                ReflectEvent::Stale(reason) => {
                    let text = format!("{reason:?}");
                    text[..text
                        .find(|char: char| !char.is_alphanumeric())
                        .unwrap_or(text.len())]
                        .to_owned()
                }
                ReflectEvent::Fresh => "fresh".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        texts.join(" ")
    }

    /// Plays until the request of this sort is out.
    fn until(&mut self, stage: &str) -> (WantId, Want<Dynamic>) {
        let (text, _, want) = self.next();
        if text == stage {
            return want;
        }
        let (id, _) = want;
        if stage == "page+t" {
            self.reflector
                .handle_page(id, &list_meta(10, Some("t")), self.now);
        } else {
            self.reflector
                .handle_page(id, &list_meta(10, None), self.now);
        }
        let (text, _, want) = self.next();
        assert_eq!(text, stage);
        self.events();
        want
    }
}

/// The recording, what was asked, what is asked next, whether that waits, what is told.
type Row = (&'static str, &'static str, &'static str, bool, &'static str);

const FAILURES: &[Row] = &[
    // The version is too old, in an ERROR event of a 200.
    ("watch-rv-1", "watch@10", "all", false, "Expired"),
    ("watch-metadata-error", "watch@10", "all", false, "Expired"),
    ("watch-rv-1", "stream", "stream", false, "Expired"),
    // As HTTP status.
    ("list-rv-exact-1", "watch@10", "all", false, "Expired"),
    ("expired-exact", "page", "page", false, "Expired"),
    ("expired-exact-limit", "page", "page", false, "Expired"),
    ("expired-exact", "stream", "stream", false, "Expired"),
    ("expired-continue", "page+t", "page", false, "Expired"),
    // The server lags.
    (
        "watch-list-rv-too-large",
        "stream",
        "stream",
        true,
        "Behind",
    ),
    (
        "watch-list-rv-too-large",
        "watch@10",
        "watch@10",
        true,
        "Behind",
    ),
    ("list-rv-too-large", "page", "page", true, "Behind"),
    ("list-rv-too-large", "watch@10", "watch@10", true, "Behind"),
    // A timeout in the server, as text/plain.
    ("list-timeout-parameter", "page", "page", true, "Refused"),
    (
        "list-timeout-parameter",
        "watch@10",
        "watch@10",
        true,
        "Refused",
    ),
    ("etcd-stopped-list", "page+t", "page+t", true, "Refused"),
    // No streaming lists.
    ("watch-list-match-exact", "stream", "page", false, ""),
    ("watch-list-no-match", "stream", "page", false, ""),
    ("list-send-initial-events", "stream", "page", false, ""),
    ("watch-unknown-resource", "stream", "page", false, ""),
    // Not here, not so, not you.
    ("watch-unknown-resource", "page", "page", true, "Refused"),
    (
        "watch-unknown-resource",
        "watch@10",
        "page",
        true,
        "Refused",
    ),
    (
        "watch-named-path-not-found",
        "watch@10",
        "page",
        true,
        "Refused",
    ),
    (
        "custom-list-after-crd-delete",
        "watch@10",
        "page",
        true,
        "Refused",
    ),
    ("watch-selector-bad", "watch@10", "page", true, "Refused"),
    ("list-label-bad", "page", "page", true, "Refused"),
    ("list-limit-not-a-number", "page", "page", true, "Refused"),
    ("list-rv-not-a-number", "watch@10", "page", true, "Refused"),
    ("list-rv-exact-0", "page", "page", true, "Refused"),
    ("list-metadata-singular", "page", "page", true, "Refused"),
    ("viewer-unknown-resource", "page", "page", true, "Refused"),
    (
        "viewer-unknown-resource",
        "watch@10",
        "watch@10",
        true,
        "Refused",
    ),
    ("list-continue-invalid", "page+t", "page", true, "Refused"),
    (
        "list-continue-with-match",
        "page+t",
        "page+t",
        true,
        "Refused",
    ),
    // The fault of the version, though it is a 500: seen after some.
    ("watch-rv-bad", "watch@10", "watch@10", true, "Refused"),
    ("throttled", "page", "page", true, "Refused"),
    ("throttled", "stream", "stream", true, "Refused"),
    ("throttled", "watch@10", "watch@10", true, "Refused"),
    (
        "aggregated-unavailable-watch",
        "watch@10",
        "watch@10",
        true,
        "Refused",
    ),
    // The server is killed.
    (
        "apiserver-killed-watch",
        "watch@10",
        "watch@10",
        false,
        "Cut",
    ),
    ("apiserver-killed-watch", "stream", "stream", false, "Cut"),
    (
        "apiserver-killed-watch-bookmarks",
        "stream",
        "stream",
        false,
        "init +kube-root-ca.crt Cut",
    ),
];

#[test]
fn every_recorded_failure_leads_on() {
    for (name, stage, next, waits, events) in FAILURES {
        let recording = recording(name);
        for cut in [1, 7, usize::MAX] {
            let mut play = Play::new(mode(stage));
            let want = play.until(stage);
            carry(&mut play.reflector, want, &recording, cut, play.now);
            assert_eq!(play.events(), *events, "{name} for {stage}");
            let (text, waited, _) = play.next();
            assert_eq!(text, *next, "{name} for {stage}");
            assert_eq!(!waited.is_zero(), *waits, "{name} for {stage}: {waited:?}");
        }
    }
}

#[test]
fn recorded_watches_are_followed_and_resumed() {
    for (name, stage, next, events) in [
        ("watch-list-empty", "stream", "watch@7734", "init done@7734"),
        ("watch-rv-past", "watch@10", "watch@7729", "old -new1"),
        ("watch-timeout-2s", "watch@10", "watch@10", ""),
        ("watch-rv-too-large", "watch@10", "watch@10", ""),
        ("watch-bookmark-shape-pods", "watch@10", "watch@7788", ""),
        (
            "watch-label-leaves",
            "watch@10",
            "watch@7743",
            "-leaver leaver -leaver",
        ),
    ] {
        let recording = recording(name);
        for cut in [1, usize::MAX] {
            let mut play = Play::new(mode(stage));
            let want = play.until(stage);
            // They ended by their time: not at once, as it were.
            let late = play.now + Duration::from_mins(5);
            carry(&mut play.reflector, want, &recording, cut, late);
            assert_eq!(play.events(), events, "{name}");
            play.now = late;
            let (text, waited, _) = play.next();
            assert_eq!((text.as_str(), waited), (next, Duration::ZERO), "{name}");
        }
    }
}

#[test]
fn a_recorded_list_over_pages_fills_a_store() {
    let mut play = Play::new(ListMode::Paged);
    let mut store = Store::new();
    for (name, next) in [
        ("list-page-1", "page+"),
        ("list-page-2", "page+"),
        ("list-page-3", "watch@"),
    ] {
        let (_, _, want) = play.next();
        carry(&mut play.reflector, want, &recording(name), 100, play.now);
        while let Some(event) = play.reflector.poll_event() {
            store.apply(event);
        }
        assert_eq!(store.is_ready(), name == "list-page-3");
        let (id, want) = play.reflector.poll_want(play.now).unwrap();
        // Put it back: a want that is not answered is made again.
        let uri = want.request().uri().to_string();
        match next {
            "page+" => assert!(uri.contains("continue="), "{uri}"),
            _ => assert!(uri.contains("watch=true&resourceVersion="), "{uri}"),
        }
        carry_back(&mut play, id);
    }
    assert_eq!(store.len(), 7);
    assert_eq!(store.labelled(&[("set", "golden")]).count(), 7);
}

/// Lets a request fail, so that it is made once more.
fn carry_back(play: &mut Play, id: WantId) {
    let error = kubewire::Error::new(kubewire::ErrorKind::Transport, "not now");
    play.reflector.handle_end(id, Err(error), play.now);
}

#[test]
fn a_token_from_an_expired_answer_goes_on() {
    let config = ReflectorConfig::default()
        .list_mode(ListMode::Paged)
        .on_expired(kubewire::reflect::OnExpired::GoOn);
    let mut play = Play::new(ListMode::Paged);
    play.reflector = Reflector::new(api(), config, 3).unwrap();
    let (text, _, want) = play.next();
    assert_eq!(text, "page");
    carry(
        &mut play.reflector,
        want,
        &recording("expired-page-1"),
        50,
        play.now,
    );
    let (text, _, want) = play.next();
    assert!(text.starts_with("page+"), "{text}");
    carry(
        &mut play.reflector,
        want,
        &recording("expired-continue"),
        50,
        play.now,
    );
    let (fresh, _, want) = play.next();
    assert!(fresh.starts_with("page+") && fresh != text, "{fresh}");
    carry(
        &mut play.reflector,
        want,
        &recording("expired-continue-inconsistent"),
        50,
        play.now,
    );
    assert!(play.events().contains("Expired"));
    let (third, ..) = play.next();
    assert!(third.starts_with("page+"), "{third}");
}

#[test]
fn a_late_answer_of_a_recorded_list_changes_nothing() {
    let mut play = Play::new(ListMode::Paged);
    let (_, _, (old, want)) = play.next();
    play.now += Duration::from_mins(1);
    play.reflector.handle_timeout(play.now);
    assert_eq!(play.reflector.poll_cancel(), Some(old));
    play.events();
    let (_, _, (new, _)) = play.next();
    carry(
        &mut play.reflector,
        (old, want),
        &recording("list-page-3"),
        usize::MAX,
        play.now,
    );
    assert_eq!(play.events(), "");
    play.reflector
        .handle_event(old, WatchEvent::Added(dynamic("x", 1)), play.now);
    play.reflector
        .handle_page(new, &list_meta(5, None), play.now);
    assert_eq!(play.events(), "init done@5 fresh");
}
