//! Recorded client frames in the words of the public API.

use bytes::Bytes;
use serde_json::Value;

use super::model::Asked;
use super::script::Frame;
use super::seen::Action;

/// An action, and what of the frame it does not say; or why there is none.
type Said = Result<(Action, Option<&'static str>), &'static str>;

/// A recorded client frame in the words of the public API.
pub(super) fn express(asked: &Asked, frame: &Frame, payload: &Bytes) -> Said {
    if !frame.masked {
        return Err("a frame that is not masked");
    }
    if frame.reserved != 0 {
        return Err("reserved bits");
    }
    match frame.opcode {
        _ if !frame.fin => return Err("a fragment"),
        0 => return Err("a fragment"),
        1 => return Err("a text message"),
        2 => {}
        8 => {
            let note = match &payload[..] {
                [3, 232] => None,
                [] => Some("a close without code is sent with 1000"),
                [_, _] => Some("a close with another code is sent with 1000"),
                _ => Some("a close with a reason is sent without"),
            };
            return Ok((Action::Close, note));
        }
        9 => {
            let note = (!payload.is_empty()).then_some("a ping's payload");
            return Ok((Action::Ping, note));
        }
        10 => return Err("a pong that nobody asked for"),
        _ => return Err("an opcode that RFC 6455 has not"),
    }
    let Some((&channel, data)) = payload.split_first() else {
        return Err("a message without channel");
    };
    let slice = payload.slice(1..);
    let note = data.is_empty().then_some("an empty message is not sent");
    match (asked, channel) {
        (_, 255) => match data {
            [channel] => {
                let channel = match asked {
                    Asked::Streams { .. } => *channel,
                    Asked::Ports(_) => channel / 2,
                };
                Ok((Action::Finish(channel), None))
            }
            _ => Err("a close signal that is not one byte"),
        },
        (Asked::Streams { .. }, 4) => {
            let Some((width, height)) = size(data) else {
                return Err("a size that is no JSON of two 16-bit numbers");
            };
            Ok((Action::Resize { width, height }, None))
        }
        (Asked::Ports(_), channel) if !channel.is_multiple_of(2) => {
            Err("data on the error channel of a port")
        }
        (Asked::Streams { .. }, channel) => Ok((
            Action::Send {
                channel,
                data: slice,
            },
            note,
        )),
        (Asked::Ports(_), channel) => Ok((
            Action::Send {
                channel: channel / 2,
                data: slice,
            },
            note,
        )),
    }
}

/// Go matches the keys of JSON in any case.
fn size(data: &[u8]) -> Option<(u16, u16)> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(data).ok()?;
    let side = |name: &str| {
        let mut fields = fields.iter();
        let (_, value) = fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        u16::try_from(value.as_u64()?).ok()
    };
    Some((side("width")?, side("height")?))
}
