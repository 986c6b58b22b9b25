//! Many connections over one link.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::{self, Connection, Lane};
use super::spdy::{self, Decoder, Frame, MAX_FRAME};
use super::{ConnectionFault, ConnectionId, TunnelEvent};
use crate::session::link::{Carry, Link, NORMAL, News, Phase};
use crate::session::{Abort, Outcome, SessionOptions, Unread};
use crate::ws::WebSocket;
use crate::{Error, ErrorKind, Limits};

/// Pings of the server that wait for their echo; a server that sends more does not get them all.
const MAX_PINGS: usize = 16;
/// What every connection may have waiting to be sent, even if the others have used up the window
/// (but not if they have twice as much: those that were released count too).
const FLOOR: usize = 4 << 10;
/// A message that is shorter has room for the next frame of a connection, whatever it is.
const ALMOST_FULL: usize = WebSocket::MAX_SEND - MAX_FRAME - (1 << 10);

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Machine {
    pub(super) link: Link,
    decoder: Decoder,
    table: BTreeMap<u32, Connection>,
    next: u32,
    /// Who has something to send, in turn. New connections come in the order of their ids.
    ready: VecDeque<u32>,
    /// Who has something to tell.
    news: VecDeque<u32>,
    /// Who holds as much as one may.
    full: Vec<u32>,
    /// Sums over the table.
    received: usize,
    sending: usize,
    /// Less is to be sent than when writers were last told.
    freed: bool,
    echoes: VecDeque<u32>,
    ping: bool,
    next_ping: u32,
    /// No stream was opened yet.
    first: bool,
    going_away: bool,
    told_going_away: bool,
    unread: Unread,
    /// Since when there is no room for input.
    blocked: Option<Instant>,
    window: usize,
    windows: usize,
    send_window: usize,
    max_text: usize,
}

impl Machine {
    pub(super) fn new(options: &SessionOptions, limits: &Limits, now: Instant) -> Self {
        let window = limits.receive_window.max(1);
        Self {
            link: Link::new(options, limits, now),
            decoder: Decoder::new(),
            table: BTreeMap::new(),
            next: 0,
            ready: VecDeque::new(),
            news: VecDeque::new(),
            full: Vec::new(),
            received: 0,
            sending: 0,
            freed: false,
            echoes: VecDeque::new(),
            ping: false,
            next_ping: 1,
            first: true,
            going_away: false,
            told_going_away: false,
            unread: options.unread,
            blocked: None,
            window: window.saturating_mul(4),
            windows: window.saturating_mul(16),
            send_window: limits.send_window.max(1),
            max_text: limits.max_error_body,
        }
    }

    /// Brings lists and sums up to date after a connection has changed.
    fn note(&mut self, id: u32) {
        let Some(connection) = self.table.get_mut(&id) else {
            return;
        };
        let before = connection.noted;
        let mut now = before;
        now.full = connection.inbox.is_full(self.window);
        now.received = connection.received();
        now.sending = connection.sending();
        now.ready |= connection.has_output();
        now.news |= connection.has_news();
        let over = connection.is_released() && !connection.has_output();
        connection.noted = now;
        self.freed |= now.sending < before.sending;
        self.received = self.received + now.received - before.received;
        self.sending = self.sending + now.sending - before.sending;
        if now.ready && !before.ready {
            self.ready.push_back(id);
        }
        if now.news && !before.news {
            self.news.push_back(id);
        }
        if now.full && !before.full {
            self.full.push(id);
        } else if before.full && !now.full {
            self.full.retain(|&full| full != id);
        }
        if over {
            self.table.remove(&id);
            self.received -= now.received;
            self.sending -= now.sending;
            for (listed, list) in [(now.ready, &mut self.ready), (now.news, &mut self.news)] {
                if listed {
                    list.retain(|&listed| listed != id);
                }
            }
        }
    }

    /// Changes a connection, if there is one.
    fn change<T>(&mut self, id: u32, change: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let result = change(self.table.get_mut(&id)?);
        self.note(id);
        Some(result)
    }

