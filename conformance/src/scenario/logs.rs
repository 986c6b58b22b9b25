//! Logs of containers.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kubewire::reflect::logs::{LogEvent, LogOptions};
use kubewire::{Api, Logs};
use kubewire_driver::Drive;
use serde_json::json;

use super::Need::{Embedded, Node};
use super::pods::{create_pod, failure, finish_pod, phase, pod, run_pod, until_pod};
use super::{Calls, Env};

calls! { Logs;
    a_log_is_read_to_its_end: Node;
    a_log_is_one_text: Node;
    the_last_lines_are_read: Node;
    so_many_bytes_are_read: Node;
    lines_have_times: Node;
    a_log_is_read_since_a_time: Node;
    a_followed_log_ends_with_its_container: Node;
    a_followed_log_gives_lines_as_they_come: Node;
    empty_lines_are_lines: Node;
    a_last_line_without_an_end_is_a_line: Node;
    bytes_that_are_no_text_are_kept: Node;
    a_long_line_is_whole: Node;
    many_lines_are_all_there: Node;
    a_container_is_chosen: Node;
    a_log_of_several_containers_needs_a_choice: Node;
    a_missing_container_is_told: Node;
    a_missing_pod_is_not_found;
    a_pod_without_a_node_has_an_empty_log;
    the_previous_log_is_of_the_container_before: Node;
    a_log_may_be_followed_and_dropped: Node;
}

driven! { Logs;
    a_followed_log_survives_cuts_without_repeating_lines: Embedded;
    a_follower_waits_for_its_container: Node;
    a_follower_of_a_missing_pod_ends;
    logs_of_several_pods_are_followed_at_once: Node;
}

async fn lines<E: Calls>(env: &E, logs: Logs) -> Vec<String> {
    let lines = env.stream(logs);
    lines
        .map(|line| line.expect("a line").to_string())
        .collect()
        .await
}

fn count_to(last: usize) -> String {
    format!("for i in $(seq {last}); do echo line $i; done")
}

fn numbered(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

async fn a_log_is_read_to_its_end<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(5)).await;
    assert_eq!(lines(env, pods.logs("p")).await, numbered(1..=5));
}

async fn a_log_is_one_text<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(3)).await;
    let text = env.send(pods.logs("p").text()).await.expect("a text");
    assert_eq!(text, "line 1\nline 2\nline 3\n");
}

async fn the_last_lines_are_read<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(9)).await;
    assert_eq!(
        lines(env, pods.logs("p").tail_lines(2)).await,
        numbered(8..=9)
    );
    assert!(lines(env, pods.logs("p").tail_lines(0)).await.is_empty());
    assert_eq!(
        lines(env, pods.logs("p").tail_lines(99)).await,
        numbered(1..=9)
    );
}

async fn so_many_bytes_are_read<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(9)).await;
    let text = env.send(pods.logs("p").limit_bytes(10).text()).await;
    assert_eq!(text.expect("a text"), "line 1\nlin");
}

async fn lines_have_times<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(3)).await;
    let mut log = env.stream(pods.logs("p").timestamps(true));
    let mut last = String::new();
    for n in 1..=3 {
        let line = log.next().await.expect("a line").expect("a line");
        let (time, text) = line.split_timestamp().expect("a time");
        assert!(time.starts_with("20"), "{time}");
        assert!(time.get(..19) >= last.get(..19), "{time} after {last}");
        assert_eq!(text, format!("line {n}"));
        time.clone_into(&mut last);
    }
}

async fn a_log_is_read_since_a_time<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(3)).await;
    assert_eq!(
        lines(env, pods.logs("p").since_seconds(3600)).await,
        numbered(1..=3)
    );
    let long_ago = pods.logs("p").since_time("2020-01-01T00:00:00Z");
    assert_eq!(lines(env, long_ago).await, numbered(1..=3));
    let future = pods.logs("p").since_time("2099-01-01T00:00:00Z");
    assert!(lines(env, future).await.is_empty());
}

async fn a_followed_log_ends_with_its_container<E: Calls>(env: &E) {
    let script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done";
    create_pod(env, pod(env, "p", script)).await;
    until_pod(env, "p", |pod| !matches!(phase(pod), "" | "Pending")).await;
    let logs = env.api::<Pod>().logs("p").follow(true);
    assert_eq!(lines(env, logs).await, numbered(1..=5));
}

async fn a_followed_log_gives_lines_as_they_come<E: Calls>(env: &E) {
    let pods = run_pod(env, "p", "echo first; sleep 3600").await;
    let mut log = env.stream(pods.logs("p").follow(true));
    let first = log.next().await.expect("a line").expect("a line");
    assert_eq!(first.to_string(), "first");
}

async fn empty_lines_are_lines<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", "echo; echo a; echo; echo; echo b; echo").await;
    assert_eq!(lines(env, pods.logs("p")).await, ["", "a", "", "", "b", ""]);
}

async fn a_last_line_without_an_end_is_a_line<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", "echo a; printf b").await;
    assert_eq!(lines(env, pods.logs("p")).await, ["a", "b"]);
}

async fn bytes_that_are_no_text_are_kept<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", r"printf 'a\377\200z\n'").await;
    let mut log = env.stream(pods.logs("p"));
    let line = log.next().await.expect("a line").expect("a line");
    assert_eq!(line.bytes().as_ref(), b"a\xff\x80z");
    assert!(log.next().await.is_none());
}

async fn a_long_line_is_whole<E: Calls>(env: &E) {
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end";
    let pods = finish_pod(env, "p", script).await;
    let lines = lines(env, pods.logs("p")).await;
    assert_eq!(lines.len(), 2);
    assert!(lines[0].len() == 100_000 && lines[0].bytes().all(|byte| byte == b'x'));
    assert_eq!(lines[1], "end");
}

