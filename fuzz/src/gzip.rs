//! Compressed answers: any bytes that claim to be gzip, and members made of the input, damaged or not.
//!
//! Input: `[n, flags, kind, limit, damage, where (2 bytes), member lengths …, body]`; what is left of
//! the decisions are chunk lengths.

use std::fmt::Debug;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use http::header::{CONTENT_ENCODING, HeaderValue};
use kubewire::stream::{LogLines, Watch};
use kubewire::{
    Api, ApiResource, Call, Decode, Dynamic, End, Exchange, Limits, Operation, Raw, Verb,
};

use crate::drive::{Record, drive_as, head};
use crate::input::Input;

const PODS: ApiResource = ApiResource::core("Pod", "pods");
/// How much is inflated at a time, and what a splitter keeps of a list's own fields.
const SLACK: usize = 256 << 10;
/// More than this is not split into lines here.
const LONG: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// Ends early.
    Cut,
    /// Goes on with something else.
    More,
    /// One byte is another one.
    Change,
}

/// The same however it is cut, faults included; members give what the plain bytes give; what ends
/// inside of a member is truncated, and what is no gzip is the peer's fault; limits concern what was
/// inflated; what is taken for gzip another implementation reads in the same way.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, body) = Input::with_body(data);
    let flags = choices.byte();
    let kind = choices.below(4);
    let limit = choices.pick(&[1 << 20, 0, 50, 1000]);
    let damage = choices.pick(&[Damage::None, Damage::Cut, Damage::More, Damage::Change]);
    let at = usize::from(choices.short());
    let case = Case {
        limits: Limits {
            max_body: limit,
            max_line: limit,
            max_item: limit,
            max_error_body: limit.min(1000),
            ..Limits::default()
        },
        end: if flags & 1 == 1 {
            End::Truncated
        } else {
            End::Clean
        },
        flags,
        kind,
        damage,
        at,
    };
    if flags & 2 == 2 {
        arbitrary(&case, body, choices);
    } else {
        members(&case, body, choices);
    }
}

struct Case {
    limits: Limits,
    end: End,
    flags: u8,
    kind: usize,
    damage: Damage,
    at: usize,
}

impl Case {
    fn get<D: Decode>(&self, decoder: D, chunks: &[&[u8]], compressed: bool, end: End) -> Record
    where
        D::Item: Debug,
    {
        let call = Call::new(Verb::Get, http::Request::default(), decoder);
        feed(&mut call.begin(&self.limits).1, chunks, compressed, end)
    }

    fn record(&self, chunks: &[&[u8]], compressed: bool, end: End) -> Record {
        match self.kind {
            0 => self.get(Raw::default(), chunks, compressed, end),
            1 => self.get(LogLines::new(), chunks, compressed, end),
            2 => self.get(Watch::<Dynamic>::new(PODS), chunks, compressed, end),
            _ => {
                let list = Api::dynamic(PODS).in_all_namespaces().list().items();
                let call = list.into_call().expect("a good list");
                feed(&mut call.begin(&self.limits).1, chunks, compressed, end)
            }
        }
    }
}

fn feed<D: Decode>(
    exchange: &mut Exchange<D>,
    chunks: &[&[u8]],
    compressed: bool,
    end: End,
) -> Record
where
    D::Item: Debug,
{
    let mut head = head(200);
    if compressed {
        let gzip = HeaderValue::from_static("gzip");
        head.headers.insert(CONTENT_ENCODING, gzip);
    }
    let bound = (1 << 20) + SLACK;
    let show = |item| format!("{item:?}");
    drive_as(exchange, &head, chunks, end, bound, 2 * LONG, show)
}

/// What another implementation makes of it, up to a length, and whether that is all and right.
fn inflate(bytes: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(bytes).take(most as u64 + 1);
    let good = reader.read_to_end(&mut plain).is_ok();
    (plain, good)
}

fn arbitrary(case: &Case, body: &[u8], mut choices: Input<'_>) {
    let chunks = choices.cut(body);
    let (plain, good) = inflate(body, LONG);
    if plain.len() > LONG {
        return bomb(case, &chunks);
    }
    let whole = case.record(&[body], true, case.end);
    assert_eq!(whole, case.record(&chunks, true, case.end), "{chunks:?}");
    // Raw answers tell exactly what was inflated.
    let limits = Limits::default();
    let case = Case {
        limits,
        kind: 0,
        ..*case
    };
    let record = case.record(&[body], true, End::Clean);
    if record.fault.is_none() && !body.is_empty() {
        assert!(good, "another implementation refuses it");
        assert_eq!(record, case.record(&[&plain], false, End::Clean));
    }
}

