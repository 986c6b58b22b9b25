//! The WebSocket handshake and its subprotocols.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};

use super::super::auth::TOKEN_PROTOCOL;
use super::super::body::Body;
use super::super::call::Call;
use super::super::reply::{self, Reply};
use super::super::status::{Failure, Result};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    V5,
    V4,
    V4Base64,
    V1,
    V1Base64,
    /// None offered: as v1, with an empty header in the answer.
    Unnamed,
    Tunnel,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V4Base64 => "v4.base64.channel.k8s.io",
            Self::V1 => "channel.k8s.io",
            Self::V1Base64 => "base64.channel.k8s.io",
            Self::Unnamed => "",
            Self::Tunnel => TUNNEL,
        }
    }

    pub(super) fn is_base64(self) -> bool {
        matches!(self, Self::V4Base64 | Self::V1Base64)
    }

    /// Whether there is a JSON status at the end.
    pub(super) fn has_status(self) -> bool {
        matches!(self, Self::V5 | Self::V4 | Self::V4Base64)
    }
}

/// The offers of the first header line, which is all that a real server reads.
fn offers(call: &Call) -> Vec<&str> {
    let first = call
        .headers
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    first
        .split(',')
        .map(str::trim)
        .filter(|o| !o.is_empty() && !o.starts_with(TOKEN_PROTOCOL))
        .collect()
}

/// v5 wherever it stands, else the first that is known.
pub(super) fn remote_command(offers: &[&str]) -> Option<Protocol> {
    let known = [
        Protocol::V5,
        Protocol::V4,
        Protocol::V4Base64,
        Protocol::V1,
        Protocol::V1Base64,
    ];
    if offers.is_empty() {
        return Some(Protocol::Unnamed);
    }
    if offers.contains(&Protocol::V5.name()) {
        return Some(Protocol::V5);
    }
    offers
        .iter()
        .find_map(|offer| known.into_iter().find(|p| p.name() == *offer))
}

/// The tunnel wherever it stands, else the first that is known.
pub(super) fn port_forward(offers: &[&str]) -> Option<Protocol> {
    let known = [Protocol::V4, Protocol::V4Base64];
    if offers.is_empty() {
        return Some(Protocol::Unnamed);
    }
    if offers.contains(&TUNNEL) {
        return Some(Protocol::Tunnel);
    }
    offers
        .iter()
        .find_map(|offer| known.into_iter().find(|p| p.name() == *offer))
}

pub(super) fn offers_tunnel(call: &Call) -> bool {
    offers(call).contains(&TUNNEL)
}

/// The Accept header is passed to a kubelet that has nothing but streams to offer.
pub(super) fn check_accept(call: &Call) -> Result<()> {
    match call.header("accept") {
        Some(accept) if !accept.is_empty() && !accept.contains("*/*") => Err(Failure::kubelet(
            406,
            "406: Not Acceptable\n\nAvailable representations: ",
        )),
        _ => Ok(()),
    }
}

/// Makes the 101, or refuses as the WebSocket library does.
pub(super) fn accept(
    call: &Call,
    choose: fn(&[&str]) -> Option<Protocol>,
) -> Result<(Reply, Protocol)> {
    let refuse = |code: u16, text: &str| Failure::kubelet(code, text).closing().untyped();
    if call.method != http::Method::GET {
        return Err(refuse(405, "bad method"));
    }
    if call.header("sec-websocket-version") != Some("13") {
        return Err(
            refuse(400, "missing or bad WebSocket Version").header("sec-websocket-version", "13")
        );
    }
    let key = call.header("sec-websocket-key").unwrap_or_default();
    if key.is_empty() {
        return Err(refuse(400, "mismatch challenge/response"));
    }
    let offers = offers(call);
    let named = call.headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
    let protocol = if offers.is_empty() && named {
        None
    } else {
        choose(&offers)
    };
    let Some(protocol) = protocol else {
        return Err(refuse(403, ""));
    };
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut response = reply::plain(101, "", Body::empty());
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&STANDARD.encode(hash.digest().bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(protocol.name()),
    );
    Ok((response, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation() {
        for (offers, expected) in [
            (
                &["v4.channel.k8s.io", "v5.channel.k8s.io"][..],
                Some(Protocol::V5),
            ),
            (&["channel.k8s.io", "v4.channel.k8s.io"], Some(Protocol::V1)),
            (
                &["v9.channel.k8s.io", "v4.channel.k8s.io"],
                Some(Protocol::V4),
            ),
            (&["v9.channel.k8s.io"], None),
            (&[], Some(Protocol::Unnamed)),
        ] {
            assert_eq!(remote_command(offers), expected, "{offers:?}");
        }
        assert_eq!(
            port_forward(&["v4.channel.k8s.io", TUNNEL]),
            Some(Protocol::Tunnel)
        );
        assert_eq!(
            port_forward(&["v5.channel.k8s.io", "v4.channel.k8s.io"]),
            Some(Protocol::V4)
        );
        assert_eq!(port_forward(&["v5.channel.k8s.io"]), None);
    }
}
