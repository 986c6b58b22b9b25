//! Upgrades: from a request to the handles of a session.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use kubewire::policy::{Attempt, CallTimeouts, Deadlines, Duty, Phase, Repeat, Timeouts as Times};
use kubewire::session::{
    Answer, Attach, Exec, Handshake, Offer, PortForward, PortForwardTunnel, Session, Tunnel,
    Upgrade,
};
use kubewire::{Error, ErrorKind};

use super::forward::{Forward, TunnelHandle};
use super::process::Process;
use super::task::{Handle, SessionTask, Shared};
use crate::Drive;
use crate::client::{Inner, failed};
use crate::connect::Purpose;
use crate::connection::{RequestBody, Transport};
use crate::fault::unanswered;
use crate::observe::{Open, Record};
use crate::time::{until, within};

/// A protocol whose sessions the driver has handles for: all of them.
pub trait Openable: Offer + sealed::Share {}

impl<P: Offer + sealed::Share> Openable for P {}

/// What [`Client::open`](crate::Client::open) gives for a protocol.
pub type Handles<P> = <P as sealed::Share>::Handles;

mod sealed {
    use super::super::machine::AnySession;
    use super::{
        Arc, Attach, Exec, Forward, Handle, Offer, PortForward, PortForwardTunnel, Process,
        Session, Shared, Tunnel, TunnelHandle,
    };

    /// Puts a session where its task and its handles share it.
    #[expect(unnameable_types, reason = "seals `Openable`")]
    pub trait Share: Offer {
        /// What the caller gets.
        type Handles;
        /// Splits the session.
        fn share(machine: Self::Session, max_output: usize) -> (Arc<Shared>, Self::Handles);
    }

    impl Share for Exec {
        type Handles = Process;

        fn share(session: Session<Self>, max_output: usize) -> (Arc<Shared>, Process) {
            let streams = session.protocol().streams();
            let shared = Arc::new(Shared::new(AnySession::Exec(session)));
            let process = Process::new(Handle::new(shared.clone()), streams, true, max_output);
            (shared, process)
        }
    }

    impl Share for Attach {
        type Handles = Process;

        fn share(session: Session<Self>, max_output: usize) -> (Arc<Shared>, Process) {
            let streams = session.protocol().streams();
            let shared = Arc::new(Shared::new(AnySession::Attach(session)));
            // The end of the input would end the whole session.
            let process = Process::new(Handle::new(shared.clone()), streams, false, max_output);
            (shared, process)
        }
    }

    impl Share for PortForwardTunnel {
        type Handles = TunnelHandle;

        fn share(tunnel: Tunnel, _: usize) -> (Arc<Shared>, TunnelHandle) {
            let shared = Arc::new(Shared::new(AnySession::Tunnel(tunnel)));
            let handle = TunnelHandle::new(Handle::new(shared.clone()));
            (shared, handle)
        }
    }

    impl Share for PortForward {
        type Handles = Forward;

        fn share(session: Session<Self>, _: usize) -> (Arc<Shared>, Forward) {
            let ports = session.protocol().ports().to_vec();
            let shared = Arc::new(Shared::new(AnySession::PortForward(session)));
            let forward = Forward::new(Handle::new(shared.clone()), &ports);
            (shared, forward)
        }
    }
}

/// Dials, upgrades, and starts the session's task.
pub(crate) async fn open<R: Drive, P: Openable>(
    client: &Inner<R>,
    upgrade: Upgrade<P>,
    times: &CallTimeouts,
) -> Result<Handles<P>, Error> {
    let connector = &client.pool.connector;
    let runtime = &connector.runtime;
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| {
        Error::new(
            ErrorKind::Transport,
            "no random bytes for the WebSocket key",
        )
        .with_source(error)
    })?;
    let (request, handshake) = upgrade.begin(key, &client.limits);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let describe = |error: Error| error.with_request(&method, &uri);
    let times = connector.timeouts.phases.of(times, Duty::Session);
    let end = Deadlines::new(times, runtime.now()).end();
    let mut record = Record::start(&connector.telemetry, runtime, &method, &uri);
    let work = Box::pin(begin(
        client,
        &request,
        handshake,
        (&times, end),
        &mut record,
    ));
    let switched = until(runtime, end, work)
        .await
        .unwrap_or_else(|| Err(Phase::Total.error()));
    let now = runtime.now();
    let opened = switched.and_then(|switched| {
        let session = switched.handshake.finish(now)?;
        Ok((session, switched.io, switched.early, switched.open))
    });
    let (session, io, early, open) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            record.failed(&error);
            return Err(describe(error));
        }
    };
    record.answered(StatusCode::SWITCHING_PROTOCOLS);
    record.complete();
    drop(record);
    let (shared, handles) = P::share(session, client.limits.max_body);
    // What came with the answer.
    shared.handle_input(&early, now);
    runtime.execute(SessionTask::new(runtime.clone(), io, shared, open));
    Ok(handles)
}

