//! Programs about the system and the process.

use std::time::Duration;

use super::super::super::time::Timestamp;
use super::{Outcome, Run, signal_number};

pub(super) async fn sleep(run: &Run<'_>) -> Outcome {
    let mut total = Duration::ZERO;
    for word in run.arguments {
        if matches!(word.as_str(), "infinity" | "inf") {
            std::future::pending::<()>().await;
        }
        let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let scale = match &word[digits.len()..] {
            "" | "s" if run.name == "usleep" => 1e-6,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => -1.0,
        };
        let seconds = digits.parse::<f64>().ok().map(|n| n * scale);
        match seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            Some(more) => total = total.saturating_add(more),
            None => return run.complain(format!("invalid number '{word}'")).await,
        }
    }
    // Longer than the timer can count.
    tokio::time::sleep(total.min(Duration::from_hours(8760))).await;
    Ok(0)
}

pub(super) async fn kill(run: &Run<'_>) -> Outcome {
    let mut signal = 15;
    let mut status = 0;
    let mut arguments = run.arguments.iter();
    while let Some(argument) = arguments.next() {
        if let Some(name) = argument.strip_prefix('-') {
            let name = if name == "s" {
                arguments.next().map_or("", String::as_str)
            } else {
                name
            };
            match signal_number(name) {
                Some(number) => signal = number,
                None => return run.complain(format!("invalid signal '{name}'")).await,
            }
            continue;
        }
        let sent = argument
            .parse()
            .is_ok_and(|pid| run.process.container.table.signal(pid, signal));
        if !sent {
            status = 1;
            run.complain(format!("can't kill pid {argument}: No such process"))
                .await?;
        }
    }
    // The signal may be for this very process: let it arrive.
    tokio::task::yield_now().await;
    Ok(status)
}

