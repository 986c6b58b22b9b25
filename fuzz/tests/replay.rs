//! Replays the corpus of every target, and some thousand inputs that are made from it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kubewire_fuzz::TARGETS;

/// How many inputs are made for each target, in the time that it may take.
const MADE: u32 = 3000;
const TIME: Duration = Duration::from_secs(4);
/// The longest file of a corpus, and all files together.
const MAX_FILE: usize = 16 << 10;
const MAX_ALL: usize = 1 << 20;

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// Another input like these.
    fn make(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 => return self.bytes(400),
                1 => input.truncate(at),
                2 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                3 => {
                    let more = self.bytes(8);
                    input.splice(at..at, more);
                }
                4 if at < input.len() => input[at] = self.byte(),
                _ if at < input.len() => {
                    input.remove(at);
                }
                _ => {}
            }
        }
        input.truncate(MAX_FILE);
        input
    }
}

/// Says which input it was if the target panics.
struct Guard<'a> {
    target: &'a str,
    what: String,
    input: &'a [u8],
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                target,
                what,
                input,
            } = self;
            let path = std::env::temp_dir().join(format!("kubewire-fuzz-{target}"));
            let saved = match fs::write(&path, input) {
                Ok(()) => format!("saved as {}", path.display()),
                Err(error) => format!("not saved: {error}"),
            };
            eprintln!("{target}: {what} is a finding, {saved}");
        }
    }
}

fn run(target: &str, function: fn(&[u8]), what: String, input: &[u8]) {
    let _guard = Guard {
        target,
        what,
        input,
    };
    function(input);
}

#[expect(clippy::unwrap_used, reason = "a test may panic")]
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let content = fs::read(&path).unwrap();
        (path, content)
    };
    files.into_iter().map(read).collect()
}

/// Replays and makes inputs.
fn test(target: &str) {
    let function = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, function) = *function.expect("a target of this name");
    let started = Instant::now();
    let files = corpus(target);
    assert!(!files.is_empty(), "{target} has no corpus");
    for (path, input) in &files {
        assert!(input.len() < MAX_FILE, "{} is too long", path.display());
        run(target, function, path.display().to_string(), input);
    }
    let size: usize = files.iter().map(|(_, input)| input.len()).sum();
    let replayed = started.elapsed();
    let inputs: Vec<_> = files.into_iter().map(|(_, input)| input).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let started = Instant::now();
    let mut made = 0;
    while made < MADE && started.elapsed() < TIME {
        let input = random.make(&inputs);
        run(target, function, format!("made input {made}"), &input);
        made += 1;
    }
    // Not `println`, which a test that passes does not show.
    let _ = writeln!(
        std::io::stderr(),
        "{target:>18}: {:>4} files, {size:>7} bytes in {replayed:>8.1?}; {made} made inputs in {:.1?}",
        inputs.len(),
        started.elapsed(),
    );
}

macro_rules! tests {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                test(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($target)),*]);
        }
    };
}

tests! {
    channel
    exchange
    gzip
    kubeconfig
    lines
    list_items
    names_and_queries
    portforward
    reflector_model
    session_ops
    spdy
    watch
}

#[test]
fn the_corpora_are_small() {
    let files = TARGETS.iter().flat_map(|(target, _)| corpus(target));
    let all: usize = files.map(|(_, input)| input.len()).sum();
    assert!(all < MAX_ALL, "the corpora have {all} bytes");
}

#[test]
fn every_target_is_complete() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let count = |folder: &str| fs::read_dir(package.join(folder)).unwrap().count();
    for (target, function) in TARGETS {
        let binary = package.join("fuzz_targets").join(format!("{target}.rs"));
        let text = fs::read_to_string(binary).unwrap();
        assert!(text.contains(&format!("kubewire_fuzz::{target}::run")));
        function(b"");
    }
    assert_eq!(count("fuzz_targets"), TARGETS.len());
    assert_eq!(count("corpus"), TARGETS.len());
}
