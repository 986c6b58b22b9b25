use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, LIMIT};
use super::websocket::{Frame, Socket};
use super::{PODS, with_pod};
use crate::server::Server;

const V5: Option<&str> = Some("v5.channel.k8s.io");
const SUCCESS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;

fn sleeping() -> (Server, Client) {
    with_pod(json!({"command": ["sleep", "100"]}))
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn exec(command: &[&str], more: &str) -> String {
    let words: Vec<String> = command.iter().map(|word| encode(word)).collect();
    let command: String = words
        .iter()
        .flat_map(|word| ["command=", word, "&"])
        .collect();
    format!("{PODS}/box/exec?{command}{more}")
}

fn sh(script: &str, more: &str) -> String {
    exec(&["sh", "-c", script], more)
}

#[test]
fn output_and_exit_codes_by_version() {
    let (server, client) = sleeping();
    let path = sh("echo out; echo err >&2; exit 3", "stdout=true&stderr=true");
    let mut socket = Socket::connect(&client, &path, V5).unwrap();
    assert_eq!(
        socket.message(),
        (1, Vec::new()),
        "the first message says that the stream is open"
    );
    let [_, out, err, status] = socket.finish();
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (b"out\n".as_slice(), b"err\n".as_slice())
    );
    let v5 = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    assert_eq!(String::from_utf8(status).unwrap(), v5);
    let mut socket = Socket::connect(&client, &path, Some("v4.channel.k8s.io")).unwrap();
    let [.., status] = socket.finish();
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(
        (
            status.get("metadata"),
            &status["details"]["causes"][0]["message"]
        ),
        (None, &json!("3"))
    );
    let mut socket = Socket::connect(&client, &sh("exit 3", "stdout=1"), None).unwrap();
    assert_eq!(socket.protocol, "");
    assert_eq!(socket.finish()[3], b"command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3");
    let mut socket = Socket::connect(
        &client,
        &exec(&["true"], "stdout=1"),
        Some("channel.k8s.io"),
    )
    .unwrap();
    assert_eq!(socket.finish(), <[Vec<u8>; 4]>::default());
    let mut socket = Socket::connect(
        &client,
        &exec(&["echo", "hi"], "stdout=1"),
        Some("v4.base64.channel.k8s.io"),
    )
    .unwrap();
    for expected in ["1", "1aGkK", "3eyJzdGF0dXMiOiJTdWNjZXNzIn0="] {
        assert_eq!(socket.frame(), Frame::Text(expected.into()));
    }
    let mut socket = Socket::connect(&client, &exec(&["no-such-command"], "stdout=1"), V5).unwrap();
    let status: Value = serde_json::from_slice(&socket.finish()[3]).unwrap();
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("Internal error occurred: Internal error occurred: error executing command in container: "), "{message}");
    assert!(
        message.ends_with("exec: \"no-such-command\": executable file not found in $PATH"),
        "{message}"
    );
    assert_eq!(status["code"], 500);
    for (script, code) in [
        ("kill -9 $$", "137"),
        ("kill $$; sleep 5", "143"),
        ("no-such-command", "127"),
    ] {
        let mut socket = Socket::connect(&client, &sh(script, "stdout=1"), V5).unwrap();
        let status: Value = serde_json::from_slice(&socket.finish()[3]).unwrap();
        assert_eq!(status["details"]["causes"][0]["message"], code, "{script}");
    }
    let deadline = Instant::now() + LIMIT;
    while server.stats().websockets_open > 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.stats().websockets_opened, 9);
}

