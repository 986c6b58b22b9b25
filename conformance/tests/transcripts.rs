//! Replays the recorded exchanges of a real API server through the core.
//!
//! More transcripts: `KUBEWIRE_TRANSCRIPTS=/folder:/another cargo test -p kubewire-conformance
//! --test transcripts -- --nocapture`.

use kubewire_conformance::replay;

#[test]
fn recorded_exchanges_are_replayed() {
    let report = replay::run(&replay::folders());
    println!("{report}");
    assert!(report.transcripts >= 715, "transcripts are missing");
    let skipped: Vec<_> = report.skipped.keys().collect();
    assert!(
        skipped
            .iter()
            .all(|why| why.starts_with("a watch over WebSocket")),
        "skipped: {skipped:#?}"
    );
    let names: Vec<_> = report.mismatches.iter().map(|(name, _)| name).collect();
    assert!(names.is_empty(), "mismatches in {names:#?}");
}
