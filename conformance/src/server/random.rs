//! Identifiers that must not repeat.

/// Fills `buffer` from the operating system.
pub(crate) fn fill(buffer: &mut [u8]) {
    if getrandom::fill(buffer).is_err() {
        // Never seen on a system with getrandom(2); uniqueness within the process is what matters here.
        static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let count = COUNTER
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .to_le_bytes();
        for (byte, value) in buffer.iter_mut().zip(count.iter().cycle()) {
            *byte = *value;
        }
    }
}

pub(crate) fn number(below: u64) -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes) % below.max(1)
}

pub(crate) fn hex(bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut buffer = vec![0; bytes];
    fill(&mut buffer);
    buffer.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A version 4 UUID.
pub(crate) fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let n = u128::from_be_bytes(bytes);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        n >> 80 & 0xffff,
        n >> 64 & 0xffff,
        n >> 48 & 0xffff,
        n & 0xffff_ffff_ffff
    )
}

/// The suffix that `generateName` gets.
pub(crate) fn name_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| char::from(ALPHABET[usize::try_from(number(27)).unwrap_or(0)]))
        .collect()
}
