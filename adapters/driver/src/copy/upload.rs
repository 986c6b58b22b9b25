//! To a container.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kubewire::{Error, ErrorKind, ExecOperation};
use tar::{Builder, EntryType, Header};

use super::download::guard;
use super::{Complaints, Copied, PIECE};
use crate::Process;
use crate::Writer;
use crate::time::Alarm;
use crate::{Client, Drive, Runtime};

/// How long `tar` may take no input, or not end, after it complained. A process that ends without having read its input
/// may never be reported.
const GRACE: Duration = Duration::from_secs(30);

/// How long `tar` may take to end by itself where the input cannot be ended (servers before 1.30).
const UNENDED: Duration = Duration::from_secs(5);

/// Files on their way to a container. See [`Client::upload`].
///
/// Entries are written one after the other: [`directory`](Self::directory), [`link`](Self::link), or [`file`](Self::file)
/// and its bytes by [`write`](Self::write); at last [`finish`](Self::finish). Dropping it before leaves what has come in the
/// container, the last file perhaps in part. A future that is dropped has accepted all of its data, but may not have sent it.
pub struct Upload<R: Runtime> {
    process: Process,
    stdin: Option<Writer>,
    complaints: Complaints,
    /// What is to be sent, and how much of it was.
    buffer: Vec<u8>,
    sent: usize,
    /// What the last file still lacks.
    left: u64,
    padding: usize,
    alarm: Alarm<R>,
    waiting: bool,
    copied: Copied,
}

impl<R: Drive> Client<R> {
    /// Begins to copy values into a directory of a container, which must be there.
    ///
    /// `exec` names the pod and container, `pods.exec("web-0").container("main")`; its command and streams are set here.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). That there is no such directory, the methods of [`Upload`] tell.
    pub async fn upload(&self, exec: ExecOperation, remote_dir: &str) -> Result<Upload<R>, Error> {
        if remote_dir.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "the remote directory is empty",
            ));
        }
        let command = ["tar", "xpf", "-", "-C", &guard(remote_dir)];
        let mut process = self.open(exec.command(command).stdin()).await?;
        process.stdout = None;
        Ok(Upload {
            stdin: process.stdin.take(),
            complaints: Complaints::new(process.stderr.take()),
            process,
            buffer: Vec::new(),
            sent: 0,
            left: 0,
            padding: 0,
            alarm: Alarm::new(self.runtime().clone()),
            waiting: false,
            copied: Copied::default(),
        })
    }

    /// Copies files of the program into a directory of a container: path, permission bits and content of each.
    /// Directories that are missing on the way are made.
    ///
    /// # Errors
    ///
    /// As [`upload`](Self::upload) and the methods of [`Upload`].
    pub async fn upload_files<P: AsRef<Path>, B: AsRef<[u8]>>(
        &self,
        exec: ExecOperation,
        remote_dir: &str,
        files: impl IntoIterator<Item = (P, u32, B)>,
    ) -> Result<Copied, Error> {
        let mut upload = self.upload(exec, remote_dir).await?;
        for (path, mode, content) in files {
            let content = content.as_ref();
            upload.file(path, mode, content.len() as u64).await?;
            upload.write(content).await?;
        }
        upload.finish().await
    }
}

fn header(kind: EntryType, mode: u32, size: u64, modified: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified);
    header.set_size(size);
    header
}

fn bad_path(path: &Path, error: io::Error) -> Error {
    let text = format!("{} cannot be in an archive: {error}", path.display());
    Error::new(ErrorKind::Usage, text).with_source(error)
}

/// The time of entries that have none.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}

impl<R: Runtime> Upload<R> {
    /// Makes a directory. The permission bits of the mode are set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the path is absolute, empty or has `..`, or the file before lacks data;
    /// otherwise what `tar` or the server reports.
    pub async fn directory(&mut self, path: impl AsRef<Path>, mode: u32) -> Result<(), Error> {
        self.entry(
            path.as_ref(),
            &mut header(EntryType::Directory, mode, 0, now()),
        )?;
        self.copied.directories += 1;
        self.flush(PIECE).await
    }

    /// Begins a file of a size that is known. All of its bytes are to follow.
    ///
    /// # Errors
    ///
    /// As [`directory`](Self::directory).
    pub async fn file(
        &mut self,
        path: impl AsRef<Path>,
        mode: u32,
        size: u64,
    ) -> Result<(), Error> {
        self.file_of(path.as_ref(), mode, size, now()).await
    }

