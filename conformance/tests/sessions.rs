//! Exec and port-forward sessions against the embedded server, on every executor.

use futures_util::future::join;
use k8s_openapi::api::core::v1::Pod;
use kubewire::session::{Abort, Outcome, SessionOptions};
use kubewire::{Api, ErrorKind, Limits};
use kubewire_conformance::harness::{client, drop_at_await, run_pod, wait_for_port, within};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    exec_moves_64_mib_out_with_bounded_memory_and_a_slow_reader,
    exec_moves_64_mib_in_with_bounded_memory,
    exec_reports_output_error_output_and_exit_code,
    stderr_can_be_read_while_stdout_is_not,
    a_dropped_reader_does_not_hold_up_the_process,
    waiting_without_reading_does_not_hang,
    writing_after_the_process_ended_fails,
    a_refused_upgrade_is_an_api_error,
    a_lost_connection_wakes_everybody,
    dropping_all_handles_closes_the_connection,
    sessions_may_be_dropped_at_every_await,
    a_forwarded_port_carries_bytes_both_ways,
    a_refused_port_is_an_error_of_its_stream,
);

const SIZE: usize = 64 << 20;

fn pods() -> Api<Pod> {
    Api::namespaced("default")
}

async fn pod<R: Drive>(client: &Client<R>) {
    run_pod(client, "box", "nc -lk -p 7000 -e cat").await;
}

fn sh(script: &str) -> kubewire::ExecOperation {
    pods().exec("box").command(["sh", "-c", script])
}

/// The most that a session may hold: its windows, and what is on its way between them.
fn bound(limits: &Limits) -> usize {
    2 * limits.receive_window + limits.send_window + (256 << 10)
}

/// Small windows, so that 64 MiB would show if they were held.
fn limits() -> Limits {
    Limits {
        receive_window: 128 << 10,
        send_window: 64 << 10,
        ..Limits::default()
    }
}

async fn exec_moves_64_mib_out_with_bounded_memory_and_a_slow_reader<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let client = client(server, runtime.clone())
        .limits(limits())
        .build()
        .expect("a client");
    pod(&client).await;
    let mut process = client
        .open(sh("head -c 67108864 /dev/zero; exit 4"))
        .await
        .expect("a session");
    let mut stdout = process.stdout.take().expect("stdout");
    let (mut total, mut chunks, mut most) = (0, 0_u32, 0);
    while let Some(chunk) = stdout.chunk().await {
        total += chunk.len();
        chunks += 1;
        most = most.max(process.buffered());
        if chunks % 100 == 0 {
            // Time for the server to fill every window there is.
            runtime
                .sleep_until(runtime.now() + std::time::Duration::from_millis(5))
                .await;
        }
        assert!(chunk.iter().all(|byte| *byte == 0));
    }
    assert_eq!(total, SIZE);
    assert!(most <= bound(&limits()), "{most} bytes were held");
    assert!(matches!(process.wait().await, Outcome::Exited(4)));
}

async fn exec_moves_64_mib_in_with_bounded_memory<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let client = client(server, runtime)
        .limits(limits())
        .build()
        .expect("a client");
    pod(&client).await;
    let mut process = client.open(sh("wc -c").stdin()).await.expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    let block = vec![7; 1 << 20];
    let mut most = 0;
    let write = async {
        for _ in 0..SIZE / block.len() {
            stdin.write_all(&block).await.expect("the input is taken");
            most = most.max(process.buffered());
        }
        stdin.finish().expect("the input ends");
    };
    let read = async {
        let mut output = Vec::new();
        while let Some(chunk) = stdout.chunk().await {
            output.extend_from_slice(&chunk);
        }
        String::from_utf8(output).expect("text")
    };
    let ((), output) = join(write, read).await;
    assert_eq!(output.trim(), SIZE.to_string());
    assert!(most <= bound(&limits()), "{most} bytes were held");
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
}

async fn exec_reports_output_error_output_and_exit_code<R: Drive>(
    _: &Server,
    client: Client<R>,
    _: R,
) {
    pod(&client).await;
    let process = client
        .open(sh("cat; echo oops >&2; exit 3").stdin())
        .await
        .expect("a session");
    let output = process.output(b"hello\n").await.expect("the output");
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"hello\n"[..], &b"oops\n"[..])
    );
    assert!(matches!(output.outcome, Outcome::Exited(3)), "{output:?}");

    let missing = client
        .open(pods().exec("box").command(["no-such-program"]))
        .await
        .expect("a session");
    let output = missing.output(b"").await.expect("an end");
    assert!(
        matches!(&output.outcome, Outcome::Failure(status) if status.is_failure()),
        "{output:?}"
    );
}

async fn stderr_can_be_read_while_stdout_is_not<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    // Less than a window, so that there is nothing to wait for.
    let script = "head -c 200000 /dev/zero; echo first >&2; exit 1";
    let mut process = client.open(sh(script)).await.expect("a session");
    let mut stderr = process.stderr.take().expect("stderr");
    let mut text = Vec::new();
    while let Some(chunk) = stderr.chunk().await {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text, b"first\n");
    let mut stdout = process.stdout.take().expect("stdout");
    let mut total = 0;
    while let Some(chunk) = stdout.chunk().await {
        total += chunk.len();
    }
    assert_eq!(
        total, 200_000,
        "what was not read in the meantime is still there"
    );
    assert!(matches!(process.wait().await, Outcome::Exited(1)));
}

async fn a_dropped_reader_does_not_hold_up_the_process<R: Drive>(
    _: &Server,
    client: Client<R>,
    _: R,
) {
    pod(&client).await;
    let script = "head -c 20000000 /dev/zero; echo done >&2; exit 5";
    let mut process = client.open(sh(script)).await.expect("a session");
    drop(process.stdout.take());
    let mut stderr = process.stderr.take().expect("stderr");
    assert_eq!(stderr.chunk().await.as_deref(), Some(&b"done\n"[..]));
    assert!(matches!(process.wait().await, Outcome::Exited(5)));
}

