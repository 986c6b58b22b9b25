//! What a reflector tells.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// What a [`Reflector`](super::Reflector) tells about a collection.
///
/// A consumer with or without a [`Store`](super::Store) is right if it follows these rules:
///
/// - [`Init`](Self::Init) begins to give the whole collection. Whatever an earlier `Init` without
///   [`InitDone`](Self::InitDone) gave is void; what the last `InitDone` completed stays in force.
/// - Until `InitDone`, [`InitApply`](Self::InitApply) adds to or replaces in the new set, and [`Delete`](Self::Delete)
///   takes out of it. An object may come more than once.
/// - At `InitDone` the new set replaces the old one. What was in the old one and is not in the
///   new one is gone; no `Delete` tells so, for a reflector remembers no objects. [`Store::apply`](super::Store::apply) does.
/// - After `InitDone`, [`Apply`](Self::Apply) and `Delete` change the set.
/// - [`Bad`](Self::Bad) names an object that exists, or changed, but could not be decoded as `K`.
/// - [`Stale`](Self::Stale) and [`Fresh`](Self::Fresh) tell whether the set is being kept up to date, and change nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReflectEvent<K> {
    /// The whole collection is being read.
    Init,
    /// An object of the collection that is being read.
    InitApply(K),
    /// The collection is complete.
    InitDone {
        /// The version of the collection; empty if the server gives none.
        resource_version: String,
    },
    /// An object was created or changed.
    Apply(K),
    /// An object was deleted, or left the selector; its last state.
    Delete(K),
    /// An object could not be decoded; [`Error::bad_object`] names it.
    ///
    /// If it [is deleted](crate::BadObject::is_deleted), take it as gone. Otherwise it exists in a state that this program
    /// cannot read: keep the last one that it could, if there is one, and do not take its absence from the new
    /// set for a deletion. An item of a list may be too broken to have a name; where that happens to a change, the
    /// reflector lists again on its own.
    Bad(Error),
    /// From now on changes may be missed: why. Once for each failed attempt; [`Fresh`](Self::Fresh) ends it. Nothing has
    /// to be done, for the reflector goes on by itself, for ever; but a program may decide that, for instance, a 403 ends it.
    Stale(StaleReason),
    /// The set is being kept up to date again.
    Fresh,
}

impl<K> ReflectEvent<K> {
    /// The object that it brings.
    #[must_use]
    pub fn object(&self) -> Option<&K> {
        match self {
            Self::InitApply(object) | Self::Apply(object) | Self::Delete(object) => Some(object),
            Self::Init | Self::InitDone { .. } | Self::Bad(_) | Self::Stale(_) | Self::Fresh => {
                None
            }
        }
    }
}

/// Why what a reflector gave may be out of date.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StaleReason {
    /// The server no longer knows the version (410, in any of its forms): the collection is listed again, or the list started again.
    Expired(Error),
    /// The server does not know the version *yet* (504, `ResourceVersionTooLarge`): it lags behind another one.
    Behind(Error),
    /// The server refused: not permitted, throttled, no such resource, an internal error.
    Refused(Error),
    /// The server could not be reached, or what it sent was not understood.
    Failed(Error),
    /// The stream was cut off, or ended before what it was to give.
    Cut,
    /// The server ended the watch much earlier than it was asked to.
    ShortLived {
        /// How long it lasted.
        after: Duration,
    },
    /// Nothing came for too long: the connection is taken for dead.
    Silent {
        /// For how long.
        after: Duration,
    },
    /// Nothing came in several watches, not even bookmarks: the collection is listed again to be sure.
    Mute,
    /// A change that could not be read, of an object that cannot be named: the collection is listed again.
    Unreadable(Error),
}

impl StaleReason {
    /// The error behind it, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Expired(error)
            | Self::Behind(error)
            | Self::Refused(error)
            | Self::Failed(error)
            | Self::Unreadable(error) => Some(error),
            Self::Cut | Self::ShortLived { .. } | Self::Silent { .. } | Self::Mute => None,
        }
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(error) => write!(f, "the version is too old: {error}"),
            Self::Behind(error) => write!(f, "the server lags behind: {error}"),
            Self::Refused(error) => write!(f, "the server refused: {error}"),
            Self::Failed(error) => write!(f, "the request failed: {error}"),
            Self::Cut => f.write_str("the stream was cut off"),
            Self::ShortLived { after } => write!(f, "the watch ended after only {after:?}"),
            Self::Silent { after } => write!(f, "the server was silent for {after:?}"),
            Self::Mute => f.write_str("the server sent neither events nor bookmarks"),
            Self::Unreadable(error) => write!(f, "a change could not be read: {error}"),
        }
    }
}
