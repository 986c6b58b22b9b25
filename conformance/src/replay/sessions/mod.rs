//! Sessions: handshakes through the public operations, then the recorded frames through the session
//! machines, cut in several ways.

mod express;
mod frames;
mod handshake;
mod model;
mod operations;
pub(crate) mod payload;
mod plan;
mod play;
mod schedule;
pub mod script;
mod seen;
#[cfg(test)]
mod tests;
mod tunnel;
pub(crate) mod wire;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kubewire::session::{Attach, Exec, PortForward, Protocol, Session, Streams, Upgrade};
use kubewire::{Api, Dynamic, ErrorKind, Limits, Namespace, Resource};

use super::feed::{Answer, Cut};
use super::transcript::{Handshake, Request, Response, Transcript};
use super::{Report, Run};
use handshake::{Expected, Make, OFFER_PORTS, OFFER_STREAMS, shake, uri};
use model::Asked;
use operations::{attach, exec, forward, options, streams};
use plan::{Canonical, Plan};
use play::PortError;
use script::{Frame, SessionAsk};

/// The other protocol of port-forward, which has frames of its own.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Counts of the session half of a replay.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// Sessions that were replayed, by operation and subprotocol.
    pub replayed: BTreeMap<String, usize>,
    /// Handshakes, by how they ended.
    pub handshakes: BTreeMap<String, usize>,
    /// Recorded client frames, by what became of them.
    pub frames: BTreeMap<String, usize>,
    /// Sessions by their outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// What was not compared, and why.
    pub reasons: BTreeMap<String, usize>,
    /// How often a script was played.
    pub plays: usize,
}

fn count(map: &mut BTreeMap<String, usize>, key: impl Into<String>) {
    *map.entry(key.into()).or_default() += 1;
}

/// Replays a WebSocket exchange; what did not fit.
pub(super) fn replay(
    transcript: &Transcript,
    handshake: &Handshake,
    report: &mut Report,
) -> Result<Vec<String>, String> {
    let frames: Vec<Frame> = transcript
        .frames
        .iter()
        .map(script::RecordedFrame::frame)
        .collect::<Result<_, _>>()?;
    let skip = |report: &mut Report, why: &str| {
        let names = report.skipped.entry(why.to_owned()).or_default();
        names.push(transcript.name.clone());
    };
    let (request, response) = (&handshake.request, &handshake.response);
    let refused = response.status != Some(101);
    let ask = SessionAsk::of(request);
    let Some(ask) = ask.filter(|_| transcript.kind.as_deref() != Some("watch")) else {
        if !refused {
            let watch = transcript.kind.as_deref() == Some("watch");
            let why = if watch {
                "a watch over WebSocket: kubewire watches over HTTP"
            } else {
                "a WebSocket that is no session of a pod"
            };
            skip(report, why);
            return Ok(Vec::new());
        }
        let mut run = Run::new(request, response, report)?;
        run.raw("a WebSocket handshake that was refused, and of no session of a pod");
        return Ok(run.faults);
    };
    let mut faults = Vec::new();
    if refused {
        // The answer as any call sees it.
        let mut run = Run::new(request, response, report)?;
        run.answer_only();
        faults = run.faults;
    }
    let mut exchange = Exchange {
        transcript,
        request,
        answer: Answer::of(response)?,
        response,
        plan: Plan::of(&ask, request)?,
        asked: plan::asked(&ask),
        ask,
        frames,
        report,
        faults,
    };
    exchange.run();
    let chosen = response.header("sec-websocket-protocol").map(str::trim);
    let offered = request.header("sec-websocket-protocol").map(str::trim);
    if exchange.ask.subresource == "portforward"
        && (chosen == Some(TUNNEL) || offered == Some(TUNNEL))
    {
        exchange.tunnel();
    }
    Ok(exchange.faults)
}

/// The answer to an upgrade that was no WebSocket's: it has to be refused.
pub(super) fn switched(
    request: &Request,
    response: &Response,
    report: &mut Report,
) -> Result<Vec<String>, String> {
    let upgrade = Upgrade::new(uri(request), Exec::new(Streams::new()));
    let answer = Answer::of(response)?;
    let shaken = shake(upgrade, [7; 16], &answer, Cut::Whole, &Limits::default())?;
    let protocol = response.header("upgrade").unwrap_or("nothing");
    Ok(match shaken {
        Err(error) if error.kind() == ErrorKind::Peer => {
            let how = format!("refused by the client: the server switched to {protocol}");
            count(&mut report.sessions.handshakes, how);
            Vec::new()
        }
        other => vec![format!("a switch to {protocol}: {other:?}")],
    })
}

