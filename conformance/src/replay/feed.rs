//! Feeds a recorded answer to a machine, cut in several ways.

use bytes::Bytes;
use kubewire::{Call, Decode, End, Error, ErrorKind, Limits, Verb};
use serde_json::{Value, json};

use std::io::Read as _;

use super::compare::Canonical;
use super::transcript::{Coding, Ending, Response};

/// A recorded answer, ready to be fed.
pub(super) struct Answer {
    pub(super) head: Option<http::response::Parts>,
    pub(super) chunks: Vec<Bytes>,
    /// What was on the wire.
    wire: Bytes,
    end: Ending,
    /// The body without its coding, as far as it can be read, and whether that is all of it.
    pub(super) body: Bytes,
    pub(super) ending: Ending,
    /// Whether the coding is broken.
    pub(super) damaged: bool,
}

/// How a body is cut into the chunks that a machine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Recorded,
    Whole,
    Bytes,
    Random(u64),
}

impl Cut {
    /// Byte by byte is left out for large bodies.
    pub(super) fn all(name: &str, len: usize) -> Vec<Self> {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut cuts = vec![Self::Recorded, Self::Whole];
        if len <= 200 << 10 {
            cuts.push(Self::Bytes);
        }
        cuts.extend([Self::Random(seed), Self::Random(seed ^ 1)]);
        cuts
    }
}

impl Answer {
    pub(super) fn of(response: &Response) -> Result<Self, String> {
        let chunks: Vec<_> = response.chunks()?.into_iter().map(Bytes::from).collect();
        let wire = Bytes::from(chunks.concat());
        let end = response.ending();
        let mut answer = Self {
            head: response.head()?,
            body: wire.clone(),
            wire,
            chunks,
            end,
            ending: end,
            damaged: false,
        };
        if response.coding() == Coding::Gzip {
            answer.inflate();
        }
        Ok(answer)
    }

    fn inflate(&mut self) {
        let mut gzip = flate2::read::MultiGzDecoder::new(&self.wire[..]);
        let mut body = Vec::new();
        let mut buffer = [0; 4 << 10];
        loop {
            match gzip.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => body.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    if self.ending == Ending::Clean {
                        self.ending = Ending::Truncated;
                    }
                    break;
                }
                Err(_) => {
                    self.damaged = true;
                    break;
                }
            }
        }
        self.body = body.into();
    }

    /// A stream of bytes that is no answer.
    pub(super) fn raw(chunks: Vec<Bytes>) -> Self {
        let wire = Bytes::from(chunks.concat());
        Self {
            head: None,
            body: wire.clone(),
            wire,
            chunks,
            end: Ending::Left,
            ending: Ending::Left,
            damaged: false,
        }
    }

    pub(super) fn cut(&self, cut: Cut) -> Vec<Bytes> {
        match cut {
            Cut::Recorded => self.chunks.clone(),
            Cut::Whole => vec![self.wire.clone()],
            Cut::Bytes => self.pieces(|_| 1),
            Cut::Random(mut state) => self.pieces(|left| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = usize::try_from(mixed >> 33).unwrap_or(0);
                // Mostly small, sometimes large, sometimes empty.
                match mixed % 16 {
                    0 => 0,
                    1 => mixed % left + 1,
                    _ => mixed % 200,
                }
            }),
        }
    }

    fn pieces(&self, mut len: impl FnMut(usize) -> usize) -> Vec<Bytes> {
        let mut rest = self.wire.clone();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let len = len(rest.len()).min(rest.len());
            pieces.push(rest.split_to(len));
        }
        pieces
    }
}

/// Drains the machine; the terminal error, if there is one.
fn drain<D: Decode>(
    exchange: &mut kubewire::Exchange<D>,
    streaming: bool,
    see: &dyn Fn(D::Item) -> Value,
    items: &mut Vec<Value>,
) -> Option<Error> {
    loop {
        match exchange.poll_item() {
            Ok(Some(item)) => items.push(see(item)),
            Ok(None) => return None,
            Err(error) if streaming && error.kind() == ErrorKind::Object => {
                let name = error.bad_object().and_then(|object| object.name.clone());
                items.push(json!({ "bad": name }));
            }
            Err(error) => return Some(error),
        }
    }
}

