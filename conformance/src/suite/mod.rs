//! Runs the scenarios, and tells how it went.

mod facts;
mod interrupt;
mod report;
mod run;
mod tests;

pub use facts::Facts;
pub use interrupt::{catch_interrupt, interrupted};
pub use report::{Outcome, Report, Summary};
pub use run::{Backend, Driven, Site, quiet_panics, run};
pub use tests::check;

/// The label of everything that the suite makes outside of its namespaces, and of these.
pub const LABEL: &str = "kubewire-suite";
