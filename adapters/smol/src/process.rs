//! Programs, for credentials.

use std::io;
use std::process::Stdio;

use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{program, program_output};
use smol::process::Command;
use smol_hyper::rt::FuturesIo;

/// Runs it to its end; dropping the future kills it.
pub(crate) async fn run(command: ProcessCommand) -> io::Result<ProcessOutput> {
    let stdin = if command.interactive {
        Stdio::inherit()
    } else {
        Stdio::null()
    };
    let mut process = Command::from(program(&command))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
        return Err(io::Error::other("the program has no output"));
    };
    let end = |kill| async move {
        if kill {
            process.kill()?;
        }
        process.status().await
    };
    program_output(
        &command,
        FuturesIo::new(stdout),
        FuturesIo::new(stderr),
        end,
    )
    .await
}
