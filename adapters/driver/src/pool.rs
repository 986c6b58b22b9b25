//! Connections for calls, shared and kept.

use std::future::poll_fn;
#[cfg(feature = "http2")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
#[cfg(feature = "http2")]
use hyper::client::conn::http2;
use kubewire::policy::{Fault, Outcome, Timeouts as Times};

use crate::Drive;
use crate::connect::{Connector, Failure, Protocol, Purpose};
use crate::connection::{H1Task, Refusal, RequestBody};
#[cfg(feature = "http2")]
use crate::fault::Unprocessed;
use crate::fault::{SendFailure, blame};
use crate::signs::Grip;
#[cfg(feature = "http2")]
use crate::signs::{Signs, UNKNOWN};
use crate::time;

/// HTTP/1.1 connections kept without a request. More at a time than this, again and again, would pay for new connections.
const MAX_IDLE: usize = 256;
/// How long they are kept. API servers close them after as long; what closes them without a word, such as a NAT in between, mostly
/// takes longer.
const IDLE: Duration = Duration::from_secs(90);
/// How long a call waits for what others do: who does it may have taken it up in a future that nobody polls now.
const PATIENCE: Duration = Duration::from_secs(1);
/// Streams on one HTTP/2 connection; Kubernetes API servers allow exactly so many.
#[cfg(feature = "http2")]
const MAX_STREAMS: usize = 100;
/// Unread data of one stream. Small, so that many unread watches fit into the connection's window.
#[cfg(feature = "http2")]
const STREAM_WINDOW: u32 = 256 << 10;
/// Unread data of all streams of a connection: hyper's default lets three unread watches stall the rest.
#[cfg(feature = "http2")]
const CONNECTION_WINDOW: u32 = 64 << 20;

pub(crate) struct Pool<R> {
    pub(crate) connector: Connector<R>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which client certificate the connections here have shown. Others only finish what they are doing.
    generation: u64,
    /// Each with the end of its last answer.
    idle: Vec<(Exclusive, Instant)>,
    #[cfg(feature = "http2")]
    shared: Vec<Shared>,
    /// What the server spoke last.
    protocol: Option<Protocol>,
    /// The dial that others wait for, where its connection may serve them all, and until when.
    dialing: Option<(u64, Instant)>,
    /// Counts dials, so that a failure reaches exactly those who waited for it.
    round: u64,
    failed: Option<(u64, Failure)>,
    /// Counts dials that are over.
    over: u64,
    waiting: Vec<Waker>,
}

/// What a call has waited for in vain.
#[derive(Clone, Copy, Default)]
struct Waited {
    /// The first dial of others.
    first: Option<u64>,
    /// The dial that took too long.
    dial: Option<u64>,
    /// The settings of a server.
    #[cfg(feature = "http2")]
    settings: bool,
}

/// A connection for one request at a time.
pub(crate) struct Exclusive {
    sender: http1::SendRequest<RequestBody>,
    grip: Grip,
}

#[cfg(feature = "http2")]
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    signs: Arc<Signs>,
}

/// The right to send one request over a connection.
pub(crate) enum Lease {
    Http1 {
        connection: Exclusive,
        generation: u64,
        /// Of a new connection: why TLS ended, if it has.
        fresh: Option<Refusal>,
    },
    #[cfg(feature = "http2")]
    Http2 {
        sender: http2::SendRequest<RequestBody>,
        stream: Stream,
        /// Of a new connection: why TLS ended, if it has.
        fresh: Option<Refusal>,
    },
}

/// One stream of a shared connection, for as long as the answer is read.
#[cfg(feature = "http2")]
pub(crate) struct Stream(Arc<Signs>);

#[cfg(feature = "http2")]
impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.close();
    }
}

/// What must be kept while an answer is read.
pub(crate) enum Hold {
    Http1(Option<http1::SendRequest<RequestBody>>, Grip, u64),
    #[cfg(feature = "http2")]
    Http2(Stream),
}