    fn change_all(&mut self, mut change: impl FnMut(&mut Connection)) {
        let ids: Vec<u32> = self.table.keys().copied().collect();
        for id in ids {
            self.change(id, &mut change);
        }
    }

    fn held(&self, id: ConnectionId) -> Option<&Connection> {
        self.table
            .get(&id.0)
            .filter(|connection| !connection.is_released())
    }

    fn unknown() -> Error {
        Error::usage("the tunnel has no such connection")
    }

    pub(super) fn open(&mut self, port: u16) -> Result<ConnectionId, Error> {
        if port == 0 {
            return Err(Error::usage("there is no port 0"));
        }
        if !self.can_open() {
            return Err(Error::new(
                ErrorKind::Closed,
                if self.link.has_ended() {
                    "the tunnel has ended"
                } else if self.going_away {
                    "the server takes no more connections over this tunnel"
                } else {
                    "the tunnel has had all the connections that it can number"
                },
            ));
        }
        let id = self.next;
        self.next += 1;
        self.table.insert(id, Connection::new(id, port));
        self.note(id);
        Ok(ConnectionId(id))
    }

    pub(super) fn can_open(&self) -> bool {
        !self.link.has_ended() && !self.going_away && self.next <= connection::LAST
    }

    pub(super) fn connections(&self) -> usize {
        let held = |connection: &&Connection| !connection.is_released();
        self.table.values().filter(held).count()
    }

    pub(super) fn port(&self, id: ConnectionId) -> Option<u16> {
        self.held(id).map(|connection| connection.port)
    }

    /// How much more a connection may have waiting, that has so much already.
    fn room(&self, held: usize) -> usize {
        let one = (self.send_window / 2).max(1);
        let floor = if self.sending < self.send_window.saturating_mul(2) {
            FLOOR.min(one)
        } else {
            0
        };
        let rest = self.send_window.saturating_sub(self.sending);
        one.saturating_sub(held)
            .min(rest.max(floor.saturating_sub(held)))
    }

    pub(super) fn send(&mut self, id: ConnectionId, data: &[u8]) -> Result<usize, Error> {
        let connection = self.held(id).ok_or_else(Self::unknown)?;
        let closed = if self.link.has_ended() {
            "the tunnel has ended"
        } else if connection.is_closed() {
            "the connection has ended"
        } else if connection.is_finished() {
            "the connection was finished before"
        } else {
            let room = self.room(connection.sending());
            let send = |connection: &mut Connection| connection.send(data, room);
            let accepted = self.change(id.0, send).unwrap_or_default();
            self.link.sent |= accepted > 0;
            return Ok(accepted);
        };
        Err(Error::new(ErrorKind::Closed, closed))
    }

    pub(super) fn finish(&mut self, id: ConnectionId) -> Result<(), Error> {
        if self.held(id).is_none() {
            return Err(Self::unknown());
        }
        if !self.link.has_ended() {
            self.change(id.0, Connection::finish);
        }
        Ok(())
    }

    pub(super) fn poll_data(&mut self, id: ConnectionId) -> Option<Bytes> {
        self.held(id)?;
        let data = self.change(id.0, |connection| {
            let data = connection.inbox.pop();
            connection.took |= data.is_some();
            data
        })?;
        self.unblock();
        data
    }

    pub(super) fn is_finished(&self, id: ConnectionId) -> bool {
        self.held(id)
            .is_none_or(|connection| connection.inbox.is_finished())
    }

    pub(super) fn fault(&self, id: ConnectionId) -> Option<&ConnectionFault> {
        self.held(id)?.fault.as_ref()
    }

    pub(super) fn error(&self, id: ConnectionId) -> Option<Error> {
        let connection = self.held(id)?;
        if let Some(fault) = &connection.fault {
            return Some(fault.to_error());
        }
        if !connection.cut {
            return None;
        }
        Some(match self.link.outcome() {
            Some(Outcome::Aborted(abort)) => abort.to_error(),
            Some(_) => Abort::ConnectionLost.to_error(),
            None => Abort::Closed.to_error(),
        })
    }

    pub(super) fn discard(&mut self, id: ConnectionId) {
        if self.held(id).is_some() {
            self.change(id.0, Connection::discard);
            self.unblock();
        }
    }

