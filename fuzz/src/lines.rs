//! `Lines` and `LogLines` against a naive split.
//!
//! Input: `[n, flags, limit, chunk lengths …, body]`.

use bytes::Bytes;
use kubewire::stream::{Lines, LogLine, LogLines};
use kubewire::{Call, End, ErrorKind, Limits, Verb};

use crate::drive::drive;
use crate::input::Input;

/// What a splitter without state would give.
struct Naive<'a> {
    lines: Vec<&'a [u8]>,
    /// What follows the last newline.
    last: &'a [u8],
    too_long: bool,
}

impl<'a> Naive<'a> {
    fn new(body: &'a [u8], max: usize) -> Self {
        let mut lines: Vec<_> = body.split(|&byte| byte == b'\n').collect();
        let mut last = lines.pop().unwrap_or_default();
        let bad = lines.iter().position(|line| line.len() > max);
        if let Some(bad) = bad {
            lines.truncate(bad);
        }
        let too_long = bad.is_some() || last.len() > max;
        if too_long {
            last = b"";
        }
        Self {
            lines,
            last,
            too_long,
        }
    }
}

/// The same lines as a naive split, however the body is cut and however seldom lines are taken;
/// what is held is at most one line, one byte and what was pushed since.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, body) = Input::with_body(data);
    let flags = choices.byte();
    let max = choices.pick(&[64, 0, 1, 7, 300, 5000, 1 << 20]);
    let lazy = flags & 1 == 1;
    let chunks = choices.cut(body);
    let naive = Naive::new(body, max);

    let mut lines = Lines::new(max);
    let mut got: Vec<Bytes> = Vec::new();
    let mut failed = false;
    let mut waiting = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        let pushed = lines.push(Bytes::copy_from_slice(chunk));
        waiting += chunk.len();
        if let Err(error) = pushed {
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(naive.too_long);
            failed = true;
        } else {
            assert!(!failed, "errors are terminal and repeat");
        }
        assert!(lines.buffered() <= max + 1 + waiting);
        if lazy && index % 3 != 2 {
            continue;
        }
        failed |= take(&mut lines, &mut got);
        waiting = if failed { waiting } else { 0 };
        assert!(failed || lines.buffered() <= max + 1);
        assert!(failed || !lines.has_input());
    }
    failed |= take(&mut lines, &mut got);
    assert_eq!(failed, naive.too_long);
    assert_eq!(got, naive.lines);
    if failed {
        assert!(lines.next_line().is_err() && lines.push(Bytes::new()).is_err());
        let held = lines.buffered();
        let _ = lines.push(Bytes::from_static(b"more\n"));
        assert_eq!(lines.buffered(), held, "nothing is held after a fault");
    } else {
        let last = lines.finish();
        assert_eq!(last.as_deref().unwrap_or_default(), naive.last);
        assert_eq!(lines.buffered(), 0);
    }

    // The same as a log.
    let limits = Limits {
        max_line: max,
        ..Limits::default()
    };
    let end = if flags & 2 == 2 {
        End::Truncated
    } else {
        End::Clean
    };
    let (_, mut exchange) =
        Call::new(Verb::Get, http::Request::default(), LogLines::new()).begin(&limits);
    let record = drive(&mut exchange, &chunks, end, max + 1, |line| check(&line));
    let mut expected: Vec<_> = naive.lines.iter().map(|line| format!("{line:?}")).collect();
    if !naive.last.is_empty() {
        expected.push(format!("{:?}", naive.last));
    }
    let got: Vec<_> = record
        .items
        .into_iter()
        .map(Result::unwrap_or_default)
        .collect();
    assert_eq!(got, expected);
    assert_eq!(
        record.fault.is_some(),
        naive.too_long || end == End::Truncated
    );
}

fn take(lines: &mut Lines, got: &mut Vec<Bytes>) -> bool {
    loop {
        match lines.next_line() {
            Ok(Some(line)) => got.push(line),
            Ok(None) => return false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Limit);
                assert!(lines.next_line().is_err(), "errors repeat");
                return true;
            }
        }
    }
}

fn check(line: &LogLine) -> String {
    let bytes = line.bytes();
    assert!(!bytes.contains(&b'\n'));
    if let Some((stamp, rest)) = line.split_timestamp() {
        assert_eq!([stamp.as_bytes(), b" ", &rest].concat(), bytes[..]);
        assert!(stamp.len() >= 20 && !stamp.contains(' '));
    }
    assert!(format!("{line:?}").len() < 40, "content in Debug");
    format!("{:?}", &bytes[..])
}
