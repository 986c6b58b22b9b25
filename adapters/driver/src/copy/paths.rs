//! What the names in an archive may be.

use std::path::PathBuf;

use super::unpack::UnpackError;

pub(super) fn refused(name: &[u8], reason: &'static str) -> UnpackError {
    let text = String::from_utf8_lossy(name);
    UnpackError::Path {
        path: text
            .chars()
            .take(200)
            .flat_map(char::escape_debug)
            .collect(),
        reason,
    }
}

/// The path that a name stands for, if it stays below where it is put.
pub(super) fn relative(name: &[u8], windows: bool) -> Result<PathBuf, UnpackError> {
    let refuse = |reason| Err(refused(name, reason));
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.contains(&0) {
        return refuse("it has a zero byte");
    }
    if name[0] == b'/' || name[0] == b'\\' && windows {
        return refuse("it is absolute");
    }
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return refuse("it leads out by \"..\""),
            [letter, b':'] | [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic() => {
                return refuse("it has a drive letter");
            }
            _ => {}
        }
        if windows
            && (part
                .iter()
                .any(|byte| b"\\:<>|?*\"".contains(byte) || *byte < 32)
                || reserved(part))
        {
            return refuse("it has no meaning on Windows, or a special one");
        }
        match name_of(part) {
            Some(part) => path.push(part),
            None => return refuse("it is not UTF-8"),
        }
    }
    Ok(path)
}

/// Names that Windows takes for devices, or changes.
fn reserved(part: &[u8]) -> bool {
    let stem = part.split(|byte| *byte == b'.').next().unwrap_or(part);
    let stem = stem.trim_ascii_end().to_ascii_uppercase();
    let device = match &stem[..] {
        b"CON" | b"PRN" | b"AUX" | b"NUL" | b"CONIN$" | b"CONOUT$" => true,
        [b'C', b'O', b'M', rest @ ..] | [b'L', b'P', b'T', rest @ ..] => {
            matches!(rest, [b'0'..=b'9'] | [0xC2, 0xB2 | 0xB3 | 0xB9])
        }
        _ => false,
    };
    device || part.ends_with(b".") || part.ends_with(b" ")
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems have names that are text"
)]
fn name_of(part: &[u8]) -> Option<&std::ffi::OsStr> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(part))
}

#[cfg(not(unix))]
fn name_of(part: &[u8]) -> Option<&str> {
    std::str::from_utf8(part).ok()
}
