//! Dates in the output of programs and in tokens.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

const DAY: i64 = 24 * 60 * 60;

/// `2026-01-31T23:59:59.5+01:00`, as RFC 3339 has it.
pub(super) fn rfc3339(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then(|| {
            digits
                .iter()
                .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 || day < 1 || day > days_in(year, month)? {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".") {
        let digits = bytes
            .get(20..)?
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let len = digits.clone().count();
        let nine = digits.chain(std::iter::repeat(&b'0')).take(9);
        nanos = nine.fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
        at += 1 + len;
        if len == 0 {
            return None;
        }
    }
    let offset = if is(at, b"Zz") {
        (bytes.len() == at + 1).then_some(0)?
    } else {
        let sign = if is(at, b"+") { 1 } else { -1 };
        if !is(at, b"+-") || !is(at + 3, b":") || bytes.len() != at + 6 {
            return None;
        }
        let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        sign * (hours * 60 + minutes) * 60
    };
    let seconds =
        days_since_1970(year, month, day) * DAY + (hour * 60 + minute) * 60 + second - offset;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)?
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)?
    };
    base.checked_add(Duration::from_nanos(nanos))
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days of the proleptic Gregorian calendar, counted with years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The claim `exp` of a JSON Web Token. Who signed it does not matter here: a wrong date costs one
/// refresh too many or too few.
pub(super) fn jwt_expiry(token: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let exp = Duration::try_from_secs_f64(claims.exp.floor()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        let time = rfc3339(text)?;
        Some(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }

    #[test]
    fn dates() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("1970-01-01T00:00:00.25Z", 0.25),
            ("1970-01-01T01:00:00+01:00", 0.0),
            ("1969-12-31T23:59:59Z", -1.0),
            ("1969-12-31T23:59:59.5Z", -0.5),
            ("2000-02-29T12:00:00-00:30", 951_827_400.0),
            ("2026-07-31T10:20:30Z", 1_785_493_230.0),
            ("2026-12-31T23:59:60Z", 1_798_761_600.0),
            ("2026-07-31t10:20:30.123456789123z", 1_785_493_230.123_456_8),
            ("0001-01-01T00:00:00Z", -62_135_596_800.0),
            ("9999-12-31T23:59:59Z", 253_402_300_799.0),
        ] {
            assert_eq!(seconds(text), Some(want), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-07-31",
            "2026-07-31T10:20:30",
            "2026-07-31 10:20:30Z",
            "2026-07-31T10:20Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T00:00:00+01:00Z",
            "-026-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
            "2026-01-01T00:00:0éZ",
            "+2026-1-1T00:00:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = days_since_1970(1599, 12, 31);
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month).unwrap() {
                    let days = days_since_1970(year, month, day);
                    assert_eq!(days, last + 1, "{year}-{month}-{day}");
                    last = days;
                }
            }
        }
    }

    #[test]
    fn tokens() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(
            jwt_expiry(&token(r#"{"exp":1800000000,"sub":"x"}"#)),
            at(1_800_000_000)
        );
        assert_eq!(jwt_expiry(&token(r#"{"exp":1.8e9}"#)), at(1_800_000_000));
        assert_eq!(jwt_expiry(&token(r#"{"exp":5.9}"#)), at(5));
        for bad in [
            String::new(),
            "a.b".to_owned(),
            "a.b.c.d".to_owned(),
            "a.!.c".to_owned(),
            token("{}"),
            token("[]"),
            token(r#"{"exp":"5"}"#),
            token(r#"{"exp":-5}"#),
            token(r#"{"exp":1e300}"#),
            token(r#"{"exp":null}"#),
        ] {
            assert_eq!(jwt_expiry(&bad), None, "{bad}");
        }
    }
}
