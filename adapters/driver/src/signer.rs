//! Carries out what [`Credentials`] want.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Response;
use http::header::{HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::Full;
use hyper::client::conn::http1;
use kubewire::auth::{
    Authorization, Credentials, ProcessOutput, ProviderCall, Unauthorized, Want, WantId,
};
#[cfg(feature = "rustls")]
use kubewire::config::ClientCertificate;
use kubewire::{Error, ErrorKind};

use crate::Drive;
use crate::connect::{Connector, MAX_FILE};
use crate::observe::Event;
use crate::time::{Alarm, until};

/// The credentials of one client, and who waits for them.
///
/// There is no task: the request that finds something to be done does it, before it goes on itself. If it is
/// dropped half-way, another one that waits begins again.
pub(crate) struct Signer {
    state: Mutex<State>,
    pub(crate) impersonation: Vec<(HeaderName, HeaderValue)>,
}

struct State {
    credentials: Credentials,
    waiting: Vec<Waker>,
}

enum Step {
    Done(Result<Authorization, Error>),
    Work(WantId, Want),
}

enum Outcome {
    Process(std::io::Result<ProcessOutput>),
    File(std::io::Result<Vec<u8>>),
    Answer(Result<Response<Bytes>, Error>),
    /// Of a newer core; it runs into its deadline.
    Unknown,
}

impl Signer {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            impersonation: credentials.impersonation().to_vec(),
            state: Mutex::new(State {
                credentials,
                waiting: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to sign a request with. Gets new credentials if there are none, or if it is time.
    pub(crate) async fn authorization<R: Drive>(
        &self,
        connector: &Connector<R>,
    ) -> Result<Authorization, Error> {
        loop {
            let mut alarm = Alarm::new(connector.runtime.clone());
            match poll_fn(|cx| self.poll_step(&mut alarm, &connector.runtime, cx)).await {
                Step::Done(result) => return result,
                // Rare and large: not in the future of every request.
                Step::Work(id, want) => Box::pin(self.carry_out(connector, id, want)).await,
            }
        }
    }

    fn poll_step<R: Drive>(
        &self,
        alarm: &mut Alarm<R>,
        runtime: &R,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        loop {
            let (now, wall) = (runtime.now(), runtime.wall());
            let mut state = self.lock();
            let header = state.credentials.header(now, wall);
            if let Some((id, want)) = state.credentials.poll_want(now) {
                return Poll::Ready(Step::Work(id, want));
            }
            if let Poll::Ready(result) = header {
                return Poll::Ready(Step::Done(result));
            }
            if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            // Who does the work may have taken it up in a future that nobody polls now.
            let deadline = state.credentials.poll_timeout();
            drop(state);
            alarm.set(deadline);
            ready!(alarm.poll(cx));
            let now = deadline.map_or(now, |deadline| runtime.now().max(deadline));
            self.lock().credentials.handle_timeout(now, runtime.wall());
        }
    }

    async fn carry_out<R: Drive>(&self, connector: &Connector<R>, id: WantId, want: Want) {
        let runtime = &connector.runtime;
        let guard = Guard {
            signer: self,
            runtime,
            id,
        };
        let deadline = self.lock().credentials.poll_timeout();
        let work = async {
            match want {
                Want::Run(command) => Outcome::Process(runtime.run(*command).await),
                Want::Read(path) => Outcome::File(runtime.read_file(path, MAX_FILE).await),
                Want::Call(what) => Outcome::Answer(call(connector, *what).await),
                _ => Outcome::Unknown,
            }
        };
        let start = runtime.now();
        let outcome = until(runtime, deadline, work).await;
        connector.telemetry.emit(&Event::Refreshed {
            in_time: outcome.is_some(),
            duration: runtime.now().saturating_duration_since(start),
        });
        let (now, wall) = (runtime.now(), runtime.wall());
        let mut state = self.lock();
        let credentials = &mut state.credentials;
        match outcome {
            Some(Outcome::Process(result)) => credentials.handle_process(id, result, now, wall),
            Some(Outcome::File(content)) => credentials.handle_file(id, content, now, wall),
            Some(Outcome::Answer(answer)) => credentials.handle_answer(id, answer, now, wall),
            Some(Outcome::Unknown) | None => {
                // A sleep may end a little early; it was for this deadline all the same.
                let now = deadline.map_or(now, |deadline| now.max(deadline));
                credentials.handle_timeout(now, wall);
            }
        }
        drop(state);
        // Tells those who wait.
        drop(guard);
    }

    /// After a 401: whether to take the header again.
    pub(crate) fn may_retry<R: Drive>(&self, generation: u64, runtime: &R) -> bool {
        let mut state = self.lock();
        let answer = state
            .credentials
            .handle_unauthorized(generation, runtime.now());
        answer == Unauthorized::Retry
    }

    /// Why there is nothing better, for a 401.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.lock().credentials.fault().cloned()
    }

    #[cfg(feature = "rustls")]
    /// The certificate for new connections, and which one it is.
    pub(crate) fn certificate(&self) -> (u64, Option<ClientCertificate>) {
        let state = self.lock();
        let credentials = &state.credentials;
        (
            credentials.certificate_generation(),
            credentials.certificate().cloned(),
        )
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn certificate_generation(&self) -> u64 {
        self.lock().credentials.certificate_generation()
    }
}

/// Something that is being done. However it ends, those who wait are told.
struct Guard<'a, R: Drive> {
    signer: &'a Signer,
    runtime: &'a R,
    id: WantId,
}

impl<R: Drive> Drop for Guard<'_, R> {
    fn drop(&mut self) {
        let now = self.runtime.now();
        let mut state = self.signer.lock();
        // Without effect if the outcome was handed in.
        state.credentials.handle_abandoned(self.id, now);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A call to an identity provider, over a connection of its own.
async fn call<R: Drive>(
    connector: &Connector<R>,
    call: ProviderCall,
) -> Result<Response<Bytes>, Error> {
    let ProviderCall {
        endpoint,
        request,
        ca,
        max_body,
        ..
    } = call;
    let io = connector.reach_provider(&endpoint, ca.as_ref()).await?;
    let mut request = request.map(Full::new);
    endpoint.origin_form(&mut request)?;
    let broken = |error: hyper::Error| {
        Error::new(
            ErrorKind::Transport,
            "the connection broke before an answer came",
        )
        .with_source(error)
    };
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let work = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let mut body = pin!(body);
        let mut read = Vec::new();
        while read.len() <= max_body {
            match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                None => break,
                Some(frame) => {
                    if let Some(data) = frame.map_err(broken)?.data_ref() {
                        let room = (max_body + 1).saturating_sub(read.len());
                        read.extend_from_slice(&data[..data.len().min(room)]);
                    }
                }
            }
        }
        Ok(Response::from_parts(head, Bytes::from(read)))
    };
    let (mut connection, mut work) = (pin!(connection), pin!(work));
    let mut ended = false;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = work.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if !ended && connection.as_mut().poll(cx).is_ready() {
            ended = true;
            return work.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}
