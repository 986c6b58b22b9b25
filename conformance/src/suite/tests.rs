//! The scenarios as plain tests.

use std::sync::Arc;

use super::{Outcome, Report, Runtime, Site};
use crate::cli::config_of;
use crate::rig::Mischief;
use crate::scenario::Group;
use crate::server::Server;

/// Runs the scenarios of a group on an executor, against an embedded server.
///
/// # Panics
///
/// If one of them fails.
pub fn check(group: Group, runtime: Runtime, tls: bool, mischief: Mischief) {
    run(group, runtime, mischief, &site(tls));
}

/// As [`check`], and drops each scenario at its awaits.
///
/// # Panics
///
/// As [`check`], and if a client does not work afterwards, or leaves something at its server.
pub fn check_dropped(group: Group, runtime: Runtime, tls: bool) {
    let site = Site {
        drops: true,
        ..site(tls)
    };
    run(group, runtime, Mischief::default(), &site);
}

fn site(tls: bool) -> Site {
    let server = Server::builder().tls(tls).start();
    let server = server.expect("the server starts");
    let config = config_of(&server).expect("it has a configuration");
    Site {
        config,
        server: Some(Arc::new(server)),
        image: "busybox".to_owned(),
        jobs: 8,
        drops: false,
    }
}

fn run(group: Group, runtime: Runtime, mischief: Mischief, site: &Site) {
    let mut failed = Vec::new();
    let mut passed = 0;
    let mut tell = |report: Report| {
        println!("{report}");
        match report.outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed(_) => failed.push(report.to_string()),
            Outcome::Skipped(_) => {}
        }
    };
    let result = runtime.run(site, mischief, &|of, _| of == group, &mut tell);
    result.expect("the suite runs");
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert!(passed > 0, "nothing about {group} was tried");
}
