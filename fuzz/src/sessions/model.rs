//! What a server says to a session, and what a session says to it.

use std::collections::VecDeque;

use kubewire::channel;

/// What the session has.
pub(super) struct Shape {
    /// Whether something can come, by channel of the API.
    pub(super) readers: Vec<bool>,
    /// Where something can be sent: the channel on the wire, by channel of the API.
    pub(super) lanes: Vec<u8>,
    pub(super) ports: Vec<u16>,
    pub(super) tty: bool,
    pub(super) half_close: bool,
}

/// One incoming channel.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Reader {
    pub(super) there: bool,
    /// What the server sent and nobody read yet.
    pub(super) expected: VecDeque<u8>,
    pub(super) discarded: bool,
    /// The last look found nothing.
    pub(super) waiting: bool,
    /// An event told to look again.
    pub(super) told: bool,
    pub(super) end_known: bool,
}

impl Reader {
    fn new(there: bool) -> Self {
        Self {
            there,
            expected: VecDeque::new(),
            discarded: false,
            waiting: true,
            told: false,
            end_known: !there,
        }
    }
}

/// One outgoing channel.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Writer {
    /// Accepted and not seen on the wire yet.
    pub(super) accepted: VecDeque<u8>,
    pub(super) finished: bool,
    pub(super) close_seen: bool,
    pub(super) turned_away: bool,
    pub(super) told: bool,
}

/// Both sides of a session.
pub(super) struct Model {
    pub(super) shape: Shape,
    pub(super) readers: Vec<Reader>,
    pub(super) writers: Vec<Writer>,
    /// The words of ports that failed.
    pub(super) failed: Vec<Option<Vec<u8>>>,
    pub(super) size: Option<(u16, u16)>,
    pub(super) seen_size: Option<(u16, u16)>,
    /// This side closed.
    pub(super) closing: bool,
    /// By port: its data and its error channel.
    announced: Vec<(bool, bool)>,
    max_error_body: usize,
}

impl Model {
    pub(super) fn new(shape: Shape, max_error_body: usize) -> Self {
        let count = shape.readers.len();
        Self {
            readers: shape
                .readers
                .iter()
                .map(|&there| Reader::new(there))
                .collect(),
            writers: shape.lanes.iter().map(|_| Writer::default()).collect(),
            failed: vec![None; count],
            shape,
            size: None,
            seen_size: None,
            closing: false,
            announced: vec![(false, false); count],
            max_error_body,
        }
    }

    /// What a message of the server must do; whether it is a good one.
    pub(super) fn hear(&mut self, message: &[u8]) -> bool {
        let (channel, data) = (usize::from(message[0]), &message[1..]);
        if data.is_empty() {
            return true;
        }
        if self.shape.ports.is_empty() {
            if matches!(channel, 1 | 2) {
                self.arrive(channel, data);
            }
            return true;
        }
        let index = channel / 2;
        let Some(&port) = self.shape.ports.get(index) else {
            return true;
        };
        let announces = data == port.to_le_bytes();
        let (of_data, of_error) = &mut self.announced[index];
        if channel % 2 == 1 {
            if announces && !*of_error {
                *of_error = true;
            } else {
                let max = self.max_error_body;
                let text = self.failed[index].get_or_insert_default();
                let room = max.saturating_sub(text.len()).min(data.len());
                text.extend_from_slice(&data[..room]);
            }
        } else if *of_data {
            if self.failed[index].is_none() {
                self.arrive(index, data);
            }
        } else {
            *of_data = announces;
            return announces;
        }
        true
    }

    fn arrive(&mut self, channel: usize, data: &[u8]) {
        let reader = &mut self.readers[channel];
        if reader.there && !reader.discarded && !self.closing {
            reader.expected.extend(data);
        }
    }

    /// A message of this side, read by hand.
    pub(super) fn sent(&mut self, message: &[u8]) {
        let (&channel, data) = message.split_first().expect("a channel");
        if let Some(lane) = self.shape.lanes.iter().position(|&lane| lane == channel) {
            let writer = &mut self.writers[lane];
            assert!(!data.is_empty() && data.len() <= channel::MAX_DATA);
            assert!(!writer.close_seen, "data after the end of input");
            assert!(
                data.len() <= writer.accepted.len(),
                "more than was accepted"
            );
            let accepted: Vec<u8> = writer.accepted.drain(..data.len()).collect();
            assert!(data == accepted, "data changed on the way");
            return;
        }
        match channel {
            channel::CLOSE => {
                let lane = self.shape.lanes.iter().position(|&lane| [lane] == *data);
                let writer = &mut self.writers[lane.expect("a channel that is")];
                assert!(self.shape.half_close && writer.finished);
                assert!(!std::mem::replace(&mut writer.close_seen, true));
            }
            channel::RESIZE => {
                assert!(self.shape.tty);
                let size: serde_json::Value = serde_json::from_slice(data).expect("JSON");
                let read = |name: &str| {
                    let number = size[name].as_u64().expect("a number");
                    u16::try_from(number).expect("a short number")
                };
                self.seen_size = Some((read("Width"), read("Height")));
            }
            other => panic!("channel {other} is not for clients"),
        }
    }
}
