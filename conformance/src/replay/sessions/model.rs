//! What should be seen of a session, worked out from frames with nothing of kubewire.

use serde_json::{Value, json};

use super::super::feed::status_value;
use super::seen::{Action, End, Seen};
use super::wire::WireFrame;

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Streams {
        attach: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    },
    Ports(Vec<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Done,
}

#[derive(Default)]
struct Channel {
    asked: bool,
    ended: bool,
}

#[derive(Default)]
struct Port {
    data_named: bool,
    error_named: bool,
    error: Option<Vec<u8>>,
}

/// A session as the protocol has it.
pub(super) struct Model {
    asked: Asked,
    half_close: bool,
    max_message: usize,
    max_text: usize,
    phase: Phase,
    channels: Vec<Channel>,
    ports: Vec<Port>,
    input_finished: bool,
    opened: bool,
    /// The message that is coming in fragments, and its opcode.
    partial: Option<(u8, Vec<u8>)>,
    text: Vec<u8>,
    outcome: Option<Value>,
    seen: Seen,
}

type Fault = &'static str;

impl Model {
    pub(super) fn new(
        asked: &Asked,
        half_close: bool,
        max_message: usize,
        max_text: usize,
    ) -> Self {
        let channels: Vec<Channel> = match asked {
            Asked::Streams {
                stdout,
                stderr,
                tty,
                ..
            } => [false, *stdout, *stderr && !tty]
                .map(|asked| Channel {
                    asked,
                    ended: !asked,
                })
                .into(),
            Asked::Ports(ports) => ports
                .iter()
                .map(|_| Channel {
                    asked: true,
                    ended: false,
                })
                .collect(),
        };
        let ports = match asked {
            Asked::Streams { .. } => 0,
            Asked::Ports(ports) => ports.len(),
        };
        Self {
            asked: asked.clone(),
            half_close,
            max_message,
            max_text,
            phase: Phase::Open,
            ports: (0..ports).map(|_| Port::default()).collect(),
            input_finished: false,
            opened: false,
            partial: None,
            text: Vec::new(),
            outcome: None,
            seen: Seen {
                data: vec![Vec::new(); channels.len()],
                ..Seen::default()
            },
            channels,
        }
    }

    fn is_tty(&self) -> bool {
        matches!(self.asked, Asked::Streams { tty: true, .. })
    }

    fn takes(&self, channel: u8) -> bool {
        match &self.asked {
            Asked::Streams { stdin, .. } => *stdin && channel == 0,
            Asked::Ports(ports) => usize::from(channel) < ports.len(),
        }
    }

    fn is_over(&self) -> bool {
        self.phase != Phase::Open || self.outcome.is_some()
    }

    fn port_failed(&self, channel: u8) -> bool {
        self.ports
            .get(usize::from(channel))
            .is_some_and(|port| port.error.is_some())
    }

