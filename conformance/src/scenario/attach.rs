//! The main process of a container.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kubewire::AttachOperation;
use kubewire::session::{Abort, Outcome};
use kubewire_driver::{Drive, Process, Reader};
use serde_json::json;

use super::Need::Node;
use super::pods::{create_pod, failure, phase, pod, until_pod};
use super::{Calls, Env};

driven! { Attach;
    output_is_seen_as_it_comes: Node;
    error_output_comes_apart: Node;
    input_reaches_the_process: Node;
    a_terminal_is_spoken_to: Node;
    a_terminal_has_the_size_that_was_set: Node;
    the_end_of_the_container_ends_the_session: Node;
    leaving_lets_the_process_go_on: Node;
    input_that_ends_once_ends_the_process: Node;
    several_may_watch_at_once: Node;
    a_missing_pod_is_not_found;
    a_missing_container_is_told: Node;
}

/// Runs a script as the main process of the pod `box`.
async fn start<R: Drive>(env: &Env<R>, script: &str, options: serde_json::Value) {
    let mut object = pod(env, "box", script);
    for (name, value) in options.as_object().into_iter().flatten() {
        object["spec"]["containers"][0][name] = value.clone();
    }
    create_pod(env, object).await;
    until_pod(env, "box", |pod| phase(pod) == "Running").await;
}

/// Reads until the text holds what is looked for.
pub(super) async fn until<R: Drive>(env: &Env<R>, reader: &mut Reader, wanted: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let chunk = reader.chunk().await.expect("the session goes on");
            text.extend_from_slice(&chunk);
        }
    };
    let in_time = env.within(Duration::from_secs(30), read).await.is_some();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(in_time, "{wanted:?} did not come: {text:?}");
    text
}

const TICK: &str = "while true; do echo tick; sleep 0.1; done";

async fn output_is_seen_as_it_comes<R: Drive>(env: &Env<R>) {
    start(env, TICK, json!({})).await;
    let process = env.client.open(env.api::<Pod>().attach("box")).await;
    let mut stdout = process.expect("a session").stdout.take().expect("stdout");
    until(env, &mut stdout, "tick\ntick\n").await;
}

async fn attach<R: Drive>(
    env: &Env<R>,
    options: impl FnOnce(AttachOperation) -> AttachOperation,
) -> Process {
    let operation = options(env.api::<Pod>().attach("box"));
    env.client.open(operation).await.expect("a session")
}

async fn error_output_comes_apart<R: Drive>(env: &Env<R>) {
    let script = "while true; do echo out; echo err >&2; sleep 0.1; done";
    start(env, script, json!({})).await;
    let mut process = attach(env, |attach| attach).await;
    let mut stdout = process.stdout.take().expect("stdout");
    let mut stderr = process.stderr.take().expect("stderr");
    assert!(!until(env, &mut stdout, "out\nout\n").await.contains("err"));
    assert!(!until(env, &mut stderr, "err\nerr\n").await.contains("out"));
}

async fn input_reaches_the_process<R: Drive>(env: &Env<R>) {
    start(env, "cat", json!({"stdin": true})).await;
    let mut process = attach(env, AttachOperation::stdin).await;
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes()).await.expect("it is read");
        until(env, &mut stdout, line).await;
    }
}

async fn a_terminal_is_spoken_to<R: Drive>(env: &Env<R>) {
    let options = json!({"stdin": true, "tty": true});
    start(env, "exec sh", options).await;
    let mut process = attach(env, |attach| attach.stdin().tty()).await;
    assert!(process.stderr.is_none());
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    stdin
        .write_all(b"echo $((6*7))7\n")
        .await
        .expect("it is read");
    until(env, &mut stdout, "427").await;
}

async fn a_terminal_has_the_size_that_was_set<R: Drive>(env: &Env<R>) {
    let options = json!({"stdin": true, "tty": true});
    start(env, "exec sh", options).await;
    let mut process = attach(env, |attach| attach.stdin().tty()).await;
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    process.resize(101, 37).expect("there is a terminal");
    // It takes a moment until the terminal has it.
    stdin
        .write_all(b"while true; do stty size; sleep 0.1; done\n")
        .await
        .expect("it is read");
    until(env, &mut stdout, "37 101").await;
}

async fn the_end_of_the_container_ends_the_session<R: Drive>(env: &Env<R>) {
    start(
        env,
        "read line; echo got $line; exit 3",
        json!({"stdin": true}),
    )
    .await;
    let mut process = attach(env, AttachOperation::stdin).await;
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    stdin.write_all(b"hello\n").await.expect("it is read");
    until(env, &mut stdout, "got hello").await;
    let outcome = env.within(Duration::from_mins(1), process.wait()).await;
    // Attach never tells the exit code.
    let outcome = outcome.expect("it ends");
    assert!(!matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
}

async fn leaving_lets_the_process_go_on<R: Drive>(env: &Env<R>) {
    start(env, TICK, json!({"stdin": true})).await;
    for _ in 0..3 {
        let mut process = attach(env, AttachOperation::stdin).await;
        let mut stdout = process.stdout.take().expect("stdout");
        until(env, &mut stdout, "tick").await;
        process.close();
        let outcome = process.wait().await;
        assert!(
            matches!(outcome, Outcome::Aborted(Abort::Closed)),
            "{outcome:?}"
        );
    }
    let pod = env
        .send(env.api::<Pod>().get("box"))
        .await
        .expect("it is there");
    assert_eq!(phase(&pod), "Running");
}

async fn input_that_ends_once_ends_the_process<R: Drive>(env: &Env<R>) {
    start(
        env,
        "cat; echo end",
        json!({"stdin": true, "stdinOnce": true}),
    )
    .await;
    let mut process = attach(env, AttachOperation::stdin).await;
    let mut stdin = process.stdin.take().expect("stdin");
    stdin.write_all(b"hello\n").await.expect("it is read");
    stdin.finish().expect("v5");
    until_pod(env, "box", |pod| phase(pod) == "Succeeded").await;
    let outcome = env.within(Duration::from_mins(1), process.wait()).await;
    assert!(outcome.is_some());
}

async fn several_may_watch_at_once<R: Drive>(env: &Env<R>) {
    start(env, TICK, json!({})).await;
    let watchers = (0..4).map(|_| async {
        let process = env.client.open(env.api::<Pod>().attach("box")).await;
        let mut stdout = process.expect("a session").stdout.take().expect("stdout");
        until(env, &mut stdout, "tick\ntick\n").await;
    });
    futures_util::future::join_all(watchers).await;
}

async fn a_missing_pod_is_not_found<R: Drive>(env: &Env<R>) {
    let error = failure(env.client.open(env.api::<Pod>().attach("none")).await);
    assert!(error.is_not_found(), "{error}");
}

async fn a_missing_container_is_told<R: Drive>(env: &Env<R>) {
    start(env, TICK, json!({})).await;
    let attach = env.api::<Pod>().attach("box").container("none");
    let error = failure(env.client.open(attach).await);
    assert!(error.is_bad_request(), "{error}");
}
