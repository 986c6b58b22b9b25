//! A virtual clock, and a driver of credentials that waits for nothing.
#![allow(dead_code, reason = "not every test file uses everything")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode};
use kubewire::auth::{
    Authorization, Credentials, ProcessCommand, ProcessOutput, ProviderCall, Unauthorized, Want,
    WantId,
};
use kubewire::config::Config;
use kubewire::policy::Seed;
use kubewire::{Endpoint, Error};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// 2026-06-01T00:00:00Z
pub(crate) const START: u64 = 1_780_272_000;

pub(crate) fn config() -> Config {
    Config::new(Endpoint::parse("https://10.0.0.1:6443").unwrap())
}

pub(crate) struct World {
    pub(crate) credentials: Credentials,
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with(Credentials::new(config, Seed::new(7)).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "time starts somewhere")]
    pub(crate) fn with(credentials: Credentials) -> Self {
        Self {
            credentials,
            now: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(START),
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
    }

    pub(crate) fn header(&mut self) -> Poll<Result<Authorization, Error>> {
        self.credentials.header(self.now, self.wall)
    }

    pub(crate) fn ready(&mut self) -> Authorization {
        match self.header() {
            Poll::Ready(header) => header.unwrap(),
            Poll::Pending => panic!("pending"),
        }
    }

    /// The header's value as text.
    pub(crate) fn value(&mut self) -> String {
        let value = self.ready().value;
        value.map_or_else(
            || "-".to_owned(),
            |value| value.to_str().unwrap().to_owned(),
        )
    }

    pub(crate) fn error(&mut self) -> Error {
        match self.header() {
            Poll::Ready(header) => header.unwrap_err(),
            Poll::Pending => panic!("pending"),
        }
    }

    pub(crate) fn want(&mut self) -> Option<(WantId, Want)> {
        let want = self.credentials.poll_want(self.now);
        assert!(self.credentials.poll_want(self.now).is_none(), "never two");
        want
    }

    /// Asks for a header that is not there, and takes what is wanted for it.
    pub(crate) fn pending_want(&mut self) -> (WantId, Want) {
        assert!(self.header().is_pending());
        self.want().unwrap()
    }

    pub(crate) fn run(&mut self) -> (WantId, ProcessCommand) {
        match self.want().unwrap() {
            (id, Want::Run(command)) => (id, *command),
            (_, other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn read(&mut self) -> (WantId, PathBuf) {
        match self.want().unwrap() {
            (id, Want::Read(path)) => (id, path),
            (_, other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn call(&mut self) -> (WantId, ProviderCall) {
        match self.want().unwrap() {
            (id, Want::Call(call)) => (id, *call),
            (_, other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn process(&mut self, id: WantId, code: i32, stdout: &str, stderr: &str) {
        let output = ProcessOutput::new(Some(code), stdout.into(), stderr.into());
        self.credentials
            .handle_process(id, Ok(output), self.now, self.wall);
    }

    pub(crate) fn file(&mut self, id: WantId, content: Result<&str, std::io::ErrorKind>) {
        let content = content.map(|text| text.as_bytes().to_vec());
        let content = content.map_err(std::io::Error::from);
        self.credentials
            .handle_file(id, content, self.now, self.wall);
    }

    pub(crate) fn answer(&mut self, id: WantId, code: u16, body: &str) {
        let mut answer = Response::new(Bytes::copy_from_slice(body.as_bytes()));
        *answer.status_mut() = StatusCode::from_u16(code).unwrap();
        self.credentials
            .handle_answer(id, Ok(answer), self.now, self.wall);
    }

    pub(crate) fn unauthorized(&mut self, generation: u64) -> Unauthorized {
        self.credentials.handle_unauthorized(generation, self.now)
    }
}

/// An `ExecCredential` of version v1 with this status.
pub(crate) fn exec_credential(status: &str) -> String {
    format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{status}}}"#
    )
}

/// A token that ends so many seconds after [`START`].
pub(crate) fn expiring(token: &str, seconds: u64) -> String {
    exec_credential(&format!(
        r#"{{"token":"{token}","expirationTimestamp":"{}"}}"#,
        date(seconds)
    ))
}

/// On the first of June 2026, which is long enough for a test.
pub(crate) fn date(seconds: u64) -> String {
    let (day, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("2026-06-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}
