//! Each transition of the reflector, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reflect_support;

use std::time::Duration;

use kubewire::reflect::{Freshness, OnExpired, ReflectorConfig};
use kubewire::stream::WatchEvent;
use kubewire::{End, Error, ErrorKind};
use reflect_support::*;

/// A watch at 10 that has been quiet for long enough.
fn watching(config: ReflectorConfig) -> (Bench, kubewire::reflect::WantId) {
    let mut bench = Bench::new(config);
    let id = bench.listed(10);
    (bench, id)
}

#[test]
fn pages_are_handed_on_and_the_watch_starts_at_the_lists_version() {
    let mut bench = Bench::new(paged().labels("a=b").page_size(2));
    let (id, uri, _) = bench.want();
    assert_eq!(uri, "/api/v1/pods?labelSelector=a%3Db&limit=2");
    bench.reflector.handle_item(id, thing("a", 3), bench.now);
    assert_eq!(bench.events(), ["init", "+a@3"]);
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t1")), bench.now);
    let (id, uri, waited) = bench.want();
    assert_eq!(uri, "/api/v1/pods?labelSelector=a%3Db&limit=2&continue=t1");
    assert_eq!(waited, Duration::ZERO);
    bench.reflector.handle_item(id, thing("b", 99), bench.now);
    bench
        .reflector
        .handle_page(id, &list_meta(10, None), bench.now);
    assert_eq!(bench.events(), ["+b@99", "done@10"]);
    let (_, uri, waited) = bench.want();
    assert_eq!(waited, Duration::ZERO);
    let uri = uri.to_string();
    assert!(
        uri.starts_with("/api/v1/pods?watch=true&labelSelector=a%3Db&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds="),
        "{uri}"
    );
    let seconds: u32 = uri.rsplit('=').next().unwrap().parse().unwrap();
    assert!((300..=600).contains(&seconds));
}

#[test]
fn a_watch_goes_on_from_its_last_event_or_bookmark() {
    let (mut bench, id) = watching(paged());
    bench.event(id, WatchEvent::Modified(thing("a", 11)));
    bench.event(id, WatchEvent::Deleted(thing("a", 12)));
    bench.event(id, bookmark(20, false));
    // The same event twice does not take it back.
    bench.event(id, WatchEvent::Modified(thing("a", 11)));
    bench.pass(secs(100));
    bench.end(id, Ok(End::Clean));
    let (_, uri, waited) = bench.want();
    assert_eq!(query(&uri, "resourceVersion"), Some("20"));
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(bench.events(), ["a@11", "-a@12", "a@11"]);
}

#[test]
fn a_streaming_list_becomes_the_watch() {
    let mut bench = Bench::new(ReflectorConfig::default());
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "sendInitialEvents"), Some("true"));
    assert_eq!(query(&uri, "resourceVersionMatch"), Some("NotOlderThan"));
    assert_eq!(query(&uri, "resourceVersion"), None);
    bench.event(id, WatchEvent::Added(thing("a", 50)));
    bench.event(id, WatchEvent::Added(thing("b", 7)));
    bench.event(id, WatchEvent::Deleted(thing("a", 51)));
    assert_eq!(bench.reflector.resource_version(), None);
    bench.event(id, bookmark(60, true));
    bench.event(id, WatchEvent::Added(thing("c", 61)));
    assert_eq!(
        bench.events(),
        ["init", "+a@50", "+b@7", "-a@51", "done@60", "c@61"]
    );
    bench.pass(secs(100));
    bench.end(id, Ok(End::Clean));
    let (_, uri, _) = bench.want();
    assert_eq!(query(&uri, "resourceVersion"), Some("61"));
    assert_eq!(query(&uri, "sendInitialEvents"), None);
}

#[test]
fn versions_of_initial_events_are_never_resumed_from() {
    let mut bench = Bench::new(ReflectorConfig::default());
    let (id, ..) = bench.want();
    bench.event(id, WatchEvent::Added(thing("a", 50)));
    bench.end(id, Ok(End::Truncated));
    assert_eq!(bench.events(), ["init", "+a@50", "stale Cut"]);
    let (id, uri, waited) = bench.want();
    assert_eq!(waited, Duration::ZERO, "at once for once");
    assert_eq!(query(&uri, "resourceVersion"), None);
    bench.event(id, WatchEvent::Added(thing("b", 7)));
    bench.event(id, bookmark(60, true));
    assert_eq!(bench.events(), ["init", "+b@7", "done@60", "fresh"]);
}

