//! The times before log lines.

/// A moment: seconds since 1970 (by the proleptic calendar, without leap seconds) and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    seconds: i64,
    nanos: u32,
}

impl Stamp {
    /// Reads RFC 3339 as kubelets write it: `2006-01-02T15:04:05.000000000Z` or with an offset.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = text.get(from..to)?;
            part.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| part.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction
                .find(|char: char| !char.is_ascii_digit())
                .unwrap_or(fraction.len());
            for at in 0..9 {
                let digit = fraction.as_bytes().get(at).filter(|_| at < digits);
                nanos = nanos * 10 + u32::from(digit.map_or(0, |digit| digit - b'0'));
            }
            rest = &fraction[digits..];
        }
        let offset = match rest.as_bytes() {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let (hours, minutes): (i64, i64) =
                    (rest.get(1..3)?.parse().ok()?, rest.get(4..6)?.parse().ok()?);
                let offset = hours * 3600 + minutes * 60;
                if *sign == b'+' { offset } else { -offset }
            }
            _ => return None,
        };
        // Days from the civil date, by counting years from March.
        let (y, m) = if month <= 2 {
            (year - 1, month + 9)
        } else {
            (year, month - 3)
        };
        let days = y * 365 + y.div_euclid(4) - y.div_euclid(100)
            + y.div_euclid(400)
            + (m * 153 + 2) / 5
            + day
            - 719_469;
        Some(Self {
            seconds: days * 86_400 + hour * 3600 + minute * 60 + second - offset,
            nanos,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_compare_across_offsets() {
        let at = |text| Stamp::parse(text).unwrap();
        assert_eq!(
            at("1970-01-01T00:00:00Z"),
            Stamp {
                seconds: 0,
                nanos: 0
            }
        );
        assert_eq!(at("2026-11-23T06:22:42.5Z").seconds, 1_795_414_962);
        assert_eq!(
            at("2000-02-29T23:59:59Z").seconds + 1,
            at("2000-03-01T00:00:00Z").seconds
        );
        assert_eq!(
            at("2026-11-23T08:22:42.354797666+02:00"),
            at("2026-11-23T06:22:42.354797666Z")
        );
        assert!(at("2026-11-23T06:22:42.35Z") < at("2026-11-23T06:22:42.354797666Z"));
        for text in [
            "",
            "yesterday",
            "2026-11-23T06:22:42",
            "2026-11-23T06:22:42.x",
            "2026-11-23T06:22:42+0200",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
