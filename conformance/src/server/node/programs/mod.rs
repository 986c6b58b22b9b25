//! The programs that containers can run.

mod filesystem;
mod lines;
mod network;
mod system;
mod text;

use std::future::Future;
use std::pin::Pin;

use super::files::{Errno, resolve};
use super::process::{Process, Streams, WriteError};
use super::shell;

/// Everything that `PATH` has.
pub(crate) const PROGRAMS: &[&str] = &[
    "ash", "basename", "cat", "chmod", "cp", "cut", "date", "dirname", "echo", "env", "expr",
    "false", "grep", "head", "hostname", "httpd", "id", "kill", "ls", "mkdir", "mv", "nc",
    "printenv", "printf", "ps", "pwd", "rev", "rm", "rmdir", "seq", "sh", "sleep", "sort", "stat",
    "stty", "tail", "tar", "tee", "test", "touch", "tr", "true", "tty", "uname", "uniq", "usleep",
    "wc", "which", "whoami", "yes", "[",
];

/// One run of a program.
pub(crate) struct Run<'a> {
    pub(crate) process: &'a Process,
    /// What follows the name.
    pub(crate) arguments: &'a [String],
    pub(crate) name: &'a str,
    pub(crate) streams: &'a Streams,
}

/// The exit code, or why writing failed.
pub(crate) type Outcome = Result<i32, WriteError>;

impl Run<'_> {
    pub(crate) fn path(&self, path: &str) -> String {
        resolve(&self.process.cwd, path)
    }

    /// Complains on standard error, by the program's name.
    pub(crate) async fn complain(&self, what: impl AsRef<str>) -> Outcome {
        self.streams
            .stderr
            .text(format!("{}: {}\n", self.name, what.as_ref()))
            .await?;
        Ok(1)
    }

    pub(crate) async fn complain_about(&self, path: &str, why: Errno) -> Outcome {
        self.complain(format!("{path}: {why}")).await
    }

    /// Flags such as `-lk`, and what is no flag.
    pub(crate) fn flags(&self) -> (String, Vec<&str>) {
        let mut flags = String::new();
        let mut rest = Vec::new();
        let mut options = true;
        for argument in self.arguments {
            match argument
                .strip_prefix('-')
                .filter(|f| options && !f.is_empty())
            {
                Some("-") => options = false,
                Some(letters) => flags.push_str(letters),
                None => rest.push(argument.as_str()),
            }
        }
        (flags, rest)
    }
}

fn base(name: &str) -> &str {
    match name.rsplit_once('/') {
        Some(("/bin" | "/usr/bin" | "/sbin" | "/usr/sbin", base)) => base,
        _ => name,
    }
}

/// Whether there is such a program.
pub(crate) fn exists(name: &str) -> bool {
    PROGRAMS.contains(&base(name))
}

/// Why a runtime cannot start a program; `None` if it can.
pub(crate) fn cannot_start(process: &Process, command: &[String]) -> Option<String> {
    let Some(name) = command.first() else {
        return Some("exec failed: args must not be empty".into());
    };
    if exists(name) {
        return None;
    }
    let why = if name.contains('/') {
        match process.container.files.stat(&resolve(&process.cwd, name)) {
            Some(entry) if entry.content.is_none() => "is a directory",
            Some(entry) if entry.mode & 0o111 == 0 => "permission denied",
            Some(_) => return None,
            None => "no such file or directory",
        }
    } else {
        "executable file not found in $PATH"
    };
    let separator = if name.contains('/') && why == "no such file or directory" {
        format!("stat {name}: {why}")
    } else {
        why.to_owned()
    };
    Some(format!(
        "exec failed: unable to start container process: exec: \"{name}\": {separator}"
    ))
}

/// The number of a signal by its number or name.
pub(crate) fn signal_number(text: &str) -> Option<i32> {
    let name = text.trim_start_matches("SIG");
    let known = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("PIPE", 13),
        ("TERM", 15),
    ];
    name.parse()
        .ok()
        .filter(|n| (0..64).contains(n))
        .or_else(|| known.iter().find(|(n, _)| *n == name).map(|(_, s)| *s))
}

/// Runs a program to its end.
pub(crate) fn run<'a>(
    process: &'a Process,
    words: &'a [String],
    streams: &'a Streams,
) -> Pin<Box<dyn Future<Output = i32> + Send + 'a>> {
    Box::pin(async move {
        let Some((command, arguments)) = words.split_first() else {
            return 0;
        };
        let name = base(command);
        if matches!(name, "sh" | "ash") {
            return shell::main(process.clone(), arguments, streams.clone()).await;
        }
        let run = Run {
            process,
            arguments,
            name,
            streams,
        };
        match dispatch(&run).await {
            Some(Ok(code)) => code,
            Some(Err(error)) => {
                if let WriteError::File(why) = error {
                    let _ = streams
                        .stderr
                        .text(format!("{name}: write error: {why}\n"))
                        .await;
                }
                shell::broken(error)
            }
            None => other(process, words, streams).await,
        }
    })
}

async fn dispatch(run: &Run<'_>) -> Option<Outcome> {
    Some(match run.name {
        "cat" => text::cat(run).await,
        "cut" => lines::cut(run).await,
        "echo" => text::echo(run).await,
        "expr" => lines::expr(run).await,
        "grep" => lines::grep(run).await,
        "head" => text::head(run).await,
        "printf" => text::printf(run).await,
        "rev" | "sort" | "uniq" => lines::lines(run).await,
        "seq" => text::seq(run).await,
        "tail" => text::tail(run).await,
        "tee" => text::tee(run).await,
        "tr" => text::tr(run).await,
        "wc" => text::wc(run).await,
        "yes" => text::yes(run).await,
        "chmod" | "cp" | "mv" | "rm" | "rmdir" | "touch" | "mkdir" => filesystem::change(run).await,
        "ls" => filesystem::ls(run).await,
        "stat" => filesystem::stat(run).await,
        "tar" => filesystem::tar(run).await,
        "httpd" => network::httpd(run).await,
        "nc" => network::nc(run).await,
        "env" => return Some(system::env(run).await),
        "kill" => system::kill(run).await,
        "sleep" | "usleep" => system::sleep(run).await,
        "test" | "[" => system::test(run).await,
        "basename" | "date" | "dirname" | "false" | "hostname" | "id" | "printenv" | "ps"
        | "pwd" | "stty" | "true" | "tty" | "uname" | "which" | "whoami" => system::tell(run).await,
        _ => return None,
    })
}

/// A file of the container, run as a script; or nothing that can be run.
async fn other(process: &Process, words: &[String], streams: &Streams) -> i32 {
    let name = &words[0];
    if name.contains('/') {
        let path = resolve(&process.cwd, name);
        match process.container.files.stat(&path) {
            Some(entry) if entry.content.is_some() && entry.mode & 0o111 != 0 => {
                return shell::main(process.clone(), words, streams.clone()).await;
            }
            Some(_) => {
                let _ = streams
                    .stderr
                    .text(format!("sh: {name}: Permission denied\n"))
                    .await;
                return 126;
            }
            None => {}
        }
    }
    let _ = streams
        .stderr
        .text(format!("sh: {name}: not found\n"))
        .await;
    127
}