    pub(super) async fn file_of(
        &mut self,
        path: &Path,
        mode: u32,
        size: u64,
        modified: u64,
    ) -> Result<(), Error> {
        self.entry(path, &mut header(EntryType::Regular, mode, size, modified))?;
        self.left = size;
        self.padding = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
        self.copied.files += 1;
        self.flush(PIECE).await
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    ///
    /// As [`directory`](Self::directory).
    pub async fn link(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
    ) -> Result<(), Error> {
        self.whole()?;
        let mut builder = Builder::new(Vec::new());
        let mut header = header(EntryType::Symlink, 0o777, 0, now());
        builder
            .append_link(&mut header, path.as_ref(), target.as_ref())
            .map_err(|error| bad_path(path.as_ref(), error))?;
        self.buffer.append(builder.get_mut());
        self.copied.links += 1;
        self.flush(PIECE).await
    }

    /// Sends bytes of the last file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if these are more than its size, otherwise as [`directory`](Self::directory).
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), Error> {
        if data.len() as u64 > self.left {
            return Err(Error::new(
                ErrorKind::Usage,
                "the file has more bytes than its size",
            ));
        }
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(PIECE));
            self.flush(PIECE).await?;
            self.buffer.extend_from_slice(piece);
            self.left -= piece.len() as u64;
            self.copied.bytes += piece.len() as u64;
            data = rest;
            if self.left == 0 {
                self.buffer.resize(self.buffer.len() + self.padding, 0);
            }
        }
        self.flush(PIECE).await
    }

    /// Ends the archive, and waits until `tar` has ended well.
    ///
    /// # Errors
    ///
    /// As [`directory`](Self::directory).
    pub async fn finish(mut self) -> Result<Copied, Error> {
        self.whole()?;
        self.buffer.resize(self.buffer.len() + 1024, 0);
        self.flush(1).await?;
        if let Some(mut stdin) = self.stdin.take()
            && let Err(error) = stdin.finish()
            && self.process.outcome().is_none()
        {
            // The end of the archive is enough for some.
            self.alarm.set(Some(self.alarm.now() + UNENDED));
            self.waiting = true;
            let mut result = None;
            poll_fn(|cx| {
                result = match self.poll_end(cx) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => None,
                };
                if result.is_some() {
                    return Poll::Ready(());
                }
                self.alarm.poll(cx)
            })
            .await;
            result.unwrap_or(Err(error))?;
            return Ok(self.copied);
        }
        poll_fn(|cx| self.poll_end(cx)).await?;
        Ok(self.copied)
    }

    pub(super) fn copied(&mut self) -> &mut Copied {
        &mut self.copied
    }

    fn whole(&self) -> Result<(), Error> {
        if self.left > 0 {
            return Err(Error::new(
                ErrorKind::Usage,
                "the file before has fewer bytes than its size",
            ));
        }
        Ok(())
    }

    /// Adds the header of an entry, and what comes before it if the name is long.
    fn entry(&mut self, path: &Path, header: &mut Header) -> Result<(), Error> {
        self.whole()?;
        let mut builder = Builder::new(Vec::new());
        builder
            .append_data(header, path, io::empty())
            .map_err(|error| bad_path(path, error))?;
        self.buffer.append(builder.get_mut());
        Ok(())
    }

    /// Sends what there is, once it is so much.
    async fn flush(&mut self, least: usize) -> Result<(), Error> {
        if self.buffer.len() < least {
            return Ok(());
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Also lets the window for the error output go on.
        let _ = self.complaints.poll(cx);
        while self.sent < self.buffer.len() {
            let sent = match &self.stdin {
                Some(stdin) => stdin.poll_send(cx, &self.buffer[self.sent..]),
                None => Poll::Ready(Err(Error::new(ErrorKind::Closed, "the copy has ended"))),
            };
            match sent {
                Poll::Ready(Ok(n)) => {
                    self.sent += n;
                    self.waiting = false;
                }
                // `tar` has ended, and says why.
                Poll::Ready(Err(error)) => {
                    let end = ready!(self.poll_end(cx));
                    return Poll::Ready(end.and(Err(error)));
                }
                Poll::Pending => return self.poll_patience(cx),
            }
        }
        self.buffer.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let complaints = self.complaints.poll(cx);
        let outcome = self.process.poll_outcome(cx);
        match (complaints, outcome) {
            (Poll::Ready(()), Poll::Ready(outcome)) => Poll::Ready(self.complaints.check(&outcome)),
            _ => self.poll_patience(cx),
        }
    }

    /// Gives up on a `tar` that complained, and then did nothing for a while.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.complaints.text.is_empty() {
            return Poll::Pending;
        }
        if !self.waiting {
            self.waiting = true;
            self.alarm.set(Some(self.alarm.now() + GRACE));
        }
        self.alarm
            .poll(cx)
            .map(|()| Err(self.complaints.failure(None)))
    }
}

impl<R: Runtime> fmt::Debug for Upload<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("copied", &self.copied)
            .finish_non_exhaustive()
    }
}