/// Connects and asks as often as the policy says; after a 401 once more, if other credentials may be had.
async fn begin<R: Drive, P: Offer>(
    client: &Inner<R>,
    request: &Request<Bytes>,
    mut handshake: Handshake<P>,
    (times, end): (&Times, Option<Instant>),
    record: &mut Record<R>,
) -> Result<Switched<R::Io, P>, Error> {
    let connector = &client.pool.connector;
    let runtime = &connector.runtime;
    let started = runtime.now();
    let (mut number, mut refreshed) = (1, false);
    loop {
        let authorization = client.authorize(request).await?;
        let decide = |outcome, sent| {
            let attempt = Attempt {
                number,
                elapsed: runtime.now().saturating_duration_since(started),
                sent,
            };
            client.decide(Repeat::Upgrade, attempt, outcome, end)
        };
        let (io, open) = match connector.connect(Purpose::Upgrade, times).await {
            Ok((io, _, _, open)) => (io, open),
            Err(failure) => {
                let Some(again) = decide(failure.outcome, false) else {
                    return Err(failure.error);
                };
                record.retrying(None, Some(failure.error.kind()), again);
                runtime.sleep_until(again).await;
                number += 1;
                continue;
            }
        };
        let mut signed = request.clone().map(Full::new);
        client.sign(&mut signed, authorization.as_ref());
        connector.endpoint.origin_form(&mut signed)?;
        let again = |head: &http::response::Parts| {
            if head.status != StatusCode::UNAUTHORIZED {
                let at = decide(failed(head.status, &head.headers), true)?;
                return Some(Again::Later(head.status, at));
            }
            let first = !std::mem::replace(&mut refreshed, true);
            let old = authorization.as_ref().filter(|_| first)?;
            let better = client.signer.may_retry(old.generation, runtime);
            better.then_some(Again::Now)
        };
        let exchange = shake_hands(io, signed, handshake, again);
        match within(runtime, times.head, exchange).await {
            None => return Err(Phase::Head.error()),
            Some(Ok(Shaken::Switched(io, early, handshake))) => {
                return Ok(Switched {
                    io,
                    early,
                    handshake,
                    open,
                });
            }
            Some(Ok(Shaken::Refused(unused, again))) => {
                drop(open);
                handshake = unused;
                match again {
                    Again::Now => record.reauthorizing(),
                    Again::Later(status, at) => {
                        record.retrying(Some(status), None, at);
                        runtime.sleep_until(at).await;
                        number += 1;
                    }
                }
            }
            Some(Err(error)) => {
                let fault = (error.code() == Some(StatusCode::UNAUTHORIZED))
                    .then(|| client.signer.fault())
                    .flatten();
                return Err(match fault {
                    Some(fault) => error.with_source(fault),
                    None => error,
                });
            }
        }
    }
}

/// When a refused upgrade is worth another attempt.
enum Again {
    /// With other credentials.
    Now,
    /// After a refusal with this status.
    Later(StatusCode, Instant),
}

/// A connection that has become the session's.
struct Switched<Io, P: Offer> {
    io: Transport<Io>,
    /// What came with the answer.
    early: Bytes,
    handshake: Handshake<P>,
    open: Open,
}

/// How an attempt went.
enum Shaken<Io, P: Offer> {
    Switched(Transport<Io>, Bytes, Handshake<P>),
    Refused(Handshake<P>, Again),
}

/// Sends the request and reads the answer, polling the connection beside it: nothing is spawned before
/// there is a session, and dropping the future closes the connection.
async fn shake_hands<Io: Read + Write + Unpin + 'static, P: Offer>(
    io: Transport<Io>,
    request: Request<RequestBody>,
    mut handshake: Handshake<P>,
    again: impl FnOnce(&http::response::Parts) -> Option<Again>,
) -> Result<Shaken<Io, P>, Error> {
    let broken = |error| unanswered(error, "the connection broke during the upgrade");
    let (mut sender, mut connection) = http1::Builder::new().handshake(io).await.map_err(broken)?;
    let response = {
        let mut response = pin!(sender.send_request(request));
        let mut ended = false;
        poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(response.map_err(broken));
            }
            if !ended && let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
                ended = true;
                result.map_err(broken)?;
                // The answer, if there is one, is ready now.
                return response.as_mut().poll(cx).map_err(broken);
            }
            Poll::Pending
        })
        .await?
    };
    let (head, body) = response.into_parts();
    if head.status != StatusCode::SWITCHING_PROTOCOLS
        && let Some(again) = again(&head)
    {
        return Ok(Shaken::Refused(handshake, again));
    }
    match handshake.handle_head(&head)? {
        Answer::Switched => {
            drop(body);
            let parts = connection.into_parts();
            Ok(Shaken::Switched(parts.io, parts.read_buf, handshake))
        }
        Answer::Refused => {
            let mut connection = pin!(connection);
            let mut body = pin!(body);
            poll_fn(|cx| {
                loop {
                    match body.as_mut().poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) => {
                            if let Some(data) = frame.data_ref() {
                                handshake.handle_data(data);
                            }
                        }
                        // A refusal that is cut off is a refusal.
                        Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                        Poll::Pending => match connection.as_mut().poll(cx) {
                            Poll::Ready(_) if body.is_end_stream() => return Poll::Ready(()),
                            Poll::Ready(_) | Poll::Pending => return Poll::Pending,
                        },
                    }
                }
            })
            .await;
            Err(handshake
                .finish(Instant::now())
                .err()
                .unwrap_or_else(|| Error::new(ErrorKind::Peer, "the server refused the upgrade")))
        }
    }
}