impl<R: Drive> Pool<R> {
    pub(crate) fn new(connector: Connector<R>) -> Self {
        // Without ALPN it is clear what will be spoken, and nobody needs to wait for somebody else's dial.
        let protocol = (!connector.endpoint.is_https()).then_some(Protocol::Http1);
        Self {
            connector,
            state: Mutex::new(State {
                protocol,
                ..State::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves no half-done state behind: every change here is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with room for one more request; dials if there is none.
    ///
    /// Dropping the future is harmless: a dial that others wait for goes over to one of them.
    pub(crate) async fn checkout(&self, times: &Times) -> Result<Lease, Failure> {
        let runtime = &self.connector.runtime;
        let mut waited = Waited::default();
        loop {
            match self.step(&waited)? {
                Step::Use(lease) => return Ok(lease),
                Step::Dial(ticket) => {
                    // Rare and large: not in the future of every request.
                    return Box::pin(self.dial(ticket, times)).await;
                }
                Step::Wait { round, until, over } => {
                    waited.first.get_or_insert(round);
                    let dial = poll_fn(|cx| self.poll_over(over, cx));
                    if time::until(runtime, Some(until), dial).await.is_none() {
                        waited.dial = Some(round);
                    }
                }
                #[cfg(feature = "http2")]
                Step::Settle(signs) => {
                    let settled = poll_fn(|cx| signs.streams.poll_settled(cx));
                    let settled = time::within(runtime, Some(PATIENCE), settled).await;
                    waited.settings = settled.is_none();
                }
            }
        }
    }

    fn step(&self, waited: &Waited) -> Result<Step<'_, R>, Failure> {
        let now = self.connector.runtime.now();
        let mut state = self.lock();
        if let Some(lease) = state.take(now) {
            return Ok(Step::Use(lease));
        }
        #[cfg(feature = "http2")]
        if !waited.settings
            && let Some(young) = state.shared.iter().find(|s| s.signs.streams.is_young())
        {
            // It is about to have room for many. Beyond what the server allows, a call would wait for the end of another,
            // and a watch has none.
            return Ok(Step::Settle(young.signs.clone()));
        }
        if let Some((failed, error)) = &state.failed
            && waited.first.is_some_and(|first| first <= *failed)
        {
            return Err(error.clone());
        }
        if state.protocol == Some(Protocol::Http1) {
            // Nobody could share it.
            return Ok(Step::Dial(None));
        }
        if let Some((round, until)) = state.dialing
            && now < until
            && waited.dial != Some(round)
        {
            let over = state.over;
            return Ok(Step::Wait { round, until, over });
        }
        state.round += 1;
        state.dialing = Some((state.round, now + PATIENCE));
        Ok(Step::Dial(Some(Ticket {
            pool: self,
            round: state.round,
            failure: None,
        })))
    }

    /// Until one more dial is over, in one way or another.
    fn poll_over(&self, over: u64, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.over != over {
            return Poll::Ready(());
        }
        let mut waiting = state.waiting.iter();
        if !waiting.any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    async fn dial(
        &self,
        mut ticket: Option<Ticket<'_, R>>,
        times: &Times,
    ) -> Result<Lease, Failure> {
        let result = self.establish(times).await;
        if let (Err(failure), Some(ticket)) = (&result, &mut ticket) {
            ticket.failure = Some(failure.clone());
        }
        result
    }

    async fn establish(&self, times: &Times) -> Result<Lease, Failure> {
        let (io, protocol, generation, open) =
            self.connector.connect(Purpose::Calls, times).await?;
        let refusal = io.refusal();
        let failed = |error: hyper::Error| {
            let (fault, error) = blame(&self.connector.endpoint, &refusal, error);
            let fault = if fault == Fault::Broken {
                Fault::Connect
            } else {
                fault
            };
            Failure::new(error, Outcome::Failed(fault))
        };
        let fresh = Some(refusal.clone());
        let lease = match protocol {
            Protocol::Http1 => {
                let (io, signs) = io.watched();
                let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
                let task = H1Task::new(connection, signs.clone(), open);
                self.connector.runtime.execute(task);
                let grip = Grip(signs);
                Lease::Http1 {
                    connection: Exclusive { sender, grip },
                    generation,
                    fresh,
                }
            }
            #[cfg(feature = "http2")]
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(self.connector.runtime.clone());
                builder
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .initial_max_send_streams(UNKNOWN);
                if let Some(timer) = self.connector.runtime.timer() {
                    builder
                        .timer(SharedTimer(timer))
                        .keep_alive_interval(self.connector.timeouts.ping_interval)
                        .keep_alive_timeout(self.connector.timeouts.pong)
                        .keep_alive_while_idle(true);
                }
                let (io, signs) = io.watched();
                signs.streams.begin();
                let (sender, connection) = builder.handshake(io).await.map_err(failed)?;
                let task = crate::connection::H2Task::new(connection, signs.clone(), open);
                self.connector.runtime.execute(task);
                let shared = Shared { sender, signs };
                let mut state = self.lock();
                if state.generation == generation {
                    state.shared.push(shared.clone());
                }
                drop(state);
                shared.lease(fresh)
            }
        };
        self.lock().protocol = Some(protocol);
        Ok(lease)
    }

    /// No new requests on the connection of this stream: it is going away, though its streams go on.
    #[cfg(feature = "http2")]
    fn forget(&self, stream: &Stream) {
        self.lock()
            .shared
            .retain(|shared| !Arc::ptr_eq(&shared.signs, &stream.0));
    }

    #[cfg(feature = "rustls")]
    /// New requests only over connections that have shown this client certificate, or a later one.
    pub(crate) fn retire(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation < generation {
            state.generation = generation;
            state.idle.clear();
            #[cfg(feature = "http2")]
            state.shared.clear();
        }
    }

    /// Takes back what an answer was read over, after its complete end.
    pub(crate) fn checkin(&self, hold: Hold) {
        match hold {
            Hold::Http1(None, ..) => {}
            Hold::Http1(Some(sender), grip, generation) => {
                let now = self.connector.runtime.now();
                let mut state = self.lock();
                // An answer may come before its request was taken, and who knows when the rest is.
                if generation == state.generation
                    && !sender.is_closed()
                    && !grip.0.is_stuck()
                    && state.idle.len() < MAX_IDLE
                {
                    state.idle.push((Exclusive { sender, grip }, now));
                }
            }
            #[cfg(feature = "http2")]
            Hold::Http2(stream) => drop(stream),
        }
    }
}

impl State {
    fn take(&mut self, now: Instant) -> Option<Lease> {
        #[cfg(feature = "http2")]
        {
            self.shared.retain(|shared| !shared.sender.is_closed());
            let mut shared = self.shared.iter();
            if let Some(shared) = shared.find(|s| s.signs.streams.has_room(MAX_STREAMS)) {
                return Some(shared.lease(None));
            }
        }
        // In the order of their ends.
        let old = self
            .idle
            .partition_point(|(_, since)| now.saturating_duration_since(*since) >= IDLE);
        self.idle.drain(..old);
        // The one used last is the least likely to be stale.
        while let Some((connection, _)) = self.idle.pop() {
            if !connection.sender.is_closed() {
                return Some(Lease::Http1 {
                    connection,
                    generation: self.generation,
                    fresh: None,
                });
            }
        }
        None
    }
}

#[cfg(feature = "http2")]
impl Shared {
    fn lease(&self, fresh: Option<Refusal>) -> Lease {
        self.signs.streams.open();
        Lease::Http2 {
            sender: self.sender.clone(),
            stream: Stream(self.signs.clone()),
            fresh,
        }
    }
}

/// What to do for a connection.
enum Step<'a, R: Drive> {
    Use(Lease),
    /// With a ticket, if others may wait for it.
    Dial(Option<Ticket<'a, R>>),
    /// For the dial of this round, until then at most, or until there are news of any.
    Wait {
        round: u64,
        until: Instant,
        over: u64,
    },
    /// For the server's settings.
    #[cfg(feature = "http2")]
    Settle(Arc<Signs>),
}

/// The dial that others may wait for. However it ends, they are told.
struct Ticket<'a, R: Drive> {
    pool: &'a Pool<R>,
    round: u64,
    failure: Option<Failure>,
}

impl<R: Drive> Drop for Ticket<'_, R> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.over += 1;
        // Another one may have begun since, because this one took long.
        if state.dialing.is_some_and(|(round, _)| round == self.round) {
            state.dialing = None;
        }
        if let Some(failure) = self.failure.take() {
            state.failed = Some((self.round, failure));
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Lease {
    /// Sends the request in the form of the connection's protocol.
    pub(crate) async fn send<R: Drive>(
        self,
        pool: &Pool<R>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Hold), SendFailure> {
        let endpoint = &pool.connector.endpoint;
        match self {
            Self::Http1 {
                connection,
                generation,
                fresh,
            } => {
                let Exclusive { mut sender, grip } = connection;
                // Cannot fail: the URI was checked when the call was prepared.
                let _ = endpoint.origin_form(&mut request);
                let failure =
                    |unsent, error| SendFailure::new(endpoint, unsent, fresh.as_ref(), error);
                if let Err(error) = sender.ready().await {
                    return Err(failure(true, error));
                }
                let response = sender.try_send_request(request);
                // The task of a connection that ends gives back what is in its queue. A request that comes just after that
                // stays there until the last sender is gone, and its answer would be awaited for ever.
                let sender = (!sender.is_closed()).then_some(sender);
                match response.await {
                    Ok(response) => Ok((response, Hold::Http1(sender, grip, generation))),
                    Err(mut failed) => {
                        let unsent = failed.take_message().is_some();
                        Err(failure(unsent, failed.into_error()))
                    }
                }
            }
            #[cfg(feature = "http2")]
            Self::Http2 {
                mut sender,
                stream,
                fresh,
            } => {
                let _ = endpoint.absolute_form(&mut request);
                request.headers_mut().remove(http::header::HOST);
                let failure = |unsent, error: hyper::Error| {
                    if Unprocessed::of(&error) != Some(Unprocessed::Refused) {
                        pool.forget(&stream);
                    }
                    SendFailure::new(endpoint, unsent, fresh.as_ref(), error)
                };
                if let Err(error) = sender.ready().await {
                    return Err(failure(true, error));
                }
                let response = sender.try_send_request(request);
                // As above; the pool has a sender too.
                if sender.is_closed() {
                    pool.forget(&stream);
                }
                drop(sender);
                match response.await {
                    Ok(response) => Ok((response, Hold::Http2(stream))),
                    Err(mut failed) => {
                        let unsent = failed.take_message().is_some();
                        Err(failure(unsent, failed.into_error()))
                    }
                }
            }
        }
    }
}

/// hyper takes timers by value.
#[cfg(feature = "http2")]
struct SharedTimer(Arc<dyn hyper::rt::Timer + Send + Sync>);

#[cfg(feature = "http2")]
impl hyper::rt::Timer for SharedTimer {
    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn hyper::rt::Sleep>> {
        self.0.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> std::pin::Pin<Box<dyn hyper::rt::Sleep>> {
        self.0.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn reset(&self, sleep: &mut std::pin::Pin<Box<dyn hyper::rt::Sleep>>, deadline: Instant) {
        self.0.reset(sleep, deadline);
    }
}