#[test]
fn handshakes_are_refused_as_recorded() {
    let (_server, client) = sleeping();
    let path = exec(&["true"], "stdout=true");
    let refused =
        |path: &str, protocol: &str| Socket::connect(&client, path, Some(protocol)).unwrap_err();
    assert_eq!(refused(&path, "v9.channel.k8s.io"), (403, String::new()));
    assert_eq!(
        refused(&exec(&["true"], ""), "v5.channel.k8s.io"),
        (
            400,
            "you must specify at least 1 of stdin, stdout, stderr".into()
        )
    );
    let (code, body) = refused(&format!("{path}&container=nope"), "v5.channel.k8s.io");
    assert_eq!(
        (
            code,
            serde_json::from_str::<Value>(&body).unwrap()["message"].clone()
        ),
        (400, json!("container nope is not valid for pod box"))
    );
    assert_eq!(
        refused(&path.replace("box", "none"), "v5.channel.k8s.io").0,
        404
    );
    let odd = |method: &str, more: &str| {
        Socket::connect_with(&client, method, &path, V5, more).unwrap_err()
    };
    assert_eq!(
        odd("GET", "Accept: application/json\r\n"),
        (
            406,
            "406: Not Acceptable\n\nAvailable representations: ".into()
        )
    );
    assert_eq!(
        odd("POST", "Content-Length: 0\r\n"),
        (405, "bad method".into())
    );
    assert_eq!(
        odd("GET", "X-Sec-WebSocket-Key: none\r\n"),
        (400, "mismatch challenge/response".into())
    );
    client.get(&path).refused(400, "Upgrade request required");
    let offers = |protocols: &str| {
        Socket::connect(&client, &path, Some(protocols))
            .unwrap()
            .protocol
    };
    assert_eq!(
        offers("v4.channel.k8s.io, v5.channel.k8s.io"),
        "v5.channel.k8s.io"
    );
    assert_eq!(
        offers("v9.channel.k8s.io, v4.channel.k8s.io"),
        "v4.channel.k8s.io"
    );
    client.post(PODS, &json!({"metadata": {"name": "done"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i", "command": ["true"]}]}})).ok();
    client.phase("done", "Succeeded");
    assert_eq!(
        refused(&path.replace("box", "done"), "v5.channel.k8s.io"),
        (500, "container not found (\"main\")".into())
    );
    assert_eq!(
        refused(
            &format!("{PODS}/done/portforward?ports=80"),
            "v4.channel.k8s.io"
        ),
        (500, "pod not found (\"done_default\")".into())
    );
}

#[test]
fn standard_input_and_its_end() {
    let (_server, client) = sleeping();
    let all = "stdin=true&stdout=true&stderr=true";
    let mut socket = Socket::connect(&client, &exec(&["cat"], all), V5).unwrap();
    socket.expect(1, b"");
    assert_eq!(socket.message(), (1, Vec::new()));
    socket.send(0, b"hello\n");
    socket.expect(1, b"hello\n");
    // None of this is data, or an end.
    for odd in [
        b"\x07x".as_slice(),
        b"\x01to stdout",
        b"",
        b"\x00",
        b"\xff\x04",
        b"\x03{}",
    ] {
        socket.send_frame(0x82, odd);
    }
    socket.send_frame(0x89, b"are you there");
    assert_eq!(socket.frame(), Frame::Pong(b"are you there".to_vec()));
    socket.send_frame(0x81, b"\0text\n");
    socket.expect(1, b"text\n");
    socket.send(255, &[0]);
    assert_eq!(socket.finish()[3], SUCCESS);
    // Every frame is a message of its own: a continuation's first byte is its channel.
    let mut socket = Socket::connect(&client, &exec(&["cat"], all), V5).unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    socket.send_frame(0x02, b"\0one ");
    socket.send_frame(0x00, b"two ");
    socket.send_frame(0x80, b"\0three");
    socket.expect(1, b"one three");
    // v4 knows no end of input.
    let mut socket =
        Socket::connect(&client, &exec(&["cat"], all), Some("v4.channel.k8s.io")).unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    socket.send(255, &[0]);
    socket.send(0, b"still open");
    socket.expect(1, b"still open");
    // A wrong signal ends the session.
    for wrong in [b"".as_slice(), &[9]] {
        let mut socket = Socket::connect(&client, &exec(&["cat"], all), V5).unwrap();
        assert_eq!(socket.message(), (1, Vec::new()));
        socket.send(255, wrong);
        assert_eq!(socket.finish()[3], b"");
    }
    // Only standard input: the first message is on the error channel, and no status.
    let mut socket =
        Socket::connect(&client, &sh("cat > /tmp/in; exit 2", "stdin=true"), V5).unwrap();
    assert_eq!(socket.message(), (3, Vec::new()));
}

#[test]
fn large_transfers_both_ways() {
    let (_server, client) = sleeping();
    let mut socket =
        Socket::connect(&client, &exec(&["wc", "-c"], "stdin=true&stdout=true"), V5).unwrap();
    socket.send(0, &vec![b'x'; 1 << 20]);
    socket.send(255, &[0]);
    let [_, out, _, status] = socket.finish();
    assert_eq!(
        (out.as_slice(), status.as_slice()),
        (b"1048576\n".as_slice(), SUCCESS)
    );
    let mut socket = Socket::connect(
        &client,
        &exec(&["head", "-c", "1M", "/dev/zero"], "stdout=true"),
        V5,
    )
    .unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    assert_eq!(socket.message().1.len(), 32 << 10);
    assert_eq!(socket.finish()[1].len(), (1 << 20) - (32 << 10));
}

#[test]
fn backpressure_is_real() {
    let (_server, client) = sleeping();
    // Output that nobody reads stops the command: it writes on only as the client reads.
    let script = "i=0; while [ $i -lt 2000 ]; do head -c 32768 /dev/zero; i=$((i+1)); echo $i > /tmp/progress; done";
    let mut socket = Socket::connect(&client, &sh(script, "stdout=true"), V5).unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    let progress = || {
        let mut socket =
            Socket::connect(&client, &exec(&["cat", "/tmp/progress"], "stdout=1"), V5).unwrap();
        String::from_utf8(socket.finish()[1].clone())
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap_or(0)
    };
    let deadline = Instant::now() + LIMIT;
    let mut last = progress();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = progress();
        if now > 0 && now == last {
            break;
        }
        last = now;
        assert!(Instant::now() < deadline, "the command is never held up");
    }
    assert!(last < 2000, "{last}");
    // Input that the command does not read stops the server's reading, pings included.
    let mut socket = Socket::connect(
        &client,
        &exec(&["sleep", "100"], "stdin=true&stdout=true"),
        V5,
    )
    .unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    socket.send(0, &vec![b'x'; 200_000]);
    socket.send_frame(0x89, b"?");
    socket
        .stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let silent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| socket.frame()));
    assert!(silent.is_err());
}

#[test]
fn terminals() {
    let (_server, client) = sleeping();
    let mut socket = Socket::connect(
        &client,
        &exec(&["sh"], "stdin=true&stdout=true&tty=true"),
        V5,
    )
    .unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    let mut seen = String::new();
    let mut until = |socket: &mut Socket, end: &str| {
        while !seen.ends_with(end) {
            let (channel, bytes) = socket.message();
            assert_eq!(channel, 1);
            seen += std::str::from_utf8(&bytes).unwrap();
        }
        std::mem::take(&mut seen)
    };
    until(&mut socket, "/ # ");
    socket.send(4, br#"{"Width":90,"#);
    socket.send(4, b"\"Height\":20}\n");
    socket.send(0, b"stty size\r");
    assert_eq!(until(&mut socket, "/ # "), "stty size\r\n20 90\r\n/ # ");
    socket.send(0, b"sleep 60\r");
    until(&mut socket, "sleep 60\r\n");
    socket.send(0, b"\x03");
    until(&mut socket, "/ # ");
    socket.send(0, b"exit 2\r");
    let status: Value = serde_json::from_slice(&socket.finish()[3]).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "2");
    let mut socket = Socket::connect(
        &client,
        &sh("echo out; echo err >&2", "stdout=true&stderr=true&tty=true"),
        V5,
    )
    .unwrap();
    let [_, out, err, _] = socket.finish();
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (b"out\r\nerr\r\n".as_slice(), b"".as_slice())
    );
}

