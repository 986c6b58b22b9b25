//! What came of the scenarios.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::scenario::Group;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The behaviour is there.
    Passed,
    /// It is not; why.
    Failed(String),
    /// It was not tried; why.
    Skipped(String),
}

/// What came of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name, with underscores for blanks.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, without the making of its namespace.
    pub time: Duration,
}

impl Report {
    /// As a value for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (outcome, reason) = match &self.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(why) => ("failed", Some(why)),
            Outcome::Skipped(why) => ("skipped", Some(why)),
        };
        json!({
            "name": self.name,
            "group": self.group.to_string(),
            "outcome": outcome,
            "reason": reason,
            "milliseconds": u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// A line of the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, why) = match &self.outcome {
            Outcome::Passed => ("ok     ", ""),
            Outcome::Failed(why) => ("FAILED ", why.as_str()),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
        };
        let name = self.name.replace('_', " ");
        let time = self.time.as_millis();
        write!(f, "{mark} {:<12} {name:<76} {time:>6} ms", self.group)?;
        for line in why.lines() {
            write!(f, "\n        {line}")?;
        }
        Ok(())
    }
}

/// Counts of outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All.
    pub scenarios: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that were not tried.
    pub skipped: usize,
}

impl Summary {
    /// Counts one more.
    pub fn add(&mut self, report: &Report) {
        self.scenarios += 1;
        match report.outcome {
            Outcome::Passed => {}
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scenarios, {} failed, {} skipped",
            self.scenarios, self.failed, self.skipped
        )
    }
}
