//! The file system of a container, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::time::Timestamp;

/// What all files of a container may hold together.
const QUOTA: usize = 64 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `None`: a directory.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) mode: u32,
    pub(crate) modified: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<String, Entry>>>);

/// Why a file operation failed, in the words of libc.
pub(crate) type Errno = &'static str;

const NO_ENTRY: Errno = "No such file or directory";
const IS_DIRECTORY: Errno = "Is a directory";
const NOT_DIRECTORY: Errno = "Not a directory";
const EXISTS: Errno = "File exists";
const NO_SPACE: Errno = "No space left on device";

/// Makes `path` absolute, without `.` and `..`.
pub(crate) fn resolve(cwd: &str, path: &str) -> String {
    let full = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

impl Files {
    pub(crate) fn new(hostname: &str, programs: &[&str]) -> Self {
        let files = Self(Arc::default());
        let now = Timestamp::now().seconds;
        let directory = || Entry {
            content: None,
            mode: 0o755,
            modified: now,
        };
        let mut map = files.lock();
        for path in [
            "/", "/bin", "/dev", "/etc", "/home", "/proc", "/root", "/tmp", "/usr", "/usr/bin",
            "/var", "/var/log", "/www",
        ] {
            map.insert(path.into(), directory());
        }
        let file = |content: &str, mode| Entry {
            content: Some(content.into()),
            mode,
            modified: now,
        };
        for program in programs {
            map.insert(format!("/bin/{program}"), file("", 0o755));
        }
        map.insert(
            "/etc/hostname".into(),
            file(&format!("{hostname}\n"), 0o644),
        );
        map.insert(
            "/etc/hosts".into(),
            file(
                &format!("127.0.0.1\tlocalhost\n127.0.0.1\t{hostname}\n"),
                0o644,
            ),
        );
        map.insert(
            "/etc/passwd".into(),
            file("root:x:0:0:root:/root:/bin/sh\n", 0o644),
        );
        drop(map);
        files
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stat(&self, path: &str) -> Option<Entry> {
        self.lock().get(path).cloned()
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let map = self.lock();
        map.get(path)
            .ok_or(NO_ENTRY)?
            .content
            .clone()
            .ok_or(IS_DIRECTORY)
    }

    /// Writes a whole file.
    pub(crate) fn write(&self, path: &str, content: Vec<u8>, mode: u32) -> Result<(), Errno> {
        let mut map = self.lock();
        check_parent(&map, path)?;
        if map.get(path).is_some_and(|e| e.content.is_none()) {
            return Err(IS_DIRECTORY);
        }
        let others: usize = used(&map)
            - map
                .get(path)
                .and_then(|e| e.content.as_ref())
                .map_or(0, Vec::len);
        if others + content.len() > QUOTA {
            return Err(NO_SPACE);
        }
        map.insert(
            path.to_owned(),
            Entry {
                content: Some(content),
                mode,
                modified: Timestamp::now().seconds,
            },
        );
        Ok(())
    }

    pub(crate) fn append(&self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let mut map = self.lock();
        check_parent(&map, path)?;
        if used(&map) + bytes.len() > QUOTA {
            return Err(NO_SPACE);
        }
        let now = Timestamp::now().seconds;
        let entry = map.entry(path.to_owned()).or_insert_with(|| Entry {
            content: Some(Vec::new()),
            mode: 0o644,
            modified: now,
        });
        entry.modified = now;
        entry
            .content
            .as_mut()
            .ok_or(IS_DIRECTORY)?
            .extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn make_directory(&self, path: &str, parents: bool) -> Result<(), Errno> {
        let mut map = self.lock();
        let directory = Entry {
            content: None,
            mode: 0o755,
            modified: Timestamp::now().seconds,
        };
        if parents {
            let mut at = String::new();
            for part in path.split('/').filter(|p| !p.is_empty()) {
                at = format!("{at}/{part}");
                if map
                    .entry(at.clone())
                    .or_insert_with(|| directory.clone())
                    .content
                    .is_some()
                {
                    return Err(NOT_DIRECTORY);
                }
            }
            return Ok(());
        }
        check_parent(&map, path)?;
        if map.contains_key(path) {
            return Err(EXISTS);
        }
        map.insert(path.to_owned(), directory);
        Ok(())
    }

    /// The entries below a directory, by their path relative to it; of all levels if `deep`.
    pub(crate) fn list(&self, path: &str, deep: bool) -> Result<Vec<(String, Entry)>, Errno> {
        let map = self.lock();
        if map.get(path).ok_or(NO_ENTRY)?.content.is_some() {
            return Err(NOT_DIRECTORY);
        }
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let below = map
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        let relative = below.map(|(key, entry)| (key[prefix.len()..].to_owned(), entry.clone()));
        Ok(relative
            .filter(|(key, _)| !key.is_empty() && (deep || !key.contains('/')))
            .collect())
    }

    /// Removes a file, or a directory with everything below it.
    pub(crate) fn remove(&self, path: &str, recursive: bool) -> Result<(), Errno> {
        let mut map = self.lock();
        let entry = map.get(path).ok_or(NO_ENTRY)?;
        if entry.content.is_none() && !recursive {
            return Err(IS_DIRECTORY);
        }
        let prefix = format!("{path}/");
        map.retain(|key, _| key != path && !key.starts_with(&prefix));
        Ok(())
    }

    pub(crate) fn set_mode(&self, path: &str, mode: u32) -> Result<(), Errno> {
        self.lock().get_mut(path).ok_or(NO_ENTRY)?.mode = mode;
        Ok(())
    }
}

fn used(map: &BTreeMap<String, Entry>) -> usize {
    map.values()
        .filter_map(|e| e.content.as_ref())
        .map(Vec::len)
        .sum()
}

fn check_parent(map: &BTreeMap<String, Entry>, path: &str) -> Result<(), Errno> {
    match map.get(parent(path)) {
        Some(entry) if entry.content.is_none() => Ok(()),
        Some(_) => Err(NOT_DIRECTORY),
        None => Err(NO_ENTRY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_files() {
        assert_eq!(resolve("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(resolve("/", "/.."), "/");
        let files = Files::new("h", &["sh"]);
        assert_eq!(files.write("/none/x", Vec::new(), 0o644), Err(NO_ENTRY));
        files.make_directory("/tmp/a/b", true).unwrap();
        files.append("/tmp/a/b/f", b"12").unwrap();
        files.append("/tmp/a/b/f", b"3").unwrap();
        assert_eq!(files.read("/tmp/a/b/f").unwrap(), b"123");
        let names = |deep| {
            files
                .list("/tmp", deep)
                .unwrap()
                .into_iter()
                .map(|(n, _)| n)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["a"]);
        assert_eq!(names(true), ["a", "a/b", "a/b/f"]);
        assert_eq!(files.remove("/tmp/a", false), Err(IS_DIRECTORY));
        files.remove("/tmp/a", true).unwrap();
        assert!(names(true).is_empty());
        assert_eq!(
            files.write("/tmp/big", vec![0; QUOTA + 1], 0o644),
            Err(NO_SPACE)
        );
    }
}
