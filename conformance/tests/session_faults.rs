//! Whatever goes wrong with a session, it ends in bounded time and says how.

use std::time::{Duration, Instant};

use futures_util::future::join;
use k8s_openapi::api::core::v1::Pod;
use kubewire::config::Config;
use kubewire::session::{Abort, Outcome, SessionOptions, Timeout};
use kubewire::{Api, Endpoint, ErrorKind};
use kubewire_conformance::harness::{Relay, run_pod, within};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    a_server_that_vanishes_is_noticed_by_the_pong_deadline,
    a_total_timeout_returns_what_was_written_so_far,
    an_idle_timeout_ends_a_silent_session,
    a_process_that_exits_while_it_is_written_to_reports_its_code,
    stdout_can_be_read_while_stderr_is_not,
    ten_thousand_small_writes_arrive_in_order,
    a_storm_of_sizes_leaves_the_last_one,
    output_after_the_end_of_the_input_arrives,
    a_thousand_sessions_leave_nothing_behind,
    a_closed_session_says_so,
);

fn pods() -> Api<Pod> {
    Api::namespaced("default")
}

async fn pod<R: Drive>(client: &Client<R>) {
    run_pod(client, "box", "sleep 3600").await;
}

fn sh(script: &str) -> kubewire::ExecOperation {
    pods().exec("box").command(["sh", "-c", script])
}

async fn a_server_that_vanishes_is_noticed_by_the_pong_deadline<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    let relay = Relay::start(server.addr()).expect("the relay starts");
    let endpoint = Endpoint::parse(&format!("http://{}", relay.addr())).expect("a URL");
    let config = Config::new(endpoint).token(server.token());
    let through = Client::builder(config, runtime).build().expect("a client");
    let millis = Duration::from_millis;
    let options = SessionOptions::default()
        .ping_interval(millis(50))
        .pong_timeout(millis(400));
    let mut process = through
        .open(sh("cat").stdin().options(options))
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    stdin.write_all(b"alive").await.expect("it is");
    assert_eq!(stdout.chunk().await.as_deref(), Some(&b"alive"[..]));
    relay.freeze();
    let start = Instant::now();
    let (end, outcome) = join(stdout.chunk(), process.wait()).await;
    assert_eq!(end, None);
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Timeout(Timeout::Pong))),
        "{outcome:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        stdin.write_all(b"gone").await.expect_err("it is").kind(),
        ErrorKind::Closed
    );
}

async fn a_total_timeout_returns_what_was_written_so_far<R: Drive>(
    _: &Server,
    client: Client<R>,
    _: R,
) {
    pod(&client).await;
    let options = SessionOptions::default().total_timeout(Duration::from_millis(500));
    let process = client
        .open(sh("echo partial; sleep 3600").options(options))
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

async fn an_idle_timeout_ends_a_silent_session<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let options = SessionOptions::default().idle_timeout(Duration::from_millis(200));
    let mut process = client
        .open(sh("sleep 3600").options(options))
        .await
        .expect("a session");
    let outcome = process.wait().await;
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Timeout(Timeout::Idle))),
        "{outcome:?}"
    );
}

async fn a_process_that_exits_while_it_is_written_to_reports_its_code<R: Drive>(
    _: &Server,
    client: Client<R>,
    _: R,
) {
    pod(&client).await;
    let mut process = client
        .open(sh("head -c 10 >/dev/null; exit 9").stdin())
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let write = async {
        let block = vec![1; 64 << 10];
        loop {
            if let Err(error) = stdin.write_all(&block).await {
                return error;
            }
        }
    };
    let (error, outcome) = join(write, process.wait()).await;
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(matches!(outcome, Outcome::Exited(9)), "{outcome:?}");
}

async fn stdout_can_be_read_while_stderr_is_not<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let script = "head -c 200000 /dev/zero >&2; echo first; exit 1";
    let mut process = client.open(sh(script)).await.expect("a session");
    let mut stdout = process.stdout.take().expect("stdout");
    assert_eq!(stdout.chunk().await.as_deref(), Some(&b"first\n"[..]));
    let mut stderr = process.stderr.take().expect("stderr");
    let mut total = 0;
    while let Some(chunk) = stderr.chunk().await {
        total += chunk.len();
    }
    assert_eq!(total, 200_000);
    assert!(matches!(process.wait().await, Outcome::Exited(1)));
}

async fn ten_thousand_small_writes_arrive_in_order<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let mut process = client.open(sh("cat").stdin()).await.expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    let write = async {
        for n in 0..10_000 {
            stdin
                .write_all(format!("{n}\n").as_bytes())
                .await
                .expect("it is read");
        }
        stdin.finish().expect("v5");
    };
    let read = async {
        let mut text = Vec::new();
        while let Some(chunk) = stdout.chunk().await {
            text.extend_from_slice(&chunk);
        }
        text
    };
    let ((), text) = join(write, read).await;
    let expected: String = (0..10_000)
        .map(|n| format!("{n}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert!(text == expected.as_bytes(), "{} bytes", text.len());
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
}

async fn a_storm_of_sizes_leaves_the_last_one<R: Drive>(_: &Server, client: Client<R>, runtime: R) {
    pod(&client).await;
    let mut process = client
        .open(sh("read x; stty size").stdin().tty())
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
    // Sizes go ahead of data.
    let mut stdin = process.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").await.expect("it is read");
    let mut stdout = process.stdout.take().expect("stdout");
    let read = async {
        let mut text = Vec::new();
        while let Some(chunk) = stdout.chunk().await {
            text.extend_from_slice(&chunk);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = within(&runtime, Duration::from_secs(20), read)
        .await
        .expect("the process ends");
    assert!(text.contains("43 132"), "{text:?}");
}

async fn output_after_the_end_of_the_input_arrives<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let process = client
        .open(sh("wc -c; echo more; exit 2").stdin())
        .await
        .expect("a session");
    let output = process.output(&vec![0; 70_000]).await.expect("the output");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "70000\nmore\n");
    assert!(matches!(output.outcome, Outcome::Exited(2)));
}

async fn a_thousand_sessions_leave_nothing_behind<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    for round in 0..1000 {
        let process = client.open(sh("cat").stdin()).await.expect("a session");
        if round % 3 == 0 {
            process.close();
        }
    }
    while server.stats().websockets_open > 0 {
        runtime
            .sleep_until(runtime.now() + Duration::from_millis(5))
            .await;
    }
    assert_eq!(server.stats().websockets_opened, 1000);
}

async fn a_closed_session_says_so<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let mut process = client
        .open(sh("sleep 3600").stdin())
        .await
        .expect("a session");
    process.close();
    let outcome = process.wait().await;
    assert!(
        matches!(outcome, Outcome::Aborted(Abort::Closed)),
        "{outcome:?}"
    );
}
