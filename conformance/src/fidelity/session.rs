//! One WebSocket exchange: the recorded client frames, and what the server says between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::exchange::{self, Answer, Content};
use super::plan::Action;
use super::shape::{self, Difference, scrub};
use super::wire::{PATIENCE, Reader};
use super::world::World;
use crate::replay::sessions::payload::Payloads;
use crate::replay::sessions::script::{Frame, Payload, Side};
use crate::replay::sessions::wire::{WireFrame, encode};
use crate::replay::transcript::{Ending, Transcript};

/// A client frame waits no longer for the frames that came before it in the recording.
const TURN: Duration = Duration::from_millis(1500);
/// Pauses of the recorded client are cut to this.
const PAUSE: Duration = Duration::from_millis(300);
/// The channel of the status.
const STATUS: u8 = 3;

/// What the server says in a session.
#[derive(Clone, Debug, Default)]
struct Said {
    /// Channels whose first message was empty.
    opened: BTreeSet<u8>,
    /// The bytes of each channel; none where some were not recorded.
    data: BTreeMap<u8, Option<Vec<u8>>>,
    /// How many bytes each channel had.
    lengths: BTreeMap<u8, usize>,
    pongs: Vec<Vec<u8>>,
    closes: Vec<u16>,
    /// Text messages, for watches.
    texts: Vec<Vec<u8>>,
    frames: usize,
}

/// How messages are cut into channel and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Channels,
    Base64Channels,
    /// Messages without channels.
    Whole,
}

impl Coding {
    fn of(protocol: Option<&str>, kind: &str) -> Self {
        match protocol.unwrap_or_default() {
            name if name.contains("base64.") && kind != "watch" => Self::Base64Channels,
            name if name.starts_with("SPDY/") => Self::Whole,
            _ if kind == "watch" => Self::Whole,
            _ => Self::Channels,
        }
    }
}

impl Said {
    fn take(&mut self, coding: Coding, opcode: u8, payload: &Payload) {
        self.frames += 1;
        let Payload::Bytes(bytes) = payload else {
            self.large(coding, payload);
            return;
        };
        match opcode {
            8 => self.closes.push(match bytes[..] {
                [high, low, ..] => u16::from_be_bytes([high, low]),
                _ => 0,
            }),
            9 => {}
            10 => self.pongs.push(bytes.clone()),
            _ if coding == Coding::Whole => self.texts.push(bytes.clone()),
            _ => {
                let Some((channel, data)) = bytes.split_first() else {
                    return;
                };
                let (channel, data) = if coding == Coding::Base64Channels {
                    let data = STANDARD.decode(data).unwrap_or_else(|_| data.to_vec());
                    (channel.wrapping_sub(b'0'), data)
                } else {
                    (*channel, data.to_vec())
                };
                if data.is_empty() && !self.lengths.contains_key(&channel) {
                    self.opened.insert(channel);
                }
                *self.lengths.entry(channel).or_default() += data.len();
                if let Some(all) = self.data.entry(channel).or_insert_with(|| Some(Vec::new())) {
                    all.extend(data);
                }
            }
        }
    }

    fn large(&mut self, coding: Coding, payload: &Payload) {
        let Payload::Digest { len, head, .. } = payload else {
            return;
        };
        if coding == Coding::Whole {
            return;
        }
        let channel = head.first().copied().unwrap_or_default();
        *self.lengths.entry(channel).or_default() += len - 1;
        self.data.insert(channel, None);
    }

    /// Whether at least as much came as `other` has.
    fn reaches(&self, other: &Self) -> bool {
        let enough = other
            .lengths
            .iter()
            .all(|(channel, len)| self.lengths.get(channel).is_some_and(|have| have >= len));
        enough
            && self.pongs.len() >= other.pongs.len()
            && self.closes.len() >= other.closes.len()
            && self.texts.len() >= other.texts.len()
    }
}

/// The recorded script.
struct Script {
    coding: Coding,
    frames: Vec<(f64, Frame)>,
    whole: Said,
    /// Whether the server ended the connection.
    ends: bool,
    /// Whether output stopped because somebody cut it short.
    cut: bool,
}

