//! The order and the pieces in which a script is played.

use bytes::Bytes;
use kubewire::Limits;

use super::super::feed::{Answer, Cut};
use super::play::{Manner, Move};
use super::seen::Action;
use super::wire::{WireFrame, encode};

/// One step of a script, in order.
pub(super) enum Step {
    Act(Action),
    Frame(WireFrame),
}

/// How a script is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The client says all it has to say, but for its close, before it reads.
    eager: bool,
    pub(super) cut: Cut,
}

impl Schedule {
    pub(super) fn all(name: &str, size: usize) -> Vec<Self> {
        let recorded = |cut| Self { eager: false, cut };
        if size > 4 << 20 {
            return vec![recorded(Cut::Recorded), recorded(Cut::Whole)];
        }
        let mut schedules: Vec<_> = Cut::all(name, size).into_iter().map(recorded).collect();
        let seeds: Vec<_> = schedules
            .iter()
            .filter_map(|schedule| match schedule.cut {
                Cut::Random(seed) => Some(seed),
                Cut::Recorded | Cut::Whole | Cut::Bytes => None,
            })
            .collect();
        for seed in seeds {
            schedules.push(recorded(Cut::Random(seed ^ 0x5555)));
            schedules.push(Self {
                eager: true,
                cut: Cut::Random(seed ^ 0xaaaa),
            });
        }
        schedules.push(Self {
            eager: true,
            cut: Cut::Whole,
        });
        schedules
    }

    pub(super) fn order<'s>(&self, steps: &'s [Step]) -> Vec<&'s Step> {
        let early =
            |step: &&Step| matches!(step, Step::Act(action) if !matches!(action, Action::Close));
        if !self.eager {
            return steps.iter().collect();
        }
        let (mut first, then): (Vec<_>, Vec<_>) = steps.iter().partition(early);
        first.extend(then);
        first
    }

    pub(super) fn odd(self) -> bool {
        matches!(self.cut, Cut::Random(seed) if seed.is_multiple_of(2))
    }

    /// Small windows, for some.
    pub(super) fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.odd() {
            limits.receive_window = 5000;
            limits.send_window = 3000;
        }
        limits
    }

    pub(super) fn manner(self) -> Manner {
        Manner {
            lazy: self.odd(),
            takes: if self.odd() { 997 } else { usize::MAX },
        }
    }
}

/// The server's bytes, one run for each time that the client does nothing in between.
pub(super) struct Wire {
    runs: Vec<Vec<Bytes>>,
    joined: Vec<Answer>,
}

impl Wire {
    pub(super) fn of(steps: &[&Step]) -> Self {
        let mut runs = vec![Vec::new()];
        for step in steps {
            match step {
                Step::Act(_) => runs.push(Vec::new()),
                Step::Frame(frame) => {
                    let mut bytes = Vec::new();
                    encode(frame, &mut bytes);
                    if let Some(run) = runs.last_mut() {
                        run.push(Bytes::from(bytes));
                    }
                }
            }
        }
        let joined = runs.iter().map(|run| Answer::raw(run.clone())).collect();
        Self { runs, joined }
    }

    pub(super) fn moves<'w>(&'w self, steps: &[&'w Step], cut: Cut) -> Vec<Move<'w>> {
        let mut moves = Vec::new();
        let mut actions = steps.iter().filter_map(|step| match step {
            Step::Act(action) => Some(action),
            Step::Frame(_) => None,
        });
        for (frames, joined) in self.runs.iter().zip(&self.joined) {
            if !frames.is_empty() {
                let pieces = match cut {
                    Cut::Recorded => frames.clone(),
                    Cut::Whole | Cut::Bytes | Cut::Random(_) => joined.cut(cut),
                };
                moves.push(Move::Feed(pieces));
            }
            moves.extend(actions.next().map(Move::Act));
        }
        moves
    }
}
