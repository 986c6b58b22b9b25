//! How often a server is asked that always fails, and that the user sees why.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod random;
mod reflect_support;

use std::time::Duration;

use kubewire::reflect::{ListMode, OnExpired, ReflectorConfig, WantId};
use kubewire::stream::WatchEvent;
use kubewire::{End, Error, ErrorKind};
use random::Random;
use reflect_support::*;

/// How many requests an hour of a server makes that always answers so.
fn hour(
    config: ReflectorConfig,
    answer: impl Fn(&mut Bench, WantId, &http::Uri),
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

/// A server with a few bad habits.
struct Hostile {
    habits: Vec<u64>,
    pauses: u64,
    pages: u64,
    opens: u64,
}

impl Hostile {
    fn new(random: &mut Random) -> Self {
        let often = |random: &mut Random| [0, 5, 50, 100][random.below(4_usize)];
        Self {
            habits: (0..=random.below(3)).map(|_| random.below(14)).collect(),
            pauses: [0, 0, 5, 30][random.below(4_usize)],
            pages: often(random),
            opens: often(random),
        }
    }
}

/// One random answer, as fast as a server can give it. Whether it was a page that another follows.
fn answer(
    bench: &mut Bench,
    random: &mut Random,
    server: &Hostile,
    id: WantId,
    uri: &http::Uri,
) -> bool {
    if random.chance(server.pauses) {
        bench.pass(Duration::from_millis(random.below(40_000)));
    }
    let watch = query(uri, "watch").is_some();
    let page = random.chance(server.pages) && !watch;
    if page {
        let token = random.chance(30).then(|| random.next().to_string());
        let now = bench.now;
        if random.chance(50) {
            bench.reflector.handle_item(id, thing("a", 5), now);
        }
        bench
            .reflector
            .handle_page(id, &list_meta(10, token.as_deref()), now);
        return token.is_some();
    }
    if watch && random.chance(server.opens) {
        bench.reflector.handle_opened(id, bench.now);
        let event = match random.below(4) {
            0 => bookmark(11, true),
            1 => bookmark(12, false),
            _ => WatchEvent::Added(thing("a", 10 + random.below(50))),
        };
        bench.event(id, event);
    }
    let habit = usize::try_from(random.next()).unwrap() % server.habits.len();
    let error = match server.habits[habit] {
        0 | 1 => expired(None),
        2 => expired(Some("fresh")),
        3 => too_large(),
        4 => status(500, "InternalError"),
        5 => status(404, "NotFound"),
        6 => status(422, "Invalid"),
        7 => refused(429, &[], "slowly"),
        8 => Error::new(ErrorKind::Truncated, "cut"),
        9 => Error::new(ErrorKind::Limit, "too long"),
        10 => bad(Some("ADDED"), "[]"),
        _ => {
            bench.end(
                id,
                Ok([End::Clean, End::Truncated][usize::from(random.chance(50))]),
            );
            return false;
        }
    };
    bench.reflector.handle_error(id, error, bench.now);
    // What concerned one object was no end; now it is.
    bench.end(id, Ok(End::Truncated));
    false
}

#[test]
fn no_mixture_of_failures_passes_the_stated_bound() {
    let mut most = 0.0_f64;
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let mode = [ListMode::Paged, ListMode::Streaming][usize::from(random.chance(50))];
        let on_expired = [OnExpired::Restart, OnExpired::GoOn][usize::from(random.chance(50))];
        let config = ReflectorConfig::default()
            .list_mode(mode)
            .on_expired(on_expired);
        let server = Hostile::new(&mut random);
        let (mut bench, mut pages) = (Bench::new(config), 0);
        while bench.elapsed() < secs(1800) {
            let (id, uri, _) = bench.want();
            pages += u64::from(answer(&mut bench, &mut random, &server, id, &uri));
            while bench.reflector.poll_event().is_some() {}
            let _ = bench.reflector.poll_cancel();
            let bound = 30 + bench.elapsed().as_secs() / 4 + pages;
            assert!(
                bench.requests <= bound,
                "seed {seed}: {} requests after {:?}, {bound} allowed",
                bench.requests,
                bench.elapsed()
            );
            #[expect(clippy::cast_precision_loss, reason = "a rough number")]
            let share = bench.requests as f64 / bound as f64;
            most = most.max(share);
        }
    }
    println!("at most {:.0} % of the bound", most * 100.0);
}
