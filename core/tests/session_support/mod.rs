//! A WebSocket server's framing, written by hand so that it shares nothing with the crate, and a
//! driver without IO.
#![allow(dead_code, reason = "not every test file uses everything")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../random/mod.rs"]
mod random;

use std::time::{Duration, Instant};

use http::response::Parts;
use kubewire::channel::Subprotocol;
use kubewire::session::{
    Attach, Event, Exec, PortForward, Protocol, Session, SessionOptions, Streams,
};
use kubewire::{Error, Limits};

pub(crate) use random::Random;

pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A server's frame: final, not masked.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | opcode, payload)
}

pub(crate) fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(u8::try_from(len).unwrap()),
        len @ 126..65536 => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn message(channel: u8, data: &[u8]) -> Vec<u8> {
    frame(BINARY, &[&[channel], data].concat())
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

pub(crate) const SUCCESS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;

pub(crate) fn exit(code: &str) -> Vec<u8> {
    let status = format!(
        r#"{{"metadata":{{}},"status":"Failure","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
    );
    message(3, status.as_bytes())
}

/// Takes a client's bytes apart: opcode and payload of each frame, and how many bytes are left over.
/// Every frame has to be final and masked.
pub(crate) fn client_frames(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let mut frames = Vec::new();
    loop {
        let Some((frame, rest)) = client_frame(bytes) else {
            return (frames, bytes.len());
        };
        frames.push(frame);
        bytes = rest;
    }
}

type Frame = (u8, Vec<u8>);

fn client_frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, 0x80, "fragmented, or reserved bits");
    assert_eq!(second & 0x80, 0x80, "not masked");
    let (len, rest) = match second & 0x7f {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => panic!("a client frame of 64 KiB or more"),
        len => (usize::from(len), rest),
    };
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let (data, rest) = rest.split_at_checked(len)?;
    let data = data.iter().zip(mask.iter().cycle());
    Some(((first & 15, data.map(|(a, b)| a ^ b).collect()), rest))
}

/// The head of an answer.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut head = http::Response::builder().status(status);
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    head.body(()).unwrap().into_parts().0
}

/// Cuts bytes into pieces, most of them short.
pub(crate) fn cut<'a>(random: &mut Random, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let longest = *random.pick(&[3, 40, 1000]);
        let (piece, rest) = bytes.split_at(bytes.len().min(1 + random.below(longest)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The origin of virtual time: nothing waits for it.
#[expect(clippy::disallowed_methods, reason = "only differences matter")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn exec(streams: Streams, subprotocol: Subprotocol, now: Instant) -> Session<Exec> {
    let options = SessionOptions::default();
    exec_with(streams, subprotocol, &options, &Limits::default(), now)
}

pub(crate) fn exec_with(
    streams: Streams,
    subprotocol: Subprotocol,
    options: &SessionOptions,
    limits: &Limits,
    now: Instant,
) -> Session<Exec> {
    Session::new(Exec::new(streams), subprotocol, options, limits, now)
}

pub(crate) fn attach(streams: Streams, now: Instant) -> Session<Attach> {
    Session::new(
        Attach::new(streams),
        Subprotocol::V5,
        &SessionOptions::default(),
        &Limits::default(),
        now,
    )
}

pub(crate) fn forward(ports: &[u16], now: Instant) -> Session<PortForward> {
    Session::new(
        PortForward::new(ports).unwrap(),
        Subprotocol::V4,
        &SessionOptions::default(),
        &Limits::default(),
        now,
    )
}

pub(crate) fn all() -> Streams {
    Streams::new().stdin().stdout().stderr()
}

/// Writes everything, and gives the frames.
pub(crate) fn sent<P: Protocol>(session: &mut Session<P>) -> Vec<(u8, Vec<u8>)> {
    let mut wire = Vec::new();
    while let Some(bytes) = session.poll_transmit() {
        wire.extend_from_slice(bytes);
        let n = bytes.len();
        session.transmitted(n);
    }
    let (frames, rest) = client_frames(&wire);
    assert_eq!(rest, 0, "a frame was cut off");
    frames
}

pub(crate) fn read<P: Protocol>(session: &mut Session<P>, channel: u8) -> Vec<u8> {
    std::iter::from_fn(|| session.poll_data(channel))
        .flatten()
        .collect()
}

pub(crate) fn events<P: Protocol>(session: &mut Session<P>) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Everything that can be seen of a session that took these chunks.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) data: Vec<Vec<u8>>,
    pub(crate) outcome: String,
    pub(crate) error: Option<String>,
    pub(crate) frames: Vec<(u8, Vec<u8>)>,
    pub(crate) finished: Vec<bool>,
    pub(crate) closed: bool,
}

/// Runs a session over chunks; after the last one the transport ends.
pub(crate) fn run<P: Protocol>(
    session: &mut Session<P>,
    channels: u8,
    chunks: &[&[u8]],
    now: Instant,
) -> Seen {
    let mut error: Option<Error> = None;
    let mut data = vec![Vec::new(); usize::from(channels)];
    let mut frames = Vec::new();
    for chunk in chunks {
        if let Err(fault) = session.handle_input(chunk, now) {
            error = Some(fault);
        }
        for (channel, data) in (0..channels).zip(&mut data) {
            data.extend(read(session, channel));
        }
        frames.extend(sent(session));
    }
    session.handle_end();
    Seen {
        data,
        outcome: describe(session),
        error: error.map(|error| error.to_string()),
        frames,
        finished: (0..channels)
            .map(|channel| session.is_finished(channel))
            .collect(),
        closed: session.is_closed(),
    }
}

pub(crate) fn describe<P: Protocol>(session: &Session<P>) -> String {
    use kubewire::session::Outcome;
    match session.outcome() {
        Some(Outcome::Failure(status)) => {
            format!("Failure: {}", status.message.as_deref().unwrap_or_default())
        }
        Some(other) => format!("{other:?}"),
        None => "none".to_owned(),
    }
}

/// Whole, byte by byte, and 64 random ways: all have to show the same. Gives what they show.
pub(crate) fn any_cut<P: Protocol>(
    make: impl Fn() -> Session<P>,
    channels: u8,
    wire: &[u8],
) -> Seen {
    let now = start();
    let whole = run(&mut make(), channels, &[wire], now);
    let bytes: Vec<_> = wire.chunks(1).collect();
    assert_eq!(
        run(&mut make(), channels, &bytes, now),
        whole,
        "byte by byte"
    );
    for seed in 0..64 {
        let pieces = cut(&mut Random::new(seed), wire);
        assert_eq!(
            run(&mut make(), channels, &pieces, now),
            whole,
            "seed {seed}"
        );
    }
    whole
}
