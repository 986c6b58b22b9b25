//! Sends every recorded exchange to the embedded server and compares the answers.
//!
//! `KUBEWIRE_FIDELITY=write cargo test -p kubewire-conformance --test fidelity` brings `DIFFERENCES.md` up to date; what
//! is new stands under a heading of its own until somebody gives it a reason. Any other value runs only the groups
//! of the plans whose names begin with it, and prints every difference.

use std::path::Path;

use kubewire_conformance::fidelity::{self, Accepted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_answers_as_a_real_one_or_differs_as_listed() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = here.join("DIFFERENCES.md");
    let mode = std::env::var("KUBEWIRE_FIDELITY").unwrap_or_default();
    let (write, filter) = if mode == "write" {
        (true, "")
    } else {
        (false, mode.as_str())
    };
    let report = fidelity::run(&here.join("transcripts"), filter)
        .await
        .expect("plans and transcripts");
    if !mode.is_empty() {
        println!("{report}");
    }
    let text = std::fs::read_to_string(&file).expect("the list");
    let mut list = Accepted::parse(&text).expect("a list");
    if write {
        list = list.brought_up_to_date(&report.found);
        std::fs::write(&file, list.text()).expect("the list is written");
    }
    let (unexplained, stale) = list.check(&report.found);
    println!(
        "{} transcripts compared, {} equal, {} accepted ({} reasons), {} unexplained",
        report.found.len(),
        report.equal(),
        report.different() - unexplained.len(),
        list.reasons(),
        unexplained.len()
    );
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert!(
        unexplained.is_empty(),
        "not in {}: {unexplained:#?}",
        file.display()
    );
    assert!(
        !list.has_unexplained(),
        "differences without a reason in {}",
        file.display()
    );
    assert!(
        list.tells_what_is_ignored(),
        "what is not compared:\n{}",
        Accepted::ignored()
    );
    if filter.is_empty() {
        assert!(stale.is_empty(), "no such difference any more: {stale:#?}");
    }
}
