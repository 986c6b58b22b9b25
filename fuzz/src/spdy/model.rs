//! What a server says through a tunnel, and what the tunnel says to it.

use std::collections::VecDeque;

use kubewire::session::{ConnectionFault, ConnectionId, Tunnel};

use super::codec::{ClientSpdy, Heard, Sent, ServerSpdy};

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) port: u16,
    pub(super) held: bool,
    // Of the server.
    /// Came and was not read yet.
    pub(super) expected: VecDeque<u8>,
    pub(super) done: bool,
    /// No data can be read after what is expected.
    pub(super) ended: bool,
    /// Ended before the server did.
    pub(super) cut: bool,
    pub(super) discarded: bool,
    pub(super) text: Vec<u8>,
    pub(super) error_done: bool,
    pub(super) fault: Option<ConnectionFault>,
    /// A reset came when both sides may have been through, or not.
    pub(super) vague: bool,
    /// The last look found nothing.
    pub(super) waiting: bool,
    pub(super) told: bool,
    pub(super) end_known: bool,
    pub(super) failures: usize,
    // Of the client.
    pub(super) accepted: VecDeque<u8>,
    pub(super) finished: bool,
    pub(super) turned_away: bool,
    pub(super) opened: [bool; 2],
    pub(super) fin_seen: bool,
    pub(super) reset_seen: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, port: u16) -> Self {
        Self {
            id,
            port,
            held: true,
            expected: VecDeque::new(),
            done: false,
            ended: false,
            cut: false,
            discarded: false,
            text: Vec::new(),
            error_done: false,
            fault: None,
            vague: false,
            waiting: true,
            told: false,
            end_known: false,
            failures: 0,
            accepted: VecDeque::new(),
            finished: false,
            turned_away: false,
            opened: [false; 2],
            fin_seen: false,
            reset_seen: false,
        }
    }

    pub(super) fn fail(&mut self, fault: ConnectionFault) {
        let better = match (&self.fault, &fault) {
            (None, _) | (Some(ConnectionFault::Reset(_)), ConnectionFault::Node(_)) => true,
            (Some(_), _) => false,
        };
        if better {
            self.fault = Some(fault);
            self.end();
        }
    }

    pub(super) fn end(&mut self) {
        self.cut |= !self.done;
        self.ended = true;
    }

    pub(super) fn words(&mut self) -> Option<ConnectionFault> {
        let text = std::mem::take(&mut self.text);
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(ConnectionFault::Node(text))
    }

    pub(super) fn error_end(&mut self) {
        self.error_done = true;
        if let Some(fault) = self.words() {
            self.fail(fault);
        }
    }

    /// The node is through with it, one way or the other.
    pub(super) fn is_closed(&self) -> bool {
        self.fault.is_some() || (self.done && self.error_done)
    }
}

/// Both sides of a tunnel.
pub(super) struct Model {
    pub(super) connections: Vec<Connection>,
    pub(super) client_spdy: ClientSpdy,
    pub(super) going_away: bool,
    /// This side closed.
    pub(super) closing: bool,
    server_spdy: ServerSpdy,
    /// Pings of SPDY.
    echoes: Vec<u32>,
    next_echo: usize,
    own_echoes: u32,
    max_error_body: usize,
}

impl Model {
    pub(super) fn new(max_error_body: usize) -> Self {
        Self {
            connections: Vec::new(),
            client_spdy: ClientSpdy::default(),
            going_away: false,
            closing: false,
            server_spdy: ServerSpdy::default(),
            echoes: Vec::new(),
            next_echo: 0,
            own_echoes: 0,
            max_error_body,
        }
    }

    /// What a message of the server must do; whether it is a good one.
    pub(super) fn hear(&mut self, message: &[u8]) -> bool {
        let (heard, good) = self.server_spdy.push(message);
        for heard in heard {
            self.handle(heard);
        }
        good
    }

    fn handle(&mut self, heard: Heard) {
        let max = self.max_error_body;
        let stream = match &heard {
            Heard::Ping(id) => {
                if id % 2 == 0 {
                    self.echoes.push(*id);
                }
                return;
            }
            Heard::GoAway(last) => {
                self.going_away = true;
                for connection in &mut self.connections {
                    if connection.id.get() * 4 + 3 > *last {
                        connection.fail(ConnectionFault::NotStarted);
                    }
                }
                return;
            }
            Heard::Data(stream, _) | Heard::Fin(stream) | Heard::Reset(stream, _) => *stream,
        };
        let Some(connection) = self.connections.get_mut((stream / 4) as usize) else {
            return;
        };
        match (stream % 4, heard) {
            (1, Heard::Data(_, data)) => {
                let open = !connection.error_done && connection.held;
                let max = if open { max } else { 0 };
                let room = max.saturating_sub(connection.text.len()).min(data.len());
                connection.text.extend_from_slice(&data[..room]);
            }
            (1, _) => connection.error_end(),
            (3, Heard::Data(_, data))
                if connection.held && !connection.ended && !connection.discarded =>
            {
                connection.expected.extend(data);
            }
            (3, Heard::Fin(_)) => {
                connection.done = true;
                connection.ended = true;
            }
            (3, Heard::Reset(_, status)) => {
                if connection.done && connection.finished {
                    connection.vague = true;
                } else {
                    let fault = connection.words();
                    connection.fail(fault.unwrap_or(ConnectionFault::Reset(status)));
                }
            }
            _ => {}
        }
    }

