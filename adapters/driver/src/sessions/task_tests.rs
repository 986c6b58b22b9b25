//! Sessions over a transport that does as it is told.

use std::future::{Pending, Ready, ready};
use std::io;

use hyper::rt::ReadBufCursor;
use kubewire::Limits;
use kubewire::channel::Subprotocol;
use kubewire::session::{SessionOptions, Streams};

use super::*;
use crate::observe::Telemetry;

#[derive(Clone)]
struct Nowhere;

impl Runtime for Nowhere {
    type Io = Closed;
    type Dial = Ready<io::Result<Closed>>;
    type Sleep = Pending<()>;

    fn dial(&self, _: &str, _: u16) -> Self::Dial {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        std::future::pending()
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

fn outcome_of(said: Vec<u8>) -> Outcome {
    let (streams, now) = (Streams::new().stdin().stdout(), Instant::now());
    let (options, limits) = (SessionOptions::default(), Limits::default());
    let session = Session::new(Exec::new(streams), Subprotocol::V5, &options, &limits, now);
    let shared = Arc::new(Shared::new(AnySession::Exec(session)));
    let handle = Handle::new(shared.clone());
    let sent = handle.with(|state| state.session.send(Channel::Number(0), b"input"));
    assert_eq!(sent.unwrap(), 5);
    let open = Telemetry::default().connected(false, true, std::time::Duration::ZERO);
    let io = Transport::plain(Closed { said });
    let mut task = SessionTask::new(Nowhere, io, shared, open);
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
