//! The `Authorization` header.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use kubewire::{Error, ErrorKind};

/// How long the content of a token file is taken to be current; bound tokens rotate.
const FRESH: Duration = Duration::from_secs(60);

/// Where the header comes from.
pub(crate) enum Authorization {
    None,
    Fixed(HeaderValue),
    /// A bearer token in a file that somebody else keeps current.
    File {
        path: PathBuf,
        known: Mutex<Option<(Instant, HeaderValue)>>,
    },
}

impl Authorization {
    pub(crate) fn header(&self, now: Instant) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::File { path, known } => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((read, value)) = &*known
                    && now.saturating_duration_since(*read) < FRESH
                {
                    return Ok(Some(value.clone()));
                }
                // A few hundred bytes from memory, once a minute.
                let value = match (read(path), &*known) {
                    (Ok(value), _) => value,
                    // The last good token is better than none.
                    (Err(_), Some((_, value))) => value.clone(),
                    (Err(error), None) => return Err(error),
                };
                *known = Some((now, value.clone()));
                Ok(Some(value))
            }
        }
    }
}

fn read(path: &std::path::Path) -> Result<HeaderValue, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(
            ErrorKind::Credentials,
            format!("the token file {} cannot be read", path.display()),
        )
        .with_source(error)
    })?;
    bearer(&text)
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let token = token.trim();
    if token.is_empty() {
        return Err(Error::new(ErrorKind::Credentials, "the token is empty"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        Error::new(
            ErrorKind::Credentials,
            "the token holds characters that no header may have",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
