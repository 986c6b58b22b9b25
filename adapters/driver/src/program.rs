//! Programs for credentials, up to how a runtime starts and ends them.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::task::{Poll, ready};

use hyper::rt::{Read, ReadBuf};
use kubewire::auth::{ProcessCommand, ProcessOutput};

const CHUNK: usize = 4096;

/// The program, its arguments and its environment: for implementations of [`Host::run`](crate::Host::run). The standard streams
/// are the runtime's affair.
#[must_use]
pub fn program(command: &ProcessCommand) -> std::process::Command {
    let mut process = std::process::Command::new(&command.program);
    process.args(&command.args).envs(
        command
            .env
            .iter()
            .map(|(name, value)| (name, value.expose())),
    );
    process
}

/// Reads what a program writes, to its end: for implementations of [`Host::run`](crate::Host::run). `end` awaits the end
/// of the program; it is told whether to kill it first, because it writes too much.
///
/// # Errors
///
/// Those of reading and of `end`.
///
/// # Cancel safety
///
/// What was read is lost. `end` is dropped, which must kill the program.
pub async fn program_output<F>(
    command: &ProcessCommand,
    mut stdout: impl Read + Unpin,
    mut stderr: impl Read + Unpin,
    end: impl FnOnce(bool) -> F,
) -> io::Result<ProcessOutput>
where
    F: Future<Output = io::Result<ExitStatus>>,
{
    let mut output = Vec::new();
    let mut tail = Tail::new(command.max_stderr, command.show_stderr);
    let status = {
        let complaints = async {
            while read(&mut stderr, CHUNK, |bytes| tail.push(bytes)).await? {}
            Ok::<_, io::Error>(())
        };
        let result = async {
            let most = command.max_stdout.saturating_add(1);
            while output.len() < most {
                let room = CHUNK.min(most - output.len());
                if !read(&mut stdout, room, |bytes| output.extend_from_slice(bytes)).await? {
                    break;
                }
            }
            end(output.len() >= most).await
        };
        let (mut complaints, mut result) = (pin!(complaints), pin!(result));
        let mut silent = false;
        poll_fn(|cx| {
            if !silent && let Poll::Ready(end) = complaints.as_mut().poll(cx) {
                end?;
                silent = true;
            }
            let status = ready!(result.as_mut().poll(cx))?;
            // What it wrote last may have come meanwhile. A program that it has left behind is not waited for.
            if !silent {
                let _ = complaints.as_mut().poll(cx)?;
            }
            Poll::Ready(Ok::<_, io::Error>(status))
        })
        .await?
    };
    Ok(ProcessOutput::new(status.code(), output, tail.bytes))
}

/// Reads once, `max` bytes at most; whether there were any.
async fn read(
    io: &mut (impl Read + Unpin),
    max: usize,
    mut take: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let mut chunk = [0; CHUNK];
    let mut buffer = ReadBuf::new(chunk.get_mut(..max).unwrap_or_default());
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled())).await?;
    take(buffer.filled());
    Ok(!buffer.filled().is_empty())
}

/// The last `max` bytes of what is written to it.
struct Tail {
    bytes: Vec<u8>,
    max: usize,
    show: bool,
}

impl Tail {
    fn new(max: usize, show: bool) -> Self {
        Self {
            bytes: Vec::new(),
            max,
            show,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.show {
            // Nobody is there to be told that it failed.
            let _ = io::Write::write_all(&mut io::stderr(), bytes);
        }
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(self.max);
        self.bytes.drain(..over);
    }
}
