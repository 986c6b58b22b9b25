//! Programs that read and write text.

use super::super::process::Input;
use super::{Outcome, Run};

const CHUNK: usize = 32 << 10;

/// The inputs that a program's file arguments name.
pub(super) async fn open(run: &Run<'_>, files: &[&str]) -> Result<Vec<Input>, Outcome> {
    let mut inputs = Vec::new();
    for file in files {
        let path = run.path(file);
        inputs.push(match path.as_str() {
            _ if *file == "-" => run.streams.stdin.clone(),
            "/dev/stdin" => run.streams.stdin.clone(),
            "/dev/null" => Input::Empty,
            "/dev/zero" => Input::Zero,
            _ => match run.process.container.files.read(&path) {
                Ok(content) => Input::content(content),
                Err(why) => {
                    let what = if run.name == "cat" || run.name == "head" {
                        format!("can't open '{file}': {why}")
                    } else {
                        format!("{file}: {why}")
                    };
                    return Err(run.complain(what).await);
                }
            },
        });
    }
    if inputs.is_empty() {
        inputs.push(run.streams.stdin.clone());
    }
    Ok(inputs)
}

pub(super) async fn cat(run: &Run<'_>) -> Outcome {
    let (_, files) = run.flags();
    let inputs = match open(run, &files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    for input in inputs {
        loop {
            let bytes = input.read(CHUNK).await;
            if bytes.is_empty() {
                break;
            }
            run.streams.stdout.write(&bytes).await?;
        }
    }
    Ok(0)
}

pub(super) async fn echo(run: &Run<'_>) -> Outcome {
    let mut words = run.arguments;
    let (mut newline, mut escapes) = (true, false);
    while let Some((first, rest)) = words.split_first() {
        match first.as_str() {
            "-n" => newline = false,
            "-e" => escapes = true,
            "-ne" | "-en" => (newline, escapes) = (false, true),
            _ => break,
        }
        words = rest;
    }
    let mut text = words.join(" ").into_bytes();
    if escapes {
        text = unescape(&text);
    }
    if newline {
        text.push(b'\n');
    }
    run.streams.stdout.write(&text).await?;
    Ok(0)
}

/// Backslash escapes of printf.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'a') => out.push(7),
            Some(b'b') => out.push(8),
            Some(b'e') => out.push(27),
            Some(b'x') => {
                let mut value = 0_u32;
                for _ in 0..2 {
                    let Some(digit) = bytes.peek().and_then(|b| char::from(*b).to_digit(16)) else {
                        break;
                    };
                    value = value * 16 + digit;
                    bytes.next();
                }
                out.push(u8::try_from(value).unwrap_or(0));
            }
            Some(first @ b'0'..=b'7') => {
                let mut value = u32::from(first - b'0');
                for _ in 0..if first == b'0' { 3 } else { 2 } {
                    let Some(digit) = bytes.peek().and_then(|b| char::from(*b).to_digit(8)) else {
                        break;
                    };
                    value = value * 8 + digit;
                    bytes.next();
                }
                out.push(u8::try_from(value & 0xff).unwrap_or(0));
            }
            Some(b'\\') | None => out.push(b'\\'),
            Some(other) => out.extend([b'\\', other]),
        }
    }
    out
}

pub(super) async fn printf(run: &Run<'_>) -> Outcome {
    let Some((format, mut arguments)) = run.arguments.split_first() else {
        return run.complain("usage: printf FORMAT [ARG]...").await;
    };
    let format = unescape(format.as_bytes());
    loop {
        let before = arguments.len();
        let mut out = Vec::new();
        let mut bytes = format.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let mut specification = String::new();
            let conversion = loop {
                match bytes.next() {
                    Some(b) if b.is_ascii_digit() || b"-+ .#".contains(&b) => {
                        specification.push(char::from(b));
                    }
                    other => break other,
                }
            };
            let Some(conversion) = conversion.filter(|c| *c != b'%') else {
                out.push(b'%');
                continue;
            };
            let argument = arguments.split_first().map(|(first, rest)| {
                arguments = rest;
                first.as_str()
            });
            out.extend(convert(
                conversion,
                &specification,
                argument.unwrap_or_default(),
            ));
        }
        run.streams.stdout.write(&out).await?;
        // The format is used again for what is left, unless it uses nothing.
        if arguments.is_empty() || arguments.len() == before {
            return Ok(0);
        }
        tokio::task::yield_now().await;
    }
}

