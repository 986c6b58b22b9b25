//! Sleeps that hand their timers on.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// How many timers a thread keeps for the next sleeps.
const KEPT: usize = 16;

thread_local! {
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// Who waits for a timer. The reactor knows only this, so that its timer can change hands.
#[derive(Default)]
struct Waiter(Mutex<Option<Waker>>);

impl Waiter {
    fn slot(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        let waker = self.slot().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A timer that the reactor knows.
struct Timer {
    at: Instant,
    alarm: smol::Timer,
    waiter: Arc<Waiter>,
    waker: Waker,
}

impl Timer {
    fn new(at: Instant) -> Self {
        let waiter = Arc::new(Waiter::default());
        Self {
            at,
            alarm: smol::Timer::at(at),
            waker: waiter.clone().into(),
            waiter,
        }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &mut *self.waiter.slot() {
            Some(waker) => waker.clone_from(cx.waker()),
            slot => *slot = Some(cx.waker().clone()),
        }
        let cx = &mut Context::from_waker(&self.waker);
        Pin::new(&mut self.alarm).poll(cx).map(drop)
    }

    /// One that was left behind and fires in time.
    fn left(deadline: Instant) -> Option<Self> {
        let take = |timers: &RefCell<Vec<Self>>| {
            let mut timers = timers.borrow_mut();
            let now = Instant::now();
            timers.retain(|timer| timer.at > now);
            let index = timers.iter().rposition(|timer| timer.at <= deadline)?;
            Some(timers.swap_remove(index))
        };
        TIMERS.try_with(take).ok().flatten()
    }

    fn leave(self) {
        self.waiter.slot().take();
        // A thread that ends keeps none.
        let _ = TIMERS.try_with(|timers| {
            let mut timers = timers.borrow_mut();
            if timers.len() < KEPT {
                timers.push(self);
            }
        });
    }
}

/// A sleep on smol's timers.
///
/// Most deadlines of a client are never reached, and each new timer wakes smol's reactor once. A sleep that is dropped
/// before its time leaves its timer to the next one on the thread, which arms its own only when that has fired too
/// early: calls that follow each other share a timer.
pub struct Sleep {
    deadline: Instant,
    timer: Option<Timer>,
}

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            timer: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        loop {
            let timer = self.timer.get_or_insert_with(|| {
                Timer::left(deadline).unwrap_or_else(|| Timer::new(deadline))
            });
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let early = timer.at < deadline;
            self.timer = early.then(|| Timer::new(deadline));
            if !early {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.leave();
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept() -> usize {
        TIMERS.with(|timers| timers.borrow().len())
    }

    fn after(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    /// Begins to sleep, and gives up.
    fn abandon(deadline: Instant) {
        let mut sleep = Sleep::until(deadline);
        let polled = Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    #[test]
    fn an_early_timer_that_was_left_ends_no_sleep_early() {
        abandon(after(5));
        assert_eq!(kept(), 1);
        let deadline = after(40);
        smol::block_on(Sleep::until(deadline));
        assert!(Instant::now() >= deadline);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_late_timer_that_was_left_delays_no_sleep() {
        let late = after(3_600_000);
        abandon(late);
        smol::block_on(Sleep::until(after(5)));
        assert!(Instant::now() < late);
        assert_eq!(kept(), 1);
    }

    #[test]
    fn a_timer_passes_from_sleep_to_sleep() {
        let first = after(3_600_000);
        for _ in 0..100 {
            abandon(after(3_600_001));
        }
        assert_eq!(kept(), 1);
        abandon(first);
        assert_eq!(kept(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut sleeps: Vec<_> = (0..100).map(|_| Sleep::until(after(3_600_000))).collect();
        for sleep in &mut sleeps {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(Pin::new(sleep).poll(cx).is_pending());
        }
        drop(sleeps);
        assert_eq!(kept(), KEPT);
    }

    #[test]
    fn a_deadline_in_the_past_is_over_at_once() {
        abandon(after(3_600_000));
        smol::block_on(Sleep::until(Instant::now()));
    }
}
