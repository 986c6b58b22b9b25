//! One list of behaviours, for any runtime, against the embedded server or a real cluster.
//!
//! A scenario is an async function that panics if the behaviour is not there. Those that only make calls are
//! generic over [`Calls`] and so run over blocking sockets too; those that need sessions, spawned tasks or a client of
//! their own are generic over [`Drive`] and get an [`Env`]. Each has a namespace of its own, uses `busybox`'s commands
//! only, and assumes nothing of a server but what Kubernetes promises: its [`Need`]s say where it makes no sense.

mod env;
mod pods;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use kubewire_driver::{Drive, Listen};

pub use env::{Calls, Env, Place};
pub(crate) use pods::{HELD, START, create_pod, free};

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// One request, one answer.
    Rest,
    /// Collections.
    Lists,
    /// Watches, and what is built upon them.
    Watch,
    /// Logs.
    Logs,
    /// Commands in containers, and copies by way of them.
    Exec,
    /// The main process of a container.
    Attach,
    /// Connections to ports of pods.
    PortForward,
    /// Who the client is, and the way it takes.
    Auth,
    /// What goes wrong.
    Faults,
    /// What is dropped before its end.
    Cancellation,
}

impl Group {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 10] = [
        Self::Rest,
        Self::Lists,
        Self::Watch,
        Self::Logs,
        Self::Exec,
        Self::Attach,
        Self::PortForward,
        Self::Auth,
        Self::Faults,
        Self::Cancellation,
    ];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rest => "rest",
            Self::Lists => "lists",
            Self::Watch => "watch",
            Self::Logs => "logs",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Auth => "auth",
            Self::Faults => "faults",
            Self::Cancellation => "cancellation",
        })
    }
}

/// What a scenario asks of its surroundings. Without it, it is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The embedded server, one of its own: for its faults and its counters.
    Embedded,
    /// A node that runs pods.
    Node,
    /// A server that speaks TLS.
    Tls,
    /// The right to use a verb on a group's resource.
    May(&'static str, &'static str, &'static str),
    /// A server with RBAC.
    Roles,
    /// IO that does not come a byte at a time, since much is moved.
    FastIo,
}

/// A behaviour, for environments of one type.
pub struct Scenario<E> {
    /// The behaviour, with underscores for blanks.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// Where it makes sense.
    pub needs: &'static [Need],
    /// Panics if the behaviour is not there.
    pub body: for<'a> fn(&'a E) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl<E> fmt::Debug for Scenario<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("group", &self.group)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// Scenarios of a group: `name` or `name: needs`.
macro_rules! scenarios {
    ($group:ident; $($name:ident $(: $($need:expr),+)?);* $(;)?) => {
        vec![$($crate::scenario::Scenario {
            name: stringify!($name),
            group: $crate::scenario::Group::$group,
            needs: &[$($($need),+)?],
            body: |env| Box::pin($name(env)),
        }),*]
    };
}

/// Those that only make calls.
macro_rules! calls {
    ($($list:tt)*) => {
        pub(super) fn calls<E: $crate::scenario::Calls>() -> Vec<$crate::scenario::Scenario<E>> {
            scenarios!($($list)*)
        }
    };
}

/// Those that need the driver.
macro_rules! driven {
    ($($list:tt)*) => {
        pub(super) fn driven<R: kubewire_driver::Drive + kubewire_driver::Listen>()
        -> Vec<$crate::scenario::Scenario<$crate::scenario::Env<R>>> {
            scenarios!($($list)*)
        }
    };
}

mod attach;
mod auth;
mod broken;
mod cancellation;
mod copy;
mod credentials;
mod exec;
mod faults;
mod frames;
mod lists;
mod logs;
mod portforward;
mod proxies;
mod reflect;
mod rest;
mod streams;
mod watch;
mod writes;

/// The scenarios that only make calls.
#[must_use]
pub fn calls<E: Calls>() -> Vec<Scenario<E>> {
    sorted([
        rest::calls(),
        writes::calls(),
        lists::calls(),
        watch::calls(),
        logs::calls(),
    ])
}

/// All scenarios.
#[must_use]
pub fn all<R: Drive + Listen>() -> Vec<Scenario<Env<R>>> {
    sorted([
        calls(),
        rest::driven(),
        lists::driven(),
        watch::driven(),
        reflect::driven(),
        logs::driven(),
        exec::driven(),
        streams::driven(),
        copy::driven(),
        attach::driven(),
        portforward::driven(),
        auth::driven(),
        credentials::driven(),
        proxies::driven(),
        faults::driven(),
        broken::driven(),
        frames::driven(),
        cancellation::driven(),
    ])
}

fn sorted<E, const N: usize>(parts: [Vec<Scenario<E>>; N]) -> Vec<Scenario<E>> {
    let mut list: Vec<_> = parts.into_iter().flatten().collect();
    list.sort_by_key(|scenario| scenario.group);
    list
}
