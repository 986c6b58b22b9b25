//! The streams of a session: fast, slow, unread, dropped.

use std::time::Duration;

use futures_util::future::join;
use kubewire::session::Outcome;
use kubewire::{ErrorKind, Limits};
use kubewire_driver::Drive;

use super::Need::{Embedded, FastIo, Node};
use super::pods::{all, run_pod, sh};
use super::{Calls, Env};

driven! { Exec;
    exec_moves_64_mib_out_with_bounded_memory_and_a_slow_reader: Node, FastIo;
    exec_moves_64_mib_in_with_bounded_memory: Node, FastIo;
    stderr_can_be_read_while_stdout_is_not: Node;
    stdout_can_be_read_while_stderr_is_not: Node;
    a_dropped_reader_does_not_hold_up_the_process: Node, FastIo;
    waiting_without_reading_does_not_hang: Node, FastIo;
    writing_after_the_process_ended_fails: Node;
    // A real server does not notice if the process leaves much of its input.
    a_process_that_exits_while_it_is_written_to_reports_its_code: Embedded;
    ten_thousand_small_writes_arrive_in_order: Node;
}

const SIZE: usize = 64 << 20;

async fn pod<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
}

async fn exec_moves_64_mib_out_with_bounded_memory_and_a_slow_reader<R: Drive>(env: &Env<R>) {
    let client = env.builder().limits(limits()).build().expect("a client");
    pod(env).await;
    let mut process = client
        .open(sh(env, "head -c 67108864 /dev/zero; exit 4"))
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
            env.pause(Duration::from_millis(5)).await;
        }
        assert!(chunk.iter().all(|byte| *byte == 0));
    }
    assert_eq!(total, SIZE);
    assert!(most <= bound(&limits()), "{most} bytes were held");
    assert!(matches!(process.wait().await, Outcome::Exited(4)));
}

async fn exec_moves_64_mib_in_with_bounded_memory<R: Drive>(env: &Env<R>) {
    let client = env.builder().limits(limits()).build().expect("a client");
    pod(env).await;
    let mut process = client
        .open(sh(env, "wc -c").stdin())
        .await
        .expect("a session");
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
    let ((), output) = join(write, all(&mut stdout)).await;
    let output = String::from_utf8(output).expect("text");
    assert_eq!(output.trim(), SIZE.to_string());
    assert!(most <= bound(&limits()), "{most} bytes were held");
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
}

async fn stderr_can_be_read_while_stdout_is_not<R: Drive>(env: &Env<R>) {
    pod(env).await;
    // Less than a window, so that there is nothing to wait for.
    let script = "head -c 200000 /dev/zero; echo first >&2; exit 1";
    let mut process = env.client.open(sh(env, script)).await.expect("a session");
    let mut stderr = process.stderr.take().expect("stderr");
    assert_eq!(all(&mut stderr).await, b"first\n");
    let mut stdout = process.stdout.take().expect("stdout");
    assert_eq!(
        all(&mut stdout).await.len(),
        200_000,
        "what was not read in the meantime is still there"
    );
    assert!(matches!(process.wait().await, Outcome::Exited(1)));
}

async fn a_dropped_reader_does_not_hold_up_the_process<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let script = "head -c 20000000 /dev/zero; echo done >&2; exit 5";
    let mut process = env.client.open(sh(env, script)).await.expect("a session");
    drop(process.stdout.take());
    let mut stderr = process.stderr.take().expect("stderr");
    assert_eq!(stderr.chunk().await.as_deref(), Some(&b"done\n"[..]));
    assert!(matches!(process.wait().await, Outcome::Exited(5)));
}

async fn waiting_without_reading_does_not_hang<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let mut process = env
        .client
        .open(sh(env, "cat; head -c 20000000 /dev/zero; exit 6").stdin())
        .await
        .expect("a session");
    assert!(matches!(process.wait().await, Outcome::Exited(6)));
}

async fn writing_after_the_process_ended_fails<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let mut process = env
        .client
        .open(sh(env, "exit 0").stdin())
        .await
        .expect("a session");
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

fn bound(limits: &Limits) -> usize {
    2 * limits.receive_window + limits.send_window + (256 << 10)
}

fn limits() -> Limits {
    Limits {
        receive_window: 128 << 10,
        send_window: 64 << 10,
        ..Limits::default()
    }
}

async fn a_process_that_exits_while_it_is_written_to_reports_its_code<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let mut process = env
        .client
        .open(sh(env, "head -c 10 >/dev/null; exit 9").stdin())
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

async fn stdout_can_be_read_while_stderr_is_not<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let script = "head -c 200000 /dev/zero >&2; echo first; exit 1";
    let mut process = env.client.open(sh(env, script)).await.expect("a session");
    let mut stdout = process.stdout.take().expect("stdout");
    assert_eq!(stdout.chunk().await.as_deref(), Some(&b"first\n"[..]));
    let mut stderr = process.stderr.take().expect("stderr");
    assert_eq!(all(&mut stderr).await.len(), 200_000);
    assert!(matches!(process.wait().await, Outcome::Exited(1)));
}

async fn ten_thousand_small_writes_arrive_in_order<R: Drive>(env: &Env<R>) {
    pod(env).await;
    let mut process = env
        .client
        .open(sh(env, "cat").stdin())
        .await
        .expect("a session");
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
    let ((), text) = join(write, all(&mut stdout)).await;
    let expected: String = (0..10_000)
        .map(|n| format!("{n}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert!(text == expected.as_bytes(), "{} bytes", text.len());
    assert!(matches!(process.wait().await, Outcome::Exited(0)));
}
