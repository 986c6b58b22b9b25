//! A command in a running container.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::super::encode::{Style, to_json};
use super::super::node::instance::Instance;
use super::super::node::pipe::{self, pipe};
use super::super::node::process::{Container, Input, Output, Registration, Streams};
use super::super::node::programs;
use super::super::node::terminal::{Echo, Terminal};
use super::super::random;
use super::Wanted;
use super::handshake::Protocol;
use super::session::{Gone, Receiver, Session};

/// What a message holds at most, beside its channel.
const CHUNK: usize = 32 << 10;
const CLOSE_CHANNEL: u8 = 255;

/// Messages on their way to the client.
pub(super) type Outbox = mpsc::Sender<(u8, Bytes)>;

pub(super) async fn run(
    session: Session,
    protocol: Protocol,
    wanted: Wanted,
    instance: Arc<Instance>,
    command: Vec<String>,
) {
    let terminal = wanted.tty.then(Arc::<Terminal>::default);
    let container = Arc::clone(&instance.container);
    let registration = Registration::new(&container);
    let pid = registration.pid;
    let process = container.process(pid, terminal.clone());
    let (stdout_reader, stdout) = pipe();
    let (stderr_reader, stderr) = pipe();
    let (stdin, stdin_writer) = if wanted.stdin {
        let (reader, writer) = pipe();
        (Input::Pipe(reader), Some(writer))
    } else {
        (Input::Empty, None)
    };
    let echo = if terminal.is_some() {
        Echo::new(stdout.clone())
    } else {
        Echo::default()
    };
    let own_echo = echo.clone();
    // Writers that nobody was asked for have to go, or their readers wait for ever.
    let output = |asked: bool, writer| {
        if asked {
            Output::Pipe(writer)
        } else {
            Output::Null
        }
    };
    let (stdout, stderr) = if terminal.is_some() {
        drop(stderr);
        (Output::Terminal(stdout.clone()), Output::Terminal(stdout))
    } else {
        (output(wanted.stdout, stdout), output(wanted.stderr, stderr))
    };
    let streams = Streams {
        stdin,
        stdout,
        stderr,
    };
    let (outbox, messages) = mpsc::channel(2);
    // The command goes on when the client leaves, so it and its output have tasks of their own.
    let (exit, exited) = watch::channel(None);
    let words = command.clone();
    let failure = programs::cannot_start(&process, &command);
    let starts = failure.is_none();
    tokio::spawn(async move {
        let code = if starts {
            registration
                .run(programs::run(&process, &words, &streams))
                .await
        } else {
            126
        };
        drop(streams);
        own_echo.end();
        exit.send_replace(Some(code));
    });
    let input = Feed {
        stdin: stdin_writer,
        echo,
        terminal,
        container,
        pid,
        half_close: HalfClose::Stdin,
        deaf: false,
    };
    let pumps = [
        tokio::spawn(pump(1, stdout_reader, outbox.clone(), wanted.stdout)),
        tokio::spawn(pump(2, stderr_reader, outbox.clone(), wanted.stderr)),
    ];
    let ending = async move {
        let mut exited = exited;
        let code = exited
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|code| *code)
            .unwrap_or(255);
        let [out, err] = pumps;
        // They end when everybody who holds the streams has ended.
        let _ = out.await;
        let _ = err.await;
        let status = match failure {
            Some(why) => Some(cannot_start(protocol, &why)),
            None => finished(protocol, code, &command),
        };
        if let Some(status) = status {
            // The client may have left.
            let _ = outbox.send((3, status.into())).await;
        }
    };
    drive(session, protocol, wanted, input, messages, ending).await;
}