    pub(super) fn release(&mut self, id: ConnectionId) {
        self.change(id.0, Connection::release);
        self.unblock();
    }

    pub(super) fn poll_event(&mut self) -> Option<TunnelEvent> {
        while let Some(&id) = self.news.front() {
            if let Some(connection) = self.table.get_mut(&id) {
                if let Some(event) = connection.take_event() {
                    return Some(event);
                }
                connection.noted.news = false;
            }
            self.news.pop_front();
        }
        if self.going_away && !self.told_going_away {
            self.told_going_away = true;
            return Some(TunnelEvent::GoingAway);
        }
        self.link.take_news().map(|news| match news {
            News::Resumed => TunnelEvent::Resumed,
            News::Outcome => TunnelEvent::Outcome,
            News::Closed => TunnelEvent::Closed,
        })
    }

    pub(super) fn buffered(&self) -> usize {
        let texts = self.table.values().map(Connection::text_len);
        self.received + self.sending + self.link.ws.buffered() + texts.sum::<usize>()
    }

    fn frame(&mut self, frame: Frame, now: Instant) {
        match frame {
            Frame::Data { stream, data } => match connection::locate(stream) {
                Some((id, Lane::Data)) => {
                    let copy = self.link.copy_below();
                    let push = |connection: &mut Connection| connection.push(data, copy);
                    if self.change(id, push).is_some() {
                        self.link.timers.moved(now);
                    }
                }
                Some((id, Lane::Error)) => {
                    let max = self.max_text;
                    self.change(id, |connection| connection.push_text(&data, max));
                }
                None => {}
            },
            Frame::Fin(stream) => {
                if let Some((id, lane)) = connection::locate(stream) {
                    self.change(id, |connection| connection.end(lane));
                }
            }
            Frame::Reset { stream, status } => {
                if let Some((id, lane)) = connection::locate(stream) {
                    self.change(id, |connection| connection.reset(lane, status));
                }
            }
            // Those of a client are odd, and come back as answers.
            Frame::Ping(id) if id % 2 == 0 => {
                if self.echoes.len() < MAX_PINGS {
                    self.echoes.push_back(id);
                }
            }
            Frame::Ping(_) => {}
            Frame::GoAway { last } => {
                self.going_away = true;
                self.change_all(|connection| {
                    if connection.data_stream() > last {
                        connection.fail(ConnectionFault::NotStarted);
                    }
                });
            }
        }
    }

    /// Tells the writers that wait, if room was made for them: by sending, or by connections that
    /// failed with output.
    fn wake_if_room(&mut self) {
        if !std::mem::take(&mut self.freed) || self.sending > self.send_window / 2 {
            return;
        }
        let most = self.send_window / 4;
        let waits = |(_, connection): &(&u32, &Connection)| {
            connection.has_waiting_writer() && connection.sending() <= most
        };
        let ids: Vec<u32> = self.table.iter().filter(waits).map(|(&id, _)| id).collect();
        for id in ids {
            self.change(id, Connection::wake);
        }
    }

    /// Looks whether room was made for input.
    fn unblock(&mut self) {
        if self.has_room() {
            self.blocked = None;
        }
        self.resume();
    }

    /// Who is in the way: all who hold as much as one may, or the one who holds most.
    fn culprits(&self) -> Vec<u32> {
        if !self.full.is_empty() {
            return self.full.clone();
        }
        let most = self
            .table
            .iter()
            .max_by_key(|(_, connection)| connection.received());
        most.map(|(&id, _)| id).into_iter().collect()
    }
}

