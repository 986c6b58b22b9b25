//! What the pool must know of connections that hyper owns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The signs of one connection: its transport gives them, its task and the pool see them.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// Something is to be written that the peer does not take.
    stuck: AtomicBool,
    /// Nobody uses the connection any more.
    abandoned: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Signs {
    /// The peer has taken all there was, or takes no more.
    pub(crate) fn written(&self, all: bool) {
        self.stuck.store(!all, Ordering::Release);
    }

    /// Whether the peer does not take what is to be written.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }

    /// For the task: whether to end, since nobody uses the connection any more and hyper waits for a peer that does not
    /// take the rest of a request.
    pub(crate) fn poll_forlorn(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_stuck() {
            return Poll::Pending;
        }
        *self.task() = Some(cx.waker().clone());
        if self.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The use of a connection, for as long as anybody has one.
#[derive(Debug)]
pub(crate) struct Grip(pub(crate) Arc<Signs>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Release);
        let task = self.0.task().take();
        if let Some(task) = task {
            task.wake();
        }
    }
}
