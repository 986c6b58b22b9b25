//! Conversations with proxies, in one piece, byte by byte, and with nonsense.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use kubewire::policy::Seed;
use kubewire::proxy::{ConnectRefused, Proxy, ProxyHandshake, Socks5Refused, Socks5Reply};
use kubewire::{Error, ErrorKind};

fn to(url: &str, host: &str, port: u16) -> Result<ProxyHandshake, Error> {
    ProxyHandshake::new(&Proxy::parse(url).unwrap(), host, port)
}

fn proxy(url: &str) -> ProxyHandshake {
    to(url, "api.example", 6443).unwrap()
}

/// Writes everything, in pieces.
fn drain(tunnel: &mut ProxyHandshake, piece: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while let Some(bytes) = tunnel.poll_transmit() {
        let n = bytes.len().min(piece);
        sent.extend_from_slice(&bytes[..n]);
        tunnel.transmitted(n);
    }
    sent
}

/// How a conversation ends: the leftover, or the error.
fn converse(url: &str, answer: &[u8], pieces: impl Fn(usize) -> usize) -> Result<Vec<u8>, String> {
    let mut tunnel = proxy(url);
    let mut at = 0;
    drain(&mut tunnel, pieces(0).max(1));
    while at < answer.len() && tunnel.wants_input() {
        let end = (at + pieces(at).max(1)).min(answer.len());
        if let Err(error) = tunnel.handle_input(&answer[at..end]) {
            let again = tunnel.handle_input(b"more").unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
            assert!(tunnel.poll_transmit().is_none() && !tunnel.wants_input());
            return Err(error.to_string());
        }
        at = end;
        drain(&mut tunnel, 1);
    }
    match tunnel.handle_end() {
        Ok(()) => {
            assert!(tunnel.is_done() && !tunnel.wants_input());
            let early = tunnel.take_leftover();
            assert!(tunnel.take_leftover().is_empty());
            Ok([&early, &answer[at..]].concat())
        }
        Err(error) => Err(error.to_string()),
    }
}

const HTTP: &str = "http://me:hunter2@proxy";
const SOCKS: &str = "socks5://me:hunter2@proxy";

#[test]
fn http_answers() {
    let refusal = |text: &str| Err(format!("the proxy refused the tunnel: {text}"));
    let body = "x".repeat(3000);
    for (answer, want) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok("")),
        (
            "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nearly",
            Ok("early"),
        ),
        ("HTTP/1.0 200\r\n\r\n\r\n\r\n", Ok("\r\n\r\n")),
        ("HTTP/1.1 204 No Content\n\nearly", Ok("early")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nearly",
            Ok("early"),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
            Ok("x"),
        ),
    ] {
        check(
            HTTP,
            answer.as_bytes(),
            &want.map(|text: &str| text.as_bytes().to_vec()),
        );
    }
    for (answer, want) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n\r\ndenied",
            refusal("407 Proxy Authentication Required: denied"),
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\nmore",
            refusal("403 Forbidden"),
        ),
        (
            "HTTP/1.1 502 x\r\nContent-Length: nonsense\r\n\r\nbo\ndy",
            refusal("502 Bad Gateway: bo\\ndy"),
        ),
        (
            "HTTP/1.1 502 x\r\n\r\nuntil the end",
            refusal("502 Bad Gateway: until the end"),
        ),
        (
            "HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            refusal("500 Internal Server Error"),
        ),
        (
            "HTTP/1.1 302 x\r\nContent-Length: 99\r\n\r\nshort",
            refusal("302 Found: short"),
        ),
        (
            &format!("HTTP/1.1 503 x\r\nContent-Length: 3000\r\n\r\n{body}"),
            refusal(&format!("503 Service Unavailable: {}…", &body[..200])),
        ),
        (
            "HTTP/1.1 101 Switching\r\n\r\n",
            Err("the proxy switches protocols unasked".to_owned()),
        ),
        (
            "HTTP/2 200\r\n\r\n",
            Err("the proxy's answer is no HTTP/1.1".to_owned()),
        ),
        (
            "\x15\x03\x01",
            Err("the proxy's answer is no HTTP/1.1".to_owned()),
        ),
        (
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            Err("the proxy's answer is no HTTP/1.1".to_owned()),
        ),
        (
            "HTTP/1.1 20 OK\r\n\r\n",
            Err("the proxy's status line is broken".to_owned()),
        ),
        (
            "HTTP/1.1 2000 OK\r\n\r\n",
            Err("the proxy's status line is broken".to_owned()),
        ),
        (
            "HTTP/1.x 200 OK\r\n\r\n",
            Err("the proxy's status line is broken".to_owned()),
        ),
        (
            "HTTP/1.1\r\n\r\n",
            Err("the proxy's status line is broken".to_owned()),
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            Err("the proxy ended the connection before it answered".to_owned()),
        ),
        (
            "",
            Err("the proxy ended the connection before it answered".to_owned()),
        ),
    ] {
        check(HTTP, answer.as_bytes(), &want);
    }
}

