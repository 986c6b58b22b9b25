//! RFC 6455's framing, written by hand so that it shares nothing with the client.

use bytes::Bytes;

/// One frame as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct WireFrame {
    pub(crate) fin: bool,
    pub(crate) reserved: u8,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Bytes,
}

/// Appends a frame.
pub(crate) fn encode(frame: &WireFrame, out: &mut Vec<u8>) {
    let payload = &frame.payload;
    out.push(u8::from(frame.fin) << 7 | frame.reserved << 4 | frame.opcode);
    let mask = u8::from(frame.masked) << 7;
    let len = payload.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => out.push(mask | short),
        (_, Ok(medium)) => {
            out.push(mask | 0x7e);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask | 0x7f);
            out.extend_from_slice(&u64::try_from(len).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    if frame.masked {
        // A mask that changes nothing.
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
}

/// Takes a client's bytes apart. An error says what is wrong with them.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = one(bytes).ok_or("a client frame is cut off")??;
        frames.push(frame);
        bytes = rest;
    }
    Ok(frames)
}

type One<'a> = ((u8, Vec<u8>), &'a [u8]);

fn one(bytes: &[u8]) -> Option<Result<One<'_>, String>> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    if first & 0xf0 != 0x80 {
        return Some(Err(format!(
            "a client frame is fragmented or has reserved bits: {first:02x}"
        )));
    }
    if second & 0x80 == 0 {
        return Some(Err("a client frame is not masked".to_owned()));
    }
    let (len, rest) = match second & 0x7f {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len), rest)
        }
        len => (u64::from(len), rest),
    };
    if len > 1 + (32 << 10) {
        return Some(Err(format!(
            "a client frame of {len} bytes, more than 32 KiB of data"
        )));
    }
    let (&mask, rest) = rest.split_first_chunk::<4>()?;
    let (data, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let mut payload = data.to_vec();
    let (words, tail) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some(Ok(((first & 15, payload), rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_frames_are_unmasked_and_judged() {
        // RFC 6455 5.7.
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(decode(hello).unwrap(), [(1, b"Hello".to_vec())]);
        for bad in [
            &b"\x81\x05Hello"[..],
            b"\x01\x80\0\0\0\0",
            b"\xc2\x80\0\0\0\0",
            b"\x82\x85\0\0\0\0Hell",
        ] {
            assert!(decode(bad).is_err());
        }
    }

    #[test]
    fn frames_have_the_shortest_header() {
        for (len, header) in [(125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let mut out = Vec::new();
            let frame = WireFrame {
                fin: true,
                reserved: 0,
                opcode: 2,
                masked: false,
                payload: vec![7; len].into(),
            };
            encode(&frame, &mut out);
            assert_eq!(out.len(), header + len);
        }
    }
}