fn script(transcript: &Transcript, protocol: Option<&str>) -> Result<Script, String> {
    let coding = Coding::of(protocol, transcript.kind.as_deref().unwrap_or_default());
    let mut frames = Vec::new();
    let mut payloads = Payloads::default();
    for recorded in &transcript.frames {
        let mut frame = recorded.frame()?;
        let (bytes, stands_in) = payloads.resolve(&frame);
        // Of what the server said, nothing is made up.
        if frame.side == Side::Client || !stands_in {
            frame.payload = Payload::Bytes(bytes.to_vec());
        }
        frames.push((recorded.t_ms, frame));
    }
    let whole = said(coding, frames.iter().map(|(_, frame)| frame));
    let status = whole.data.get(&STATUS).and_then(Option::as_deref);
    let cut = status.is_none_or(|text| text.is_empty() || text.windows(5).any(|w| w == b"\"137\""));
    Ok(Script {
        coding,
        ends: transcript
            .end
            .as_deref()
            .is_some_and(|end| end.starts_with("server")),
        cut,
        whole,
        frames,
    })
}

fn said<'a>(coding: Coding, frames: impl Iterator<Item = &'a Frame>) -> Said {
    let mut said = Said::default();
    for frame in frames.filter(|frame| frame.side == Side::Server) {
        said.take(coding, frame.opcode, &frame.payload);
    }
    said
}

/// Sends an exchange and compares.
pub(super) async fn compare(
    world: &World,
    transcript: &Transcript,
    during: &[Action],
) -> Result<Vec<Difference>, String> {
    let handshake = transcript.handshake.as_ref().ok_or("no handshake")?;
    let (request, response) = (&handshake.request, &handshake.response);
    let mut bytes = exchange::serialize(world, transcript, request).map_err(|e| e.to_string())?;
    let script = script(transcript, response.header("sec-websocket-protocol"))?;
    let mut played = 0;
    if transcript.name.contains("with-handshake") {
        let early = script
            .frames
            .iter()
            .take_while(|(_, f)| f.side == Side::Client);
        for (_, frame) in early {
            encode(&wire_frame(frame), &mut bytes);
            played += 1;
        }
    }
    let mut found = Vec::new();
    let stream = world.dial(transcript).await.map_err(|e| e.to_string())?;
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    write.write_all(&bytes).await.map_err(|e| e.to_string())?;
    write.flush().await.map_err(|e| e.to_string())?;
    let Ok(Ok(head)) = timeout(PATIENCE, reader.head(&request.method)).await else {
        return Ok(vec![Difference::new("status", "no answer")]);
    };
    let expected = Content::of(
        response.header("content-type"),
        None,
        response.chunks()?.concat(),
    );
    if head.status != 101 || response.status != Some(101) {
        let mut answer = Answer {
            head,
            body: Vec::new(),
            ending: Ending::Left,
        };
        while answer.head.status != 101 {
            match timeout(PATIENCE, reader.part()).await {
                Ok(Ok(part)) => answer.body.extend(part),
                Ok(Err(ending)) => {
                    answer.ending = ending;
                    break;
                }
                Err(_) => break,
            }
        }
        exchange::answers(world, response, &expected, answer, &mut found);
        return Ok(found);
    }
    shape::heads(&response.headers, &head.headers, &mut found);
    let (live, ended) = play(world, &script, played, reader, write, during).await?;
    differences(transcript, &script, &live, ended, &mut found);
    Ok(found)
}

async fn play<R, W>(
    world: &World,
    script: &Script,
    played: usize,
    mut reader: Reader<R>,
    mut write: W,
    during: &[Action],
) -> Result<(Said, bool), String>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let (progress, seen) = watch::channel(Said::default());
    let coding = script.coding;
    let listen = async {
        loop {
            let Ok(frame) = reader.frame().await else {
                return;
            };
            progress.send_modify(|said| {
                said.take(coding, frame.opcode, &Payload::Bytes(frame.payload));
            });
        }
    };
    let speak = async {
        let mut before = 0.0;
        for (at, (t, frame)) in script.frames.iter().enumerate() {
            if frame.side == Side::Client && at >= played {
                let past = script.frames[..at].iter().filter(|(when, _)| when < t);
                reached(&seen, &said(coding, past.map(|(_, frame)| frame)), TURN).await;
                sleep(Duration::from_secs_f64(((t - before) / 1000.0).max(0.0)).min(PAUSE)).await;
                let mut bytes = Vec::new();
                encode(&wire_frame(frame), &mut bytes);
                if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                    break;
                }
            }
            before = *t;
        }
    };
    let act = async {
        for action in during {
            if let Action::After(count) = action {
                let mut seen = seen.clone();
                let enough = seen.wait_for(|said| said.frames >= *count);
                // An exchange that says less shows in the comparison.
                let _ = timeout(PATIENCE, enough).await;
            } else {
                world.act(action, None).await?;
            }
        }
        Ok::<_, String>(())
    };
    let speaking = async {
        let ((), acted) = tokio::join!(speak, act);
        acted?;
        reached(&seen, &script.whole, PATIENCE).await;
        if script.ends {
            sleep(PATIENCE).await;
        } else {
            // Whether it ends after all.
            sleep(PAUSE).await;
        }
        Ok::<_, String>(())
    };
    let mut ended = false;
    let deadline = Instant::now() + 4 * PATIENCE;
    let both = async {
        tokio::pin!(listen);
        tokio::pin!(speaking);
        tokio::select! {
            biased;
            () = &mut listen => {
                ended = true;
                Ok(())
            }
            done = &mut speaking => done,
        }
    };
    if let Ok(done) = timeout_at(deadline, both).await {
        done?;
    }
    let said = seen.borrow().clone();
    Ok((said, ended))
}

