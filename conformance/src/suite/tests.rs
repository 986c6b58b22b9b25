//! The scenarios as plain tests.

use std::sync::Arc;

use kubewire_driver::Listen;

use super::{Driven, Outcome, Site, run};
use crate::cli::config_of;
use crate::harness::Harness;
use crate::scenario::{Group, all};
use crate::server::Server;

/// Runs the scenarios of a group on an executor, against an embedded server.
///
/// # Panics
///
/// If one of them fails.
pub fn check<H: Harness>(group: Group, tls: bool)
where
    H::Runtime: Listen,
{
    let server = Server::builder().tls(tls).start();
    let server = server.expect("the server starts");
    let config = config_of(&server).expect("it has a configuration");
    let site = Site {
        config,
        server: Some(Arc::new(server)),
        image: "busybox".to_owned(),
        jobs: 8,
    };
    let mut list = all();
    list.retain(|scenario| scenario.group == group);
    assert!(!list.is_empty(), "there are no scenarios about {group}");
    let mut failed = Vec::new();
    let result = H::run(async |runtime: H::Runtime| {
        let tell = |report: super::Report| {
            println!("{report}");
            if let Outcome::Failed(_) = report.outcome {
                failed.push(report.to_string());
            }
        };
        run(&Driven(runtime), &site, list, tell, || false).await
    });
    result.expect("the suite runs");
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}
