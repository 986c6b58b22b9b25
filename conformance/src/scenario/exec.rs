//! Commands in containers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kubewire::session::{Abort, Outcome, SessionOptions, Timeout};
use kubewire::{ErrorKind, ExecOperation};
use kubewire_driver::{Drive, Output};
use serde_json::json;

use super::Need::Node;
use super::attach::until;
use super::pods::{all, create_pod, finish_pod, pod, run_pod, sh, until_pod};
use super::{Calls, Env};

driven! { Exec;
    exec_reports_output_error_output_and_exit_code: Node;
    exit_codes_are_those_of_the_process: Node;
    a_killed_process_has_a_code_above_128: Node;
    arguments_arrive_as_they_are: Node;
    a_terminal_has_one_output: Node;
    a_terminal_ends_by_control_d: Node;
    an_output_that_is_not_wanted_does_not_come: Node;
    input_may_be_empty: Node;
    input_may_be_all_there_is: Node;
    commands_run_side_by_side: Node;
    a_container_is_chosen: Node;
    bytes_of_any_value_go_through: Node;
    what_a_command_leaves_is_there_for_the_next: Node;
    a_pod_that_has_ended_runs_nothing: Node;
    a_pod_that_is_deleted_ends_its_sessions: Node;
    a_refused_upgrade_is_an_api_error: Node;
    a_storm_of_sizes_leaves_the_last_one: Node;
    output_after_the_end_of_the_input_arrives: Node;
    a_total_timeout_returns_what_was_written_so_far: Node;
    an_idle_timeout_ends_a_silent_session: Node;
    a_closed_session_says_so: Node;
}

async fn box_<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
}

async fn output<R: Drive>(env: &Env<R>, exec: ExecOperation, input: &[u8]) -> Output {
    let process = env.client.open(exec).await.expect("a session");
    process.output(input).await.expect("the output")
}

async fn exit_codes_are_those_of_the_process<R: Drive>(env: &Env<R>) {
    box_(env).await;
    for code in [0, 1, 2, 126, 200, 255] {
        let output = output(env, sh(env, &format!("exit {code}")), b"").await;
        assert!(
            matches!(output.outcome, Outcome::Exited(c) if c == code),
            "{output:?}"
        );
    }
}

async fn a_killed_process_has_a_code_above_128<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let output = output(env, sh(env, "kill -9 $$"), b"").await;
    assert!(matches!(output.outcome, Outcome::Exited(137)), "{output:?}");
}

async fn arguments_arrive_as_they_are<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let arguments = [
        "",
        " a  b ",
        "*",
        "$HOME",
        "'\"",
        "a&b=c+d%20",
        "ünï 文件",
        "--",
        "x\ny",
    ];
    let command = ["printf", "[%s]"].into_iter().chain(arguments);
    let output = output(env, env.api::<Pod>().exec("box").command(command), b"").await;
    let expected: Vec<_> = arguments
        .iter()
        .map(|argument| format!("[{argument}]"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected.concat());
}

async fn a_terminal_has_one_output<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let exec = sh(
        env,
        "echo out; echo err >&2; test -t 0 && test -t 1 && echo yes",
    )
    .stdin()
    .tty();
    let process = env.client.open(exec).await.expect("a session");
    assert!(process.stderr.is_none());
    let output = process.output(b"").await.expect("the output");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "out\r\nerr\r\nyes\r\n"
    );
    assert!(output.stderr.is_empty());
}

async fn a_terminal_ends_by_control_d<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let mut process = env
        .client
        .open(sh(env, "cat; exit 3").stdin().tty())
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    stdin.write_all(b"hello\n\x04").await.expect("it is read");
    let mut stdout = process.stdout.take().expect("stdout");
    let text = all(&mut stdout).await;
    // The terminal's echo, and cat's.
    assert!(String::from_utf8_lossy(&text).matches("hello").count() >= 2);
    assert!(matches!(process.wait().await, Outcome::Exited(3)));
}

async fn an_output_that_is_not_wanted_does_not_come<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let script = "echo out; echo err >&2";
    let out = output(env, sh(env, script).without_stderr(), b"").await;
    assert_eq!(
        (out.stdout.as_slice(), out.stderr.as_slice()),
        (&b"out\n"[..], &b""[..])
    );
    let err = output(env, sh(env, script).without_stdout(), b"").await;
    assert_eq!(
        (err.stdout.as_slice(), err.stderr.as_slice()),
        (&b""[..], &b"err\n"[..])
    );
}

async fn input_may_be_empty<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let output = output(env, sh(env, "wc -c").stdin(), b"").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    assert!(matches!(output.outcome, Outcome::Exited(0)));
}

async fn input_may_be_all_there_is<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let exec = sh(env, "cat > /tmp/in; exit 4")
        .stdin()
        .without_stdout()
        .without_stderr();
    let out = output(env, exec, b"some input").await;
    assert!(matches!(out.outcome, Outcome::Exited(4)), "{out:?}");
    let out = output(env, sh(env, "cat /tmp/in"), b"").await;
    assert_eq!(out.stdout, b"some input");
}

async fn commands_run_side_by_side<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let runs = (0..10).map(|n| output(env, sh(env, &format!("cat; exit {n}")).stdin(), b"input"));
    for (n, output) in futures_util::future::join_all(runs)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(output.stdout, b"input");
        assert_eq!(
            output
                .outcome
                .code()
                .and_then(|code| usize::try_from(code).ok()),
            Some(n)
        );
    }
}

