//! Makes inputs from recorded transcripts, and some by hand.
//!
//! `cargo run -p kubewire-fuzz --bin seed -- TRANSCRIPTS CORPUS`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Longer inputs cost more than they find.
const MAX: usize = 4 << 10;

/// Inputs by target and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(transcripts), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seed TRANSCRIPTS CORPUS".into());
    };
    let mut seeds = Seeds::new();
    let mut files: Vec<_> = fs::read_dir(transcripts)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    for path in files {
        let transcript: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if transcript["frames"].is_array() {
            session(&mut seeds, &name, &transcript);
        } else {
            answer(&mut seeds, &name, &transcript);
        }
    }
    by_hand(&mut seeds);
    for ((target, name), input) in seeds {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        write(&folder, &name, &input)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, input: &[u8]) -> std::io::Result<()> {
    fs::write(folder.join(name), input)
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// `[n, decisions, body]`.
fn with_body(decisions: &[u8], body: &[u8]) -> Vec<u8> {
    let decisions = &decisions[..decisions.len().min(255)];
    [&[byte(decisions.len())], decisions, body].concat()
}

fn body(transcript: &Value) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::new();
    let mut lengths = vec![0, 0];
    for chunk in transcript["response"]["chunks"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let bytes = match (chunk["text"].as_str(), chunk["base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (_, Some(text)) => STANDARD.decode(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        lengths.push(byte(bytes.len()));
        body.extend(bytes);
    }
    lengths.truncate(40);
    (body, lengths)
}

fn answer(seeds: &mut Seeds, name: &str, transcript: &Value) {
    let (body, lengths) = body(transcript);
    let target = transcript["request"]["target"].as_str().unwrap_or_default();
    let status = transcript["response"]["status"].as_u64().unwrap_or(200);
    let short = body.len() <= MAX;
    let mut add = |target, input| {
        seeds.insert((target, name.to_owned()), input);
    };
    if short && target.contains("/log") {
        add("lines", with_body(&lengths, &body));
    }
    let is_watch = target.contains("watch=");
    if is_watch {
        // Whole events only.
        let fits = body.len().min(MAX);
        let end = body[..fits].iter().rposition(|&byte| byte == b'\n');
        let body = &body[..end.map_or(0, |end| end + 1)];
        add("watch", with_body(&lengths, body));
    }
    let is_list = body.starts_with(b"{") && String::from_utf8_lossy(&body).contains("List\"");
    if short && is_list {
        add("list_items", with_body(&lengths, &body));
    }
    let decoder = if is_watch {
        6
    } else if target.contains("/log") {
        7
    } else if is_list {
        3
    } else {
        1
    };
    let code = u16::try_from(status).unwrap_or(200).saturating_sub(100);
    let mut input = vec![decoder, 0, 0, 3];
    input.extend(code.to_be_bytes());
    input.push(0);
    for piece in body[..body.len().min(MAX)].chunks(255) {
        input.extend([1, byte(piece.len())]);
        input.extend(piece);
        input.push(4);
    }
    input.extend([7, u8::from(!short), 4]);
    add("exchange", input);
}

fn payload(frame: &Value) -> Vec<u8> {
    let hex = |text: &str| -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let text = |pair: &[u8]| String::from_utf8_lossy(pair).into_owned();
        digits
            .filter_map(|pair| u8::from_str_radix(&text(pair), 16).ok())
            .collect()
    };
    if let Some(text) = frame["payload_hex"].as_str() {
        return hex(text);
    }
    let mut payload = hex(frame["payload_head_hex"].as_str().unwrap_or_default());
    let len = frame["payload_len"].as_u64().unwrap_or_default();
    payload.resize(usize::try_from(len).unwrap_or_default().min(60_000), b'x');
    payload
}

fn session(seeds: &mut Seeds, name: &str, transcript: &Value) {
    let target = transcript["handshake"]["request"]["target"]
        .as_str()
        .unwrap_or_default();
    let forward = transcript["kind"] == "portforward";
    let mut input = if forward {
        let ports = target.matches("ports=").count().max(1);
        let mut input = vec![byte(ports - 1)];
        input.extend((0..ports).map(byte));
        input
    } else {
        let flag = |name: &str, bit: u8| if target.contains(name) { 0 } else { bit };
        let streams = flag("stdin=", 1) | flag("stdout=", 2) | flag("stderr=", 4);
        let tty = 8 - flag("tty=", 8);
        let v4 = if name.contains("v4") { 16 } else { 0 };
        vec![u8::from(transcript["kind"] == "attach"), streams | tty | v4]
    };
    input.extend([0, 0, 0, 3, 0]);
    let mut announced = [false; 256];
    for frame in transcript["frames"].as_array().into_iter().flatten() {
        let payload = payload(frame);
        let channel = payload.first().copied().unwrap_or_default();
        let is_binary = frame["opcode"] == "binary";
        if is_binary && payload.len() > 1 {
            let message = (("channel", name), payload.clone());
            if message.1.len() <= 300 {
                let key = (message.0.0, format!("{}-{}", message.0.1, input.len()));
                seeds.insert(key, with_body(&[0, 80, 0, 24, 0, 1], &message.1));
            }
        }
        if frame["from"] == "client" {
            let [high, low] = u16::try_from(payload.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            match channel {
                255 => input.extend([10, payload.get(1).copied().unwrap_or_default()]),
                4 => input.extend([11, 80, 24]),
                _ => input.extend([5, channel / if forward { 2 } else { 1 }, high, low]),
            }
            input.push(9);
            continue;
        }
        let first = match frame["opcode"].as_str().unwrap_or_default() {
            "binary" => 0x82,
            "text" => 0x81,
            "close" => 0x88,
            "ping" => 0x89,
            "pong" => 0x8a,
            _ => 0x80,
        };
        let seen = std::mem::replace(&mut announced[usize::from(channel)], true);
        if forward && is_binary && !seen && payload.len() == 3 {
            input.extend([15, channel, 3]);
        } else if payload.len() < 256 {
            input.extend([3, first, byte(payload.len())]);
            input.extend(&payload);
        } else {
            let len = u16::try_from(payload.len() - 1).unwrap_or(u16::MAX);
            input.extend([1, channel]);
            input.extend(len.to_be_bytes());
        }
        input.extend([13, 7, if forward { channel / 2 } else { channel }, 9]);
        if input.len() > MAX {
            break;
        }
    }
    let target = if forward {
        "portforward"
    } else {
        "session_ops"
    };
    seeds.insert((target, name.to_owned()), input);
}

const KUBECONFIGS: &[&str] = &[
    "",
    "{}",
    "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://10.0.0.1:6443\n    certificate-authority-data: YWJj\n    tls-server-name: t\n    proxy-url: socks5://p:1080\n    disable-compression: true\n    extensions:\n    - name: client.authentication.k8s.io/exec\n      extension: {a: [1, 2.5, null, 'x']}\nusers:\n- name: u\n  user:\n    token: abc\n    tokenFile: t\n    as: me\n    as-uid: '1'\n    as-groups: [g, h]\n    as-user-extra: {k: [v]}\ncontexts:\n- name: m\n  context: {cluster: c, user: u, namespace: n}\ncurrent-context: m\npreferences: {colors: true}\nother: 7\n",
    "users:\n- name: e\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: ./login\n      args: [a, b]\n      env: [{name: A, value: B}]\n      installHint: install it\n      provideClusterInfo: true\n      interactiveMode: IfAvailable\ncontexts: [{name: m, context: {cluster: c, user: e}}]\nclusters: [{name: c, cluster: {server: 'https://h'}}]\ncurrent-context: m\n",
    "users:\n- name: u\n  user: {username: me, password: secret}\n- name: p\n  user:\n    auth-provider: {name: oidc, config: {id-token: x, refresh-token: y}}\n- name: c\n  user: {client-certificate-data: YWJj, client-key-data: ZGVm}\nclusters: [{name: c, cluster: {server: h, insecure-skip-tls-verify: true}}]\ncontexts: [{name: m, context: {cluster: c, user: u}}]\ncurrent-context: m\n",
    "a: &x {token: t}\nusers: [{name: u, user: {<<: *x, password: !!str 012}}]\n---\nusers: [{name: v, user: *x}]\n",
    "clusters: |\n  text\n",
    "users: [{name: u, user: {token: 0123}}, {name: u}]",
    "# only a comment\n...\n--- !!map\nkind: Config\n",
    "{\"kind\":\"Config\",\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"a\\u00e9\\n\"}}],\"current-context\":true}",
];

const NAMES: &[&[&str]] = &[
    &[
        "default",
        "web-0",
        "app=web,tier in (a,b)",
        "metadata.name=x",
        "token+/=",
        "https://h/a",
    ],
    &["", "..", "%2e", "", "", "h:80"],
    &["a/b", ".", "a&b=c", "d#e", "100%", "http://[::1]:80/x/"],
    &[
        "n s",
        "system:node",
        "ü",
        "\u{0}",
        "\u{ffff}",
        "https://u:p@h",
    ],
];

/// Operations of tunnels, see `spdy`.
const TUNNELS: &[(&str, &[u8])] = &[
    (
        "both-ways",
        &[
            0, 0, 2, 0, 30, 8, 12, 200, 0, 16, 4, 0, 3, 0, 8, 13, 0, 3, 0, 16, 4, 0, 4, 0, 6, 0, 8,
        ],
    ),
    (
        "refused",
        &[
            0, 0, 0, 1, 8, 14, 0, 3, b'n', b'o', b'!', 13, 0, 1, 0, 17, 5, 4, 0, 10, 12, 9, 1, 16,
            4, 1, 8,
        ],
    ),
    (
        "reset",
        &[
            0, 0, 0, 0, 2, 0, 9, 13, 3, 3, 0, 5, 17, 1, 4, 0, 2, 1, 50, 8, 12, 4, 1, 16, 4, 1,
        ],
    ),
    (
        "control",
        &[
            0, 0, 13, 2, 1, 0, 13, 2, 3, 0, 13, 5, 0, 0, 13, 6, 2, 0, 13, 9, 3, 0, 13, 8, 3, 1, 1,
            b'x', 17, 3, 8, 13, 7, 3, 0, 16, 10, 0, 0, 8,
        ],
    ),
    (
        "stalled",
        &[
            0, 0, 0, 0, 8, 11, 32, 0, 0, 16, 4, 1, 9, 2, 0, 4, 0, 9, 2, 0, 10, 4, 1, 12, 9, 1, 16,
            4, 1,
        ],
    ),
    (
        "turns",
        &[
            0, 0, 0, 0, 0, 0, 8, 1, 0, 40, 0, 1, 1, 40, 0, 1, 2, 40, 0, 7, 0, 9, 8, 10, 3, 1, 5, 1,
            6, 2, 8, 19, 0, 8,
        ],
    ),
    (
        "room",
        &[
            0, 0, 0, 0, 0, 0, 8, 2, 0, 200, 2, 1, 200, 2, 2, 200, 13, 3, 3, 0, 1, 13, 3, 7, 0, 1,
            16, 10, 8,
        ],
    ),
    (
        "garbage",
        &[
            0, 0, 8, 15, 9, 0x80, 3, 0, 9, 0, 0, 0, 2, 1, 17, 2, 15, 4, 0x80, 2, 0, 6, 16, 8,
        ],
    ),
    (
        "closed",
        &[
            0, 0, 0, 0, 8, 12, 5, 0, 16, 18, 0, 1, b'p', 18, 2, 2, 3, 0xe8, 8, 4, 0,
        ],
    ),
];

fn by_hand(seeds: &mut Seeds) {
    for (index, text) in KUBECONFIGS.iter().enumerate() {
        let name = format!("hand-{index}");
        let input = with_body(&[0, byte(40 + index), b'"'], text.as_bytes());
        seeds.insert(("kubeconfig", name), input);
    }
    for (index, texts) in NAMES.iter().enumerate() {
        for which in 0..16 {
            let mut input = vec![which, which / 3];
            for text in *texts {
                input.push(byte(text.len()));
                input.extend(text.bytes());
            }
            seeds.insert(
                ("names_and_queries", format!("hand-{index}-{which}")),
                input,
            );
        }
    }
    let lists = [
        r#"{"kind":"PodList","\u0069tems":[{"metadata":{"name":"a"}}]}"#,
        r#" { "items" : [ 1 , "]" , {"a":[{}]} ] , "kind" : "X" , "metadata" : {"continue":"t"} } "#,
        r#"{"items":null,"metadata":null}"#,
        r#"{"items":[{"metadata":{"name":5}},{"metadata":{}}],"items":[]}"#,
    ];
    for (index, list) in lists.iter().enumerate() {
        let input = with_body(&[0, 0, 3, 7, 1], list.as_bytes());
        seeds.insert(("list_items", format!("hand-{index}")), input);
    }
    // A window of one byte that is just full, then one more byte, read in turns.
    let full = [
        0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 7, 1, 0, 1, 1, 0, 1, 1, 7, 1, 7, 1,
    ]
    .to_vec();
    seeds.insert(("session_ops", "hand-full-window".to_owned()), full.clone());
    seeds.insert(("portforward", "hand-full-window".to_owned()), full);
    for (name, ops) in TUNNELS {
        for settings in [[0; 5], [9, 1, 1, 1, 2], [0x26, 2, 2, 2, 1]] {
            let name = format!("hand-{name}-{}", settings[0]);
            let input = [&settings[..], ops].concat();
            seeds.insert(("spdy", name), input);
        }
    }
    let watch = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\"}}}\nx\n{\"type\":\"NEW\",\"object\":7}\n{\"type\":\"ERROR\",\"object\":{\"status\":\"Failure\",\"code\":410,\"reason\":\"Expired\"}}";
    let plain = [
        watch,
        r#"{"kind":"PodList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}"#,
        "2024-01-01T00:00:00.5Z one\nanother one\n\nthe last one",
    ];
    for (index, text) in plain.iter().enumerate() {
        for kind in 0..4 {
            for damage in 0..4 {
                let limit = byte(index) + kind;
                let input = [
                    0x20 * kind,
                    kind,
                    limit,
                    damage,
                    0,
                    20 + kind * 9,
                    kind,
                    9,
                    0xc0,
                ];
                let rest = [30, 0x3e, 9, 2, 5, 1, 0, 40];
                let input = with_body(&[&input[..], &rest].concat(), text.as_bytes());
                seeds.insert(("gzip", format!("hand-{index}-{kind}-{damage}")), input);
            }
        }
        // One stored block, to be changed into anything.
        let len = u16::try_from(text.len()).unwrap_or_default();
        let header = [31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 1];
        let lengths = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
        let input = [&header[..], &lengths, text.as_bytes(), &[0; 8]].concat();
        seeds.insert(
            ("gzip", format!("hand-stored-{index}")),
            with_body(&[2, 1, 0, 0, 0, 0, 9], &input),
        );
    }
    let input = with_body(&[0, 0, 9, 30], watch.as_bytes());
    seeds.insert(("watch", "hand".to_owned()), input);
}
