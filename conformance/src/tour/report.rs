//! A line for each step.

use std::fmt::Display;
use std::time::Instant;

use kubewire::Error;

/// What the steps came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps that were tried.
    pub steps: usize,
    /// Steps that did not do what they should.
    pub failed: usize,
}

impl Report {
    /// Runs one step and prints what it saw, and how long it took.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        step: impl Future<Output = Result<(T, String), Error>>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = step.await;
        self.steps += 1;
        let (mark, text): (_, &dyn Display) = match &result {
            Ok((_, seen)) => ("ok    ", seen),
            Err(error) => {
                self.failed += 1;
                ("FAILED", error)
            }
        };
        let time = start.elapsed().as_secs_f64() * 1000.0;
        println!("  {mark} {name:<42} {time:>8.1} ms  {text}");
        if let Err(error) = &result {
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                println!("         because: {cause}");
                source = cause.source();
            }
        }
        result.map(|(value, _)| value)
    }
}