#[test]
fn streaming_falls_back_to_pages() {
    for (code, sticks) in [(422, true), (405, true), (400, true), (404, false)] {
        let mut bench = Bench::new(ReflectorConfig::default());
        let (id, ..) = bench.want();
        bench.end(id, Err(refused(code, &[], "no")));
        assert_eq!(bench.events(), [""; 0], "{code}: not worth mentioning");
        let id = bench.listed(10);
        bench.end(id, Err(expired(None)));
        let (_, uri, _) = bench.want();
        assert_eq!(query(&uri, "watch").is_none(), sticks, "{code}: {uri}");
    }
}

#[test]
fn a_server_that_ignores_streaming_is_found_out() {
    let mut bench = Bench::new(ReflectorConfig::default());
    let (id, ..) = bench.want();
    bench.reflector.handle_opened(id, bench.now);
    bench.event(id, WatchEvent::Added(thing("a", 5)));
    let (at, why) = bench.reflector.poll_timeout().unwrap();
    assert_eq!(at, bench.now + secs(10), "{why}");
    bench.pass(secs(10));
    assert_eq!(bench.reflector.poll_cancel(), Some(id));
    // What comes late is not listened to.
    bench.event(id, bookmark(9, true));
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "watch"), None);
    bench.reflector.handle_item(id, thing("a", 5), bench.now);
    assert_eq!(bench.events(), ["init", "+a@5", "init", "+a@5"]);

    // A plain bookmark tells at once.
    let mut bench = Bench::new(ReflectorConfig::default());
    let (id, ..) = bench.want();
    bench.event(id, bookmark(9, false));
    assert_eq!(bench.reflector.poll_cancel(), Some(id));
    assert_eq!(query(&bench.want().1, "watch"), None);
}

#[test]
fn every_form_of_too_old_lists_again() {
    for in_stream in [false, true] {
        let (mut bench, id) = watching(paged());
        if in_stream {
            bench.reflector.handle_opened(id, bench.now);
        }
        bench.reflector.handle_error(id, expired(None), bench.now);
        assert_eq!(bench.events(), ["stale Expired"]);
        let (id, uri, waited) = bench.want();
        assert_eq!(waited, Duration::ZERO);
        assert_eq!(query(&uri, "watch"), None);
        assert_eq!(query(&uri, "resourceVersion"), None);
        assert_eq!(query(&uri, "limit"), None, "a paged list was too slow");
        bench
            .reflector
            .handle_page(id, &list_meta(20, None), bench.now);
        assert_eq!(bench.events(), ["init", "done@20", "fresh"]);
    }
}

#[test]
fn an_expired_token_restarts_the_list_then_asks_for_all() {
    let mut bench = Bench::new(paged());
    for round in 0..2 {
        let (id, uri, _) = bench.want();
        assert_eq!(query(&uri, "limit"), Some("500"), "{round}");
        bench.reflector.handle_item(id, thing("a", 1), bench.now);
        bench
            .reflector
            .handle_page(id, &list_meta(10, Some("t")), bench.now);
        let (id, uri, _) = bench.want();
        assert_eq!(query(&uri, "continue"), Some("t"));
        bench.end(id, Err(expired(Some("fresh"))));
        assert_eq!(bench.events(), ["init", "+a@1", "stale Expired"]);
    }
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "limit"), None);
    assert_eq!(query(&uri, "continue"), None);
    bench
        .reflector
        .handle_page(id, &list_meta(12, None), bench.now);
    assert_eq!(bench.events(), ["init", "done@12", "fresh"]);
}

#[test]
fn an_expired_token_may_be_gone_on_with() {
    let mut bench = Bench::new(paged().on_expired(OnExpired::GoOn));
    let (id, ..) = bench.want();
    bench.reflector.handle_item(id, thing("a", 1), bench.now);
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    let (id, ..) = bench.want();
    bench.end(id, Err(expired(Some("fresh"))));
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "continue"), Some("fresh"));
    bench.reflector.handle_item(id, thing("b", 19), bench.now);
    bench
        .reflector
        .handle_page(id, &list_meta(20, None), bench.now);
    // The watch has to tell what happened to the first page since.
    assert_eq!(
        bench.events(),
        ["init", "+a@1", "stale Expired", "+b@19", "done@10", "fresh"]
    );
    assert_eq!(query(&bench.want().1, "resourceVersion"), Some("10"));

    let mut bench = Bench::new(paged().on_expired(OnExpired::GoOn));
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    let (id, ..) = bench.want();
    bench.end(id, Err(expired(None)));
    assert_eq!(
        query(&bench.want().1, "continue"),
        None,
        "no token to go on with"
    );
}

