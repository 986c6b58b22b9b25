//! Between a container and the local file system.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use kubewire::{Error, ErrorKind, ExecOperation};

use super::{Copied, Entry, EntryKind, Item, PIECE, Upload, local_error};
use crate::{Client, Drive, Runtime};

impl<R: Drive> Client<R> {
    /// Copies a local file or directory into a directory of a container, which must be there: `dir/name` becomes
    /// `remote_dir/name`, with all that is in it. Permission bits and times of files are kept, symbolic links are
    /// copied as links, other kinds are skipped. If `local` itself is a link it is followed.
    ///
    /// `exec` names the pod and container, `pods.exec("web-0").container("main")`. Local files are read with blocking
    /// calls, 64 KiB at a time.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); see also the [module](crate::copy#errors).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the copy; what was copied stays.
    pub async fn copy_to(
        &self,
        exec: ExecOperation,
        local: impl AsRef<Path>,
        remote_dir: &str,
    ) -> Result<Copied, Error> {
        let local = local.as_ref();
        let failed = |error| local_error("cannot read", local, error);
        let metadata = fs::metadata(local).map_err(failed)?;
        let name = match local.components().next_back() {
            Some(Component::Normal(name)) => PathBuf::from(name),
            _ => local
                .canonicalize()
                .map_err(failed)?
                .file_name()
                .map(PathBuf::from)
                .ok_or_else(|| Error::new(ErrorKind::Usage, "the local path has no name"))?,
        };
        let mut upload = self.upload(exec, remote_dir).await?;
        if metadata.is_dir() {
            send_tree(&mut upload, local, &name, &metadata).await?;
        } else if metadata.is_file() {
            send_file(&mut upload, local, &name).await?;
        } else {
            let text = format!("{} is neither a file nor a directory", local.display());
            return Err(Error::new(ErrorKind::Usage, text));
        }
        upload.finish().await
    }

    /// Copies a file or directory of a container into a local directory, which is made if it is missing: `/dir/name`
    /// becomes `local_dir/name`, with all that is in it. Permission bits and times of files are kept. Files
    /// that are there are replaced; links are not made, and never written through, see the [module](crate::copy).
    ///
    /// `exec` names the pod and container, `pods.exec("web-0").container("main")`. Local files are written with blocking
    /// calls.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); see also the [module](crate::copy#errors).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the copy; files that were complete stay.
    pub async fn copy_from(
        &self,
        exec: ExecOperation,
        remote: &str,
        local_dir: impl AsRef<Path>,
    ) -> Result<Copied, Error> {
        let mut download = self.download(exec, remote).await?;
        let mut tree = Tree::new(local_dir.as_ref());
        while let Some(item) = download.next().await? {
            match item {
                Item::Entry(entry) => tree.entry(entry)?,
                Item::Data(data) => tree.data(&data)?,
            }
        }
        tree.finish()
    }
}

/// Sends a directory and what is in it. Holds one open directory for each level.
async fn send_tree<R: Runtime>(
    upload: &mut Upload<R>,
    local: &Path,
    name: &Path,
    metadata: &Metadata,
) -> Result<(), Error> {
    let list = |path: &Path| {
        fs::read_dir(path).map_err(|error| local_error("cannot read the directory", path, error))
    };
    upload.directory(name, mode(metadata)).await?;
    let mut levels = vec![(list(local)?, name.to_path_buf())];
    while let Some((entries, name)) = levels.last_mut() {
        let Some(entry) = entries.next() else {
            levels.pop();
            continue;
        };
        let entry =
            entry.map_err(|error| local_error("cannot read a directory in", local, error))?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path)
            .map_err(|error| local_error("cannot read", &path, error))?;
        if metadata.is_dir() {
            upload.directory(&name, mode(&metadata)).await?;
            levels.push((list(&path)?, name));
        } else if metadata.is_file() {
            send_file(upload, &path, &name).await?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path)
                .map_err(|error| local_error("cannot read the link", &path, error))?;
            upload.link(&name, target).await?;
        } else {
            upload.copied().skip(path);
        }
    }
    Ok(())
}

async fn send_file<R: Runtime>(
    upload: &mut Upload<R>,
    local: &Path,
    name: &Path,
) -> Result<(), Error> {
    let failed = |error| local_error("cannot read", local, error);
    let mut file = File::open(local).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs());
    let mut left = metadata.len();
    upload
        .file_of(name, mode(&metadata), left, modified)
        .await?;
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let n = match file.read(&mut buffer[..most]) {
            Ok(0) => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter");
                return Err(failed(error));
            }
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        upload.write(&buffer[..n]).await?;
        left -= n as u64;
    }
    Ok(())
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o777
}

