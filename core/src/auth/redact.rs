//! What a program said, fit for an error.

use crate::config::Secret;

/// How much is shown.
const SHOWN: usize = 1000;
const HIDDEN: &str = "[hidden]";
/// Shorter values are no secrets, and hiding them would make holes in words.
const MIN_SECRET: usize = 4;

/// The end of a text on one line, without control characters, known secrets, keys, and words that look
/// like a token. What is longer than the buffer it came in may begin in the middle of a secret, so give
/// more than is [shown](SHOWN).
pub(super) fn tail<'a>(text: &[u8], secrets: impl Iterator<Item = &'a Secret>) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    let mut secrets: Vec<_> = secrets
        .map(Secret::expose)
        .filter(|secret| secret.len() >= MIN_SECRET)
        .collect();
    // One may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(secret, HIDDEN);
    }
    let mut lines = Vec::new();
    let mut in_key = false;
    for line in text.lines() {
        in_key |= line.contains("-----BEGIN");
        let ends = line.contains("-----END");
        if !in_key {
            let line = words(line);
            if !line.is_empty() {
                lines.push(line);
            }
        } else if ends {
            lines.push(HIDDEN.to_owned());
        }
        in_key &= !ends;
    }
    if in_key {
        lines.push(HIDDEN.to_owned());
    }
    let line = lines.join("; ");
    let skip = line.chars().count().saturating_sub(SHOWN);
    if skip == 0 {
        return line;
    }
    let rest: String = line.chars().skip(skip).collect();
    // Not a half word.
    let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    format!("… {rest}")
}

fn words(line: &str) -> String {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut after_bearer = false;
    let words = line.split_whitespace().map(|word| {
        let hide = after_bearer || looks_like_a_token(word);
        after_bearer = word
            .trim_start_matches(|c: char| !c.is_alphabetic())
            .eq_ignore_ascii_case("bearer");
        if hide { HIDDEN } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A long run of letters in both cases with digits: base64, a JWT, a signature. Host names, paths,
/// hexadecimal hashes and UUIDs are not like that.
fn looks_like_a_token(word: &str) -> bool {
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || "_-+".contains(c));
    word.contains("eyJ") && word.len() >= 16
        || word.split(is_separator).any(|run| {
            run.len() >= 24
                && run.contains(|c: char| c.is_ascii_uppercase())
                && run.contains(|c: char| c.is_ascii_lowercase())
                && run.contains(|c: char| c.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
        tail(text.as_bytes(), secrets.iter())
    }

    #[test]
    fn messages_stay_readable() {
        for text in [
            "error: you must be logged in to the server",
            "dial tcp: lookup ABCDEF0123456789ABCDEF0123456789.gr7.us-east-1.eks.amazonaws.com: no such host",
            "open /Users/bob/Library/Caches/kubelogin/3fa85f64-5717-4562-b3fc-2c963f66afa6: permission denied",
            "arn:aws:iam::123456789012:role/AWSReservedSSO_Administrator is not authorized",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(shown(text, &["xyz", "0", ""]), text);
        }
        assert_eq!(shown("\n  a\tb \r\n\n\x1b[31mred\n", &[]), "a b; [31mred");
    }

    #[test]
    fn secrets_are_hidden() {
        for (text, want) in [
            ("token=hunter2 x", "token=[hidden] x"),
            ("hunter22", "[hidden]"),
            ("got eyJhbGciOiJSUzI1NiJ9.e30.c2ln!", "got [hidden]"),
            (
                "authorization: Bearer abc def",
                "authorization: Bearer [hidden] def",
            ),
            ("\"bearer\" x", "\"bearer\" x"),
            (
                "k8s-aws-v1.aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8_QWN0aW9u",
                "[hidden]",
            ),
            (
                "key:\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nbye",
                "key:; [hidden]; bye",
            ),
            ("-----BEGIN PRIVATE KEY-----\nabc", "[hidden]"),
        ] {
            assert_eq!(shown(text, &["hunter2", "hunter22"]), want);
        }
    }

    #[test]
    fn only_the_end_is_shown() {
        let long = format!("{} the cause", "word ".repeat(1000));
        let text = shown(&long, &[]);
        assert!(
            text.len() <= SHOWN + 10 && text.starts_with("… word") && text.ends_with("the cause")
        );
        assert_eq!(shown(&"x".repeat(5000), &[]), "… ");
        tail(&[0xFF; 3000], std::iter::empty());
    }
}
