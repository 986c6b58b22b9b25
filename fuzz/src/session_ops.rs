//! Exec and attach sessions under any order of operations, with virtual time.
//!
//! Input: protocol, streams, options, limits, then operations until the end.

/// In any order of operations and bytes of the server: data comes out unchanged, in order and
/// whole; what [`send`](kubewire::session::Session::send) accepted is what an independent decoder
/// finds in the bytes that were transmitted, in any pieces; there is one outcome that never
/// changes, and every session ends; nobody who waits is forgotten; no deadline makes a busy loop;
/// and what is held is bounded.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    crate::sessions::streams(data);
}
