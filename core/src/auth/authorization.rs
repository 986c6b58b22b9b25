//! What requests are signed with.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// What a request is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// The value of `Authorization`, marked as sensitive; none if there is none to send.
    pub value: Option<HeaderValue>,
    /// Counts the credentials: for [`handle_unauthorized`](super::Credentials::handle_unauthorized).
    pub generation: u64,
}

impl Authorization {
    /// Puts the header in, in place of one that was there.
    ///
    /// A request that came with an `Authorization` of its own is not to be signed at all.
    ///
    /// ```
    /// use std::task::Poll;
    /// use std::time::{Instant, SystemTime};
    /// use kubewire::Endpoint;
    /// use kubewire::auth::Credentials;
    /// use kubewire::config::Config;
    /// use kubewire::policy::Seed;
    ///
    /// let config = Config::new(Endpoint::parse("https://10.0.0.1")?).token("abc");
    /// let mut credentials = Credentials::new(&config, Seed::new(7))?;
    /// let Poll::Ready(header) = credentials.header(Instant::now(), SystemTime::now()) else { panic!() };
    /// let mut request = http::Request::get("/api").body(()).unwrap();
    /// header?.apply(request.headers_mut());
    /// assert_eq!(request.headers()["authorization"], "Bearer abc");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn apply(&self, headers: &mut HeaderMap) {
        match &self.value {
            Some(value) => headers.insert(AUTHORIZATION, value.clone()),
            None => headers.remove(AUTHORIZATION),
        };
    }
}

/// What to do about a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthorized {
    /// Take the [header](super::Credentials::header) again, and send the request once more if its generation is another one.
    Retry,
    /// There are no better credentials: the 401 is the result.
    GiveUp,
}
