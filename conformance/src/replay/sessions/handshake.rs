//! Handshakes: what the client asks for, and what is to come of the answer.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubewire::session::{Answer as HeadAnswer, Offer, Protocol, Upgrade};
use kubewire::{Error, ErrorKind, Limits};
use serde_json::{Value, json};

use super::super::compare::differences;
use super::super::expect::{Expectation, Shape};
use super::super::feed::{Answer, Cut, see_fault};
use super::super::transcript::Request;
use super::Exchange;
use super::plan::{self, Canonical};

/// What the client offers.
pub(super) const OFFER_STREAMS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";
pub(super) const OFFER_PORTS: &str = "v4.channel.k8s.io";

/// What is to come of a handshake.
pub(super) enum Expected {
    /// A session; whether it can end its input.
    Session { half_close: bool },
    /// The server's refusal.
    Refused(Value),
    /// The client's: the answer breaks a rule. The error names this.
    Broken { names: String, counted: String },
    /// No answer.
    Truncated,
}

/// Builds an upgrade, as often as it is needed.
pub(super) type Make<'a, P> = &'a dyn Fn() -> Result<Upgrade<P>, Error>;

/// Feeds the answer to a handshake. The outer error is a breach of its contract.
pub(super) fn shake<P: Offer>(
    upgrade: Upgrade<P>,
    key: [u8; 16],
    answer: &Answer,
    cut: Cut,
    limits: &Limits,
) -> Result<Result<P::Session, Error>, String> {
    let (_, mut handshake) = upgrade.begin(key, limits);
    let answered = answer.head.as_ref().map(|head| handshake.handle_head(head));
    if let Some(Ok(HeadAnswer::Refused)) = &answered {
        for piece in answer.cut(cut) {
            handshake.handle_data(&piece);
        }
    }
    let shaken = handshake.finish(now());
    let agree = match (&answered, &shaken) {
        (Some(Ok(HeadAnswer::Switched)), Ok(_)) => true,
        (Some(Ok(HeadAnswer::Refused)), Err(error)) => error.kind() == ErrorKind::Api,
        (Some(Err(first)), Err(error)) => first.to_string() == error.to_string(),
        (None, Err(error)) => error.kind() == ErrorKind::Truncated,
        _ => false,
    };
    if agree {
        Ok(shaken)
    } else {
        Err("handle_head and finish do not agree".to_owned())
    }
}

/// The recorded target, for upgrades that no operation makes; the answer does not depend on it.
pub(super) fn uri(request: &Request) -> http::Uri {
    request.target.parse().unwrap_or_default()
}

/// The origin of virtual time: nothing waits for it.
pub(super) fn now() -> Instant {
    Instant::now()
}

