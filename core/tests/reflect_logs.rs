//! Following logs over cuts and restarts, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reflect_support;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kubewire::reflect::WantId;
use kubewire::reflect::logs::{LogEvent, LogFollower, LogOptions, LogWant};
use kubewire::{Api, Dynamic, End, ErrorKind, Limits};
use reflect_support::*;
use serde_json::{Value, json};

struct Bench {
    follower: LogFollower,
    now: Instant,
}

impl Bench {
    fn new(options: LogOptions) -> Self {
        let api = Api::<Dynamic>::dynamic(PODS).in_namespace("n");
        Self {
            follower: LogFollower::new(&api, "web", options, 5).unwrap(),
            now: Instant::now_for_tests(),
        }
    }

    fn want(&mut self) -> (WantId, LogWant, String, Duration) {
        let before = self.now;
        for _ in 0..10 {
            if let Some((id, want)) = self.follower.poll_want(self.now) {
                let uri = want.request().uri();
                let text = uri
                    .path_and_query()
                    .unwrap()
                    .as_str()
                    .trim_start_matches("/api/v1/namespaces/n/pods/web")
                    .to_owned();
                return (id, want, text, self.now - before);
            }
            let (at, _) = self.follower.poll_timeout().expect("stuck");
            self.now = at;
            self.follower.handle_timeout(at);
        }
        panic!("no want");
    }

    /// Answers with this body; a cut one if so.
    fn answer(&mut self, id: WantId, want: LogWant, code: u16, body: &str, end: End) {
        let (_, mut exchange) = want.into_call().begin(&Limits::default());
        let head = http::Response::builder().status(code).body(()).unwrap();
        exchange.handle_head(&head.into_parts().0).unwrap();
        let mut done = false;
        for part in [Some(body), None] {
            match part {
                Some(body) if !body.is_empty() => {
                    drop(exchange.handle_data(Bytes::copy_from_slice(body.as_bytes())));
                }
                Some(_) => {}
                None => drop(exchange.handle_end(end)),
            }
            while !done {
                match exchange.poll_item() {
                    Ok(Some(answer)) => self.follower.handle_answer(id, answer, self.now),
                    Ok(None) => break,
                    Err(error) => {
                        done = true;
                        self.follower.handle_error(id, error, self.now);
                    }
                }
            }
        }
    }

    fn pod(&mut self, pod: &Value) {
        let (id, want, text, _) = self.want();
        assert_eq!(text, "", "the pod");
        self.answer(id, want, 200, &pod.to_string(), End::Clean);
    }

    fn log(&mut self, want_query: &str, body: &str, end: End) {
        let (id, want, text, _) = self.want();
        assert_eq!(text, format!("/log?{want_query}"));
        self.answer(id, want, 200, body, end);
    }

    fn events(&mut self) -> String {
        let mut text = String::new();
        while let Some(event) = self.follower.poll_event() {
            match event {
                LogEvent::Line(line) => write!(text, "{line}|").unwrap(),
                LogEvent::Restarted { restarts } => write!(text, "[restart {restarts}]").unwrap(),
                LogEvent::Stale(reason) => write!(text, "[{reason}]").unwrap(),
                LogEvent::Fresh => text.push_str("[fresh]"),
                LogEvent::Ended(end) => write!(text, "[{end:?}]").unwrap(),
                _ => panic!("unknown"),
            }
        }
        text
    }
}

fn pod(restarts: u64, state: &Value) -> Value {
    json!({
        "metadata": {"name": "web", "uid": "u1"},
        "spec": {"containers": [{"name": "main"}, {"name": "side"}], "restartPolicy": "Always"},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "main", "restartCount": restarts, "state": state}]},
    })
}

fn running(restarts: u64) -> Value {
    pod(
        restarts,
        &json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
    )
}

const T: &str = "2026-01-01T00:00:0";

fn lines(of: &[(&str, &str)]) -> String {
    let mut log = String::new();
    for (time, text) in of {
        writeln!(log, "{T}{time}Z {text}").unwrap();
    }
    log
}

#[test]
fn a_cut_log_goes_on_without_repetition() {
    let mut bench = Bench::new(LogOptions::default().tail_lines(3));
    bench.pod(&running(0));
    bench.log(
        "container=main&follow=true&timestamps=true&tailLines=3",
        &(lines(&[("1.1", "a"), ("2.5", "b"), ("2.5", "c")]) + T + "2.5Z d, cut in the mi"),
        End::Truncated,
    );
    assert_eq!(bench.events(), "a|b|c|[the stream was cut off]");
    let before = bench.now;
    bench.pod(&running(0));
    assert_eq!(bench.now, before, "at once for once");
    // The server looks at whole seconds: it repeats what was given, of which two have the last time.
    bench.log(
        "container=main&follow=true&timestamps=true&sinceTime=2026-01-01T00%3A00%3A02.5Z",
        &lines(&[
            ("2.1", "x"),
            ("2.5", "b"),
            ("2.5", "c"),
            ("2.5", "d"),
            ("2.4", "late"),
            ("3.0", "e"),
            ("2.9", "clock"),
        ]),
        End::Truncated,
    );
    assert_eq!(bench.events(), "[fresh]d|e|clock|[the stream was cut off]");
    bench.pod(&running(0));
    bench.log(
        "container=main&follow=true&timestamps=true&sinceTime=2026-01-01T00%3A00%3A03.0Z",
        &lines(&[("3.0", "e"), ("3.0", "f")]),
        End::Clean,
    );
    assert_eq!(bench.events(), "[fresh]f|");
}

