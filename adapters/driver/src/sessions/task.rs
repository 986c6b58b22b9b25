//! The task that moves the bytes of one session, and what its handles share with it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBuf, Write};
use kubewire::session::Outcome;
use kubewire::{Error, ErrorKind};

use super::machine::{AnySession, Channel, Happened};
use crate::Runtime;
use crate::connection::Transport;
use crate::observe::Open;
use crate::time::Alarm;

/// Bytes read at once, to begin with. Reads that are filled double it.
const FIRST_CHUNK: usize = 16 << 10;
/// Bytes read at once in a session that carries much.
const CHUNK: usize = 64 << 10;
/// How long the task gives way to a reader that was told of data.
const REST: Duration = Duration::from_millis(50);
/// Rounds of write and read before other tasks get their turn.
const BUDGET: usize = 8;

thread_local! {
    /// What the sessions of a thread read into, one after the other: it stays in the processor's cache, and a session that
    /// waits has none.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What the handles and the task of a session share.
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct Shared {
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) session: AnySession,
    /// The task's.
    driver: Option<Waker>,
    readers: Slots,
    writers: Slots,
    outcome: Vec<Waker>,
    handles: usize,
    /// A handle asked to close; the task knows the time.
    close: bool,
    /// A reader was told of data, and no handle has looked since.
    told: bool,
    /// The task gives way to that reader, so that little waits, in the processor's cache: it reads on when a handle has
    /// looked or after [`REST`].
    held_back: bool,
}

/// The waker of each channel's one waiter.
type Slots = BTreeMap<Channel, Waker>;

impl State {
    pub(crate) fn wait_readable(&mut self, channel: Channel, cx: &Context<'_>) {
        self.readers.insert(channel, cx.waker().clone());
    }

    pub(crate) fn wait_writable(&mut self, channel: Channel, cx: &Context<'_>) {
        self.writers.insert(channel, cx.waker().clone());
    }

    pub(crate) fn wait_outcome(&mut self, cx: &Context<'_>) {
        if !self.outcome.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.outcome.push(cx.waker().clone());
        }
    }

    fn wait_driver(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(known) => known.clone_from(cx.waker()),
            slot => *slot = Some(cx.waker().clone()),
        }
    }

    pub(crate) fn close(&mut self) {
        self.close = true;
    }

    /// What there is to do for the task: to read, to write, to stop, to close.
    fn chores(&mut self) -> [bool; 4] {
        let session = &mut self.session;
        let (reads, writes) = (session.wants_input(), session.poll_transmit().is_some());
        [
            reads,
            writes,
            self.handles == 0 || session.is_closed(),
            self.close,
        ]
    }

    /// Whether to give way to a reader until then. Not if anybody waits for what may come behind, or there is a deadline.
    fn hold_back(&mut self, until: Instant) -> bool {
        self.held_back = self.told
            && self.session.buffered() >= CHUNK
            && self.session.poll_transmit().is_none()
            && self.readers.is_empty()
            && self.writers.is_empty()
            && self.outcome.is_empty()
            && self.session.outcome().is_none()
            && self.session.poll_timeout().is_none_or(|at| at > until);
        self.held_back
    }

    /// Collects who is to be woken for what has happened. They are woken after the lock is gone.
    fn collect(&mut self, wake: &mut Vec<Waker>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Happened::Readable(channel) => {
                    let reader = self.readers.remove(&channel);
                    self.told |= reader.is_some();
                    wake.extend(reader);
                }
                Happened::Writable(channel) => wake.extend(self.writers.remove(&channel)),
                Happened::Failed(channel) => {
                    wake.extend(self.readers.remove(&channel));
                    wake.extend(self.writers.remove(&channel));
                }
                Happened::Ended => {
                    wake.extend(std::mem::take(&mut self.readers).into_values());
                    wake.extend(std::mem::take(&mut self.writers).into_values());
                    wake.append(&mut self.outcome);
                }
                Happened::Other => {}
            }
        }
    }

    /// Forgets who waited for a channel that is gone.
    pub(crate) fn forget(&mut self, channel: Channel) {
        self.readers.remove(&channel);
        self.writers.remove(&channel);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn new(session: AnySession) -> Self {
        Self {
            state: Mutex::new(State {
                session,
                driver: None,
                readers: Slots::new(),
                writers: Slots::new(),
                outcome: Vec::new(),
                handles: 0,
                close: false,
                told: false,
                held_back: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handle_input(&self, bytes: &[u8], now: Instant) {
        self.lock().session.handle_input(bytes, now);
    }

    /// The state, for a handle. The task is to be woken after it if that has waited for a look.
    fn visit(&self) -> (MutexGuard<'_, State>, Option<Waker>) {
        let mut state = self.lock();
        state.told = false;
        let held_back = state.held_back;
        let driver = state.driver.take_if(|_| held_back);
        (state, driver)
    }

    /// Does something to the session for a handle, then lets the task and the other handles know.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (mut state, driver) = self.visit();
        let mut wake = Vec::from_iter(driver);
        let (before, timeout) = (state.chores(), state.session.poll_timeout());
        let result = change(&mut state);
        state.collect(&mut wake);
        let after = state.chores();
        let sooner = match (timeout, state.session.poll_timeout()) {
            (Some(before), Some(after)) => after < before,
            (before, after) => before.is_none() && after.is_some(),
        };
        if sooner
            || before
                .iter()
                .zip(after)
                .any(|(before, after)| after && !before)
        {
            wake.extend(state.driver.take());
        }
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        result
    }
}

/// A share in a session. When the last one goes, the connection is closed.
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.lock().handles += 1;
        Self(shared)
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.0.with(change)
    }

    /// Until there is an outcome.
    pub(crate) fn poll_outcome(&self, cx: &Context<'_>) -> Poll<Outcome> {
        self.look(|state| {
            if let Some(outcome) = state.session.outcome() {
                return Poll::Ready(outcome.clone());
            }
            state.wait_outcome(cx);
            Poll::Pending
        })
    }

    /// Looks without changing anything of the session; the task may have waited for it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let (mut state, driver) = self.0.visit();
        let result = look(&mut state);
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        result
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.with(|state| state.handles -= 1);
    }
}

