//! Sessions: handshakes through the public operations, then the recorded frames through the session
//! machines, cut in several ways.

mod model;
pub(crate) mod payload;
mod plan;
mod play;
pub mod script;
mod seen;
#[cfg(test)]
mod tests;
mod tunnel;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kubewire::session::{
    Answer as HeadAnswer, Attach, Exec, Offer, PortForward, Protocol, Session, SessionOptions,
    Streams, Upgrade,
};
use kubewire::{
    Api, Dynamic, Error, ErrorKind, HasAttach, HasExec, HasPortForward, Limits, Namespace,
    Resource, UpgradeOperation,
};
use serde_json::{Value, json};

use super::compare::differences;
use super::expect::{Expectation, Shape};
use super::feed::{Answer, Cut, see_fault};
use super::transcript::{Handshake, Request, Response, Transcript};
use super::{Report, Run};
use model::{Asked, Model};
use payload::Payloads;
use plan::{Canonical, Plan};
use play::{Manner, Move, PortError, play};
use script::{Frame, SessionAsk, Side};
use seen::{Action, End, Seen, Sent};
use wire::{WireFrame, encode};

/// What the client offers.
const OFFER_STREAMS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";
const OFFER_PORTS: &str = "v4.channel.k8s.io";
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

/// What is to come of a handshake.
enum Expected {
    /// A session; whether it can end its input.
    Session { half_close: bool },
    /// The server's refusal.
    Refused(Value),
    /// The client's: the answer breaks a rule. The error names this.
    Broken { names: String, counted: String },
    /// No answer.
    Truncated,
}

