//! One run of a container.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::files::Files;
use super::log::Log;
use super::net::Network;
use super::pipe::{self, pipe};
use super::process::{Container, Input, Output, Process, Registration, Streams};
use super::programs;
use super::terminal::{Echo, Terminal};

const CHUNK: usize = 32 << 10;

/// What an attached session gets: the channel and the bytes.
pub(crate) type Chunk = (u8, Bytes);

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) container: Arc<Container>,
    pub(crate) log: Arc<Log>,
    pub(crate) terminal: Option<Arc<Terminal>>,
    pub(crate) stdin_once: bool,
    /// The process to which Ctrl-C goes.
    pub(crate) pid: u32,
    stdin: Mutex<Option<pipe::Writer>>,
    pub(crate) echo: Echo,
    attached: Mutex<Vec<mpsc::Sender<Chunk>>>,
    pub(crate) exit: watch::Sender<Option<i32>>,
}

/// What a container is made from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) hostname: String,
    pub(crate) network: Network,
    pub(crate) environment: BTreeMap<String, String>,
    /// Files that volumes mount.
    pub(crate) mounts: Vec<(String, Vec<u8>)>,
    pub(crate) spec: Value,
}

impl Plan {
    fn command(&self) -> Vec<String> {
        let words = |field: &str| -> Vec<String> {
            let list = self.spec[field]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let expand = |word: &str| {
                self.environment
                    .iter()
                    .fold(word.to_owned(), |text, (name, value)| {
                        text.replace(&format!("$({name})"), value)
                    })
            };
            list.iter().filter_map(Value::as_str).map(expand).collect()
        };
        let mut command = words("command");
        command.extend(words("args"));
        if command.is_empty() {
            let image = self.spec["image"].as_str().unwrap_or_default();
            let idle = ["sleep".to_owned(), "infinity".to_owned()];
            return if image.contains("busybox") {
                vec!["sh".into()]
            } else {
                idle.into()
            };
        }
        command
    }

    /// The file system and the rest that processes share.
    fn container(&self) -> Result<Arc<Container>, String> {
        let files = Files::new(&self.hostname, programs::PROGRAMS);
        for (path, content) in &self.mounts {
            let directory = path.rsplit_once('/').map_or("/", |(d, _)| d);
            files.make_directory(directory, true)?;
            files.write(path, content.clone(), 0o644)?;
        }
        let mut environment = self.environment.clone();
        for (name, value) in [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/root"),
        ] {
            environment
                .entry(name.into())
                .or_insert_with(|| value.into());
        }
        environment.insert("HOSTNAME".into(), self.hostname.clone());
        let cwd = self.spec["workingDir"].as_str().unwrap_or("/").to_owned();
        files.make_directory(&cwd, true)?;
        Ok(Arc::new(Container {
            hostname: self.hostname.clone(),
            files,
            network: self.network.clone(),
            environment,
            working_directory: cwd,
            table: super::process::Table::default(),
        }))
    }

    /// Starts the container; an error says why a runtime cannot.
    pub(crate) fn start(&self) -> Result<Arc<Instance>, String> {
        let container = self.container()?;
        let registration = Registration::new(&container);
        let terminal = (self.spec["tty"] == true).then(Arc::<Terminal>::default);
        let process = container.process(registration.pid, terminal.clone());
        let command = self.command();
        if let Some(why) = programs::cannot_start(&process, &command) {
            return Err(why);
        }
        let (stdin, stdin_writer) = if self.spec["stdin"] == true {
            let (reader, writer) = pipe();
            (Input::Pipe(reader), Some(writer))
        } else {
            (Input::Empty, None)
        };
        let (stdout_reader, stdout) = pipe();
        let (stderr_reader, stderr) = pipe();
        let instance = Arc::new(Instance {
            pid: registration.pid,
            log: Arc::new(Log::new()),
            stdin_once: self.spec["stdinOnce"] == true,
            stdin: Mutex::new(stdin_writer),
            echo: if terminal.is_some() {
                Echo::new(stdout.clone())
            } else {
                Echo::default()
            },
            attached: Mutex::default(),
            exit: watch::Sender::new(None),
            container,
            terminal: terminal.clone(),
        });
        let streams = if terminal.is_some() {
            Streams {
                stdin,
                stdout: Output::Terminal(stdout.clone()),
                stderr: Output::Terminal(stdout),
            }
        } else {
            Streams {
                stdin,
                stdout: Output::Pipe(stdout),
                stderr: Output::Pipe(stderr),
            }
        };
        let pumps = [
            Arc::clone(&instance).pump(0, stdout_reader),
            Arc::clone(&instance).pump(1, stderr_reader),
        ];
        let running = Arc::clone(&instance);
        tokio::spawn(async move {
            let [output, error] = pumps;
            let program = async {
                let code = registration
                    .run(programs::run(&process, &command, &streams))
                    .await;
                drop(streams);
                running.echo.end();
                // With its first process a container ends altogether.
                running.container.table.kill_all();
                code
            };
            let (code, (), ()) = tokio::join!(program, output, error);
            running.log.finish();
            running
                .stdin
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            running
                .attached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            running.exit.send_replace(Some(code));
        });
        Ok(instance)
    }
}

impl Instance {
    /// Takes output to the log and to whoever is attached; a session that does not read holds it up.
    async fn pump(self: Arc<Self>, stream: u8, reader: pipe::Reader) {
        loop {
            let bytes = reader.read(CHUNK).await;
            if bytes.is_empty() {
                return;
            }
            self.log.append(usize::from(stream), &bytes);
            let bytes = Bytes::from(bytes);
            let attached = self
                .attached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let mut gone = false;
            for sender in &attached {
                gone |= sender.send((stream + 1, bytes.clone())).await.is_err();
            }
            if gone {
                self.attached
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .retain(|s| !s.is_closed());
            }
        }
    }

    /// Output from now on.
    pub(crate) fn attach(&self) -> mpsc::Receiver<Chunk> {
        let (sender, receiver) = mpsc::channel(4);
        if self.exit.borrow().is_none() {
            self.attached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sender);
        }
        receiver
    }

    pub(crate) fn stdin(&self) -> Option<pipe::Writer> {
        self.stdin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn close_stdin(&self) {
        self.stdin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }
}

impl Container {
    /// A new process of this container.
    pub(crate) fn process(self: &Arc<Self>, pid: u32, terminal: Option<Arc<Terminal>>) -> Process {
        let mut environment = self.environment.clone();
        if terminal.is_some() {
            environment.insert("TERM".into(), "xterm".into());
        }
        Process {
            container: Arc::clone(self),
            pid,
            cwd: self.working_directory.clone(),
            environment,
            terminal,
        }
    }
}
