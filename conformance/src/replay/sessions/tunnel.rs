//! Port-forward through a tunnel: the same recorded frames, through the other machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kubewire::session::{ConnectionId, PortForwardTunnel, Tunnel, Upgrade};
use kubewire::{Api, Dynamic, Error, ErrorKind, HasPortForward, Limits, UpgradeOperation};

use super::super::feed::Cut;
use super::handshake::{Expected, now, shake, uri};
use super::model::{Asked, Model};
use super::operations::options;
use super::payload::Payloads;
use super::plan::{self, Canonical, Plan};
use super::play::see;
use super::script::Side;
use super::seen::{Action, End};
use super::wire::{WireFrame, decode, encode};
use super::{Exchange, TUNNEL, count};

/// Half of SPDY/3.1: what its frames carry on the streams of connections, and nothing of headers.
#[derive(Default)]
struct Spdy {
    buffer: Vec<u8>,
    /// Streams that were opened.
    opened: Vec<u32>,
    data: BTreeMap<u32, Vec<u8>>,
    finished: Vec<u32>,
}

impl Spdy {
    fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while let Some((head, rest)) = self.buffer.split_at_checked(8) {
            let word = |at: usize| {
                u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
            };
            let len = usize::try_from(word(4) & 0x00ff_ffff).unwrap_or(usize::MAX);
            let Some(payload) = rest.get(..len) else {
                return;
            };
            let fin = head[4] & 1 != 0;
            let control = word(0) >> 31 == 1;
            let first = payload
                .first_chunk()
                .map_or(0, |id| u32::from_be_bytes(*id));
            let stream = if control { first } else { word(0) };
            if control && word(0) & 0xffff == 1 {
                self.opened.push(stream);
            } else if !control {
                self.data
                    .entry(stream)
                    .or_default()
                    .extend_from_slice(payload);
            }
            if fin {
                self.finished.push(stream);
            }
            let used = 8 + len;
            self.buffer.drain(..used);
        }
    }

    /// What was on the data stream of each connection: 3, 7, 11 ….
    fn connections(&self) -> Vec<Vec<u8>> {
        let opened = self.opened.iter().filter(|id| *id % 4 == 3);
        opened
            .map(|id| self.data.get(id).cloned().unwrap_or_default())
            .collect()
    }
}

fn forward<K: HasPortForward>(
    api: &Api<K>,
    pod: &str,
) -> Result<Upgrade<PortForwardTunnel>, Error> {
    api.port_forward_tunnel(pod)
        .options(options())
        .into_upgrade()
}

enum Move {
    Open(u16),
    Send(usize, Bytes),
    Finish(usize),
    Ping,
    Close,
    Feed(Bytes),
}

