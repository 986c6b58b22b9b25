//! What the shell does itself.

use super::super::files::resolve;
use super::super::process::Streams;
use super::super::programs;
use super::parse;
use super::{Flow, Shell};

impl Shell {
    /// Runs a builtin; `None` if there is none of this name.
    #[allow(clippy::too_many_lines, reason = "one arm for each builtin")]
    pub(super) async fn builtin(
        &mut self,
        name: &str,
        arguments: &[String],
        streams: &Streams,
    ) -> Option<Flow> {
        let first = arguments.first().map(String::as_str);
        let number = || first.and_then(|n| n.parse::<u32>().ok());
        self.status = match name {
            ":" | "umask" | "ulimit" => 0,
            "exit" => {
                self.status = first
                    .map_or(Some(self.status), |n| n.parse::<i32>().ok())
                    .map_or(2, |n| n & 0xff);
                return Some(Flow::Exit);
            }
            "return" => {
                self.status = first.and_then(|n| n.parse().ok()).unwrap_or(self.status);
                return Some(Flow::Return);
            }
            "break" => return Some(Flow::Break(number().unwrap_or(1).max(1))),
            "continue" => return Some(Flow::Continue(number().unwrap_or(1).max(1))),
            "cd" => {
                let home = self
                    .variables
                    .get("HOME")
                    .cloned()
                    .unwrap_or_else(|| "/".into());
                let path = resolve(&self.process.cwd, first.unwrap_or(&home));
                if self
                    .process
                    .container
                    .files
                    .stat(&path)
                    .is_some_and(|e| e.content.is_none())
                {
                    self.process.cwd = path;
                    0
                } else {
                    let target = first.unwrap_or_default();
                    let _ = streams
                        .stderr
                        .text(format!(
                            "sh: cd: can't cd to {target}: No such file or directory\n"
                        ))
                        .await;
                    2
                }
            }
            "export" | "readonly" | "local" => {
                for argument in arguments {
                    let (name, value) = argument
                        .split_once('=')
                        .map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
                    if let Some(value) = value {
                        self.variables.insert(name.into(), value.into());
                    }
                    if !self.exported.iter().any(|e| e == name) {
                        self.exported.push(name.into());
                    }
                }
                0
            }
            "unset" => {
                for name in arguments {
                    self.variables.remove(name);
                    self.functions.remove(name);
                }
                0
            }
            "set" => {
                for (i, argument) in arguments.iter().enumerate() {
                    match argument.chars().next() {
                        Some('-') if argument == "--" => {
                            self.arguments.truncate(1);
                            self.arguments.extend_from_slice(&arguments[i + 1..]);
                            break;
                        }
                        Some(sign @ ('-' | '+')) if argument.contains('e') => {
                            self.errexit = sign == '-';
                        }
                        _ => {}
                    }
                }
                0
            }
            "shift" => {
                let count = usize::try_from(number().unwrap_or(1))
                    .unwrap_or(1)
                    .min(self.arguments.len().saturating_sub(1));
                self.arguments.drain(1..=count);
                0
            }
            "read" => self.read(arguments, streams).await,
            "eval" | "." | "source" => {
                let script = if name == "eval" {
                    arguments.join(" ")
                } else {
                    let path = resolve(&self.process.cwd, first.unwrap_or_default());
                    match self.process.container.files.read(&path) {
                        Ok(script) => String::from_utf8_lossy(&script).into_owned(),
                        Err(why) => {
                            let _ = streams
                                .stderr
                                .text(format!(
                                    "sh: .: can't open '{}': {why}\n",
                                    first.unwrap_or_default()
                                ))
                                .await;
                            self.status = 2;
                            return Some(Flow::Next);
                        }
                    }
                };
                match parse::parse(&script) {
                    Ok(node) => return Some(self.run(&node, streams).await),
                    Err(_) => 2,
                }
            }
            "exec" => {
                if arguments.is_empty() {
                    return Some(Flow::Next);
                }
                let mut process = self.process.clone();
                process.environment = self.environment();
                self.status = programs::run(&process, arguments, streams).await;
                return Some(Flow::Exit);
            }
            "trap" => {
                self.trap(arguments);
                0
            }
            "wait" => {
                for job in std::mem::take(&mut self.jobs) {
                    // The sender is held by the job list: it cannot go away.
                    let _ = job.subscribe().wait_for(|done| *done).await;
                }
                0
            }
            "command" | "type" | "which" => {
                let wanted: Vec<&String> =
                    arguments.iter().filter(|a| !a.starts_with('-')).collect();
                let query = name != "command" || first.is_some_and(|f| f == "-v" || f == "-V");
                if !query {
                    let words: Vec<String> = wanted.into_iter().cloned().collect();
                    let mut process = self.process.clone();
                    process.environment = self.environment();
                    self.status = programs::run(&process, &words, streams).await;
                    return Some(Flow::Next);
                }
                let mut status = 0;
                for wanted in wanted {
                    if programs::exists(wanted) || self.functions.contains_key(wanted) {
                        let _ = streams.stdout.text(format!("/bin/{wanted}\n")).await;
                    } else {
                        status = 127;
                    }
                }
                status
            }
            _ => return None,
        };
        Some(Flow::Next)
    }

    async fn read(&mut self, arguments: &[String], streams: &Streams) -> i32 {
        let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
        let line = streams.stdin.read_line().await;
        let complete = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\n').trim_matches([' ', '\t']);
        if names.is_empty() {
            self.variables.insert("REPLY".into(), text.into());
        }
        let mut rest = text;
        for (i, name) in names.iter().enumerate() {
            let (value, after) = if i + 1 == names.len() {
                (rest, "")
            } else {
                rest.split_once([' ', '\t']).unwrap_or((rest, ""))
            };
            self.variables.insert((*name).clone(), value.into());
            rest = after.trim_start();
        }
        i32::from(!complete)
    }

    /// Signals may be ignored, or end the shell with a code; other handlers are not run.
    fn trap(&self, arguments: &[String]) {
        let Some((action, signals)) = arguments.split_first() else {
            return;
        };
        let action = action.trim();
        let code = action
            .strip_prefix("exit")
            .map(|n| n.trim().trim_end_matches(';').parse().unwrap_or(0));
        if !action.is_empty() && code.is_none() {
            return;
        }
        for signal in signals {
            if let Some(signal) = programs::signal_number(signal) {
                self.process
                    .container
                    .table
                    .handle(self.process.pid, signal, code);
            }
        }
    }
}
