//! A small POSIX shell.

mod builtins;
pub(crate) mod expand;
pub(crate) mod parse;
mod redirect;
mod words;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::files::resolve;
use super::pipe::pipe;
use super::process::{Input, Output, Process, Registration, SIGINT, SIGPIPE, Streams, WriteError};
use super::programs;
use parse::{Node, ParseError};

/// Commands within commands within functions beyond this fail rather than overflow the stack.
const DEEPEST: usize = 200;
const SCRIPT_LIMIT: usize = 1 << 20;
pub(crate) const BANNER: &str = "\n\nBusyBox v1.37.0 (kubewire) built-in shell (ash)\nEnter 'help' for a list of built-in commands.\n\n";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Exit,
    Return,
    Break(u32),
    Continue(u32),
}

type Running<'a> = Pin<Box<dyn Future<Output = Flow> + Send + 'a>>;

#[derive(Clone, Debug)]
pub(crate) struct Shell {
    pub(crate) process: Process,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) exported: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) status: i32,
    functions: BTreeMap<String, Arc<Node>>,
    background: Option<u32>,
    jobs: Vec<Arc<tokio::sync::watch::Sender<bool>>>,
    errexit: bool,
    depth: usize,
}

/// `sh`, with everything after its name.
pub(crate) async fn main(process: Process, arguments: &[String], streams: Streams) -> i32 {
    let mut shell = Shell::new(process);
    let mut rest = arguments;
    while let Some((option, after)) = rest
        .split_first()
        .filter(|(o, _)| o.starts_with('-') && o.len() > 1)
    {
        rest = after;
        if option.contains('e') {
            shell.errexit = true;
        }
        if option.contains('c') {
            let Some((script, parameters)) = rest.split_first() else {
                let _ = streams.stderr.text("sh: -c requires an argument\n").await;
                return 2;
            };
            shell.arguments = if parameters.is_empty() {
                vec!["sh".into()]
            } else {
                parameters.to_vec()
            };
            return shell.script(script, &streams).await;
        }
    }
    if let Some(file) = rest.first().filter(|f| *f != "-") {
        let path = resolve(&shell.process.cwd, file);
        return match shell.process.container.files.read(&path) {
            Ok(script) => {
                shell.arguments = rest.to_vec();
                shell
                    .script(&String::from_utf8_lossy(&script), &streams)
                    .await
            }
            Err(why) => {
                let _ = streams
                    .stderr
                    .text(format!("sh: can't open '{file}': {why}\n"))
                    .await;
                2
            }
        };
    }
    shell.interactive(&streams).await
}

impl Shell {
    pub(crate) fn new(process: Process) -> Self {
        let variables = process.environment.clone();
        let exported = variables.keys().cloned().collect();
        Self {
            process,
            variables,
            exported,
            arguments: vec!["sh".into()],
            status: 0,
            functions: BTreeMap::new(),
            background: None,
            jobs: Vec::new(),
            errexit: false,
            depth: 0,
        }
    }

    /// Runs a whole script and returns its exit status.
    pub(crate) async fn script(&mut self, script: &str, streams: &Streams) -> i32 {
        match parse::parse(script) {
            Ok(node) => {
                self.run(&node, streams).await;
                self.status
            }
            Err(error) => {
                let why = match error {
                    ParseError::Incomplete => "syntax error: unexpected end of file".into(),
                    ParseError::Syntax(why) => why,
                };
                let _ = streams.stderr.text(format!("sh: {why}\n")).await;
                2
            }
        }
    }

    /// Reads commands from standard input.
    async fn interactive(&mut self, streams: &Streams) -> i32 {
        let terminal = self.process.terminal.clone();
        if let Some(terminal) = &terminal {
            terminal.has_shell.store(true, Ordering::SeqCst);
            let _ = streams.stdout.text(BANNER).await;
        }
        let mut pending = String::new();
        loop {
            if terminal.is_some() {
                let prompt = if pending.is_empty() {
                    format!("{} # ", self.process.cwd)
                } else {
                    "> ".into()
                };
                let _ = streams.stdout.text(prompt).await;
            }
            let line = streams.stdin.read_line().await;
            if line.is_empty() && pending.is_empty() {
                return self.status;
            }
            let ended = line.is_empty();
            pending.push_str(&String::from_utf8_lossy(&line));
            if pending.len() > SCRIPT_LIMIT {
                return 2;
            }
            let node = match parse::parse(&pending) {
                Ok(node) => node,
                Err(ParseError::Incomplete) if !ended => continue,
                Err(error) => {
                    let why = match error {
                        ParseError::Incomplete => "syntax error: unexpected end of file".into(),
                        ParseError::Syntax(why) => why,
                    };
                    let _ = streams.stderr.text(format!("sh: {why}\n")).await;
                    self.status = 2;
                    pending.clear();
                    if terminal.is_none() {
                        return 2;
                    }
                    continue;
                }
            };
            pending.clear();
            let flow = match &terminal {
                None => self.run(&node, streams).await,
                Some(terminal) => {
                    let interrupted = terminal.interrupt.notified();
                    tokio::select! {
                        flow = self.run(&node, streams) => flow,
                        () = interrupted => {
                            self.status = 128 + SIGINT;
                            Flow::Next
                        }
                    }
                }
            };
            if flow == Flow::Exit {
                return self.status;
            }
        }
    }

