//! What a measuring process is asked, and what it answers.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Client {
    /// kubewire on tokio.
    Tokio,
    /// kubewire on smol.
    Smol,
    /// kube-rs as it comes.
    Kube,
    /// kube-rs with session pipes of 64 KiB instead of 1 KiB.
    KubeWide,
    /// What the work costs without a Kubernetes client.
    Floor,
}

/// The work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Reads one small object.
    Get,
    /// A list of pods as one value.
    ListCollected,
    /// A list of pods, each of them dropped when it is there.
    ListStreamed,
    /// The same without managed fields.
    ListLean,
    /// The metadata of the pods of a list.
    ListMetadata,
    /// A list of pods whose type is not known.
    ListDynamic,
    /// Events of a watch.
    Watch,
    /// The same without managed fields.
    WatchLean,
    /// Events with metadata only.
    WatchMetadata,
    /// Events with objects whose type is not known.
    WatchDynamic,
    /// A log, as bytes.
    LogBytes,
    /// A log, line by line.
    LogLines,
    /// What a process prints.
    ExecStdout,
    /// What a process reads.
    ExecStdin,
    /// What a port of a pod sends.
    ForwardDown,
    /// What a port of a pod is sent.
    ForwardUp,
    /// Watches in which nothing happens.
    IdleWatches,
    /// A store is filled.
    ReflectFill,
    /// A store is filled, from pages of 500.
    ReflectFillPaged,
    /// A store is kept up to date.
    ReflectChurn,
}

/// Where the server is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Its URL.
    pub url: String,
    /// The certificate authority, for TLS.
    pub ca: Option<String>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Who does it.
    pub client: Client,
    /// What is done.
    pub work: Work,
    /// How much at once: pods, events, MiB; as the work has it.
    pub size: usize,
    /// How often.
    pub times: usize,
    /// How many at the same time.
    pub parallel: usize,
    /// Against whom.
    pub target: Target,
    /// The server's process.
    pub server: u32,
}

/// What was done, as the work itself counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Requests, objects, events, lines or chunks.
    pub units: usize,
    /// Sockets that were open while everything was held.
    pub sockets: usize,
    /// Memory in use while everything was held.
    pub resident: usize,
}

/// What a measurement took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Requests, objects, events, lines or chunks.
    pub units: usize,
    /// CPU time of the process, of user and system.
    pub cpu: Duration,
    /// CPU time of the server at the same time; zero where the system does not tell.
    pub server: Duration,
    /// Time on the wall.
    pub wall: Duration,
    /// Allocations, if they were counted.
    pub allocations: u64,
    /// The most heap that was held beyond what was held before, if it was counted.
    pub peak: u64,
    /// Sockets that were opened, for work that holds them.
    pub sockets: usize,
    /// Memory that came into use, for work that holds it.
    pub resident: usize,
}

/// Clocks of this process and the server.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    cpu: Duration,
    server: (u32, Duration),
    wall: Instant,
}

impl Clocks {
    /// Now.
    #[must_use]
    pub fn start(server: u32) -> Self {
        Self {
            server: (server, cpu_of(server)),
            cpu: cpu(),
            wall: Instant::now(),
        }
    }

    /// The times since the start.
    #[must_use]
    pub fn stop(self) -> Figures {
        let (wall, cpu) = (self.wall.elapsed(), cpu().saturating_sub(self.cpu));
        let (server, before) = self.server;
        Figures {
            cpu,
            server: cpu_of(server).saturating_sub(before),
            wall,
            ..Figures::default()
        }
    }
}

/// The CPU time of the threads that a process has.
fn cpu_of(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let times = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        });
    times.map(Duration::from_nanos).sum()
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .expect("CPU time is positive")
}

/// Anonymous memory of this process; 0 where the system does not tell.
#[must_use]
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// Sockets of this process; 0 where the system does not tell.
#[must_use]
pub fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}
