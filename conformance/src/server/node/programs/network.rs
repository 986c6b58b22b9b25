//! Programs that listen on the pod's ports, or connect to them.

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;

use super::super::super::time::Timestamp;
use super::super::net::{Connection, Listener};
use super::super::process::{Input, Output, Process, Streams};
use super::{Outcome, Run};

const CHUNK: usize = 32 << 10;
const HEAD_LIMIT: usize = 64 << 10;

/// Serves connections side by side within the process, so that they end with it.
async fn serve<'a>(
    mut listener: Listener,
    handle: impl Fn(Connection) -> BoxFuture<'a, ()>,
    keep: bool,
) {
    let mut open = FuturesUnordered::new();
    let mut accepting = true;
    loop {
        tokio::select! {
            connection = listener.accept(), if accepting => {
                let Some(connection) = connection else { return };
                open.push(handle(connection));
                accepting = keep;
            }
            Some(()) = open.next(), if !open.is_empty() => {
                if !accepting && open.is_empty() {
                    return;
                }
            }
        }
    }
}

/// `nc [-l] [-k] [-p PORT] [-e PROG]… [HOST PORT]`.
pub(super) async fn nc(run: &Run<'_>) -> Outcome {
    let (mut listen, mut keep, mut port, mut program) = (false, false, None, Vec::new());
    let mut rest: Vec<&str> = Vec::new();
    let mut arguments = run.arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(letters) = argument.strip_prefix('-').filter(|l| !l.is_empty()) else {
            rest.push(argument);
            continue;
        };
        listen |= letters.contains('l');
        keep |= letters.contains('k');
        if letters.contains('p') || letters.contains('w') {
            let value = arguments.next().map_or("", String::as_str);
            if letters.contains('p') {
                port = value.parse().ok();
            }
        }
        if letters.contains('e') {
            program = arguments.by_ref().cloned().collect();
        }
    }
    if listen {
        let port = port.or_else(|| rest.last().and_then(|p| p.parse().ok()));
        let Some(port) = port else {
            return run.complain("missing port").await;
        };
        let Some(listener) = run.process.container.network.listen(port) else {
            return run.complain("bind: Address already in use").await;
        };
        let process = run.process;
        let streams = run.streams;
        let program = &program;
        serve(
            listener,
            move |connection| session(process, program, streams, connection).boxed(),
            keep,
        )
        .await;
        return Ok(0);
    }
    let target = rest.last().and_then(|p| p.parse().ok());
    let Some(port) = target else {
        return run
            .complain("usage: nc [-lk] [-p PORT] [-e PROG] [HOST PORT]")
            .await;
    };
    match run.process.container.network.connect(port).await {
        Some(connection) => {
            session(run.process, &program, run.streams, connection).await;
            Ok(0)
        }
        None => {
            run.complain(format!(
                "can't connect to remote host (127.0.0.1): Connection refused ({port})"
            ))
            .await
        }
    }
}

/// A connection with a program at its end, or with the standard streams.
async fn session(process: &Process, program: &[String], streams: &Streams, connection: Connection) {
    if program.is_empty() {
        let send = copy(&streams.stdin, Output::Pipe(connection.writer));
        let input = Input::Pipe(connection.reader);
        let receive = copy(&input, streams.stdout.clone());
        futures_util::future::join(send, receive).await;
        return;
    }
    let own = Streams {
        stdin: Input::Pipe(connection.reader),
        stdout: Output::Pipe(connection.writer),
        stderr: streams.stderr.clone(),
    };
    super::run(process, program, &own).await;
}

async fn copy(from: &Input, to: Output) {
    loop {
        let bytes = from.read(CHUNK).await;
        if bytes.is_empty() || to.write(&bytes).await.is_err() {
            return;
        }
    }
}

/// `httpd -f -p PORT -h DIR`.
pub(super) async fn httpd(run: &Run<'_>) -> Outcome {
    let (mut port, mut root) = (80, run.process.cwd.clone());
    let mut arguments = run.arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-p" => {
                port = arguments
                    .next()
                    .and_then(|p| p.rsplit(':').next())
                    .and_then(|p| p.parse().ok())
                    .unwrap_or(0);
            }
            "-h" => root = run.path(arguments.next().map_or(".", String::as_str)),
            _ => {}
        }
    }
    let Some(listener) = run
        .process
        .container
        .network
        .listen(port)
        .filter(|_| port != 0)
    else {
        return run.complain("bind: Address already in use").await;
    };
    let process = run.process;
    let root = &root;
    serve(
        listener,
        move |connection| http(process, root, connection).boxed(),
        true,
    )
    .await;
    Ok(0)
}

async fn http(process: &Process, root: &str, connection: Connection) {
    let input = Input::Pipe(connection.reader);
    let output = Output::Pipe(connection.writer);
    loop {
        let mut head = Vec::new();
        loop {
            let line = input.read_line().await;
            if line.is_empty() || head.len() > HEAD_LIMIT {
                return;
            }
            let end = line == b"\r\n" || line == b"\n";
            head.extend(line);
            if end {
                break;
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut request = head.split_whitespace();
        let (method, target) = (
            request.next().unwrap_or_default(),
            request.next().unwrap_or_default(),
        );
        let header = |name: &str| {
            head.lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(k, _)| k.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_owned())
        };
        let mut body = header("content-length")
            .and_then(|l| l.parse().ok())
            .unwrap_or(0_usize);
        while body > 0 {
            let bytes = input.read(body.min(CHUNK)).await;
            if bytes.is_empty() {
                return;
            }
            body -= bytes.len();
        }
        let close = header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"))
            || head.contains("HTTP/1.0");
        let path = target.split('?').next().unwrap_or_default();
        let path = if path.ends_with('/') {
            format!("{path}index.html")
        } else {
            path.to_owned()
        };
        // Resolved below the root first, so that `..` cannot leave it.
        let full = format!(
            "{}{}",
            root.trim_end_matches('/'),
            super::resolve("/", &path)
        );
        let content = process.container.files.read(&full);
        let (status, content) = match content {
            Ok(content) if matches!(method, "GET" | "HEAD" | "POST") => ("200 OK", content),
            Ok(_) => ("501 Not Implemented", b"Not Implemented\n".to_vec()),
            Err(_) => ("404 Not Found", b"<HTML><HEAD><TITLE>404 Not Found</TITLE></HEAD>\n<BODY><H1>404 Not Found</H1>\nThe requested URL was not found\n</BODY></HTML>\n".to_vec()),
        };
        let connection = if close { "Connection: close\r\n" } else { "" };
        let kind = if path.rsplit('.').next() == Some("html") || status != "200 OK" {
            "Content-type: text/html\r\n"
        } else {
            ""
        };
        let file = process
            .container
            .files
            .stat(&full)
            .map(|file| file.modified);
        let file = file.filter(|_| status == "200 OK").map(|seconds| {
            let changed = Timestamp { seconds, nanos: 0 }.http_date();
            let size = content.len();
            format!("Accept-Ranges: bytes\r\nLast-Modified: {changed}\r\nETag: \"{seconds:x}-{size:x}\"\r\n")
        });
        let answer = format!(
            "HTTP/1.1 {status}\r\nDate: {}\r\n{connection}{kind}{}Content-Length: {}\r\n\r\n",
            Timestamp::now().http_date(),
            file.unwrap_or_default(),
            content.len()
        );
        if output.write(answer.as_bytes()).await.is_err() {
            return;
        }
        if method != "HEAD" && output.write(&content).await.is_err() {
            return;
        }
        if close {
            return;
        }
    }
}