    fn run<'a>(&'a mut self, node: &'a Node, streams: &'a Streams) -> Running<'a> {
        Box::pin(async move {
            self.depth += 1;
            if self.depth > DEEPEST {
                let _ = streams.stderr.text("sh: nested too deeply\n").await;
                self.status = 2;
                self.depth -= 1;
                return Flow::Exit;
            }
            let flow = self.step(node, streams).await;
            self.depth -= 1;
            flow
        })
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each construct")]
    async fn step(&mut self, node: &Node, streams: &Streams) -> Flow {
        match node {
            Node::List(commands) => {
                for (command, background) in commands {
                    if *background {
                        self.start(command, streams);
                        continue;
                    }
                    let flow = self.run(command, streams).await;
                    if flow != Flow::Next {
                        return flow;
                    }
                    let checked = matches!(
                        command,
                        Node::Simple { .. }
                            | Node::Pipeline(_)
                            | Node::Subshell(_)
                            | Node::Redirected(..)
                    );
                    if self.errexit && checked && self.status != 0 {
                        return Flow::Exit;
                    }
                }
                Flow::Next
            }
            Node::AndOr(first, rest) => {
                let mut flow = self.run(first, streams).await;
                for (and, next) in rest {
                    if flow != Flow::Next {
                        return flow;
                    }
                    if (self.status == 0) == *and {
                        flow = self.run(next, streams).await;
                    }
                }
                flow
            }
            Node::Not(command) => {
                let flow = self.run(command, streams).await;
                self.status = i32::from(self.status == 0);
                flow
            }
            Node::Pipeline(commands) => self.pipeline(commands, streams).await,
            Node::Subshell(body) => {
                let mut inner = self.clone();
                inner.run(body, streams).await;
                self.status = inner.status;
                Flow::Next
            }
            Node::Redirected(command, redirects) => match self.redirect(redirects, streams).await {
                Some(streams) => self.run(command, &streams).await,
                None => Flow::Next,
            },
            Node::If {
                branches,
                otherwise,
            } => {
                for (condition, body) in branches {
                    let flow = self.run(condition, streams).await;
                    if flow != Flow::Next {
                        return flow;
                    }
                    if self.status == 0 {
                        return self.run(body, streams).await;
                    }
                }
                self.status = 0;
                match otherwise {
                    Some(body) => self.run(body, streams).await,
                    None => Flow::Next,
                }
            }
            Node::Loop {
                condition,
                body,
                until,
            } => self.repeat(condition, body, *until, streams).await,
            Node::For {
                variable,
                words,
                body,
            } => {
                let values = match words {
                    Some(words) => self.expand_all(words, streams).await,
                    None => self.arguments.iter().skip(1).cloned().collect(),
                };
                self.status = 0;
                for value in values {
                    self.variables.insert(variable.clone(), value);
                    match self.run(body, streams).await {
                        Flow::Next | Flow::Continue(1) => {}
                        Flow::Break(1) => break,
                        Flow::Break(n) => return Flow::Break(n - 1),
                        Flow::Continue(n) => return Flow::Continue(n - 1),
                        other => return other,
                    }
                }
                Flow::Next
            }
            Node::Case { word, arms } => {
                let value = self.expand_one(word, streams).await;
                for (patterns, body) in arms {
                    for pattern in patterns {
                        let pattern = self.expand_one(pattern, streams).await;
                        if expand::matches(&pattern, &value) {
                            return self.run(body, streams).await;
                        }
                    }
                }
                self.status = 0;
                Flow::Next
            }
            Node::Function(name, body) => {
                self.functions
                    .insert(name.clone(), Arc::new(Node::clone(body)));
                self.status = 0;
                Flow::Next
            }
            Node::Simple { assignments, words } => {
                // Scripts that never wait for anything must not keep a thread to themselves.
                tokio::task::yield_now().await;
                let words = self.expand_all(words, streams).await;
                let mut values = Vec::new();
                for (name, value) in assignments {
                    values.push((name.clone(), self.expand_one(value, streams).await));
                }
                if words.is_empty() {
                    // The status of `x=$(command)` is that of the command.
                    if !assignments
                        .iter()
                        .any(|(_, w)| w.iter().any(|p| matches!(p, parse::Part::Command { .. })))
                    {
                        self.status = 0;
                    }
                    self.variables.extend(values);
                    return Flow::Next;
                }
                self.invoke(&words, values, streams).await
            }
        }
    }

    async fn repeat(
        &mut self,
        condition: &Node,
        body: &Node,
        until: bool,
        streams: &Streams,
    ) -> Flow {
        let mut last = 0;
        loop {
            let flow = self.run(condition, streams).await;
            if flow != Flow::Next {
                return flow;
            }
            if (self.status == 0) == until {
                self.status = last;
                return Flow::Next;
            }
            match self.run(body, streams).await {
                Flow::Next | Flow::Continue(1) => last = self.status,
                Flow::Break(1) => {
                    self.status = 0;
                    return Flow::Next;
                }
                Flow::Break(n) => return Flow::Break(n - 1),
                Flow::Continue(n) => return Flow::Continue(n - 1),
                other => return other,
            }
        }
    }

    async fn pipeline(&mut self, commands: &[Node], streams: &Streams) -> Flow {
        let mut stdin = streams.stdin.clone();
        let mut stages = Vec::new();
        for (i, command) in commands.iter().enumerate() {
            let mut inner = self.clone();
            let mut own = Streams {
                stdin,
                stdout: streams.stdout.clone(),
                stderr: streams.stderr.clone(),
            };
            stdin = Input::Empty;
            if i + 1 < commands.len() {
                let (reader, writer) = pipe();
                own.stdout = Output::Pipe(writer);
                stdin = Input::Pipe(reader);
            }
            stages.push(async move {
                inner.run(command, &own).await;
                // Now the next stage sees the end.
                drop(own);
                inner.status
            });
        }
        self.status = join_all(stages).await.last().copied().unwrap_or(0);
        Flow::Next
    }

    /// Runs a command in the background.
    fn start(&mut self, command: &Node, streams: &Streams) {
        let registration = Registration::new(&self.process.container);
        let mut inner = self.clone();
        inner.depth = 0;
        inner.process.pid = registration.pid;
        inner.jobs.clear();
        self.background = Some(registration.pid);
        let done = Arc::new(tokio::sync::watch::Sender::new(false));
        self.jobs.push(Arc::clone(&done));
        let command = command.clone();
        let streams = Streams {
            stdin: Input::Empty,
            ..streams.clone()
        };
        self.status = 0;
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            registration
                .run(async {
                    inner.run(&command, &streams).await;
                    inner.status
                })
                .await;
            done.send_replace(true);
        });
        tokio::spawn(task);
    }

    /// Runs a builtin, a function or a program.
    async fn invoke(
        &mut self,
        words: &[String],
        assignments: Vec<(String, String)>,
        streams: &Streams,
    ) -> Flow {
        let (name, arguments) = words
            .split_first()
            .map_or(("", &[] as &[String]), |(n, a)| (n.as_str(), a));
        if let Some(flow) = self.builtin(name, arguments, streams).await {
            self.variables.extend(assignments);
            return flow;
        }
        if let Some(body) = self.functions.get(name).cloned() {
            let saved = std::mem::replace(&mut self.arguments, words.to_vec());
            let flow = self.run(&body, streams).await;
            self.arguments = saved;
            return if flow == Flow::Return {
                Flow::Next
            } else {
                flow
            };
        }
        let mut process = self.process.clone();
        process.environment = self.environment();
        process.environment.extend(assignments);
        self.status = programs::run(&process, words, streams).await;
        Flow::Next
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let exported = self
            .variables
            .iter()
            .filter(|(name, _)| self.exported.contains(name));
        exported
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The output of a command, without its last newlines.
    pub(crate) async fn output_of(&mut self, script: &str, streams: &Streams) -> String {
        let (reader, writer) = pipe();
        let mut inner = self.clone();
        let own = Streams {
            stdin: streams.stdin.clone(),
            stdout: Output::Pipe(writer),
            stderr: streams.stderr.clone(),
        };
        let script = script.to_owned();
        let run: Pin<Box<dyn Future<Output = i32> + Send>> = Box::pin(async move {
            inner.depth += 1;
            let Ok(node) = parse::parse(&script) else {
                return 2;
            };
            inner.run(&node, &own).await;
            drop(own);
            inner.status
        });
        let read = async {
            let mut text = Vec::new();
            loop {
                let piece = reader.read(SCRIPT_LIMIT).await;
                if piece.is_empty() || text.len() > SCRIPT_LIMIT {
                    return text;
                }
                text.extend(piece);
            }
        };
        let (status, text) = futures_util::future::join(run, read).await;
        self.status = status;
        String::from_utf8_lossy(&text)
            .trim_end_matches('\n')
            .to_owned()
    }
}

/// The exit status of a program whose output failed.
pub(crate) fn broken(error: WriteError) -> i32 {
    match error {
        WriteError::BrokenPipe => 128 + SIGPIPE,
        WriteError::File(_) => 1,
    }
}
