//! How long to wait after something went wrong.

use std::time::{Duration, Instant};

/// When to try again after failures.
///
/// The n-th failure in a row waits between half of and the whole of `first × 2ⁿ⁻¹`, at most `cap`: the
/// random part keeps clients apart that were disconnected together. The row ends, and the next failure counts as
/// the first, only after `quiet` without a failure: a single event that gets through proves nothing.
///
/// ```
/// use std::time::Duration;
/// let backoff = kubewire::reflect::Backoff::default();
/// assert_eq!((backoff.first, backoff.cap), (Duration::from_millis(800), Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest first wait. Default 800 ms.
    pub first: Duration,
    /// The longest wait. Default 30 s.
    pub cap: Duration,
    /// How long nothing may fail before the row of failures ends. Default 2 min.
    pub quiet: Duration,
    /// The longest `Retry-After` that is obeyed. Default 5 min.
    pub max_retry_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(800),
            cap: Duration::from_secs(30),
            quiet: Duration::from_mins(2),
            max_retry_after: Duration::from_mins(5),
        }
    }
}

impl Backoff {
    /// Sets [`first`](#structfield.first).
    #[must_use]
    pub fn first(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// Sets [`cap`](#structfield.cap).
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets [`quiet`](#structfield.quiet).
    #[must_use]
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Sets [`max_retry_after`](#structfield.max_retry_after).
    #[must_use]
    pub fn max_retry_after(mut self, longest: Duration) -> Self {
        self.max_retry_after = longest;
        self
    }
}

/// As good as never, which the clocks of all systems can still tell.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

/// When a time is over, however long it is.
pub(crate) fn after(from: Instant, time: Duration) -> Instant {
    from + time.min(NEVER)
}

/// A small generator (`SplitMix64`): jitter needs no secrets, but every client another seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Any duration up to `most`, to the millisecond.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.next() % (millis + 1))
    }
}

/// A row of failures.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) policy: Backoff,
    pub(crate) rng: Rng,
    failures: u32,
    /// When the wait after the last failure was, or will be, over.
    last: Option<Instant>,
}

impl Row {
    pub(crate) fn new(policy: Backoff, seed: u64) -> Self {
        Self {
            policy,
            rng: Rng::new(seed),
            failures: 0,
            last: None,
        }
    }

    /// Counts a failure; when to try again. The wait is counted from `from`: the start of what failed, if it lasted a
    /// while and nothing speaks against the server, else now. The first in a row is `free` if the caller says so.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        from: Instant,
        free: bool,
        retry_after: Option<Duration>,
    ) -> Instant {
        if self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.policy.quiet)
        {
            self.failures = 0;
        }
        let asked = retry_after.map(|asked| {
            let asked = asked.min(self.policy.max_retry_after);
            asked.saturating_add(self.rng.up_to(asked / 4))
        });
        let at = if free && self.failures == 0 && asked.is_none() {
            now
        } else {
            let doublings = self.failures.saturating_sub(u32::from(free)).min(16);
            let most = self
                .policy
                .first
                .saturating_mul(1 << doublings)
                .min(self.policy.cap);
            let own = after(from, most / 2 + self.rng.up_to(most / 2));
            own.max(after(now, asked.unwrap_or_default()))
        };
        self.failures = self.failures.saturating_add(1);
        self.last = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn waits_double_up_to_the_cap_and_stay_apart() {
        let now = start();
        let waits = |seed| {
            let mut row = Row::new(Backoff::default(), seed);
            let mut at = now;
            (0..10)
                .map(|_| {
                    let next = row.failed(at, at, false, None);
                    let wait = next - at;
                    at = next;
                    wait.as_millis()
                })
                .collect::<Vec<_>>()
        };
        let (a, b) = (waits(1), waits(2));
        assert_ne!(a, b);
        let mut most = 800;
        for wait in a {
            assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
            most = (most * 2).min(30_000);
        }
    }

    #[test]
    fn only_quiet_ends_a_row() {
        let now = start();
        let mut row = Row::new(Backoff::default(), 1);
        assert_eq!(row.failed(now, now, true, None), now);
        let late = now + Duration::from_secs(119);
        assert!(row.failed(late, late, true, None) > late);
        let later = late + Duration::from_secs(200);
        assert_eq!(row.failed(later, later, true, None), later);
    }

    #[test]
    fn the_server_is_obeyed_within_reason() {
        let now = start();
        let mut row = Row::new(Backoff::default(), 1);
        let wait = row.failed(now, now, true, Some(Duration::from_mins(1))) - now;
        assert!((60..=75).contains(&wait.as_secs()), "{wait:?}");
        let wait = row.failed(now, now, true, Some(Duration::from_secs(99_999))) - now;
        assert!((300..=375).contains(&wait.as_secs()), "{wait:?}");
    }
}