/// Moves the bytes of one session until it is closed or nobody holds a handle of it.
///
/// Dropping the task (a runtime that shuts down) ends the session with an error for all who wait.
#[must_use = "a session does nothing until its task runs"]
pub struct SessionTask<R: Runtime> {
    io: Transport<R::Io>,
    shared: Arc<Shared>,
    alarm: Alarm<R>,
    chunk: usize,
    flushed: bool,
    _open: Open,
}

impl<R: Runtime> SessionTask<R> {
    pub(crate) fn new(runtime: R, io: Transport<R::Io>, shared: Arc<Shared>, open: Open) -> Self {
        Self {
            io,
            shared,
            alarm: Alarm::new(runtime),
            chunk: FIRST_CHUNK,
            flushed: true,
            _open: open,
        }
    }

    /// One round: write what the transport takes, read once. Whether anything moved.
    fn round(&mut self, state: &mut State, buffer: &mut [u8], cx: &mut Context<'_>) -> bool {
        let session = &mut state.session;
        let mut moved = false;
        if std::mem::take(&mut state.close) {
            session.close(self.alarm.now());
            moved = true;
        }
        if session
            .poll_timeout()
            .is_some_and(|at| at <= self.alarm.now())
        {
            session.handle_timeout(self.alarm.now());
            moved = true;
        }
        let mut fault = None;
        while let Some(bytes) = session.poll_transmit() {
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    session.transmitted(n);
                    self.flushed = false;
                    moved = true;
                }
                Poll::Ready(result) => {
                    let zero = || std::io::ErrorKind::WriteZero.into();
                    fault = Some(result.err().unwrap_or_else(zero));
                    break;
                }
                Poll::Pending => break,
            }
        }
        if !self.flushed && fault.is_none() {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => fault = Some(error),
                Poll::Pending => {}
            }
        }
        // Reading goes on while a write is stuck: the peer may be stuck in the same way. And when a write fails: what the peer
        // said before it closed is there to be read, the status of a process perhaps.
        if session.wants_input() {
            let mut buffer = ReadBuf::new(&mut buffer[..self.chunk]);
            let read = Pin::new(&mut self.io).poll_read(cx, buffer.unfilled());
            let len = buffer.filled().len();
            match (read, fault) {
                (Poll::Ready(Ok(())), _) if len > 0 => {
                    session.handle_input(buffer.filled(), self.alarm.now());
                    moved = true;
                    if len == self.chunk {
                        self.chunk = CHUNK.min(2 * len);
                    }
                }
                (_, Some(error)) | (Poll::Ready(Err(error)), None) => {
                    session.handle_error(broken(error));
                    moved = true;
                }
                (Poll::Ready(Ok(())), None) => {
                    session.handle_end();
                    moved = true;
                }
                (Poll::Pending, None) => {}
            }
        } else if let Some(error) = fault
            && session.outcome().is_some()
        {
            session.handle_error(broken(error));
            moved = true;
        }
        moved
    }

    /// Rounds until nothing moves, or others are to have their turn.
    fn rounds(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        let mut wake = Vec::new();
        let mut result = None;
        for _ in 0..BUDGET {
            let mut state = shared.lock();
            if state.handles == 0 {
                return Poll::Ready(());
            }
            if state.held_back && state.told && self.alarm.poll(cx).is_pending() {
                // Woken because the transport has more, which can wait.
                state.wait_driver(cx);
                return Poll::Pending;
            }
            if std::mem::take(&mut state.held_back) {
                // Whoever was told has looked, or had the time to.
                state.told = false;
            }
            let moved = self.round(&mut state, buffer, cx);
            state.collect(&mut wake);
            if state.session.is_closed() {
                result = Some(Poll::Ready(()));
            } else if state.hold_back(self.alarm.now() + REST) || !moved {
                let rest = state.held_back.then(|| self.alarm.now() + REST);
                self.alarm
                    .set(rest.or_else(|| state.session.poll_timeout()));
                state.wait_driver(cx);
                if self.alarm.poll(cx).is_pending() {
                    result = Some(Poll::Pending);
                }
            }
            drop(state);
            wake.drain(..).for_each(Waker::wake);
            if let Some(result) = result {
                return result;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Future for SessionTask<R>
where
    Self: Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // While a thread ends there is none.
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.resize(CHUNK, 0);
        let poll = self.rounds(&mut buffer, cx);
        let _ = BUFFER.try_with(|slot| slot.set(buffer));
        poll
    }
}

impl<R: Runtime> Drop for SessionTask<R> {
    fn drop(&mut self) {
        self.shared.with(|state| {
            if !state.session.is_closed() {
                state.session.handle_error(Error::new(
                    ErrorKind::Closed,
                    "the session's task was stopped",
                ));
            }
        });
    }
}

impl<R: Runtime> fmt::Debug for SessionTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionTask")
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Transport, "the session's connection broke").with_source(error)
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
