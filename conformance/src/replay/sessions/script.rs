//! Frames and handshake targets as neutral values.

use serde::Deserialize;

use super::super::target::{Target, go_bool};
use super::super::transcript::Request;

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
    rsv: Option<u8>,
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
    /// The three reserved bits, the first of them 4.
    pub reserved: u8,
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
    /// `ports`, one entry a port: a parameter may hold several.
    pub ports: Vec<String>,
    /// Parameters that no session has, or that stand there more than once.
    pub others: Vec<String>,
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
            reserved: self.rsv.unwrap_or(0) & 7,
            masked: self.masked_on_wire,
            payload,
        })
    }
}

impl SessionAsk {
    /// What an upgrade asks for; none if it is no session of a pod.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let target = Target::parse(&request.target);
        let [api, version, namespaces, namespace, pods, pod, subresource] = &target.segments[..]
        else {
            return None;
        };
        let known: (&[&str], &[&str]) = match subresource.as_str() {
            "exec" => (
                &["container", "stdin", "stdout", "stderr", "tty"],
                &["command"],
            ),
            "attach" => (&["container", "stdin", "stdout", "stderr", "tty"], &[]),
            "portforward" => (&[], &["ports"]),
            _ => return None,
        };
        if [api, version, namespaces, pods] != ["api", "v1", "namespaces", "pods"] {
            return None;
        }
        let (single, several) = known;
        let mut others: Vec<String> = target
            .query
            .iter()
            .map(|(key, _)| key.clone())
            .filter(|key| !several.contains(&key.as_str()))
            .filter(|key| {
                !single.contains(&key.as_str()) || target.parameters(key).nth(1).is_some()
            })
            .collect();
        others.sort();
        others.dedup();
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
            ports: target
                .parameters("ports")
                .flat_map(|list| list.split(','))
                .map(str::to_owned)
                .collect(),
            others,
            protocols: request
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
                .map(|(_, value)| value.clone())
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_says_what_is_asked_for() {
        let request: Request = serde_json::from_str(
            r#"{"method":"GET","target":"/api/v1/namespaces/a/pods/b/exec?command=sh&command=a%20b&stdin=1&tty=false&x=y",
                "headers":[["Sec-WebSocket-Protocol","v5.channel.k8s.io"]],"body":null}"#,
        )
        .unwrap();
        let ask = SessionAsk::of(&request).unwrap();
        assert_eq!(ask.others, ["x"]);
        assert_eq!((ask.namespace.as_str(), ask.pod.as_str()), ("a", "b"));
        assert_eq!(ask.command, ["sh", "a b"]);
        assert!(ask.stdin && !ask.tty && !ask.stdout);
        assert_eq!(ask.protocols, ["v5.channel.k8s.io"]);
    }
}
