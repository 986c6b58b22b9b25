//! How true the embedded server is to a real one.
//!
//! Every recorded exchange is sent to an embedded server that was brought into a comparable state, byte for byte
//! where tokens, uids and versions allow, and the answers are compared: status, headers, the shape and the stable
//! values of bodies, sequences of events and frames. What may differ stands in `conformance/DIFFERENCES.md`, with a
//! reason; the list is checked in both directions.

mod accepted;
mod exchange;
mod names;
mod plan;
mod session;
mod shape;
mod wire;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use accepted::Accepted;
use plan::{Group, Step};
pub use shape::Difference;
use world::{Transcripts, World};

use crate::replay::transcript;

/// How many exchanges of one group overlap.
const TOGETHER: usize = 8;
/// Bookmarks come as often as this where the recording shows those of minutes.
const SHORT: Duration = Duration::from_secs(1);

/// What came of all exchanges.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By the name of the transcript; empty if the answers are equal.
    pub found: BTreeMap<String, Vec<Difference>>,
    /// Exchanges that could not be sent, and why.
    pub failed: Vec<String>,
}

impl Report {
    /// How many exchanges had equal answers.
    #[must_use]
    pub fn equal(&self) -> usize {
        self.found.values().filter(|found| found.is_empty()).count()
    }

    /// How many had not.
    #[must_use]
    pub fn different(&self) -> usize {
        self.found.len() - self.equal()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, found) in &self.found {
            for difference in found {
                writeln!(f, "{name}: {}: {}", difference.place, difference.detail)?;
            }
        }
        for failed in &self.failed {
            writeln!(f, "FAILED {failed}")?;
        }
        Ok(())
    }
}

/// Sends the recorded exchanges of a folder; with a filter, only the groups of plans whose name begins with it.
///
/// # Errors
///
/// If a transcript cannot be read, or the plans leave one out or name one that is not there.
pub async fn run(folder: &Path, filter: &str) -> Result<Report, String> {
    let mut transcripts = BTreeMap::new();
    for path in transcript::files(folder)? {
        let transcript = transcript::read(&path)?;
        transcripts.insert(transcript.name.clone(), Arc::new(transcript));
    }
    let groups = plan::groups()?;
    let planned: Vec<_> = groups.iter().flat_map(names).collect();
    let unique: BTreeSet<_> = planned.iter().copied().collect();
    if unique.len() != planned.len() {
        return Err("an exchange is planned twice".to_owned());
    }
    let recorded: BTreeSet<_> = transcripts.keys().map(String::as_str).collect();
    let odd: Vec<_> = unique.symmetric_difference(&recorded).collect();
    if !odd.is_empty() {
        return Err(format!("planned and recorded exchanges differ: {odd:?}"));
    }
    let transcripts = Arc::new(transcripts);
    let mut running = JoinSet::new();
    for group in groups
        .into_iter()
        .filter(|group| group.name.starts_with(filter))
    {
        running.spawn(group_report(group, Arc::clone(&transcripts)));
    }
    let mut report = Report::default();
    while let Some(part) = running.join_next().await {
        let part = part.map_err(|error| error.to_string())?;
        report.found.extend(part.found);
        report.failed.extend(part.failed);
    }
    Ok(report)
}

fn names(group: &Group) -> impl Iterator<Item = &str> {
    group.steps.iter().filter_map(|step| match step {
        Step::Exchange { name, .. } => Some(name.as_str()),
        Step::Prepare(_) => None,
    })
}

async fn group_report(group: Group, transcripts: Transcripts) -> Report {
    let mut report = Report::default();
    let bookmarks = if group.name.ends_with("-bookmarks") {
        SHORT
    } else {
        Duration::from_mins(1)
    };
    let world = match World::start(bookmarks, Arc::clone(&transcripts)) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            report.failed.push(format!("{}: {error}", group.name));
            return report;
        }
    };
    let permits = Arc::new(Semaphore::new(if group.together { TOGETHER } else { 1 }));
    let mut running = JoinSet::new();
    for step in group.steps {
        match step {
            Step::Prepare(action) => {
                collect(
                    &mut running,
                    &mut report,
                    if group.together { usize::MAX } else { 0 },
                )
                .await;
                if let Err(why) = world.act(&action, None).await {
                    report.failed.push(format!("{}: {why}", group.name));
                }
            }
            Step::Exchange { name, during } => {
                if !group.together {
                    collect(&mut running, &mut report, 0).await;
                    if let Err(why) = world.look().await {
                        report.failed.push(format!("{name}: {why}"));
                    }
                }
                let Some(transcript) = transcripts.get(&name).cloned() else {
                    continue;
                };
                let (world, permits) = (Arc::clone(&world), Arc::clone(&permits));
                running.spawn(async move {
                    let _permit = permits.acquire().await;
                    let found = if transcript.handshake.is_some() {
                        session::compare(&world, &transcript, &during).await
                    } else {
                        exchange::compare(&world, &transcript, &during).await
                    };
                    (name, found)
                });
            }
        }
    }
    collect(&mut running, &mut report, 0).await;
    report
}

type Outcome = (String, Result<Vec<Difference>, String>);

/// Waits until no more than `left` exchanges run.
async fn collect(running: &mut JoinSet<Outcome>, report: &mut Report, left: usize) {
    while running.len() > left {
        match running.join_next().await {
            Some(Ok((name, Ok(mut found)))) => {
                found.sort();
                found.dedup_by(|a, b| a.place == b.place);
                report.found.insert(name, found);
            }
            Some(Ok((name, Err(why)))) => report.failed.push(format!("{name}: {why}")),
            Some(Err(error)) => report.failed.push(error.to_string()),
            None => return,
        }
    }
}
