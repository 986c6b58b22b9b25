//! Programs that choose and order lines, and `expr`.

use super::text::open;
use super::{Outcome, Run};

pub(super) async fn grep(run: &Run<'_>) -> Outcome {
    let (flags, rest) = run.flags();
    let Some((pattern, files)) = rest.split_first() else {
        return run.complain("usage: grep [-cinqv] PATTERN [FILE]...").await;
    };
    let inputs = match open(run, files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome.map(|_| 2),
    };
    let fold = |text: &str| {
        if flags.contains('i') {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let pattern = fold(pattern);
    let (start, end) = (pattern.starts_with('^'), pattern.ends_with('$'));
    let plain = pattern
        .trim_start_matches('^')
        .trim_end_matches('$')
        .replace(".*", "*");
    let glob = format!(
        "{}{plain}{}",
        if start { "" } else { "*" },
        if end { "" } else { "*" }
    );
    let mut count = 0;
    for input in inputs {
        let mut number = 0;
        loop {
            let line = input.read_line().await;
            if line.is_empty() {
                break;
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            let found = super::shell::expand::matches(&glob, &fold(text.trim_end_matches('\n')));
            if found != flags.contains('v') {
                count += 1;
                if !flags.contains(['q', 'c']) {
                    if flags.contains('n') {
                        run.streams.stdout.text(format!("{number}:")).await?;
                    }
                    run.streams.stdout.write(&line).await?;
                }
            }
        }
    }
    if flags.contains('c') {
        run.streams.stdout.text(format!("{count}\n")).await?;
    }
    Ok(i32::from(count == 0))
}

pub(super) async fn cut(run: &Run<'_>) -> Outcome {
    let mut delimiter = "\t".to_owned();
    let mut fields = String::new();
    let mut arguments = run.arguments.iter();
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        if let Some(text) = argument.strip_prefix("-d") {
            delimiter = if text.is_empty() {
                arguments.next().cloned().unwrap_or_default()
            } else {
                text.to_owned()
            };
        } else if let Some(text) = argument.strip_prefix("-f") {
            fields = if text.is_empty() {
                arguments.next().cloned().unwrap_or_default()
            } else {
                text.to_owned()
            };
        } else {
            files.push(argument.as_str());
        }
    }
    let wanted: Vec<usize> = fields.split(',').filter_map(|f| f.parse().ok()).collect();
    let inputs = match open(run, &files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    for input in inputs {
        loop {
            let line = input.read_line().await;
            if line.is_empty() {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let parts: Vec<&str> = text
                .trim_end_matches('\n')
                .split(delimiter.as_str())
                .collect();
            let chosen: Vec<&str> = wanted
                .iter()
                .filter_map(|n| parts.get(n.wrapping_sub(1)))
                .copied()
                .collect();
            run.streams
                .stdout
                .text(format!("{}\n", chosen.join(&delimiter)))
                .await?;
        }
    }
    Ok(0)
}

/// sort, uniq, rev: whole inputs by lines.
pub(super) async fn lines(run: &Run<'_>) -> Outcome {
    const MOST: usize = 16 << 20;
    let (flags, files) = run.flags();
    let inputs = match open(run, &files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    let mut all = Vec::new();
    let mut size = 0;
    for input in inputs {
        loop {
            let line = input.read_line().await;
            size += line.len();
            if line.is_empty() {
                break;
            }
            if size > MOST {
                return run.complain("out of memory").await;
            }
            all.push(
                String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned(),
            );
        }
    }
    match run.name {
        "sort" => {
            if flags.contains('n') {
                all.sort_by_key(|l| l.trim().parse::<i64>().unwrap_or(0));
            } else {
                all.sort();
            }
            if flags.contains('r') {
                all.reverse();
            }
            if flags.contains('u') {
                all.dedup();
            }
        }
        "uniq" => all.dedup(),
        _ => all.iter_mut().for_each(|l| *l = l.chars().rev().collect()),
    }
    for line in all {
        run.streams.stdout.text(format!("{line}\n")).await?;
    }
    Ok(0)
}

pub(super) async fn expr(run: &Run<'_>) -> Outcome {
    let words: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
    let [left, operator, right] = words.as_slice() else {
        return run.complain("syntax error").await.map(|_| 2);
    };
    let numbers = left.parse::<i64>().ok().zip(right.parse::<i64>().ok());
    let value = match (*operator, numbers) {
        ("=", _) => i64::from(left == right),
        ("!=", _) => i64::from(left != right),
        ("+", Some((a, b))) => a.wrapping_add(b),
        ("-", Some((a, b))) => a.wrapping_sub(b),
        ("*", Some((a, b))) => a.wrapping_mul(b),
        ("/", Some((a, b))) if b != 0 => a.wrapping_div(b),
        ("%", Some((a, b))) if b != 0 => a.wrapping_rem(b),
        ("<", Some((a, b))) => i64::from(a < b),
        (">", Some((a, b))) => i64::from(a > b),
        _ => return run.complain("syntax error").await.map(|_| 2),
    };
    run.streams.stdout.text(format!("{value}\n")).await?;
    Ok(i32::from(value == 0))
}