impl Carry for Machine {
    fn link(&self) -> &Link {
        &self.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    fn binary(&mut self, mut data: Bytes, now: Instant) -> Result<(), Error> {
        while let Some(frame) = self.decoder.step(&mut data)? {
            self.frame(frame, now);
        }
        Ok(())
    }

    fn closed_with(&self, code: Option<u16>) -> Outcome {
        let live = self.table.values().any(Connection::is_live);
        if !live && matches!(code, None | Some(NORMAL)) {
            Outcome::Ended
        } else {
            Outcome::Aborted(Abort::ClosedWithoutStatus { code })
        }
    }

    fn has_room(&self) -> bool {
        // After it nothing is held any more.
        self.link.phase() != Phase::Open || (self.full.is_empty() && self.received < self.windows)
    }

    fn end_input(&mut self) {
        self.blocked = None;
        self.change_all(Connection::end_input);
    }

    fn clear_output(&mut self) {
        self.echoes.clear();
        self.ping = false;
        self.change_all(Connection::clear_output);
        self.ready.clear();
    }

    fn wake_writers(&mut self) {
        self.change_all(Connection::wake);
    }

    fn fill(&mut self) -> bool {
        let mut batch = Vec::new();
        while let Some(id) = self.echoes.pop_front() {
            spdy::ping(id, &mut batch);
        }
        if std::mem::take(&mut self.ping) {
            spdy::ping(self.next_ping, &mut batch);
            self.next_ping = (self.next_ping + 2) & 0x7fff_ffff;
        }
        let mut first = self.first;
        while batch.len() < ALMOST_FULL
            && let Some(id) = self.ready.pop_front()
        {
            self.change(id, |connection| {
                connection.noted.ready = false;
                connection.write(&mut first, &mut batch);
            });
        }
        self.first = first;
        if !batch.is_empty() {
            self.link.send([&batch]);
        }
        self.wake_if_room();
        !self.ready.is_empty()
    }

    fn ping(&mut self) {
        self.ping = true;
    }

    fn after_input(&mut self, now: Instant) {
        self.wake_if_room();
        if self.blocked.is_none() && self.link.is_reading() && !self.has_room() {
            self.blocked = Some(now);
            for id in self.culprits() {
                self.change(id, |connection| connection.took = false);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let Unread::Reset { after } = self.unread else {
            return None;
        };
        let since = self.blocked?;
        if self.table.values().any(Connection::is_waiting) {
            since.checked_add(after.max(Duration::from_millis(1)))
        } else {
            None
        }
    }

    fn handle_deadline(&mut self, now: Instant) {
        for id in self.culprits() {
            self.change(id, |connection| {
                if !std::mem::take(&mut connection.took) {
                    connection.fail(ConnectionFault::Stalled);
                    connection.inbox.discard();
                }
            });
        }
        self.wake_if_room();
        self.blocked = Some(now);
        self.unblock();
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("phase", &self.link.phase())
            .field("connections", &self.table.len())
            .field("opened", &self.next)
            .field("buffered", &self.buffered())
            .field("outcome", &self.link.outcome().is_some())
            .field("error", &self.link.error())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn ids_run_out() {
        let now = Instant::now();
        let mut machine = Machine::new(&SessionOptions::default(), &Limits::default(), now);
        machine.next = connection::LAST;
        let last = machine.open(80).unwrap();
        assert!(!machine.can_open());
        let error = machine.open(80).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("number"));
        // The last one has the last stream that there is.
        assert_eq!(machine.send(last, b"x").unwrap(), 1);
        assert!(machine.poll_transmit().is_some());
        machine.frame(
            Frame::Data {
                stream: 0x7fff_ffff,
                data: Bytes::from_static(b"y"),
            },
            now,
        );
        assert_eq!(machine.poll_data(last).as_deref(), Some(&b"y"[..]));
        machine.release(last);
        assert_eq!(machine.connections(), 0);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn what_was_released_is_in_no_list() {
        let now = Instant::now();
        let mut machine = Machine::new(&SessionOptions::default(), &Limits::default(), now);
        for _ in 0..1000 {
            // Told to nobody, and sent to nobody.
            let id = machine.open(80).unwrap();
            machine.change(id.0, |connection| {
                connection.push(Bytes::from_static(b"x"), 9);
            });
            assert_eq!((machine.ready.len(), machine.news.len()), (1, 1));
            machine.release(id);
            assert!(machine.ready.is_empty() && machine.news.is_empty());
        }
        assert!(machine.full.is_empty() && machine.table.is_empty());
        assert_eq!((machine.received, machine.sending), (0, 0));
    }
}
