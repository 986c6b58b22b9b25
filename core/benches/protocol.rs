//! What requests and sessions take: `cargo bench -p kubewire --bench protocol`.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Instant;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use kubewire::channel::{self, Subprotocol};
use kubewire::session::{Exec, Session, SessionOptions, Streams};
use kubewire::{Api, ApiResource, Dynamic, Limits, Operation};

const PIECE: usize = 32 << 10;
const PIECES: usize = 32;
/// What a driver reads at once.
const READ: usize = 16 << 10;

fn main() {
    divan::main();
}

fn maps() -> Api<Dynamic> {
    Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default")
}

#[divan::bench]
fn request_get(bencher: Bencher<'_, '_>) {
    let maps = maps();
    bencher.bench(|| maps.get("settings").into_call().unwrap());
}

#[divan::bench]
fn request_list(bencher: Bencher<'_, '_>) {
    let maps = maps();
    bencher.bench(|| {
        let list = maps
            .list()
            .labels("app=web,tier in (front,back)")
            .limit(500);
        list.into_call().unwrap()
    });
}

#[divan::bench]
fn channel_decode(bencher: Bencher<'_, '_>) {
    let message = Bytes::from(vec![1; 1 + PIECE]);
    bencher.bench(|| channel::decode(message.clone()).unwrap());
}

#[divan::bench]
fn channel_encode(bencher: Bencher<'_, '_>) {
    let data = vec![b'x'; PIECE];
    let mut out = Vec::with_capacity(1 + PIECE);
    bencher.counter(BytesCount::new(PIECE)).bench_local(|| {
        out.clear();
        channel::encode_into(channel::STDIN, &data, &mut out);
    });
}

#[expect(clippy::disallowed_methods, reason = "benchmarks start somewhere")]
fn now() -> Instant {
    Instant::now()
}

fn session(streams: Streams) -> Session<Exec> {
    let (options, limits) = (SessionOptions::default(), Limits::default());
    Session::new(
        Exec::new(streams),
        Subprotocol::V5,
        &options,
        &limits,
        now(),
    )
}

/// What a server sends, as it is read.
#[divan::bench]
fn session_receive(bencher: Bencher<'_, '_>) {
    let mut frame = vec![0x82, 126];
    let len = u16::try_from(1 + PIECE).unwrap();
    frame.extend(len.to_be_bytes());
    frame.push(channel::STDOUT);
    frame.resize(4 + 1 + PIECE, b'x');
    let wire = frame.repeat(PIECES);
    let now = now();
    bencher
        .counter(BytesCount::new(PIECE * PIECES))
        .with_inputs(|| session(Streams::new().stdout()))
        .bench_refs(|session| {
            for read in wire.chunks(READ) {
                session.handle_input(read, now).unwrap();
                while let Some(data) = session.poll_data(channel::STDOUT) {
                    divan::black_box_drop(data);
                }
            }
        });
}

/// What a program writes, as it is sent.
#[divan::bench]
fn session_send(bencher: Bencher<'_, '_>) {
    let data = vec![b'x'; 2 * PIECE];
    bencher
        .counter(BytesCount::new(PIECE * PIECES))
        .with_inputs(|| session(Streams::new().stdin()))
        .bench_refs(|session| {
            for _ in 0..PIECES / 2 {
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let accepted = session.send(channel::STDIN, rest).unwrap();
                    rest = &rest[accepted..];
                    while let Some(bytes) = session.poll_transmit() {
                        let len = bytes.len();
                        session.transmitted(len);
                    }
                }
            }
        });
}
