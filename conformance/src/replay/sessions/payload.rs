//! The bytes of frames of which only length, hash and beginning were recorded.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::script::{Frame, Payload, Side};

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// SHA-256, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() else {
        return String::new();
    };
    let hash = suite.common.hash_provider.hash(bytes);
    hex(hash.as_ref())
}

/// Makes payloads, by the simple rules that recorders use; the hash tells which of them it was.
#[derive(Default)]
pub(crate) struct Payloads {
    known: BTreeMap<String, Bytes>,
    /// How much each side has sent on each channel.
    offsets: BTreeMap<(bool, u8), usize>,
    /// What the client has sent on channel 0, for servers that echo.
    input: Vec<u8>,
}

impl Payloads {
    /// The payload, and whether it is a stand-in of the same length and beginning.
    pub(crate) fn resolve(&mut self, frame: &Frame) -> (Bytes, bool) {
        let (bytes, stands_in) = match &frame.payload {
            Payload::Bytes(bytes) => (Bytes::from(bytes.clone()), false),
            Payload::Digest { len, sha256, head } => match self.known.get(sha256) {
                Some(bytes) => (bytes.clone(), false),
                None => match self.made(frame.side, *len, sha256, head) {
                    Some(bytes) => {
                        let bytes = Bytes::from(bytes);
                        self.known.insert(sha256.clone(), bytes.clone());
                        (bytes, false)
                    }
                    None => (stand_in(*len, head), true),
                },
            },
        };
        if let Some((&channel, data)) = bytes.split_first().filter(|_| frame.opcode < 8) {
            let client = frame.side == Side::Client;
            *self.offsets.entry((client, channel)).or_default() += data.len();
            if client && channel == 0 {
                self.input.extend_from_slice(data);
            }
        }
        (bytes, stands_in)
    }

    fn made(&self, side: Side, len: usize, hash: &str, head: &[u8]) -> Option<Vec<u8>> {
        let (&channel, start) = head.split_first()?;
        let len = len.checked_sub(1)?;
        let fits = |data: Vec<u8>| {
            let mut payload = data;
            payload.insert(0, channel);
            (payload.starts_with(head) && sha256(&payload) == hash).then_some(payload)
        };
        // One byte, or a short text, again and again.
        for period in 1..=start.len() / 2 {
            let unit = &start[..period];
            if !start.chunks(period).all(|chunk| unit.starts_with(chunk)) {
                continue;
            }
            let mut data = unit.repeat(len.div_ceil(period));
            data.truncate(len);
            if let Some(payload) = fits(data) {
                return Some(payload);
            }
        }
        let client = side == Side::Client;
        let offset = self.offsets.get(&(client, channel)).copied().unwrap_or(0);
        if !client
            && let Some(echo) = self.input.get(offset..offset + len)
            && let Some(payload) = fits(echo.to_vec())
        {
            return Some(payload);
        }
        // a + i*b + (i/256)*c, where i counts in the frame or in the channel.
        let (&[first, second], _) = start.split_first_chunk()?;
        let step = second.wrapping_sub(first);
        for from in [0, offset] {
            for turn in 0..8_u8 {
                let mut data = Vec::with_capacity(len + 1);
                let mut value = first;
                for at in from..from + len {
                    if at > from && at.is_multiple_of(256) {
                        value = value.wrapping_add(turn);
                    }
                    data.push(value);
                    value = value.wrapping_add(step);
                }
                if let Some(payload) = fits(data) {
                    return Some(payload);
                }
            }
        }
        None
    }
}

fn stand_in(len: usize, head: &[u8]) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut payload = head.to_vec();
    while payload.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        payload.extend_from_slice(&state.to_le_bytes());
    }
    payload.truncate(len);
    payload.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(side: Side, payload: &[u8]) -> Frame {
        Frame {
            side,
            fin: true,
            opcode: 2,
            reserved: 0,
            masked: side == Side::Client,
            payload: Payload::Digest {
                len: payload.len(),
                sha256: sha256(payload),
                head: payload[..16].to_vec(),
            },
        }
    }

    #[test]
    fn sha256_is_that_of_the_standard() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn payloads_are_made_by_rules() {
        let pattern: Vec<u8> = std::iter::once(0)
            .chain((0..5000_usize).map(|at| u8::try_from((at * 31 + (at >> 8)) & 255).unwrap()))
            .collect();
        let mut payloads = Payloads::default();
        assert_eq!(
            payloads.resolve(&frame(Side::Client, &pattern)),
            (pattern.clone().into(), false)
        );
        let mut echo = vec![1];
        echo.extend_from_slice(&pattern[1..3000]);
        assert_eq!(
            payloads.resolve(&frame(Side::Server, &echo)),
            (echo.clone().into(), false)
        );
        let text = [&b"\x02"[..], &b"yes\n".repeat(1000)].concat();
        assert_eq!(
            payloads.resolve(&frame(Side::Server, &text)),
            (text.clone().into(), false)
        );
        let noise = [&b"\x01"[..], sha256(b"x").as_bytes()].concat();
        let (made, stands_in) = payloads.resolve(&frame(Side::Server, &noise));
        assert!(stands_in && made.len() == noise.len() && made[..16] == noise[..16]);
    }
}
