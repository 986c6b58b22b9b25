//! A resource, and answers for exchanges.

#![allow(dead_code, reason = "not every test needs everything")]

use bytes::Bytes;
use kubewire::{Api, ApiResource, Decode, Dynamic, End, Error, Exchange, Limits, Operation};

pub(crate) const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");

pub(crate) fn maps() -> Api<Dynamic> {
    Api::dynamic(MAPS).in_namespace("ns")
}

pub(crate) fn names(items: &[Dynamic]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item.metadata.name.as_deref().unwrap())
        .collect()
}

/// An answer to be fed in pieces.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

pub(crate) fn answer(code: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        code,
        headers: Vec::new(),
        body: body.into(),
        end: End::Clean,
    }
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn gzip(self) -> Self {
        let body = gzip(&self.body);
        Self { body, ..self }.header("content-encoding", "gzip")
    }

    pub(crate) fn cut(mut self) -> Self {
        self.end = End::Truncated;
        self
    }
}

/// Feeds an answer in pieces of a size; items, then the error that ended it.
pub(crate) fn feed<O: Operation>(
    operation: O,
    answer: &Answer,
    size: usize,
    limits: &Limits,
) -> (Vec<<O::Decoder as Decode>::Item>, Option<Error>) {
    let (items, error, _) = feed_to(operation.into_call().unwrap().begin(limits).1, answer, size);
    (items, error)
}

/// The same, and the exchange for what follows.
pub(crate) fn feed_to<D: Decode>(
    mut exchange: Exchange<D>,
    answer: &Answer,
    size: usize,
) -> (Vec<D::Item>, Option<Error>, Exchange<D>) {
    let mut head = http::Response::builder().status(answer.code);
    for (name, value) in &answer.headers {
        head = head.header(*name, value);
    }
    let mut items = Vec::new();
    let mut error = exchange
        .handle_head(&head.body(()).unwrap().into_parts().0)
        .err();
    for chunk in answer.body.chunks(size) {
        if error.is_some() {
            break;
        }
        error = exchange.handle_data(Bytes::copy_from_slice(chunk)).err();
        error = drain(&mut exchange, &mut items).or(error);
    }
    if error.is_none() {
        error = exchange.handle_end(answer.end).err();
        error = drain(&mut exchange, &mut items).or(error);
    }
    assert!(!exchange.wants_data());
    (items, error, exchange)
}

fn drain<D: Decode>(exchange: &mut Exchange<D>, items: &mut Vec<D::Item>) -> Option<Error> {
    loop {
        match exchange.poll_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// One gzip member.
pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in plain {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
        }
    }
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bytes.extend(miniz_oxide::deflate::compress_to_vec(plain, 6));
    bytes.extend((!crc).to_le_bytes());
    bytes.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
    bytes
}
