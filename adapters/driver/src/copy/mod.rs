//! Files to and from containers, by `tar` over exec.
//!
//! The container needs a `tar`: GNU's, `BusyBox`'s or any other that knows `tar xpf - -C DIR` and `tar cf - -C DIR NAME`.
//! [`Client::copy_to`](crate::Client::copy_to) and [`Client::copy_from`](crate::Client::copy_from) copy between file systems;
//! [`Client::upload`](crate::Client::upload) and [`Client::download`](crate::Client::download), on which they are built, between
//! the container and values of the program. All hold pieces of 64 KiB and the windows of the session, never a whole file.
//!
//! # What a container can do
//!
//! Its archive is not trusted. A name that is absolute, empty, has `..` or a drive letter is refused with an
//! [`UnpackError`] before anything of its entry is written. Links, devices and pipes are never made, but counted as
//! skipped. Nothing is written through a symbolic link that is already there, wherever it points. A file comes under
//! a name of its own first, and takes its place when it is complete. The size of what comes is not limited.
//!
//! # Errors
//!
//! What `tar` reports is [`ErrorKind::Api`] with a [`TarFailure`] as its source. Trouble with local
//! files is [`ErrorKind::Usage`] with a [`std::io::Error`] as its source.

mod download;
mod local;
mod paths;
mod unpack;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::task::{Context, Poll};

use kubewire::session::Outcome;
use kubewire::{Error, ErrorKind};

use crate::Reader;

pub use download::Download;
pub use unpack::{Entry, EntryKind, Item, Unpack, UnpackError};
pub use upload::Upload;

/// How much is read and sent at once.
const PIECE: usize = 64 << 10;
/// How much of the error output is kept.
const MAX_TEXT: usize = 8 << 10;
/// How many skipped entries are named.
const MAX_SKIPPED: usize = 1000;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links; only to a container.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// How many entries were left out, as they are neither files nor directories.
    pub skipped: u64,
    /// The first thousand that were left out.
    pub skipped_paths: Vec<PathBuf>,
}

impl Copied {
    fn skip(&mut self, path: PathBuf) {
        self.skipped += 1;
        if self.skipped_paths.len() < MAX_SKIPPED {
            self.skipped_paths.push(path);
        }
    }
}

/// What `tar` in the container said as it failed. The source of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TarFailure {
    /// Its exit code, if it was told.
    pub code: Option<i32>,
    /// Its error output, up to 8 KiB.
    pub stderr: String,
}

impl fmt::Display for TarFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.code {
            Some(126 | 127) => "the container has no tar that runs",
            _ => "tar in the container failed",
        })?;
        if let Some(code) = self.code {
            write!(f, " (exit code {code})")?;
        }
        let text = self.stderr.trim();
        if !text.is_empty() {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TarFailure {}

/// The error output of `tar`, read as it comes so that it cannot hold up the rest.
struct Complaints {
    reader: Option<Reader>,
    text: Vec<u8>,
}

impl Complaints {
    fn new(reader: Option<Reader>) -> Self {
        Self {
            reader,
            text: Vec::new(),
        }
    }

    /// Ready at the end.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        while let Some(reader) = &mut self.reader {
            match reader.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => {
                    let room = MAX_TEXT - self.text.len();
                    self.text.extend_from_slice(&chunk[..room.min(chunk.len())]);
                }
                Poll::Ready(None) => self.reader = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn failure(&self, code: Option<i32>) -> Error {
        let failure = TarFailure {
            code,
            stderr: String::from_utf8_lossy(&self.text).trim().to_owned(),
        };
        Error::new(ErrorKind::Api, failure.to_string()).with_source(failure)
    }

    /// The error that an outcome stands for.
    fn check(&self, outcome: &Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Exited(0) => Ok(()),
            Outcome::Exited(code) => Err(self.failure(Some(*code))),
            Outcome::Detached | Outcome::Ended | Outcome::Failure(_) | Outcome::Aborted(_) | _ => {
                Err(self.no_status(outcome))
            }
        }
    }

    /// The error of an outcome without an exit code.
    fn no_status(&self, outcome: &Outcome) -> Error {
        let Some(error) = outcome.to_error() else {
            return self.failure(None);
        };
        // Runtimes differ in words: `"tar": executable file not found in $PATH`, `stat /bin/tar: no such file or directory`.
        let message = error
            .status()
            .and_then(|status| status.message.clone())
            .unwrap_or_default();
        let lower = message.to_ascii_lowercase();
        if lower.contains("tar")
            && (lower.contains("not found") || lower.contains("no such file"))
            && !lower.contains("container not found")
        {
            let text = format!("the container has no tar, which copying needs: {message}");
            return Error::new(ErrorKind::Api, text).with_source(error);
        }
        error
    }
}

/// An error of a local file.
fn local_error(what: &str, path: &std::path::Path, error: std::io::Error) -> Error {
    let text = format!("{what} {}: {error}", path.display());
    Error::new(ErrorKind::Usage, text).with_source(error)
}