pub(super) async fn env(run: &Run<'_>) -> Outcome {
    let mut process = run.process.clone();
    let mut rest = run.arguments;
    while let Some((first, after)) = rest.split_first() {
        match first.split_once('=') {
            Some((name, value)) => {
                process.environment.insert(name.into(), value.into());
            }
            None if first == "-i" => process.environment.clear(),
            None => break,
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Ok(super::run(&process, rest, run.streams).await);
    }
    for (name, value) in &process.environment {
        run.streams.stdout.text(format!("{name}={value}\n")).await?;
    }
    Ok(0)
}

pub(super) async fn test(run: &Run<'_>) -> Outcome {
    let mut words: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
    if run.name == "[" && words.pop() != Some("]") {
        return run.complain("missing ]").await.map(|_| 2);
    }
    match evaluate(run, &words) {
        Some(truth) => Ok(i32::from(!truth)),
        None => run.complain("unknown operand").await.map(|_| 2),
    }
}

fn evaluate(run: &Run<'_>, words: &[&str]) -> Option<bool> {
    if let Some(at) = words
        .iter()
        .position(|w| *w == "-o")
        .filter(|at| *at > 0 && words.len() > 3)
    {
        return Some(evaluate(run, &words[..at])? || evaluate(run, &words[at + 1..])?);
    }
    if let Some(at) = words
        .iter()
        .position(|w| *w == "-a")
        .filter(|at| *at > 0 && words.len() > 3)
    {
        return Some(evaluate(run, &words[..at])? && evaluate(run, &words[at + 1..])?);
    }
    match words {
        [] => Some(false),
        [word] => Some(!word.is_empty()),
        ["!", rest @ ..] if rest.first() != Some(&"!") => evaluate(run, rest).map(|truth| !truth),
        [operator, word] => {
            let entry = || run.process.container.files.stat(&run.path(word));
            match *operator {
                "-n" => Some(!word.is_empty()),
                "-z" => Some(word.is_empty()),
                "-e" | "-r" | "-w" => Some(entry().is_some()),
                "-f" => Some(entry().is_some_and(|e| e.content.is_some())),
                "-d" => Some(entry().is_some_and(|e| e.content.is_none())),
                "-s" => Some(entry().is_some_and(|e| e.content.is_some_and(|c| !c.is_empty()))),
                "-x" => Some(entry().is_some_and(|e| e.mode & 0o111 != 0)),
                "-t" => Some(run.process.terminal.is_some()),
                _ => None,
            }
        }
        [left, operator, right] => {
            let numbers = || {
                left.trim()
                    .parse::<i64>()
                    .ok()
                    .zip(right.trim().parse::<i64>().ok())
            };
            match *operator {
                "=" | "==" => Some(left == right),
                "!=" => Some(left != right),
                "-eq" => numbers().map(|(a, b)| a == b),
                "-ne" => numbers().map(|(a, b)| a != b),
                "-lt" => numbers().map(|(a, b)| a < b),
                "-le" => numbers().map(|(a, b)| a <= b),
                "-gt" => numbers().map(|(a, b)| a > b),
                "-ge" => numbers().map(|(a, b)| a >= b),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Programs that only tell something.
pub(super) async fn tell(run: &Run<'_>) -> Outcome {
    let out = &run.streams.stdout;
    let (flags, rest) = run.flags();
    let first = rest.first().copied().unwrap_or_default();
    let mut status = 0;
    let text = match run.name {
        "true" => String::new(),
        "false" => return Ok(1),
        "basename" => {
            let base = first
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            base.strip_suffix(rest.get(1).copied().unwrap_or("\0"))
                .unwrap_or(base)
                .to_owned()
                + "\n"
        }
        "dirname" => match first.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/\n".into(),
            Some((directory, _)) => format!("{directory}\n"),
            None => ".\n".into(),
        },
        "date" => date(run.arguments),
        "hostname" => format!("{}\n", run.process.container.hostname),
        "id" if flags.contains('u') => "0\n".into(),
        "id" => "uid=0(root) gid=0(root) groups=0(root)\n".into(),
        "printenv" => {
            let value = run.process.environment.get(first);
            if first.is_empty() {
                let all = run.process.environment.iter();
                all.flat_map(|(k, v)| [k, "=", v, "\n"]).collect()
            } else {
                status = i32::from(value.is_none());
                value.map(|v| format!("{v}\n")).unwrap_or_default()
            }
        }
        "ps" => {
            let pids = run.process.container.table.pids();
            std::iter::once("PID   USER     COMMAND\n".to_owned())
                .chain(pids.iter().map(|p| format!("{p:>5} root     -\n")))
                .collect()
        }
        "pwd" => format!("{}\n", run.process.cwd),
        "stty" => match &run.process.terminal {
            None => return run.complain("standard input: Not a tty").await,
            Some(terminal) if first == "size" => {
                let (width, height) = terminal.size();
                format!("{height} {width}\n")
            }
            Some(_) => "speed 38400 baud;\n".into(),
        },
        "tty" => {
            if run.process.terminal.is_some() {
                "/dev/pts/0\n".into()
            } else {
                status = 1;
                "not a tty\n".into()
            }
        }
        "uname" if flags.contains('a') => format!(
            "Linux {} 6.1.0 #1 SMP x86_64 GNU/Linux\n",
            run.process.container.hostname
        ),
        "uname" => "Linux\n".into(),
        "which" => {
            status = i32::from(!rest.iter().all(|name| super::exists(name)));
            let found = rest.iter().filter(|name| super::exists(name));
            found.flat_map(|name| ["/bin/", *name, "\n"]).collect()
        }
        _ => "root\n".into(),
    };
    out.text(text).await?;
    Ok(status)
}

fn date(arguments: &[String]) -> String {
    let now = Timestamp::now();
    let stamp = now.rfc3339();
    match arguments.iter().find_map(|a| a.strip_prefix('+')) {
        Some(format) => {
            let nanos = format!("{:09}", now.nanos);
            let mut text = format.to_owned();
            for (code, value) in [
                ("%s", now.seconds.to_string().as_str()),
                ("%N", nanos.as_str()),
                ("%Y", &stamp[0..4]),
                ("%m", &stamp[5..7]),
                ("%d", &stamp[8..10]),
                ("%H", &stamp[11..13]),
                ("%M", &stamp[14..16]),
                ("%S", &stamp[17..19]),
                ("%F", &stamp[0..10]),
                ("%T", &stamp[11..19]),
            ] {
                text = text.replace(code, value);
            }
            text + "\n"
        }
        None => format!("{} {} UTC\n", &stamp[0..10], &stamp[11..19]),
    }
}
