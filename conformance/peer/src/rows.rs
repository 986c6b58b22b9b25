//! What is compared.

use crate::job::{Client, Work};
use crate::pods::{self, View};

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 over TCP.
    Tcp,
    /// HTTP/1.1 over TLS.
    Tls,
    /// Over TLS, HTTP/2 for who speaks it.
    Http2,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// MB of JSON, of a log or of a session.
    Bytes,
    /// Events.
    Events,
    /// Watches that are held.
    Watches,
    /// MB of sessions at the same time.
    Sessions,
}

impl Unit {
    /// For a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes | Self::Sessions => "MB",
            Self::Events => "events",
            Self::Watches => "watches",
        }
    }
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    what: &'static str,
    /// The work.
    pub work: Work,
    /// How the bytes travel.
    pub transport: Transport,
    /// What is counted.
    pub unit: Unit,
    /// As in [`Job`](crate::job::Job).
    pub size: usize,
    /// As in [`Job`](crate::job::Job).
    pub times: usize,
    /// As in [`Job`](crate::job::Job).
    pub parallel: usize,
    floor: bool,
    wide: bool,
}

const fn row(what: &'static str, work: Work, unit: Unit, size: usize, times: usize) -> Row {
    Row {
        what,
        work,
        transport: Transport::Tcp,
        unit,
        size,
        times,
        parallel: 1,
        floor: false,
        wide: false,
    }
}

impl Row {
    const fn over(self, transport: Transport) -> Self {
        Self {
            transport,
            floor: false,
            ..self
        }
    }

    const fn parallel(self, parallel: usize) -> Self {
        Self { parallel, ..self }
    }

    const fn once(self) -> Self {
        Self { times: 1, ..self }
    }

    const fn floor(self) -> Self {
        Self {
            floor: true,
            ..self
        }
    }

    /// Against the peer with session pipes of 64 KiB.
    const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// What is compared, and how it travels.
    #[must_use]
    pub fn name(&self) -> String {
        let transport = match self.transport {
            Transport::Tcp => "",
            Transport::Tls => ", TLS",
            Transport::Http2 => ", TLS with HTTP/2 offered",
        };
        let wide = if self.wide {
            ", kube with pipes of 64 KiB"
        } else {
            ""
        };
        format!("{}{transport}{wide}", self.what)
    }

    /// A tenth of it.
    #[must_use]
    pub fn quick(&self) -> Self {
        let mut quick = *self;
        if quick.times > 1 {
            quick.times = quick.times.div_ceil(10);
        } else if quick.unit == Unit::Watches || quick.unit == Unit::Sessions {
            quick.parallel = quick.parallel.div_ceil(10);
        } else {
            quick.size = quick.size.div_ceil(10);
        }
        quick
    }

    /// Who does it, in the order of the runs.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        let peer = if self.wide {
            Client::KubeWide
        } else {
            Client::Kube
        };
        let mut clients = vec![peer, Client::Tokio, Client::Smol];
        if self.floor {
            clients.push(Client::Floor);
        }
        clients
    }

    /// The amount of work in [`unit`](Self::unit).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn amount(&self) -> f64 {
        let mb = |bytes: usize| bytes as f64 / 1e6;
        match (self.unit, self.work) {
            (Unit::Watches, _) => self.parallel as f64,
            (Unit::Requests | Unit::Events, _) => (self.size * self.times) as f64,
            (_, Work::ListMetadata) => mb(self.list(View::Metadata)),
            (_, Work::ListCollected | Work::ListStreamed | Work::ListLean | Work::ListDynamic) => {
                mb(self.list(View::Full))
            }
            (Unit::Bytes | Unit::Sessions, _) => mb((self.size << 20) * self.parallel),
        }
    }

    fn list(&self, view: View) -> usize {
        pods::list(view, 0..self.size, self.size).len() * self.times
    }
}

const GET: Row = row(
    "small GET, one after the other",
    Work::Get,
    Unit::Requests,
    2_000,
    10,
);
const GET_64: Row = row(
    "small GET, 64 at a time",
    Work::Get,
    Unit::Requests,
    2_000,
    10,
)
.parallel(64);
const LIST: Row = row(
    "LIST 10k pods, collected",
    Work::ListCollected,
    Unit::Bytes,
    10_000,
    2,
);
const LIST_STREAMED: Row = row(
    "LIST 10k pods, streamed",
    Work::ListStreamed,
    Unit::Bytes,
    10_000,
    2,
);
const WATCH: Row = row("watch, typed", Work::Watch, Unit::Events, 100_000, 1);
const STDOUT: Row = row("exec stdout", Work::ExecStdout, Unit::Bytes, 256, 1);
const STDIN: Row = row("exec stdin", Work::ExecStdin, Unit::Bytes, 256, 1);
const DOWN: Row = row("port-forward down", Work::ForwardDown, Unit::Bytes, 256, 1);
const UP: Row = row("port-forward up", Work::ForwardUp, Unit::Bytes, 256, 1);
const IDLE: Row = row("idle watches", Work::IdleWatches, Unit::Watches, 1, 1).parallel(1_000);

