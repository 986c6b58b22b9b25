//! Time that passes at once.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use kubewire_driver::{Host, Runtime};

use super::local::LocalRuntime;

/// The single-threaded runtime, with a clock that can be put forward.
#[derive(Clone, Debug)]
pub struct Ahead {
    runtime: LocalRuntime,
    by: Rc<Cell<Duration>>,
}

impl Ahead {
    /// Not ahead yet.
    #[must_use]
    pub fn new(runtime: LocalRuntime) -> Self {
        Self {
            runtime,
            by: Rc::default(),
        }
    }

    /// By how much the clock is ahead, to be set.
    #[must_use]
    pub fn by(&self) -> Rc<Cell<Duration>> {
        self.by.clone()
    }
}

impl Runtime for Ahead {
    type Io = <LocalRuntime as Runtime>::Io;
    type Dial = <LocalRuntime as Runtime>::Dial;
    type Sleep = <LocalRuntime as Runtime>::Sleep;

    fn dial(&self, host: &str, port: u16) -> Self::Dial {
        self.runtime.dial(host, port)
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        let deadline = deadline.checked_sub(self.by.get());
        self.runtime
            .sleep_until(deadline.expect("an instant of this clock"))
    }

    fn now(&self) -> Instant {
        self.runtime.now() + self.by.get()
    }
}

impl Host for Ahead {}

impl<F: Future + 'static> Executor<F> for Ahead {
    fn execute(&self, task: F) {
        self.runtime.execute(task);
    }
}
