//! Handles of exec and attach sessions.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use kubewire::channel::{STDERR, STDIN, STDOUT};
use kubewire::session::{Outcome, Streams};
use kubewire::{Error, ErrorKind};

use super::halves::{Reader, Writer};
use super::machine::Channel;
use super::task::Handle;

/// A process in a container, or the end of a wire to one.
///
/// As in `std::process`, take the streams out of their fields. All parts can be used from different
/// tasks. A stream that is dropped does not hold up the others; when all parts are dropped the
/// connection is closed (the process is not killed by that: its input ends).
pub struct Process {
    /// Input, if it was asked for. Dropping it ends the input of an exec without a terminal.
    pub stdin: Option<Writer>,
    /// Output; of a terminal also the error output.
    pub stdout: Option<Reader>,
    /// Error output, if there is no terminal.
    pub stderr: Option<Reader>,
    handle: Handle,
    max_output: usize,
}

/// Everything that a process wrote, and how it ended.
#[derive(Clone)]
#[non_exhaustive]
pub struct Output {
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its error output.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("stdout_len", &self.stdout.len())
            .field("stderr_len", &self.stderr.len())
            .field("outcome", &self.outcome)
            .finish()
    }
}

impl Process {
    pub(crate) fn new(
        handle: Handle,
        streams: Streams,
        close_stdin_on_drop: bool,
        max_output: usize,
    ) -> Self {
        let reader = |channel| Reader::new(handle.clone(), Channel::Number(channel));
        Self {
            stdin: streams.has_stdin().then(|| {
                Writer::new(
                    handle.clone(),
                    Channel::Number(STDIN),
                    close_stdin_on_drop && !streams.has_tty(),
                )
            }),
            stdout: streams.has_stdout().then(|| reader(STDOUT)),
            stderr: streams.has_stderr().then(|| reader(STDERR)),
            handle,
            max_output,
        }
    }

    /// Waits for the end. Ends the input if it was not taken, and throws away output that was not
    /// taken, so that it cannot hold up the process.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again.
    pub async fn wait(&mut self) -> Outcome {
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
        poll_fn(|cx| self.handle.poll_outcome(cx)).await
    }

    #[cfg(feature = "copy")]
    pub(crate) fn poll_outcome(&self, cx: &std::task::Context<'_>) -> Poll<Outcome> {
        self.handle.poll_outcome(cx)
    }

    /// Sends all of `input`, ends the input, and collects what the process writes until it ends.
    ///
    /// Where the input cannot be ended (`v4.channel.k8s.io`, servers before 1.30) it is left open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`] when a stream is longer than [`Limits::max_body`](kubewire::Limits::max_body). An end without a
    /// status is no error here but the [`Outcome::Aborted`] of the output.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the session; what was collected is lost.
    pub async fn output(mut self, input: &[u8]) -> Result<Output, Error> {
        let mut rest = input;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let outcome = poll_fn(|cx| {
            if let Some(stdin) = &mut self.stdin {
                while !rest.is_empty() {
                    match stdin.poll_send(cx, rest) {
                        Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or(&[]),
                        // A process need not read its input.
                        Poll::Ready(Err(_)) => rest = &[],
                        Poll::Pending => break,
                    }
                }
                if rest.is_empty() {
                    let _ = stdin.finish();
                    self.stdin = None;
                }
            }
            let mut done = true;
            for (reader, output) in [
                (&mut self.stdout, &mut stdout),
                (&mut self.stderr, &mut stderr),
            ] {
                let Some(reader) = reader else { continue };
                loop {
                    match reader.poll_chunk(cx) {
                        Poll::Ready(Some(chunk)) => {
                            if output.len() + chunk.len() > self.max_output {
                                return Poll::Ready(Err(Error::new(
                                    ErrorKind::Limit,
                                    "the output is longer than Limits::max_body",
                                )));
                            }
                            output.extend_from_slice(&chunk);
                        }
                        Poll::Ready(None) => break,
                        Poll::Pending => {
                            done = false;
                            break;
                        }
                    }
                }
            }
            if !done {
                return Poll::Pending;
            }
            self.handle.poll_outcome(cx).map(Ok)
        })
        .await?;
        Ok(Output {
            stdout,
            stderr,
            outcome,
        })
    }

    /// Tells the size of the terminal, in characters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] without a terminal or if a side is 0, [`ErrorKind::Closed`] after the end.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        self.handle
            .with(|state| state.session.resize(width, height))
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.handle.look(|state| state.session.outcome().cloned())
    }

    /// Bytes held for this session, both ways.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.handle.look(|state| state.session.buffered())
    }

    /// Begins to close the session: what was written is sent, output that has come can be read.
    /// [`wait`](Self::wait) tells when it is done.
    pub fn close(&self) {
        self.handle.with(super::task::State::close);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}
