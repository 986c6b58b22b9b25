//! What the pool must know of connections that hyper owns.

#[cfg(feature = "http2")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The signs of one connection: its transport and its task give them, the pool sees them.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// Something is to be written that the peer does not take.
    stuck: AtomicBool,
    /// Nobody uses the connection any more.
    abandoned: AtomicBool,
    /// The task of the connection, while it has something to look at.
    task: Mutex<Option<Waker>>,
    #[cfg(feature = "http2")]
    pub(crate) streams: Streams,
}

/// The streams of an HTTP/2 connection.
#[cfg(feature = "http2")]
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: AtomicUsize,
    /// How many the server allows.
    max: AtomicUsize,
    /// Whether the server is still to say that.
    young: AtomicBool,
    /// Who waits for that.
    waiting: Mutex<Vec<Waker>>,
}

/// What a server cannot allow: its word has 32 bits.
#[cfg(feature = "http2")]
pub(crate) const UNKNOWN: usize = usize::MAX - 1;

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
        self.watch(cx);
        if self.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// The task looks again at the next sign.
    fn watch(&self, cx: &Context<'_>) {
        *lock(&self.task) = Some(cx.waker().clone());
    }

    fn wake(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The use of a connection, for as long as anybody has one.
#[derive(Debug)]
pub(crate) struct Grip(pub(crate) Arc<Signs>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Release);
        self.0.wake();
    }
}

#[cfg(feature = "http2")]
impl Signs {
    /// The transport was read.
    pub(crate) fn read(&self) {
        // What was read before has been looked at by now, the server's settings perhaps.
        if self.streams.is_young() {
            self.wake();
        }
    }

    /// For the task, before it looks how many streams the server allows: whether it is to be woken for that.
    pub(crate) fn expect_settings(&self, cx: &Context<'_>) {
        if self.streams.is_young() {
            self.watch(cx);
        }
    }
}

#[cfg(feature = "http2")]
impl Streams {
    /// The connection begins: the server is to say how many streams it allows. Until then there is one.
    pub(crate) fn begin(&self) {
        self.max.store(1, Ordering::Relaxed);
        self.young.store(true, Ordering::Release);
    }

    pub(crate) fn is_young(&self) -> bool {
        self.young.load(Ordering::Acquire)
    }

    /// What hyper knows of how many streams the server allows.
    pub(crate) fn allow(&self, max: usize) {
        if max != UNKNOWN {
            self.max.store(max, Ordering::Relaxed);
            self.settle();
        }
    }

    /// There is nothing to wait for any more.
    pub(crate) fn settle(&self) {
        if self.young.swap(false, Ordering::AcqRel) {
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Until it is known how many streams the server allows, or the connection is gone.
    pub(crate) fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = lock(&self.waiting);
        if !self.is_young() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether there is room for one more, of so many at most.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        let max = self.max.load(Ordering::Relaxed).clamp(1, most);
        self.open.load(Ordering::Relaxed) < max
    }

    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stuck_connection_ends_when_nobody_uses_it() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        let signs = Arc::<Signs>::default();
        let grip = Grip(signs.clone());
        assert!(signs.poll_forlorn(&cx).is_pending());
        signs.written(false);
        assert!(signs.poll_forlorn(&cx).is_pending());
        drop(grip);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(signs.poll_forlorn(&cx).is_ready());
        // hyper says its farewell itself when it can.
        signs.written(true);
        assert!(signs.poll_forlorn(&cx).is_pending());
    }

    #[cfg(feature = "http2")]
    #[test]
    fn a_young_connection_has_one_stream_until_the_server_allows_more() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        let streams = Streams::default();
        streams.begin();
        assert!(streams.has_room(100));
        streams.open();
        assert!(!streams.has_room(100));
        streams.allow(UNKNOWN);
        assert!(streams.poll_settled(&cx).is_pending());
        assert!(streams.poll_settled(&cx).is_pending());
        streams.allow(usize::MAX);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(streams.poll_settled(&cx).is_ready());
        assert!(streams.has_room(2) && !streams.has_room(1));
        streams.allow(1);
        assert!(!streams.has_room(100));
        streams.close();
        assert!(streams.has_room(100));
    }
}
