//! The machine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};

use super::authorization::{Authorization, Unauthorized};
use super::exec::{Exec, Issued};
use super::expiry::{Expires, Life};
use super::oidc::{Oidc, Progress, RotatedTokens};
use super::want::{ProcessOutput, Want, WantId};
use crate::config::{Auth, ClientCertificate, Config, Impersonation, Secret};
use crate::policy::{Backoff, Seed};
use crate::{Error, ErrorKind};

/// How long the content of a token file is taken to be current; bound tokens rotate.
const FILE_IS_CURRENT: Duration = Duration::from_mins(1);
const FILE_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough to log in with a browser.
const EXEC_TIMEOUT: Duration = Duration::from_mins(5);

enum Source {
    Fixed(Option<HeaderValue>),
    File {
        path: PathBuf,
        initial: Option<HeaderValue>,
    },
    Exec(Exec),
    Oidc(Box<Oidc>),
}

/// What is being done about new credentials.
enum Work {
    Nothing,
    /// Nobody has taken it yet.
    Ready(Want),
    Out {
        id: WantId,
        what: What,
        deadline: Option<Instant>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Run,
    Read,
    Call,
}

/// The credentials of one client, as a machine. The [module](crate::auth) tells how to drive it.
///
/// There is never more than one want, so whatever many requests wait for is done once. Late, repeated
/// and unknown outcomes do nothing. After a failure the next try waits for a [`Backoff`], and the
/// error repeats until then; as long as there are credentials that have not expired, those are used.
///
/// ```
/// use std::task::Poll;
/// use std::time::{Instant, SystemTime};
/// use kubewire::Endpoint;
/// use kubewire::auth::{Credentials, ProcessOutput, Unauthorized, Want};
/// use kubewire::config::{Config, ExecPlugin};
/// use kubewire::policy::Seed;
///
/// let config = Config::new(Endpoint::parse("https://10.0.0.1")?).exec(ExecPlugin::new("login"));
/// let mut credentials = Credentials::new(&config, Seed::new(7))?;
/// let (now, wall) = (Instant::now(), SystemTime::now());
///
/// assert!(credentials.header(now, wall).is_pending());
/// let Some((id, Want::Run(command))) = credentials.poll_want(now) else { panic!() };
/// assert_eq!(command.program.to_str(), Some("login"));
/// assert!(credentials.poll_want(now).is_none());
///
/// let stdout = br#"{
///     "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
///     "status": {"token": "abc"}
/// }"#;
/// let output = ProcessOutput::new(Some(0), stdout.to_vec(), Vec::new());
/// credentials.handle_process(id, Ok(output), now, wall);
/// let Poll::Ready(header) = credentials.header(now, wall) else { panic!() };
/// let header = header?;
/// assert_eq!(header.value.unwrap(), "Bearer abc");
///
/// // The server does not like it: run the program again, once for all requests.
/// assert_eq!(credentials.handle_unauthorized(header.generation, now), Unauthorized::Retry);
/// assert!(credentials.header(now, wall).is_pending());
/// assert!(credentials.poll_want(now).is_some());
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct Credentials {
    source: Source,
    impersonation: Vec<(HeaderName, HeaderValue)>,
    /// The configuration's own client certificate wins over the plugin's.
    takes_certificate: bool,
    exec_timeout: Option<Duration>,
    seed: Seed,

    header: Option<HeaderValue>,
    /// For hiding it.
    token: Option<Secret>,
    certificate: Option<ClientCertificate>,
    generation: u64,
    certificate_generation: u64,
    /// There is something to send.
    have: bool,
    life: Life,

    work: Work,
    next_id: u64,
    /// The server has refused what there is, and callers wait for something better.
    refused: bool,
    /// For this generation something better was looked for.
    forced: Option<u64>,
    forcing: Backoff,
    force_again: Option<Instant>,
    fault: Option<Error>,
    retries: Backoff,
    try_again: Option<Instant>,
}

impl Credentials {
    /// The credentials that a configuration names. Nothing is asked for until a
    /// [header](Self::header) is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] as from [`Config::check`], and for an auth-provider whose settings are
    /// incomplete.
    pub fn new(config: &Config, seed: Seed) -> Result<Self, Error> {
        config.check()?;
        let source = match &config.auth {
            Auth::TokenFile { path, initial } => Source::File {
                path: path.clone(),
                initial: initial.as_ref().map(Secret::bearer).transpose()?,
            },
            Auth::Exec(plugin) => Source::Exec(Exec::new((**plugin).clone())),
            Auth::Provider(provider) => Source::Oidc(Box::new(Oidc::new(provider)?)),
            auth @ (Auth::None | Auth::Token(_) | Auth::Basic { .. }) => {
                Source::Fixed(auth.header()?)
            }
        };
        let impersonation = config.impersonate.as_ref().map(Impersonation::headers);
        let second = Duration::from_secs(1);
        Ok(Self {
            source,
            impersonation: impersonation.transpose()?.unwrap_or_default(),
            takes_certificate: config.tls.client.is_none(),
            exec_timeout: Some(EXEC_TIMEOUT),
            seed,
            header: None,
            token: None,
            certificate: None,
            generation: 0,
            certificate_generation: 0,
            have: false,
            life: Life::default(),
            work: Work::Nothing,
            next_id: 0,
            refused: false,
            forced: None,
            forcing: Backoff::new(10 * second, 300 * second).jitter(0),
            force_again: None,
            fault: None,
            retries: Backoff::new(second, 30 * second).jitter(50),
            try_again: None,
        })
    }

