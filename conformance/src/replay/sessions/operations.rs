//! The public operations that a recording asks for.

use std::time::Duration;

use kubewire::session::{Attach, Exec, PortForward, SessionOptions, Streams, Upgrade};
use kubewire::{Api, Error, HasAttach, HasExec, HasPortForward, UpgradeOperation};

use super::plan;
use super::script::SessionAsk;

/// An operation with the streams of a recording; both kinds of processes have the same options.
macro_rules! process {
    ($operation:expr, $ask:expr) => {{
        let mut operation = $operation.options(options());
        if let Some(container) = $ask.container.as_deref().filter(|name| !name.is_empty()) {
            operation = operation.container(container);
        }
        if $ask.stdin {
            operation = operation.stdin();
        }
        if !$ask.stdout {
            operation = operation.without_stdout();
        }
        if !$ask.stderr {
            operation = operation.without_stderr();
        }
        if $ask.tty {
            operation = operation.tty();
        }
        operation
    }};
}

/// Pings are told by their deadline, and no other deadline comes before one.
pub(super) fn options() -> SessionOptions {
    SessionOptions::default()
        .ping_interval(Duration::from_secs(10))
        .pong_timeout(None)
        .close_timeout(Duration::from_hours(24 * 365))
}

pub(super) fn exec<K: HasExec>(api: &Api<K>, ask: &SessionAsk) -> Result<Upgrade<Exec>, Error> {
    let operation = api.exec(&ask.pod).command(&ask.command);
    process!(operation, ask).into_upgrade()
}

pub(super) fn attach<K: HasAttach>(
    api: &Api<K>,
    ask: &SessionAsk,
) -> Result<Upgrade<Attach>, Error> {
    process!(api.attach(&ask.pod), ask).into_upgrade()
}

pub(super) fn forward<K: HasPortForward>(
    api: &Api<K>,
    ask: &SessionAsk,
) -> Result<Upgrade<PortForward>, Error> {
    let ports = plan::ports(ask).unwrap_or_default();
    let operation = api.port_forward(&ask.pod, ports);
    operation.options(options()).into_upgrade()
}

pub(super) fn streams(ask: &SessionAsk) -> Streams {
    let mut streams = Streams::new();
    if ask.stdin {
        streams = streams.stdin();
    }
    if ask.stdout {
        streams = streams.stdout();
    }
    if ask.stderr {
        streams = streams.stderr();
    }
    if ask.tty {
        streams = streams.tty();
    }
    streams
}
