//! Following a container's log over cut connections and restarts.
//!
//! ```text
//!                  start
//!                    v
//!   +---------> +---------+  gone, replaced, container over: Ended
//!   | wait      |   POD   | ------------------------------------->
//!   +---------- +---------+ <-----------------------------+
//!    no log yet, |     ^   \  restarted meanwhile         |
//!    or between  |     |    \                             |
//!    two runs    v     |     v                            |
//!           +---------+|   +----------------------------+ |
//!           |   LOG   |+   | LOG OF THE RUN BEFORE,     |-+
//!           +---------+    | what of it was not given   |
//!        ended, cut off,   +----------------------------+
//!        or silent for long
//! ```

mod follower;
mod pod;
mod stamp;
mod want;

use std::time::Duration;

use super::{Backoff, StaleReason};
use crate::stream::LogLine;

pub use follower::LogFollower;
pub use pod::PodFacts;
pub use want::{LogAnswer, LogAnswers, LogWant};

/// What of a log to follow.
///
/// ```
/// use kubewire::reflect::logs::LogOptions;
/// let options = LogOptions::default().container("main").tail_lines(10).timestamps(true);
/// assert_eq!(options.tail_lines, Some(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Which container. By default the one that the pod's annotation `kubectl.kubernetes.io/default-container` names,
    /// else its first.
    pub container: Option<String>,
    /// Whether lines are given with their time before them. Default no.
    pub timestamps: bool,
    /// Begin with the last so many lines; by default with the first line.
    pub tail_lines: Option<i64>,
    /// Begin at a time, in RFC 3339.
    pub since_time: Option<String>,
    /// How long a log may be silent before the connection is made anew: nothing else shows that it is dead, and
    /// a proxy may have forgotten it. Default 5 min; `None` for never.
    pub silence: Option<Duration>,
    /// How long an answer may keep waiting. Default 60 s.
    pub answer_timeout: Duration,
    /// When to try again after failures, and how often to look after a container that does not run.
    pub backoff: Backoff,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            container: None,
            timestamps: false,
            tail_lines: None,
            since_time: None,
            silence: Some(Duration::from_mins(5)),
            answer_timeout: Duration::from_mins(1),
            backoff: Backoff::default(),
        }
    }
}

impl LogOptions {
    /// Sets [`container`](#structfield.container).
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.container = Some(name.into());
        self
    }

    /// Sets [`timestamps`](#structfield.timestamps).
    #[must_use]
    pub fn timestamps(mut self, timestamps: bool) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// Sets [`tail_lines`](#structfield.tail_lines).
    #[must_use]
    pub fn tail_lines(mut self, lines: i64) -> Self {
        self.tail_lines = Some(lines);
        self
    }

    /// Sets [`since_time`](#structfield.since_time).
    #[must_use]
    pub fn since_time(mut self, time: impl Into<String>) -> Self {
        self.since_time = Some(time.into());
        self
    }

    /// Sets [`silence`](#structfield.silence).
    #[must_use]
    pub fn silence(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.silence = silence.into();
        self
    }

    /// Sets [`answer_timeout`](#structfield.answer_timeout).
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sets [`backoff`](#structfield.backoff).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// What a [`LogFollower`] tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogEvent {
    /// A line, with or without its time as asked.
    Line(LogLine),
    /// The lines that follow are of a container that was started again.
    Restarted {
        /// How often it was so far.
        restarts: u64,
    },
    /// From now on lines are late: why. [`Fresh`](Self::Fresh) ends it; the follower goes on by itself.
    Stale(StaleReason),
    /// The log is followed again.
    Fresh,
    /// There will be no more lines. The last event.
    Ended(LogEnd),
}

/// Why a followed log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEnd {
    /// The container ended and will not be started again.
    Finished {
        /// How, if that is known.
        exit_code: Option<i32>,
    },
    /// The pod is gone.
    Gone,
    /// The pod is gone, and another has its name.
    Replaced,
    /// The pod has no such container.
    NoContainer,
}