/// One step of a script, in order.
enum Step {
    Act(Action),
    Frame(WireFrame),
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

/// An operation with the streams of a recording; both kinds of processes have the same options.
macro_rules! process {
    ($operation:expr, $ask:expr) => {{
        let mut operation = $operation.options(options());
        if let Some(container) = $ask.container.as_deref().filter(|name| !name.is_empty()) {
            operation = operation.container(container);
        }
        if $ask.stdin {
            operation = operation.stdin();
        }
        if !$ask.stdout {
            operation = operation.without_stdout();
        }
        if !$ask.stderr {
            operation = operation.without_stderr();
        }
        if $ask.tty {
            operation = operation.tty();
        }
        operation
    }};
}

/// Pings are told by their deadline, and no other deadline comes before one.
fn options() -> SessionOptions {
    SessionOptions::default()
        .ping_interval(Duration::from_secs(10))
        .pong_timeout(None)
        .close_timeout(Duration::from_hours(24 * 365))
}

fn exec<K: HasExec>(api: &Api<K>, ask: &SessionAsk) -> Result<Upgrade<Exec>, Error> {
    let operation = api.exec(&ask.pod).command(&ask.command);
    process!(operation, ask).into_upgrade()
}

fn attach<K: HasAttach>(api: &Api<K>, ask: &SessionAsk) -> Result<Upgrade<Attach>, Error> {
    process!(api.attach(&ask.pod), ask).into_upgrade()
}

fn forward<K: HasPortForward>(
    api: &Api<K>,
    ask: &SessionAsk,
) -> Result<Upgrade<PortForward>, Error> {
    let ports = plan::ports(ask).unwrap_or_default();
    let operation = api.port_forward(&ask.pod, ports);
    operation.options(options()).into_upgrade()
}

fn streams(ask: &SessionAsk) -> Streams {
    let mut streams = Streams::new();
    if ask.stdin {
        streams = streams.stdin();
    }
    if ask.stdout {
        streams = streams.stdout();
    }
    if ask.stderr {
        streams = streams.stderr();
    }
    if ask.tty {
        streams = streams.tty();
    }
    streams
}

/// Feeds the answer to a handshake. The outer error is a breach of its contract.
fn shake<P: Offer>(
    upgrade: Upgrade<P>,
    key: [u8; 16],
    answer: &Answer,
    cut: Cut,
    limits: &Limits,
) -> Result<Result<P::Session, Error>, String> {
    let (_, mut handshake) = upgrade.begin(key, limits);
    let answered = answer.head.as_ref().map(|head| handshake.handle_head(head));
    if let Some(Ok(HeadAnswer::Refused)) = &answered {
        for piece in answer.cut(cut) {
            handshake.handle_data(&piece);
        }
    }
    let shaken = handshake.finish(now());
    let agree = match (&answered, &shaken) {
        (Some(Ok(HeadAnswer::Switched)), Ok(_)) => true,
        (Some(Ok(HeadAnswer::Refused)), Err(error)) => error.kind() == ErrorKind::Api,
        (Some(Err(first)), Err(error)) => first.to_string() == error.to_string(),
        (None, Err(error)) => error.kind() == ErrorKind::Truncated,
        _ => false,
    };
    if agree {
        Ok(shaken)
    } else {
        Err("handle_head and finish do not agree".to_owned())
    }
}

/// The recorded target, for upgrades that no operation makes; the answer does not depend on it.
fn uri(request: &Request) -> http::Uri {
    request.target.parse().unwrap_or_default()
}

/// The origin of virtual time: nothing waits for it.
fn now() -> Instant {
    Instant::now()
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

type Make<'a, P> = &'a dyn Fn() -> Result<Upgrade<P>, Error>;

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

    /// Compares the request that an operation builds with the recorded one.
    fn compare<P: Offer>(
        &mut self,
        recorded: &Canonical,
        make: Make<'_, P>,
        what: &str,
        offer: &str,
    ) {
        let upgrade = match make() {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.faults.push(format!("{what}: refused: {error}"));
                return;
            }
        };
        let key = plan::key(self.request).unwrap_or([7; 16]);
        let (built, _) = upgrade.begin(key, &Limits::default());
        let headers: Vec<_> = built
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = value.to_str().unwrap_or("not ASCII");
                (name.to_string(), value.to_owned())
            })
            .collect();
        let offers: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name == "sec-websocket-protocol")
            .map(|(_, value)| value.as_str())
            .collect();
        let mut found = Vec::new();
        if offers != [offer] {
            found.push(format!("offers {offers:?}"));
        }
        for (name, _) in &headers {
            if !(name == "connection" || name == "upgrade" || name.starts_with("sec-websocket-")) {
                found.push(format!("header {name} is too much"));
            }
        }
        if !built.body().is_empty() {
            found.push("an upgrade with a body".to_owned());
        }
        let request = json!({
            "method": built.method().as_str(),
            "target": built.uri().to_string(),
            "headers": headers,
        });
        match serde_json::from_value::<Request>(request) {
            Ok(request) => {
                let built = Canonical::of(&request);
                found.extend(differences(&recorded.form, &built.form));
            }
            Err(error) => found.push(error.to_string()),
        }
        if !found.is_empty() {
            self.faults.push(format!(
                "{what}, request:\n      {}",
                found.join("\n      ")
            ));
        }
    }

    /// What RFC 6455 and the offer say about the answer.
    fn expected(&self, key: [u8; 16], offer: &str) -> Expected {
        let Some(code) = self.response.status else {
            return Expected::Truncated;
        };
        let broken = |names: &str, counted: &str| Expected::Broken {
            names: names.to_owned(),
            counted: counted.to_owned(),
        };
        if code != 101 {
            if code < 300 {
                let counted = format!("the answer is {code}");
                return broken(&code.to_string(), &counted);
            }
            let of = |_: &Value| None;
            let expectation = Expectation {
                response: self.response,
                answer: &self.answer,
                shape: Shape::Bytes,
                types: (String::new(), String::new()),
                object: &of,
                request: None,
            };
            return Expected::Refused(expectation.failure(code));
        }
        let headers = |name: &str| -> Vec<&str> {
            let headers = self.response.headers.iter();
            headers
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .collect()
        };
        let token = |name: &str, wanted: &str| {
            let values = headers(name);
            let mut tokens = values.iter().flat_map(|value| value.split(','));
            tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
        };
        if !token("connection", "upgrade") || !token("upgrade", "websocket") {
            return broken("WebSocket", "a switch to something else");
        }
        let accept = sha1_smol::Sha1::from(format!(
            "{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
            STANDARD.encode(key)
        ));
        if headers("sec-websocket-accept").first()
            != Some(&STANDARD.encode(accept.digest().bytes()).as_str())
        {
            return broken("Accept", "the accept key does not fit");
        }
        if !headers("sec-websocket-extensions").is_empty() {
            return broken("extension", "an extension that was not offered");
        }
        match headers("sec-websocket-protocol")[..] {
            [] | [""] => broken("no subprotocol", "no subprotocol"),
            [chosen] if offer.split(", ").any(|offered| offered == chosen) => Expected::Session {
                half_close: chosen == "v5.channel.k8s.io",
            },
            [chosen] => broken(
                &format!("{chosen:?}"),
                &format!("the subprotocol {chosen}, which is not offered"),
            ),
            _ => broken("several subprotocols", "several subprotocols"),
        }
    }

    fn shake_hands<P: Protocol>(
        &self,
        make: Make<'_, P>,
        key: [u8; 16],
        cut: Cut,
        expected: &Expected,
    ) -> Result<(), String> {
        let upgrade = make().map_err(|error| format!("building it again failed: {error}"))?;
        let shaken = shake(upgrade, key, &self.answer, cut, &Limits::default())?;
        match (expected, shaken) {
            (Expected::Session { .. }, Ok(session)) => {
                let chosen = self.response.header("sec-websocket-protocol");
                if chosen.map(str::trim) == Some(session.subprotocol().as_str()) {
                    Ok(())
                } else {
                    Err(format!("speaks {:?}", session.subprotocol()))
                }
            }
            (Expected::Refused(failure), Err(error)) => {
                let differences = differences(failure, &see_fault(&error));
                if differences.is_empty() {
                    Ok(())
                } else {
                    Err(differences.join("\n      "))
                }
            }
            (Expected::Broken { names, .. }, Err(error))
                if error.kind() == ErrorKind::Peer && error.to_string().contains(names) =>
            {
                Ok(())
            }
            (Expected::Truncated, Err(error)) if error.kind() == ErrorKind::Truncated => Ok(()),
            (_, shaken) => Err(format!("{:?}", shaken.map(|_| "a session"))),
        }
    }

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

    fn frames<P: Protocol>(
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

type Said = Result<(Action, Option<&'static str>), &'static str>;

/// A recorded client frame in the words of the public API.
fn express(asked: &Asked, frame: &Frame, payload: &Bytes) -> Said {
    if !frame.masked {
        return Err("a frame that is not masked");
    }
    if frame.reserved != 0 {
        return Err("reserved bits");
    }
    match frame.opcode {
        _ if !frame.fin => return Err("a fragment"),
        0 => return Err("a fragment"),
        1 => return Err("a text message"),
        2 => {}
        8 => {
            let note = match &payload[..] {
                [3, 232] => None,
                [] => Some("a close without code is sent with 1000"),
                [_, _] => Some("a close with another code is sent with 1000"),
                _ => Some("a close with a reason is sent without"),
            };
            return Ok((Action::Close, note));
        }
        9 => {
            let note = (!payload.is_empty()).then_some("a ping's payload");
            return Ok((Action::Ping, note));
        }
        10 => return Err("a pong that nobody asked for"),
        _ => return Err("an opcode that RFC 6455 has not"),
    }
    let Some((&channel, data)) = payload.split_first() else {
        return Err("a message without channel");
    };
    let slice = payload.slice(1..);
    let note = data.is_empty().then_some("an empty message is not sent");
    match (asked, channel) {
        (_, 255) => match data {
            [channel] => {
                let channel = match asked {
                    Asked::Streams { .. } => *channel,
                    Asked::Ports(_) => channel / 2,
                };
                Ok((Action::Finish(channel), None))
            }
            _ => Err("a close signal that is not one byte"),
        },
        (Asked::Streams { .. }, 4) => {
            let Some((width, height)) = size(data) else {
                return Err("a size that is no JSON of two 16-bit numbers");
            };
            Ok((Action::Resize { width, height }, None))
        }
        (Asked::Ports(_), channel) if !channel.is_multiple_of(2) => {
            Err("data on the error channel of a port")
        }
        (Asked::Streams { .. }, channel) => Ok((
            Action::Send {
                channel,
                data: slice,
            },
            note,
        )),
        (Asked::Ports(_), channel) => Ok((
            Action::Send {
                channel: channel / 2,
                data: slice,
            },
            note,
        )),
    }
}

/// Go matches the keys of JSON in any case.
fn size(data: &[u8]) -> Option<(u16, u16)> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(data).ok()?;
    let side = |name: &str| {
        let mut fields = fields.iter();
        let (_, value) = fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        u16::try_from(value.as_u64()?).ok()
    };
    Some((side("width")?, side("height")?))
}

/// How a script is played.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// The client says all it has to say, but for its close, before it reads.
    eager: bool,
    cut: Cut,
}