#[test]
fn a_server_that_lags_is_given_time() {
    let (mut bench, mut id) = watching(paged());
    for _ in 0..4 {
        bench.end(id, Err(too_large()));
        assert_eq!(bench.events(), ["stale Behind"]);
        let (next, uri, waited) = bench.want();
        assert!(waited >= secs(1), "Retry-After");
        assert_eq!(query(&uri, "resourceVersion"), Some("10"));
        id = next;
    }
    bench.end(id, Err(too_large()));
    assert_eq!(query(&bench.want().1, "watch"), None, "then it is listed");
}

#[test]
fn what_is_not_the_versions_fault_keeps_it() {
    for error in [
        status(504, "Timeout"),
        status(429, "TooManyRequests"),
        refused(503, &[], "service unavailable"),
        status(401, "Unauthorized"),
        status(403, "Forbidden"),
        Error::new(ErrorKind::Transport, "refused"),
        Error::new(ErrorKind::Timeout, "late"),
    ] {
        let (mut bench, mut id) = watching(paged());
        for _ in 0..20 {
            bench.end(id, Err(error.clone()));
            let (next, uri, waited) = bench.want();
            assert!(!waited.is_zero(), "{error}");
            assert_eq!(query(&uri, "resourceVersion"), Some("10"), "{error}");
            id = next;
        }
    }
}

#[test]
fn what_may_be_the_versions_fault_does_not() {
    for (error, times) in [
        (status(404, "NotFound"), 1),
        (status(400, "BadRequest"), 1),
        (status(500, "InternalError"), 5),
        (Error::new(ErrorKind::Limit, "a line is too long"), 5),
    ] {
        let (mut bench, mut id) = watching(paged());
        for _ in 1..times {
            bench.end(id, Err(error.clone()));
            let (next, uri, _) = bench.want();
            assert_eq!(query(&uri, "resourceVersion"), Some("10"), "{error}");
            id = next;
        }
        bench.end(id, Err(error.clone()));
        let (_, uri, waited) = bench.want();
        assert_eq!(query(&uri, "watch"), None, "{error}");
        assert!(!waited.is_zero(), "{error}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let mut bench = Bench::new(paged());
    let (id, ..) = bench.want();
    bench.end(id, Err(refused(429, &[("retry-after", "20")], "slowly")));
    assert_eq!(bench.events(), ["stale Refused"]);
    assert!((20..=25).contains(&bench.want().2.as_secs()));
}

#[test]
fn a_cut_is_resumed_at_once_for_once() {
    let (mut bench, mut id) = watching(paged());
    let mut waits = Vec::new();
    for _ in 0..8 {
        bench.reflector.handle_opened(id, bench.now);
        bench.end(id, Err(Error::new(ErrorKind::Truncated, "cut")));
        let (next, uri, waited) = bench.want();
        assert_eq!(query(&uri, "resourceVersion"), Some("10"));
        waits.push(waited.as_millis());
        id = next;
    }
    assert_eq!(waits[0], 0);
    assert!((400..=800).contains(&waits[1]), "{waits:?}");
    assert!((15_000..=30_000).contains(&waits[7]), "{waits:?}");
    assert!(bench.reflector.stale().is_some());
    // One good event proves nothing: the next cut still waits.
    bench.event(id, WatchEvent::Added(thing("a", 11)));
    assert!(bench.reflector.stale().is_none());
    bench.end(id, Ok(End::Truncated));
    let (id, _, waited) = bench.want();
    assert!(waited >= secs(15), "{waited:?}");
    // Two minutes do.
    bench.pass(secs(121));
    bench.end(id, Ok(End::Truncated));
    assert_eq!(bench.want().2, Duration::ZERO);
}

#[test]
fn watches_that_end_at_once_are_slowed_down() {
    let (mut bench, mut id) = watching(paged());
    for round in 0..10 {
        bench.end(id, Ok(End::Clean));
        let (next, _, waited) = bench.want();
        assert!(waited >= Duration::from_millis(400), "{round}");
        id = next;
    }
    assert!(bench.elapsed() > secs(60));
    assert!(bench.events().contains(&"stale ShortLived".to_owned()));
}

#[test]
fn a_silent_watch_is_given_up() {
    let (mut bench, id) = watching(paged().watch_seconds((300, 300)));
    let (at, why) = bench.reflector.poll_timeout().unwrap();
    assert_eq!((at - bench.now, why), (secs(330), "the watch is silent"));
    bench.event(id, bookmark(15, false));
    // A server that sends bookmarks is expected to go on doing so.
    assert_eq!(
        bench.reflector.poll_timeout().unwrap().0,
        bench.now + secs(150)
    );
    bench.pass(secs(149));
    assert_eq!(bench.reflector.poll_cancel(), None);
    bench.pass(secs(1));
    assert_eq!(bench.reflector.poll_cancel(), Some(id));
    assert_eq!(bench.events(), ["stale Silent"]);
    let (id, uri, waited) = bench.want();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(query(&uri, "resourceVersion"), Some("15"));
    bench.reflector.handle_opened(id, bench.now);
    assert_eq!(bench.events(), ["fresh"]);
}

#[test]
fn watches_that_never_say_anything_lead_to_a_list() {
    let (mut bench, id) = watching(paged());
    bench.pass(secs(300));
    bench.end(id, Ok(End::Clean));
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "resourceVersion"), Some("10"));
    bench.pass(secs(300));
    bench.end(id, Ok(End::Clean));
    assert_eq!(bench.events(), ["stale Mute"]);
    assert_eq!(query(&bench.want().1, "watch"), None);

    let (mut bench, mut id) = watching(paged().mute_watches(None));
    for _ in 0..5 {
        bench.pass(secs(300));
        bench.end(id, Ok(End::Clean));
        let (next, uri, _) = bench.want();
        assert_eq!(query(&uri, "resourceVersion"), Some("10"));
        id = next;
    }
}

