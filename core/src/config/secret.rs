//! Values that must not be printed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{Error, ErrorKind};

/// A token, password or other text that must not be printed.
///
/// `Debug` hides it, there is no `Display` and no `Serialize`, and the memory is overwritten on
/// drop. Comparing two secrets takes a time that depends on their content.
///
/// ```
/// use kubewire::config::Secret;
/// let token = Secret::new("hunter2");
/// assert_eq!(token.expose(), "hunter2");
/// assert_eq!(format!("{token:?}"), "Secret(..)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The token that a token file holds: the content without white space around it.
    ///
    /// ```
    /// # use kubewire::config::Secret;
    /// assert_eq!(Secret::from_token_file(b" abc\n")?.expose(), "abc");
    /// assert!(Secret::from_token_file(b"\n").is_err());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if nothing is left, or if it cannot be sent as a header.
    pub fn from_token_file(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |what: &'static str| Error::new(ErrorKind::Credentials, what);
        let text = std::str::from_utf8(bytes)
            .map_err(|_| wrong("the token file is not text"))?
            .trim();
        if text.is_empty() {
            return Err(wrong("the token file is empty"));
        }
        let token = Self::new(text);
        if !token.fits_a_header() {
            return Err(wrong(
                "the token file holds characters that no header can carry",
            ));
        }
        Ok(token)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn fits_a_header(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// `Authorization: Bearer …` with this token, marked as sensitive.
    ///
    /// ```
    /// # use kubewire::config::Secret;
    /// assert_eq!(Secret::new("abc").bearer()?, "Bearer abc");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if no header can carry it.
    pub fn bearer(&self) -> Result<HeaderValue, Error> {
        if !self.fits_a_header() {
            return Err(Error::new(
                ErrorKind::Credentials,
                "the token holds characters that no header can carry",
            ));
        }
        sensitive(Zeroizing::new(format!("Bearer {}", self.expose())))
    }

    /// `Authorization: Basic …` with this password, marked as sensitive.
    ///
    /// ```
    /// # use kubewire::config::Secret;
    /// assert_eq!(Secret::new("b").basic("a")?, "Basic YTpi");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`] if the user name holds a colon.
    pub fn basic(&self, username: &str) -> Result<HeaderValue, Error> {
        if username.contains(':') {
            return Err(Error::new(
                ErrorKind::Credentials,
                "a user name for basic authentication cannot hold a colon",
            ));
        }
        let pair = Zeroizing::new(format!("{username}:{}", self.expose()));
        sensitive(Zeroizing::new(format!(
            "Basic {}",
            STANDARD.encode(pair.as_bytes())
        )))
    }
}

// By value, so that the text is overwritten here.
#[expect(
    clippy::needless_pass_by_value,
    reason = "drops, and so overwrites, the text"
)]
fn sensitive(text: Zeroizing<String>) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Error::new(
            ErrorKind::Credentials,
            "the credentials do not fit into a header",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Certificates or a key, as the bytes of a PEM file.
///
/// `Debug` shows the size only, and the memory is overwritten on drop. What the sections are is
/// for the TLS library to say.
///
/// ```
/// use kubewire::config::Pem;
/// let pem = Pem::new("-----BEGIN PRIVATE KEY-----\nMIGH…");
/// assert!(pem.as_bytes().starts_with(b"-----BEGIN"));
/// assert_eq!(format!("{pem:?}"), "Pem(35 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Zeroizing<Vec<u8>>);

impl Pem {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}
