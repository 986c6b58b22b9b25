//! Port-forward sessions under any order of operations, with virtual time.
//!
//! Input: ports, options, limits, then operations until the end.

/// As [`session_ops`](crate::session_ops::run) for each port on its own; a port that fails leaves
/// the others as they are.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    crate::sessions::ports(data);
}
