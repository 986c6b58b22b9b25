//! The streams of a container that runs already.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::node::instance::Instance;
use super::Wanted;
use super::exec::{Feed, HalfClose, drive, finished};
use super::handshake::Protocol;
use super::session::Session;

pub(super) async fn run(
    session: Session,
    protocol: Protocol,
    wanted: Wanted,
    instance: Arc<Instance>,
) {
    let mut output = instance.attach();
    let (outbox, messages) = mpsc::channel(2);
    let status = finished(protocol, 0, &[]).unwrap_or_default();
    let half_close = if instance.stdin_once {
        HalfClose::Container(Arc::clone(&instance))
    } else {
        HalfClose::Session(status.clone().into())
    };
    let input = Feed {
        stdin: instance.stdin().filter(|_| wanted.stdin),
        echo: instance.echo.clone(),
        terminal: instance.terminal.clone(),
        container: Arc::clone(&instance.container),
        pid: instance.pid,
        half_close,
        deaf: false,
    };
    let ending = async move {
        while let Some((channel, bytes)) = output.recv().await {
            let asked = if channel == 1 {
                wanted.stdout
            } else {
                wanted.stderr
            };
            if asked && outbox.send((channel, bytes)).await.is_err() {
                return;
            }
        }
        // Attach never tells the exit code.
        if protocol.has_status() {
            let _ = outbox.send((3, status.into())).await;
        }
    };
    let once = instance.stdin_once && wanted.stdin;
    drive(session, protocol, wanted, input, messages, ending).await;
    if once {
        instance.close_stdin();
    }
}
