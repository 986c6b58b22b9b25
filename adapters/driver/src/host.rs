//! What credentials need from the machine that the program runs on.

use std::future::{Future, ready};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use kubewire::auth::{ProcessCommand, ProcessOutput};

use crate::Runtime;

/// The machine: programs, files and the wall clock. All have a default; an empty `impl` will do for a
/// runtime whose clients need no exec plugins.
///
/// As with [`Runtime`], all futures may be dropped at any time, which must release what they hold: a
/// program is killed.
pub trait Host: Runtime {
    /// What the clock on the wall says, for credentials that expire.
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Reads the first `max` bytes of a file. The default blocks the thread.
    fn read_file(
        &self,
        path: PathBuf,
        max: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + use<Self> {
        ready(read_start(path, max))
    }

    /// Runs a program to its end: no shell, the own environment with `env` on top, standard input empty unless
    /// `interactive`. Standard output is read up to one byte beyond `max_stdout`, and then the program is
    /// killed. The end of standard error is kept, and shown if `show_stderr`. Why it did not start is
    /// passed on as it is.
    ///
    /// The default is an error of [`io::ErrorKind::Unsupported`].
    fn run(
        &self,
        command: ProcessCommand,
    ) -> impl Future<Output = io::Result<ProcessOutput>> + use<Self> {
        drop(command);
        ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this runtime runs no programs",
        )))
    }
}

/// Reads the first `max` bytes of a file, and blocks meanwhile: for implementations of [`Host::read_file`].
pub fn read_start(path: PathBuf, max: usize) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(u64::try_from(max).unwrap_or(u64::MAX))
        .read_to_end(&mut content)?;
    Ok(content)
}
