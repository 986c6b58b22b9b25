//! The client: `send`, `stream` and `open`.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use kubewire::auth::Authorization;
use kubewire::policy::{
    Attempt, CallTimeouts, Deadlines, Decision, Outcome, Phase, Repeat, Retry, Seed,
    Timeouts as Times,
};
use kubewire::{Call, Decode, Error, ErrorKind, Limits, Operation, Streaming, Unary, Verb};

use crate::Drive;
use crate::connect::Failure;
use crate::exchange::{Answer, Items};
use crate::observe::Record;
use crate::pool::{Hold, Pool};
#[cfg(feature = "ws")]
use crate::sessions::{Handles, Openable};
use crate::signer::Signer;
use crate::time::{until, within};

/// How often a request that was certainly not sent is tried on another connection.
const RESENDS: usize = 8;

/// How long the client waits, and when it looks whether a connection is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the phases of a call. None of them cuts off a watch or a followed log: for those HTTP/2 pings
    /// notice a dead connection.
    pub phases: Times,
    /// After how long without a byte an HTTP/2 connection is pinged; `None` is never. Default 30 s.
    pub ping_interval: Option<Duration>,
    /// How long a ping may take. Default 15 s.
    pub pong: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            phases: Times::default(),
            ping_interval: Some(Duration::from_secs(30)),
            pong: Duration::from_secs(15),
        }
    }
}

impl From<Times> for Timeouts {
    fn from(phases: Times) -> Self {
        Self {
            phases,
            ..Self::default()
        }
    }
}

/// A client of one API server, over any runtime.
///
/// Three verbs carry what [`Api`](kubewire::Api) builds: [`send`](Self::send) for one answer,
/// [`stream`](Self::stream) for items, `open` (with the feature `ws`) for sessions. Cloning is cheap and shares the connections. Making
/// one does no IO and needs no running executor. It has no task of its own besides one for each open
/// connection and session; they end with the last clone and handle.
pub struct Client<R: Drive> {
    pub(crate) times: CallTimeouts,
    pub(crate) inner: Arc<Inner<R>>,
}

pub(crate) struct Inner<R: Drive> {
    pub(crate) pool: Arc<Pool<R>>,
    pub(crate) namespace: String,
    pub(crate) signer: Signer,
    pub(crate) headers: Vec<(http::HeaderName, HeaderValue)>,
    pub(crate) limits: Limits,
    pub(crate) disable_compression: bool,
    pub(crate) retry: Retry,
    pub(crate) seed: Mutex<Seed>,
}

impl<R: Drive> Client<R> {
    /// Carries a call that has one answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] before anything is sent; [`ErrorKind::Api`] if the server refused; otherwise what went wrong
    /// on the way. A request is repeated as [`Retry`] says, as long as no answer has begun but one
    /// that allows it; after a 401 once, if there are other credentials then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the call: over HTTP/1.1 its connection is closed, over HTTP/2 its
    /// stream is reset. Whether the server carried it out is not known.
    pub async fn send<O>(&self, operation: O) -> Result<<O::Decoder as Decode>::Item, Error>
    where
        O: Operation,
        O::Decoder: Unary,
    {
        let mut call = operation.into_call_in(Some(&self.inner.namespace))?;
        loop {
            let mut answer = self.inner.begin(call, &self.times, true).await?;
            if let Some(result) = poll_fn(|cx| answer.poll_item(cx)).await {
                return result;
            }
            // The answer goes on: all pages of a list are one item.
            let empty = || Error::new(ErrorKind::Peer, "the answer was empty");
            call = answer.follow_up().ok_or_else(empty)?;
        }
    }

    /// Carries a call that has any number of items: a watch, a log, a list item by item.
    ///
    /// The stream ends after the last item or a terminal error; an error of
    /// [`ErrorKind::Object`] concerns one item, and the stream goes on. Nothing is read from the connection while
    /// the stream is not polled, beyond a window of 256 KiB for HTTP/2.
    ///
    /// # Cancel safety
    ///
    /// Dropping a `next` future loses nothing. Dropping the stream ends the call.
    pub fn stream<O>(
        &self,
        operation: O,
    ) -> impl Stream<Item = Result<<O::Decoder as Decode>::Item, Error>> + Unpin + use<R, O>
    where
        O: Operation,
        O::Decoder: Streaming,
    {
        self.carry(operation, self.times, true)
    }

    /// A stream whose requests are repeated, or not: there are machines that see to it themselves.
    pub(crate) fn carry<O>(
        &self,
        operation: O,
        times: CallTimeouts,
        repeats: bool,
    ) -> impl Stream<Item = Result<<O::Decoder as Decode>::Item, Error>> + Unpin + use<R, O>
    where
        O: Operation,
        O::Decoder: Streaming,
    {
        let inner = self.inner.clone();
        let call = operation.into_call_in(Some(&inner.namespace));
        let open = move |call: Result<Call<O::Decoder>, Error>| {
            let inner = inner.clone();
            async move { inner.begin(call?, &times, repeats).await }
        };
        Box::pin(Items::new(call, open))
    }

