//! Port-forward with two channels a port.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::call::Call;
use super::super::node::pipe;
use super::super::node::pod::Pod;
use super::super::status::{Failure, Result};
use super::session::{Gone, Session};

const CHUNK: usize = 32 << 10;
/// How long a real runtime waits for one side after the other has ended.
pub(super) const CLOSE_DELAY: Duration = Duration::from_secs(1);

/// The ports of the query.
pub(super) fn ports(call: &Call) -> Result<Vec<u16>> {
    let texts = call.query.all("ports").flat_map(|value| value.split(','));
    let parse = |text: &str| {
        text.parse::<u16>().map_err(|_| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let why = if digits {
                "value out of range"
            } else {
                "invalid syntax"
            };
            Failure::bad_request(format!(
                "cannot convert to []int32: strconv.ParseUint: parsing {text:?}: {why}"
            ))
        })
    };
    texts.map(parse).collect()
}

/// What the kubelet minds about them.
pub(super) fn check_ports(ports: &[u16]) -> Result<()> {
    if ports.is_empty() {
        return Err(Failure::kubelet(
            400,
            "query parameter \"port\" is required",
        ));
    }
    if ports.contains(&0) {
        return Err(Failure::kubelet(400, "port \"0\" must be > 0"));
    }
    if ports.len() > 127 {
        return Err(Failure::kubelet(400, "too many ports"));
    }
    Ok(())
}

/// What a runtime says of a port on which nobody listens.
pub(super) fn refused(pod: &Pod, port: u16) -> String {
    let sandbox = &pod.sandbox;
    format!(
        "error forwarding port {port} to pod {sandbox}, uid : failed to execute portforward in network namespace \
         \"/var/run/netns/cni-{}\": failed to connect to localhost:{port} inside namespace \"{sandbox}\", IPv4: dial tcp4 \
         127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6: address localhost: no suitable address found ",
        pod.uid
    )
}

pub(super) async fn run(session: Session, pod: Arc<Pod>, ports: Vec<u16>) {
    let Session {
        mut sender,
        mut receiver,
    } = session;
    let (outbox, mut messages) = mpsc::channel::<(u8, Bytes)>(2);
    let mut inputs: Vec<Option<pipe::Writer>> = Vec::new();
    let mut forwards = Vec::new();
    // On every channel the port comes first, before anybody is dialled.
    let mut greeted = true;
    for (index, port) in (0_u8..).zip(&ports) {
        for channel in [2 * index, 2 * index + 1] {
            greeted &= sender.send(channel, &port.to_le_bytes()).await.is_ok();
        }
    }
    for (index, port) in (0_u8..).zip(&ports).filter(|_| greeted) {
        let connection = pod.network.connect(*port).await;
        let (writer, reader) = connection.map(|c| (c.writer, c.reader)).unzip();
        inputs.push(writer);
        let (outbox, pod, port) = (outbox.clone(), Arc::clone(&pod), *port);
        forwards.push(async move {
            let Some(reader) = reader else {
                let _ = outbox
                    .send((2 * index + 1, refused(&pod, port).into()))
                    .await;
                return false;
            };
            loop {
                let bytes = reader.read(CHUNK).await;
                if bytes.is_empty() || outbox.send((2 * index, bytes.into())).await.is_err() {
                    return true;
                }
            }
        });
    }
    drop(outbox);
    if greeted {
        let writer = async {
            while let Some((channel, bytes)) = messages.recv().await {
                sender.send(channel, &bytes).await?;
            }
            Ok::<(), Gone>(())
        };
        let all = async {
            let connected = futures_util::future::join_all(forwards)
                .await
                .contains(&true);
            if connected {
                tokio::time::sleep(CLOSE_DELAY).await;
            }
        };
        let reader = async {
            while let Ok((channel, bytes)) = receiver.receive().await {
                let slot = inputs
                    .get_mut(usize::from(channel / 2))
                    .filter(|_| channel % 2 == 0);
                if let Some(slot) = slot
                    && let Some(input) = slot
                    && input.write(&bytes).await.is_err()
                {
                    *slot = None;
                }
            }
        };
        tokio::select! {
            _ = async { tokio::join!(writer, all) } => {}
            () = reader => {}
        }
    }
    drop(inputs);
    Session { sender, receiver }.close().await;
}