async fn a_container_is_chosen<R: Drive>(env: &Env<R>) {
    let mut two = pod(env, "box", "echo main > /tmp/name; sleep 3600");
    let script = "echo side > /tmp/name; sleep 3600";
    let side =
        json!({"name": "side", "image": env.place().image(), "command": ["sh", "-c", script]});
    if let Some(containers) = two["spec"]["containers"].as_array_mut() {
        containers.push(side);
    }
    create_pod(env, two).await;
    until_pod(env, "box", |pod| {
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        containers.is_some_and(|all| all.len() == 2 && all.iter().all(|c| c.ready))
    })
    .await;
    for name in ["main", "side"] {
        let script = "while ! test -s /tmp/name; do sleep 0.05; done; cat /tmp/name";
        let output = output(env, sh(env, script).container(name), b"").await;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), name);
    }
}

async fn bytes_of_any_value_go_through<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let output = output(env, sh(env, "cat").stdin(), &all).await;
    assert!(output.stdout == all, "{} bytes", output.stdout.len());
}

async fn what_a_command_leaves_is_there_for_the_next<R: Drive>(env: &Env<R>) {
    box_(env).await;
    output(env, sh(env, "echo kept > /tmp/file"), b"").await;
    let output = output(env, sh(env, "cat /tmp/file"), b"").await;
    assert_eq!(output.stdout, b"kept\n");
}

async fn a_pod_that_has_ended_runs_nothing<R: Drive>(env: &Env<R>) {
    finish_pod(env, "box", "true").await;
    // Refused before the upgrade or after it, as the server likes.
    match env.client.open(sh(env, "true")).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Api, "{error}"),
        Ok(mut process) => {
            let outcome = process.wait().await;
            assert!(matches!(outcome, Outcome::Failure(_)), "{outcome:?}");
        }
    }
}

async fn a_pod_that_is_deleted_ends_its_sessions<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let mut process = env
        .client
        .open(sh(env, "sleep 3600").stdin())
        .await
        .expect("a session");
    env.send(env.api::<Pod>().delete("box").grace_period_seconds(0))
        .await
        .expect("it is deleted");
    let outcome = env.within(Duration::from_mins(1), process.wait()).await;
    let outcome = outcome.expect("it ends");
    assert!(!matches!(outcome, Outcome::Exited(0)), "{outcome:?}");
}

async fn exec_reports_output_error_output_and_exit_code<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let process = env
        .client
        .open(sh(env, "cat; echo oops >&2; exit 3").stdin())
        .await
        .expect("a session");
    let output = process.output(b"hello\n").await.expect("the output");
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"hello\n"[..], &b"oops\n"[..])
    );
    assert!(matches!(output.outcome, Outcome::Exited(3)), "{output:?}");

    let missing = env
        .client
        .open(env.api::<Pod>().exec("box").command(["no-such-program"]))
        .await
        .expect("a session");
    let output = missing.output(b"").await.expect("an end");
    assert!(
        matches!(&output.outcome, Outcome::Failure(status) if status.is_failure()),
        "{output:?}"
    );
}

async fn a_refused_upgrade_is_an_api_error<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let error = env
        .client
        .open(env.api::<Pod>().exec("none").command(["true"]))
        .await
        .expect_err("no such pod");
    assert!(error.is_not_found(), "{error}");
    let error = env
        .client
        .open(sh(env, "true").container("none"))
        .await
        .expect_err("no such container");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(400), "{error}");
    let error = env
        .client
        .open(env.api::<Pod>().exec("box"))
        .await
        .expect_err("no command");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

async fn a_storm_of_sizes_leaves_the_last_one<R: Drive>(env: &Env<R>) {
    box_(env).await;
    // Sizes go ahead of data, but a node sets them one by one, and gives data to the process meanwhile.
    let script = "read x; while true; do stty size; sleep 0.1; done";
    let mut process = env
        .client
        .open(sh(env, script).stdin().tty())
        .await
        .expect("a session");
    for n in 1..2000 {
        process.resize(80, n).expect("there is a terminal");
    }
    process.resize(132, 43).expect("there is a terminal");
    assert_eq!(
        process
            .resize(0, 1)
            .expect_err("no terminal has no columns")
            .kind(),
        ErrorKind::Usage
    );
    let mut stdin = process.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").await.expect("it is read");
    let mut stdout = process.stdout.take().expect("stdout");
    until(env, &mut stdout, "43 132").await;
}

async fn output_after_the_end_of_the_input_arrives<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let process = env
        .client
        .open(sh(env, "wc -c; echo more; exit 2").stdin())
        .await
        .expect("a session");
    let output = process.output(&vec![0; 70_000]).await.expect("the output");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "70000\nmore\n");
    assert!(matches!(output.outcome, Outcome::Exited(2)));
}

async fn a_total_timeout_returns_what_was_written_so_far<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let options = SessionOptions::default().total_timeout(Duration::from_secs(3));
    let process = env
        .client
        .open(sh(env, "echo partial; sleep 3600").options(options))
        .await
        .expect("a session");
    let output = process.output(b"").await.expect("the output");
    assert_eq!(output.stdout, b"partial\n");
    assert!(
        matches!(
            output.outcome,
            Outcome::Aborted(Abort::Timeout(Timeout::Total))
        ),
        "{output:?}"
    );
}

async fn an_idle_timeout_ends_a_silent_session<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let options = SessionOptions::default().idle_timeout(Duration::from_millis(200));
    let mut process = env
        .client
        .open(sh(env, "sleep 3600").options(options))
        .await
        .expect("a session");
    let outcome = process.wait().await;
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Timeout(Timeout::Idle))),
        "{outcome:?}"
    );
}

async fn a_closed_session_says_so<R: Drive>(env: &Env<R>) {
    box_(env).await;
    let mut process = env
        .client
        .open(sh(env, "sleep 3600").stdin())
        .await
        .expect("a session");
    process.close();
    let outcome = process.wait().await;
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Closed)),
        "{outcome:?}"
    );
}
