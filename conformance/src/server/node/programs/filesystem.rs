//! Programs about files.

use std::io::{Read as _, Write as _};

use super::super::super::time::Timestamp;
use super::super::files::{Entry, Errno, resolve};
use super::super::process::WriteError;
use super::{Outcome, Run};

const CHUNK: usize = 32 << 10;
/// The most that an archive may hold: the file system itself is bounded as well.
const ARCHIVE_LIMIT: usize = 80 << 20;

/// chmod, cp, mkdir, mv, rm, rmdir, touch.
pub(super) async fn change(run: &Run<'_>) -> Outcome {
    let files = &run.process.container.files;
    let (flags, rest) = run.flags();
    if rest.is_empty() {
        return run.complain("missing operand").await;
    }
    let recursive = flags.contains(['r', 'R']);
    let mut status = 0;
    let (sources, target): (&[&str], &str) = match run.name {
        "cp" | "mv" => match rest.split_last() {
            Some((target, sources)) if !sources.is_empty() => (sources, *target),
            _ => return run.complain("missing operand").await,
        },
        "chmod" => (&rest[1..], rest[0]),
        _ => (&rest, ""),
    };
    for source in sources {
        let path = run.path(source);
        let done: Result<(), Errno> = match run.name {
            "mkdir" => files.make_directory(&path, flags.contains('p')),
            "rm" => match files.remove(&path, recursive) {
                Err(_) if flags.contains('f') && files.stat(&path).is_none() => Ok(()),
                other => other,
            },
            "rmdir" => match files.list(&path, false) {
                Ok(entries) if entries.is_empty() => files.remove(&path, true),
                Ok(_) => Err("Directory not empty"),
                Err(why) => Err(why),
            },
            "touch" => files.append(&path, b""),
            "chmod" => {
                let current = files.stat(&path).map_or(0o644, |e| e.mode);
                let mode = u32::from_str_radix(target, 8)
                    .ok()
                    .or_else(|| target.ends_with("+x").then_some(current | 0o111));
                mode.map_or(Err("Invalid argument"), |mode| files.set_mode(&path, mode))
            }
            _ => copy(run, &path, &run.path(target), run.name == "mv", recursive),
        };
        if let Err(why) = done {
            let what = match run.name {
                "mkdir" => format!("can't create directory '{source}': {why}"),
                "rm" => format!("can't remove '{source}': {why}"),
                "cp" => format!("can't stat '{source}': {why}"),
                _ => format!("{source}: {why}"),
            };
            status = run.complain(what).await?;
        }
    }
    Ok(status)
}

fn copy(run: &Run<'_>, from: &str, to: &str, moving: bool, recursive: bool) -> Result<(), Errno> {
    let files = &run.process.container.files;
    let entry = files.stat(from).ok_or("No such file or directory")?;
    let base = from.rsplit('/').next().unwrap_or_default();
    let into_directory = files.stat(to).is_some_and(|e| e.content.is_none());
    let to = if into_directory {
        format!("{}/{base}", to.trim_end_matches('/'))
    } else {
        to.to_owned()
    };
    if to == from || to.starts_with(&format!("{from}/")) {
        return Err("Invalid argument");
    }
    match entry.content {
        Some(content) => files.write(&to, content, entry.mode)?,
        None if !recursive && !moving => return Err("Is a directory"),
        None => {
            files.make_directory(&to, true)?;
            for (name, inner) in files.list(from, true)? {
                match inner.content {
                    Some(content) => files.write(&format!("{to}/{name}"), content, inner.mode)?,
                    None => files.make_directory(&format!("{to}/{name}"), true)?,
                }
            }
        }
    }
    if moving {
        files.remove(from, true)
    } else {
        Ok(())
    }
}

