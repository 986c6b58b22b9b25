//! Deadlines over a runtime's sleep.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::Runtime;

/// One deadline that may move. The sleep behind it is re-armed only when it fires too early or the
/// deadline comes nearer: moving it away, as every byte does, costs nothing.
pub(crate) struct Alarm<R: Runtime> {
    runtime: R,
    deadline: Option<Instant>,
    armed: Option<(Instant, Pin<Box<R::Sleep>>)>,
}

impl<R: Runtime> Alarm<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self {
            runtime,
            deadline: None,
            armed: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Ready when the deadline has passed; pending for ever without one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            self.armed = None;
            return Poll::Pending;
        };
        loop {
            // The clock decides: a runtime's sleep may be late to say so, or give way to other tasks.
            if self.runtime.now() >= deadline {
                return Poll::Ready(());
            }
            match &mut self.armed {
                Some((at, sleep)) if *at <= deadline => match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) if *at == deadline => return Poll::Ready(()),
                    Poll::Ready(()) => self.armed = None,
                    Poll::Pending => return Poll::Pending,
                },
                _ => {
                    let sleep = Box::pin(self.runtime.sleep_until(deadline));
                    self.armed = Some((deadline, sleep));
                }
            }
        }
    }
}

/// Awaits a future until then at most; none if the time is over first.
pub(crate) async fn until<R: Runtime, F: Future>(
    runtime: &R,
    deadline: Option<Instant>,
    future: F,
) -> Option<F::Output> {
    let mut alarm = Alarm::new(runtime.clone());
    alarm.set(deadline);
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        alarm.poll(cx).map(|()| None)
    })
    .await
}

/// Awaits a future for a limited time.
pub(crate) async fn within<R: Runtime, F: Future>(
    runtime: &R,
    time: Option<Duration>,
    future: F,
) -> Option<F::Output> {
    let deadline = time.and_then(|time| runtime.now().checked_add(time));
    until(runtime, deadline, future).await
}