#[test]
fn socks_answers() {
    let closed = || Err("the proxy ended the connection before it answered".to_owned());
    for (answer, want) in [
        (
            &b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"[..],
            Ok(&b""[..]),
        ),
        (
            b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50early",
            Ok(b"early"),
        ),
        (
            b"\x05\x02\x01\x00\x05\x00\x00\x03\x02ab\x00\x50\x16",
            Ok(b"\x16"),
        ),
        (b"\x05\x00\x05\x00\x00\x04................\x00\x50", Ok(b"")),
        (b"\x05\x00\x05\x00\x00\x03\x00\x00\x50!", Ok(b"!")),
    ] {
        check(SOCKS, answer, &want.map(<[u8]>::to_vec));
    }
    for (answer, want) in [
        (
            &b"\x05\xff"[..],
            Err("the proxy accepts no way to log in that is at hand".to_owned()),
        ),
        (
            b"\x05\x01",
            Err("the proxy chose a way to log in that was not offered".to_owned()),
        ),
        (
            b"\x05\x02\x01\x01",
            Err("the proxy does not accept the user name and password".to_owned()),
        ),
        (
            b"\x05\x02\x05\x00",
            Err("the proxy's answer is no SOCKS5".to_owned()),
        ),
        (
            b"HTTP/1.1 400",
            Err("the proxy's answer is no SOCKS5".to_owned()),
        ),
        (
            b"\x05\x00\x04",
            Err("the proxy's answer is no SOCKS5".to_owned()),
        ),
        (
            b"\x05\x00\x05\x00\x00\x02",
            Err("the proxy's address is of a type that is not known".to_owned()),
        ),
        (b"\x05\x00\x05\x00\x00\x03\xff", closed()),
        (b"\x05", closed()),
        (b"", closed()),
    ] {
        check(SOCKS, answer, &want);
    }
    for (code, text) in [
        (1, "general failure"),
        (2, "not allowed by its rules"),
        (3, "network unreachable"),
        (4, "host unreachable"),
        (5, "connection refused"),
        (6, "it took too long"),
        (7, "command not supported"),
        (8, "address type not supported"),
        (9, "code 9"),
        (255, "code 255"),
    ] {
        let want = Err(format!("the proxy did not connect: {text}"));
        check(SOCKS, &[5, 0, 5, code], &want);
        check(SOCKS, &[5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0], &want);
    }
}

/// The same end, however it comes.
fn check(url: &str, answer: &[u8], want: &Result<Vec<u8>, String>) {
    let shown = String::from_utf8_lossy(answer);
    assert_eq!(converse(url, answer, |_| usize::MAX >> 1), *want, "{shown}");
    assert_eq!(converse(url, answer, |_| 1), *want, "{shown}");
    for cut in 0..answer.len().min(300) {
        let pieces = |at| if at < cut { cut - at } else { 10_000 };
        assert_eq!(converse(url, answer, pieces), *want, "{shown} cut at {cut}");
    }
}

