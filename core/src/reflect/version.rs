//! Comparing resource versions, where that is allowed.

use std::cmp::Ordering;

/// Versions of one resource can be compared if they are decimal numbers without leading zeros (KEP-5504).
/// Anything else is opaque.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    fn is_number(text: &str) -> bool {
        !text.is_empty()
            && text.len() <= 39
            && !text.starts_with('0')
            && text.bytes().all(|byte| byte.is_ascii_digit())
    }
    if !is_number(a) || !is_number(b) {
        return None;
    }
    Some(a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

/// Whether `a` is certainly older than `b`.
pub(crate) fn is_older(a: &str, b: &str) -> bool {
    compare(a, b) == Some(Ordering::Less)
}

/// A version from which a watch can go on: `0` and nothing stand for "any" and "now".
pub(crate) fn usable(version: Option<&str>) -> Option<&str> {
    version.filter(|version| !matches!(*version, "" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_compare() {
        assert!(is_older("9", "10") && is_older("10", "11") && !is_older("11", "11"));
        for odd in ["", "0", "01", "a", "1a", "-1", "1 "] {
            assert_eq!(compare(odd, "5"), None, "{odd}");
            assert_eq!(compare("5", odd), None, "{odd}");
        }
    }
}
