//! From a container.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use kubewire::{Error, ErrorKind, ExecOperation};

use super::{Complaints, Item, Unpack};
use crate::Process;
use crate::Reader;
use crate::{Client, Drive};

/// Files on their way from a container: entries, each followed by its data. See [`Client::download`].
///
/// Dropping it ends the copy.
pub struct Download {
    process: Process,
    stdout: Option<Reader>,
    complaints: Complaints,
    unpack: Unpack,
    done: bool,
}

impl<R: Drive> Client<R> {
    /// Begins to copy a file or directory from a container, as entries and pieces of data.
    ///
    /// `exec` names the pod and container, `pods.exec("web-0").container("main")`; its command and streams are set
    /// here. The paths of the entries begin with the last name of `remote`, and have nothing before it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). That there is no such file, [`Download::next`] tells.
    pub async fn download(&self, exec: ExecOperation, remote: &str) -> Result<Download, Error> {
        let (directory, name) = split(remote)?;
        let command = ["tar", "cf", "-", "-C", &directory, &name];
        let mut process = self.open(exec.command(command)).await?;
        let Some(stdout) = process.stdout.take() else {
            return Err(Error::new(
                ErrorKind::Usage,
                "copying needs the output of tar",
            ));
        };
        Ok(Download {
            stdout: Some(stdout),
            complaints: Complaints::new(process.stderr.take()),
            process,
            unpack: Unpack::new(),
            done: false,
        })
    }
}

/// The directory to start in, and what to pack there, so that names have nothing before them.
fn split(remote: &str) -> Result<(String, String), Error> {
    let path = remote.trim_end_matches('/');
    if path.is_empty() {
        return if remote.is_empty() {
            Err(Error::new(ErrorKind::Usage, "the remote path is empty"))
        } else {
            Ok(("/".into(), ".".into()))
        };
    }
    let (directory, name) = match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => (".", path),
    };
    Ok(match name {
        "." | ".." => (path.into(), ".".into()),
        // What begins with a dash is taken for an option.
        _ if name.starts_with('-') => (guard(directory), format!("./{name}")),
        _ => (guard(directory), name.into()),
    })
}

/// A path that is not taken for an option.
pub(super) fn guard(path: &str) -> String {
    if path.starts_with('-') {
        format!("./{path}")
    } else {
        path.into()
    }
}

impl Download {
    /// The next entry, or piece of the last one's data; `None` after the last, if `tar` ended well.
    ///
    /// # Errors
    ///
    /// What `tar` or the server reports, or an [`UnpackError`](super::UnpackError). After it there is nothing more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Item>, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Item>, Error>> {
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let result = ready!(self.poll_item(cx));
        self.done = !matches!(result, Ok(Some(_)));
        if self.done {
            self.process.close();
        }
        Poll::Ready(result)
    }

    fn poll_item(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Item>, Error>> {
        loop {
            if let Some(item) = self.unpack.poll_item()? {
                return Poll::Ready(Ok(Some(item)));
            }
            let complaints = self.complaints.poll(cx);
            if let Some(stdout) = &mut self.stdout {
                match ready!(stdout.poll_chunk(cx)) {
                    Some(chunk) => self.unpack.handle_data(chunk),
                    None => self.stdout = None,
                }
                continue;
            }
            ready!(complaints);
            let outcome = ready!(self.process.poll_outcome(cx));
            // Why there is no archive says more than that there is none.
            self.complaints.check(&outcome)?;
            self.unpack.handle_end()?;
            return Poll::Ready(Ok(None));
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("unpack", &self.unpack)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_path_is_a_directory_and_a_name() {
        for (remote, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b//", "/a", "b"),
            ("/a", "/", "a"),
            ("/", "/", "."),
            ("a", ".", "a"),
            ("a/-b", "a", "./-b"),
            ("-a/b", "./-a", "b"),
            ("..", "..", "."),
            ("/a/.", "/a/.", "."),
        ] {
            let expected = (directory.to_owned(), name.to_owned());
            assert_eq!(split(remote).unwrap(), expected, "{remote}");
        }
        assert!(split("").is_err());
    }
}
