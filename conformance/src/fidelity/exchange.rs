//! One HTTP exchange: sent as it was recorded, its answer compared.

use std::io;
use std::io::Read as _;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::plan::Action;
use super::shape::{self, Difference};
use super::wire::{Head, Io, PATIENCE, Reader};
use super::world::World;
use crate::replay::transcript::{Body, Ending, Request, Response, Transcript};

/// Exchanges that took longer are left when as much came as was recorded.
const LONG: Duration = Duration::from_secs(20);

/// An answer, decoded from its framing.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    pub(super) ending: Ending,
}

/// The bytes of a request.
pub(super) fn serialize(
    world: &World,
    transcript: &Transcript,
    request: &Request,
) -> io::Result<Vec<u8>> {
    let body = match request.body().map_err(io::Error::other)? {
        Body::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => world.names().translate(&text).into_bytes(),
            Err(binary) => binary.into_bytes(),
        },
        Body::Omitted => enlarged(request.omitted().unwrap_or_default())?,
    };
    let target = world.names().translate(&request.target);
    let mut out = format!("{} {target} HTTP/1.1\r\n", request.method).into_bytes();
    for (name, value) in world.headers(transcript, request) {
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let value = world.names().translate(&value);
        out.extend(name.bytes());
        out.extend(b": ");
        // Values are ISO 8859-1 in the files.
        out.extend(
            value
                .chars()
                .filter_map(|char| u8::try_from(u32::from(char)).ok()),
        );
        out.extend(b"\r\n");
    }
    if request.header("content-length").is_some() {
        out.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    out.extend(b"\r\n");
    out.extend(body);
    Ok(out)
}

/// A body too large to be recorded, from its description: `KIND 'NAME' with PATH = N times the letter x`.
fn enlarged(how: &str) -> io::Result<Vec<u8>> {
    let bad = || io::Error::other(format!("a body that nobody can make: {how}"));
    let (kind, rest) = how.split_once(" '").ok_or_else(bad)?;
    let (name, rest) = rest.split_once("' with ").ok_or_else(bad)?;
    let (path, rest) = rest.split_once(" = ").ok_or_else(bad)?;
    let times = rest.split(' ').next().and_then(|n| n.parse().ok());
    let version = if kind == "ConfigMap" {
        "v1"
    } else {
        "golden.example.com/v1"
    };
    let mut object =
        serde_json::json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    let mut place = &mut object;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = "x".repeat(times.ok_or_else(bad)?).into();
    if kind != "ConfigMap" {
        object["spec"]["size"] = 1.into();
    }
    Ok(object.to_string().into_bytes())
}

/// Sends an exchange and compares.
pub(super) async fn compare(
    world: &World,
    transcript: &Transcript,
    during: &[Action],
) -> Result<Vec<Difference>, String> {
    let (Some(request), Some(response)) = (&transcript.request, &transcript.response) else {
        return Err("no request and response".to_owned());
    };
    let expected: Vec<u8> = response.chunks()?.concat();
    let expected = Content::of(
        response.header("content-type"),
        response.header("content-encoding"),
        expected,
    );
    let mut found = Vec::new();
    let bytes = serialize(world, transcript, request).map_err(|error| error.to_string())?;
    let stream = world
        .dial(transcript)
        .await
        .map_err(|error| error.to_string())?;
    let live = converse(world, stream, transcript, &bytes, &expected, during).await;
    let live = match (live, response.status) {
        (Ok(live), Some(_)) => live,
        (Err(_), None) => return Ok(found),
        (Ok(live), None) => {
            let detail = format!("{} instead of no answer", live.head.status);
            return Ok(vec![Difference::new("status", detail)]);
        }
        (Err(error), Some(status)) => {
            let detail = format!("{error} instead of {status}");
            return Ok(vec![Difference::new("status", detail)]);
        }
    };
    answers(world, response, &expected, live, &mut found);
    Ok(found)
}

/// Compares what came.
pub(super) fn answers(
    world: &World,
    response: &Response,
    expected: &Content,
    live: Answer,
    found: &mut Vec<Difference>,
) {
    let status = response.status.unwrap_or(0);
    if live.head.status != status {
        let detail = format!(
            "{} instead of {status}: {}",
            live.head.status,
            String::from_utf8_lossy(&live.body[..live.body.len().min(300)])
        );
        // The rest is that of another answer.
        found.push(Difference::new("status", detail));
        return;
    }
    shape::heads(&response.headers, &live.head.headers, found);
    let coding = live.head.header("content-encoding").map(str::to_owned);
    let got = Content::of(
        live.head.header("content-type"),
        coding.as_deref(),
        live.body,
    );
    if let (Some(a), Some(b)) = (expected.json(), got.json()) {
        world.names().learn(a, b);
    }
    if let (Some(a), Some(b)) = (response.header("etag"), live.head.header("etag")) {
        world.names().learn_tag(a, b);
    }
    contents(expected, &got, response.ending(), found);
    let left = response.ending() == Ending::Left || duration(response) > LONG;
    let ending = ending(response);
    if !left && live.ending != ending {
        let detail = format!("{:?} instead of {ending:?}", live.ending);
        found.push(Difference::new("end", detail));
    }
}

