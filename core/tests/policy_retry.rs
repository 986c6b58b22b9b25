//! The table of what is repeated, verb by verb and outcome by outcome. Run it with `--nocapture` to
//! see it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use kubewire::Verb;
use kubewire::policy::{Attempt, Decision, Fault, Outcome, Phase, Repeat, Retry, Seed};

/// Verbs in the forms that make a difference.
fn requests() -> Vec<(&'static str, Verb, Request<Bytes>)> {
    let request = |method: &str, uri: &str, kind: &str, body: &'static str| {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", kind)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    };
    let versioned = r#"{"metadata":{"resourceVersion":"7"}}"#;
    let json = "application/json";
    let merge = "application/merge-patch+json";
    vec![
        ("get", Verb::Get, request("GET", "/x", json, "")),
        ("list", Verb::List, request("GET", "/x", json, "")),
        (
            "watch",
            Verb::Watch,
            request("GET", "/x?watch=true", json, ""),
        ),
        ("create", Verb::Create, request("POST", "/x", json, "{}")),
        (
            "create dry",
            Verb::Create,
            request("POST", "/x?dryRun=All", json, "{}"),
        ),
        ("update", Verb::Update, request("PUT", "/x", json, "{}")),
        (
            "update v7",
            Verb::Update,
            request("PUT", "/x", json, versioned),
        ),
        ("patch", Verb::Patch, request("PATCH", "/x", merge, "{}")),
        (
            "patch v7",
            Verb::Patch,
            request("PATCH", "/x", merge, versioned),
        ),
        (
            "apply",
            Verb::Patch,
            request("PATCH", "/x", "application/apply-patch+yaml", "{}"),
        ),
        ("delete", Verb::Delete, request("DELETE", "/x", json, "")),
        (
            "delete uid",
            Verb::Delete,
            request("DELETE", "/x", json, r#"{"preconditions":{"uid":"1"}}"#),
        ),
        (
            "delete all",
            Verb::DeleteCollection,
            request("DELETE", "/x", json, ""),
        ),
        ("raw GET", Verb::Raw, request("GET", "/x", json, "")),
        ("raw POST", Verb::Raw, request("POST", "/x", json, "")),
        ("exec", Verb::Raw, {
            let mut request = request("GET", "/x", json, "");
            let websocket = http::HeaderValue::from_static("websocket");
            request.headers_mut().insert("upgrade", websocket);
            request
        }),
    ]
}

fn outcomes() -> Vec<(&'static str, bool, Outcome)> {
    let answer = |code, seconds: Option<u64>| Outcome::Answered {
        code: StatusCode::from_u16(code).unwrap(),
        retry_after: seconds.map(Duration::from_secs),
    };
    vec![
        ("429+", true, answer(429, Some(1))),
        ("429", true, answer(429, None)),
        ("503+", true, answer(503, Some(5))),
        ("503", true, answer(503, None)),
        ("504", true, answer(504, None)),
        ("502", true, answer(502, None)),
        ("500+", true, answer(500, Some(1))),
        ("500", true, answer(500, None)),
        ("401", true, answer(401, None)),
        ("403", true, answer(403, Some(1))),
        ("404", true, answer(404, None)),
        ("409", true, answer(409, None)),
        ("410", true, answer(410, None)),
        ("dial", false, Outcome::Failed(Fault::Connect)),
        ("cert", false, Outcome::Failed(Fault::Refused)),
        ("stale", false, Outcome::Failed(Fault::Broken)),
        ("reset", true, Outcome::Failed(Fault::Broken)),
        ("t dial", false, Outcome::TimedOut(Phase::Dial)),
        ("t tls", false, Outcome::TimedOut(Phase::Tls)),
        ("t head", true, Outcome::TimedOut(Phase::Head)),
        ("t idle", true, Outcome::TimedOut(Phase::Idle)),
        ("t all", true, Outcome::TimedOut(Phase::Total)),
    ]
}

#[test]
fn verb_by_outcome() {
    let retry = Retry::default();
    let mut seed = Seed::new(1);
    let mut table = String::from("            ");
    for (name, ..) in outcomes() {
        write!(table, "{name:>7}").unwrap();
    }
    table.push('\n');
    for (name, verb, request) in requests() {
        write!(table, "{name:<12}").unwrap();
        for (_, sent, outcome) in outcomes() {
            let attempt = Attempt {
                number: 1,
                elapsed: Duration::ZERO,
                sent,
            };
            let repeat = Repeat::of(verb, &request);
            let again = retry.decide(repeat, attempt, outcome, &mut seed) != Decision::GiveUp;
            table.push_str(if again { "  again" } else { "      -" });
        }
        table.push('\n');
    }
    println!("{table}");

    // What a request counts as, and from that the line.
    let freely = "  again  again  again  again  again  again  again      -      -      -      -      -      -  again      -  again  again  again  again  again  again      -";
    let guarded = freely.replacen("  again  again", "  again      -", 1);
    let once = "  again      -      -      -      -      -      -      -      -      -      -      -      -  again      -  again      -  again  again      -      -      -";
    let upgrade = once.replacen("      -      -", "      -  again", 1);
    let want = [
        ("get", freely),
        ("list", freely),
        ("watch", freely),
        ("create", once),
        ("create dry", freely),
        ("update", once),
        ("update v7", &guarded),
        ("patch", once),
        ("patch v7", &guarded),
        ("apply", &guarded),
        ("delete", once),
        ("delete uid", &guarded),
        ("delete all", once),
        ("raw GET", freely),
        ("raw POST", once),
        ("exec", &upgrade),
    ];
    for (line, (name, cells)) in table.lines().skip(1).zip(want) {
        assert_eq!(line, format!("{name:<12}{cells}"));
    }
    assert_eq!(table.lines().count(), want.len() + 1);
}

#[test]
fn a_create_is_sent_once_however_long_the_server_says_504() {
    let retry = Retry::default();
    let attempt = |number| Attempt {
        number,
        elapsed: Duration::ZERO,
        sent: true,
    };
    let outcome = Outcome::Answered {
        code: StatusCode::GATEWAY_TIMEOUT,
        retry_after: Some(Duration::ZERO),
    };
    for seed in 0..100 {
        let decision = retry.decide(Repeat::Once, attempt(1), outcome, &mut Seed::new(seed));
        assert_eq!(decision, Decision::GiveUp);
    }
}

/// Whatever happens, a call makes no more than its attempts, and waits no longer than its total.
#[test]
fn any_sequence_of_outcomes_ends() {
    let mut seed = Seed::new(42);
    for _ in 0..10_000 {
        let retry = Retry {
            attempts: u32::try_from(seed.below(10)).unwrap(),
            total: Duration::from_millis(seed.below(100_000)),
            max_retry_after: Duration::from_millis(seed.below(60_000)),
            first: Duration::from_millis(seed.below(5000)),
            cap: Duration::from_millis(seed.below(20_000)),
        };
        let mut elapsed = Duration::ZERO;
        let mut number = 0;
        loop {
            number += 1;
            let outcomes = outcomes();
            let at = usize::try_from(seed.below(outcomes.len() as u64)).unwrap();
            let (_, sent, outcome) = outcomes[at];
            let repeat = [
                Repeat::Freely,
                Repeat::Guarded,
                Repeat::Once,
                Repeat::Upgrade,
            ][number as usize % 4];
            let attempt = Attempt {
                number,
                elapsed,
                sent,
            };
            match retry.decide(repeat, attempt, outcome, &mut seed) {
                Decision::GiveUp => break,
                Decision::After(delay) => elapsed += delay,
            }
            assert!(elapsed <= retry.total && number < retry.attempts);
        }
    }
}