impl Exchange<'_> {
    /// The handshake through the tunnel's operation, then the frames.
    pub(super) fn tunnel(&mut self) {
        let namespace = kubewire::Namespace::Named(self.ask.namespace.clone());
        let dynamic = Api::<Dynamic>::of(<Pod as kubewire::Resource>::api_resource(), namespace);
        let typed = Api::<Pod>::namespaced(&self.ask.namespace);
        let pod = self.ask.pod.clone();
        let uri = uri(self.request);
        let by_operation = !matches!(self.plan, Plan::Raw(_));
        let make = || {
            if by_operation {
                forward(&dynamic, &pod)
            } else {
                Ok(Upgrade::new(uri.clone(), PortForwardTunnel::new()).options(options()))
            }
        };
        if by_operation {
            count(&mut self.report.operations, "portforward, tunnel");
            let mut canonical = Canonical::of(self.request);
            canonical.used.insert("tunnel");
            for name in canonical.used.clone() {
                *self.report.equivalences.entry(name).or_default() += 1;
            }
            canonical.form["ports"] = serde_json::json!([]);
            self.compare(&canonical, &make, "tunnel, dynamic", TUNNEL);
            self.compare(
                &canonical,
                &|| forward(&typed, &pod),
                "tunnel, typed",
                TUNNEL,
            );
        }
        let key = plan::key(self.request).unwrap_or([7; 16]);
        let expected = self.expected(key, TUNNEL);
        for cut in Cut::all(&self.transcript.name, self.answer.body.len()) {
            let shaken = make()
                .map_err(|error| error.to_string())
                .and_then(|upgrade| shake(upgrade, key, &self.answer, cut, &Limits::default()));
            let tunnel = match (&expected, shaken) {
                (Expected::Session { .. }, Ok(Ok(tunnel))) => tunnel,
                (Expected::Session { .. }, Ok(Err(error))) => {
                    self.faults.push(format!("tunnel: {error}"));
                    return;
                }
                (_, Ok(Ok(_))) => {
                    self.faults
                        .push("a tunnel where there should be none".to_owned());
                    return;
                }
                (_, Err(breach)) => {
                    self.faults.push(format!("tunnel: {breach}"));
                    return;
                }
                (_, Ok(Err(_))) => continue,
            };
            if let Err(fault) = self.play_tunnel(tunnel, cut) {
                self.faults.push(format!("tunnel, cut {cut:?}: {fault}"));
                return;
            }
            self.report.sessions.plays += 1;
        }
        if matches!(expected, Expected::Session { .. }) {
            count(
                &mut self.report.sessions.replayed,
                format!("portforward {TUNNEL}"),
            );
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "script, play and judgement of one tunnel"
    )]
    fn play_tunnel(&self, mut tunnel: Tunnel, cut: Cut) -> Result<(), String> {
        let end = match self.transcript.end.as_deref() {
            Some(end) if end.starts_with("server-reset") => End::Failed,
            Some(end) if end.starts_with("server-") => End::Ended,
            _ => End::Left,
        };
        let port = plan::ports(&self.ask).and_then(|ports| ports.first().copied());
        let port = port.filter(|port| *port > 0).unwrap_or(80);
        // What is no connection goes through the model of all sessions.
        let mut model = Model::new(&Asked::Ports(Vec::new()), false, 16 << 20, 64 << 10);
        let (mut client, mut server) = (Spdy::default(), Spdy::default());
        let mut moves = Vec::new();
        let mut payloads = Payloads::default();
        for frame in &self.frames {
            let (payload, _) = payloads.resolve(frame);
            let data = matches!(frame.opcode, 0 | 2);
            if frame.side == Side::Server {
                let wire = WireFrame {
                    fin: frame.fin,
                    reserved: frame.reserved,
                    opcode: frame.opcode,
                    masked: frame.masked,
                    payload: payload.clone(),
                };
                if data {
                    server.receive(&payload);
                } else {
                    model.receive(&wire);
                }
                let mut bytes = Vec::new();
                encode(&wire, &mut bytes);
                moves.push(Move::Feed(bytes.into()));
                continue;
            }
            match frame.opcode {
                8 => {
                    model.act(&Action::Close);
                    moves.push(Move::Close);
                }
                9 => moves.push(Move::Ping),
                _ if data => {
                    let (opened, sent) = (client.connections().len(), client.connections());
                    let finished = client.finished.len();
                    client.receive(&payload);
                    for (at, data) in client.connections().into_iter().enumerate() {
                        if at >= opened {
                            moves.push(Move::Open(port));
                        }
                        let before = sent.get(at).map_or(0, Vec::len);
                        if data.len() > before {
                            moves.push(Move::Send(at, data[before..].to_vec().into()));
                        }
                    }
                    for stream in &client.finished[finished..] {
                        if stream % 4 == 3 {
                            let at = usize::try_from(stream / 4).unwrap_or(usize::MAX);
                            moves.push(Move::Finish(at));
                        }
                    }
                }
                _ => {}
            }
        }
        let expected = model.end(end);
        let mut ids: Vec<ConnectionId> = Vec::new();
        let mut came: Vec<Vec<u8>> = Vec::new();
        let mut wire = Vec::new();
        for step in &moves {
            let failed = |error: Error| error.to_string();
            match step {
                Move::Open(port) => {
                    ids.push(tunnel.open(*port).map_err(failed)?);
                    came.push(Vec::new());
                }
                Move::Send(at, data) => {
                    let id = *ids.get(*at).ok_or("data before its connection")?;
                    let mut left = &data[..];
                    while !left.is_empty() {
                        let taken = tunnel.send(id, left).map_err(failed)?;
                        if taken == 0 {
                            break;
                        }
                        left = &left[taken..];
                        transmit(&mut tunnel, &mut wire);
                    }
                }
                Move::Finish(at) => {
                    let id = *ids.get(*at).ok_or("an end before its connection")?;
                    tunnel.finish(id).map_err(failed)?;
                }
                // The tunnel sends its own.
                Move::Ping => {}
                Move::Close => tunnel.close(now()),
                Move::Feed(bytes) => {
                    for piece in pieces(bytes, cut) {
                        if tunnel.handle_input(piece, now()).is_err() {
                            break;
                        }
                        for (id, data) in ids.iter().zip(&mut came) {
                            while let Some(more) = tunnel.poll_data(*id) {
                                data.extend_from_slice(&more);
                            }
                        }
                    }
                }
            }
            transmit(&mut tunnel, &mut wire);
        }
        match end {
            End::Ended => tunnel.handle_end(),
            End::Failed => tunnel.handle_error(Error::new(ErrorKind::Transport, "reset")),
            End::Left => {}
        }
        transmit(&mut tunnel, &mut wire);
        let outcome = see(tunnel.outcome());
        if outcome != expected.outcome {
            return Err(format!("{outcome} instead of {}", expected.outcome));
        }
        if tunnel.is_closed() != expected.closed {
            return Err(format!("closed: {}", tunnel.is_closed()));
        }
        let mut sent = Spdy::default();
        let mut closes = Vec::new();
        for (opcode, payload) in decode(&wire)? {
            match opcode {
                2 => sent.receive(&payload),
                8 => closes.push(payload),
                _ => {}
            }
        }
        if sent.connections() != client.connections() {
            return Err("other data was sent than recorded".to_owned());
        }
        if moves.iter().any(|step| matches!(step, Move::Close)) && closes != [[3, 232]] {
            return Err(format!("closes with {closes:?}"));
        }
        for (at, data) in came.iter().enumerate() {
            let stream = u32::try_from(at).unwrap_or(u32::MAX) * 4 + 3;
            if *data != server.data.get(&stream).cloned().unwrap_or_default() {
                return Err(format!("connection {at} has other data than recorded"));
            }
        }
        Ok(())
    }
}

fn transmit(tunnel: &mut Tunnel, wire: &mut Vec<u8>) {
    while let Some(bytes) = tunnel.poll_transmit() {
        let len = bytes.len();
        wire.extend_from_slice(bytes);
        tunnel.transmitted(len);
    }
}

fn pieces(bytes: &Bytes, cut: Cut) -> std::slice::Chunks<'_, u8> {
    let size = match cut {
        Cut::Recorded | Cut::Whole => bytes.len(),
        Cut::Bytes => 1,
        Cut::Random(seed) => usize::from(seed.to_le_bytes()[0] % 37) + 1,
    };
    bytes.chunks(size.max(1))
}
