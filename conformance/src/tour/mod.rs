//! The tour: every main operation once, in the order in which a newcomer would try them.
//!
//! The steps are the same on every runtime and on every cluster; a container image needs what
//! busybox has.

mod objects;
mod report;
mod steps;

use std::time::{Duration, Instant};

use kubewire::Error;
use kubewire_driver::{Client, Drive};

pub use report::Report;

/// Runs the tour in a namespace of its own, which it deletes afterwards, also after a failure.
///
/// Prints a line for each step.
pub async fn run<R: Drive>(client: &Client<R>, runtime: &R, image: &str) -> Report {
    let mut report = Report::default();
    let mut cleanup = steps::Cleanup::default();
    // A step that failed has printed why; what follows it cannot work.
    let _ = steps::run(client, runtime, image, &mut report, &mut cleanup).await;
    steps::clean_up(client, runtime, &mut report, cleanup).await;
    report
}

/// Awaits a future for a limited time.
async fn within<R: Drive, T>(
    runtime: &R,
    time: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = std::pin::pin!(future);
    let mut sleep = std::pin::pin!(runtime.sleep_until(runtime.now() + time));
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(result) = future.as_mut().poll(cx) {
            return std::task::Poll::Ready(result);
        }
        sleep.as_mut().poll(cx).map(|()| {
            Err(Error::new(
                kubewire::ErrorKind::Timeout,
                format!("nothing happened for {time:?}"),
            ))
        })
    })
    .await
}

/// A short pause between looks at something that takes its time.
async fn pause<R: Drive>(runtime: &R) {
    runtime
        .sleep_until(Instant::max(runtime.now(), Instant::now()) + Duration::from_millis(100))
        .await;
}
