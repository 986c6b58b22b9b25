//! What a client tells about its work.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Uri};
use kubewire::{ErrorKind, path_template};

use crate::Runtime;

/// Takes note of what a client does, for metrics. Closures are observers.
///
/// It is called in the course of requests, on whatever thread they run, and must return quickly. It never sees a payload, a
/// query, the name of an object or a secret.
///
/// With the feature `tracing` the same events go to the subscribers of the `tracing` crate, whether there is an
/// observer or not: a span `request` of level DEBUG for each request, with the fields `method`, `template`, `attempt`,
/// `status`, `bytes`, `duration_ms` and `error`, and events of target `kubewire`.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kubewire_driver::{Event, Observer};
///
/// static BYTES: AtomicU64 = AtomicU64::new(0);
/// let observer = |event: &Event<'_>| {
///     if let Event::Ended { bytes, .. } = event {
///         BYTES.fetch_add(*bytes, Ordering::Relaxed);
///     }
/// };
/// fn is_observer(_: impl Observer) {}
/// is_observer(observer); // for `ClientBuilder::observer`
/// ```
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Which request an [`Event`] is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Its method.
    pub method: Method,
    /// Its path without names; see [`path_template`].
    pub template: String,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request began. Each page of a list is one, and so is each upgrade. There will be one [`Ended`](Self::Ended) for it.
    #[non_exhaustive]
    Started {
        /// Which.
        request: &'a RequestInfo,
    },
    /// An attempt failed, and there will be another one.
    #[non_exhaustive]
    Retrying {
        /// Of which request.
        request: &'a RequestInfo,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// What the server answered.
        status: Option<StatusCode>,
        /// How the transport failed, if there was no answer.
        error: Option<ErrorKind>,
        /// How long until the next one.
        delay: Duration,
    },
    /// The server refused the credentials, and there are others.
    #[non_exhaustive]
    Reauthorizing {
        /// For which request.
        request: &'a RequestInfo,
    },
    /// A request is over: its answer was read, it failed, or its future or stream was dropped.
    #[non_exhaustive]
    Ended {
        /// Which.
        request: &'a RequestInfo,
        /// How many attempts there were.
        attempts: u32,
        /// What the server answered.
        status: Option<StatusCode>,
        /// How long the body was, as far as it was read, before it was inflated.
        bytes: u64,
        /// How long it took in all.
        duration: Duration,
        /// How it failed.
        error: Option<ErrorKind>,
        /// Whether the whole answer was read.
        complete: bool,
    },
    /// A connection was made, with all handshakes.
    #[non_exhaustive]
    Connected {
        /// Whether it speaks HTTP/2.
        http2: bool,
        /// Whether it is for one session.
        upgrade: bool,
        /// How long it took.
        duration: Duration,
    },
    /// A connection could not be made.
    #[non_exhaustive]
    ConnectFailed {
        /// How.
        error: ErrorKind,
        /// How long it took.
        duration: Duration,
    },
    /// A connection has ended.
    #[non_exhaustive]
    Disconnected {
        /// Whether it spoke HTTP/2.
        http2: bool,
        /// Whether it was for one session, which ended with it.
        upgrade: bool,
    },
    /// Credentials were asked for: a plugin ran, a file was read, an identity provider called.
    #[non_exhaustive]
    Refreshed {
        /// Whether that was in time. What it was worth shows in the requests.
        in_time: bool,
        /// How long it took.
        duration: Duration,
    },
}

/// Where events go.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Telemetry {
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
        #[cfg(feature = "tracing")]
        crate::trace::event(event);
    }

    fn is_of_use(&self) -> bool {
        #[cfg(feature = "tracing")]
        if crate::trace::is_enabled() {
            return true;
        }
        self.observer.is_some()
    }

    /// For a connection that was just made: tells when it ends.
    pub(crate) fn connected(&self, http2: bool, upgrade: bool, duration: Duration) -> Open {
        self.emit(&Event::Connected {
            http2,
            upgrade,
            duration,
        });
        Open {
            telemetry: self.clone(),
            http2,
            upgrade,
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// An open connection, for as long as it is there.
pub(crate) struct Open {
    telemetry: Telemetry,
    http2: bool,
    upgrade: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.telemetry.emit(&Event::Disconnected {
            http2: self.http2,
            upgrade: self.upgrade,
        });
    }
}

/// A request that is under way. Costs nothing if nobody wants to know.
pub(crate) struct Record<R: Runtime>(Option<Box<Watched<R>>>);

struct Watched<R: Runtime> {
    telemetry: Telemetry,
    runtime: R,
    request: RequestInfo,
    started: Instant,
    attempts: u32,
    status: Option<StatusCode>,
    bytes: u64,
    error: Option<ErrorKind>,
    complete: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl<R: Runtime> Record<R> {
    /// `uri` is that of the call, without the endpoint's prefix.
    pub(crate) fn start(telemetry: &Telemetry, runtime: &R, method: &Method, uri: &Uri) -> Self {
        if !telemetry.is_of_use() {
            return Self(None);
        }
        let request = RequestInfo {
            method: method.clone(),
            template: path_template(uri.path()),
        };
        let watched = Box::new(Watched {
            telemetry: telemetry.clone(),
            runtime: runtime.clone(),
            started: runtime.now(),
            attempts: 1,
            status: None,
            bytes: 0,
            error: None,
            complete: false,
            #[cfg(feature = "tracing")]
            span: crate::trace::span(&request),
            request,
        });
        watched.emit(|watched| Event::Started {
            request: &watched.request,
        });
        Self(Some(watched))
    }

    pub(crate) fn retrying(
        &mut self,
        status: Option<StatusCode>,
        error: Option<ErrorKind>,
        at: Instant,
    ) {
        if let Some(watched) = &mut self.0 {
            let delay = at.saturating_duration_since(watched.runtime.now());
            watched.emit(|watched| Event::Retrying {
                request: &watched.request,
                attempt: watched.attempts,
                status,
                error,
                delay,
            });
            watched.attempts += 1;
        }
    }

    pub(crate) fn reauthorizing(&mut self) {
        if let Some(watched) = &mut self.0 {
            watched.emit(|watched| Event::Reauthorizing {
                request: &watched.request,
            });
            watched.attempts += 1;
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(watched) = &mut self.0 {
            watched.status = Some(status);
        }
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        if let Some(watched) = &mut self.0 {
            watched.bytes += bytes as u64;
        }
    }

    /// The answer is there to its end.
    pub(crate) fn complete(&mut self) {
        if let Some(watched) = &mut self.0 {
            watched.complete = true;
        }
    }

    pub(crate) fn failed(&mut self, error: &kubewire::Error) {
        if let Some(watched) = &mut self.0 {
            watched.error = Some(error.kind());
            watched.status = watched.status.or_else(|| error.code());
        }
    }
}

impl<R: Runtime> Watched<R> {
    fn emit<'a>(&'a self, event: impl FnOnce(&'a Self) -> Event<'a>) {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        self.telemetry.emit(&event(self));
    }
}

impl<R: Runtime> Drop for Watched<R> {
    fn drop(&mut self) {
        let duration = self.runtime.now().saturating_duration_since(self.started);
        let event = Event::Ended {
            request: &self.request,
            attempts: self.attempts,
            status: self.status,
            bytes: self.bytes,
            duration,
            error: self.error,
            complete: self.complete,
        };
        #[cfg(feature = "tracing")]
        crate::trace::record(&self.span, &event);
        self.emit(|_| event.clone());
    }
}
