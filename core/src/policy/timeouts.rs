//! Which deadline applies when.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind, Verb};

/// A part of a call that may take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Finding the server's address, connecting, and talking a proxy into it.
    Dial,
    /// The TLS handshake.
    Tls,
    /// From the end of the handshakes, or from a pooled connection, to the head of the answer. Writing
    /// the request is a part of it.
    Head,
    /// From one piece of the body to the next.
    Idle,
    /// The whole call, with all its attempts.
    Total,
}

impl Phase {
    /// What took too long, as an error of [`ErrorKind::Timeout`].
    ///
    /// ```
    /// use kubewire::policy::Phase;
    /// assert_eq!(Phase::Dial.error().to_string(), "connecting took too long");
    /// ```
    #[must_use]
    pub fn error(self) -> Error {
        Error::new(
            ErrorKind::Timeout,
            match self {
                Self::Dial => "connecting took too long",
                Self::Tls => "the TLS handshake took too long",
                Self::Head => "the server's answer took too long",
                Self::Idle => "the server stopped sending",
                Self::Total => "the call took too long",
            },
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial => "dial",
            Self::Tls => "tls",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Total => "total",
        })
    }
}

/// What one call says about one phase.
///
/// ```
/// use std::time::Duration;
/// use kubewire::policy::Timeout;
/// let second = Duration::from_secs(1);
/// assert_eq!(Timeout::from(second), Timeout::After(second));
/// assert_eq!(Timeout::default(), Timeout::Inherit);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// What the client says.
    #[default]
    Inherit,
    /// No limit, whatever the client says.
    None,
    /// This much, whatever the client says.
    After(Duration),
}

impl Timeout {
    fn or(self, inherited: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Inherit => inherited,
            Self::None => None,
            Self::After(time) => Some(time),
        }
    }
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Self {
        Self::After(time)
    }
}

/// What one call says about its time. What it does not mention, it inherits from the client.
///
/// ```
/// use std::time::Duration;
/// use kubewire::policy::{CallTimeouts, Timeout};
///
/// let mut quick = CallTimeouts::total(Duration::from_secs(2));
/// quick.idle = Timeout::None;
/// assert_eq!(quick.dial, Timeout::Inherit);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTimeouts {
    /// For connecting.
    pub dial: Timeout,
    /// For the TLS handshake.
    pub tls: Timeout,
    /// For the head of the answer.
    pub head: Timeout,
    /// For the next piece of the body.
    pub idle: Timeout,
    /// For everything.
    pub total: Timeout,
}

impl CallTimeouts {
    /// A limit for the whole call.
    #[must_use]
    pub fn total(time: Duration) -> Self {
        Self {
            total: Timeout::After(time),
            ..Self::default()
        }
    }

    /// No limit at all.
    ///
    /// ```
    /// use kubewire::Verb;
    /// use kubewire::policy::{CallTimeouts, Duty, Timeouts};
    /// let times = Timeouts::default().of(&CallTimeouts::none(), Duty::Answer);
    /// assert_eq!(times, Timeouts::none());
    /// ```
    #[must_use]
    pub fn none() -> Self {
        Self {
            dial: Timeout::None,
            tls: Timeout::None,
            head: Timeout::None,
            idle: Timeout::None,
            total: Timeout::None,
        }
    }
}

/// What a call is there for, which tells whether silence is a fault.
///
/// ```
/// use kubewire::Verb;
/// use kubewire::policy::Duty;
/// assert_eq!(Duty::from(Verb::Watch), Duty::Follow);
/// assert_eq!(Duty::from(Verb::Delete), Duty::Answer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// An answer that has an end.
    Answer,
    /// A watch or a followed log: it may be silent as long as it likes, even before its head, and has no end.
    Follow,
    /// An upgrade: it has to be answered soon. What comes after has deadlines of its own, in the
    /// options of the session.
    Session,
}

impl From<Verb> for Duty {
    fn from(verb: Verb) -> Self {
        if verb.is_long_running() {
            Self::Follow
        } else {
            Self::Answer
        }
    }
}