#[test]
fn times_are_given_if_asked_for() {
    let mut bench = Bench::new(LogOptions::default().timestamps(true).container("side"));
    let mut state = running(0);
    state["status"]["containerStatuses"][0]["name"] = "side".into();
    bench.pod(&state);
    bench.log(
        "container=side&follow=true&timestamps=true",
        &(lines(&[("1.1", "a")]) + "unable to retrieve container logs\n"),
        End::Clean,
    );
    assert_eq!(
        bench.events(),
        format!("{T}1.1Z a|unable to retrieve container logs|")
    );
}

#[test]
fn a_restarted_container_is_followed() {
    let log = "container=main&follow=true&timestamps=true";
    let since = |time: &str| format!("{log}&sinceTime=2026-01-01T00%3A00%3A0{time}Z");
    let mut bench = Bench::new(LogOptions::default());
    bench.pod(&running(0));
    bench.log(log, &lines(&[("1.1", "a")]), End::Clean);
    // The state lags behind: the log is tried again, later.
    bench.pod(&running(0));
    let before = bench.now;
    bench.log(&since("1.1"), &lines(&[("1.1", "a")]), End::Clean);
    assert!(bench.now > before);
    // It waits to be started again.
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let mut state = pod(0, &waiting);
    state["status"]["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 1}});
    bench.pod(&state);
    bench.pod(&state);
    bench.pod(&running(1));
    bench.log(&since("1.1"), &lines(&[("5.0", "b")]), End::Truncated);
    assert_eq!(bench.events(), "a|[restart 1]b|[the stream was cut off]");
    // It was restarted while the connection was cut: what is left of the run before comes first.
    bench.pod(&running(2));
    bench.log(
        "container=main&previous=true&timestamps=true&sinceTime=2026-01-01T00%3A00%3A05.0Z",
        &lines(&[("5.0", "b"), ("5.5", "last words")]),
        End::Clean,
    );
    bench.pod(&running(2));
    bench.log(&since("5.5"), &lines(&[("6.0", "c")]), End::Clean);
    assert_eq!(bench.events(), "last words|[restart 2][fresh]c|");
    let mut over = pod(2, &json!({"terminated": {"exitCode": 3}}));
    over["spec"]["restartPolicy"] = "Never".into();
    bench.pod(&over);
    assert_eq!(bench.events(), "[Finished { exit_code: Some(3) }]");
    assert!(bench.follower.is_ended() && bench.follower.poll_timeout().is_none());
    assert!(bench.follower.poll_want(bench.now).is_none());
}

#[test]
fn it_ends_when_there_is_no_more_to_come() {
    let ended = |policy: &str, code: i32, phase: &str, deleted: bool| {
        let mut state = pod(0, &json!({"terminated": {"exitCode": code}}));
        state["spec"]["restartPolicy"] = policy.into();
        state["status"]["phase"] = phase.into();
        if deleted {
            state["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        state
    };
    for (state, over) in [
        (ended("Always", 0, "Running", false), false),
        (ended("Always", 0, "Running", true), true),
        (ended("OnFailure", 1, "Running", false), false),
        (ended("OnFailure", 0, "Running", false), true),
        (ended("Never", 1, "Running", false), true),
        (ended("Always", 1, "Failed", false), true),
    ] {
        let mut bench = Bench::new(LogOptions::default());
        bench.pod(&state);
        bench.log(
            "container=main&follow=true&timestamps=true",
            &lines(&[("1.0", "bye")]),
            End::Clean,
        );
        bench.pod(&state);
        assert_eq!(bench.follower.is_ended(), over, "{state}");
        assert!(bench.events().starts_with("bye|"));
    }

    // Gone, or not the same any more, or never there.
    let mut bench = Bench::new(LogOptions::default());
    bench.pod(&running(0));
    bench.log("container=main&follow=true&timestamps=true", "", End::Clean);
    let (id, ..) = bench.want();
    bench
        .follower
        .handle_error(id, status(404, "NotFound"), bench.now);
    assert_eq!(bench.events(), "[Gone]");

    let mut bench = Bench::new(LogOptions::default());
    bench.pod(&running(0));
    bench.log(
        "container=main&follow=true&timestamps=true",
        "",
        End::Truncated,
    );
    let mut other = running(0);
    other["metadata"]["uid"] = "u2".into();
    bench.pod(&other);
    assert!(bench.events().ends_with("[Replaced]"));

    let mut bench = Bench::new(LogOptions::default().container("nope"));
    bench.pod(&running(0));
    assert_eq!(bench.events(), "[NoContainer]");
}

#[test]
fn what_has_no_log_yet_is_looked_after() {
    let mut bench = Bench::new(LogOptions::default().tail_lines(0));
    let mut pending = running(0);
    pending["status"] = json!({"phase": "Pending"});
    bench.pod(&pending);
    bench.pod(&pending);
    let waited = bench.now;
    bench.pod(&running(0));
    assert!(bench.now > waited);
    let (id, _, text, _) = bench.want();
    assert_eq!(
        text,
        "/log?container=main&follow=true&timestamps=true&tailLines=0"
    );
    bench.follower.handle_error(
        id,
        refused(400, &[], &load("log-waiting-follow")),
        bench.now,
    );
    bench.pod(&running(0));
    let (id, _, text, _) = bench.want();
    assert!(text.ends_with("tailLines=0"));
    // Followed without a line, then cut: what was written meanwhile is wanted, not the last 0 lines.
    bench.follower.handle_opened(id, bench.now);
    bench.now += Duration::from_secs(100);
    let error = kubewire::Error::new(ErrorKind::Truncated, "cut");
    bench.follower.handle_error(id, error, bench.now);
    bench.pod(&running(0));
    assert!(bench.want().2.ends_with("sinceSeconds=102"));
}

#[test]
fn a_silent_log_is_asked_for_again() {
    let mut bench = Bench::new(LogOptions::default());
    bench.pod(&running(0));
    let (id, ..) = bench.want();
    bench.follower.handle_opened(id, bench.now);
    let (at, why) = bench.follower.poll_timeout().unwrap();
    assert_eq!(
        (at - bench.now, why),
        (Duration::from_mins(5), "the log is silent")
    );
    bench.follower.handle_timeout(at);
    bench.now = at;
    assert_eq!(bench.follower.poll_cancel(), Some(id));
    bench.pod(&running(0));
    assert_eq!(bench.events(), "", "that is usual");
}

fn load(name: &str) -> String {
    let recording = recording(name);
    let chunks = recording["response"]["chunks"].as_array().unwrap().clone();
    chunks
        .iter()
        .map(|chunk| chunk["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn recorded_logs_resume_anywhere() {
    let log = load("log-since-time");
    let all: Vec<String> = log
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect();
    for cut in 0..=log.len() {
        let mut bench = Bench::new(LogOptions::default());
        bench.pod(&running(0));
        let (id, want, ..) = bench.want();
        bench.answer(id, want, 200, &log[..cut], End::Truncated);
        let first = bench.events();
        bench.pod(&running(0));
        let (id, want, text, _) = bench.want();
        assert_eq!(text.contains("sinceTime"), first.contains('|'), "{text}");
        // As recorded: fractions of seconds are not looked at.
        bench.answer(id, want, 200, &log, End::Clean);
        let both = first + &bench.events();
        let both: Vec<&str> = both
            .split('|')
            .map(|line| {
                line.trim_start_matches("[the stream was cut off]")
                    .trim_start_matches("[fresh]")
            })
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(both, all, "cut at {cut}");
    }
}

#[test]
fn recorded_refusals_of_logs() {
    for (name, code, next) in [
        ("log-pod-not-found", 404, "[Gone]"),
        ("log-waiting-follow", 400, ""),
        ("log-previous-none", 400, ""),
        (
            "throttled",
            429,
            "[the server refused: 429: Too many requests, please try again later.]",
        ),
        ("log-unscheduled", 204, ""),
    ] {
        let mut bench = Bench::new(LogOptions::default());
        bench.pod(&running(0));
        let (id, want, ..) = bench.want();
        bench.answer(id, want, code, &load(name), End::Clean);
        assert_eq!(bench.events(), next, "{name}");
        if code != 404 {
            let (.., text, waited) = bench.want();
            assert_eq!(text, "");
            assert_eq!(waited.is_zero(), code == 204, "{name}");
        }
    }
}

#[test]
fn endless_times_do_not_overflow() {
    let options = LogOptions::default()
        .silence(Duration::MAX)
        .answer_timeout(Duration::MAX)
        .backoff(endless_backoff());
    let mut bench = Bench::new(options);
    let (id, _, _, _) = bench.want();
    assert!(bench.follower.poll_timeout().is_some());
    bench
        .follower
        .handle_error(id, endless_retry_after(), bench.now);
    bench.pod(&running(0));
    let (id, want, ..) = bench.want();
    assert!(bench.follower.poll_timeout().is_some());
    bench.answer(id, want, 200, &lines(&[("1.1", "a")]), End::Truncated);
    let (_, _, text, _) = bench.want();
    assert_eq!(text, "", "the pod");
}
