//! Whether to send a request again.

use std::time::Duration;

use http::StatusCode;

use super::{Phase, Repeat, Seed};
use crate::{Error, ErrorKind};

/// What to do after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Report the failure.
    GiveUp,
    /// Send the request again after this time.
    After(Duration),
}

/// The attempt that failed.
///
/// A request that came back from a pooled connection that had gone stale is no attempt: take another
/// connection at once and do not count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// How long ago the first one began.
    pub elapsed: Duration,
    /// Whether the server may have seen any of the request. Only a transport that gave the whole
    /// request back knows that it has not.
    pub sent: bool,
}

/// How an attempt failed, before any of its answer was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered.
    Answered {
        /// The status code.
        code: StatusCode,
        /// How long it asked to wait: [`Error::retry_after`].
        retry_after: Option<Duration>,
    },
    /// The transport failed.
    Failed(Fault),
    /// A deadline passed.
    TimedOut(Phase),
}

/// How a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// There was no connection: the name, the route, a refused port, an end in the middle of a
    /// handshake. Another attempt may find a server.
    Connect,
    /// Somebody is there and will not do: a certificate that is not trusted, a proxy that refuses. Another
    /// attempt would meet the same.
    Refused,
    /// An established connection broke.
    Broken,
}

impl Outcome {
    /// What an error means for the decision; none for errors after which no attempt can help.
    ///
    /// [`ErrorKind::Transport`] is taken for [`Fault::Broken`], and [`ErrorKind::Timeout`] for that of
    /// [`Phase::Head`]. A driver that knows better, because it was dialing or the total time is over, says so
    /// itself.
    ///
    /// ```
    /// use kubewire::{Error, ErrorKind};
    /// use kubewire::policy::{Fault, Outcome};
    ///
    /// let broken = Outcome::of(&Error::new(ErrorKind::Transport, "reset"));
    /// assert_eq!(broken, Some(Outcome::Failed(Fault::Broken)));
    /// assert_eq!(Outcome::of(&Error::new(ErrorKind::Usage, "no")), None);
    /// ```
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::Api => Some(Self::Answered {
                code: error.code()?,
                retry_after: error.retry_after(),
            }),
            ErrorKind::Transport | ErrorKind::Truncated => Some(Self::Failed(Fault::Broken)),
            ErrorKind::Timeout => Some(Self::TimedOut(Phase::Head)),
            ErrorKind::Usage
            | ErrorKind::Peer
            | ErrorKind::Object
            | ErrorKind::Limit
            | ErrorKind::Config
            | ErrorKind::Credentials
            | ErrorKind::Closed => None,
        }
    }
}

/// When to send a request again, and when to leave it.
///
/// Ask [`decide`](Self::decide) after an attempt that failed, with the outcome; carry the answer out. A
/// call that succeeds never gets here.
///
/// # What is repeated
///
/// | outcome | [`Freely`](Repeat::Freely) | [`Guarded`](Repeat::Guarded) | [`Once`](Repeat::Once) |
/// |---|---|---|---|
/// | 429 with `Retry-After` | yes | yes | yes |
/// | 429 without | yes | no | no |
/// | 502, 503, 504 | yes | yes | no |
/// | another 5xx with `Retry-After` | yes | yes | no |
/// | another answer | no | no | no |
/// | no connection, or nothing sent | yes | yes | yes |
/// | the connection broke later | yes | yes | no |
/// | no head or no bytes in time | yes | yes | no |
/// | a peer that refuses; the call's total time | no | no | no |
///
/// The reasons, which are facts of API servers:
///
/// - 429 with `Retry-After` comes from filters before the request is looked at (flow control, a full
///   server, one that shuts down), from a watch cache that is not ready, or from an eviction whose
///   disruption budget is still being computed. In none of these cases has anything been done, so even
///   a create is safe.
/// - 429 without `Retry-After` is an eviction that the budget forbids. When that changes nobody
///   knows, so it is for the caller. A read only meets it at a gateway.
/// - 503 with `Retry-After` mostly means a server that starts, but a gateway in between may send it for
///   a request that it has passed on. 504 is also the server's own: the handler took more than a minute
///   and **may still finish**. So a write has to be guarded for either.
/// - client-go repeats any verb on any 5xx with `Retry-After`, which can create an object twice.
///
/// # How long
///
/// `Retry-After` counts, up to [`max_retry_after`](Self::max_retry_after); without it the delays grow
/// from [`first`](Self::first) to [`cap`](Self::cap), doubled each time. Either is made longer by up to
/// 50 %. An attempt that could not begin within [`total`](Self::total) is not waited for. Since
/// servers need a minute to say 504, that rarely leads to a second minute.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use kubewire::policy::{Attempt, Decision, Outcome, Repeat, Retry, Seed};
///
/// let retry = Retry::default();
/// let first = Attempt { number: 1, elapsed: Duration::ZERO, sent: true };
/// let busy = Outcome::Answered {
///     code: StatusCode::TOO_MANY_REQUESTS,
///     retry_after: Some(Duration::from_secs(1)),
/// };
/// let Decision::After(delay) = retry.decide(Repeat::Once, first, busy, &mut Seed::new(1)) else {
///     panic!("nothing was carried out");
/// };
/// assert!(delay >= Duration::from_secs(1));
///
/// let late = Outcome::Answered { code: StatusCode::GATEWAY_TIMEOUT, retry_after: None };
/// assert_eq!(retry.decide(Repeat::Once, first, late, &mut Seed::new(1)), Decision::GiveUp);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first one included. Default 5.
    pub attempts: u32,
    /// How long after the first attempt began another may begin. Default 60 s.
    pub total: Duration,
    /// The longest `Retry-After` that is waited for; a longer one counts as this. Default 30 s.
    pub max_retry_after: Duration,
    /// The first delay without `Retry-After`. Default 200 ms.
    pub first: Duration,
    /// The longest delay without `Retry-After`. Default 10 s.
    pub cap: Duration,
}

