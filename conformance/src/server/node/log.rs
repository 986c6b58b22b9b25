//! What containers wrote, as a runtime keeps it: records of a line each, or of 16 KiB of a longer one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::super::time::Timestamp;

const RECORD: usize = 16 << 10;
/// A kubelet rotates at 10 MiB; here what is older is forgotten.
const KEPT: usize = 10 << 20;

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: Timestamp,
    /// With its newline, unless the line goes on in the next record of its stream.
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) starts_line: bool,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Record>,
    /// The index of the first record that is kept.
    first: u64,
    bytes: usize,
    /// What standard output and error have written of their current lines.
    partial: [Vec<u8>; 2],
    /// Whether the current lines have records already.
    continued: [bool; 2],
    finished: bool,
}

/// The log of one run of a container.
#[derive(Debug)]
pub(crate) struct Log {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Adds what stream 0 (output) or 1 (error) wrote.
    pub(crate) fn append(&self, stream: usize, bytes: &[u8]) {
        let mut state = self.lock();
        for byte in bytes {
            state.partial[stream].push(*byte);
            if *byte == b'\n' || state.partial[stream].len() >= RECORD {
                state.flush(stream);
            }
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// The container has ended: lines without a newline are records as well.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        for stream in 0..2 {
            if !state.partial[stream].is_empty() {
                state.flush(stream);
            }
        }
        state.finished = true;
        drop(state);
        self.changes.send_replace(());
    }

    /// Up to `limit` records from `index` on, the index after them, and whether there will be more.
    pub(crate) fn read(&self, index: u64, limit: usize) -> (Vec<Record>, u64, bool) {
        let state = self.lock();
        let skip = usize::try_from(index.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let records: Vec<Record> = state
            .records
            .iter()
            .skip(skip)
            .take(limit)
            .cloned()
            .collect();
        let next = index.max(state.first) + records.len() as u64;
        let end = state.first + state.records.len() as u64;
        (records, next, !(state.finished && next >= end))
    }

    /// The indexes of the first record and after the last.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let state = self.lock();
        (state.first, state.first + state.records.len() as u64)
    }
}

impl State {
    fn flush(&mut self, stream: usize) {
        let mut line = std::mem::take(&mut self.partial[stream]);
        let complete = line.ends_with(b"\n");
        // As containerd does.
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            line.push(b'\n');
        }
        let starts_line = !std::mem::replace(&mut self.continued[stream], !complete);
        self.bytes += line.len();
        self.records.push_back(Record {
            time: Timestamp::now(),
            bytes: line.into(),
            starts_line,
        });
        while self.bytes > KEPT {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let log = Log::new();
        log.append(0, b"a\nb");
        log.append(1, b"err\r\n");
        log.append(0, b"c\n");
        log.append(0, &vec![b'x'; RECORD + 5]);
        let (records, next, more) = log.read(0, 100);
        let text: Vec<&[u8]> = records.iter().map(|r| &*r.bytes).collect();
        assert_eq!(text[..3], [b"a\n".as_slice(), b"err\n", b"bc\n"]);
        assert_eq!((text[3].len(), next, more), (RECORD, 4, true));
        log.finish();
        let (rest, _, more) = log.read(next, 100);
        assert_eq!(
            (rest[0].bytes.len(), rest[0].starts_line, more),
            (5, false, false)
        );
        for _ in 0..800 {
            log.append(0, &vec![b'y'; RECORD]);
        }
        assert!(log.bounds().0 > 0);
    }
}