/// How long to wait for what; none is for ever. The client's, or those of one call after
/// [`of`](Self::of).
///
/// | phase | default | [`Answer`](Duty::Answer) | [`Follow`](Duty::Follow) | [`Session`](Duty::Session) |
/// |---|---|---|---|---|
/// | dial | 30 s | client's | client's | client's |
/// | tls | 10 s | client's | client's | client's |
/// | head | 90 s: API servers give up after 60 | client's | none | client's |
/// | idle | 90 s | client's | none | none |
/// | total | none | client's | none | client's, until it is open |
///
/// So no setting of a client cuts off a watch, a log or a session. What the call itself sets
/// counts everywhere, except idle for a session.
///
/// ```
/// use std::time::Duration;
/// use kubewire::Verb;
/// use kubewire::policy::{CallTimeouts, Timeouts};
///
/// let client = Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() };
/// let list = client.of(&CallTimeouts::default(), Verb::List.into());
/// assert_eq!(list.total, Some(Duration::from_secs(5)));
/// let watch = client.of(&CallTimeouts::default(), Verb::Watch.into());
/// assert_eq!((watch.head, watch.idle, watch.total), (None, None, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For connecting.
    pub dial: Option<Duration>,
    /// For the TLS handshake.
    pub tls: Option<Duration>,
    /// For the head of the answer.
    pub head: Option<Duration>,
    /// For the next piece of the body.
    pub idle: Option<Duration>,
    /// For everything.
    pub total: Option<Duration>,
}

impl Timeouts {
    /// No limit at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            dial: None,
            tls: None,
            head: None,
            idle: None,
            total: None,
        }
    }

    /// Those of one call of this client, by the table above.
    #[must_use]
    pub fn of(&self, call: &CallTimeouts, duty: Duty) -> Self {
        let (head, idle, total) = match duty {
            Duty::Answer => (self.head, self.idle, self.total),
            Duty::Follow => (None, None, None),
            Duty::Session => (self.head, None, self.total),
        };
        Self {
            dial: call.dial.or(self.dial),
            tls: call.tls.or(self.tls),
            head: call.head.or(head),
            idle: match duty {
                Duty::Answer | Duty::Follow => call.idle.or(idle),
                Duty::Session => None,
            },
            total: call.total.or(total),
        }
    }

    fn phase(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Dial => self.dial,
            Phase::Tls => self.tls,
            Phase::Head => self.head,
            Phase::Idle => self.idle,
            Phase::Total => self.total,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            dial: Some(seconds(30)),
            tls: Some(seconds(10)),
            head: Some(seconds(90)),
            idle: Some(seconds(90)),
            total: None,
        }
    }
}

/// The deadlines of one call, with all its attempts.
///
/// Tell it when a phase [begins](Self::handle_phase) and, while a body comes, of each
/// [piece](Self::handle_progress). Wait no longer than [`poll_timeout`](Self::poll_timeout); when that
/// has passed, ask [`expired`](Self::expired). While nothing is expected of anybody, between two
/// attempts or while the consumer of a stream takes its time, [`handle_pause`](Self::handle_pause)
/// leaves only the total running.
///
/// ```
/// use std::time::{Duration, Instant};
/// use kubewire::policy::{Deadlines, Phase, Timeouts};
///
/// let (now, second) = (Instant::now(), Duration::from_secs(1));
/// let times = Timeouts { total: Some(60 * second), ..Timeouts::default() };
/// let mut deadlines = Deadlines::new(times, now);
/// deadlines.handle_phase(Phase::Dial, now);
/// assert_eq!(deadlines.poll_timeout(), Some(now + 30 * second));
///
/// deadlines.handle_phase(Phase::Head, now + second);
/// assert_eq!(deadlines.poll_timeout(), Some(now + 60 * second));
/// assert_eq!(deadlines.expired(now + 59 * second), None);
/// assert_eq!(deadlines.expired(now + 60 * second), Some(Phase::Total));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    times: Timeouts,
    total: Option<Instant>,
    phase: Option<(Phase, Option<Instant>)>,
}

impl Deadlines {
    /// A call that begins now.
    #[must_use]
    pub fn new(times: Timeouts, now: Instant) -> Self {
        Self {
            times,
            total: times.total.and_then(|time| now.checked_add(time)),
            phase: None,
        }
    }

    /// A phase begins, and the one before is over. [`Phase::Total`] has begun already and changes nothing.
    pub fn handle_phase(&mut self, phase: Phase, now: Instant) {
        if phase != Phase::Total {
            let time = self.times.phase(phase);
            self.phase = Some((phase, time.and_then(|time| now.checked_add(time))));
        }
    }