/// By how much a delay is made longer at most, in percent.
const JITTER: u32 = 50;

impl Retry {
    /// Never again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kubewire::policy::{Attempt, Decision, Fault, Outcome, Repeat, Retry, Seed};
    /// let first = Attempt { number: 1, elapsed: Duration::ZERO, sent: false };
    /// let failed = Outcome::Failed(Fault::Connect);
    /// let decision = Retry::never().decide(Repeat::Freely, first, failed, &mut Seed::new(1));
    /// assert_eq!(decision, Decision::GiveUp);
    /// ```
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// What to do after an attempt that failed.
    pub fn decide(
        &self,
        repeat: Repeat,
        attempt: Attempt,
        outcome: Outcome,
        seed: &mut Seed,
    ) -> Decision {
        if attempt.number >= self.attempts || !is_safe(repeat, attempt, outcome) {
            return Decision::GiveUp;
        }
        let asked = match outcome {
            Outcome::Answered { retry_after, .. } => retry_after,
            Outcome::Failed(_) | Outcome::TimedOut(_) => None,
        };
        let base = match asked {
            Some(asked) => asked.min(self.max_retry_after),
            None => self.own_delay(attempt.number),
        };
        let delay = seed.jitter(base, JITTER);
        if attempt.elapsed.saturating_add(delay) > self.total {
            return Decision::GiveUp;
        }
        Decision::After(delay)
    }

    fn own_delay(&self, number: u32) -> Duration {
        let doublings = number.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            total: Duration::from_mins(1),
            max_retry_after: Duration::from_secs(30),
            first: Duration::from_millis(200),
            cap: Duration::from_secs(10),
        }
    }
}

fn is_safe(repeat: Repeat, attempt: Attempt, outcome: Outcome) -> bool {
    let twice = match repeat {
        Repeat::Freely | Repeat::Guarded => true,
        Repeat::Once | Repeat::Upgrade => false,
    };
    match outcome {
        Outcome::Answered { code, retry_after } => {
            if code == StatusCode::TOO_MANY_REQUESTS {
                retry_after.is_some() || repeat == Repeat::Freely
            } else if code == StatusCode::SERVICE_UNAVAILABLE && repeat == Repeat::Upgrade {
                retry_after.is_some()
            } else {
                let passing = retry_after.is_some() && code.is_server_error()
                    || matches!(code.as_u16(), 502..=504);
                passing && twice
            }
        }
        Outcome::Failed(Fault::Refused) | Outcome::TimedOut(Phase::Total) => false,
        Outcome::Failed(Fault::Connect) | Outcome::TimedOut(Phase::Dial | Phase::Tls) => true,
        Outcome::Failed(Fault::Broken) | Outcome::TimedOut(Phase::Head | Phase::Idle) => {
            !attempt.sent || twice
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(retry_after: Option<Duration>) -> Outcome {
        Outcome::Answered {
            code: StatusCode::TOO_MANY_REQUESTS,
            retry_after,
        }
    }

    fn attempt(number: u32, elapsed: Duration) -> Attempt {
        Attempt {
            number,
            elapsed,
            sent: true,
        }
    }

    #[test]
    fn retry_after_is_a_lower_bound_up_to_the_cap() {
        let retry = Retry::default();
        let mut seed = Seed::new(3);
        for (asked, at_least) in [(0, 0), (1, 1), (5, 5), (30, 30), (31, 30), (u64::MAX, 30)] {
            let outcome = busy(Some(Duration::from_secs(asked)));
            let decision =
                retry.decide(Repeat::Once, attempt(1, Duration::ZERO), outcome, &mut seed);
            let Decision::After(delay) = decision else {
                panic!("{asked}");
            };
            let low = Duration::from_secs(at_least);
            assert!(delay >= low && delay <= low * 3 / 2, "{asked}: {delay:?}");
        }
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let retry = Retry::default();
        let mut seed = Seed::new(3);
        for elapsed in [Duration::ZERO, 59 * SECOND, 61 * SECOND, Duration::MAX] {
            for number in [1, 4, 5, 6, u32::MAX] {
                let decision = retry.decide(
                    Repeat::Freely,
                    attempt(number, elapsed),
                    busy(Some(2 * SECOND)),
                    &mut seed,
                );
                let go_on = number < 5 && elapsed < 50 * SECOND;
                assert_eq!(decision != Decision::GiveUp, go_on, "{number} {elapsed:?}");
            }
        }
    }

    #[test]
    fn own_delays_grow() {
        let retry = Retry {
            attempts: 100,
            ..Retry::default()
        };
        let millis: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 99]
            .map(|number| retry.own_delay(number).as_millis())
            .into();
        assert_eq!(millis, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }
}
