//! Random numbers for jitter.

use std::fmt;
use std::time::Duration;

/// A small generator of random numbers: the same seed gives the same numbers.
///
/// It spreads clients over time after an outage, and nothing more: whoever sees some of the numbers can
/// compute the others. Keys, nonces and WebSocket masks have to come from elsewhere. The algorithm is
/// `SplitMix64`: one addition and three multiply-and-shift steps, a period of 2⁶⁴, no bad seeds.
///
/// Take the seed from the operating system, once for each client: a seed made of the time is the same
/// in all clients that an outage has restarted together.
///
/// ```
/// use std::time::Duration;
/// use kubewire::policy::Seed;
///
/// let (mut a, mut b) = (Seed::new(7), Seed::new(7));
/// assert_eq!(a.next_u64(), b.next_u64());
///
/// let second = Duration::from_secs(1);
/// let delay = a.jitter(second, 50);
/// assert!(delay >= second && delay < second.mul_f64(1.5));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A generator that begins at `seed`. Any number will do.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    ///
    /// ```
    /// # use kubewire::policy::Seed;
    /// let mut seed = Seed::new(1);
    /// assert!((0..100).all(|_| seed.below(6) < 6));
    /// assert_eq!(seed.below(0), 0);
    /// ```
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// `base`, made longer by less than `percent` of it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kubewire::policy::Seed;
    /// let base = Duration::from_secs(3);
    /// assert_eq!(Seed::new(1).jitter(base, 0), base);
    /// ```
    pub fn jitter(&mut self, base: Duration, percent: u32) -> Duration {
        let range = base.saturating_mul(percent) / 100;
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        base.saturating_add(Duration::from_nanos(self.below(range)))
    }

    /// A generator of its own for another machine.
    ///
    /// ```
    /// # use kubewire::policy::Seed;
    /// let mut seed = Seed::new(1);
    /// assert_ne!(seed.fork().next_u64(), seed.fork().next_u64());
    /// ```
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The published first outputs for the seed 1234567.
        let mut seed = Seed::new(1_234_567);
        let numbers: Vec<_> = (0..5).map(|_| seed.next_u64()).collect();
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn jitter_is_spread_and_bounded() {
        let mut seed = Seed::new(1);
        let base = Duration::from_millis(100);
        let mut buckets = [0_u32; 10];
        for _ in 0..10_000 {
            let more = seed.jitter(base, 100).checked_sub(base).unwrap();
            buckets[usize::try_from(more.as_millis() / 10).unwrap()] += 1;
        }
        assert!(
            buckets.iter().all(|&n| (800..1200).contains(&n)),
            "{buckets:?}"
        );
        assert_eq!(seed.jitter(Duration::ZERO, 100), Duration::ZERO);
        assert_eq!(seed.jitter(Duration::MAX, 100), Duration::MAX);
        assert_eq!(seed.jitter(base, 0), base);
    }
}