#[test]
fn a_command_outlives_its_client_but_not_its_pod() {
    let (_server, client) = sleeping();
    let socket = Socket::connect(
        &client,
        &sh(
            "cat; sleep 0.1; echo done > /tmp/done; yes",
            "stdin=true&stdout=true",
        ),
        V5,
    )
    .unwrap();
    drop(socket);
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut socket =
            Socket::connect(&client, &exec(&["cat", "/tmp/done"], "stdout=1"), V5).unwrap();
        if socket.finish()[1] == b"done\n" {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    let mut late = Socket::connect(
        &client,
        &sh("(sleep 0.2; echo late) & echo main; exit 6", "stdout=true"),
        V5,
    )
    .unwrap();
    let [_, out, _, status] = late.finish();
    assert_eq!(
        out, b"main\nlate\n",
        "the status waits for whoever holds the output"
    );
    assert!(
        String::from_utf8(status)
            .unwrap()
            .contains(r#""message":"6""#)
    );
    let mut socket = Socket::connect(&client, &sh("sleep 60", "stdout=true"), V5).unwrap();
    assert_eq!(socket.message(), (1, Vec::new()));
    client.delete(&format!("{PODS}/box")).ok();
    assert!(
        String::from_utf8(socket.finish()[3].clone())
            .unwrap()
            .contains(r#""message":"137""#)
    );
}

#[test]
fn attach() {
    let loop_script = "while read x; do echo got: $x; echo err: $x >&2; if [ $x = quit ]; then exit 5; fi; done; echo eof";
    let (_server, client) = with_pod(json!({"command": ["sh", "-c", loop_script], "stdin": true}));
    let path = format!("{PODS}/box/attach?stdin=true&stdout=true&stderr=true");
    let mut first = Socket::connect(&client, &path, V5).unwrap();
    assert_eq!(first.message(), (1, Vec::new()));
    first.send(0, b"one\n");
    let mut messages = [first.message(), first.message()];
    messages.sort();
    assert_eq!(
        messages,
        [(1, b"got: one\n".to_vec()), (2, b"err: one\n".to_vec())]
    );
    first.send(255, &[0]);
    assert_eq!(
        first.finish()[3],
        SUCCESS,
        "the signal ends the session, not the input"
    );
    let mut second = Socket::connect(&client, &path, V5).unwrap();
    assert_eq!(second.message(), (1, Vec::new()));
    second.send(0, b"quit\n");
    assert_eq!(
        second.finish()[3],
        SUCCESS,
        "attach does not tell the exit code"
    );
    client.phase("box", "Failed");
    assert_eq!(
        client
            .get(&format!("{PODS}/box/log"))
            .text()
            .lines()
            .count(),
        4
    );
    assert_eq!(
        Socket::connect(&client, &path, V5).unwrap_err(),
        (500, "container main not found in pod box_default".into())
    );
    let (_server, client) = with_pod(
        json!({"command": ["sh", "-c", "cat; echo eof seen"], "stdin": true, "stdinOnce": true}),
    );
    let mut once = Socket::connect(&client, &path, V5).unwrap();
    once.send(0, b"text\n");
    once.send(255, &[0]);
    let [_, out, _, status] = once.finish();
    assert_eq!(
        (out.as_slice(), status.as_slice()),
        (b"text\neof seen\n".as_slice(), SUCCESS)
    );
}
