//! The task that moves the bytes of one session, and what its handles share with it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, Write};
use kubewire::session::{Attach, Event, Exec, Outcome, PortForward, Session};
use kubewire::{Error, ErrorKind};

use crate::Runtime;
use crate::connection::Transport;
use crate::time::Alarm;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// Rounds of write and read before other tasks get their turn.
const BUDGET: usize = 32;

/// A session of any protocol. The machine is the same; only its type tells them apart.
pub(crate) enum AnySession {
    Exec(Session<Exec>),
    Attach(Session<Attach>),
    PortForward(Session<PortForward>),
}

macro_rules! any {
    ($self:expr, $session:ident => $call:expr) => {
        match $self {
            AnySession::Exec($session) => $call,
            AnySession::Attach($session) => $call,
            AnySession::PortForward($session) => $call,
        }
    };
}

impl AnySession {
    pub(crate) fn poll_data(&mut self, channel: u8) -> Option<Bytes> {
        any!(self, session => session.poll_data(channel))
    }

    pub(crate) fn is_finished(&self, channel: u8) -> bool {
        any!(self, session => session.is_finished(channel))
    }

    pub(crate) fn truncated(&self, channel: u8) -> bool {
        any!(self, session => session.truncated(channel))
    }

    pub(crate) fn discard(&mut self, channel: u8) {
        any!(self, session => session.discard(channel));
    }

    pub(crate) fn send(&mut self, channel: u8, data: &[u8]) -> Result<usize, Error> {
        any!(self, session => session.send(channel, data))
    }

    pub(crate) fn finish(&mut self, channel: u8) -> Result<(), Error> {
        any!(self, session => session.finish(channel))
    }

    pub(crate) fn resize(&mut self, width: u16, height: u16) -> Result<(), Error> {
        any!(self, session => session.resize(width, height))
    }

    pub(crate) fn close(&mut self, now: Instant) {
        any!(self, session => session.close(now));
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        any!(self, session => session.outcome())
    }

    pub(crate) fn is_closed(&self) -> bool {
        any!(self, session => session.is_closed())
    }

    pub(crate) fn buffered(&self) -> usize {
        any!(self, session => session.buffered())
    }

    /// What ended a port's connection, if it failed.
    pub(crate) fn port_error(&self, index: u8) -> Option<String> {
        match self {
            Self::PortForward(session) => {
                session.port_error(index).map(std::borrow::Cow::into_owned)
            }
            Self::Exec(_) | Self::Attach(_) => None,
        }
    }

    fn wants_input(&self) -> bool {
        any!(self, session => session.wants_input())
    }

    fn poll_event(&mut self) -> Option<Event> {
        any!(self, session => session.poll_event())
    }

    fn poll_transmit(&mut self) -> Option<&[u8]> {
        any!(self, session => session.poll_transmit())
    }

    fn transmitted(&mut self, n: usize) {
        any!(self, session => session.transmitted(n));
    }

    fn handle_input(&mut self, bytes: &[u8], now: Instant) {
        // A fault is in the outcome too, and its close frame is still to be written.
        let _ = any!(self, session => session.handle_input(bytes, now));
    }

    fn handle_end(&mut self) {
        any!(self, session => session.handle_end());
    }

    fn handle_error(&mut self, error: Error) {
        any!(self, session => session.handle_error(error));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        any!(self, session => session.poll_timeout())
    }

    fn handle_timeout(&mut self, now: Instant) {
        any!(self, session => session.handle_timeout(now));
    }
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
}

/// The waker of each channel's one waiter.
#[derive(Default)]
struct Slots(Vec<Option<Waker>>);

impl Slots {
    fn set(&mut self, channel: u8, waker: &Waker) {
        let index = usize::from(channel);
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        match &mut self.0[index] {
            Some(known) => known.clone_from(waker),
            slot => *slot = Some(waker.clone()),
        }
    }

    fn take(&mut self, channel: u8) -> Option<Waker> {
        self.0.get_mut(usize::from(channel))?.take()
    }
}

impl State {
    pub(crate) fn wait_readable(&mut self, channel: u8, cx: &Context<'_>) {
        self.readers.set(channel, cx.waker());
    }

    pub(crate) fn wait_writable(&mut self, channel: u8, cx: &Context<'_>) {
        self.writers.set(channel, cx.waker());
    }

    pub(crate) fn wait_outcome(&mut self, cx: &Context<'_>) {
        if !self.outcome.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.outcome.push(cx.waker().clone());
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

    /// Collects who is to be woken for what has happened. They are woken after the lock is gone.
    fn collect(&mut self, wake: &mut Vec<Waker>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Readable(channel) => wake.extend(self.readers.take(channel)),
                Event::Writable(channel) => wake.extend(self.writers.take(channel)),
                Event::PortFailed(channel) => {
                    wake.extend(self.readers.take(channel));
                    wake.extend(self.writers.take(channel));
                }
                Event::Outcome | Event::Closed => {
                    wake.extend(self.readers.0.drain(..).flatten());
                    wake.extend(self.writers.0.drain(..).flatten());
                    wake.append(&mut self.outcome);
                }
                // The task looks for itself.
                Event::Opened | Event::Resumed | _ => {}
            }
        }
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
                readers: Slots::default(),
                writers: Slots::default(),
                outcome: Vec::new(),
                handles: 0,
                close: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the session for a handle, then lets the task and the other handles know.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let before = state.chores();
        let result = change(&mut state);
        state.collect(&mut wake);
        let after = state.chores();
        if before
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

    /// Looks without changing anything.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock())
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
    buffer: Box<[u8]>,
    flushed: bool,
}

impl<R: Runtime> SessionTask<R> {
    pub(crate) fn new(runtime: R, io: Transport<R::Io>, shared: Arc<Shared>) -> Self {
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Self {
            io,
            shared,
            alarm: Alarm::new(runtime),
            buffer,
            flushed: true,
        }
    }

    /// One round: write what the transport takes, read once. Whether anything moved.
    fn round(&mut self, state: &mut State, cx: &mut Context<'_>) -> bool {
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
        while let Some(bytes) = session.poll_transmit() {
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    session.transmitted(n);
                    self.flushed = false;
                    moved = true;
                }
                Poll::Ready(result) => {
                    let error = result
                        .err()
                        .unwrap_or_else(|| std::io::ErrorKind::WriteZero.into());
                    session.handle_error(broken(error));
                    return true;
                }
                Poll::Pending => break,
            }
        }
        if !self.flushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => {
                    session.handle_error(broken(error));
                    return true;
                }
                Poll::Pending => {}
            }
        }
        // Reading goes on while a write is stuck: the peer may be stuck in the same way.
        if session.wants_input() {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    session.handle_end();
                    moved = true;
                }
                Poll::Ready(Ok(())) => {
                    session.handle_input(buffer.filled(), self.alarm.now());
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    session.handle_error(broken(error));
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        moved
    }
}

impl<R: Runtime> Future for SessionTask<R>
where
    Self: Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = this.shared.clone();
        let mut wake = Vec::new();
        let mut result = None;
        for _ in 0..BUDGET {
            let mut state = shared.lock();
            if state.handles == 0 {
                return Poll::Ready(());
            }
            let moved = this.round(&mut state, cx);
            state.collect(&mut wake);
            if state.session.is_closed() {
                result = Some(Poll::Ready(()));
            } else if !moved {
                this.alarm.set(state.session.poll_timeout());
                match &mut state.driver {
                    Some(known) => known.clone_from(cx.waker()),
                    slot => *slot = Some(cx.waker().clone()),
                }
                if this.alarm.poll(cx).is_pending() {
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
