//! How a session ended.

use crate::meta::Status;
use crate::{Error, ErrorKind};

/// How a session ended. It is set exactly once, and always.
///
/// A session that ended without word from the server is neither a success nor a failure of the
/// process: that is [`Aborted`](Self::Aborted).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "there is one for each session")]
pub enum Outcome {
    /// The process ended with this code, 0 being success. A process that a signal killed has 128
    /// and the signal's number: 137 for a kill, which is also what the deletion of its pod gives.
    Exited(i32),
    /// Attach: the server detached. It never tells the exit code, see the pod's status.
    Detached,
    /// Port-forward: the server closed the session in the normal way, as all connections had
    /// ended. [`Session::port_error`](super::Session::port_error) or
    /// [`Tunnel::fault`](super::Tunnel::fault) tells which of them failed.
    Ended,
    /// The server reports a failure that is no exit code: a command that does not exist, a
    /// container that is not there or stopped, or trouble in the node.
    Failure(Status),
    /// Nobody knows how the process ended, or whether it did.
    Aborted(Abort),
}

impl Outcome {
    /// The exit code, if one is known.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(*code),
            Self::Detached | Self::Ended | Self::Failure(_) | Self::Aborted(_) => None,
        }
    }

    /// The error that a program may report: none for `Exited` (whatever the code), `Detached` and
    /// `Ended`.
    #[must_use]
    pub fn to_error(&self) -> Option<Error> {
        match self {
            Self::Exited(_) | Self::Detached | Self::Ended => None,
            Self::Failure(status) => Some(Error::from_status(status.clone())),
            Self::Aborted(abort) => Some(abort.to_error()),
        }
    }

    /// What a `Status` on the status channel says.
    pub(super) fn from_status(status: Status, attach: bool) -> Self {
        if status.is_success() {
            return if attach {
                Self::Detached
            } else {
                Self::Exited(0)
            };
        }
        let code = status
            .causes()
            .iter()
            .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
            .find_map(|cause| cause.message.as_deref()?.trim().parse().ok());
        match code {
            Some(code) => Self::Exited(code),
            None => Self::Failure(status),
        }
    }
}

/// Why nothing is known about the end of a process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Abort {
    /// The transport ended without a WebSocket close.
    ConnectionLost,
    /// The transport failed.
    Transport(Error),
    /// The server closed the WebSocket without a status; for port-forward, with a code other than
    /// 1000.
    ClosedWithoutStatus {
        /// The close code (RFC 6455 7.4), if there was one.
        code: Option<u16>,
    },
    /// This side closed first. The process is not killed by that: its input ends, and it goes on.
    Closed,
    /// A deadline of [`SessionOptions`](super::SessionOptions) passed.
    Timeout(Timeout),
    /// The server broke the rules of WebSocket or channels.
    Peer(Error),
    /// A bound of [`Limits`](crate::Limits) was passed.
    Limit(Error),
}

impl Abort {
    /// As an error.
    #[must_use]
    pub fn to_error(&self) -> Error {
        match self {
            Self::ConnectionLost => Error::new(
                ErrorKind::Truncated,
                "the connection was lost before the session ended",
            ),
            Self::ClosedWithoutStatus { code } => Error::new(
                ErrorKind::Truncated,
                match code {
                    Some(code) => format!("the server closed the session without a status: {code}"),
                    None => "the server closed the session without a status".to_owned(),
                },
            ),
            Self::Closed => Error::new(ErrorKind::Closed, "the session was closed by this side"),
            Self::Timeout(which) => Error::new(
                ErrorKind::Timeout,
                match which {
                    Timeout::Pong => "the server does not answer any more",
                    Timeout::Idle => "the session was idle for too long",
                    Timeout::Total => "the session took too long",
                },
            ),
            Self::Transport(error) | Self::Peer(error) | Self::Limit(error) => error.clone(),
        }
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// [`pong_timeout`](super::SessionOptions::pong_timeout): not one byte came.
    Pong,
    /// [`idle_timeout`](super::SessionOptions::idle_timeout): no data moved.
    Idle,
    /// [`total_timeout`](super::SessionOptions::total_timeout).
    Total,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str, attach: bool) -> String {
        let status = Status::from_slice(json.as_bytes()).unwrap();
        match Outcome::from_status(status, attach) {
            Outcome::Failure(status) => format!("failure {}", status.message.unwrap_or_default()),
            other @ (Outcome::Exited(_)
            | Outcome::Detached
            | Outcome::Ended
            | Outcome::Aborted(_)) => format!("{other:?}"),
        }
    }

    #[test]
    fn the_exit_code_is_read_from_the_cause() {
        for (json, exec, attach) in [
            (
                r#"{"metadata":{},"status":"Success"}"#,
                "Exited(0)",
                "Detached",
            ),
            (r#"{"status":"Success"}"#, "Exited(0)", "Detached"),
            (
                r#"{"status":"Failure","reason":"NonZeroExitCode","message":"exit status 9",
                    "details":{"causes":[{"reason":"Other","message":"1"},
                                         {"reason":"ExitCode","message":"137"}]}}"#,
                "Exited(137)",
                "Exited(137)",
            ),
            (
                r#"{"status":"Failure","message":"m","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}"#,
                "failure m",
                "failure m",
            ),
            (
                r#"{"status":"Failure","message":"no runc","reason":"InternalError","code":500}"#,
                "failure no runc",
                "failure no runc",
            ),
        ] {
            assert_eq!(outcome(json, false), exec, "{json}");
            assert_eq!(outcome(json, true), attach, "{json}");
        }
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        assert!(Outcome::Exited(3).to_error().is_none());
        assert!(Outcome::Detached.to_error().is_none());
        let lost = Outcome::Aborted(Abort::ConnectionLost);
        assert_eq!(lost.to_error().unwrap().kind(), ErrorKind::Truncated);
        let late = Outcome::Aborted(Abort::Timeout(Timeout::Idle));
        assert!(late.to_error().unwrap().is_timeout());
        assert_eq!(late.code(), None);
    }
}