fn convert(conversion: u8, specification: &str, argument: &str) -> Vec<u8> {
    let (flags, precision) = specification
        .split_once('.')
        .map_or((specification, None), |(f, p)| (f, p.parse::<usize>().ok()));
    let left = flags.starts_with('-');
    let zero = flags.starts_with('0');
    let width: usize = flags
        .trim_start_matches(['-', '+', ' ', '0', '#'])
        .parse()
        .unwrap_or(0)
        .min(1 << 16);
    let number = argument.trim().parse::<i64>().unwrap_or(0);
    let text: Vec<u8> = match conversion {
        b'd' | b'i' | b'u' => number.to_string().into_bytes(),
        b'x' => format!("{number:x}").into_bytes(),
        b'X' => format!("{number:X}").into_bytes(),
        b'o' => format!("{number:o}").into_bytes(),
        b'f' => format!(
            "{:.*}",
            precision.unwrap_or(6).min(40),
            argument.trim().parse::<f64>().unwrap_or(0.0)
        )
        .into_bytes(),
        b'c' => argument.bytes().take(1).collect(),
        b'b' => unescape(argument.as_bytes()),
        _ => {
            argument.as_bytes()[..precision.unwrap_or(argument.len()).min(argument.len())].to_vec()
        }
    };
    let padding = width.saturating_sub(text.len());
    let fill = if zero && !left && conversion != b's' {
        b'0'
    } else {
        b' '
    };
    let mut padded = vec![fill; if left { 0 } else { padding }];
    padded.extend(text);
    padded.resize(padded.len() + if left { padding } else { 0 }, b' ');
    padded
}

pub(super) async fn seq(run: &Run<'_>) -> Outcome {
    let (_, words) = run.flags();
    let numbers: Vec<i64> = words.iter().filter_map(|w| w.parse().ok()).collect();
    let (mut at, step, last) = match numbers.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] => (*first, *step, *last),
        _ => return run.complain("usage: seq [FIRST [INC]] LAST").await,
    };
    while step != 0 && ((step > 0 && at <= last) || (step < 0 && at >= last)) {
        run.streams.stdout.text(format!("{at}\n")).await?;
        at = at.saturating_add(step);
        tokio::task::yield_now().await;
    }
    Ok(0)
}

pub(super) async fn yes(run: &Run<'_>) -> Outcome {
    let line = if run.arguments.is_empty() {
        "y".into()
    } else {
        run.arguments.join(" ")
    };
    let block = format!("{line}\n").repeat(CHUNK / (line.len() + 1).min(CHUNK));
    loop {
        run.streams
            .stdout
            .text(if block.is_empty() { &line } else { &block })
            .await?;
        tokio::task::yield_now().await;
    }
}

/// A count such as `5`, `1k`, `2M`; and the flag before it (`n` or `c`).
fn count_of(run: &Run<'_>) -> (char, String, Vec<String>) {
    let (mut unit, mut count, mut files) = ('n', "10".to_owned(), Vec::new());
    let mut arguments = run.arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix('-').filter(|f| !f.is_empty()) {
            Some(flag) if flag.starts_with(['n', 'c']) => {
                unit = if flag.starts_with('n') { 'n' } else { 'c' };
                count = if flag.len() > 1 {
                    flag[1..].to_owned()
                } else {
                    arguments.next().cloned().unwrap_or_default()
                };
            }
            Some(flag) if flag.starts_with(|c: char| c.is_ascii_digit()) => {
                flag.clone_into(&mut count);
            }
            Some(flag) if flag.starts_with('f') => files.push("\0follow".into()),
            _ => files.push(argument.clone()),
        }
    }
    (unit, count, files)
}

fn amount(text: &str) -> Option<usize> {
    let text = text.trim_start_matches('+');
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(scale)
}

