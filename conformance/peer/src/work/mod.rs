//! The work, by each client in the way that its documentation shows.

mod floor;
mod kube_rs;
mod kubewire;

use std::future::Future;
use std::sync::Arc;

use kubewire_driver::Drive;
use kubewire_smol::SmolRuntime;
use kubewire_tokio::TokioRuntime;

use crate::job::{Client, Clocks, Done, Figures, Job, Work};

/// Counts the allocations of what it runs, or does not.
pub type Count = fn(&mut dyn FnMut()) -> (u64, u64);

/// Does a job in this process, after a small one to warm up.
#[must_use]
pub fn measure(job: &Job, count: Count) -> Figures {
    match job.client {
        Client::Tokio => {
            let runtime = runtime();
            let client = {
                let _entered = runtime.enter();
                kubewire::client(&job.target, TokioRuntime::new())
            };
            ours(job, count, &client, |future| runtime.block_on(future))
        }
        Client::Smol => {
            let executor = Arc::new(smol::Executor::new());
            let client =
                kubewire::client(&job.target, SmolRuntime::with_executor(executor.clone()));
            ours(job, count, &client, |future| {
                smol::block_on(executor.run(future))
            })
        }
        Client::Kube | Client::KubeWide => {
            let runtime = runtime();
            let client = runtime.block_on(async { kube_rs::client(&job.target) });
            let mut run = |job: &Job| runtime.block_on(kube_rs::run(&client, job));
            figures(job, count, &mut run)
        }
        Client::Floor => {
            let runtime = runtime();
            let mut floor = floor::Floor::new(job);
            let mut run = |job: &Job| runtime.block_on(floor.run(job));
            figures(job, count, &mut run)
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn ours<R: Drive>(
    job: &Job,
    count: Count,
    client: &kubewire_driver::Client<R>,
    block_on: impl Fn(std::pin::Pin<Box<dyn Future<Output = Done> + '_>>) -> Done,
) -> Figures {
    let mut run = |job: &Job| block_on(Box::pin(kubewire::run(client, job.clone())));
    figures(job, count, &mut run)
}

fn figures(job: &Job, count: Count, run: &mut dyn FnMut(&Job) -> Done) -> Figures {
    let held = job.work == Work::IdleWatches;
    let (size, parallel) = match job.work {
        Work::Get => (job.size, job.parallel),
        Work::IdleWatches => (0, 1),
        Work::ExecStdout | Work::ExecStdin | Work::ForwardDown | Work::ForwardUp => (1, 1),
        _ => (job.size.min(10), 1),
    };
    let warm = Job {
        size,
        parallel,
        times: 1,
        ..job.clone()
    };
    let sockets = crate::job::sockets();
    run(&warm);
    let resident = crate::job::resident();
    let mut done = Done::default();
    let clocks = Clocks::start(job.server);
    let (allocations, peak) = count(&mut || done = run(job));
    let times = clocks.stop();
    Figures {
        units: done.units,
        allocations,
        peak,
        sockets: if held {
            done.sockets.saturating_sub(sockets)
        } else {
            0
        },
        resident: if held {
            done.resident.saturating_sub(resident)
        } else {
            0
        },
        ..times
    }
}

/// The namespace that makes the server answer for this job.
fn namespace(job: &Job) -> String {
    match job.work {
        Work::Get => "default".to_owned(),
        Work::Watch | Work::WatchLean | Work::WatchMetadata | Work::WatchDynamic => {
            format!("n0-{}", job.size)
        }
        Work::IdleWatches => "n0-1".to_owned(),
        // Few objects, so that the changes are what counts.
        Work::ReflectChurn => format!("n100-{}", job.size),
        _ => format!("n{}-0", job.size),
    }
}

/// What is written to sessions at once.
const WRITE: usize = 64 << 10;

/// The state of everything that is held.
fn held(units: usize) -> Done {
    Done {
        units,
        sockets: crate::job::sockets(),
        resident: crate::job::resident(),
    }
}

fn units(units: usize) -> Done {
    Done {
        units,
        ..Done::default()
    }
}
