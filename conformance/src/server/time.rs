//! Timestamps as Kubernetes writes them, without a calendar library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in seconds and nanoseconds of the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Timestamp {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        }
    }

    pub(crate) fn plus_seconds(self, seconds: i64) -> Self {
        Self {
            seconds: self.seconds.saturating_add(seconds),
            nanos: self.nanos,
        }
    }

    /// `metav1.Time`: whole seconds.
    pub(crate) fn rfc3339(self) -> String {
        let (year, month, day, hour, minute, second) = civil(self.seconds);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// As HTTP writes dates.
    pub(crate) fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (year, month, day, hour, minute, second) = civil(self.seconds);
        // The epoch began on a Thursday.
        let weekday = self.seconds.div_euclid(86400).rem_euclid(7);
        let weekday = usize::try_from(weekday).map_or("", |day| DAYS[day]);
        let month = usize::try_from(month - 1).map_or("", |month| MONTHS[month]);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// The prefix of a log line: always nine digits.
    pub(crate) fn rfc3339_nanos(self) -> String {
        let whole = self.rfc3339();
        format!("{}.{:09}Z", whole.trim_end_matches('Z'), self.nanos)
    }

    pub(crate) fn parse_rfc3339(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = text.get(range)?;
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if bytes.len() < 20 || separators.iter().any(|&(at, b)| bytes[at] != b) {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            for i in 0..9 {
                let digit = fraction
                    .as_bytes()
                    .get(i)
                    .filter(|_| i < digits)
                    .map_or(0, |b| b - b'0');
                nanos = nanos * 10 + u32::from(digit);
            }
            rest = fraction.get(digits..)?;
        }
        let offset = match rest.as_bytes() {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let two = |a: &u8, b: &u8| -> Option<i64> {
                    (a.is_ascii_digit() && b.is_ascii_digit())
                        .then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
                };
                let magnitude = two(h1, h2)? * 3600 + two(m1, m2)? * 60;
                if *sign == b'-' { -magnitude } else { magnitude }
            }
            _ => return None,
        };
        let seconds =
            days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
        Some(Self {
            seconds: seconds - offset,
            nanos,
        })
    }

    /// How long ago this was; zero if it lies ahead.
    pub(crate) fn elapsed(self) -> Duration {
        let now = Self::now();
        Duration::from_secs(u64::try_from(now.seconds - self.seconds).unwrap_or(0))
    }
}

fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = seconds.div_euclid(86400);
    let rest = seconds.rem_euclid(86400);
    // Howard Hinnant's days-to-civil, on eras of 400 years.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// A Go duration (`30s`, `1m30s`, `1ns`, `1.5h`); `None` if it is none.
pub(crate) fn parse_go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        let value: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let units = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ];
        let (unit, scale) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += value * scale;
        rest = rest.get(unit.len()..)?;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// An age as `kubectl get` shows it.
pub(crate) fn human_duration(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |big: u64, unit: char, small: u64, small_unit: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        with(minutes, 'm', seconds % 60, 's')
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        with(hours, 'h', minutes % 60, 'm')
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        with(days, 'd', hours % 24, 'h')
    } else {
        format!("{days}d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59Z",
            "2026-11-23T06:19:18Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().rfc3339(), text);
        }
        let moment = Timestamp::parse_rfc3339("2026-11-23T07:19:18.25+01:00").unwrap();
        assert_eq!(moment.rfc3339_nanos(), "2026-11-23T06:19:18.250000000Z");
        for bad in [
            "yesterday",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "2026-11-23T06:19:18.Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("3s", Some(3_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("1ns", Some(1)),
            ("0", Some(0)),
            ("soon", None),
            ("5", None),
            ("", None),
            ("+", None),
            ("-1s", None),
        ] {
            let duration = nanos.map(Duration::from_nanos);
            assert_eq!(parse_go_duration(text), duration, "{text}");
        }
    }
}