/// An answer without length ends properly with its connection.
fn ending(response: &Response) -> Ending {
    let framed = ["content-length", "transfer-encoding"];
    if framed.iter().all(|name| response.header(name).is_none()) {
        Ending::Clean
    } else {
        response.ending()
    }
}

fn duration(response: &Response) -> Duration {
    Duration::from_secs_f64(response.end_t_ms.unwrap_or(0.0).max(0.0) / 1000.0)
}

async fn converse(
    world: &World,
    stream: Box<dyn Io>,
    transcript: &Transcript,
    bytes: &[u8],
    expected: &Content,
    during: &[Action],
) -> io::Result<Answer> {
    let (Some(request), Some(response)) = (&transcript.request, &transcript.response) else {
        return Err(io::Error::other("no request and response"));
    };
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    let send = async {
        // A server may refuse before it has read everything.
        let _ = write.write_all(bytes).await;
        let _ = write.flush().await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let length = duration(response);
        let deadline = Instant::now() + length.min(LONG) + PATIENCE;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let head = timeout_at(deadline, reader.head(&request.method))
            .await
            .map_err(late)??;
        let mut answer = Answer {
            head,
            body: Vec::new(),
            ending: Ending::Left,
        };
        let leaves = response.ending() == Ending::Left || length > LONG;
        let mut actions = during.iter().peekable();
        loop {
            let came = units(&answer.body);
            while let Some(action) = actions.peek() {
                if let Action::After(count) = action
                    && came < *count
                {
                    break;
                }
                if let Some(action) = actions.next() {
                    world
                        .act(action, Some(transcript))
                        .await
                        .map_err(io::Error::other)?;
                }
            }
            if leaves && actions.peek().is_none() && came >= units(&expected.bytes) {
                break;
            }
            match timeout_at(deadline, reader.part()).await {
                Ok(Ok(part)) => answer.body.extend(part),
                Ok(Err(ending)) => {
                    answer.ending = ending;
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(answer)
    };
    tokio::select! {
        () = send => Err(io::Error::other("nothing was read")),
        answer = receive => answer,
    }
}

/// A body, and what it is.
#[derive(Debug)]
pub(super) struct Content {
    media: String,
    pub(super) bytes: Vec<u8>,
    parsed: Option<Value>,
}

impl Content {
    pub(super) fn of(content_type: Option<&str>, coding: Option<&str>, bytes: Vec<u8>) -> Self {
        let media = content_type.unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        let bytes = match coding {
            Some("gzip") => {
                let mut plain = Vec::new();
                match flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain) {
                    Ok(_) => plain,
                    Err(_) => bytes,
                }
            }
            _ => bytes,
        };
        let parsed = match media {
            "application/yaml" => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| serde_saphyr::from_str(text).ok()),
            "application/json" => serde_json::from_slice(&bytes)
                .ok()
                .or_else(|| events(&bytes)),
            _ => None,
        };
        // A single event is an event all the same.
        let parsed = parsed.map(|value: Value| {
            if value.get("type").is_some() && value.get("object").is_some() {
                Value::Array(vec![value])
            } else {
                value
            }
        });
        Self {
            media: media.to_owned(),
            bytes,
            parsed,
        }
    }

    pub(super) fn json(&self) -> Option<&Value> {
        self.parsed.as_ref()
    }
}

/// How many lines came, of a body that comes line by line.
fn units(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// The events of a watch; none if it is something else.
fn events(bytes: &[u8]) -> Option<Value> {
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).ok())
        .collect::<Option<Vec<Value>>>()
        .map(Value::Array)
}

/// Compares two bodies.
pub(super) fn contents(
    expected: &Content,
    got: &Content,
    ending: Ending,
    found: &mut Vec<Difference>,
) {
    if expected.media != got.media {
        // The header tells.
        return;
    }
    match (&expected.parsed, &got.parsed) {
        (Some(Value::Array(a)), Some(Value::Array(b))) => streams(a, b, found),
        (Some(a), Some(b)) => shape::values("body", a, b, found),
        (None, None) if ending == Ending::Left && got.bytes.starts_with(&expected.bytes) => {}
        _ => shape::texts("body", &expected.bytes, &got.bytes, found),
    }
}

/// Compares two sequences of events.
pub(super) fn streams(expected: &[Value], got: &[Value], found: &mut Vec<Difference>) {
    let types = |events: &[Value]| -> Vec<String> {
        events
            .iter()
            .map(|event| event["type"].as_str().unwrap_or("?").to_owned())
            .collect()
    };
    let (a, b) = (types(expected), types(got));
    if a != b {
        found.push(Difference::between(
            "events",
            &format!("{a:?}"),
            &format!("{b:?}"),
        ));
        return;
    }
    for (a, b) in expected.iter().zip(got) {
        shape::values("events[]", a, b, found);
    }
}
