//! The client: `send`, `stream` and `open`.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::Request;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, USER_AGENT};
use http_body_util::Full;
use kubewire::{
    Call, Decode, Error, ErrorKind, Limits, Operation, Streaming, Unary, UpgradeOperation,
};

use crate::Drive;
use crate::auth::Authorization;
use crate::exchange::{Answer, Items};
use crate::open::{Handles, Openable};
use crate::pool::Pool;
use crate::time::{Alarm, within};

/// How often a request that was certainly not sent is tried on another connection.
const RESENDS: usize = 8;

/// How long the client waits. `None` is for ever.
///
/// None of them cuts off a watch or a followed log: for those HTTP/2 pings notice a dead connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For resolving the server's name and connecting. Default 30 s.
    pub connect: Option<Duration>,
    /// For the TLS handshake. Default 10 s.
    pub tls: Option<Duration>,
    /// For the next bytes of an answer that is not long-running. Default 90 s: API servers give up after 60.
    pub idle: Option<Duration>,
    /// After how long without a byte an HTTP/2 connection is pinged. Default 30 s.
    pub ping_interval: Option<Duration>,
    /// How long a ping may take. Default 15 s.
    pub pong: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: Some(seconds(30)),
            tls: Some(seconds(10)),
            idle: Some(seconds(90)),
            ping_interval: Some(seconds(30)),
            pong: seconds(15),
        }
    }
}

/// A client of one API server, over any runtime.
///
/// Three verbs carry what [`Api`](kubewire::Api) builds: [`send`](Self::send) for one answer,
/// [`stream`](Self::stream) for items, [`open`](Self::open) for sessions. Cloning is cheap and shares the connections. Making
/// one does no IO and needs no running executor. It has no task of its own besides one for each open
/// connection and session; they end with the last clone and handle.
pub struct Client<R: Drive> {
    pub(crate) inner: Arc<Inner<R>>,
}

pub(crate) struct Inner<R: Drive> {
    pub(crate) pool: Arc<Pool<R>>,
    pub(crate) namespace: String,
    pub(crate) authorization: Authorization,
    pub(crate) headers: Vec<(http::HeaderName, HeaderValue)>,
    pub(crate) limits: Limits,
    pub(crate) disable_compression: bool,
}

impl<R: Drive> Client<R> {
    /// Carries a call that has one answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] before anything is sent; [`ErrorKind::Api`] if the server refused; otherwise what went wrong
    /// on the way. A request is repeated only if it is certain that it was not sent.
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
            let mut answer = self.inner.begin(call).await?;
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
        let inner = self.inner.clone();
        let call = operation.into_call_in(Some(&inner.namespace));
        let open = move |call: Result<Call<O::Decoder>, Error>| {
            let inner = inner.clone();
            async move { inner.begin(call?).await }
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
    pub async fn open<O>(&self, operation: O) -> Result<Handles<O::Protocol>, Error>
    where
        O: UpgradeOperation,
        O::Protocol: Openable,
    {
        let upgrade = operation.into_upgrade_in(Some(&self.inner.namespace))?;
        crate::open::open(&self.inner, upgrade).await
    }

    /// The namespace of operations that do not name one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }
}

impl<R: Drive> Inner<R> {
    /// Adds what every request carries.
    pub(crate) fn sign<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        if self.disable_compression {
            headers.remove(ACCEPT_ENCODING);
        }
        headers.entry(USER_AGENT).or_insert_with(|| {
            HeaderValue::from_static(concat!("kubewire/", env!("CARGO_PKG_VERSION")))
        });
        if let Some(value) = self
            .authorization
            .header(self.pool.connector.runtime.now())?
        {
            headers.entry(AUTHORIZATION).or_insert(value);
        }
        Ok(())
    }

    async fn begin<D: Decode>(&self, call: Call<D>) -> Result<Answer<R, D>, Error> {
        let pool = &self.pool;
        let runtime = &pool.connector.runtime;
        let (request, mut exchange) = call.begin(&self.limits);
        let idle = pool
            .connector
            .timeouts
            .idle
            .filter(|_| !exchange.verb().is_long_running());
        let method = request.method().clone();
        let uri = request.uri().clone();
        let describe = |error: Error| error.with_request(&method, &uri);

        let mut request = request.map(Full::<Bytes>::new);
        self.sign(&mut request).map_err(describe)?;
        pool.connector.endpoint.check(&uri).map_err(describe)?;
        let mut tries = 0;
        let (response, hold) = loop {
            let lease = pool.checkout().await.map_err(describe)?;
            let sending = lease.send(&pool.connector.endpoint, request);
            match within(runtime, idle, "the server's answer", sending)
                .await
                .map_err(describe)?
            {
                Ok(answer) => break answer,
                Err(mut failure) => {
                    pool.forget(&failure);
                    tries += 1;
                    match failure.unsent.take() {
                        Some(unsent) if failure.reused && tries <= RESENDS => {
                            request = unsent;
                            request.uri_mut().clone_from(&uri);
                        }
                        _ => {
                            let error = Error::new(
                                ErrorKind::Transport,
                                "the connection broke before an answer came",
                            );
                            return Err(describe(error.with_source(failure.error)));
                        }
                    }
                }
            }
        };
        let (head, body) = response.into_parts();
        // A fault comes out of the answer's first poll.
        let _ = exchange.handle_head(&head);
        let mut alarm = Alarm::new(runtime.clone());
        alarm.set_in(idle);
        Ok(Answer::new(
            exchange,
            pool.clone(),
            (body, hold),
            idle,
            alarm,
            method,
            uri,
        ))
    }
}

impl<R: Drive> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self {
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
