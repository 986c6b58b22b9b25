//! Numbers at random, the same in every run: a failure is repeated by its seed.

#![allow(dead_code, reason = "not every test needs everything")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Debug;

use kubewire::policy::Seed;

#[derive(Clone)]
pub(crate) struct Random(Seed);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seed::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Zero if `end` is.
    pub(crate) fn below<N>(&mut self, end: N) -> N
    where
        N: TryInto<u64, Error: Debug> + TryFrom<u64, Error: Debug>,
    {
        let number = self.0.below(end.try_into().unwrap());
        number.try_into().unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