#[test]
fn what_is_sent() {
    let mut tunnel = proxy(HTTP);
    assert_eq!(
        String::from_utf8(drain(&mut tunnel, 7)).unwrap(),
        "CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n\
         Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\r\n"
    );
    // Percent-encoding is not a part of the password.
    let mut tunnel = proxy("http://me:p%40ss%3a@proxy");
    let sent = String::from_utf8(drain(&mut tunnel, 1)).unwrap();
    assert!(sent.contains("Basic bWU6cEBzczo=\r\n"), "{sent}");
    let mut tunnel = proxy("https://proxy");
    assert!(
        !String::from_utf8(drain(&mut tunnel, 1))
            .unwrap()
            .contains("Proxy-")
    );

    let mut tunnel = proxy("socks5h://proxy");
    assert_eq!(drain(&mut tunnel, 1), b"\x05\x01\x00");
    tunnel.handle_input(b"\x05\x00").unwrap();
    assert_eq!(
        drain(&mut tunnel, 1),
        b"\x05\x01\x00\x03\x0bapi.example\x19\x2b"
    );

    for (host, request) in [
        ("10.0.0.1", &b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"[..]),
        (
            "::1",
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        ),
    ] {
        let mut socks = to("socks5://proxy", host, 80).unwrap();
        socks.handle_input(b"\x05\x00").unwrap();
        socks.transmitted(3);
        assert_eq!(socks.poll_transmit().unwrap(), request);
    }
}

#[test]
fn an_answer_that_comes_early_does_not_cut_off_the_question() {
    let mut socks = to("socks5://me:pw@proxy", "h", 1).unwrap();
    socks.transmitted(1);
    socks.handle_input(b"\x05\x02").unwrap();
    assert_eq!(
        socks.poll_transmit().unwrap(),
        b"\x02\x00\x02\x01\x02me\x02pw"
    );
}

#[test]
fn errors_are_typed_and_hide_credentials() {
    let source = |error: &Error| std::error::Error::source(error).map(ToString::to_string);
    for (answer, kind) in [
        (
            &b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n"[..],
            ErrorKind::Credentials,
        ),
        (
            b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n",
            ErrorKind::Transport,
        ),
        (b"nonsense", ErrorKind::Peer),
    ] {
        let mut tunnel = proxy(HTTP);
        let error = tunnel.handle_input(answer).unwrap_err();
        assert_eq!(error.kind(), kind);
        // A proxy's 401 is not the API server's.
        assert!(!error.is_unauthorized() && error.code().is_none());
        assert_eq!(source(&error).is_some(), kind != ErrorKind::Peer);
        let text = format!("{error} {error:?} {tunnel:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("bWU6"),
            "{text}"
        );
    }
    let mut tunnel = proxy(SOCKS);
    let error = tunnel.handle_input(b"\x05\x02\x01\x07").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    let refused = std::error::Error::source(&error).unwrap();
    assert_eq!(refused.downcast_ref(), Some(&Socks5Refused::Login));
    let mut tunnel = proxy(SOCKS);
    let error = tunnel.handle_input(b"\x05\x00\x05\x02").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    let refused = std::error::Error::source(&error).unwrap();
    assert_eq!(
        refused.downcast_ref(),
        Some(&Socks5Refused::Connect(Socks5Reply::NotAllowed))
    );
    assert!(refused.downcast_ref::<ConnectRefused>().is_none());
}

#[test]
fn the_head_is_bounded() {
    let head = |len: usize| {
        let start = "HTTP/1.1 200 OK\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4)).into_bytes()
    };
    let limit = 64 << 10;
    let whole = |_| usize::MAX >> 1;
    assert_eq!(converse(HTTP, &head(limit), whole), Ok(Vec::new()));
    assert_eq!(converse(HTTP, &head(limit), |_| 1), Ok(Vec::new()));
    let early = [head(limit), vec![7; 100_000]].concat();
    assert_eq!(converse(HTTP, &early, whole), Ok(vec![7; 100_000]));
    for pieces in [1, 1000, usize::MAX >> 1] {
        for bad in [
            head(limit + 1),
            vec![b'\n'; 0],
            b"HTTP/1.1 100 x\n\n".repeat(9000),
        ] {
            let error = converse(HTTP, &bad, |_| pieces).unwrap_err();
            let want = if bad.is_empty() {
                "before it answered"
            } else {
                "longer than 64 KiB"
            };
            assert!(error.contains(want), "{error}");
        }
    }
    let mut connect = to("http://proxy", "h", 1).unwrap();
    connect.handle_input(b"HTTP/1.1 100 ").unwrap();
    loop {
        assert!(connect.buffered() < 100_000);
        if let Err(error) = connect.handle_input(&[b'x'; 1000]) {
            assert_eq!(error.kind(), ErrorKind::Limit);
            break;
        }
    }
    assert_eq!(connect.buffered(), 0);
}

#[test]
fn no_bad_host_reaches_the_wire() {
    for host in [
        "",
        "a b",
        "a\r\nX: y",
        "a/b",
        "u@h",
        "[::1]",
        "h?",
        "ü",
        &"x".repeat(256),
    ] {
        let http = to("http://proxy", host, 1).map(drop);
        let socks = to("socks5://proxy", host, 1).map(drop);
        for result in [http, socks] {
            match result {
                Ok(()) => assert_eq!(host.len(), 256, "{host}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Usage),
            }
        }
    }
    let long = "x".repeat(256);
    for (username, password) in [(long.as_str(), ""), ("x", &long), ("", "x")] {
        let url = format!("socks5://{username}:{password}@proxy");
        let error = to(&url, "h", 1).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

/// Bytes that look like an answer more often than not.
fn noise(seed: &mut Seed) -> Vec<u8> {
    let parts: &[&[u8]] = &[
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 407 x",
        b"HTTP/1.",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"Content-Length: 5",
        b"content-length: 99999999999999999999",
        b"Transfer-Encoding: x",
        b"HTTP/1.1 100 \r\n\r\n",
        b"\x05\x00",
        b"\x05\x02",
        b"\x01\x00",
        b"\x05\x00\x00\x01",
        b"\x05\x00\x00\x03\xff",
        b"\x05\x00\x00\x04",
        b"aaaaaa",
        b"\x00",
    ];
    let mut bytes = Vec::new();
    for _ in 0..seed.below(8) {
        let at = usize::try_from(seed.below(parts.len() as u64)).unwrap();
        bytes.extend_from_slice(parts[at]);
        if seed.below(8) == 0 {
            bytes.push(u8::try_from(seed.below(256)).unwrap());
        }
    }
    bytes
}

#[test]
fn nothing_makes_it_panic_or_depend_on_the_pieces() {
    let mut seed = Seed::new(2026);
    for round in 0..10_000 {
        let url = if round % 2 == 0 { HTTP } else { SOCKS };
        let answer = noise(&mut seed);
        let whole = converse(url, &answer, |_| usize::MAX >> 1);
        assert_eq!(converse(url, &answer, |_| 1), whole, "{answer:?}");
        let key = seed.next_u64();
        let random = |at: usize| usize::try_from(Seed::new(key ^ at as u64).below(9)).unwrap();
        assert_eq!(converse(url, &answer, random), whole, "{answer:?}");

        // Any order of calls.
        let mut tunnel = proxy(url);
        let mut failed = None;
        for _ in 0..20 {
            match seed.below(6) {
                0 => drop(tunnel.poll_transmit().map(<[u8]>::len)),
                1 => tunnel.transmitted(usize::try_from(seed.below(50)).unwrap()),
                2 => drop(tunnel.take_leftover()),
                3 if seed.below(5) == 0 => {
                    failed = tunnel.handle_end().err().map(|error| error.to_string());
                }
                _ => {
                    let result = tunnel.handle_input(&noise(&mut seed));
                    let error = result.err().map(|error| error.to_string());
                    assert!(failed.is_none() || error == failed);
                    failed = error;
                }
            }
            assert!(!(tunnel.is_done() && tunnel.wants_input()));
            assert_eq!(failed.is_none(), tunnel.is_done() || tunnel.wants_input());
        }
    }
}
