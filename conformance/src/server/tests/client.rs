//! A blocking HTTP/1.1 client that shares nothing with the server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::Server;

/// No wait of a test is longer.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) token: String,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text()))
    }

    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.text()
        );
        self.json()
    }

    #[track_caller]
    pub(super) fn refused(self, status: u16, message: &str) -> Value {
        let body = self.json();
        assert_eq!(
            (self.status, body["message"].as_str().unwrap_or_default()),
            (status, message),
            "{body}"
        );
        body
    }
}

/// A response whose body is still coming.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) head: Answer,
    reader: BufReader<TcpStream>,
    chunked: bool,
    buffer: Vec<u8>,
    ended: bool,
}

impl Client {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            address: server.addr(),
            token: server.token().to_owned(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(
            "PUT",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub(super) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }

    /// `kind`: json, merge, strategic-merge or apply.
    pub(super) fn patch(&self, kind: &str, path: &str, body: &str) -> Answer {
        let suffix = if kind == "apply" {
            "patch+yaml"
        } else {
            "patch+json"
        };
        self.request(
            "PATCH",
            path,
            &[("Content-Type", &format!("application/{kind}-{suffix}"))],
            body.as_bytes(),
        )
    }

    pub(super) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut open = self.open(method, path, headers, body);
        open.head.body = open.rest();
        open.head
    }

    pub(super) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Open {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        if !headers.iter().any(|(k, _)| *k == "Authorization") {
            head.extend(["Authorization: Bearer ", &self.token, "\r\n"]);
        }
        if !headers.iter().any(|(k, _)| *k == "User-Agent") {
            head += "User-Agent: tester/1.0\r\n";
        }
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() || method == "POST" {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(body);
        Open::read(BufReader::new(stream))
    }

    /// Polls until `done` is content with what `path` answers.
    #[track_caller]
    pub(super) fn until(&self, path: &str, done: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.get(path);
            if done(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a phase of a pod in the default namespace.
    #[track_caller]
    pub(super) fn phase(&self, pod: &str, phase: &str) -> Value {
        let path = format!("{}/{pod}", super::PODS);
        self.until(&path, |a| {
            a.status == 200 && a.json()["status"]["phase"] == phase
        })
        .json()
    }
}

impl Open {
    fn read(mut reader: BufReader<TcpStream>) -> Self {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line
                .trim_end()
                .split_once(": ")
                .or_else(|| line.trim_end().split_once(':'))
            else {
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let head = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Self {
            head,
            reader,
            chunked,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// The next chunk; `None` at a proper end. Panics if the connection breaks.
    pub(super) fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let length = if self.chunked {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            usize::from_str_radix(line.trim_end(), 16).expect("a chunk size")
        } else {
            self.ended = true;
            let Some(length) = self.head.header("content-length") else {
                let mut bytes = Vec::new();
                self.reader.read_to_end(&mut bytes).unwrap();
                return Some(bytes);
            };
            length.parse().unwrap()
        };
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        if self.chunked {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end).unwrap();
            self.ended = length == 0;
        }
        (length > 0).then_some(bytes)
    }

    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.buffer);
        while let Some(chunk) = self.chunk() {
            bytes.extend(chunk);
        }
        bytes
    }

    /// The next line; `None` at the end.
    pub(super) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let chunk = self.chunk()?;
            self.buffer.extend(chunk);
        }
    }

    /// The next event of a watch: its type, and its object.
    pub(super) fn event(&mut self) -> Option<(String, Value)> {
        let mut event: Value = serde_json::from_str(&self.line()?).unwrap();
        Some((
            event["type"].as_str().unwrap().to_owned(),
            event["object"].take(),
        ))
    }
}
