//! Reflectors, waits and followed logs over a client.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use kubewire::policy::{CallTimeouts, Timeout};
use kubewire::reflect::logs::{LogEvent, LogFollower, LogOptions, LogWant};
use kubewire::reflect::wait::{Wait, WaitError};
use kubewire::reflect::{
    Change, ReflectEvent, Reflector, ReflectorConfig, Snapshot, Store, Want, WantId,
};
use kubewire::{Api, Decode, End, Error, ErrorKind, HasLogs, Object, Operation};

use crate::time::Alarm;
use crate::{Client, Drive};

/// What the machines that ask for requests have in common.
trait Wanting {
    type Want: Operation;
    type Event;
    fn poll_cancel(&mut self) -> Option<WantId>;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn poll_want(&mut self, now: Instant) -> Option<(WantId, Self::Want)>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn handle_answer(&mut self, id: WantId, answer: AnswerOf<Self>, now: Instant);
    fn handle_error(&mut self, id: WantId, error: Error, now: Instant);
    fn handle_end(&mut self, id: WantId, now: Instant);
    fn is_ended(&self) -> bool;
}

type AnswerOf<M> = <<<M as Wanting>::Want as Operation>::Decoder as Decode>::Item;

macro_rules! wanting {
    ($machine:ident, $ended:expr) => {
        fn poll_cancel(&mut self) -> Option<WantId> {
            $machine::poll_cancel(self)
        }

        fn poll_event(&mut self) -> Option<Self::Event> {
            $machine::poll_event(self)
        }

        fn poll_want(&mut self, now: Instant) -> Option<(WantId, Self::Want)> {
            $machine::poll_want(self, now)
        }

        fn poll_timeout(&self) -> Option<Instant> {
            $machine::poll_timeout(self).map(|(at, _)| at)
        }

        fn handle_timeout(&mut self, now: Instant) {
            $machine::handle_timeout(self, now);
        }

        fn handle_answer(&mut self, id: WantId, answer: AnswerOf<Self>, now: Instant) {
            $machine::handle_answer(self, id, answer, now);
        }

        fn handle_error(&mut self, id: WantId, error: Error, now: Instant) {
            $machine::handle_error(self, id, error, now);
        }

        fn handle_end(&mut self, id: WantId, now: Instant) {
            $machine::handle_end(self, id, Ok(End::Clean), now);
        }

        fn is_ended(&self) -> bool {
            $ended(self)
        }
    };
}

impl<K: Object> Wanting for Reflector<K> {
    type Want = Want<K>;
    type Event = ReflectEvent<K>;

    // It has no end of its own.
    wanting!(Reflector, |_: &Self| false);
}

impl Wanting for LogFollower {
    type Want = LogWant;
    type Event = LogEvent;

    wanting!(LogFollower, Self::is_ended);
}

/// Carries what a machine wants, and gives its events.
struct Follow<R: Drive, M: Wanting, S, F> {
    machine: M,
    alarm: Alarm<R>,
    request: Option<(WantId, S)>,
    open: F,
    /// The caller has an event, and the server's time does not run.
    paused: bool,
    resumed: Instant,
}

/// How long a request is waited for at least after the caller was busy: what came meanwhile has a way to go.
const GRACE: Duration = Duration::from_secs(1);