/// Moves messages both ways until the output is over or the client is gone.
pub(super) async fn drive(
    session: Session,
    protocol: Protocol,
    wanted: Wanted,
    mut input: Feed,
    mut messages: mpsc::Receiver<(u8, Bytes)>,
    ending: impl Future<Output = ()>,
) {
    let Session {
        mut sender,
        mut receiver,
    } = session;
    let over = {
        let writer = async {
            sender.send(wanted.first_channel(), b"").await?;
            while let Some((channel, bytes)) = messages.recv().await {
                sender.send(channel, &bytes).await?;
            }
            Ok::<(), Gone>(())
        };
        tokio::select! {
            _ = async { tokio::join!(writer, ending) } => Over::Gone,
            over = input.read(&mut receiver, protocol, wanted) => over,
        }
    };
    // The command sees the end of its input.
    drop(input);
    if let Over::Finished(status) = over {
        let _ = sender.send(3, &status).await;
    }
    Session { sender, receiver }.close().await;
}

/// Why nothing more is read.
#[derive(Clone, Debug)]
pub(super) enum Over {
    Gone,
    /// The session ends with this status, although what it shows goes on.
    Finished(Bytes),
}

/// Takes output to the client, and to nowhere when that has left.
async fn pump(channel: u8, reader: pipe::Reader, outbox: Outbox, wanted: bool) {
    let mut listening = wanted;
    loop {
        let bytes = reader.read(CHUNK).await;
        if bytes.is_empty() {
            return;
        }
        if listening {
            listening = outbox.send((channel, bytes.into())).await.is_ok();
        }
    }
}

/// What the v5 close signal does.
#[derive(Clone, Debug)]
pub(super) enum HalfClose {
    /// Ends standard input.
    Stdin,
    /// Ends the container's standard input, for good.
    Container(Arc<Instance>),
    /// Ends the session, with this status.
    Session(Bytes),
}

/// Where the client's messages go.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) stdin: Option<pipe::Writer>,
    pub(super) echo: Echo,
    pub(super) terminal: Option<Arc<Terminal>>,
    pub(super) container: Arc<Container>,
    pub(super) pid: u32,
    pub(super) half_close: HalfClose,
    /// What comes on standard input is lost.
    pub(super) deaf: bool,
}

impl Feed {
    async fn read(&mut self, receiver: &mut Receiver, protocol: Protocol, wanted: Wanted) -> Over {
        let mut resizes = Resizes::default();
        while let Ok((channel, bytes)) = receiver.receive().await {
            match channel {
                0 => self.write(&bytes).await,
                4 => {
                    let kept =
                        resizes.read(&bytes, self.terminal.as_deref().filter(|_| wanted.tty));
                    if !kept && (protocol == Protocol::V5 || wanted.tty) {
                        // The real server reads nothing after this either.
                        std::future::pending::<()>().await;
                    }
                }
                CLOSE_CHANNEL if protocol == Protocol::V5 => {
                    match (bytes.as_ref(), &self.half_close) {
                        ([0], HalfClose::Session(status)) => return Over::Finished(status.clone()),
                        ([0], HalfClose::Container(instance)) => {
                            instance.close_stdin();
                            self.stdin = None;
                        }
                        // A terminal has no end of input but Ctrl-D: what comes later is lost, and that is all.
                        ([0], HalfClose::Stdin) if self.terminal.is_some() => self.deaf = true,
                        ([0], HalfClose::Stdin) => self.stdin = None,
                        ([1..=4], _) => {}
                        _ => return Over::Gone,
                    }
                }
                _ => {}
            }
        }
        Over::Gone
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(stdin) = self.stdin.as_ref().filter(|_| !self.deaf) else {
            return;
        };
        let open = match &self.terminal {
            Some(terminal) => {
                terminal
                    .typed(bytes, stdin, &self.echo, &self.container, self.pid)
                    .await
            }
            None => stdin.write(bytes).await.is_ok(),
        };
        if !open {
            self.stdin = None;
        }
    }
}

/// The resize channel: a stream of JSON texts that may span messages.
#[derive(Debug, Default)]
struct Resizes {
    pending: Vec<u8>,
    unheard: u32,
}