    /// Opens a session: exec, attach or port-forward, on a connection of its own.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A refused upgrade is [`ErrorKind::Api`] like any other refusal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. A command may have been started.
    #[cfg(feature = "ws")]
    pub async fn open<O>(&self, operation: O) -> Result<Handles<O::Protocol>, Error>
    where
        O: kubewire::UpgradeOperation,
        O::Protocol: Openable,
    {
        let upgrade = operation.into_upgrade_in(Some(&self.inner.namespace))?;
        crate::sessions::open(&self.inner, upgrade, &self.times).await
    }

    /// The same client, and the same connections, with other timeouts for the calls that are made with what this gives.
    /// What they do not mention, they inherit from the client.
    ///
    /// A total counts for each call, with all its attempts; for each page of a paged list; and for a
    /// session until it is open.
    #[must_use]
    pub fn with_timeouts(&self, times: CallTimeouts) -> Self {
        Self {
            times,
            inner: self.inner.clone(),
        }
    }

    pub(crate) fn runtime(&self) -> &R {
        &self.inner.pool.connector.runtime
    }

    /// The namespace of operations that do not name one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }
}

/// An answer that has begun, and why the credentials are no better if it is a 401.
type Begun = (Response<Incoming>, Hold, Option<Error>);

/// What all attempts of a call share.
struct Attempts<'a> {
    request: &'a Request<Bytes>,
    verb: Verb,
    times: Times,
    repeats: bool,
    started: Instant,
    end: Option<Instant>,
}

impl<R: Drive> Inner<R> {
    /// Adds what every request carries.
    pub(crate) fn sign<B>(&self, request: &mut Request<B>, authorization: Option<&Authorization>) {
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().chain(&self.signer.impersonation) {
            headers.append(name.clone(), value.clone());
        }
        if self.disable_compression {
            headers.remove(ACCEPT_ENCODING);
        }
        headers.entry(USER_AGENT).or_insert_with(|| {
            HeaderValue::from_static(concat!("kubewire/", env!("CARGO_PKG_VERSION")))
        });
        if let Some(authorization) = authorization {
            authorization.apply(headers);
        }
    }

    /// What to sign a request with, unless it has that itself. New connections show the certificate that came with it, or
    /// that of the files.
    pub(crate) async fn authorize<B>(
        &self,
        request: &Request<B>,
    ) -> Result<Option<Authorization>, Error> {
        let connector = &self.pool.connector;
        #[cfg(feature = "rustls")]
        if connector.tls.is_due(|| connector.runtime.now()) {
            self.look_at_files().await;
        }
        let own = request.headers().contains_key(AUTHORIZATION)
            || self.headers.iter().any(|(name, _)| name == AUTHORIZATION);
        if own {
            return Ok(None);
        }
        let authorization = self.signer.authorization(connector).await?;
        #[cfg(feature = "rustls")]
        if self.signer.certificate_generation() > connector.tls.issued() {
            let (issued, certificate) = self.signer.certificate();
            connector.tls.rotate(issued, certificate.as_ref())?;
            self.pool.retire(connector.generation());
        }
        Ok(Some(authorization))
    }

    /// New connections use what the files hold now; those that have shown another certificate finish what they are doing.
    #[cfg(feature = "rustls")]
    async fn look_at_files(&self) {
        let connector = &self.pool.connector;
        // Rare and large: not in the future of every request.
        Box::pin(connector.look_at_files()).await;
        self.pool.retire(connector.generation());
    }

    /// After a 401 for these credentials, and a client certificate of this generation: others, if there are.
    async fn reauthorize(
        &self,
        request: &Request<Bytes>,
        old: &Authorization,
        shown: u64,
    ) -> Option<Authorization> {
        let connector = &self.pool.connector;
        if self.signer.may_retry(old.generation, &connector.runtime) {
            // Why there are none is the signer's fault, and the source of the 401.
            let new = self.authorize(request).await.ok().flatten()?;
            if new.generation != old.generation {
                return Some(new);
            }
        }
        #[cfg(feature = "rustls")]
        if connector.tls.may_change() {
            self.look_at_files().await;
        }
        (connector.generation() != shown).then(|| old.clone())
    }

    /// How long to wait before another attempt, if there is to be one.
    pub(crate) fn decide(
        &self,
        repeat: Repeat,
        attempt: Attempt,
        outcome: Option<Outcome>,
        end: Option<Instant>,
    ) -> Option<Instant> {
        let mut seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        match self.retry.decide(repeat, attempt, outcome?, &mut seed) {
            Decision::GiveUp => None,
            Decision::After(delay) => {
                let at = self.pool.connector.runtime.now().checked_add(delay)?;
                end.is_none_or(|end| at < end).then_some(at)
            }
        }
    }

