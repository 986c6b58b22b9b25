//! Processes: tasks with standard streams, a place in a table, and signals.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::files::Files;
use super::net::Network;
use super::pipe;
use super::terminal::Terminal;

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGPIPE: i32 = 13;
pub(crate) const SIGTERM: i32 = 15;

/// Lines longer than this are read in pieces.
const LONGEST_LINE: usize = 1 << 20;

/// Where a program reads from.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Empty,
    Pipe(pipe::Reader),
    /// A file that was opened: its content and how far it was read.
    Content(Arc<Mutex<(Vec<u8>, usize)>>),
    /// `/dev/zero`.
    Zero,
}

impl Input {
    pub(crate) fn content(bytes: Vec<u8>) -> Self {
        Self::Content(Arc::new(Mutex::new((bytes, 0))))
    }

    /// Some bytes; none at the end.
    pub(crate) async fn read(&self, most: usize) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Pipe(reader) => reader.read(most).await,
            Self::Content(content) => take(content, |rest| rest.len().min(most)),
            Self::Zero => {
                tokio::task::yield_now().await;
                vec![0; most.min(32 << 10)]
            }
        }
    }

    /// A line with its newline; nothing at the end.
    pub(crate) async fn read_line(&self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Pipe(reader) => reader.read_line(LONGEST_LINE).await,
            Self::Content(content) => take(content, |rest| {
                rest.iter()
                    .position(|b| *b == b'\n')
                    .map_or(rest.len(), |at| at + 1)
            }),
            Self::Zero => self.read(LONGEST_LINE).await,
        }
    }
}

fn take(content: &Mutex<(Vec<u8>, usize)>, amount: impl Fn(&[u8]) -> usize) -> Vec<u8> {
    let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = &content.0[content.1..];
    let piece = rest[..amount(rest)].to_vec();
    content.1 += piece.len();
    piece
}

/// Where a program writes to.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Null,
    Pipe(pipe::Writer),
    /// A terminal, which writes a carriage return before each newline.
    Terminal(pipe::Writer),
    File(Files, String),
}

/// A write that failed; programs end then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    BrokenPipe,
    File(&'static str),
}

impl Output {
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        match self {
            Self::Null => Ok(()),
            Self::Pipe(writer) => writer
                .write(bytes)
                .await
                .map_err(|_| WriteError::BrokenPipe),
            Self::Terminal(writer) => {
                let mut cooked = Vec::with_capacity(bytes.len() + 16);
                for byte in bytes {
                    if *byte == b'\n' {
                        cooked.push(b'\r');
                    }
                    cooked.push(*byte);
                }
                writer
                    .write(&cooked)
                    .await
                    .map_err(|_| WriteError::BrokenPipe)
            }
            Self::File(files, path) => files.append(path, bytes).map_err(WriteError::File),
        }
    }

    pub(crate) async fn text(&self, text: impl AsRef<str>) -> Result<(), WriteError> {
        self.write(text.as_ref().as_bytes()).await
    }
}

/// The three standard streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// What the processes of one container share.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) hostname: String,
    pub(crate) files: Files,
    pub(crate) network: Network,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: String,
    pub(crate) table: Table,
}

/// What a program knows about itself.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) container: Arc<Container>,
    pub(crate) pid: u32,
    pub(crate) cwd: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) terminal: Option<Arc<Terminal>>,
}

/// How a process takes a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposition {
    Ignore,
    Exit(i32),
}

#[derive(Debug)]
struct Entry {
    /// The exit code that the process is to end with.
    end: watch::Sender<Option<i32>>,
    dispositions: BTreeMap<i32, Disposition>,
}

/// The processes of a container.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Mutex<BTreeMap<u32, Entry>>,
    last: AtomicU32,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal; whether there is such a process.
    pub(crate) fn signal(&self, pid: u32, signal: i32) -> bool {
        let entries = self.lock();
        let Some(entry) = entries.get(&pid) else {
            return false;
        };
        let code = match entry
            .dispositions
            .get(&signal)
            .filter(|_| signal != SIGKILL)
        {
            Some(Disposition::Ignore) => return true,
            Some(Disposition::Exit(code)) => *code,
            None => 128 + signal,
        };
        if signal != 0 {
            entry.end.send_replace(Some(code));
        }
        true
    }

    /// Kills everything.
    pub(crate) fn kill_all(&self) {
        for entry in self.lock().values() {
            entry.end.send_replace(Some(128 + SIGKILL));
        }
    }

    /// Ignores a signal (`None`) or ends with a code on it.
    pub(crate) fn handle(&self, pid: u32, signal: i32, code: Option<i32>) {
        if let Some(entry) = self.lock().get_mut(&pid) {
            entry
                .dispositions
                .insert(signal, code.map_or(Disposition::Ignore, Disposition::Exit));
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.lock().keys().copied().collect()
    }
}

/// A process in the table; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    container: Arc<Container>,
    pub(crate) pid: u32,
    end: watch::Receiver<Option<i32>>,
}

impl Registration {
    pub(crate) fn new(container: &Arc<Container>) -> Self {
        let pid = container.table.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, end) = watch::channel(None);
        container.table.lock().insert(
            pid,
            Entry {
                end: sender,
                dispositions: BTreeMap::new(),
            },
        );
        Self {
            container: Arc::clone(container),
            pid,
            end,
        }
    }

    /// Runs `program` until it ends or a signal ends it.
    pub(crate) async fn run(mut self, program: impl Future<Output = i32>) -> i32 {
        tokio::select! {
            biased;
            end = self.end.wait_for(Option::is_some) => end.ok().and_then(|code| *code).unwrap_or(128 + SIGKILL),
            code = program => code,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.container.table.lock().remove(&self.pid);
    }
}