impl Schedule {
    fn all(name: &str, size: usize) -> Vec<Self> {
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

    fn order<'s>(&self, steps: &'s [Step]) -> Vec<&'s Step> {
        let early =
            |step: &&Step| matches!(step, Step::Act(action) if !matches!(action, Action::Close));
        if !self.eager {
            return steps.iter().collect();
        }
        let (mut first, then): (Vec<_>, Vec<_>) = steps.iter().partition(early);
        first.extend(then);
        first
    }

    fn odd(self) -> bool {
        matches!(self.cut, Cut::Random(seed) if seed.is_multiple_of(2))
    }

    /// Small windows, for some.
    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.odd() {
            limits.receive_window = 5000;
            limits.send_window = 3000;
        }
        limits
    }

    fn manner(self) -> Manner {
        Manner {
            lazy: self.odd(),
            takes: if self.odd() { 997 } else { usize::MAX },
        }
    }
}

/// The server's bytes, one run for each time that the client does nothing in between.
struct Wire {
    runs: Vec<Vec<Bytes>>,
    joined: Vec<Answer>,
}

impl Wire {
    fn of(steps: &[&Step]) -> Self {
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

    fn moves<'w>(&'w self, steps: &[&'w Step], cut: Cut) -> Vec<Move<'w>> {
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