impl<R, M, S, F> Stream for Follow<R, M, S, F>
where
    R: Drive,
    M: Wanting,
    S: Stream<Item = Result<AnswerOf<M>, Error>> + Unpin,
    F: Fn(M::Want) -> S,
    Self: Unpin,
{
    type Item = M::Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M::Event>> {
        let this = &mut *self;
        if std::mem::take(&mut this.paused) {
            this.resumed = this.alarm.now();
        }
        loop {
            let now = this.alarm.now();
            if let Some(cancelled) = this.machine.poll_cancel()
                && this
                    .request
                    .as_ref()
                    .is_some_and(|(id, _)| *id == cancelled)
            {
                this.request = None;
            }
            // All of them before more input: that bounds what the machine holds.
            if let Some(event) = this.machine.poll_event() {
                this.paused = true;
                return Poll::Ready(Some(event));
            }
            if this.machine.is_ended() {
                return Poll::Ready(None);
            }
            if let Some((id, want)) = this.machine.poll_want(now) {
                this.request = Some((id, (this.open)(want)));
            } else if this.request.is_none()
                && let Some(event) = this.machine.poll_event()
            {
                // A request that cannot be built is told.
                this.paused = true;
                return Poll::Ready(Some(event));
            }
            // What is there comes before what is late: that the caller takes its time is no silence of the server.
            if let Some((id, request)) = &mut this.request {
                let id = *id;
                let answer = Pin::new(request).poll_next(cx);
                let now = this.alarm.now();
                match answer {
                    Poll::Ready(Some(Ok(answer))) => {
                        this.machine.handle_answer(id, answer, now);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        if error.kind() != ErrorKind::Object {
                            this.request = None;
                        }
                        this.machine.handle_error(id, error, now);
                        continue;
                    }
                    Poll::Ready(None) => {
                        this.request = None;
                        this.machine.handle_end(id, now);
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            let grace = this.request.as_ref().map(|_| this.resumed + GRACE);
            let timeout = this.machine.poll_timeout();
            this.alarm
                .set(timeout.map(|at| grace.map_or(at, |grace| at.max(grace))));
            std::task::ready!(this.alarm.poll(cx));
            this.machine.handle_timeout(this.alarm.now());
        }
    }
}

impl<R: Drive> Client<R> {
    /// Keeps up to date about a collection: the events of a [`Reflector`], which lists, watches, and goes on whatever
    /// happens. The stream does not end. Feed it to a [`Cache`], or use the events.
    ///
    /// ```no_run
    /// # async fn example<R: kubewire_driver::Drive>(client: kubewire_driver::Client<R>) -> Result<(), kubewire::Error> {
    /// use futures_util::StreamExt;
    /// use kubewire_driver::Cache;
    /// # let pods = kubewire::Api::dynamic(kubewire::ApiResource::core("Pod", "pods"));
    /// let cache = Cache::new();
    /// let mut events = client.reflect(pods, Default::default())?;
    /// while let Some(event) = events.next().await {
    ///     for change in cache.apply(event) {
    ///         println!("{:?}", change.object().metadata.name);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built. Everything else is an event.
    ///
    /// # Cancel safety
    ///
    /// Dropping a `next` future loses nothing. Dropping the stream ends the request that is under way.
    pub fn reflect<K: Object + Unpin>(
        &self,
        api: Api<K>,
        config: ReflectorConfig,
    ) -> Result<impl Stream<Item = ReflectEvent<K>> + Unpin + use<R, K>, Error> {
        let machine = Reflector::new_in(api, self.namespace(), config, seed()?)?;
        Ok(self.follow(machine))
    }

    /// Follows the log of a container across restarts and lost connections, without repeating lines. The stream ends
    /// when the pod is gone or its container has ended for good; the last event says which.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built. Everything else is an event.
    ///
    /// # Cancel safety
    ///
    /// As [`reflect`](Self::reflect).
    pub fn follow_logs<K: HasLogs>(
        &self,
        api: &Api<K>,
        pod: &str,
        options: LogOptions,
    ) -> Result<impl Stream<Item = LogEvent> + Unpin + use<R, K>, Error> {
        let machine = LogFollower::new_in(api, self.namespace(), pod, options, seed()?)?;
        Ok(self.follow(machine))
    }

    /// Waits until objects meet a condition.
    ///
    /// ```no_run
    /// # async fn example<R: kubewire_driver::Drive>(client: kubewire_driver::Client<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use kubewire::reflect::{ReflectorConfig, wait::{Wait, pod_ready}};
    /// # let pods = kubewire::Api::dynamic(kubewire::ApiResource::core("Pod", "pods"));
    /// let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    /// let ready = Wait::for_object("default", "web-0", pod_ready()).deadline(deadline);
    /// client.wait(pods, ReflectorConfig::default().object("web-0"), ready).await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The outer error as [`reflect`](Self::reflect). The inner one when the deadline passed, or an object can never meet the condition;
    /// it tells the last state that was seen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting.
    pub async fn wait<K: Object + Unpin>(
        &self,
        api: Api<K>,
        config: ReflectorConfig,
        mut wait: Wait<K>,
    ) -> Result<Result<(), WaitError>, Error> {
        let mut events = self.reflect(api, config)?;
        let mut alarm = Alarm::new(self.runtime().clone());
        Ok(poll_fn(|cx| {
            loop {
                if let Some(outcome) = wait.poll_outcome() {
                    return Poll::Ready(outcome);
                }
                alarm.set(wait.poll_timeout().map(|(at, _)| at));
                if alarm.poll(cx).is_ready() {
                    wait.handle_timeout(alarm.now());
                    continue;
                }
                match Pin::new(&mut events).poll_next(cx) {
                    Poll::Ready(Some(event)) => wait.handle_event(&event),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await)
    }

    fn follow<M>(&self, machine: M) -> impl Stream<Item = M::Event> + Unpin + use<R, M>
    where
        M: Wanting + Unpin,
        <M::Want as Operation>::Decoder: kubewire::Streaming,
    {
        let client = self.clone();
        // The machine sees to both: how long an answer takes, and when to try again.
        let times = CallTimeouts {
            head: Timeout::None,
            idle: Timeout::None,
            total: Timeout::None,
            ..self.times
        };
        Follow {
            machine,
            alarm: Alarm::new(self.runtime().clone()),
            request: None,
            open: move |want| client.carry(want, times, false),
            paused: false,
            resumed: self.runtime().now(),
        }
    }
}

/// For the jitter of waits, so that clients do not come back all at once.
fn seed() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Transport, "there are no random bytes").with_source(error)
    })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A [`Store`] that one task keeps and others read. Clones share it.
///
/// Readers never wait for a list: what they see is the state before it or after it.
pub struct Cache<K> {
    store: Arc<Mutex<Store<K>>>,
}

impl<K: Object> Cache<K> {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::with_store(Store::new())
    }

    /// A cache around a store that has indexes.
    #[must_use]
    pub fn with_store(store: Store<K>) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
        }
    }

    /// Takes an event of a reflector, and tells what it changed.
    pub fn apply(&self, event: ReflectEvent<K>) -> Vec<Change<K>> {
        self.read(|store| store.apply(event))
    }

    /// The object of this name; the namespace of a cluster-scoped one is empty.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read(|store| store.get(namespace, name).cloned())
    }

    /// The whole state, which does not change any more. Costs next to nothing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<K> {
        self.read(|store| store.snapshot())
    }

    /// Looks at the store. Keep it short: the task that feeds it waits meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&mut Store<K>) -> T) -> T {
        look(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Object> Default for Cache<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
        }
    }
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}
