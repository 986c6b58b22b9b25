//! Headers of answers.

use std::time::Duration;

use http::{HeaderMap, header};

/// A `Warning` header of the API server: a deprecation, an unknown field, a policy's advice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// 299 from a Kubernetes server.
    pub code: u16,
    /// Who warns; `-` from a Kubernetes server.
    pub agent: String,
    /// For people.
    pub text: String,
}

/// Whole seconds only: API servers send nothing else.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// Parses the value of one `Warning` header line: `299 - "text"`, several of them separated by
/// commas (RFC 7234 section 5.5). What does not parse is left out.
pub(super) fn warnings(value: &[u8]) -> Vec<Warning> {
    fn one(input: &str) -> Option<(Warning, &str)> {
        let (code, rest) = input.split_once(' ')?;
        let code = code.parse().ok().filter(|_| code.len() == 3)?;
        let (agent, rest) = rest.split_once(' ')?;
        let mut chars = rest.strip_prefix('"')?.char_indices();
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    let rest = &rest[at + 2..];
                    return Some((
                        Warning {
                            code,
                            agent: agent.to_owned(),
                            text,
                        },
                        rest,
                    ));
                }
                '\\' => text.push(chars.next()?.1),
                _ => text.push(char),
            }
        }
        None
    }
    let value = String::from_utf8_lossy(value);
    let mut rest = value.trim();
    let mut found = Vec::new();
    while let Some((warning, after)) = one(rest) {
        found.push(warning);
        // An optional date in quotes, which holds a comma, may follow the text.
        let after = after.trim_start();
        let after = after
            .strip_prefix('"')
            .and_then(|date| Some(date.split_once('"')?.1))
            .unwrap_or(after);
        rest = after.split_once(',').map_or("", |(_, next)| next.trim());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted_and_split() {
        let found = warnings(
            br#"299 - "unknown field \"a, b\"", 299 agent "two" "Mon, 23 Nov 2026 06:19:17 GMT", 199 - """#,
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((found[2].code, found[2].text.as_str()), (199, ""));
        assert_eq!(found[0].text, "unknown field \"a, b\"");
        assert_eq!(
            (found[1].agent.as_str(), found[1].text.as_str()),
            ("agent", "two")
        );
        for garbage in [
            &b""[..],
            b"299",
            b"299 -",
            b"299 - \"open",
            b"299 - \"a\\",
            b"abc - \"x\"",
            b"\xff\xff",
        ] {
            assert_eq!(warnings(garbage), [], "{garbage:?}");
        }
    }
}