#[test]
fn a_silent_list_is_asked_again() {
    let mut bench = Bench::new(paged());
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    let (id, ..) = bench.want();
    bench.pass(secs(60));
    assert_eq!(bench.reflector.poll_cancel(), Some(id));
    assert_eq!(bench.events(), ["init", "stale Silent"]);
    let (mut id, uri, waited) = bench.want();
    assert_eq!(query(&uri, "continue"), Some("t"), "the same page");
    assert!(!waited.is_zero());
    // Not for ever the same page.
    for _ in 0..2 {
        bench.end(id, Err(status(500, "InternalError")));
        id = bench.want().0;
    }
    bench.end(id, Ok(End::Clean));
    assert_eq!(query(&bench.want().1, "continue"), Some("t"));
}

#[test]
fn a_page_that_always_fails_starts_the_list_again() {
    let mut bench = Bench::new(paged());
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    for _ in 0..5 {
        let (id, uri, _) = bench.want();
        assert_eq!(query(&uri, "continue"), Some("t"));
        bench.end(id, Err(status(500, "InternalError")));
    }
    assert_eq!(query(&bench.want().1, "continue"), None);
}

#[test]
fn an_endless_list_is_not_believed() {
    let mut bench = Bench::new(paged());
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &list_meta(10, Some("t")), bench.now);
    assert_eq!(bench.events(), ["init", "stale Failed"]);
    let (_, uri, waited) = bench.want();
    assert_eq!(query(&uri, "continue"), None);
    assert!(!waited.is_zero());

    // Empty pages with ever new tokens are possible, but not at any speed.
    let mut bench = Bench::new(paged());
    for token in 0..200 {
        let (id, ..) = bench.want();
        bench
            .reflector
            .handle_page(id, &list_meta(10, Some(&token.to_string())), bench.now);
    }
    assert!(bench.elapsed() > secs(1000), "{:?}", bench.elapsed());
}