    pub(super) fn act(&mut self, action: &Action) {
        let result = match action {
            Action::Send { channel, data } => {
                if !self.takes(*channel) {
                    "Usage"
                } else if self.is_over() || self.input_finished || self.port_failed(*channel) {
                    "Closed"
                } else {
                    if !data.is_empty() {
                        let wire = match self.asked {
                            Asked::Streams { .. } => *channel,
                            Asked::Ports(_) => 2 * channel,
                        };
                        self.seen.sent(wire, data);
                    }
                    "ok"
                }
            }
            Action::Finish(channel) => {
                if !self.takes(*channel) {
                    "Usage"
                } else if self.is_over() || self.input_finished || self.port_failed(*channel) {
                    "ok"
                } else if !self.ports.is_empty() || self.is_tty() || !self.half_close {
                    "Usage"
                } else {
                    self.input_finished = true;
                    self.seen.signal(format!("finish {channel}"));
                    "ok"
                }
            }
            Action::Resize { width, height } => {
                if !self.is_tty() || *width == 0 || *height == 0 {
                    "Usage"
                } else if self.is_over() {
                    "Closed"
                } else {
                    self.seen.signal(format!("resize {width}x{height}"));
                    "ok"
                }
            }
            Action::Ping => {
                if self.phase == Phase::Open {
                    self.seen.signal("ping");
                }
                "ok"
            }
            Action::Close => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Closing;
                    self.seen.signal("close 1000");
                    self.end_channels();
                }
                "ok"
            }
        };
        self.seen.calls.push(result.to_owned());
    }

    fn end_channels(&mut self) {
        for channel in &mut self.channels {
            channel.ended = true;
        }
    }

    pub(super) fn receive(&mut self, frame: &WireFrame) {
        if self.phase == Phase::Done {
            return;
        }
        if let Err(kind) = self.frame(frame) {
            self.seen.fault = Some(kind.to_owned());
            self.conclude(&json!({ "aborted": kind }));
            if self.phase == Phase::Open {
                let code = if kind == "Limit" { 1009 } else { 1002 };
                self.seen.signal(format!("close {code}"));
            }
            self.phase = Phase::Done;
            self.end_channels();
        }
    }

    fn frame(&mut self, frame: &WireFrame) -> Result<(), Fault> {
        if frame.reserved != 0 || frame.masked {
            return Err("Peer");
        }
        let payload = &frame.payload[..];
        if frame.opcode >= 8 && (!frame.fin || payload.len() > 125) {
            return Err("Peer");
        }
        match frame.opcode {
            9 => {
                if self.phase == Phase::Open {
                    self.seen.pongs.push(payload.to_vec());
                }
                Ok(())
            }
            10 => Ok(()),
            8 => self.close(payload),
            0..=2 => {
                let mut message = match (frame.opcode, self.partial.take()) {
                    (0, Some(partial)) => partial,
                    (opcode @ 1..=2, None) => (opcode, Vec::new()),
                    _ => return Err("Peer"),
                };
                message.1.extend_from_slice(payload);
                if message.1.len() > self.max_message {
                    return Err("Limit");
                }
                if !frame.fin {
                    self.partial = Some(message);
                    return Ok(());
                }
                // Channel protocols have no text.
                if message.0 == 1 {
                    return Err("Peer");
                }
                self.message(&message.1)
            }
            _ => Err("Peer"),
        }
    }

    fn close(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let code = match payload {
            [] => None,
            [_] => return Err("Peer"),
            [high, low, reason @ ..] => {
                if std::str::from_utf8(reason).is_err() {
                    return Err("Peer");
                }
                match u16::from_be_bytes([*high, *low]) {
                    code @ (1000..=1003 | 1007..=1013 | 3000..=4999) => Some(code),
                    // Codes that may not be sent are taken for a breach of the protocol.
                    _ => Some(1002),
                }
            }
        };
        let end = match (self.phase, &self.asked, code) {
            (Phase::Closing, _, _) => json!({ "aborted": "Closed" }),
            (_, Asked::Ports(_), None | Some(1000)) => "ended".into(),
            _ => json!({ "aborted": "ClosedWithoutStatus", "code": code }),
        };
        self.conclude(&end);
        if self.phase == Phase::Open {
            self.seen.signal(match code {
                None => "close".to_owned(),
                Some(code) => format!("close {code}"),
            });
        }
        self.phase = Phase::Done;
        self.end_channels();
        Ok(())
    }

    fn message(&mut self, message: &[u8]) -> Result<(), Fault> {
        let (&channel, data) = message.split_first().ok_or("Peer")?;
        self.opened = true;
        if data.is_empty() {
            return Ok(());
        }
        let Asked::Ports(ports) = &self.asked else {
            match channel {
                1 | 2 => self.push(usize::from(channel), data),
                3 => self.status(data),
                _ => {}
            }
            return Ok(());
        };
        let index = usize::from(channel / 2);
        let Some(number) = ports.get(index) else {
            return Ok(());
        };
        let names = data == number.to_le_bytes();
        let port = &mut self.ports[index];
        if channel.is_multiple_of(2) {
            if port.data_named {
                self.push(index, data);
            } else if names {
                port.data_named = true;
            } else {
                return Err("Peer");
            }
        } else if names && !port.error_named {
            port.error_named = true;
        } else {
            append(port.error.get_or_insert_default(), data, self.max_text);
            self.channels[index].ended = true;
        }
        Ok(())
    }

    fn push(&mut self, index: usize, data: &[u8]) {
        if !self.channels[index].ended {
            self.seen.data[index].extend_from_slice(data);
        }
    }

    fn status(&mut self, data: &[u8]) {
        if self.outcome.is_some() {
            return;
        }
        match status(data).filter(|_| self.text.is_empty()) {
            Some(status) => self.outcome = Some(self.read(&status)),
            None => append(&mut self.text, data, self.max_text),
        }
    }

    fn read(&self, status: &Value) -> Value {
        if status["status"] == "Success" {
            return match self.asked {
                Asked::Streams { attach: true, .. } => "detached".into(),
                Asked::Streams { .. } | Asked::Ports(_) => json!({ "exit": 0 }),
            };
        }
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        let code = causes
            .filter(|cause| cause["reason"] == "ExitCode")
            .find_map(|cause| cause["message"].as_str()?.trim().parse::<i32>().ok());
        match code {
            Some(code) => json!({ "exit": code }),
            None => json!({ "failure": status_value(status) }),
        }
    }

    fn conclude(&mut self, end: &Value) {
        if self.outcome.is_some() {
            return;
        }
        let said = match status(&self.text) {
            Some(status) => Some(self.read(&status)),
            // Nothing, or a status that was cut off.
            None if matches!(self.text.first(), None | Some(b'{')) => None,
            None => {
                let text = String::from_utf8_lossy(&self.text);
                Some(json!({ "failure": { "status": "Failure", "message": text.trim() } }))
            }
        };
        self.outcome = Some(said.unwrap_or_else(|| end.clone()));
    }

    fn finished(&self) -> Vec<bool> {
        self.channels.iter().map(|channel| channel.ended).collect()
    }

    pub(super) fn end(mut self, end: End) -> Seen {
        self.seen.before = self.outcome.clone().into();
        self.seen.finished_before = self.finished();
        if end == End::Left {
            if self.phase == Phase::Open {
                self.act(&Action::Close);
                self.seen.calls.pop();
            }
            self.conclude(&json!({ "aborted": "Closed" }));
        } else if self.phase == Phase::Closing && end == End::Ended {
            self.conclude(&json!({ "aborted": "Closed" }));
        } else if self.phase != Phase::Done {
            let why = match end {
                End::Failed => "Transport",
                End::Ended | End::Left => "ConnectionLost",
            };
            self.conclude(&json!({ "aborted": why }));
        }
        self.end_channels();
        self.seen.finished = self.finished();
        self.seen.outcome = self.outcome.clone().into();
        self.seen.closed = true;
        if self.opened {
            self.seen.count("opened");
        }
        self.seen.count("outcome");
        self.seen.count("closed");
        for (index, channel) in self.channels.iter().enumerate() {
            if channel.asked {
                self.seen.count(format!("readable {index}"));
            }
        }
        for (index, port) in (0..).zip(&self.ports) {
            if let Some(error) = &port.error {
                self.seen.count(format!("failed {index}"));
                let text = String::from_utf8_lossy(error).into_owned();
                self.seen.ports.insert(index, text);
            }
        }
        self.seen
    }
}

fn append(to: &mut Vec<u8>, data: &[u8], max: usize) {
    let room = max.saturating_sub(to.len()).min(data.len());
    to.extend_from_slice(&data[..room]);
}

/// A `Status`, which says `Success` or `Failure`.
fn status(text: &[u8]) -> Option<Value> {
    let status: Value = serde_json::from_slice(text).ok()?;
    matches!(status["status"].as_str(), Some("Success" | "Failure")).then_some(status)
}
