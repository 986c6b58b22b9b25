//! One call over one connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use http_body::Body as _;
use hyper::body::Incoming;
use kubewire::policy::{Deadlines, Phase};
use kubewire::{Call, Decode, End, Error, ErrorKind, Exchange};
use pin_project::pin_project;

use crate::Drive;
use crate::fault::is_malformed;
use crate::observe::Record;
use crate::pool::{Hold, Pool};
use crate::time::Alarm;

/// Chunks handled before other tasks get their turn.
const BUDGET: usize = 64;

/// An answer that is being read.
pub(crate) struct Answer<R: Drive, D: Decode> {
    exchange: Exchange<D>,
    pool: Arc<Pool<R>>,
    /// Gone after the end.
    body: Option<(Incoming, Hold)>,
    deadlines: Deadlines,
    /// The caller has an item, and the server's time does not run.
    paused: bool,
    alarm: Alarm<R>,
    record: Record<R>,
    method: http::Method,
    uri: http::Uri,
    /// What the transport said when it broke, or why there are no better credentials.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The body did not break off: it broke the rules.
    malformed: bool,
    failed: bool,
}

impl<R: Drive, D: Decode> Answer<R, D> {
    pub(crate) fn new(
        exchange: Exchange<D>,
        pool: Arc<Pool<R>>,
        body: (Incoming, Hold),
        deadlines: Deadlines,
        record: Record<R>,
        fault: Option<Error>,
        (method, uri): (http::Method, http::Uri),
    ) -> Self {
        let body = Some(body);
        let alarm = Alarm::new(pool.connector.runtime.clone());
        Self {
            exchange,
            pool,
            body,
            deadlines,
            paused: true,
            alarm,
            record,
            method,
            uri,
            cause: fault.map(Into::into),
            malformed: false,
            failed: false,
        }
    }

    /// The next item; `None` after the last, and after a terminal error.
    pub(crate) fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<D::Item, Error>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        for _ in 0..BUDGET {
            match self.exchange.poll_item() {
                Ok(Some(item)) => {
                    // Nothing more: many items come of one chunk, and asking for the time takes longer than some.
                    self.paused = true;
                    return Poll::Ready(Some(Ok(item)));
                }
                Err(error) => return Poll::Ready(Some(Err(self.describe(error)))),
                Ok(None) => {}
            }
            let Some((body, _)) = &mut self.body else {
                return Poll::Ready(None);
            };
            if std::mem::take(&mut self.paused) {
                self.deadlines.handle_phase(Phase::Idle, self.alarm.now());
                self.alarm.set(self.deadlines.poll_timeout());
            }
            // Faults of the exchange come out of its poll_item, after the items before them.
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let now = self.alarm.now();
                    self.deadlines.handle_progress(now);
                    // The alarm is asked in silence only, and there may be none.
                    if self.deadlines.end().is_some_and(|end| end <= now) {
                        return Poll::Ready(Some(Err(self.describe(Phase::Total.error()))));
                    }
                    self.alarm.set(self.deadlines.poll_timeout());
                    if let Ok(data) = frame.into_data() {
                        self.record.received(data.len());
                        let _ = self.exchange.handle_data(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.malformed = is_malformed(&error);
                    self.cause = Some(error.into());
                    self.body = None;
                    let _ = self.exchange.handle_end(End::Truncated);
                }
                Poll::Ready(None) => {
                    if let Some((_, hold)) = self.body.take() {
                        self.pool.checkin(hold);
                    }
                    self.record.complete();
                    let _ = self.exchange.handle_end(End::Clean);
                }
                Poll::Pending => {
                    if self.alarm.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    let phase = self.deadlines.expired(self.alarm.now());
                    let error = phase.unwrap_or(Phase::Idle).error();
                    return Poll::Ready(Some(Err(self.describe(error))));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// After the end: the call that continues the answer.
    pub(crate) fn follow_up(&mut self) -> Option<Call<D>> {
        self.exchange.follow_up()
    }

    fn describe(&mut self, mut error: Error) -> Error {
        if self.malformed && error.kind() == ErrorKind::Truncated {
            error = Error::new(ErrorKind::Peer, "the framing of the answer is broken");
        }
        error = error.with_request(&self.method, &self.uri);
        if error.kind() != ErrorKind::Object {
            self.failed = true;
            self.record.failed(&error);
            // The rest of the answer is of no use; without it the connection is not either.
            self.body = None;
            if let Some(cause) = self.cause.take() {
                error = error.with_source(cause);
            }
        }
        error
    }
}

/// The items of a streaming call, page after page.
#[pin_project]
pub(crate) struct Items<R: Drive, D: Decode, F, O> {
    #[pin]
    state: State<R, D, F>,
    open: O,
}

#[pin_project(project = StateProjection)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is in a box already, and reading is its usual state"
)]
enum State<R: Drive, D: Decode, F> {
    Opening(#[pin] F),
    Reading(Answer<R, D>),
    Done,
}

impl<R, D, F, O> Items<R, D, F, O>
where
    R: Drive,
    D: Decode,
    F: Future<Output = Result<Answer<R, D>, Error>>,
    O: Fn(Result<Call<D>, Error>) -> F,
{
    pub(crate) fn new(call: Result<Call<D>, Error>, open: O) -> Self {
        Self {
            state: State::Opening(open(call)),
            open,
        }
    }
}

impl<R, D, F, O> Stream for Items<R, D, F, O>
where
    R: Drive,
    D: Decode,
    F: Future<Output = Result<Answer<R, D>, Error>>,
    O: Fn(Result<Call<D>, Error>) -> F,
{
    type Item = Result<D::Item, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Opening(opening) => match opening.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(answer)) => State::Reading(answer),
                    Poll::Ready(Err(error)) => {
                        this.state.set(State::Done);
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                StateProjection::Reading(answer) => match answer.poll_item(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                    Poll::Ready(None) => match answer.follow_up() {
                        Some(call) => State::Opening((this.open)(Ok(call))),
                        None => State::Done,
                    },
                },
                StateProjection::Done => return Poll::Ready(None),
            };
            this.state.set(next);
        }
    }
}