    async fn begin<D: Decode>(
        &self,
        call: Call<D>,
        times: &CallTimeouts,
        repeats: bool,
    ) -> Result<Answer<R, D>, Error> {
        let connector = &self.pool.connector;
        let runtime = &connector.runtime;
        let (request, mut exchange) = call.begin(&self.limits);
        let verb = exchange.verb();
        let times = connector.timeouts.phases.of(times, verb.into());
        let started = runtime.now();
        let deadlines = Deadlines::new(times, started);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let describe = |error: Error| error.with_request(&method, &uri);
        connector.endpoint.check(&uri).map_err(describe)?;
        let call = Attempts {
            request: &request,
            verb,
            times,
            repeats,
            started,
            end: deadlines.end(),
        };
        let mut record = Record::start(&connector.telemetry, runtime, &method, &uri);
        let work = Box::pin(self.attempts(&call, &mut record));
        let begun = until(runtime, deadlines.end(), work)
            .await
            .unwrap_or_else(|| Err(Phase::Total.error()));
        let (response, hold, fault) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                record.failed(&error);
                return Err(describe(error));
            }
        };
        let (head, body) = response.into_parts();
        record.answered(head.status);
        // A fault comes out of the answer's first poll.
        let _ = exchange.handle_head(&head);
        Ok(Answer::new(
            exchange,
            self.pool.clone(),
            (body, hold),
            deadlines,
            record,
            fault,
            (method, uri),
        ))
    }

    /// Sends the request until there is an answer to be handed out, or no hope.
    async fn attempts(&self, call: &Attempts<'_>, record: &mut Record<R>) -> Result<Begun, Error> {
        let runtime = &self.pool.connector.runtime;
        let mut authorization = self.authorize(call.request).await?;
        let (mut number, mut refreshed) = (1, false);
        loop {
            let shown = self.pool.connector.generation();
            let result = self.attempt(call, authorization.as_ref()).await;
            let (outcome, sent) = match &result {
                Ok((response, _)) if response.status() == StatusCode::UNAUTHORIZED => {
                    if let Some(old) = authorization.as_ref().filter(|_| !refreshed) {
                        refreshed = true;
                        if let Some(new) = self.reauthorize(call.request, old, shown).await {
                            authorization = Some(new);
                            record.reauthorizing();
                            continue;
                        }
                    }
                    (None, true)
                }
                Ok((response, _)) => (failed(response.status(), response.headers()), true),
                Err(failure) => (failure.outcome, failure.sent),
            };
            let attempt = Attempt {
                number,
                elapsed: runtime.now().saturating_duration_since(call.started),
                sent,
            };
            let again = outcome.filter(|_| call.repeats).and_then(|outcome| {
                let repeat = Repeat::of(call.verb, call.request);
                self.decide(repeat, attempt, Some(outcome), call.end)
            });
            let Some(again) = again else {
                let (response, hold) = result.map_err(|failure| failure.error)?;
                let fault = (response.status() == StatusCode::UNAUTHORIZED)
                    .then(|| self.signer.fault())
                    .flatten();
                return Ok((response, hold, fault));
            };
            let (status, error) = match &result {
                Ok((response, _)) => (Some(response.status()), None),
                Err(failure) => (None, Some(failure.error.kind())),
            };
            record.retrying(status, error, again);
            // Without the rest of the answer, so over HTTP/1.1 without its connection.
            drop(result);
            runtime.sleep_until(again).await;
            number += 1;
            authorization = self.authorize(call.request).await?;
        }
    }

    /// Sends the request over one connection. A pooled one that turns out to be stale gives it back, and does not count.
    async fn attempt(
        &self,
        call: &Attempts<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<(Response<Incoming>, Hold), Failure> {
        let pool = &self.pool;
        let connector = &pool.connector;
        let mut resends = 0;
        loop {
            let lease = pool.checkout(&call.times).await?;
            let mut request = call.request.clone().map(Full::<Bytes>::new);
            self.sign(&mut request, authorization);
            let sending = lease.send(pool, request);
            match within(&connector.runtime, call.times.head, sending).await {
                None => {
                    return Err(Failure {
                        sent: true,
                        ..Failure::late(Phase::Head)
                    });
                }
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(failure)) => {
                    if failure.stale && resends < RESENDS {
                        resends += 1;
                        continue;
                    }
                    return Err(Failure {
                        sent: failure.sent,
                        ..Failure::new(failure.error, Outcome::Failed(failure.fault))
                    });
                }
            }
        }
    }
}

/// What an answer that reports a passing trouble means for another attempt. Its head tells: API servers put into it what
/// the body says about waiting.
pub(crate) fn failed(code: StatusCode, headers: &HeaderMap) -> Option<Outcome> {
    let retry_after = || {
        let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
        seconds.trim().parse().ok().map(Duration::from_secs)
    };
    (code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error()).then(|| Outcome::Answered {
        code,
        retry_after: retry_after(),
    })
}

impl<R: Drive> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self {
            times: self.times,
            inner: self.inner.clone(),
        }
    }
}

impl<R: Drive> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.inner.pool.connector.endpoint)
            .field("namespace", &self.inner.namespace)
            .finish_non_exhaustive()
    }
}
