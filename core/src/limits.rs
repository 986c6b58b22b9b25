//! Bounds on memory.

/// Bounds on what a machine may hold. All are finite.
///
/// The defaults suit a tool or an operator on a large cluster; lower them when many calls run at
/// once or the server is not trusted.
///
/// ```
/// let limits = kubewire::Limits { max_line: 1 << 20, ..Default::default() };
/// assert!(limits.max_body > limits.max_line);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest body of a unary answer, in bytes after decompression. Default 512 MiB. A list counts as a whole only when it
    /// is collected; streamed items are bounded by [`max_item`](Self::max_item).
    pub max_body: usize,
    /// Longest line of a watch or log, in bytes. Default 16 MiB, which is where client-go stops.
    pub max_line: usize,
    /// Longest item of a list, in bytes. Default 16 MiB.
    pub max_item: usize,
    /// How much of a failed answer's body is kept, in bytes. Default 64 KiB; the rest is dropped.
    pub max_error_body: usize,
    /// Longest WebSocket message accepted from the server, in bytes. Default 4 MiB; servers send 32 KiB.
    pub max_message: usize,
    /// How much of one channel may wait unread before the session stops reading, in bytes. Default 1 MiB.
    /// What is held may pass it by one message.
    pub receive_window: usize,
    /// How much outgoing data a session accepts before the transport takes it, in bytes. Default 256 KiB.
    pub send_window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 512 << 20,
            max_line: 16 << 20,
            max_item: 16 << 20,
            max_error_body: 64 << 10,
            max_message: 4 << 20,
            receive_window: 1 << 20,
            send_window: 256 << 10,
        }
    }
}
