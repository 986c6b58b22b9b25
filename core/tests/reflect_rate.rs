//! How often a server is asked that always fails, and that the user sees why.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reflect_support;

use std::time::Duration;

use kubewire::End;
use kubewire::reflect::{ListMode, OnExpired, ReflectorConfig};
use reflect_support::*;

fn paged() -> ReflectorConfig {
    ReflectorConfig::default().list_mode(ListMode::Paged)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How many requests an hour of a server makes that always answers so.
fn hour(
    config: ReflectorConfig,
    answer: impl Fn(&mut Bench, kubewire::reflect::WantId, &http::Uri),
) -> (u64, Vec<String>) {
    let mut bench = Bench::new(config);
    let mut events = Vec::new();
    while bench.elapsed() < secs(3600) {
        assert!(bench.requests < 5000, "it never pauses");
        let (id, uri, _) = bench.want();
        answer(&mut bench, id, &uri);
        events.extend(bench.events());
    }
    (bench.requests, events)
}

#[test]
fn a_server_that_is_always_gone_sees_few_requests() {
    for config in [paged(), ReflectorConfig::default()] {
        let (requests, events) = hour(config.clone(), |bench, id, _| {
            bench.end(id, Err(expired(None)));
        });
        assert!(requests < 260, "{requests}");
        assert!(events.iter().all(|event| event == "stale Expired"));
        assert_eq!(events.len() as u64, requests);

        // Only the watch is: with a list each time.
        let (requests, events) = hour(config, |bench, id, uri| {
            if query(uri, "watch").is_some() {
                bench.end(id, Err(expired(None)));
            } else {
                bench
                    .reflector
                    .handle_page(id, &list_meta(10, None), bench.now);
            }
        });
        assert!(requests < 520, "{requests}");
        assert!(events.contains(&"stale Expired".to_owned()));
    }
}

#[test]
fn a_server_that_expires_every_token_is_listed_in_one() {
    for on_expired in [OnExpired::Restart, OnExpired::GoOn] {
        let (requests, events) = hour(paged().on_expired(on_expired), |bench, id, uri| {
            match (query(uri, "continue"), query(uri, "limit")) {
                (Some(_), _) => bench.end(id, Err(expired(None))),
                (None, Some(_)) => {
                    bench
                        .reflector
                        .handle_page(id, &list_meta(10, Some("t")), bench.now);
                }
                (None, None) if query(uri, "watch").is_none() => {
                    bench
                        .reflector
                        .handle_page(id, &list_meta(10, None), bench.now);
                }
                _ => {
                    bench.event(id, bookmark(11, false));
                    bench.pass(secs(100));
                    bench.event(id, bookmark(11, false));
                    bench.pass(secs(100));
                    bench.end(id, Ok(End::Clean));
                }
            }
        });
        assert!(requests < 30, "{requests}");
        assert_eq!(
            events
                .iter()
                .filter(|event| *event == "stale Expired")
                .count(),
            2
        );
        assert!(events.contains(&"done@10".to_owned()));
    }
    // Fresh tokens that expire again are no progress.
    let (requests, events) = hour(paged().on_expired(OnExpired::GoOn), |bench, id, uri| {
        if let Some(token) = query(uri, "continue") {
            let fresh = format!("{token}x");
            bench.end(id, Err(expired(Some(&fresh))));
        } else {
            bench
                .reflector
                .handle_page(id, &list_meta(10, Some("t")), bench.now);
        }
    });
    assert!(requests < 260, "{requests}");
    assert!(events.contains(&"stale Expired".to_owned()));
}