async fn waiting_without_reading_does_not_hang<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let mut process = client
        .open(sh("cat; head -c 20000000 /dev/zero; exit 6").stdin())
        .await
        .expect("a session");
    assert!(matches!(process.wait().await, Outcome::Exited(6)));
}

async fn writing_after_the_process_ended_fails<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let mut process = client.open(sh("exit 0").stdin()).await.expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
    assert_eq!(
        stdin
            .write_all(&vec![0; 1 << 20])
            .await
            .expect_err("nobody reads")
            .kind(),
        ErrorKind::Closed
    );
}

async fn a_refused_upgrade_is_an_api_error<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let error = client
        .open(pods().exec("none").command(["true"]))
        .await
        .expect_err("no such pod");
    assert!(error.is_not_found(), "{error}");
    let error = client
        .open(sh("true").container("none"))
        .await
        .expect_err("no such container");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(400), "{error}");
    let error = client
        .open(pods().exec("box"))
        .await
        .expect_err("no command");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

async fn a_lost_connection_wakes_everybody<R: Drive>(server: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    let mut process = client
        .open(sh("sleep 3600").stdin())
        .await
        .expect("a session");
    let mut stdin = process.stdin.take().expect("stdin");
    let mut stdout = process.stdout.take().expect("stdout");
    let full = async {
        // Nobody reads: this waits for room until the connection is lost.
        loop {
            if let Err(error) = stdin.write_all(&vec![0; 64 << 10]).await {
                return error;
            }
        }
    };
    let cut = async {
        while server.stats().websockets_open == 0 {
            std::thread::yield_now();
        }
        server.close_connections();
    };
    let (error, (end, ())) = join(full, join(stdout.chunk(), cut)).await;
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(end, None);
    let outcome = process.wait().await;
    assert!(
        matches!(
            outcome,
            Outcome::Aborted(Abort::ConnectionLost | Abort::Transport(_))
        ),
        "{outcome:?}"
    );
}

async fn dropping_all_handles_closes_the_connection<R: Drive>(
    server: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    for round in 0..50 {
        let process = client.open(sh("cat").stdin()).await.expect("a session");
        if round % 2 == 0 {
            let kubewire_driver::Process { stdin, stdout, .. } = process;
            drop(stdout);
            drop(stdin);
        }
    }
    while server.stats().websockets_open > 0 {
        runtime
            .sleep_until(runtime.now() + std::time::Duration::from_millis(5))
            .await;
    }
}

async fn sessions_may_be_dropped_at_every_await<R: Drive>(
    _: &Server,
    client: Client<R>,
    runtime: R,
) {
    pod(&client).await;
    for awaits in 1..10 {
        drop_at_await(client.open(sh("cat").stdin()), awaits).await;
        let process = client
            .open(sh("cat").stdin())
            .await
            .expect("the client is usable");
        drop_at_await(process.output(&vec![1; 300_000]), awaits).await;

        let mut process = client
            .open(sh("cat").stdin())
            .await
            .expect("the client is usable");
        let mut stdin = process.stdin.take().expect("stdin");
        let mut stdout = process.stdout.take().expect("stdout");
        // It would wait for ever.
        let waiting = drop_at_await(process.wait(), awaits);
        within(&runtime, std::time::Duration::from_millis(20), waiting).await;
        stdin
            .write_all(b"ping\n")
            .await
            .expect("the session is usable");
        // A `chunk` that was dropped took nothing; one that came to its end took all.
        if !drop_at_await(stdout.chunk(), awaits).await {
            assert_eq!(stdout.chunk().await.as_deref(), Some(&b"ping\n"[..]));
        }
        stdin.finish().expect("the input ends");
        assert!(matches!(process.wait().await, Outcome::Exited(0)));
    }
}

async fn a_forwarded_port_carries_bytes_both_ways<R: Drive>(_: &Server, client: Client<R>, _: R) {
    pod(&client).await;
    wait_for_port(&client, "box", 7000).await;
    let mut forward = client
        .open(pods().port_forward("box", [7000, 7000]))
        .await
        .expect("a session");
    let second = forward.connections.pop().expect("two connections");
    let first = forward.connections.pop().expect("two connections");
    let exchange = async |stream: kubewire_driver::PortStream, byte: u8| {
        let (mut reader, mut writer) = stream.split();
        let data = vec![byte; 3 << 20];
        let write = async { writer.write_all(&data).await.expect("the echo reads") };
        let read = async {
            let mut got = Vec::new();
            while got.len() < data.len() {
                got.extend_from_slice(&reader.chunk().await.expect("the echo answers"));
            }
            got
        };
        let ((), got) = join(write, read).await;
        assert!(got == data);
        assert_eq!(
            writer.finish().expect_err("v4 has no half-close").kind(),
            ErrorKind::Usage
        );
    };
    join(exchange(first, 1), exchange(second, 2)).await;
}

async fn a_refused_port_is_an_error_of_its_stream<R: Drive>(_: &Server, client: Client<R>, _: R) {
    use ::smol::io::AsyncReadExt as _;
    pod(&client).await;
    let options = SessionOptions::default();
    let operation = pods().port_forward("box", [7001]).options(options);
    let mut forward = client.open(operation).await.expect("a session");
    let error = forward.connections[0]
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("nobody listens");
    assert!(error.to_string().contains("7001"), "{error}");
    let error = client
        .open(pods().port_forward("box", [0]))
        .await
        .expect_err("there is no port 0");
    assert_eq!(error.kind(), ErrorKind::Usage);
}