impl Exchange<'_> {
    /// Compares the request that an operation builds with the recorded one.
    pub(super) fn compare<P: Offer>(
        &mut self,
        recorded: &Canonical,
        make: Make<'_, P>,
        what: &str,
        offer: &str,
    ) {
        let upgrade = match make() {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.faults.push(format!("{what}: refused: {error}"));
                return;
            }
        };
        let key = plan::key(self.request).unwrap_or([7; 16]);
        let (built, _) = upgrade.begin(key, &Limits::default());
        let headers: Vec<_> = built
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = value.to_str().unwrap_or("not ASCII");
                (name.to_string(), value.to_owned())
            })
            .collect();
        let offers: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name == "sec-websocket-protocol")
            .map(|(_, value)| value.as_str())
            .collect();
        let mut found = Vec::new();
        if offers != [offer] {
            found.push(format!("offers {offers:?}"));
        }
        for (name, _) in &headers {
            if !(name == "connection" || name == "upgrade" || name.starts_with("sec-websocket-")) {
                found.push(format!("header {name} is too much"));
            }
        }
        if !built.body().is_empty() {
            found.push("an upgrade with a body".to_owned());
        }
        let request = json!({
            "method": built.method().as_str(),
            "target": built.uri().to_string(),
            "headers": headers,
        });
        match serde_json::from_value::<Request>(request) {
            Ok(request) => {
                let built = Canonical::of(&request);
                found.extend(differences(&recorded.form, &built.form));
            }
            Err(error) => found.push(error.to_string()),
        }
        if !found.is_empty() {
            self.faults.push(format!(
                "{what}, request:\n      {}",
                found.join("\n      ")
            ));
        }
    }

    /// What RFC 6455 and the offer say about the answer.
    pub(super) fn expected(&self, key: [u8; 16], offer: &str) -> Expected {
        let Some(code) = self.response.status else {
            return Expected::Truncated;
        };
        let broken = |names: &str, counted: &str| Expected::Broken {
            names: names.to_owned(),
            counted: counted.to_owned(),
        };
        if code != 101 {
            if code < 300 {
                let counted = format!("the answer is {code}");
                return broken(&code.to_string(), &counted);
            }
            let of = |_: &Value| None;
            let expectation = Expectation {
                response: self.response,
                answer: &self.answer,
                shape: Shape::Bytes,
                types: (String::new(), String::new()),
                object: &of,
                request: None,
            };
            return Expected::Refused(expectation.failure(code));
        }
        let headers = |name: &str| -> Vec<&str> {
            let headers = self.response.headers.iter();
            headers
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .collect()
        };
        let token = |name: &str, wanted: &str| {
            let values = headers(name);
            let mut tokens = values.iter().flat_map(|value| value.split(','));
            tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
        };
        if !token("connection", "upgrade") || !token("upgrade", "websocket") {
            return broken("WebSocket", "a switch to something else");
        }
        let accept = sha1_smol::Sha1::from(format!(
            "{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
            STANDARD.encode(key)
        ));
        if headers("sec-websocket-accept").first()
            != Some(&STANDARD.encode(accept.digest().bytes()).as_str())
        {
            return broken("Accept", "the accept key does not fit");
        }
        if !headers("sec-websocket-extensions").is_empty() {
            return broken("extension", "an extension that was not offered");
        }
        match headers("sec-websocket-protocol")[..] {
            [] | [""] => broken("no subprotocol", "no subprotocol"),
            [chosen] if offer.split(", ").any(|offered| offered == chosen) => Expected::Session {
                half_close: chosen == "v5.channel.k8s.io",
            },
            [chosen] => broken(
                &format!("{chosen:?}"),
                &format!("the subprotocol {chosen}, which is not offered"),
            ),
            _ => broken("several subprotocols", "several subprotocols"),
        }
    }

    pub(super) fn shake_hands<P: Protocol>(
        &self,
        make: Make<'_, P>,
        key: [u8; 16],
        cut: Cut,
        expected: &Expected,
    ) -> Result<(), String> {
        let upgrade = make().map_err(|error| format!("building it again failed: {error}"))?;
        let shaken = shake(upgrade, key, &self.answer, cut, &Limits::default())?;
        match (expected, shaken) {
            (Expected::Session { .. }, Ok(session)) => {
                let chosen = self.response.header("sec-websocket-protocol");
                if chosen.map(str::trim) == Some(session.subprotocol().as_str()) {
                    Ok(())
                } else {
                    Err(format!("speaks {:?}", session.subprotocol()))
                }
            }
            (Expected::Refused(failure), Err(error)) => {
                let differences = differences(failure, &see_fault(&error));
                if differences.is_empty() {
                    Ok(())
                } else {
                    Err(differences.join("\n      "))
                }
            }
            (Expected::Broken { names, .. }, Err(error))
                if error.kind() == ErrorKind::Peer && error.to_string().contains(names) =>
            {
                Ok(())
            }
            (Expected::Truncated, Err(error)) if error.kind() == ErrorKind::Truncated => Ok(()),
            (_, shaken) => Err(format!("{:?}", shaken.map(|_| "a session"))),
        }
    }
}