async fn reached(seen: &watch::Receiver<Said>, goal: &Said, limit: Duration) {
    let mut seen = seen.clone();
    // What does not come is a difference, found later.
    let _ = timeout(limit, seen.wait_for(|said| said.reaches(goal))).await;
}

fn wire_frame(frame: &Frame) -> WireFrame {
    let payload = match &frame.payload {
        Payload::Bytes(bytes) => bytes.clone(),
        // Client frames were resolved.
        Payload::Digest { .. } => Vec::new(),
    };
    WireFrame {
        fin: frame.fin,
        reserved: frame.reserved,
        opcode: frame.opcode,
        masked: frame.masked,
        payload: payload.into(),
    }
}

fn differences(
    transcript: &Transcript,
    script: &Script,
    live: &Said,
    ended: bool,
    found: &mut Vec<Difference>,
) {
    let whole = &script.whole;
    let debug =
        |place: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug, found: &mut Vec<_>| {
            let (a, b) = (format!("{a:?}"), format!("{b:?}"));
            if a != b {
                found.push(Difference::between(place, &a, &b));
            }
        };
    // A close may overtake the first message, on both servers.
    if !whole.lengths.is_empty() {
        debug("first messages", &whole.opened, &live.opened, found);
    }
    debug("pongs", &whole.pongs, &live.pongs, found);
    debug("close codes", &whole.closes, &live.closes, found);
    debug("server ends", &script.ends, &ended, found);
    if transcript.kind.as_deref() == Some("watch") {
        watch_events(whole, live, found);
    } else if script.coding == Coding::Whole {
        debug("messages", &whole.texts.len(), &live.texts.len(), found);
    }
    let channels: BTreeSet<u8> = whole
        .lengths
        .keys()
        .chain(live.lengths.keys())
        .copied()
        .collect();
    for channel in channels {
        let place = format!("channel {channel}");
        let of = |said: &Said| {
            said.data
                .get(&channel)
                .cloned()
                .unwrap_or_else(|| Some(Vec::new()))
        };
        match (of(whole), of(live)) {
            (Some(a), Some(b)) if channel == STATUS => statuses(&place, &a, &b, found),
            (Some(_), Some(b)) if b.is_empty() && whole.lengths.is_empty() => {}
            (Some(a), Some(b)) => {
                let (x, y) = (shape::plain(&a), shape::plain(&b));
                let common = x.starts_with(&y) || y.starts_with(&x);
                if !(script.cut && common && a.is_empty() == b.is_empty()) {
                    shape::texts(&place, &a, &b, found);
                }
            }
            _ => {
                let len = |said: &Said| said.lengths.get(&channel).copied().unwrap_or(0);
                if !script.cut {
                    debug(&place, &len(whole), &len(live), found);
                }
            }
        }
    }
}

/// The status channel: JSON, or text in old protocols.
fn statuses(place: &str, expected: &[u8], got: &[u8], found: &mut Vec<Difference>) {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    match (parse(expected), parse(got)) {
        (Some(a), Some(b)) => shape::values(place, &a, &b, found),
        _ => shape::texts(place, expected, got, found),
    }
}

fn watch_events(whole: &Said, live: &Said, found: &mut Vec<Difference>) {
    let parse = |texts: &[Vec<u8>]| -> Vec<Value> {
        texts
            .iter()
            .map(|text| {
                let plain = STANDARD.decode(text).unwrap_or_else(|_| text.clone());
                serde_json::from_slice(&plain)
                    .unwrap_or_else(|_| scrub(&String::from_utf8_lossy(&plain)).into())
            })
            .collect()
    };
    exchange::streams(&parse(&whole.texts), &parse(&live.texts), found);
}
