//! Programs, for credentials.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;

use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::Tail;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Runs it to its end; dropping the future kills it.
pub(crate) async fn run(command: ProcessCommand) -> io::Result<ProcessOutput> {
    let mut process = Command::new(&command.program);
    process
        .args(&command.args)
        .envs(
            command
                .env
                .iter()
                .map(|(name, value)| (name, value.expose())),
        )
        .stdin(if command.interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut process = process.spawn()?;
    let (Some(stdout), Some(mut stderr)) = (process.stdout.take(), process.stderr.take()) else {
        return Err(io::Error::other("the program has no output"));
    };
    let mut output = Vec::new();
    let mut tail = Tail::new(command.max_stderr, command.show_stderr);
    let most = command.max_stdout.saturating_add(1);
    let mut stdout = stdout.take(u64::try_from(most).unwrap_or(u64::MAX));
    let code = {
        let complaints = async {
            let mut chunk = [0; 4096];
            loop {
                match stderr.read(&mut chunk).await? {
                    0 => return Ok::<_, io::Error>(()),
                    n => tail.push(&chunk[..n]),
                }
            }
        };
        let result = async {
            stdout.read_to_end(&mut output).await?;
            if output.len() >= most {
                process.kill().await?;
            }
            process.wait().await
        };
        let (mut complaints, mut result) = (pin!(complaints), pin!(result));
        let (mut silent, mut status) = (false, None);
        poll_fn(|cx| {
            if !silent && let Poll::Ready(end) = complaints.as_mut().poll(cx) {
                end?;
                silent = true;
            }
            if status.is_none()
                && let Poll::Ready(end) = result.as_mut().poll(cx)
            {
                status = Some(end?);
                // What it wrote last may have come meanwhile. A program that it has left behind is not waited for.
                if !silent {
                    let _ = complaints.as_mut().poll(cx)?;
                }
            }
            match status {
                Some(status) => Poll::Ready(Ok::<_, io::Error>(status.code())),
                None => Poll::Pending,
            }
        })
        .await?
    };
    Ok(ProcessOutput::new(code, output, tail.into_bytes()))
}