fn long(name: &str, entry: &Entry) -> String {
    let kind = if entry.content.is_some() { '-' } else { 'd' };
    let mut bits = String::new();
    for shift in [6, 3, 0] {
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            bits.push(if entry.mode >> shift & bit != 0 {
                letter
            } else {
                '-'
            });
        }
    }
    let stamp = Timestamp {
        seconds: entry.modified,
        nanos: 0,
    }
    .rfc3339();
    let size = entry.content.as_ref().map_or(4096, Vec::len);
    format!(
        "{kind}{bits}    1 root     root     {size:>9} {} {} {name}\n",
        &stamp[0..10],
        &stamp[11..16]
    )
}

pub(super) async fn ls(run: &Run<'_>) -> Outcome {
    let (flags, rest) = run.flags();
    let paths = if rest.is_empty() { vec!["."] } else { rest };
    let many = paths.len() > 1;
    let mut status = 0;
    for path in paths {
        let full = run.path(path);
        let Some(entry) = run.process.container.files.stat(&full) else {
            status = run
                .complain_about(path, "No such file or directory")
                .await?;
            continue;
        };
        let mut entries = if entry.content.is_some() || flags.contains('d') {
            vec![(path.to_owned(), entry)]
        } else {
            if many {
                run.streams.stdout.text(format!("{path}:\n")).await?;
            }
            run.process
                .container
                .files
                .list(&full, false)
                .unwrap_or_default()
        };
        entries.retain(|(name, _)| {
            flags.contains(['a', 'A']) || !name.starts_with('.') || name == path
        });
        for (name, entry) in &entries {
            let line = if flags.contains('l') {
                long(name, entry)
            } else {
                format!("{name}\n")
            };
            run.streams.stdout.text(line).await?;
        }
    }
    Ok(status)
}

pub(super) async fn stat(run: &Run<'_>) -> Outcome {
    let (_, rest) = run.flags();
    // `stat -c %s FILE`: the size alone.
    let format = run
        .arguments
        .windows(2)
        .find(|w| w[0] == "-c")
        .map(|w| w[1].clone());
    let mut status = 0;
    for path in rest.iter().filter(|p| Some(**p) != format.as_deref()) {
        let Some(entry) = run.process.container.files.stat(&run.path(path)) else {
            status = run
                .complain(format!("can't stat '{path}': No such file or directory"))
                .await?;
            continue;
        };
        let size = entry.content.as_ref().map_or(4096, Vec::len).to_string();
        let text = match &format {
            Some(format) => format
                .replace("%s", &size)
                .replace("%a", &format!("{:o}", entry.mode))
                .replace("%n", path),
            None => format!("  File: {path}\n  Size: {size}"),
        };
        run.streams.stdout.text(text + "\n").await?;
    }
    Ok(status)
}

/// `tar cf - [-C DIR] PATH…` and `tar xf - [-C DIR]`, as `kubectl cp` uses them.
pub(super) async fn tar(run: &Run<'_>) -> Outcome {
    let mut mode = None;
    let mut archive = "-".to_owned();
    let mut directory = run.process.cwd.clone();
    let mut members: Vec<String> = Vec::new();
    let mut arguments = run.arguments.iter().enumerate();
    while let Some((index, argument)) = arguments.next() {
        let letters = argument
            .strip_prefix('-')
            .filter(|l| !l.is_empty() && !l.starts_with('-'));
        match letters.or_else(|| (index == 0).then_some(argument.as_str())) {
            Some("C") => directory = resolve(&directory, arguments.next().map_or(".", |(_, d)| d)),
            Some(letters) => {
                mode = letters
                    .chars()
                    .find(|c| matches!(c, 'c' | 'x' | 't'))
                    .or(mode);
                if letters.contains('f') {
                    archive = arguments
                        .next()
                        .map_or_else(|| "-".into(), |(_, f)| f.clone());
                }
            }
            None if argument.starts_with("--") => {}
            None => members.push(argument.clone()),
        }
    }
    match mode {
        Some('c') => pack(run, &archive, &directory, &members).await,
        Some(mode) => unpack(run, &archive, &directory, mode == 't').await,
        None => run.complain("need at least one option").await,
    }
}

