//! When credentials end, on two clocks.

use std::time::{Duration, Instant, SystemTime};

use crate::policy::Seed;

/// How long before their end credentials are refreshed at the latest.
const AHEAD: Duration = Duration::from_secs(10);
/// Lives from here on are refreshed at 80 to 90 per cent.
const LONG: Duration = Duration::from_secs(100);

/// An instant on both clocks; the one that reaches it first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Deadline {
    now: Option<Instant>,
    wall: Option<SystemTime>,
}

impl Deadline {
    fn after(time: Duration, now: Instant, wall: SystemTime) -> Self {
        Self {
            now: now.checked_add(time),
            wall: wall.checked_add(time),
        }
    }

    fn reached(&self, now: Instant, wall: SystemTime) -> bool {
        self.now.is_some_and(|deadline| now >= deadline)
            || self.wall.is_some_and(|deadline| wall >= deadline)
    }
}

/// How long credentials live. By default for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    refresh: Deadline,
    end: Deadline,
}

/// What the source of credentials says about their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    Never,
    At(SystemTime),
    In(Duration),
}

impl Life {
    pub(super) fn new(expires: Expires, now: Instant, wall: SystemTime, seed: &mut Seed) -> Self {
        match expires {
            Expires::Never => Self::default(),
            Expires::In(time) => {
                let end = Deadline::after(time, now, wall);
                Self { refresh: end, end }
            }
            Expires::At(at) => {
                let left = at.duration_since(wall).unwrap_or_default();
                if left < AHEAD {
                    return Self::new(Expires::In(AHEAD), now, wall, seed);
                }
                let refresh = if left >= LONG {
                    let early = left / 5 * 4;
                    early + seed.jitter(left / 10, 100).saturating_sub(left / 10)
                } else {
                    left.saturating_sub(AHEAD).max(left / 2)
                };
                Self {
                    refresh: Deadline::after(refresh, now, wall),
                    end: Deadline {
                        now: now.checked_add(left),
                        wall: Some(at),
                    },
                }
            }
        }
    }

    /// Whether it is time for a refresh.
    pub(super) fn is_due(&self, now: Instant, wall: SystemTime) -> bool {
        self.refresh.reached(now, wall)
    }

    pub(super) fn is_over(&self, now: Instant, wall: SystemTime) -> bool {
        self.end.reached(now, wall)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn refresh_comes_before_the_end() {
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND;
        for (seconds, earliest, latest) in [
            (10, 5, 5),
            (12, 6, 6),
            (20, 10, 10),
            (60, 50, 50),
            (99, 89, 89),
            (100, 80, 90),
            (3600, 2880, 3240),
        ] {
            for seed in 0..50 {
                let expires = Expires::At(wall + seconds * SECOND);
                let life = Life::new(expires, now, wall, &mut Seed::new(seed));
                let at = |seconds: u32| (now + seconds * SECOND, wall + seconds * SECOND);
                let due = |(now, wall)| life.is_due(now, wall);
                assert!(!due(at(earliest - 1)) && due(at(latest)), "{seconds}");
                let (before, after) = (at(seconds - 1), at(seconds));
                assert!(!life.is_over(before.0, before.1) && life.is_over(after.0, after.1));
            }
        }
    }

    #[test]
    fn either_clock_ends_a_life() {
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND;
        let life = Life::new(
            Expires::At(wall + 60 * SECOND),
            now,
            wall,
            &mut Seed::new(1),
        );
        // The laptop slept: only the wall clock went on.
        assert!(life.is_over(now, wall + 60 * SECOND));
        // The wall clock was set back.
        assert!(life.is_over(now + 60 * SECOND, wall - 3600 * SECOND));
        assert!(!life.is_over(now + 59 * SECOND, wall - 3600 * SECOND));
    }

    #[test]
    fn what_comes_expired_is_used_for_a_while() {
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND;
        for at in [
            SystemTime::UNIX_EPOCH,
            wall - SECOND,
            wall,
            wall + 9 * SECOND,
        ] {
            let life = Life::new(Expires::At(at), now, wall, &mut Seed::new(1));
            assert!(!life.is_over(now + 9 * SECOND, wall + 9 * SECOND));
            assert!(life.is_over(now + 10 * SECOND, wall));
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let now = Instant::now();
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        for wall in [SystemTime::UNIX_EPOCH, far] {
            for at in [SystemTime::UNIX_EPOCH, far] {
                let life = Life::new(Expires::At(at), now, wall, &mut Seed::new(1));
                assert!(!life.is_over(now, wall));
            }
        }
        let life = Life::new(Expires::Never, now, far, &mut Seed::new(1));
        assert!(!life.is_due(now, far) && !life.is_over(now, far));
    }
}