    /// A message of this side.
    pub(super) fn sent(&mut self, message: &[u8]) {
        for sent in self.client_spdy.push(message) {
            self.check_sent(sent);
        }
    }

    fn check_sent(&mut self, sent: Sent) {
        let (Sent::Open(stream, ..) | Sent::Data(stream, ..) | Sent::Reset(stream, _)) = sent
        else {
            if let Sent::Ping(id) = sent {
                self.sent_ping(id);
            }
            return;
        };
        let index = (stream / 4) as usize;
        let later = &self.connections[index + 1..];
        let first = later.iter().all(|connection| !connection.opened[0]);
        let connection = &mut self.connections[index];
        assert!(!connection.reset_seen, "after the last word");
        match sent {
            Sent::Open(_, fin, headers) => {
                let of_data = stream % 4 == 3;
                assert!(of_data || stream % 4 == 1);
                assert!(first, "ids go up");
                assert_eq!(connection.opened, [of_data, false], "the order of streams");
                assert_eq!(fin, !of_data);
                connection.opened[usize::from(of_data)] = true;
                let value = |name: &str| {
                    let header = headers.iter().find(|header| header.0 == name);
                    header.expect("a header").1.clone()
                };
                assert_eq!(headers.len(), 3);
                assert_eq!(value("port"), connection.port.to_string());
                assert_eq!(value("requestid"), index.to_string());
                let kind = if of_data { "data" } else { "error" };
                assert_eq!(value("streamtype"), kind);
            }
            Sent::Data(_, fin, data) => {
                assert!(stream % 4 == 3 && connection.opened[1]);
                assert!(!connection.fin_seen, "data after the end");
                assert!(data.len() <= connection.accepted.len(), "not accepted");
                let accepted: Vec<u8> = connection.accepted.drain(..data.len()).collect();
                assert!(data == accepted, "data changed on the way");
                if fin {
                    assert!(data.is_empty() && connection.accepted.is_empty());
                    assert!(connection.finished, "an end that nobody wanted");
                    connection.fin_seen = true;
                } else {
                    assert!(!data.is_empty(), "an empty frame");
                }
            }
            Sent::Reset(_, status) => {
                assert!(stream % 4 == 3 && connection.opened[1]);
                assert_eq!(status, 5);
                let closed = connection.is_closed() || connection.vague;
                assert!(closed || connection.discarded, "a reset without a reason");
                connection.reset_seen = true;
            }
            Sent::Ping(_) => {}
        }
    }

    fn sent_ping(&mut self, id: u32) {
        if id % 2 == 1 {
            assert_eq!(id, self.own_echoes * 2 + 1);
            self.own_echoes += 1;
            return;
        }
        let rest = &self.echoes[self.next_echo..];
        let at = rest.iter().position(|&echo| echo == id);
        self.next_echo += 1 + at.expect("an echo of a ping");
    }

    /// Only time can tell that nobody reads a connection for which others wait.
    pub(super) fn stalled(&mut self, tunnel: &Tunnel, may_reset: bool) {
        let waiting = |connection: &Connection| connection.held && connection.waiting;
        let count = self.connections.iter().filter(|one| waiting(one)).count();
        for connection in &mut self.connections {
            let fault = tunnel.fault(connection.id);
            if fault == connection.fault.as_ref() {
                continue;
            }
            if connection.vague
                && fault.is_some_and(|fault| {
                    matches!(fault, ConnectionFault::Reset(_) | ConnectionFault::Node(_))
                })
            {
                continue;
            }
            if !connection.held {
                continue;
            }
            assert_eq!(fault, Some(&ConnectionFault::Stalled));
            assert!(may_reset && connection.fault.is_none());
            assert!(!connection.expected.is_empty(), "a reset for nothing");
            assert!(count > usize::from(waiting(connection)), "for nobody");
            connection.fail(ConnectionFault::Stalled);
            connection.discarded = true;
            connection.expected.clear();
        }
    }
}