/// What the tables of the documentation are made of.
pub const ROWS: &[Row] = &[
    GET.floor(),
    GET_64.floor(),
    GET.over(Transport::Tls),
    GET.over(Transport::Http2),
    GET_64.over(Transport::Http2),
    row(
        "LIST 1k pods, collected",
        Work::ListCollected,
        Unit::Bytes,
        1_000,
        20,
    )
    .floor(),
    LIST.floor(),
    LIST_STREAMED,
    row(
        "LIST 10k pods, streamed, no managed fields",
        Work::ListLean,
        Unit::Bytes,
        10_000,
        2,
    ),
    row(
        "LIST 10k pods, metadata",
        Work::ListMetadata,
        Unit::Bytes,
        10_000,
        2,
    ),
    row(
        "LIST 10k pods, dynamic",
        Work::ListDynamic,
        Unit::Bytes,
        10_000,
        2,
    ),
    LIST.over(Transport::Http2),
    LIST_STREAMED.over(Transport::Http2),
    WATCH.floor(),
    row(
        "watch, typed, no managed fields",
        Work::WatchLean,
        Unit::Events,
        100_000,
        1,
    ),
    row(
        "watch, metadata",
        Work::WatchMetadata,
        Unit::Events,
        100_000,
        1,
    ),
    row(
        "watch, dynamic",
        Work::WatchDynamic,
        Unit::Events,
        100_000,
        1,
    ),
    WATCH.over(Transport::Http2),
    row("log, bytes", Work::LogBytes, Unit::Bytes, 256, 1).floor(),
    row("log, lines", Work::LogLines, Unit::Bytes, 256, 1),
    STDOUT.floor(),
    STDOUT.wide(),
    STDOUT.over(Transport::Tls),
    STDIN.floor(),
    STDIN.wide(),
    STDIN.over(Transport::Tls),
    DOWN.floor(),
    DOWN.over(Transport::Tls),
    UP.floor(),
    UP.over(Transport::Tls),
    IDLE.over(Transport::Http2),
    row(
        "reflector, fill with 10k pods",
        Work::ReflectFill,
        Unit::Events,
        10_000,
        1,
    ),
    row(
        "reflector, fill from pages",
        Work::ReflectFillPaged,
        Unit::Events,
        10_000,
        1,
    ),
    row(
        "reflector, churn",
        Work::ReflectChurn,
        Unit::Events,
        100_000,
        1,
    ),
];

/// How cost grows with the amount.
pub const GROWTH: &[Row] = &[
    row(
        "LIST 1k pods, collected",
        Work::ListCollected,
        Unit::Bytes,
        1_000,
        1,
    ),
    LIST.once(),
    row(
        "LIST 50k pods, collected",
        Work::ListCollected,
        Unit::Bytes,
        50_000,
        1,
    ),
    row(
        "LIST 1k pods, streamed",
        Work::ListStreamed,
        Unit::Bytes,
        1_000,
        1,
    ),
    LIST_STREAMED.once(),
    row(
        "LIST 50k pods, streamed",
        Work::ListStreamed,
        Unit::Bytes,
        50_000,
        1,
    ),
    row("1 idle watch", Work::IdleWatches, Unit::Watches, 1, 1).over(Transport::Http2),
    row("10 idle watches", Work::IdleWatches, Unit::Watches, 1, 1)
        .parallel(10)
        .over(Transport::Http2),
    row("100 idle watches", Work::IdleWatches, Unit::Watches, 1, 1)
        .parallel(100)
        .over(Transport::Http2),
    row("1,000 idle watches", Work::IdleWatches, Unit::Watches, 1, 1)
        .parallel(1_000)
        .over(Transport::Http2),
    row(
        "1 exec session of 16 MiB",
        Work::ExecStdout,
        Unit::Sessions,
        16,
        1,
    )
    .floor(),
    row(
        "10 exec sessions of 16 MiB",
        Work::ExecStdout,
        Unit::Sessions,
        16,
        1,
    )
    .parallel(10)
    .floor(),
    row(
        "100 exec sessions of 16 MiB",
        Work::ExecStdout,
        Unit::Sessions,
        16,
        1,
    )
    .parallel(100)
    .floor(),
    row(
        "300 exec sessions of 16 MiB",
        Work::ExecStdout,
        Unit::Sessions,
        16,
        1,
    )
    .parallel(300)
    .floor(),
];
