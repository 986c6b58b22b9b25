use std::io::Write as _;
use std::time::Instant;

use serde_json::json;

use super::client::{Client, LIMIT};
use super::websocket::{Frame, Socket};
use super::{PODS, with_pod};
use crate::server::Server;

fn servers() -> (Server, Client) {
    let script = "echo hello from the pod > /www/index.html; httpd -f -p 8080 -h /www & nc -lk -p 7000 -e cat & nc -lk -p 7001 -e echo bye & touch /tmp/up; sleep 100";
    let (server, client) = with_pod(json!({"command": ["sh", "-c", script]}));
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut socket = Socket::connect(
            &client,
            &format!("{PODS}/box/portforward?ports=7001"),
            Some("v4.channel.k8s.io"),
        )
        .unwrap();
        socket.message();
        socket.message();
        if socket.message() == (0, b"bye\n".to_vec()) {
            return (server, client);
        }
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn ports_are_forwarded() {
    let (_server, client) = servers();
    let open = |ports: &str, protocol: &str| {
        Socket::connect(
            &client,
            &format!("{PODS}/box/portforward?{ports}"),
            Some(protocol),
        )
    };
    let v4 = "v4.channel.k8s.io";
    let mut socket = open("ports=8080", v4).unwrap();
    assert_eq!(
        (socket.message(), socket.message()),
        ((0, vec![0x90, 0x1f]), (1, vec![0x90, 0x1f]))
    );
    socket.send(
        0,
        b"GET /index.html HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n",
    );
    let answer = String::from_utf8(socket.finish()[0].clone()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n")
            && answer.ends_with("\r\n\r\nhello from the pod\n"),
        "{answer}"
    );
    let mut socket = open("ports=7000&ports=81", v4).unwrap();
    for (channel, port) in [(0, 7000_u16), (1, 7000), (2, 81), (3, 81)] {
        assert_eq!(socket.message(), (channel, port.to_le_bytes().to_vec()));
    }
    let (channel, text) = socket.message();
    let text = String::from_utf8(text).unwrap();
    assert!(
        channel == 3
            && text.starts_with("error forwarding port 81 to pod ")
            && text.contains("connect: connection refused"),
        "{text}"
    );
    for word in ["one\n", "two\n"] {
        socket.send(0, word.as_bytes());
        socket.expect(0, word.as_bytes());
    }
    socket.send_frame(0x88, &[3, 0xe8]);
    assert!(matches!(socket.frame(), Frame::Close(_)));
    let mut refused = open("ports=81", v4).unwrap();
    assert_eq!(refused.finish()[0], 81_u16.to_le_bytes());
    assert_eq!(
        open("", v4).unwrap_err(),
        (400, "query parameter \"port\" is required".into())
    );
    assert_eq!(
        open("ports=0", v4).unwrap_err(),
        (400, "port \"0\" must be > 0".into())
    );
    assert!(open("ports=70000", v4).unwrap_err().1.contains(
        "cannot convert to []int32: strconv.ParseUint: parsing \\\"70000\\\": value out of range"
    ));
    assert_eq!(
        open("ports=7000", "v5.channel.k8s.io").unwrap_err(),
        (403, String::new())
    );
    assert_eq!(
        open("ports=7000", "v5.channel.k8s.io, v4.channel.k8s.io")
            .unwrap()
            .protocol,
        v4
    );
}

/// `SYN_STREAM` with stored header blocks.
fn syn(first: bool, stream: u32, kind: &str, port: &str, request: &str) -> Vec<u8> {
    let mut block = 3_u32.to_be_bytes().to_vec();
    for text in ["port", port, "requestid", request, "streamtype", kind] {
        block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        block.extend(text.bytes());
    }
    let length = u16::try_from(block.len()).unwrap();
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend([0; 6]);
    if first {
        payload.extend([0x78, 0x01]);
    }
    payload.push(0);
    payload.extend(length.to_le_bytes());
    payload.extend((!length).to_le_bytes());
    payload.extend(block);
    payload.extend([0, 0, 0, 0xff, 0xff]);
    let mut frame = vec![0x80, 3, 0, 1, u8::from(kind == "error")];
    frame.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    frame.extend(payload);
    frame
}

fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.push(u8::from(last));
    frame.extend(&u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..]);
    frame.extend(bytes);
    frame
}

#[test]
fn the_tunnel_forwards_many_connections() {
    let (_server, client) = servers();
    let offer = Some("v4.channel.k8s.io, SPDY/3.1+portforward.k8s.io");
    let mut socket = Socket::connect(&client, &format!("{PODS}/box/portforward"), offer).unwrap();
    assert_eq!(socket.protocol, "SPDY/3.1+portforward.k8s.io");
    let mut bytes = Vec::new();
    let mut read = |socket: &mut Socket| -> Vec<u8> {
        loop {
            if bytes.len() >= 8 {
                let length = 8
                    + (usize::from(bytes[5]) << 16
                        | usize::from(bytes[6]) << 8
                        | usize::from(bytes[7]));
                if bytes.len() >= length {
                    return bytes.drain(..length).collect();
                }
            }
            match socket.frame() {
                Frame::Data(more) => bytes.extend(more),
                other => panic!("{other:?}"),
            }
        }
    };
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    socket.send_frame(0x82, &ping);
    assert_eq!(read(&mut socket), ping);
    socket.send_frame(0x82, &syn(true, 1, "error", "7000", "0"));
    socket.send_frame(0x82, &syn(false, 3, "data", "7000", "0"));
    for stream in [1, 3] {
        let reply = read(&mut socket);
        assert_eq!(
            (&reply[..4], reply[11]),
            ([0x80, 3, 0, 2].as_slice(), stream)
        );
    }
    // However the stream is sliced.
    for byte in data(3, b"hello", false) {
        socket.send_frame(0x82, &[byte]);
    }
    assert_eq!(read(&mut socket), data(3, b"hello", false));
    socket.send_frame(0x82, &syn(false, 5, "error", "81", "1"));
    socket.send_frame(0x82, &syn(false, 7, "data", "81", "1"));
    read(&mut socket);
    read(&mut socket);
    let refused = read(&mut socket);
    assert!(
        refused[3] == 5 && String::from_utf8_lossy(&refused[8..]).contains("connection refused")
    );
    assert_eq!(
        read(&mut socket),
        [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 5]
    );
    assert_eq!(
        read(&mut socket),
        [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5]
    );
    // A half-close goes through, and comes back.
    socket.send_frame(0x82, &data(3, b"end", true));
    assert_eq!(read(&mut socket), data(3, b"end", false));
    assert_eq!(read(&mut socket), data(3, b"", true));
    assert_eq!(read(&mut socket), data(1, b"", true));
    socket.stream.flush().unwrap();
}
