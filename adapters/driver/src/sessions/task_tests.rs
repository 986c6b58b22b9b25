//! Sessions over a transport that does as it is told.

use std::future::{Pending, Ready, ready};
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use kubewire::Limits;
use kubewire::channel::Subprotocol;
use kubewire::session::{Abort, Exec, Session, SessionOptions, Streams, Timeout};

use super::*;
use crate::observe::Telemetry;

/// A runtime without a network, whose time passes when it is told.
struct Nowhere<Io> {
    begun: Instant,
    millis: Arc<AtomicU64>,
    io: PhantomData<Io>,
}

impl<Io> Clone for Nowhere<Io> {
    fn clone(&self) -> Self {
        Self {
            begun: self.begun,
            millis: self.millis.clone(),
            io: PhantomData,
        }
    }
}

impl<Io: Read + Write + Unpin + 'static> Runtime for Nowhere<Io> {
    type Io = Io;
    type Dial = Ready<io::Result<Io>>;
    type Sleep = Pending<()>;

    fn dial(&self, _: &str, _: u16) -> Self::Dial {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        std::future::pending()
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

/// What the peer said before it closed, with data unread: no write succeeds any more.
struct Closed {
    said: Vec<u8>,
}

impl Read for Closed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // In two pieces, to be read in two rounds.
        let len = self.said.len().div_ceil(2).min(cursor.remaining());
        cursor.put_slice(&self.said[..len]);
        self.said.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl Write for Closed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[0x80 | opcode, len], payload].concat()
}

/// An exec session over a transport, and the time.
fn session<Io>(said: Io) -> (Handle, SessionTask<Nowhere<Io>>, Arc<AtomicU64>)
where
    Io: Read + Write + Unpin + 'static,
{
    let runtime = Nowhere {
        begun: Instant::now(),
        millis: Arc::default(),
        io: PhantomData,
    };
    let (streams, limits) = (Streams::new().stdin().stdout(), Limits::default());
    let options = SessionOptions::default()
        .idle_timeout(Duration::from_secs(10))
        .total_timeout(Duration::from_mins(1));
    let exec = Exec::new(streams);
    let session = Session::new(exec, Subprotocol::V5, &options, &limits, runtime.begun);
    let shared = Arc::new(Shared::new(AnySession::Exec(session)));
    let open = Telemetry::default().connected(false, true, Duration::ZERO);
    let handle = Handle::new(shared.clone());
    let task = SessionTask::new(runtime.clone(), Transport::plain(said), shared, open);
    (handle, task, runtime.millis)
}

fn outcome_of(said: Vec<u8>) -> Outcome {
    let (handle, mut task, _) = session(Closed { said });
    let sent = handle.with(|state| state.session.send(Channel::Number(0), b"input"));
    assert_eq!(sent.unwrap(), 5);
    let mut cx = Context::from_waker(Waker::noop());
    let mut ended = (0..100).map(|_| Pin::new(&mut task).poll(&mut cx).is_ready());
    assert!(ended.any(|ended| ended));
    handle.look(|state| state.session.outcome().unwrap().clone())
}

#[test]
fn what_was_said_before_the_end_counts_though_nothing_can_be_sent() {
    let status =
        br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
    let status = frame(2, &[&b"\x03"[..], status].concat());
    let close = frame(8, &1000_u16.to_be_bytes());
    let outcome = outcome_of([status, close].concat());
    assert!(matches!(outcome, Outcome::Exited(7)), "{outcome:?}");
}

#[test]
fn a_write_that_fails_is_told_if_nothing_else_was() {
    let outcome = outcome_of(frame(2, b"\x01output"));
    let error = outcome.to_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transport);
}

/// A process that prints for ever.
struct Chatter;

