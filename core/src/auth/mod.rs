//! Credentials that come and go: tokens, programs, identity providers.
//!
//! [`Credentials`] is the machine: it says what is to be done (run a program, read a file, send a
//! request), takes the outcome, and hands out the `Authorization` header. It is one value for each
//! client, shared by all its requests, so whatever they wait for happens once.
//!
//! | [`Auth`](crate::config::Auth) | asks for | refreshed | after a 401 |
//! |---|---|---|---|
//! | `None`, `Token`, `Basic` | nothing | never | the 401 stands |
//! | `TokenFile` | [`Want::Read`] | each minute, when needed; the last good token stays | read once more |
//! | `Exec` | [`Want::Run`], [`Want::Read`] for the authority | before it expires | run once more |
//! | `Provider` (`oidc`) | [`Want::Call`] | before it expires | called once more |
//!
//! # What a driver does
//!
//! For each request: [`header`](Credentials::header). If that is pending, carry out what
//! [`poll_want`](Credentials::poll_want) gives, if it gives anything, and wait; after each `handle_*`
//! wake everybody who waits. If it is ready there may still be a want, a refresh ahead of time: carry it out aside.
//! When a want is given up half-way, say so with [`handle_abandoned`](Credentials::handle_abandoned).
//!
//! If the answer is 401, ask [`handle_unauthorized`](Credentials::handle_unauthorized) with the generation that the
//! request was signed with. On [`Unauthorized::Retry`] take the header again, and send the request once more
//! if its generation is another one. (A 401 is the answer of a filter before anything else, so any request
//! may be sent again.) Otherwise the 401 is the result, with [`fault`](Credentials::fault) as its cause.
//!
//! Connections show the [client certificate](Credentials::certificate) of a
//! [generation](Credentials::certificate_generation): get the header before a connection, and when the
//! generation changes, let the connections of older ones end with what they are doing.
//!
//! A driver that blocks, with a file that is there:
//!
//! ```
//! use std::task::Poll;
//! use std::time::{Instant, SystemTime};
//! use kubewire::Endpoint;
//! use kubewire::auth::{Authorization, Credentials, Want};
//! use kubewire::config::Config;
//! use kubewire::policy::Seed;
//!
//! fn sign(credentials: &mut Credentials) -> Result<Authorization, kubewire::Error> {
//!     loop {
//!         let (now, wall) = (Instant::now(), SystemTime::now());
//!         if let Poll::Ready(header) = credentials.header(now, wall) {
//!             return header;
//!         }
//!         match credentials.poll_want(now) {
//! #           Some((id, Want::Read(_))) => credentials.handle_file(id, Ok(b"abc\n".to_vec()), now, wall),
//!             Some((id, Want::Read(path))) => {
//!                 let content = std::fs::read(path);
//!                 credentials.handle_file(id, content, Instant::now(), SystemTime::now());
//!             }
//!             other => unreachable!("not for a token file: {other:?}"),
//!         }
//!     }
//! }
//!
//! let server = Endpoint::parse("https://10.0.0.1")?;
//! let config = Config::new(server).token_file("/var/run/secrets/kubernetes.io/serviceaccount/token");
//! let mut credentials = Credentials::new(&config, Seed::new(7))?;
//! assert_eq!(sign(&mut credentials)?.value.unwrap(), "Bearer abc");
//! # Ok::<(), kubewire::Error>(())
//! ```
//!
//! # Time
//!
//! Expiry is a date, and a clock can be set. So it is kept on both clocks, and the one that comes to it first counts: a
//! laptop that sleeps stops one of them, an administrator moves the other. Credentials that seem to have expired
//! when they come, or within ten seconds, are used for ten seconds, since it is more likely that the own
//! clock is wrong; whether they are good is for the server to say.
//!
//! # Secrets
//!
//! Nothing here prints one in `Debug` or in an error. Of a program's output, errors have the end of its
//! standard error, in which variables of the plugin and whatever looks like a token are hidden, and
//! never standard output. Tokens and keys are overwritten in memory, apart from the value of the header, which requests share,
//! and the body of a [`Want::Call`].

mod authorization;
mod credentials;
mod exec;
mod expiry;
mod oidc;
mod redact;
mod time;
mod want;

pub use authorization::{Authorization, Unauthorized};
pub use credentials::Credentials;
pub use oidc::RotatedTokens;
pub use want::{ProcessCommand, ProcessOutput, ProviderCall, Want, WantId};