impl Resizes {
    /// Whether the server goes on reading.
    fn read(&mut self, bytes: &[u8], terminal: Option<&Terminal>) -> bool {
        let Some(terminal) = terminal else {
            self.unheard += 1;
            return self.unheard < 2;
        };
        self.pending.extend_from_slice(bytes);
        let mut values = serde_json::Deserializer::from_slice(&self.pending).into_iter::<Value>();
        let mut used = 0;
        loop {
            match values.next() {
                Some(Ok(value)) => {
                    let find = |name: &str| {
                        let field = value
                            .as_object()?
                            .iter()
                            .find(|(k, _)| k.eq_ignore_ascii_case(name))?
                            .1;
                        field.as_u64().and_then(|n| u16::try_from(n).ok())
                    };
                    terminal.resize(find("width").unwrap_or(0), find("height").unwrap_or(0));
                    used = values.byte_offset();
                }
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(_)) => return false,
                None => break,
            }
        }
        self.pending.drain(..used);
        self.pending.len() < 4096
    }
}

fn status(protocol: Protocol, body: &Value) -> Vec<u8> {
    let mut body = body.clone();
    if protocol == Protocol::V5 {
        body["metadata"] = json!({});
    }
    to_json(&body, Style::Typed)
}

/// The last message of a command that ended.
pub(super) fn finished(protocol: Protocol, code: i32, command: &[String]) -> Option<Vec<u8>> {
    if code == 0 {
        return protocol
            .has_status()
            .then(|| status(protocol, &json!({"status": "Success"})));
    }
    let why = if protocol == Protocol::V5 {
        format!(
            "command terminated with non-zero exit code: command terminated with exit code {code}"
        )
    } else {
        let words = command.join(" ");
        format!(
            "command terminated with non-zero exit code: error executing command [{words}], exit code {code}"
        )
    };
    if !protocol.has_status() {
        return Some(why.into_bytes());
    }
    let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
    let body = json!({"status": "Failure", "message": why, "reason": "NonZeroExitCode", "details": {"causes": causes}});
    Some(status(protocol, &body))
}

/// The last message of a command that never began.
fn cannot_start(protocol: Protocol, why: &str) -> Vec<u8> {
    let id = random::hex(32);
    let why = format!(
        "error executing command in container: failed to exec in container: failed to start exec \"{id}\": OCI runtime exec failed: {why}"
    );
    let once = format!("Internal error occurred: {why}");
    if !protocol.has_status() {
        return why.into_bytes();
    }
    let body = if protocol == Protocol::V5 {
        json!({"status": "Failure", "message": format!("Internal error occurred: {once}"), "reason": "InternalError",
            "details": {"causes": [{"message": once}]}, "code": 500})
    } else {
        json!({"status": "Failure", "message": once, "reason": "InternalError", "code": 500})
    };
    status(protocol, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_real_server() {
        let command = ["sh".to_owned(), "-c".into(), "exit 3".into()];
        let text = |protocol, code| {
            String::from_utf8(finished(protocol, code, &command).unwrap()).unwrap()
        };
        assert_eq!(
            text(Protocol::V5, 0),
            r#"{"metadata":{},"status":"Success"}"#
        );
        assert_eq!(text(Protocol::V4, 0), r#"{"status":"Success"}"#);
        assert_eq!(
            text(Protocol::V5, 3),
            r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#
        );
        assert_eq!(
            text(Protocol::V1, 3),
            "command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3"
        );
        assert_eq!(finished(Protocol::V1, 0, &command), None);
    }

    #[test]
    fn resizes_may_span_messages() {
        let terminal = Terminal::default();
        let mut resizes = Resizes::default();
        assert!(resizes.read(br#"{"Width":80,"Hei"#, Some(&terminal)));
        assert!(resizes.read(b"ght\":24}\n{\"width\":90,\"height\":20}", Some(&terminal)));
        assert_eq!(terminal.size(), (90, 20));
        assert!(!resizes.read(b"not json", Some(&terminal)));
        let mut resizes = Resizes::default();
        assert!(resizes.read(b"{}", None));
        assert!(!resizes.read(b"{}", None));
    }
}