/// One session under replay.
struct Exchange<'a> {
    transcript: &'a Transcript,
    request: &'a Request,
    response: &'a Response,
    answer: Answer,
    ask: SessionAsk,
    asked: Asked,
    plan: Plan,
    frames: Vec<Frame>,
    report: &'a mut Report,
    faults: Vec<String>,
}

impl Exchange<'_> {
    fn run(&mut self) {
        let ask = self.ask.clone();
        let namespace = Namespace::Named(ask.namespace.clone());
        let dynamic = Api::<Dynamic>::of(Pod::api_resource(), namespace);
        let typed = Api::<Pod>::namespaced(&ask.namespace);
        let uri = uri(self.request);
        match ask.subresource.as_str() {
            "exec" => self.session(
                &|| exec(&dynamic, &ask),
                &|| exec(&typed, &ask),
                &|| Ok(Upgrade::new(uri.clone(), Exec::new(streams(&ask))).options(options())),
                None,
            ),
            "attach" => self.session(
                &|| attach(&dynamic, &ask),
                &|| attach(&typed, &ask),
                &|| Ok(Upgrade::new(uri.clone(), Attach::new(streams(&ask))).options(options())),
                None,
            ),
            _ => {
                let port_error = |session: &Session<PortForward>, index| {
                    session.port_error(index).map(std::borrow::Cow::into_owned)
                };
                // A stand-in where there are no ports: only for refusals.
                let ports = plan::ports(&ask).unwrap_or_default();
                let protocol = PortForward::new(ports).or_else(|_| PortForward::new([1]));
                self.session(
                    &|| forward(&dynamic, &ask),
                    &|| forward(&typed, &ask),
                    &|| Ok(Upgrade::new(uri.clone(), protocol.clone()?).options(options())),
                    Some(&port_error),
                );
            }
        }
    }

    fn session<P: Protocol>(
        &mut self,
        dynamic: Make<'_, P>,
        typed: Make<'_, P>,
        raw: Make<'_, P>,
        port_error: Option<&PortError<P>>,
    ) {
        let offer = if port_error.is_some() {
            OFFER_PORTS
        } else {
            OFFER_STREAMS
        };
        let make = match &self.plan {
            Plan::Operation => {
                *self
                    .report
                    .operations
                    .entry(self.ask.subresource.clone())
                    .or_default() += 1;
                let canonical = Canonical::of(self.request);
                for name in canonical.used.clone() {
                    *self.report.equivalences.entry(name).or_default() += 1;
                }
                self.compare(&canonical, dynamic, "dynamic", offer);
                self.compare(&canonical, typed, "typed", offer);
                if !self.faults.is_empty() {
                    return;
                }
                dynamic
            }
            Plan::Refuse(why) => {
                let why = *why;
                for (what, make) in [("dynamic", dynamic), ("typed", typed)] {
                    match make() {
                        Err(error) if error.kind() == ErrorKind::Usage => {}
                        Err(error) => self.faults.push(format!(
                            "{why}, {what}: refused with {:?} instead of Usage",
                            error.kind()
                        )),
                        Ok(_) => self
                            .faults
                            .push(format!("{why}, {what}: the public API lets it through")),
                    }
                }
                count(&mut self.report.refused, why);
                raw
            }
            Plan::Raw(why) => {
                count(&mut self.report.raw, why.clone());
                raw
            }
        };
        let key = plan::key(self.request).unwrap_or([7; 16]);
        let expected = self.expected(key, offer);
        for cut in Cut::all(&self.transcript.name, self.answer.body.len()) {
            if let Err(fault) = self.shake_hands(make, key, cut, &expected) {
                self.faults.push(format!("handshake cut {cut:?}: {fault}"));
                return;
            }
        }
        let handshakes = &mut self.report.sessions.handshakes;
        match expected {
            Expected::Session { half_close } => {
                count(handshakes, "switched");
                self.frames(make, key, half_close, port_error);
            }
            Expected::Refused(_) => count(handshakes, "refused by the server"),
            Expected::Broken { counted, .. } => {
                count(handshakes, format!("refused by the client: {counted}"));
            }
            Expected::Truncated => count(handshakes, "no answer"),
        }
    }
}
