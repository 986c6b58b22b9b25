//! A server's half of SPDY/3.1, written by hand so that it shares nothing with the crate, and a
//! driver of tunnels without IO.
#![allow(dead_code, reason = "not every test file uses everything")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kubewire::Limits;
use kubewire::session::{ConnectionId, SessionOptions, Tunnel, TunnelEvent};

use crate::session_support::{BINARY, CLOSE, PING, PONG, Random, client_frames, cut, frame};

pub(crate) fn tunnel(now: Instant) -> Tunnel {
    Tunnel::new(&SessionOptions::default(), &Limits::default(), now)
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

// What a server sends.

pub(crate) fn data(stream: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    [&stream.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

pub(crate) fn fin(stream: u32) -> Vec<u8> {
    [&stream.to_be_bytes()[..], &[1, 0, 0, 0]].concat()
}

pub(crate) fn control(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x80, 3, 0, kind, flags][..], &len, payload].concat()
}

pub(crate) fn rst(stream: u32, status: u32) -> Vec<u8> {
    control(3, 0, &[stream.to_be_bytes(), status.to_be_bytes()].concat())
}

pub(crate) fn reply(stream: u32) -> Vec<u8> {
    // No headers, compressed; only the first one has the zlib header.
    let block = if stream == 1 {
        hex("78f9e3c6a7c26260606000000000ffff")
    } else {
        hex("026100000000ffff")
    };
    control(2, 0, &[&stream.to_be_bytes()[..], &block].concat())
}

pub(crate) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &id.to_be_bytes())
}

pub(crate) fn goaway(last: u32) -> Vec<u8> {
    control(7, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

pub(crate) fn message(spdy: &[u8]) -> Vec<u8> {
    frame(BINARY, spdy)
}

/// The stream of messages that carries these bytes, cut anywhere.
pub(crate) fn messages(spdy: &[u8], random: &mut Random) -> Vec<u8> {
    cut(random, spdy).into_iter().flat_map(message).collect()
}

// What a client sends.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Open {
        stream: u32,
        fin: bool,
        headers: BTreeMap<String, String>,
    },
    Data(u32, Vec<u8>),
    Fin(u32),
    Rst(u32, u32),
    Ping(u32),
}

/// Reads what the client sends, strictly.
#[derive(Default)]
pub(crate) struct Parser {
    bytes: Vec<u8>,
    zlib: bool,
    last: u32,
    opened: BTreeSet<u32>,
    ended: BTreeSet<u32>,
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().unwrap())
}

fn text(bytes: &mut &[u8]) -> String {
    let (len, rest) = bytes.split_at(4);
    let (text, rest) = rest.split_at(usize::try_from(word(len)).unwrap());
    *bytes = rest;
    String::from_utf8(text.to_vec()).unwrap()
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Sent> {
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while self.bytes.len() >= 8 {
            let len = usize::try_from(word(&self.bytes[4..]) & 0xff_ffff).unwrap();
            if self.bytes.len() < 8 + len {
                break;
            }
            let rest = self.bytes.split_off(8 + len);
            let whole = std::mem::replace(&mut self.bytes, rest);
            self.frame(&whole, &mut frames);
        }
        frames
    }

    fn frame(&mut self, whole: &[u8], frames: &mut Vec<Sent>) {
        let (flags, payload) = (whole[4], &whole[8..]);
        if whole[0] < 0x80 {
            let stream = word(whole);
            assert!(self.opened.contains(&stream), "data for {stream}");
            assert!(!self.ended.contains(&stream), "data after the end");
            if !payload.is_empty() {
                frames.push(Sent::Data(stream, payload.to_vec()));
            }
            if flags == 1 {
                self.ended.insert(stream);
                frames.push(Sent::Fin(stream));
            }
            return;
        }
        assert_eq!(whole[..2], [0x80, 3]);
        match whole[3] {
            1 => {
                let stream = word(payload);
                assert!(stream > self.last && stream % 2 == 1, "stream {stream}");
                self.last = stream;
                self.opened.insert(stream);
                assert_eq!(payload[4..10], [0; 6]);
                let headers = self.headers(&payload[10..]);
                frames.push(Sent::Open {
                    stream,
                    fin: flags == 1,
                    headers,
                });
            }
            3 => {
                let stream = word(payload);
                assert!(self.opened.remove(&stream), "reset of {stream}");
                frames.push(Sent::Rst(stream, word(&payload[4..])));
            }
            6 => frames.push(Sent::Ping(word(payload))),
            other => panic!("frame {other}"),
        }
    }

    fn headers(&mut self, mut block: &[u8]) -> BTreeMap<String, String> {
        if !std::mem::replace(&mut self.zlib, true) {
            assert_eq!(block[..2], [0x78, 1]);
            block = &block[2..];
        }
        let len = u16::from_le_bytes([block[1], block[2]]);
        assert_eq!(block[0], 0, "a stored block");
        assert_eq!(u16::from_le_bytes([block[3], block[4]]), !len);
        let (mut stored, flush) = block[5..].split_at(usize::from(len));
        assert_eq!(flush, [0, 0, 0, 0xff, 0xff]);
        let count = word(stored);
        stored = &stored[4..];
        let headers = (0..count)
            .map(|_| (text(&mut stored), text(&mut stored)))
            .collect();
        assert!(stored.is_empty());
        headers
    }
}