#[test]
fn an_object_that_does_not_decode_is_named() {
    let json =
        r#"{"metadata":{"name":"x","namespace":"n","resourceVersion":"15"},"spec":"hunter2"}"#;
    let (mut bench, id) = watching(paged());
    bench
        .reflector
        .handle_error(id, bad(Some("MODIFIED"), json), bench.now);
    assert_eq!(bench.events(), ["bad x"]);
    assert_eq!(bench.reflector.resource_version(), Some("15"));
    assert!(!bad(Some("MODIFIED"), json).bad_object().unwrap().is_deleted);
    assert!(bad(Some("DELETED"), json).bad_object().unwrap().is_deleted);
    // One without a name may be any: list again.
    bench
        .reflector
        .handle_error(id, bad(Some("MODIFIED"), "[]"), bench.now);
    assert_eq!(bench.reflector.poll_cancel(), Some(id));
    assert_eq!(bench.events(), ["stale Unreadable"]);
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "watch"), None);
    bench.reflector.handle_error(id, bad(None, json), bench.now);
    assert_eq!(bench.events(), ["init", "bad x"]);
}

#[test]
fn any_state_is_for_the_first_list_only() {
    let mut bench = Bench::new(paged().freshness(Freshness::Any));
    let (id, uri, _) = bench.want();
    assert_eq!(uri, "/api/v1/pods?resourceVersion=0");
    bench
        .reflector
        .handle_page(id, &list_meta(10, None), bench.now);
    let (id, ..) = bench.want();
    bench.event(id, WatchEvent::Added(thing("a", 11)));
    bench.end(id, Err(expired(None)));
    assert_eq!(bench.want().1, "/api/v1/pods?limit=500");
}

#[test]
fn a_list_without_a_version_is_watched_without_one() {
    let mut bench = Bench::new(paged());
    let (id, ..) = bench.want();
    bench
        .reflector
        .handle_page(id, &kubewire::meta::ListMeta::default(), bench.now);
    let (id, uri, _) = bench.want();
    assert_eq!(query(&uri, "watch"), Some("true"));
    assert_eq!(query(&uri, "resourceVersion"), None);
    bench.event(id, WatchEvent::Added(thing("a", 5)));
    bench.pass(secs(300));
    bench.end(id, Ok(End::Clean));
    assert_eq!(
        query(&bench.want().1, "watch"),
        None,
        "no version to go on from"
    );
}

#[test]
fn nothing_is_asked_of_a_client_without_a_namespace() {
    let api = kubewire::Api::<Thing>::of(PODS, kubewire::Namespace::Inherit);
    let config = ReflectorConfig::default();
    let error = kubewire::reflect::Reflector::new(api.clone(), config.clone(), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(kubewire::reflect::Reflector::new_in(api, "n", config, 1).is_ok());
}

#[test]
fn machines_are_plain_values() {
    fn plain<T: Send + Sync + std::fmt::Debug>() {}
    plain::<kubewire::reflect::Reflector<Thing>>();
    plain::<kubewire::reflect::Store<Thing>>();
    plain::<kubewire::reflect::wait::Wait<Thing>>();
    plain::<kubewire::reflect::logs::LogFollower>();
    assert!(size_of::<kubewire::reflect::Reflector<Thing>>() < 1500);
}

#[test]
fn endless_times_do_not_overflow() {
    for config in [paged(), ReflectorConfig::default()] {
        let config = config
            .margin(Duration::MAX)
            .bookmark_timeout(Duration::MAX)
            .answer_timeout(Duration::MAX)
            .stream_pause(Duration::MAX)
            .stream_timeout(Duration::MAX)
            .backoff(endless_backoff());
        let mut bench = Bench::new(config);
        let (id, ..) = bench.want();
        assert!(bench.reflector.poll_timeout().is_some());
        bench.end(id, Err(endless_retry_after()));
        let (id, uri, waited) = bench.want();
        assert!(waited > Duration::from_hours(24 * 365), "{waited:?}");
        if query(&uri, "watch").is_some() {
            bench.event(id, WatchEvent::Added(thing("a", 3)));
            assert!(bench.reflector.poll_timeout().is_some());
            bench.event(id, bookmark(10, true));
        } else {
            bench
                .reflector
                .handle_page(id, &list_meta(10, None), bench.now);
            let (id, ..) = bench.want();
            assert!(bench.reflector.poll_timeout().is_some());
            bench.event(id, bookmark(11, false));
        }
        assert!(bench.reflector.poll_timeout().is_some());
    }
}
