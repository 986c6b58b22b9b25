//! Replays recorded exchanges of a real API server through the core: request out, answer in.
//!
//! For each transcript the replayer finds out which operation of the public API the recorded request
//! is, builds it, and compares what was built with what was recorded (see [`EQUIVALENCES`]). Then
//! the recorded answer is fed, cut in several ways, and what comes out is compared with the recorded
//! body as plain `serde_json` reads it. Sessions follow in the same way: the handshake through the
//! public operation, then the frames of both sides, compared with a model of the protocol that is
//! made of nothing but the frames. Nothing here knows a single file.
//!
//! ```no_run
//! let folders = kubewire_conformance::replay::folders();
//! let report = kubewire_conformance::replay::run(&folders);
//! println!("{report}");
//! assert!(report.mismatches.is_empty());
//! ```

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most operations have a few of all actions and shapes"
)]

mod answers;
mod build;
mod compare;
mod expect;
mod feed;
mod intent;
mod kinds;
mod operations;
mod plan;
mod request;
mod run;
mod see;
mod server;
pub mod sessions;
pub mod target;
pub mod transcript;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use compare::Canonical;
use kinds::Kinds;
use plan::Plan;
use run::Run;
use transcript::Transcript;

pub use compare::EQUIVALENCES;
pub use sessions::Sessions;

/// The folder of this crate's transcripts, and those of the environment variable
/// `KUBEWIRE_TRANSCRIPTS` (separated by colons).
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts"));
    let more = std::env::var_os("KUBEWIRE_TRANSCRIPTS").unwrap_or_default();
    let more = std::env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    std::iter::once(own).chain(more).collect()
}

/// What came of a replay.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many transcripts were read.
    pub transcripts: usize,
    /// Requests that the public API expressed as they were recorded, by operation.
    pub operations: BTreeMap<String, usize>,
    /// Requests that the public API refused, as it should, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Answers to requests that no operation expresses, by reason.
    pub raw: BTreeMap<String, usize>,
    /// Names of transcripts that were not replayed, by reason.
    pub skipped: BTreeMap<String, Vec<String>>,
    /// What did not fit: the file's name, and how.
    pub mismatches: Vec<(String, String)>,
    /// How often an equivalence was needed.
    pub equivalences: BTreeMap<&'static str, usize>,
    /// Answers decoded with a type of `k8s-openapi` as well, by kind.
    pub typed: BTreeMap<String, usize>,
    /// Answers by what they were.
    pub answers: BTreeMap<&'static str, usize>,
    /// How often an answer was fed to a machine.
    pub feeds: usize,
    /// How many items came out of the machines.
    pub items: usize,
    /// The sessions.
    pub sessions: Sessions,
    /// Resources known from recorded discovery.
    pub resources: usize,
}

/// Replays every transcript of the folders.
#[must_use]
pub fn run(folders: &[PathBuf]) -> Report {
    let mut report = Report::default();
    let mut kinds = Kinds::default();
    let mut transcripts = Vec::new();
    for folder in folders {
        let files = match transcript::files(folder) {
            Ok(files) => files,
            Err(error) => {
                report
                    .mismatches
                    .push((folder.display().to_string(), error));
                continue;
            }
        };
        for file in files {
            let label = file.display().to_string();
            match transcript::read(&file) {
                Ok(transcript) => {
                    kinds.learn(&transcript);
                    transcripts.push((label, transcript));
                }
                Err(error) => report.mismatches.push((label, error)),
            }
        }
    }
    report.resources = kinds.len();
    for (label, transcript) in &transcripts {
        report.transcripts += 1;
        let replayed = catch_unwind(AssertUnwindSafe(|| replay(transcript, &kinds, &mut report)));
        let faults = match replayed {
            Ok(Ok(faults)) => faults,
            Ok(Err(error)) => vec![error],
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref().copied());
                vec![format!("panicked: {}", text.unwrap_or("?"))]
            }
        };
        let faults = faults.into_iter().map(|fault| (label.clone(), fault));
        report.mismatches.extend(faults);
    }
    report
}

/// Replays one transcript; what did not fit.
fn replay(
    transcript: &Transcript,
    kinds: &Kinds,
    report: &mut Report,
) -> Result<Vec<String>, String> {
    if let Some(handshake) = &transcript.handshake {
        return sessions::replay(transcript, handshake, report);
    }
    let (Some(request), Some(response)) = (&transcript.request, &transcript.response) else {
        return Err("neither an exchange nor a handshake".to_owned());
    };
    if response.status == Some(101) {
        return sessions::switched(request, response, report);
    }
    let plan = Plan::of(transcript, request, kinds)?;
    let mut run = Run::new(request, response, report)?;
    run.count_answer();
    match plan {
        Plan::Operation(intent) => run.operation(&intent),
        Plan::Server(ask) => run.server(&ask),
        Plan::Proxy(ask) => run.proxied(&ask),
        Plan::Raw(why) => run.raw(&why),
    }
    Ok(run.faults)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn table(
            f: &mut fmt::Formatter<'_>,
            title: &str,
            rows: impl Iterator<Item = (String, usize)>,
        ) -> fmt::Result {
            let rows: Vec<_> = rows.collect();
            let sum: usize = rows.iter().map(|(_, count)| count).sum();
            writeln!(f, "{sum:5} {title}")?;
            for (name, count) in rows {
                writeln!(f, "      {count:5} {name}")?;
            }
            Ok(())
        }
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        writeln!(f, "{} transcripts, {skipped} skipped", self.transcripts)?;
        let owned = |map: &BTreeMap<String, usize>| map.clone().into_iter();
        table(
            f,
            "built as recorded, by operation",
            owned(&self.operations),
        )?;
        table(f, "refused before sending", owned(&self.refused))?;
        table(f, "sent as a raw operation", owned(&self.raw))?;
        let rows = self.skipped.iter();
        let rows = rows.map(|(why, names)| (format!("{why}: {}", names.join(" ")), names.len()));
        table(f, "skipped", rows)?;
        let named = |map: &BTreeMap<&'static str, usize>| {
            let rows = map.clone().into_iter();
            rows.map(|(name, count)| (name.to_owned(), count))
        };
        table(f, "answers", named(&self.answers))?;
        table(
            f,
            "answers decoded as a k8s-openapi type too",
            owned(&self.typed),
        )?;
        let sessions = &self.sessions;
        for (title, map) in [
            ("handshakes of sessions", &sessions.handshakes),
            ("sessions replayed", &sessions.replayed),
            ("outcomes of sessions", &sessions.outcomes),
            ("recorded client frames", &sessions.frames),
            ("payloads not as recorded", &sessions.reasons),
        ] {
            table(f, title, owned(map))?;
        }
        table(f, "uses of equivalences", named(&self.equivalences))?;
        writeln!(
            f,
            "{} feeds, {} items, {} plays of sessions, {} resources from discovery, {} mismatches",
            self.feeds,
            self.items,
            self.sessions.plays,
            self.resources,
            self.mismatches.len()
        )?;
        for (name, what) in &self.mismatches {
            writeln!(f, "MISMATCH {name}\n    {what}")?;
        }
        Ok(())
    }
}
