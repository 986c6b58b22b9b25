//! WebSocket exchanges: frames and handshake targets as neutral values.
//!
//! The seam for the session machines: what a session is asked for ([`SessionAsk`]) and the script
//! that it follows ([`Frame`]s) are read here; feeding them is still to come.

use serde::Deserialize;

use super::target::{Target, go_bool};
use super::transcript::{Handshake, Transcript};

/// A frame, as it stands in a file.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedFrame {
    /// Milliseconds since the handshake request was sent.
    pub t_ms: f64,
    from: String,
    fin: bool,
    opcode: String,
    #[serde(default)]
    masked_on_wire: bool,
    #[serde(default)]
    rsv: Option<serde_json::Value>,
    #[serde(default)]
    payload_hex: Option<String>,
    #[serde(default)]
    payload_len: Option<usize>,
    #[serde(default)]
    payload_sha256: Option<String>,
    #[serde(default)]
    payload_head_hex: Option<String>,
}

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The recorder.
    Client,
    /// The server.
    Server,
}

/// What a frame carries, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All of it.
    Bytes(Vec<u8>),
    /// Too large to be recorded.
    Digest {
        /// Its length.
        len: usize,
        /// Its SHA-256, in hexadecimal.
        sha256: String,
        /// Its first bytes.
        head: Vec<u8>,
    },
}

/// One WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who sent it.
    pub side: Side,
    /// Whether it ends its message.
    pub fin: bool,
    /// RFC 6455's opcode.
    pub opcode: u8,
    /// Whether a reserved bit is set.
    pub reserved: bool,
    /// Whether it was masked on the wire.
    pub masked: bool,
    /// What it carries.
    pub payload: Payload,
}

/// What a handshake asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "PodExecOptions has them")]
pub struct SessionAsk {
    /// `exec`, `attach` or `portforward`.
    pub subresource: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// `container`.
    pub container: Option<String>,
    /// `command`, one entry an argument.
    pub command: Vec<String>,
    /// `stdin`.
    pub stdin: bool,
    /// `stdout`.
    pub stdout: bool,
    /// `stderr`.
    pub stderr: bool,
    /// `tty`.
    pub tty: bool,
    /// `ports`, as they were given.
    pub ports: Vec<String>,
    /// The sub-protocols that were offered, one entry a header line.
    pub protocols: Vec<String>,
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|char| u8::try_from(char.to_digit(16)?).ok())
        .collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => Ok(digits
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect()),
        _ => Err("a frame's payload is no hexadecimal text".to_owned()),
    }
}

impl RecordedFrame {
    /// The frame as a value.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn frame(&self) -> Result<Frame, String> {
        let payload = match (&self.payload_hex, self.payload_len, &self.payload_sha256) {
            (Some(text), _, _) => Payload::Bytes(hex(text)?),
            (None, Some(len), Some(sha256)) => Payload::Digest {
                len,
                sha256: sha256.clone(),
                head: hex(self.payload_head_hex.as_deref().unwrap_or_default())?,
            },
            _ => return Err("a frame without payload".to_owned()),
        };
        let opcode = match self.opcode.as_str() {
            "continuation" => 0,
            "text" => 1,
            "binary" => 2,
            "close" => 8,
            "ping" => 9,
            "pong" => 10,
            other => other
                .strip_prefix("reserved-")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| format!("a frame of opcode {other}"))?,
        };
        Ok(Frame {
            side: match self.from.as_str() {
                "client" => Side::Client,
                "server" => Side::Server,
                other => return Err(format!("a frame from {other}")),
            },
            fin: self.fin,
            opcode,
            reserved: self.rsv.is_some(),
            masked: self.masked_on_wire,
            payload,
        })
    }
}

impl SessionAsk {
    /// What a handshake asks for; none if it is no session of a pod.
    #[must_use]
    pub fn of(handshake: &Handshake) -> Option<Self> {
        let target = Target::parse(&handshake.request.target);
        let [api, version, namespaces, namespace, pods, pod, subresource] = &target.segments[..]
        else {
            return None;
        };
        if [api, version, namespaces, pods] != ["api", "v1", "namespaces", "pods"] {
            return None;
        }
        let flag = |key| target.parameter(key).is_some_and(go_bool);
        Some(Self {
            subresource: subresource.clone(),
            namespace: namespace.clone(),
            pod: pod.clone(),
            container: target.parameter("container").map(str::to_owned),
            command: target.parameters("command").map(str::to_owned).collect(),
            stdin: flag("stdin"),
            stdout: flag("stdout"),
            stderr: flag("stderr"),
            tty: flag("tty"),
            ports: target.parameters("ports").map(str::to_owned).collect(),
            protocols: handshake
                .request
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
                .map(|(_, value)| value.clone())
                .collect(),
        })
    }
}

/// Reads a WebSocket transcript, and says why it is not replayed.
///
/// # Errors
///
/// If the file is damaged.
pub fn skip(transcript: &Transcript, handshake: &Handshake) -> Result<String, String> {
    for frame in &transcript.frames {
        frame.frame()?;
    }
    let kind = transcript.kind.as_deref().unwrap_or("session");
    Ok(match SessionAsk::of(handshake) {
        Some(ask) if ask.subresource == kind => format!("session replay not built yet ({kind})"),
        _ => format!("a {kind} over WebSocket: no session of a pod"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_says_what_is_asked_for() {
        let handshake: Handshake = serde_json::from_str(
            r#"{"request":{"method":"GET","target":"/api/v1/namespaces/a/pods/b/exec?command=sh&command=a%20b&stdin=1&tty=false",
                "headers":[["Sec-WebSocket-Protocol","v5.channel.k8s.io"]],"body":null},"response":{"status":101}}"#,
        )
        .unwrap();
        let ask = SessionAsk::of(&handshake).unwrap();
        assert_eq!((ask.namespace.as_str(), ask.pod.as_str()), ("a", "b"));
        assert_eq!(ask.command, ["sh", "a b"]);
        assert!(ask.stdin && !ask.tty && !ask.stdout);
        assert_eq!(ask.protocols, ["v5.channel.k8s.io"]);
    }
}
