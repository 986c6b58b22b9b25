//! The recorded frames: those of the server through the machine, those of the client as its user's calls.

use kubewire::session::Protocol;
use serde_json::Value;

use super::super::compare::differences;
use super::super::feed::Cut;
use super::express::express;
use super::handshake::{Make, now, shake};
use super::model::Model;
use super::payload::Payloads;
use super::play::{PortError, play};
use super::schedule::{Schedule, Step, Wire};
use super::script::Side;
use super::seen::{Action, End, Seen, Sent};
use super::wire::WireFrame;
use super::{Exchange, count};

impl Exchange<'_> {
    /// The script, and what of the recorded frames it cannot express.
    fn script(&mut self) -> Vec<Step> {
        let mut payloads = Payloads::default();
        let mut steps = Vec::new();
        let mut pings = 0_usize;
        for frame in &self.frames {
            let (payload, stands_in) = payloads.resolve(frame);
            if stands_in {
                count(
                    &mut self.report.sessions.reasons,
                    "a payload that follows no known rule: other bytes of its length stand in",
                );
            }
            if frame.side == Side::Server {
                pings += usize::from(frame.opcode == 9);
                steps.push(Step::Frame(WireFrame {
                    fin: frame.fin,
                    reserved: frame.reserved,
                    opcode: frame.opcode,
                    masked: frame.masked,
                    payload,
                }));
                continue;
            }
            let said = if frame.opcode == 10 && pings > 0 {
                pings -= 1;
                Err("a pong: comes by itself")
            } else {
                express(&self.asked, frame, &payload)
            };
            let frames = &mut self.report.sessions.frames;
            match said {
                Ok((action, note)) => {
                    if let Some(note) = note {
                        count(frames, format!("expressed but for this: {note}"));
                    }
                    steps.push(Step::Act(action));
                }
                Err(why) => count(frames, format!("not expressible: {why}")),
            }
        }
        steps
    }

    pub(super) fn frames<P: Protocol>(
        &mut self,
        make: Make<'_, P>,
        key: [u8; 16],
        half_close: bool,
        port_error: Option<&PortError<P>>,
    ) {
        let end = match self.transcript.end.as_deref() {
            Some("client-closed" | "open") => End::Left,
            Some(end) if end.starts_with("server-reset") => End::Failed,
            Some(end) if end.starts_with("server-") => End::Ended,
            end => {
                self.faults.push(format!("a stream that ended {end:?}"));
                return;
            }
        };
        let steps = self.script();
        let size: usize = steps
            .iter()
            .map(|step| match step {
                Step::Act(Action::Send { data, .. }) => data.len(),
                Step::Act(_) => 0,
                Step::Frame(frame) => frame.payload.len(),
            })
            .sum();
        let protocol = self.response.header("sec-websocket-protocol");
        let label = format!(
            "{} {}",
            self.ask.subresource,
            protocol.unwrap_or_default().trim()
        );
        count(&mut self.report.sessions.replayed, label);
        for (at, schedule) in Schedule::all(&self.transcript.name, size)
            .iter()
            .enumerate()
        {
            self.report.sessions.plays += 1;
            let ordered = schedule.order(&steps);
            let limits = schedule.limits();
            let mut model = Model::new(
                &self.asked,
                half_close,
                limits.max_message,
                limits.max_error_body,
            );
            for step in &ordered {
                match step {
                    Step::Act(action) => model.act(action),
                    Step::Frame(frame) => model.receive(frame),
                }
            }
            let expected = model.end(end);
            let played = make()
                .map_err(|error| format!("building it again failed: {error}"))
                .and_then(|upgrade| shake(upgrade, key, &self.answer, Cut::Whole, &limits))
                .and_then(|shaken| shaken.map_err(|error| error.to_string()))
                .and_then(|session| {
                    let wire = Wire::of(&ordered);
                    play(
                        session,
                        expected.data.len(),
                        port_error,
                        &wire.moves(&ordered, schedule.cut),
                        end,
                        schedule.manner(),
                        now(),
                    )
                });
            let found = match played {
                Ok(seen) => judge(&expected, &seen, schedule.cut),
                Err(breach) => vec![breach],
            };
            if !found.is_empty() {
                self.faults
                    .push(format!("{schedule:?}:\n      {}", found.join("\n      ")));
                return;
            }
            if at == 0 {
                self.count_played(&ordered, &expected);
            }
        }
    }

    fn count_played(&mut self, steps: &[&Step], seen: &Seen) {
        let sessions = &mut self.report.sessions;
        let actions = steps.iter().filter_map(|step| match step {
            Step::Act(action) => Some(action),
            Step::Frame(_) => None,
        });
        for (action, call) in actions.zip(&seen.calls) {
            let what = match action {
                Action::Send { .. } => "data",
                Action::Finish(_) => "the end of input",
                Action::Resize { .. } => "a size",
                Action::Ping => "a ping",
                Action::Close => "a close",
            };
            let how = match call.as_str() {
                "ok" => format!("sent: {what}"),
                "Closed" => format!("too late, refused: {what}"),
                _ => format!("refused on purpose: {what}"),
            };
            count(&mut sessions.frames, how);
        }
        let fields = seen.outcome.as_object();
        let outcome = match fields.and_then(|fields| fields.iter().next()) {
            Some((what, Value::Object(_))) => what.clone(),
            Some((what, of)) => format!("{what} {of}"),
            None => seen.outcome.as_str().unwrap_or("none").to_owned(),
        };
        count(&mut sessions.outcomes, outcome);
        for _ in &seen.ports {
            count(&mut sessions.outcomes, "(a port that failed)");
        }
    }
}

/// What differs. A pong may be left out if the next ping came before it was sent.
fn judge(expected: &Seen, seen: &Seen, cut: Cut) -> Vec<String> {
    let mut found = differences(&expected.value(), &seen.value());
    // The whole of the data, not only what the diff shows.
    if expected.data != seen.data {
        found.push("the data of a channel differs".to_owned());
    }
    let data = |seen: &Seen| -> Vec<Sent> { seen.out.clone() };
    if data(expected) != data(seen) && found.is_empty() {
        found.push("what was sent differs".to_owned());
    }
    let exact = matches!(cut, Cut::Recorded | Cut::Bytes);
    let mut rest = expected.pongs.iter();
    let subsequence = seen.pongs.iter().all(|pong| rest.any(|ping| ping == pong));
    if (exact && expected.pongs != seen.pongs)
        || !subsequence
        || (!expected.pongs.is_empty() && seen.pongs.is_empty() && seen.fault.is_none())
    {
        found.push(format!(
            "pongs {:?} instead of {:?}",
            seen.pongs, expected.pongs
        ));
    }
    found
}