async fn pack(run: &Run<'_>, archive: &str, directory: &str, members: &[String]) -> Outcome {
    let files = &run.process.container.files;
    let mut builder = tar::Builder::new(Vec::new());
    let mut status = 0;
    for member in members {
        let full = resolve(directory, member);
        let Some(entry) = files.stat(&full) else {
            status = run
                .complain(format!("{member}: No such file or directory"))
                .await?;
            continue;
        };
        let name = member.trim_start_matches('/').to_owned();
        let mut entries = vec![(name.clone(), entry.clone())];
        if entry.content.is_none() {
            let below = files.list(&full, true).unwrap_or_default();
            let prefix = if name.is_empty() {
                String::new()
            } else {
                format!("{}/", name.trim_end_matches('/'))
            };
            entries.extend(
                below
                    .into_iter()
                    .map(|(path, entry)| (format!("{prefix}{path}"), entry)),
            );
        }
        for (name, entry) in entries.into_iter().filter(|(name, _)| !name.is_empty()) {
            let content = entry.content.clone().unwrap_or_default();
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_mtime(u64::try_from(entry.modified).unwrap_or(0));
            header.set_size(content.len() as u64);
            header.set_entry_type(if entry.content.is_some() {
                tar::EntryType::Regular
            } else {
                tar::EntryType::Directory
            });
            header.set_cksum();
            if let Err(error) = builder.append_data(&mut header, name, content.as_slice()) {
                status = run.complain(error.to_string()).await?;
            }
        }
    }
    let bytes = match builder.into_inner() {
        Ok(bytes) => bytes,
        Err(error) => return run.complain(error.to_string()).await,
    };
    if archive != "-" {
        files
            .write(&run.path(archive), bytes, 0o644)
            .map_err(WriteError::File)?;
        return Ok(status);
    }
    for chunk in bytes.chunks(CHUNK) {
        run.streams.stdout.write(chunk).await?;
    }
    Ok(status)
}

async fn unpack(run: &Run<'_>, archive: &str, directory: &str, list: bool) -> Outcome {
    let files = &run.process.container.files;
    let mut bytes = Vec::new();
    if archive == "-" {
        loop {
            let chunk = run.streams.stdin.read(CHUNK).await;
            if chunk.is_empty() {
                break;
            }
            bytes
                .write_all(&chunk)
                .map_err(|_| WriteError::BrokenPipe)?;
            if bytes.len() > ARCHIVE_LIMIT {
                return run.complain("archive too large").await;
            }
        }
    } else {
        match files.read(&run.path(archive)) {
            Ok(content) => bytes = content,
            Err(why) => return run.complain(format!("can't open '{archive}': {why}")).await,
        }
    }
    match extract(run, &bytes, directory, list) {
        Ok(names) => {
            for name in names.iter().filter(|_| list) {
                run.streams.stdout.text(format!("{name}\n")).await?;
            }
            Ok(0)
        }
        Err(why) => run.complain(why).await,
    }
}

fn extract(
    run: &Run<'_>,
    bytes: &[u8],
    directory: &str,
    list: bool,
) -> Result<Vec<String>, String> {
    let files = &run.process.container.files;
    let mut archive = tar::Archive::new(bytes);
    let mut names = Vec::new();
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        names.push(name.clone());
        if list {
            continue;
        }
        let path = resolve(directory, name.trim_start_matches('/'));
        let parent = path.rsplit_once('/').map_or("/", |(p, _)| p);
        files.make_directory(parent, true)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => files.make_directory(&path, true)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(|e| e.to_string())?;
                let mode = entry.header().mode().unwrap_or(0o644);
                files.write(&path, content, mode & 0o7777)?;
            }
            // Links and devices have no place here.
            _other => {}
        }
    }
    Ok(names)
}