pub(super) async fn head(run: &Run<'_>) -> Outcome {
    let (unit, count, files) = count_of(run);
    let Some(count) = amount(&count) else {
        return run.complain(format!("invalid number '{count}'")).await;
    };
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let inputs = match open(run, &files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    for input in inputs {
        let mut left = count;
        while left > 0 {
            let bytes = if unit == 'c' {
                input.read(left.min(CHUNK)).await
            } else {
                input.read_line().await
            };
            if bytes.is_empty() {
                break;
            }
            left -= if unit == 'c' { bytes.len() } else { 1 };
            run.streams.stdout.write(&bytes).await?;
        }
    }
    Ok(0)
}

pub(super) async fn tail(run: &Run<'_>) -> Outcome {
    let (unit, count, mut files) = count_of(run);
    let follow = files.iter().any(|f| f == "\0follow");
    files.retain(|f| f != "\0follow");
    let from = count.starts_with('+');
    let Some(count) = amount(&count) else {
        return run.complain(format!("invalid number '{count}'")).await;
    };
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let inputs = match open(run, &names).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    let mut length = 0;
    for input in inputs {
        let mut pieces: std::collections::VecDeque<Vec<u8>> = std::collections::VecDeque::new();
        let mut skipped = 0;
        loop {
            let piece = if unit == 'c' {
                input.read(1).await
            } else {
                input.read_line().await
            };
            if piece.is_empty() {
                break;
            }
            length += piece.len();
            if from && skipped + 1 < count {
                skipped += 1;
                continue;
            }
            pieces.push_back(piece);
            if !from && pieces.len() > count {
                pieces.pop_front();
            }
        }
        for piece in pieces {
            run.streams.stdout.write(&piece).await?;
        }
    }
    // A followed file: look again from time to time, as tail does.
    while let (true, [file]) = (follow, files.as_slice()) {
        if file == "/dev/null" {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let content = run
            .process
            .container
            .files
            .read(&run.path(file))
            .unwrap_or_default();
        if content.len() > length {
            run.streams.stdout.write(&content[length..]).await?;
        }
        length = content.len();
    }
    Ok(0)
}

pub(super) async fn tee(run: &Run<'_>) -> Outcome {
    let (flags, files) = run.flags();
    let paths: Vec<String> = files.iter().map(|f| run.path(f)).collect();
    for path in &paths {
        let opened = if flags.contains('a') {
            run.process.container.files.append(path, b"")
        } else {
            run.process.container.files.write(path, Vec::new(), 0o644)
        };
        if let Err(why) = opened {
            return run.complain_about(path, why).await;
        }
    }
    loop {
        let bytes = run.streams.stdin.read(CHUNK).await;
        if bytes.is_empty() {
            return Ok(0);
        }
        for path in &paths {
            if let Err(why) = run.process.container.files.append(path, &bytes) {
                return run.complain_about(path, why).await;
            }
        }
        run.streams.stdout.write(&bytes).await?;
    }
}

/// The characters of a `tr` set, with ranges, classes and escapes.
fn set(text: &str) -> Vec<u8> {
    let text = text
        .replace("[:lower:]", "a-z")
        .replace("[:upper:]", "A-Z")
        .replace("[:digit:]", "0-9")
        .replace("[:space:]", " \\t\\n\\r");
    let bytes = unescape(text.as_bytes());
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes.get(at..at + 3) {
            Some([from, b'-', to]) if from <= to => {
                out.extend(*from..=*to);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

pub(super) async fn tr(run: &Run<'_>) -> Outcome {
    let (flags, sets) = run.flags();
    let Some(first) = sets.first() else {
        return run.complain("usage: tr [-cds] SET1 [SET2]").await;
    };
    let first = set(first);
    let second = sets.get(1).map(|s| set(s)).unwrap_or_default();
    let listed = |byte: u8| first.contains(&byte) != flags.contains('c');
    let mut last = None;
    loop {
        let bytes = run.streams.stdin.read(CHUNK).await;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let mut byte = byte;
            if flags.contains('d') && listed(byte) {
                continue;
            }
            if let Some(end) = second
                .last()
                .filter(|_| !flags.contains('d') && listed(byte))
            {
                let at = first.iter().position(|b| *b == byte);
                byte = at.and_then(|at| second.get(at)).copied().unwrap_or(*end);
            }
            let squeezed = if second.is_empty() { &first } else { &second };
            if flags.contains('s') && last == Some(byte) && squeezed.contains(&byte) {
                continue;
            }
            last = Some(byte);
            out.push(byte);
        }
        run.streams.stdout.write(&out).await?;
    }
}

pub(super) async fn wc(run: &Run<'_>) -> Outcome {
    let (flags, files) = run.flags();
    let inputs = match open(run, &files).await {
        Ok(inputs) => inputs,
        Err(outcome) => return outcome,
    };
    for (i, input) in inputs.iter().enumerate() {
        let (mut lines, mut words, mut bytes, mut in_word) = (0_u64, 0_u64, 0_usize, false);
        loop {
            let chunk = input.read(CHUNK).await;
            if chunk.is_empty() {
                break;
            }
            bytes += chunk.len();
            for byte in chunk {
                lines += u64::from(byte == b'\n');
                let space = byte.is_ascii_whitespace();
                words += u64::from(!space && !in_word);
                in_word = !space;
            }
        }
        let mut counts = Vec::new();
        for (flag, value) in [('l', lines), ('w', words), ('c', bytes as u64)] {
            if flags.contains(flag) || flags.is_empty() {
                counts.push(if flags.len() == 1 {
                    value.to_string()
                } else {
                    format!("{value:>9}")
                });
            }
        }
        let name = files.get(i).map(|f| format!(" {f}")).unwrap_or_default();
        run.streams
            .stdout
            .text(format!("{}{name}\n", counts.join(" ")))
            .await?;
    }
    Ok(0)
}