    /// Sets whether standard input is a terminal with a user, and nobody else reads it. By default it is not.
    ///
    /// An exec plugin may ask the user then, if its `interactiveMode` is not `Never`.
    pub fn terminal(mut self, terminal: bool) -> Self {
        if let Source::Exec(exec) = &mut self.source {
            exec.terminal = terminal;
        }
        self
    }

    /// Sets how long an exec plugin may run; none for ever. By default it is five minutes, in which a user
    /// can log in with a browser.
    pub fn exec_timeout(mut self, time: Option<Duration>) -> Self {
        self.exec_timeout = time;
        self
    }

    /// The headers that say who to act as, for every request. Append them: names repeat.
    #[must_use]
    pub fn impersonation(&self) -> &[(HeaderName, HeaderValue)] {
        &self.impersonation
    }

    /// What to sign a request with now. If it is pending, carry out what
    /// [`poll_want`](Self::poll_want) gives, and ask again when an outcome was handed in.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`], or [`ErrorKind::Timeout`], if there are none to be had.
    pub fn header(&mut self, now: Instant, wall: SystemTime) -> Poll<Result<Authorization, Error>> {
        if let Source::Fixed(value) = &self.source {
            return Poll::Ready(Ok(Authorization {
                value: value.clone(),
                generation: self.generation,
            }));
        }
        self.handle_timeout(now, wall);
        self.take_initial(now, wall);
        if matches!(self.work, Work::Nothing)
            && (!self.is_usable(now, wall) || self.life.is_due(now, wall))
            && !self.rests(now)
        {
            self.begin(now);
        }
        if self.is_usable(now, wall) {
            return Poll::Ready(Ok(Authorization {
                value: self.header.clone(),
                generation: self.generation,
            }));
        }
        match (&self.work, &self.fault) {
            (Work::Nothing, Some(error)) => Poll::Ready(Err(error.clone())),
            (Work::Nothing, None) => Poll::Ready(Err(Error::new(
                ErrorKind::Credentials,
                "there are no credentials",
            ))),
            (Work::Ready(_) | Work::Out { .. }, _) => Poll::Pending,
        }
    }

    fn is_usable(&self, now: Instant, wall: SystemTime) -> bool {
        self.have && !self.refused && !self.life.is_over(now, wall)
    }

    /// Whether a failure was so recent that nothing is tried.
    fn rests(&self, now: Instant) -> bool {
        self.try_again.is_some_and(|again| now < again)
    }

    /// What the configuration itself holds, until there is something better.
    fn take_initial(&mut self, now: Instant, wall: SystemTime) {
        if self.have || self.generation > 0 || !matches!(self.work, Work::Nothing) {
            return;
        }
        match &mut self.source {
            Source::File { initial, .. } => {
                // Over at once: the file is read before it is used.
                if let Some(header) = initial.take() {
                    self.header = Some(header);
                    self.have = true;
                    self.life = Life::new(Expires::In(Duration::ZERO), now, wall, &mut self.seed);
                }
            }
            Source::Oidc(oidc) => {
                if let Some(issued) = oidc.initial(wall) {
                    self.install(issued, now, wall);
                }
            }
            Source::Fixed(_) | Source::Exec(_) => {}
        }
    }

    fn begin(&mut self, now: Instant) {
        let want = match &mut self.source {
            Source::Fixed(_) => return,
            Source::File { path, .. } => Ok(Want::Read(path.clone())),
            Source::Exec(exec) => exec.begin(),
            Source::Oidc(oidc) => oidc.begin(),
        };
        match want {
            Ok(want) => self.work = Work::Ready(want),
            Err(error) => self.fail(error, now),
        }
    }

