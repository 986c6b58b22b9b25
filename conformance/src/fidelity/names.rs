//! What a recorded request calls by its uid or version is called otherwise by this server.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Versions above this are meant to be in the future, on any server.
const FUTURE: u64 = 1_000_000;
/// Versions up to this are meant to be too old, on any server.
const ANCIENT: u64 = 2;

/// The only node, where it is named.
const NODE: [(&str, &str); 2] = [
    ("/nodes/127.0.0.1", "/nodes/node-1"),
    (r#""Node","name":"127.0.0.1""#, r#""Node","name":"node-1""#),
];

/// From recorded names to those of the server.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: BTreeMap<String, String>,
    revisions: BTreeMap<u64, u64>,
    /// The server's resourceVersion when it was last asked.
    pub(super) now: u64,
}

impl Names {
    /// The recorded version is the server's present one.
    pub(super) fn is_now(&mut self, recorded: u64) {
        self.revisions.insert(recorded, self.now);
    }

    /// Takes names from an answer and its recorded counterpart.
    pub(super) fn learn(&mut self, recorded: &Value, live: &Value) {
        match (recorded, live) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, a) in a {
                    let Some(b) = b.get(key) else { continue };
                    match (key.as_str(), a, b) {
                        ("uid", Value::String(a), Value::String(b)) if a.len() == 36 => {
                            self.texts.insert(a.clone(), b.clone());
                        }
                        ("resourceVersion", Value::String(a), Value::String(b)) => {
                            if let (Ok(a), Ok(b)) = (a.parse(), b.parse()) {
                                self.revisions.insert(a, b);
                            }
                        }
                        _ => self.learn(a, b),
                    }
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for (a, b) in a.iter().zip(b) {
                    self.learn(a, b);
                }
            }
            _ => {}
        }
    }

    /// Takes the tag of an answer.
    pub(super) fn learn_tag(&mut self, recorded: &str, live: &str) {
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        self.texts.insert(bare(recorded), bare(live));
    }

    fn revision(&self, recorded: u64) -> u64 {
        if recorded <= ANCIENT || recorded >= FUTURE {
            return recorded;
        }
        self.revisions.get(&recorded).copied().unwrap_or(self.now)
    }

    /// A recorded target or body, as this server has to be asked.
    pub(super) fn translate(&self, text: &str) -> String {
        let mut text = self.tokens(&self.versions(text));
        for (recorded, live) in NODE {
            text = text.replace(recorded, live);
        }
        for (recorded, live) in &self.texts {
            if text.contains(recorded.as_str()) {
                text = text.replace(recorded, live);
            }
        }
        text
    }

    fn versions(&self, text: &str) -> String {
        const KEY: &str = "resourceVersion";
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(KEY) {
            let (before, after) = rest.split_at(at + KEY.len());
            out.push_str(before);
            let digits = after
                .find(|char: char| !matches!(char, '"' | ':' | '=' | ' '))
                .unwrap_or(after.len());
            let (between, value) = after.split_at(digits);
            let end = value
                .find(|char: char| !char.is_ascii_digit())
                .unwrap_or(value.len());
            let (number, after) = value.split_at(end);
            out.push_str(between);
            match number.parse() {
                Ok(number) => out.push_str(&self.revision(number).to_string()),
                Err(_) => out.push_str(number),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// Continue tokens hold a version.
    fn tokens(&self, text: &str) -> String {
        const KEY: &str = "continue=";
        let Some(at) = text.find(KEY) else {
            return text.to_owned();
        };
        let (before, token) = text.split_at(at + KEY.len());
        let end = token.find('&').unwrap_or(token.len());
        let (token, after) = token.split_at(end);
        let live = self.token(token).unwrap_or_else(|| token.to_owned());
        format!("{before}{live}{after}")
    }

    fn token(&self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .or_else(|_| STANDARD_NO_PAD.decode(token))
            .ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (before, rest) = text.split_once("\"rv\":")?;
        let (number, after) = rest.split_once(',')?;
        let live = self.revision(number.parse().ok()?);
        Some(URL_SAFE_NO_PAD.encode(format!("{before}\"rv\":{live},{after}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_learned_from_answers() {
        let uid = |digit: &str| digit.repeat(36);
        let mut names = Names {
            now: 9,
            ..Names::default()
        };
        names.learn(
            &json!({"metadata": {"uid": uid("a"), "resourceVersion": "5869"}}),
            &json!({"metadata": {"uid": uid("b"), "resourceVersion": "77"}}),
        );
        assert_eq!(
            names.translate("/x?resourceVersion=5869&resourceVersionMatch=Exact"),
            "/x?resourceVersion=77&resourceVersionMatch=Exact"
        );
        assert_eq!(names.translate("resourceVersion=5870"), "resourceVersion=9");
        assert_eq!(
            names.translate("resourceVersion=abc"),
            "resourceVersion=abc"
        );
        assert_eq!(
            names.translate(&format!(
                r#"{{"uid":"{}","resourceVersion":"999999999"}}"#,
                uid("a")
            )),
            format!(r#"{{"uid":"{}","resourceVersion":"999999999"}}"#, uid("b"))
        );
        let token = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":5869,"start":"a\u0000"}"#);
        let live = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":77,"start":"a\u0000"}"#);
        assert_eq!(
            names.translate(&format!("/x?continue={token}&limit=1")),
            format!("/x?continue={live}&limit=1")
        );
    }
}