/// Stops at the limit, however much would follow.
fn bomb(case: &Case, chunks: &[&[u8]]) {
    let limits = Limits {
        max_body: 1000,
        ..Limits::default()
    };
    let case = Case {
        limits,
        kind: 0,
        ..*case
    };
    let record = case.record(chunks, true, case.end);
    let fault = record.fault.expect("a fault");
    assert!(fault.starts_with("Limit"), "{fault}");
}

/// One member, with some of the optional parts of a header.
fn member(plain: &[u8], flags: u8, out: &mut Vec<u8>) {
    let level = Compression::new(u32::from(flags >> 5).min(6));
    let parts = flags & 0x1e;
    if parts == 0 {
        let mut encoder = GzEncoder::new(&mut *out, level);
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory");
        return;
    }
    let start = out.len();
    out.extend([0x1f, 0x8b, 8, parts, 1, 2, 3, 4, 0, 3]);
    if parts & 4 != 0 {
        out.extend([3, 0, 0, 31, 0]);
    }
    for text in [0x08, 0x10] {
        if parts & text != 0 {
            out.extend(b"x\x8b\0");
        }
    }
    if parts & 2 != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(&out[start..]);
        let [low, high, ..] = crc.sum().to_le_bytes();
        out.extend([low, high]);
    }
    let mut encoder = DeflateEncoder::new(&mut *out, level);
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory");
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
}

fn members(case: &Case, plain: &[u8], mut choices: Input<'_>) {
    let mut bytes = Vec::new();
    // Where members end: in the compressed and in the plain bytes.
    let mut ends = vec![(0, 0)];
    let mut done = 0;
    for _ in 0..choices.below(4) {
        let len = usize::from(choices.byte()).min(plain.len() - done);
        member(&plain[done..done + len], choices.byte(), &mut bytes);
        done += len;
        ends.push((bytes.len(), done));
    }
    member(&plain[done..], case.flags & 0xe0, &mut bytes);
    ends.push((bytes.len(), plain.len()));

    let expected = case.record(&[plain], false, case.end);
    match case.damage {
        Damage::None => {}
        Damage::Cut => bytes.truncate(case.at % (bytes.len() + 1)),
        Damage::More => bytes.push(0x20 | case.at.to_le_bytes()[0]),
        Damage::Change => {
            let at = case.at % bytes.len();
            bytes[at] ^= case.flags | 1;
        }
    }
    let chunks = choices.cut(&bytes);
    let whole = case.record(&[&bytes], true, case.end);
    assert_eq!(whole, case.record(&chunks, true, case.end), "{chunks:?}");
    match case.damage {
        Damage::None => {
            assert_eq!(whole, expected);
            failure(case, plain, &chunks);
        }
        Damage::Cut => {
            let end = ends.iter().find(|(end, _)| *end == bytes.len());
            if let Some((_, plain_end)) = end {
                let part = case.record(&[&plain[..*plain_end]], false, case.end);
                assert_eq!(whole, part, "between members");
                return;
            }
            let broken = case.record(&[plain], false, End::Truncated);
            let sure = whole.items.len().saturating_sub(1);
            assert_eq!(whole.items.get(..sure), broken.items.get(..sure));
            if case.kind == 0 {
                let fault = whole.fault.expect("a fault");
                let limit = plain.len() > case.limits.max_body && fault.starts_with("Limit");
                assert!(limit || fault.starts_with("Truncated"), "{fault}");
            }
        }
        Damage::More => {
            let fault = whole.fault.expect("a fault");
            let earlier = case.record(&[plain], false, End::Truncated).fault;
            let same = expected.fault.as_ref() == Some(&fault) || earlier.as_ref() == Some(&fault);
            assert!(same || fault.starts_with("Peer"), "{fault}");
            if case.kind == 0 && plain.len() <= case.limits.max_body {
                assert!(fault.starts_with("Peer"), "{fault}");
            }
        }
        Damage::Change => {}
    }
}

/// The body of a failure is inflated too, as far as it is kept.
fn failure(case: &Case, plain: &[u8], chunks: &[&[u8]]) {
    let call = Call::new(Verb::Get, http::Request::default(), Raw::default());
    let (_, mut exchange) = call.begin(&case.limits);
    let mut head = head(500);
    let gzip = HeaderValue::from_static("gzip");
    head.headers.insert(CONTENT_ENCODING, gzip);
    exchange.handle_head(&head).expect("a good head");
    for chunk in chunks {
        let taken = exchange.handle_data(Bytes::copy_from_slice(chunk));
        taken.expect("failures take everything");
        assert!(exchange.buffered() <= case.limits.max_error_body);
    }
    let error = exchange.handle_end(case.end).expect_err("a failure");
    let kept = plain.len().min(case.limits.max_error_body);
    assert_eq!(error.body(), Some(&Bytes::copy_from_slice(&plain[..kept])));
}