    /// What is to be done, once. Carry it out, and hand in the outcome with the same id.
    pub fn poll_want(&mut self, now: Instant) -> Option<(WantId, Want)> {
        let want = match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Ready(want) => want,
            other @ (Work::Nothing | Work::Out { .. }) => {
                self.work = other;
                return None;
            }
        };
        let id = WantId(self.next_id);
        self.next_id += 1;
        let (what, time) = match &want {
            Want::Run(_) => (What::Run, self.exec_timeout),
            Want::Read(_) => (What::Read, Some(FILE_TIMEOUT)),
            Want::Call(_) => (What::Call, Some(CALL_TIMEOUT)),
        };
        let deadline = time.and_then(|time| now.checked_add(time));
        self.work = Work::Out { id, what, deadline };
        Some((id, want))
    }

    /// Whether the outcome of a want still matters. If not, stop: kill the program, close the
    /// connection.
    #[must_use]
    pub fn is_wanted(&self, id: WantId) -> bool {
        matches!(self.work, Work::Out { id: out, .. } if out == id)
    }

    /// The instant at which what is being done has taken too long.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.work {
            Work::Out { deadline, .. } => deadline,
            Work::Nothing | Work::Ready(_) => None,
        }
    }

    /// That instant may have passed. If it has, nobody waits for the outcome any more: see
    /// [`is_wanted`](Self::is_wanted).
    pub fn handle_timeout(&mut self, now: Instant, wall: SystemTime) {
        let Work::Out {
            what,
            deadline: Some(deadline),
            ..
        } = self.work
        else {
            return;
        };
        if now < deadline {
            return;
        }
        let text = match (&self.source, what) {
            (Source::Exec(exec), What::Run) => exec.wrong("took too long").to_string(),
            (_, What::Call) => "the identity provider took too long".to_owned(),
            (_, What::Read | What::Run) => {
                "reading a file for credentials took too long".to_owned()
            }
        };
        self.fail_at(Error::new(ErrorKind::Timeout, text), now, wall);
    }

    /// A want was given up half-way, and somebody else is to carry it out. Unless it
    /// [is not wanted](Self::is_wanted), it is given out again from the start.
    pub fn handle_abandoned(&mut self, id: WantId, now: Instant) {
        if self.is_wanted(id) {
            self.work = Work::Nothing;
            self.begin(now);
        }
    }

    fn answers(&self, id: WantId, what: What) -> bool {
        matches!(self.work, Work::Out { id: out, what: wanted, .. } if out == id && wanted == what)
    }

    /// How the program of a [`Want::Run`] ended, or why it did not start: the kind of that error tells
    /// whether it is not installed.
    pub fn handle_process(
        &mut self,
        id: WantId,
        result: io::Result<ProcessOutput>,
        now: Instant,
        wall: SystemTime,
    ) {
        let Source::Exec(exec) = &self.source else {
            return;
        };
        if !self.answers(id, What::Run) {
            return;
        }
        match exec.handle_process(result, self.token.as_ref()) {
            Ok((issued, token)) => {
                self.token = token;
                self.install(issued, now, wall);
            }
            Err(error) => self.fail_at(error, now, wall),
        }
    }

    /// The content of the file of a [`Want::Read`], or why it could not be read.
    pub fn handle_file(
        &mut self,
        id: WantId,
        content: io::Result<Vec<u8>>,
        now: Instant,
        wall: SystemTime,
    ) {
        if !self.answers(id, What::Read) {
            return;
        }
        match &self.source {
            Source::File { path, .. } => {
                let token = content.map_err(|error| {
                    let text = format!("the token file {} cannot be read", path.display());
                    Error::new(ErrorKind::Credentials, text).with_source(error)
                });
                let token = token.map(zeroize::Zeroizing::new);
                match token.and_then(|bytes| Secret::from_token_file(&bytes)?.bearer()) {
                    Ok(header) => {
                        let issued = Issued {
                            header: Some(header),
                            certificate: None,
                            expires: Expires::In(FILE_IS_CURRENT),
                        };
                        self.install(issued, now, wall);
                    }
                    Err(error) => self.fail_at(error, now, wall),
                }
            }
            Source::Exec(exec) => match exec.handle_file(content) {
                Ok(want) => self.work = Work::Ready(want),
                Err(error) => self.fail_at(error, now, wall),
            },
            Source::Fixed(_) | Source::Oidc(_) => {}
        }
    }

    /// The answer to a [`Want::Call`] whatever its status code, with a body that is not compressed; or why there is none.
    pub fn handle_answer(
        &mut self,
        id: WantId,
        answer: Result<Response<Bytes>, Error>,
        now: Instant,
        wall: SystemTime,
    ) {
        if !self.answers(id, What::Call) {
            return;
        }
        let Source::Oidc(oidc) = &mut self.source else {
            return;
        };
        match oidc.handle_answer(answer) {
            Ok(Progress::Next(want)) => self.work = Work::Ready(want),
            Ok(Progress::Done(issued)) => self.install(issued, now, wall),
            Err(error) => self.fail_at(error, now, wall),
        }
    }

    fn install(&mut self, issued: Issued, now: Instant, wall: SystemTime) {
        // A file that holds what it held before is nothing new. A program that was run is.
        if !matches!(self.source, Source::File { .. })
            || self.generation == 0
            || self.header != issued.header
        {
            self.generation += 1;
        }
        if self.takes_certificate && self.certificate != issued.certificate {
            self.certificate = issued.certificate;
            self.certificate_generation += 1;
        }
        self.header = issued.header;
        self.life = Life::new(issued.expires, now, wall, &mut self.seed);
        self.have = true;
        self.work = Work::Nothing;
        self.refused = false;
        self.fault = None;
        self.try_again = None;
        self.retries.reset();
    }

    fn fail_at(&mut self, error: Error, now: Instant, wall: SystemTime) {
        self.fail(error, now);
        // The last good token stays.
        if self.have
            && let (Source::File { .. }, Some(again)) = (&self.source, self.try_again)
        {
            let time = again.saturating_duration_since(now);
            self.life = Life::new(Expires::In(time), now, wall, &mut self.seed);
        }
    }

    fn fail(&mut self, error: Error, now: Instant) {
        self.work = Work::Nothing;
        // Better what the server has refused once than nothing at all.
        self.refused = false;
        self.fault = Some(error);
        let delay = self.retries.handle_failure(now, &mut self.seed);
        self.try_again = now.checked_add(delay);
    }

    /// The server answered 401 to a request with the header of this
    /// [generation](Authorization::generation). Ask once for each call; a second 401 is its result.
    ///
    /// For each generation, better credentials are looked for once, however many requests it was
    /// refused for, and then not more often than every ten seconds (up to five minutes, if that goes
    /// on).
    pub fn handle_unauthorized(&mut self, generation: u64, now: Instant) -> Unauthorized {
        if matches!(self.source, Source::Fixed(_)) {
            return Unauthorized::GiveUp;
        }
        if generation != self.generation || self.refused {
            return Unauthorized::Retry;
        }
        let too_early = self.force_again.is_some_and(|again| now < again) || self.rests(now);
        if self.forced == Some(generation) || too_early {
            return Unauthorized::GiveUp;
        }
        self.forced = Some(generation);
        let delay = self.forcing.handle_failure(now, &mut self.seed);
        self.force_again = now.checked_add(delay);
        self.refused = true;
        if matches!(self.work, Work::Nothing) {
            self.begin(now);
        }
        if self.refused {
            Unauthorized::Retry
        } else {
            Unauthorized::GiveUp
        }
    }

    /// Why the last try to get credentials failed, unless a later one succeeded. While older
    /// credentials are still used, this is the only place where it shows: make it the
    /// source of a 401.
    #[must_use]
    pub fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// The client certificate that an exec plugin has issued, for new connections. The
    /// configuration's own certificate wins: then there is none here.
    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// Counts the certificates: a connection is good for requests as long as this has not changed since
    /// it was made.
    #[must_use]
    pub fn certificate_generation(&self) -> u64 {
        self.certificate_generation
    }

    /// Tokens that an identity provider has issued since this was asked last.
    pub fn poll_rotated(&mut self) -> Option<RotatedTokens> {
        match &mut self.source {
            Source::Oidc(oidc) => oidc.rotated(),
            Source::Fixed(_) | Source::File { .. } | Source::Exec(_) => None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Fixed(None) => "none",
            Source::Fixed(Some(_)) => "fixed",
            Source::File { .. } => "file",
            Source::Exec(_) => "exec",
            Source::Oidc(_) => "oidc",
        };
        let work: &dyn fmt::Debug = match &self.work {
            Work::Nothing => &"nothing",
            Work::Ready(_) => &"wanted",
            Work::Out { what, .. } => what,
        };
        f.debug_struct("Credentials")
            .field("source", &source)
            .field("generation", &self.generation)
            .field("work", work)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