    /// A piece of the body came. In other phases this changes nothing: a head that trickles in has to
    /// be complete in time.
    pub fn handle_progress(&mut self, now: Instant) {
        if let Some((Phase::Idle, _)) = self.phase {
            self.handle_phase(Phase::Idle, now);
        }
    }

    /// No phase is running.
    pub fn handle_pause(&mut self) {
        self.phase = None;
    }

    /// The phase that is running.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase.map(|(phase, _)| phase)
    }

    /// The instant until which to wait at most.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = self.phase.and_then(|(_, deadline)| deadline);
        match (phase, self.total) {
            (Some(phase), Some(total)) => Some(phase.min(total)),
            (one, other) => one.or(other),
        }
    }

    /// What has taken too long, the total before the phase. See [`Phase::error`].
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<Phase> {
        if self.total.is_some_and(|total| now >= total) {
            return Some(Phase::Total);
        }
        let (phase, deadline) = self.phase?;
        (now >= deadline?).then_some(phase)
    }

    /// When the call is over by its total, if it has one: an attempt after that is of no use.
    #[must_use]
    pub fn end(&self) -> Option<Instant> {
        self.total
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_call_inherits_removes_and_sets() {
        let client = Timeouts {
            total: Some(300 * SECOND),
            ..Timeouts::default()
        };
        let field = |times: &Timeouts, phase| times.phase(phase);
        for duty in [Duty::Answer, Duty::Follow, Duty::Session] {
            for phase in [
                Phase::Dial,
                Phase::Tls,
                Phase::Head,
                Phase::Idle,
                Phase::Total,
            ] {
                let with = |timeout| {
                    let mut call = CallTimeouts::default();
                    match phase {
                        Phase::Dial => call.dial = timeout,
                        Phase::Tls => call.tls = timeout,
                        Phase::Head => call.head = timeout,
                        Phase::Idle => call.idle = timeout,
                        Phase::Total => call.total = timeout,
                    }
                    field(&client.of(&call, duty), phase)
                };
                let inherits = match (duty, phase) {
                    (Duty::Follow, Phase::Head | Phase::Idle | Phase::Total)
                    | (Duty::Session, Phase::Idle) => None,
                    _ => field(&client, phase),
                };
                assert_eq!(with(Timeout::Inherit), inherits, "{duty:?} {phase}");
                assert_eq!(with(Timeout::None), None, "{duty:?} {phase}");
                let sets = (duty, phase) != (Duty::Session, Phase::Idle);
                assert_eq!(
                    with(SECOND.into()),
                    sets.then_some(SECOND),
                    "{duty:?} {phase}"
                );
            }
        }
    }

    #[test]
    fn by_default_nothing_cuts_off_what_is_long() {
        let start = Instant::now();
        for duty in [Duty::Follow, Duty::Session] {
            let times = Timeouts::default().of(&CallTimeouts::default(), duty);
            let mut deadlines = Deadlines::new(times, start);
            deadlines.handle_phase(Phase::Idle, start);
            assert_eq!(deadlines.poll_timeout(), None, "{duty:?}");
            assert_eq!(deadlines.expired(start + 1_000_000 * SECOND), None);
        }
    }

    #[test]
    fn bytes_move_only_the_idle_deadline() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(Timeouts::default(), start);
        for (phase, seconds) in [(Phase::Dial, 30), (Phase::Tls, 10), (Phase::Head, 90)] {
            deadlines.handle_phase(phase, start);
            deadlines.handle_progress(start + 5 * SECOND);
            assert_eq!(deadlines.poll_timeout(), Some(start + seconds * SECOND));
            assert_eq!(deadlines.expired(start + seconds * SECOND), Some(phase));
        }
        deadlines.handle_phase(Phase::Idle, start);
        deadlines.handle_progress(start + 5 * SECOND);
        assert_eq!(deadlines.poll_timeout(), Some(start + 95 * SECOND));
        deadlines.handle_phase(Phase::Total, start);
        assert_eq!(deadlines.phase(), Some(Phase::Idle));
        deadlines.handle_pause();
        assert_eq!(deadlines.poll_timeout(), None);
    }

    #[test]
    fn endless_times_do_not_overflow() {
        let start = Instant::now();
        let mut times = Timeouts::none();
        times.total = Some(Duration::MAX);
        times.head = Some(Duration::MAX);
        let mut deadlines = Deadlines::new(times, start);
        deadlines.handle_phase(Phase::Head, start);
        assert_eq!(deadlines.poll_timeout(), None);
    }
}
