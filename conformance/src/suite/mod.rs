//! Runs the scenarios, and tells how it went.

mod facts;
mod interrupt;
mod report;
mod run;
mod runtimes;
mod tests;

pub use facts::Facts;
pub use interrupt::{catch_interrupt, interrupted};
pub use report::{Outcome, Report, Summary};
pub(crate) use run::explain;
pub use run::{Backend, Site, quiet_panics, run};
pub use runtimes::{Choose, Runtime};
pub use tests::{check, check_dropped};

/// The label of everything that the suite makes outside of its namespaces, and of these.
pub const LABEL: &str = "kubewire-suite";
