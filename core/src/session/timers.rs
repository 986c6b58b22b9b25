//! The deadlines of a session.

use std::time::{Duration, Instant};

use super::{SessionOptions, Timeout};

/// What a passed deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// End at once or close, by which deadline it is.
    Expired(Timeout),
    /// The status came long ago and the server does not close.
    Linger,
    /// Closing took too long.
    Closed,
}

pub(super) struct Timers {
    ping: Option<Duration>,
    silence: Option<Duration>,
    idle: Option<Duration>,
    close: Duration,
    next_ping: Option<Instant>,
    total: Option<Instant>,
    /// The last byte came.
    received: Instant,
    /// The last data moved.
    moved: Instant,
    lingering: bool,
    closing: Option<Instant>,
}

fn at_least(duration: Duration) -> Duration {
    duration.max(Duration::from_millis(1))
}

impl Timers {
    pub(super) fn new(options: &SessionOptions, now: Instant) -> Self {
        let ping = options.ping_interval.map(at_least);
        let silence = options.pong_timeout.zip(ping);
        let silence = silence.map(|(silence, ping)| silence.max(ping.saturating_mul(2)));
        Self {
            ping,
            silence,
            idle: options.idle_timeout.map(at_least),
            close: at_least(options.close_timeout),
            next_ping: ping.and_then(|ping| now.checked_add(ping)),
            total: options
                .total_timeout
                .and_then(|total| now.checked_add(at_least(total))),
            received: now,
            moved: now,
            lingering: false,
            closing: None,
        }
    }

    pub(super) fn received(&mut self, now: Instant) {
        self.received = self.received.max(now);
    }

    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = self.moved.max(now);
    }

    /// The status came: the server should close soon.
    pub(super) fn linger(&mut self, now: Instant) {
        self.moved(now);
        self.lingering = true;
    }

    /// From now on only this deadline counts.
    pub(super) fn closing(&mut self, now: Instant) {
        if self.closing.is_none() {
            self.closing = now.checked_add(self.close);
        }
    }

    fn pong_due(&self) -> Option<Instant> {
        self.received.checked_add(self.silence?)
    }

    fn idle_due(&self) -> Option<Instant> {
        self.moved.checked_add(self.idle?)
    }

    fn linger_due(&self) -> Option<Instant> {
        self.lingering
            .then(|| self.moved.checked_add(self.close))
            .flatten()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        if self.closing.is_some() {
            return self.closing;
        }
        [
            self.next_ping,
            self.total,
            self.pong_due(),
            self.idle_due(),
            self.linger_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What has to be done now. Asked again after `Nothing` or `Ping`, nothing is due any more.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if self.closing.is_some() {
            return if passed(self.closing) {
                Due::Closed
            } else {
                Due::Nothing
            };
        }
        if passed(self.total) {
            return Due::Expired(Timeout::Total);
        }
        if passed(self.pong_due()) {
            return Due::Expired(Timeout::Pong);
        }
        if passed(self.linger_due()) {
            return Due::Linger;
        }
        if passed(self.idle_due()) {
            return Due::Expired(Timeout::Idle);
        }
        if let (Some(due), Some(interval)) = (self.next_ping, self.ping)
            && due <= now
        {
            self.next_ping = after(due, interval, now);
            return Due::Ping;
        }
        Due::Nothing
    }
}

/// The next beat after `now`: beats that were missed are left out, and the rhythm is kept.
fn after(beat: Instant, interval: Duration, now: Instant) -> Option<Instant> {
    let late = now.duration_since(beat).as_nanos() % interval.as_nanos().max(1);
    let wait = interval.as_nanos() - late;
    now.checked_add(Duration::from_nanos(
        u64::try_from(wait).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn pings_keep_their_rhythm() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let options = SessionOptions::default()
            .ping_interval(Duration::from_millis(100))
            .pong_timeout(None);
        let mut timers = Timers::new(&options, start);
        assert_eq!(timers.next(), Some(at(100)));
        assert_eq!(timers.due(at(99)), Due::Nothing);
        assert_eq!(timers.due(at(130)), Due::Ping);
        assert_eq!(timers.next(), Some(at(200)));
        assert_eq!(timers.due(at(200)), Due::Ping);
        assert_eq!(timers.next(), Some(at(300)));
        assert_eq!(timers.due(at(777)), Due::Ping);
        assert_eq!(timers.due(at(777)), Due::Nothing);
        assert_eq!(timers.next(), Some(at(800)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn no_option_makes_a_busy_loop() {
        let now = Instant::now();
        for extreme in [Duration::ZERO, Duration::MAX] {
            let options = SessionOptions::default()
                .ping_interval(extreme)
                .pong_timeout(extreme)
                .idle_timeout(extreme)
                .total_timeout(extreme)
                .close_timeout(extreme);
            let mut timers = Timers::new(&options, now);
            assert!(timers.next().is_none_or(|next| next > now));
            assert_eq!(timers.due(now), Due::Nothing);
            timers.linger(now);
            assert!(timers.next().is_none_or(|next| next > now));
            timers.closing(now);
            assert!(timers.next().is_none_or(|next| next > now));
        }
    }
}
