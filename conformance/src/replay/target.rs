//! An own parser of request targets and media types, by the rules of the API server (Go), so that
//! what the client builds is not judged by the client's own code.

use std::collections::BTreeMap;

/// A request target, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path's segments, percent-decoded one by one.
    pub segments: Vec<String>,
    /// The query's pairs, form-decoded, in order.
    pub query: Vec<(String, String)>,
    /// Query pairs that a Go server drops: a raw semicolon, or a broken escape.
    pub dropped: Vec<String>,
}

/// Decodes percent escapes; with `form`, `+` is a blank. `None` for a broken escape or what is no UTF-8.
fn decode(text: &str, form: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

impl Target {
    /// Takes a target apart. A segment with a broken escape stays as it is.
    #[must_use]
    pub fn parse(target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut parsed = Self {
            segments: path
                .strip_prefix('/')
                .unwrap_or(path)
                .split('/')
                .map(|segment| decode(segment, false).unwrap_or_else(|| segment.to_owned()))
                .collect(),
            ..Self::default()
        };
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            if pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(key, true), decode(value, true)) {
                (Some(key), Some(value)) if !pair.contains(';') => parsed.query.push((key, value)),
                _ => parsed.dropped.push(pair.to_owned()),
            }
        }
        parsed
    }

    /// The first value of a parameter: servers take no other.
    #[must_use]
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn parameters(&self, key: &str) -> impl Iterator<Item = &str> {
        self.query
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// How a Go server reads a boolean parameter: `0` and `false` are false, anything else that is
/// there is true, nothing as well.
#[must_use]
pub fn go_bool(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// A media type and its parameters, which have no order.
#[must_use]
pub fn media_type(text: &str) -> (String, BTreeMap<String, String>) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameters = parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (
                key.trim().to_ascii_lowercase(),
                value.trim().trim_matches('"').to_owned(),
            )
        })
        .collect();
    (media, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart_as_go_does() {
        let target = Target::parse("/api/v1/namespaces//a%2Fb/x%zz?a=1+2%2B&b&a=%e2%9c%93&c;d&e=%");
        assert_eq!(
            target.segments,
            ["api", "v1", "namespaces", "", "a/b", "x%zz"]
        );
        let pairs: Vec<_> = target
            .query
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "1 2+"), ("b", ""), ("a", "✓")]);
        assert_eq!(target.dropped, ["c;d", "e=%"]);
    }

    #[test]
    fn media_types_have_unordered_parameters() {
        assert_eq!(
            media_type("application/json;as=Table;v=v1;g=meta.k8s.io"),
            media_type("Application/JSON; g=meta.k8s.io; v=v1; as=Table")
        );
    }
}