#[cfg(not(unix))]
fn mode(metadata: &Metadata) -> u32 {
    if metadata.is_dir() { 0o755 } else { 0o644 }
}

/// A local directory that an archive is written into.
struct Tree {
    root: PathBuf,
    open: Option<Incoming>,
    copied: Copied,
    /// Directories that their owner may not write: they become so at the end.
    closed: Vec<(PathBuf, u32)>,
}

/// A file that is not complete yet, under a name of its own. It goes if it is not completed.
struct Incoming {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
    entry: Entry,
    left: u64,
}

/// How many directories are kept in mind to be closed; others stay writable.
const MAX_CLOSED: usize = 1 << 16;

impl Tree {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            open: None,
            copied: Copied::default(),
            closed: Vec::new(),
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Error> {
        match entry.kind {
            EntryKind::File => {
                let parent = entry.path.parent().unwrap_or_else(|| Path::new(""));
                let directory = self.directory(parent)?;
                let path = self.root.join(&entry.path);
                let failed = |error| local_error("cannot write", &path, error);
                match fs::symlink_metadata(&path) {
                    Ok(there) if !there.is_file() => {
                        let error = io::Error::other("something is there that is no regular file");
                        return Err(failed(error));
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
                let incoming = Incoming::new(&directory, path.clone(), entry).map_err(failed)?;
                self.open = Some(incoming);
                self.complete()
            }
            EntryKind::Directory => {
                let path = self.directory(&entry.path)?;
                self.copied.directories += 1;
                if entry.path.as_os_str().is_empty() {
                    return Ok(());
                }
                if entry.mode & 0o700 != 0o700 && self.closed.len() < MAX_CLOSED {
                    self.closed.push((path.clone(), entry.mode));
                }
                set_mode(&path, entry.mode | 0o700)
                    .map_err(|error| local_error("cannot set the mode of", &path, error))
            }
            EntryKind::Symlink | EntryKind::HardLink | EntryKind::Other => {
                self.copied.skip(entry.path);
                Ok(())
            }
        }
    }

    /// Makes the directory and those above it, each of which must be one and no link to one.
    fn directory(&self, relative: &Path) -> Result<PathBuf, Error> {
        let mut path = self.root.clone();
        fs::create_dir_all(&path)
            .map_err(|error| local_error("cannot make the directory", &path, error))?;
        for part in relative.components() {
            path.push(part);
            let made = match fs::symlink_metadata(&path) {
                Ok(there) if there.is_dir() => Ok(()),
                Ok(_) => Err(io::Error::other("something is there that is no directory")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path),
                Err(error) => Err(error),
            };
            made.map_err(|error| local_error("cannot make the directory", &path, error))?;
        }
        Ok(path)
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        if let Some(incoming) = &mut self.open {
            incoming
                .write(data)
                .map_err(|error| local_error("cannot write", &incoming.path, error))?;
        }
        self.complete()
    }

    /// Puts the file in its place if nothing of it is left to come.
    fn complete(&mut self) -> Result<(), Error> {
        if let Some(mut incoming) = self.open.take_if(|incoming| incoming.left == 0) {
            incoming
                .complete()
                .map_err(|error| local_error("cannot write", &incoming.path, error))?;
            self.copied.files += 1;
            self.copied.bytes += incoming.entry.size;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Copied, Error> {
        while let Some((path, mode)) = self.closed.pop() {
            set_mode(&path, mode)
                .map_err(|error| local_error("cannot set the mode of", &path, error))?;
        }
        Ok(self.copied)
    }
}

impl Incoming {
    fn new(directory: &Path, path: PathBuf, entry: Entry) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let temporary = directory.join(format!(".kubewire-{:016x}", u64::from_ne_bytes(random)));
        // Never follows a link: the name must be new.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        Ok(Self {
            file: Some(file),
            temporary,
            path,
            left: entry.size,
            entry,
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(data)?;
        }
        self.left = self.left.saturating_sub(data.len() as u64);
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            if let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(self.entry.modified)) {
                // Not every file system has every time.
                let _ = file.set_times(FileTimes::new().set_modified(time));
            }
            set_file_mode(file, self.entry.mode)?;
        }
        fs::rename(&self.temporary, &self.path)?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(unix)]
fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn set_file_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