/// Feeds an answer; what came out, as JSON. An error is a breach of the machine's contract.
pub(super) fn feed<D: Decode>(
    call: Call<D>,
    answer: &Answer,
    cut: Cut,
    streaming: bool,
    see: &dyn Fn(D::Item) -> Value,
) -> Result<Value, String> {
    let (_, mut exchange) = call.begin(&Limits::default());
    let mut items = Vec::new();
    let mut fault = None;
    let mut fed = 0;
    let mut ended = false;
    if let Some(head) = &answer.head {
        let result = exchange.handle_head(head);
        fault = drain(&mut exchange, streaming, see, &mut items);
        if result.is_err() != fault.is_some() {
            return Err("handle_head and poll_item do not agree about a fault".to_owned());
        }
        for piece in answer.cut(cut) {
            if fault.is_some() {
                break;
            }
            if !exchange.wants_data() {
                return Err(format!("wants no data after {fed} drained bytes"));
            }
            fed += piece.len();
            let result = exchange.handle_data(piece);
            fault = drain(&mut exchange, streaming, see, &mut items);
            if result.is_err() && fault.is_none() {
                return Err("handle_data failed, and poll_item does not".to_owned());
            }
            // Compressed, it may hold what a piece inflates to.
            let mut most = fed.max(answer.body.len().min(fed * 1032));
            if exchange.verb() == Verb::DeleteCollection {
                // What may be a Status or a list is kept as both, until it shows.
                most += fed.min(64 << 10);
            }
            if exchange.buffered() > most {
                return Err(format!(
                    "holds {} bytes after {fed} were fed",
                    exchange.buffered()
                ));
            }
        }
    }
    if fault.is_none() && answer.end != Ending::Left {
        ended = true;
        let end = if answer.end == Ending::Clean {
            End::Clean
        } else {
            End::Truncated
        };
        let result = exchange.handle_end(end);
        fault = drain(&mut exchange, streaming, see, &mut items);
        if result.is_err() && fault.is_none() {
            return Err("handle_end failed, and poll_item does not".to_owned());
        }
    }
    let warnings: Vec<_> = exchange
        .warnings()
        .iter()
        .map(|warning| json!([warning.code, warning.agent, warning.text]))
        .collect();
    let next = exchange
        .follow_up()
        .map(|call| Canonical::built(call.request()).form);
    let end = match fault {
        Some(fault) => {
            let seen = see_fault(&fault);
            // A unary answer that does not decode is told once; all other faults repeat.
            if fault.kind() != ErrorKind::Object {
                let again = exchange.poll_item().err().map(|error| see_fault(&error));
                let data = exchange.handle_data(Bytes::from_static(b"{}\n"));
                if again != Some(seen.clone()) || data.is_ok() {
                    return Err("a fault does not repeat".to_owned());
                }
            }
            if exchange.wants_data() {
                return Err("wants data after a fault".to_owned());
            }
            seen
        }
        None if ended && !exchange.is_done() => {
            return Err("is not done after a drained end".to_owned());
        }
        None if ended => "done".into(),
        None => "open".into(),
    };
    Ok(json!({ "warnings": warnings, "items": items, "end": end, "next": next }))
}

type Question = fn(&Error) -> bool;

/// The questions that an error answers.
const PREDICATES: &[(&str, Question)] = &[
    ("already exists", Error::is_already_exists),
    ("apply conflict", Error::is_apply_conflict),
    ("conflict", Error::is_conflict),
    ("disruption budget", Error::is_disruption_budget),
    ("expired", Error::is_expired),
    ("forbidden", Error::is_forbidden),
    ("invalid", Error::is_invalid),
    ("not found", Error::is_not_found),
    ("timeout", Error::is_timeout),
    ("too many requests", Error::is_too_many_requests),
    ("unauthorized", Error::is_unauthorized),
];

pub(super) fn see_fault(error: &Error) -> Value {
    if error.kind() != ErrorKind::Api {
        return json!({ "kind": format!("{:?}", error.kind()) });
    }
    let is: Vec<_> = PREDICATES
        .iter()
        .filter(|(_, holds)| holds(error))
        .map(|(name, _)| *name)
        .collect();
    json!({
        "kind": "Api",
        "code": error.code().map(|code| code.as_u16()),
        "status": error.status().map(|status| status_value(&json!(status))),
        "body": error.body().map(|body| super::see::text(body)),
        "retryAfter": error.retry_after().map(|wait| wait.as_secs()),
        "auditId": error.audit_id(),
        "is": is,
    })
}

/// The fields of a Status that there are; null and empty ones are as good as absent.
pub(super) fn status_value(status: &Value) -> Value {
    fn pick(from: &Value, keys: &[&str]) -> Value {
        let mut picked = serde_json::Map::new();
        for key in keys {
            let value = match (*key, &from[*key]) {
                ("metadata", value) => pick(
                    value,
                    &["resourceVersion", "continue", "remainingItemCount"],
                ),
                ("details", value) => pick(
                    value,
                    &[
                        "name",
                        "group",
                        "kind",
                        "uid",
                        "causes",
                        "retryAfterSeconds",
                    ],
                ),
                ("causes", Value::Array(causes)) => causes
                    .iter()
                    .map(|cause| pick(cause, &["reason", "message", "field"]))
                    .collect(),
                (_, value) => value.clone(),
            };
            if !(value.is_null() || value == json!({}) || value == json!([])) {
                picked.insert((*key).to_owned(), value);
            }
        }
        picked.into()
    }
    let keys = [
        "kind",
        "apiVersion",
        "metadata",
        "status",
        "message",
        "reason",
        "details",
        "code",
    ];
    pick(status, &keys)
}
