//! Counts polls and progress.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

/// How long nothing may happen before the tasks are prodded. Odd, so as not to meet other people's timers.
pub(super) const QUIET: Duration = Duration::from_millis(7_310);

/// How many polls without any progress are a busy loop.
const BUSY: u64 = 20_000;

/// What the tasks of a runtime do.
#[derive(Debug, Default)]
pub struct Meter {
    /// What has moved: reads, writes, dials, sleeps and tasks that ended.
    progress: AtomicU64,
    /// Polls since the last progress.
    idle_polls: AtomicU64,
    /// The most of them.
    most_idle_polls: AtomicU64,
    prodding: AtomicBool,
    lost: AtomicU64,
    next: AtomicU64,
    wakers: Mutex<BTreeMap<u64, Waker>>,
}

impl Meter {
    /// Something has moved.
    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        let idle = self.idle_polls.swap(0, Ordering::Relaxed);
        self.most_idle_polls.fetch_max(idle, Ordering::Relaxed);
        if self.prodding.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How much has moved.
    pub(super) fn moved(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Polls every task, to see whether one has something to do that nobody told it.
    pub(super) fn prod(&self) {
        self.prodding.store(true, Ordering::Relaxed);
        let wakers: Vec<_> = self.wakers().values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn end_of_prod(&self) {
        self.prodding.store(false, Ordering::Relaxed);
    }

    /// What is wrong, if anything is.
    #[must_use]
    pub fn verdict(&self) -> Option<String> {
        let idle = self.idle_polls.load(Ordering::Relaxed);
        let most = self.most_idle_polls.load(Ordering::Relaxed).max(idle);
        if most > BUSY {
            return Some(format!("a busy loop: {most} polls while nothing moved"));
        }
        let lost = self.lost.load(Ordering::Relaxed);
        (lost > 0).then(|| {
            format!("a lost wake-up: nothing moved for {QUIET:?}, until the tasks were polled without reason")
        })
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that is counted.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct Metered<F> {
    #[pin]
    inner: F,
    meter: Arc<Meter>,
    id: u64,
}

impl<F> Metered<F> {
    pub(super) fn new(inner: F, meter: Arc<Meter>) -> Self {
        let id = meter.next.fetch_add(1, Ordering::Relaxed);
        Self { inner, meter, id }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.meter.idle_polls.fetch_add(1, Ordering::Relaxed);
        this.meter
            .wakers()
            .entry(*this.id)
            .and_modify(|waker| waker.clone_from(cx.waker()))
            .or_insert_with(|| cx.waker().clone());
        let poll = this.inner.poll(cx);
        if poll.is_ready() {
            this.meter.progress();
        }
        poll
    }
}

#[pinned_drop]
impl<F> PinnedDrop for Metered<F> {
    fn drop(self: Pin<&mut Self>) {
        let waker = self.meter.wakers().remove(&self.id);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    fn poll(future: &mut Pin<Box<Metered<impl Future<Output = ()>>>>) -> Poll<()> {
        let waker = Waker::noop();
        future.as_mut().poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn a_task_that_is_polled_for_nothing_is_a_busy_loop() {
        let meter = Arc::<Meter>::default();
        let mut task = Box::pin(Metered::new(std::future::pending(), meter.clone()));
        for _ in 0..=BUSY {
            assert_eq!(meter.verdict(), None);
            assert!(poll(&mut task).is_pending());
        }
        assert!(meter.verdict().is_some_and(|why| why.contains("busy")));
        // Progress that comes too late does not undo it.
        meter.progress();
        assert!(meter.verdict().is_some());
    }

    #[test]
    fn a_task_that_moves_is_none() {
        let meter = Arc::<Meter>::default();
        let mut task = Box::pin(Metered::new(std::future::pending(), meter.clone()));
        for _ in 0..3 * BUSY {
            assert!(poll(&mut task).is_pending());
            meter.progress();
        }
        assert_eq!(meter.verdict(), None);
    }

    #[test]
    fn a_task_that_was_ready_without_being_woken_has_lost_a_wake_up() {
        let meter = Arc::<Meter>::default();
        let mut polls = 0;
        let deaf = poll_fn(move |_| {
            polls += 1;
            if polls > 1 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let mut task = Box::pin(Metered::new(deaf, meter.clone()));
        assert!(poll(&mut task).is_pending());
        meter.prod();
        assert!(poll(&mut task).is_ready());
        meter.end_of_prod();
        assert!(meter.verdict().is_some_and(|why| why.contains("wake-up")));
    }
}
