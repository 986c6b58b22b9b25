//! Waiting longer each time.

use std::time::{Duration, Instant};

use super::Seed;

/// How long to leave alone what failed: longer each time, up to a cap, and short again after a quiet
/// time.
///
/// A single success resets nothing. What works for a moment and fails again (a watch that is accepted
/// and closed at once) has to be slowed down as well, so only time without a failure counts: it begins
/// when the last delay ends. [`reset`](Self::reset) is for whoever knows better.
///
/// The default is what client-go's reflectors do: 800 ms, doubled up to 30 s, each made longer by up to
/// 100 %, reset after 2 min.
///
/// ```
/// use std::time::{Duration, Instant};
/// use kubewire::policy::{Backoff, Seed};
///
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).jitter(0);
/// let mut seed = Seed::new(1);
/// let mut now = Instant::now();
/// let mut delays = Vec::new();
/// for _ in 0..4 {
///     let delay = backoff.handle_failure(now, &mut seed);
///     delays.push(delay.as_secs());
///     now += delay;
/// }
/// assert_eq!(delays, [1, 2, 4, 5]);
///
/// now += Duration::from_secs(300);
/// assert_eq!(backoff.handle_failure(now, &mut seed).as_secs(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    factor: u32,
    jitter: u32,
    quiet: Duration,
    failures: u32,
    base: Duration,
    /// When the last delay ends.
    ends: Option<Instant>,
}

impl Backoff {
    /// Delays from `first` to `cap`, doubled each time, made longer by up to 100 %, and reset after a
    /// quiet time of four times `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first: first.min(cap),
            cap,
            factor: 2,
            jitter: 100,
            quiet: cap.saturating_mul(4),
            failures: 0,
            base: Duration::ZERO,
            ends: None,
        }
    }

    /// Sets what a delay is multiplied with each time; 1 keeps it, 0 counts as 1.
    #[must_use]
    pub fn factor(mut self, factor: u32) -> Self {
        self.factor = factor.max(1);
        self
    }

    /// Sets by how much of itself a delay is made longer at most, in percent. The cap is applied
    /// before.
    #[must_use]
    pub fn jitter(mut self, percent: u32) -> Self {
        self.jitter = percent;
        self
    }

    /// Sets for how long nothing has to fail, from the end of the last delay on, to begin anew.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use kubewire::policy::{Backoff, Seed};
    /// let second = Duration::from_secs(1);
    /// let mut backoff = Backoff::default().jitter(0).reset_after(second);
    /// let (now, mut seed) = (Instant::now(), Seed::new(1));
    /// let first = backoff.handle_failure(now, &mut seed);
    /// assert_eq!(backoff.handle_failure(now + first + second, &mut seed), first);
    /// ```
    #[must_use]
    pub fn reset_after(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Something failed now: how long to wait.
    pub fn handle_failure(&mut self, now: Instant, seed: &mut Seed) -> Duration {
        if let Some(ends) = self.ends
            && now
                .checked_duration_since(ends)
                .is_some_and(|quiet| quiet >= self.quiet)
        {
            self.reset();
        }
        self.base = if self.failures == 0 {
            self.first
        } else {
            self.base.saturating_mul(self.factor).min(self.cap)
        };
        self.failures = self.failures.saturating_add(1);
        let delay = seed.jitter(self.base, self.jitter);
        self.ends = now.checked_add(delay);
        delay
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.ends = None;
    }

    /// Failures since the last quiet time.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(800), Duration::from_secs(30))
            .reset_after(Duration::from_mins(2))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_good_moment_does_not_reset() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND).jitter(0);
        let mut seed = Seed::new(1);
        let mut now = Instant::now();
        // It works for ten seconds between failures, each time.
        let delays: Vec<_> = (0..8)
            .map(|_| {
                let delay = backoff.handle_failure(now, &mut seed);
                now += delay + 10 * SECOND;
                delay.as_secs()
            })
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failures(), 8);
        now += 230 * SECOND;
        assert_eq!(backoff.handle_failure(now, &mut seed), SECOND);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn the_quiet_time_begins_when_the_delay_ends() {
        let mut backoff = Backoff::new(100 * SECOND, 100 * SECOND)
            .jitter(0)
            .factor(0)
            .reset_after(10 * SECOND);
        let mut seed = Seed::new(1);
        let now = Instant::now();
        backoff.handle_failure(now, &mut seed);
        backoff.handle_failure(now + 109 * SECOND, &mut seed);
        assert_eq!(backoff.failures(), 2);
        backoff.handle_failure(now + 219 * SECOND, &mut seed);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut seed = Seed::new(1);
        let now = Instant::now();
        for mut backoff in [
            Backoff::new(Duration::MAX, Duration::MAX).jitter(u32::MAX),
            Backoff::new(SECOND, Duration::MAX).factor(u32::MAX),
            Backoff::new(Duration::ZERO, Duration::ZERO).reset_after(SECOND),
            Backoff::new(10 * SECOND, SECOND),
        ] {
            for _ in 0..100 {
                backoff.handle_failure(now, &mut seed);
            }
            assert_eq!(backoff.failures(), 100);
        }
    }
}
