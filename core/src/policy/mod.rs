//! Decisions of a transport as values: whether to try again, how long to wait, when to give up.
//!
//! Nothing here waits. A driver tells what happened and gets an answer that it carries out:
//!
//! | value | asked | answers |
//! |---|---|---|
//! | [`Retry`] | when an attempt failed | [`Decision::After`] a delay, or [`Decision::GiveUp`] |
//! | [`Repeat`] | for the same, about a request | how far it may be carried out twice |
//! | [`Backoff`] | when something that has to go on failed again | how long to leave it alone |
//! | [`Timeouts`], [`CallTimeouts`] | at the start of a call | which time applies to which phase |
//! | [`Deadlines`] | during a call | the next instant to look, and which phase took too long |
//! | [`Seed`] | by the others | random numbers, so that clients do not act in step |

mod backoff;
mod repeat;
mod retry;
mod seed;
mod timeouts;

pub use backoff::Backoff;
pub use repeat::Repeat;
pub use retry::{Attempt, Decision, Fault, Outcome, Retry};
pub use seed::Seed;
pub use timeouts::{CallTimeouts, Deadlines, Duty, Phase, Timeout, Timeouts};
