//! What [`Credentials`](super::Credentials) want done.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use zeroize::Zeroizing;

use crate::Endpoint;
use crate::config::{Material, Secret};

/// Which want an outcome belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WantId(pub(super) u64);

/// Something to be done for credentials. `Debug` shows no secrets.
#[derive(Debug)]
#[non_exhaustive]
pub enum Want {
    /// Run a program; the outcome goes to [`handle_process`](super::Credentials::handle_process).
    Run(Box<ProcessCommand>),
    /// Read a file, of which a MiB is enough; its content goes to
    /// [`handle_file`](super::Credentials::handle_file).
    Read(PathBuf),
    /// Send a request to an identity provider; the answer goes to
    /// [`handle_answer`](super::Credentials::handle_answer).
    Call(Box<ProviderCall>),
}

/// A program to run: no shell in between, its own environment on top of ours, killed when it is not
/// [wanted](super::Credentials::is_wanted) any more.
#[derive(Clone)]
#[non_exhaustive]
pub struct ProcessCommand {
    /// A path, or a name that is to be looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables on top of the own environment, `KUBERNETES_EXEC_INFO` among them.
    pub env: Vec<(String, Secret)>,
    /// Whether it gets our standard input. Otherwise it gets an empty one.
    pub interactive: bool,
    /// Whether its standard error is passed on to ours as it comes, besides being kept: a user is there,
    /// and programs tell in it where to log in.
    pub show_stderr: bool,
    /// How much of its standard output is read. One byte more, and it has failed: kill it.
    pub max_stdout: usize,
    /// How much of the end of its standard error is kept.
    pub max_stderr: usize,
}

impl fmt::Debug for ProcessCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCommand")
            .field("program", &self.program)
            .field("args", &format_args!("[{} hidden]", self.args.len()))
            .field("env", &self.env)
            .field("interactive", &self.interactive)
            .field("show_stderr", &self.show_stderr)
            .field("max_stdout", &self.max_stdout)
            .field("max_stderr", &self.max_stderr)
            .finish()
    }
}

/// How a program ended. Its output is overwritten on drop.
///
/// ```
/// use kubewire::auth::ProcessOutput;
/// let output = ProcessOutput::new(Some(1), Vec::new(), b"no such profile".to_vec());
/// assert_eq!(format!("{output:?}"), "ProcessOutput { code: Some(1), stdout_len: 0, stderr_len: 15 }");
/// ```
pub struct ProcessOutput {
    pub(super) code: Option<i32>,
    pub(super) stdout: Zeroizing<Vec<u8>>,
    pub(super) stderr: Zeroizing<Vec<u8>>,
}

impl ProcessOutput {
    /// The exit code, none if a signal ended it; all of its standard output, or one byte more than was to be read;
    /// the end of its standard error.
    #[must_use]
    pub fn new(code: Option<i32>, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        Self {
            code,
            stdout: Zeroizing::new(stdout),
            stderr: Zeroizing::new(stderr),
        }
    }
}

impl fmt::Debug for ProcessOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessOutput")
            .field("code", &self.code)
            .field("stdout_len", &self.stdout.len())
            .field("stderr_len", &self.stderr.len())
            .finish()
    }
}

/// A request to an identity provider: over a connection of its own, without the cluster's credentials,
/// authorities or client certificate. Redirects are not followed.
#[non_exhaustive]
pub struct ProviderCall {
    /// Where to send it.
    pub endpoint: Endpoint,
    /// The request in origin form.
    pub request: Request<Bytes>,
    /// The authorities of the provider's certificate; none for the system's.
    pub ca: Option<Material>,
    /// How much of the answer's body is read at most.
    pub max_body: usize,
}

impl fmt::Debug for ProviderCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderCall")
            .field("endpoint", &self.endpoint)
            .field("method", self.request.method())
            .field("path", &self.request.uri().path())
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}
