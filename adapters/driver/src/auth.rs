//! The `Authorization` header.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use kubewire::config::Secret;
use kubewire::{Error, ErrorKind};

/// How long the content of a token file is taken to be current; bound tokens rotate.
const FRESH: Duration = Duration::from_mins(1);

/// Where the header comes from.
pub(crate) enum Authorization {
    Fixed(Option<HeaderValue>),
    /// A bearer token in a file that somebody else keeps current.
    File {
        path: PathBuf,
        known: Mutex<Known>,
    },
}

/// The last good value, and when it was read if it was.
#[derive(Default)]
pub(crate) struct Known {
    value: Option<HeaderValue>,
    read: Option<Instant>,
}

impl Authorization {
    pub(crate) fn file(path: &Path, initial: Option<&Secret>) -> Result<Self, Error> {
        let value = initial.map(Secret::bearer).transpose()?;
        Ok(Self::File {
            path: path.to_owned(),
            known: Mutex::new(Known { value, read: None }),
        })
    }

    pub(crate) fn header(&self, now: Instant) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::File { path, known } => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if known
                    .read
                    .is_none_or(|read| now.saturating_duration_since(read) >= FRESH)
                {
                    // A few hundred bytes from memory, once a minute.
                    match read(path) {
                        Ok(value) => known.value = Some(value),
                        Err(error) if known.value.is_none() => return Err(error),
                        // The last good token is better than none.
                        Err(_) => {}
                    }
                    known.read = Some(now);
                }
                Ok(known.value.clone())
            }
        }
    }
}

fn read(path: &Path) -> Result<HeaderValue, Error> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(
            ErrorKind::Credentials,
            format!("the token file {} cannot be read", path.display()),
        )
        .with_source(error)
    })?;
    Secret::from_token_file(&bytes)?.bearer()
}
