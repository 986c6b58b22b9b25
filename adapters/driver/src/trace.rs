//! Events as spans and events of the `tracing` crate.

use kubewire::ErrorKind;
use tracing::field::{Empty, debug};
use tracing::{Level, Span};

use crate::observe::{Event, RequestInfo};

const TARGET: &str = "kubewire";

pub(crate) fn is_enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

/// The span of a request. It is closed when the request has ended, with all fields filled in that apply.
pub(crate) fn span(request: &RequestInfo) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "request",
        method = %request.method,
        template = %request.template,
        attempt = Empty,
        status = Empty,
        bytes = Empty,
        duration_ms = Empty,
        error = Empty,
    )
}

/// Fills in what is known at the end.
pub(crate) fn record(span: &Span, event: &Event<'_>) {
    if let Event::Ended {
        attempts,
        status,
        bytes,
        duration,
        error,
        ..
    } = event
    {
        span.record("attempt", attempts);
        if let Some(status) = status {
            span.record("status", status.as_u16());
        }
        span.record("bytes", bytes);
        span.record("duration_ms", duration.as_secs_f64() * 1e3);
        if let Some(error) = error {
            span.record("error", debug(error));
        }
    }
}

/// What happens within a request has its method and template from the span.
pub(crate) fn event(event: &Event<'_>) {
    let none = |error: &Option<ErrorKind>| error.map(debug);
    match event {
        Event::Started { .. } => tracing::trace!(target: TARGET, "request started"),
        Event::Retrying {
            attempt,
            status,
            error,
            delay,
            ..
        } => tracing::debug!(
            target: TARGET,
            attempt,
            status = status.map(|status| status.as_u16()),
            error = none(error),
            delay_ms = delay.as_secs_f64() * 1e3,
            "retrying"
        ),
        Event::Reauthorizing { .. } => {
            tracing::debug!(target: TARGET, "credentials refused, trying others");
        }
        Event::Ended { complete, .. } => {
            tracing::debug!(target: TARGET, complete, "request ended");
        }
        Event::Connected {
            http2,
            upgrade,
            duration,
        } => tracing::debug!(
            target: TARGET,
            http2,
            upgrade,
            duration_ms = duration.as_secs_f64() * 1e3,
            "connected"
        ),
        Event::ConnectFailed { error, duration } => tracing::debug!(
            target: TARGET,
            error = ?error,
            duration_ms = duration.as_secs_f64() * 1e3,
            "cannot connect"
        ),
        Event::Disconnected { http2, upgrade } => {
            tracing::debug!(target: TARGET, http2, upgrade, "disconnected");
        }
        Event::Refreshed { in_time, duration } => tracing::debug!(
            target: TARGET,
            in_time,
            duration_ms = duration.as_secs_f64() * 1e3,
            "credentials refreshed"
        ),
    }
}