impl Read for Chatter {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let message = frame(2, &[&b"\x01"[..], &[b'x'; 124]].concat());
        while cursor.remaining() >= message.len() {
            cursor.put_slice(&message);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Chatter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session whose process prints for ever, and the task's waker.
struct Chat {
    handle: Handle,
    task: SessionTask<Nowhere<Chatter>>,
    millis: Arc<AtomicU64>,
    woken: Arc<Count>,
}

const STDOUT: Channel = Channel::Number(1);

impl Chat {
    fn new() -> Self {
        let (handle, task, millis) = session(Chatter);
        let woken = Arc::new(Count::default());
        Self {
            handle,
            task,
            millis,
            woken,
        }
    }

    /// Polls the task once. Whether it wants to be polled again at once.
    fn poll(&mut self) -> bool {
        let waker = self.woken.clone().into();
        let before = self.woken.0.load(Ordering::Relaxed);
        let poll = Pin::new(&mut self.task).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        self.woken.0.load(Ordering::Relaxed) > before
    }

    /// Runs the task until it rests. What waits then.
    fn run(&mut self) -> usize {
        while self.poll() {}
        self.handle.0.lock().session.buffered()
    }

    fn wakes(&self) -> usize {
        self.woken.0.swap(0, Ordering::Relaxed)
    }

    /// A reader that finds nothing, or the first of what there is.
    fn read(&self) -> Option<Bytes> {
        let cx = Context::from_waker(Waker::noop());
        self.handle.with(|state| {
            let data = state.session.poll_data(STDOUT);
            if data.is_none() {
                state.wait_readable(STDOUT, &cx);
            }
            data
        })
    }
}

fn window() -> usize {
    Limits::default().receive_window
}

#[test]
fn a_reader_that_was_told_is_given_time_to_look() {
    let mut chat = Chat::new();
    assert!(chat.read().is_none());
    let held = chat.run();
    assert!((CHUNK..3 * CHUNK).contains(&held), "{held}");
    chat.wakes();
    while chat.read().is_some() {}
    assert_eq!(chat.wakes(), 1);
    let again = chat.run();
    assert!((CHUNK..3 * CHUNK).contains(&again), "{again}");
}

#[test]
fn a_transport_that_has_more_does_not_end_the_time_that_a_reader_is_given() {
    let mut chat = Chat::new();
    assert!(chat.read().is_none());
    let held = chat.run();
    for _ in 0..49 {
        chat.millis.fetch_add(1, Ordering::Relaxed);
        assert_eq!(chat.run(), held);
    }
    chat.wakes();
    while chat.read().is_some() {}
    assert_eq!(chat.wakes(), 1);
    assert!(chat.run() >= CHUNK);
}

#[test]
fn a_reader_that_looks_once_and_then_sleeps_does_not_stop_the_session() {
    let mut chat = Chat::new();
    assert!(chat.read().is_none());
    chat.run();
    chat.wakes();
    assert!(chat.read().is_some());
    assert_eq!(chat.wakes(), 1);
    assert!(chat.run() >= window());
}

#[test]
fn any_handle_that_looks_lets_the_session_go_on() {
    let looks: [fn(&Handle); 3] = [
        |handle| assert!(handle.look(|state| state.session.outcome().is_none())),
        |handle| handle.with(|state| state.session.discard(Channel::Number(2))),
        |handle| {
            let waiting = handle.poll_outcome(&Context::from_waker(Waker::noop()));
            assert!(waiting.is_pending());
        },
    ];
    for look in looks {
        let mut chat = Chat::new();
        assert!(chat.read().is_none());
        chat.run();
        chat.wakes();
        look(&chat.handle);
        assert_eq!(chat.wakes(), 1);
        assert!(chat.run() >= window());
    }
}

#[test]
fn who_waits_for_the_outcome_is_not_held_up_by_a_reader() {
    let mut chat = Chat::new();
    let cx = Context::from_waker(Waker::noop());
    assert!(chat.handle.poll_outcome(&cx).is_pending());
    assert!(chat.read().is_none());
    assert!(chat.run() >= window());
}

fn outcome(chat: &Chat) -> Option<Outcome> {
    chat.handle.look(|state| state.session.outcome().cloned())
}

#[test]
fn a_reader_that_never_looks_holds_nothing_up() {
    let mut chat = Chat::new();
    assert!(chat.read().is_none());
    assert!(chat.run() < 3 * CHUNK);
    chat.millis.fetch_add(50, Ordering::Relaxed);
    assert!(chat.run() >= window());
    // Nor is it a silence of the server that nothing more is read.
    chat.millis.fetch_add(11_000, Ordering::Relaxed);
    chat.run();
    assert!(outcome(&chat).is_none());
}

#[test]
fn deadlines_hold_for_a_reader_that_keeps_up() {
    let mut chat = Chat::new();
    for _ in 0..59 {
        while chat.read().is_some() {}
        chat.run();
        chat.millis.fetch_add(1000, Ordering::Relaxed);
    }
    while chat.read().is_some() {}
    chat.run();
    assert!(outcome(&chat).is_none());
    chat.millis.fetch_add(1000, Ordering::Relaxed);
    while chat.read().is_some() {}
    chat.poll();
    let end = outcome(&chat);
    let total = |end: &Outcome| matches!(end, Outcome::Aborted(Abort::Timeout(Timeout::Total)));
    assert!(end.as_ref().is_some_and(total), "{end:?}");
}