/// Writes everything, and gives the SPDY bytes and the other messages.
pub(crate) fn transmit(tunnel: &mut Tunnel) -> (Vec<u8>, Vec<u8>) {
    let mut wire = Vec::new();
    while let Some(bytes) = tunnel.poll_transmit() {
        wire.extend_from_slice(bytes);
        let n = bytes.len();
        tunnel.transmitted(n);
    }
    unwrap(&wire)
}

pub(crate) fn unwrap(wire: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (frames, rest) = client_frames(wire);
    assert_eq!(rest, 0, "a frame was cut off");
    let mut spdy = Vec::new();
    let mut others = Vec::new();
    for (opcode, payload) in frames {
        match opcode {
            BINARY => spdy.extend(payload),
            PING | PONG | CLOSE => others.push(opcode),
            other => panic!("opcode {other}"),
        }
    }
    (spdy, others)
}

pub(crate) fn events(tunnel: &mut Tunnel) -> Vec<TunnelEvent> {
    std::iter::from_fn(|| tunnel.poll_event()).collect()
}

pub(crate) fn read(tunnel: &mut Tunnel, id: ConnectionId) -> Vec<u8> {
    std::iter::from_fn(|| tunnel.poll_data(id))
        .flatten()
        .collect()
}

/// A pod. Port 7 echoes and ends when its input does; port 81 is refused; port 9 swallows; port 19
/// sends without being asked.
#[derive(Default)]
pub(crate) struct Server {
    parser: Parser,
    /// Data streams and their ports.
    pub(crate) streams: BTreeMap<u32, u16>,
    pub(crate) swallowed: BTreeMap<u32, usize>,
    pub(crate) resets: usize,
    pub(crate) out: Vec<u8>,
}

impl Server {
    /// Takes what the client sends, and answers into `out`.
    pub(crate) fn take(&mut self, spdy: &[u8]) {
        for frame in self.parser.feed(spdy) {
            match frame {
                Sent::Open {
                    stream,
                    fin,
                    headers,
                } => self.open(stream, fin, &headers),
                Sent::Data(stream, bytes) => match self.streams.get(&stream) {
                    Some(7) => self.out.extend(data(stream, &bytes)),
                    Some(_) => *self.swallowed.entry(stream).or_default() += bytes.len(),
                    None => {}
                },
                Sent::Fin(stream) => {
                    if self.streams.get(&stream) == Some(&7) {
                        self.streams.remove(&stream);
                        self.out.extend(fin(stream));
                        self.out.extend(fin(stream - 2));
                    }
                }
                Sent::Rst(stream, status) => {
                    assert_eq!(status, 5);
                    self.resets += 1;
                    self.streams.remove(&stream);
                }
                Sent::Ping(id) => self.out.extend(ping(id)),
            }
        }
    }

    fn open(&mut self, stream: u32, fin: bool, headers: &BTreeMap<String, String>) {
        assert_eq!(headers["requestid"], (stream / 4).to_string());
        self.out.extend(reply(stream));
        if stream % 4 == 1 {
            assert!(fin && headers["streamtype"] == "error");
            return;
        }
        assert!(!fin && headers["streamtype"] == "data");
        let port = headers["port"].parse().unwrap();
        if port == 81 {
            self.out.extend(data(stream - 2, b"connection refused"));
            self.out.extend(rst(stream, 5));
            self.out.extend(rst(stream - 2, 5));
        } else {
            self.streams.insert(stream, port);
        }
    }
}
