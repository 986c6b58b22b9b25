//! The scenarios on each of the executors that are here.

use std::fmt;

use futures_util::FutureExt;
use kubewire_driver::{Drive, Listen};

use super::{Report, Site, run};
use crate::harness::{Blocking, BlockingBackend, Harness, Local, Smol, TokioCurrent, TokioMulti};
use crate::rig::{Mischief, Rig, Rigged};
use crate::scenario::{Group, Scenario, all, calls};

/// An executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// tokio with two worker threads.
    Tokio,
    /// tokio with one thread.
    TokioCurrent,
    /// smol's global executor.
    Smol,
    /// One thread, and connections that are not `Send`.
    Local,
    /// Blocking sockets, without an executor: the scenarios that only make calls.
    Blocking,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Tokio,
        Self::TokioCurrent,
        Self::Smol,
        Self::Local,
        Self::Blocking,
    ];

    /// Their names, in the same order.
    pub const NAMES: [&'static str; 5] = ["tokio", "tokio-current", "smol", "local", "blocking"];

    /// That of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self::ALL[at])
    }

    /// How many scenarios are chosen, of those that this runtime has.
    #[must_use]
    pub fn count(self, choose: &Choose<'_>) -> usize {
        match self {
            Self::Tokio | Self::TokioCurrent => chosen::<TokioMulti>(choose).len(),
            Self::Smol => chosen::<Smol>(choose).len(),
            Self::Local => chosen::<Local>(choose).len(),
            Self::Blocking => filtered(calls::<Blocking>(), choose).len(),
        }
    }

    /// Runs the scenarios that are chosen. See [`run`].
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn run(
        self,
        site: &Site,
        mischief: Mischief,
        choose: &Choose<'_>,
        tell: &mut dyn FnMut(Report),
    ) -> Result<(), String> {
        match self {
            Self::Tokio => on::<TokioMulti>(site, mischief, choose, tell),
            Self::TokioCurrent => on::<TokioCurrent>(site, mischief, choose, tell),
            Self::Smol => on::<Smol>(site, mischief, choose, tell),
            Self::Local => on::<Local>(site, mischief, choose, tell),
            Self::Blocking => {
                let list = filtered(calls(), choose);
                let run = run(&BlockingBackend, site, list, tell).now_or_never();
                run.unwrap_or_else(|| Err("something waits without blocking".to_owned()))
            }
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL
            .iter()
            .zip(Self::NAMES)
            .find(|(all, _)| *all == self);
        f.pad(name.map_or("", |(_, name)| name))
    }
}

/// Whether a scenario is to run, by its group and name.
pub type Choose<'a> = dyn Fn(Group, &str) -> bool + 'a;

type Listed<H> = Scenario<crate::scenario::Env<Rig<<H as Harness>::Runtime>>>;

fn chosen<H: Harness>(choose: &Choose<'_>) -> Vec<Listed<H>>
where
    Rig<H::Runtime>: Drive + Listen,
{
    filtered(all(), choose)
}

fn filtered<E>(mut list: Vec<Scenario<E>>, choose: &Choose<'_>) -> Vec<Scenario<E>> {
    list.retain(|scenario| choose(scenario.group, scenario.name));
    list
}

fn on<H: Harness>(
    site: &Site,
    mischief: Mischief,
    choose: &Choose<'_>,
    tell: &mut dyn FnMut(Report),
) -> Result<(), String>
where
    Rig<H::Runtime>: Drive + Listen,
{
    let list = chosen::<H>(choose);
    H::run(async |runtime: H::Runtime| {
        let backend = Rigged(Rig::new(runtime, mischief));
        run(&backend, site, list, tell).await
    })
}