async fn many_lines_are_all_there<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", &count_to(20_000)).await;
    assert!(lines(env, pods.logs("p")).await == numbered(1..=20_000));
}

async fn two_containers<E: Calls>(env: &E) -> Api<Pod> {
    let mut two = pod(env, "p", "echo from main");
    let container =
        json!({"name": "side", "image": env.place().image(), "command": ["echo", "from side"]});
    if let Some(containers) = two["spec"]["containers"].as_array_mut() {
        containers.push(container);
    }
    create_pod(env, two).await;
    until_pod(env, "p", |pod| phase(pod) == "Succeeded").await;
    env.api()
}

async fn a_container_is_chosen<E: Calls>(env: &E) {
    let pods = two_containers(env).await;
    for name in ["main", "side"] {
        let log = lines(env, pods.logs("p").container(name)).await;
        assert_eq!(log, [format!("from {name}")]);
    }
}

async fn a_log_of_several_containers_needs_a_choice<E: Calls>(env: &E) {
    let pods = two_containers(env).await;
    let mut log = env.stream(pods.logs("p"));
    let error = failure(log.next().await.expect("an answer"));
    assert!(error.is_bad_request(), "{error}");
    assert!(error.to_string().contains("side"), "{error}");
}

async fn a_missing_container_is_told<E: Calls>(env: &E) {
    let pods = finish_pod(env, "p", "true").await;
    let mut log = env.stream(pods.logs("p").container("none"));
    let error = failure(log.next().await.expect("an answer"));
    assert!(error.is_bad_request(), "{error}");
}

async fn a_missing_pod_is_not_found<E: Calls>(env: &E) {
    let mut log = env.stream(env.api::<Pod>().logs("none"));
    assert!(failure(log.next().await.expect("an answer")).is_not_found());
    assert!(log.next().await.is_none());
}

async fn a_pod_without_a_node_has_an_empty_log<E: Calls>(env: &E) {
    let mut lost = pod(env, "p", "true");
    lost["spec"]["nodeSelector"] = json!({"example.com/kubewire": "no-such-node"});
    create_pod(env, lost).await;
    assert!(lines(env, env.api::<Pod>().logs("p")).await.is_empty());
}

async fn the_previous_log_is_of_the_container_before<E: Calls>(env: &E) {
    // Long enough to be seen running: a node keeps the last dead container only.
    let mut again = pod(env, "p", "echo once; sleep 3; exit 1");
    again["spec"]["restartPolicy"] = "Always".into();
    create_pod(env, again).await;
    until_pod(env, "p", |pod| {
        let status = pod.status.as_ref();
        let containers = status.and_then(|s| s.container_statuses.as_ref());
        let again = |c: &ContainerStatus| {
            let state = c.state.as_ref();
            c.restart_count > 0 && state.is_some_and(|state| state.running.is_some())
        };
        containers.is_some_and(|all| all.iter().any(again))
    })
    .await;
    let log = lines(env, env.api::<Pod>().logs("p").previous(true)).await;
    assert_eq!(log, ["once"]);
}

async fn a_log_may_be_followed_and_dropped<E: Calls>(env: &E) {
    let pods = run_pod(env, "p", "while true; do echo tick; sleep 0.1; done").await;
    for _ in 0..5 {
        let mut log = env.stream(pods.logs("p").follow(true));
        for _ in 0..3 {
            assert_eq!(
                log.next()
                    .await
                    .expect("a line")
                    .expect("a line")
                    .to_string(),
                "tick"
            );
        }
    }
}

/// Follows a log through everything, to its end.
async fn follow<R: Drive>(env: &Env<R>, name: &str, mut seen: impl FnMut(usize)) -> Vec<String> {
    let pods = env.api::<Pod>();
    let events = env.client.follow_logs(&pods, name, LogOptions::default());
    let mut events = events.expect("valid requests");
    let mut lines = Vec::new();
    while let Some(event) = events.next().await {
        if let LogEvent::Line(line) = event {
            lines.push(line.to_string());
            seen(lines.len());
        }
    }
    lines
}

async fn a_followed_log_survives_cuts_without_repeating_lines<R: Drive>(env: &Env<R>) {
    let script = "for i in $(seq 60); do echo line $i; sleep 0.02; done; sleep 0.5";
    create_pod(env, pod(env, "p", script)).await;
    let lines = follow(env, "p", |count| {
        if count == 20 || count == 40 {
            env.server().close_connections();
        }
    });
    assert_eq!(lines.await, numbered(1..=60));
}

async fn a_follower_waits_for_its_container<R: Drive>(env: &Env<R>) {
    let script = "for i in 1 2 3; do echo line $i; sleep 0.1; done";
    // Nothing runs yet.
    create_pod(env, pod(env, "p", script)).await;
    assert_eq!(follow(env, "p", |_| ()).await, numbered(1..=3));
}

async fn a_follower_of_a_missing_pod_ends<R: Drive>(env: &Env<R>) {
    let lines = env.within(Duration::from_secs(30), follow(env, "none", |_| ()));
    assert!(lines.await.expect("it ends").is_empty());
}

async fn logs_of_several_pods_are_followed_at_once<R: Drive>(env: &Env<R>) {
    for name in ["a", "b", "c"] {
        let script = format!("for i in 1 2 3 4 5; do echo {name} $i; sleep 0.05; done");
        create_pod(env, pod(env, name, &script)).await;
    }
    let logs = ["a", "b", "c"].map(|name| async move {
        let lines = follow(env, name, |_| ()).await;
        let expected: Vec<_> = (1..=5).map(|n| format!("{name} {n}")).collect();
        assert_eq!(lines, expected);
    });
    futures_util::future::join_all(logs).await;
}
