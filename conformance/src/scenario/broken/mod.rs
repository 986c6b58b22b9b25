//! Answers that break the rules of HTTP, or break off: which error they become, for every form of call. Whatever came, the
//! client works for the next call.

mod bench;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::ErrorKind;
use kubewire::policy::{CallTimeouts, Timeout};
use kubewire_driver::Drive;

use self::bench::{Bench, Fate, Form, PATIENCE, chunked, gzip, sized, with_head, zipped};
use super::pods::map;
use super::{Calls, Env};
use crate::peers::{Then, Wire};

driven! { Faults;
    what_is_no_http_is_told_as_such;
    heads_that_are_too_large_are_refused;
    pages_of_somebody_else_are_told_as_such;
    damaged_bodies_are_told_as_such;
    an_answer_cut_after_any_byte_is_not_taken_for_whole;
    lines_that_are_too_long_meet_a_limit;
    interim_answers_are_passed_over;
    what_follows_an_answer_is_not_the_next_one;
    an_answer_may_come_before_the_request_is_taken;
    silence_ends_with_a_deadline;
}

async fn what_is_no_http_is_told_as_such<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    let heads: [(&str, &[u8]); 8] = [
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("a TLS alert", &[0x15, 3, 1, 0, 2, 2, 0x28]),
        (
            "HTTP/2 settings",
            &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100],
        ),
        (
            "a page without a head",
            b"<html><body>hunter2</body></html>\r\n\r\n",
        ),
        ("no status", b"HTTP/1.1 hunter2\r\n\r\n"),
        (
            "no header",
            b"HTTP/1.1 200 OK\r\nhunter2 says hello\r\n\r\n",
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        ),
        (
            "an upgrade",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: hunter2\r\n\r\n",
        ),
    ];
    for (what, bytes) in heads {
        for form in Form::ALL {
            let fate = Fate::Fails(ErrorKind::Peer, "HTTP");
            bench
                .meets(form, what, Wire::new(bytes).then(Then::Close), fate)
                .await;
        }
    }
    // Nothing at all, or not enough, is no such thing.
    let whole = Form::Get.answer().bytes;
    for len in [0, 1, 5, 12, 20, 40] {
        for form in Form::ALL {
            let wire = Wire::new(&whole[..len]).then(Then::Close);
            let fate = Fate::Fails(ErrorKind::Transport, "before an answer came");
            bench.meets(form, "a part of a head", wire, fate).await;
        }
    }
}

async fn heads_that_are_too_large_are_refused<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
    let many = (0..500).fold(String::new(), |mut all, n| {
        let _ = write!(all, "X-{n}: x\r\n");
        all
    });
    for fields in [long, many] {
        for form in Form::ALL {
            let wire = sized(form, &fields, form.body().as_bytes());
            let fate = Fate::Fails(ErrorKind::Peer, "too large");
            bench
                .meets(form, "a large head", wire.then(Then::Close), fate)
                .await;
        }
    }
}

async fn pages_of_somebody_else_are_told_as_such<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    let pages = [
        "<html>\n<title>Sign in</title>\n</html>\n",
        "<html><title>Sign in</title></html>",
    ];
    let answer = |page: &str, status: &str| {
        let length = page.len();
        Wire::new(format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
        ))
    };
    for (form, page) in Form::ALL
        .into_iter()
        .flat_map(|form| pages.map(|page| (form, page)))
    {
        if form.is_json() {
            let fate = Fate::Fails(ErrorKind::Peer, "its content type is text/html");
            let wire = answer(page, "200 OK");
            bench.meets(form, "a page", wire, fate).await;
        }
        let fate = Fate::Fails(ErrorKind::Api, "502: <html>");
        let wire = answer(page, "502 Bad Gateway");
        bench.meets(form, "a page", wire, fate).await;
    }
}

async fn damaged_bodies_are_told_as_such<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    for form in Form::ALL {
        let body = form.body();
        let (body, half) = (body.as_bytes(), body.len() / 2);
        let peer = |words| Fate::Fails(ErrorKind::Peer, words);
        // A watch may break off at any time, and its caller goes on from where it was.
        let broken = |fate| {
            if form == Form::Watch {
                Fate::Ends
            } else {
                fate
            }
        };
        let cut = broken(Fate::Fails(ErrorKind::Truncated, ""));

        let whole = zipped(body);
        bench
            .meets(form, "gzip", gzip(form, &whole), Fate::Whole)
            .await;
        for len in [
            1,
            9,
            10,
            15,
            whole.len() / 2,
            whole.len() - 9,
            whole.len() - 1,
        ] {
            bench
                .meets(form, "half of a gzip", gzip(form, &whole[..len]), cut)
                .await;
        }
        let with = |at: usize, byte: u8| {
            let mut damaged = whole.clone();
            damaged[at] ^= byte;
            gzip(form, &damaged)
        };
        let last = whole.len() - 1;
        bench.meets(form, "no gzip", with(0, 1), peer("gzip")).await;
        bench
            .meets(form, "gzip of no kind", with(10, 6), peer(""))
            .await;
        bench
            .meets(form, "damaged gzip", with(whole.len() / 2, 0x55), peer(""))
            .await;
        bench
            .meets(
                form,
                "a wrong checksum",
                with(last - 5, 1),
                peer("checksum"),
            )
            .await;
        bench
            .meets(form, "a wrong length", with(last, 1), peer("checksum"))
            .await;
        let other = sized(form, "Content-Encoding: br\r\n", body);
        bench.meets(form, "another coding", other, peer("")).await;

        let long = with_head(form, "Content-Length: 9999\r\n", body).then(Then::Close);
        bench.meets(form, "a length too long", long, cut).await;
        // What is left over is no answer, so the connection is good for nothing more.
        let short = with_head(form, &format!("Content-Length: {half}\r\n"), body);
        let ended = match form {
            Form::Log => Fate::Ends,
            Form::Watch | Form::Get | Form::List | Form::Items => cut,
        };
        bench.meets(form, "a length too short", short, ended).await;

        let framed = broken(peer("framing"));
        let chunks = |start: &[u8], text: &[u8], end: &str| {
            chunked(form, &[start, text, end.as_bytes()].concat()).then(Then::Close)
        };
        let size = format!("{:x}\r\n", body.len());
        let size = size.as_bytes();
        let right = chunks(size, body, "\r\n0\r\n\r\n").then(Then::Next);
        bench.meets(form, "chunks", right, Fate::Whole).await;
        let no_size = chunks(b"hunter2\r\n", body, "\r\n0\r\n\r\n");
        bench
            .meets(form, "a chunk without a size", no_size, framed)
            .await;
        let huge = chunks(b"fffffffffffffffff\r\n", body, "");
        bench
            .meets(form, "a chunk of a great size", huge, framed)
            .await;
        let wrong = chunks(size, body, "hunter2\r\n0\r\n\r\n");
        bench
            .meets(form, "a chunk without an end", wrong, framed)
            .await;
        let last = chunks(size, body, "\r\n");
        bench.meets(form, "no last chunk", last, cut).await;
    }
}

async fn an_answer_cut_after_any_byte_is_not_taken_for_whole<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    for form in Form::ALL {
        let body = form.body();
        let body = body.as_bytes();
        let step = body.len() / 11;
        for len in (0..body.len()).step_by(step).chain([body.len() - 1]) {
            let cut = match form {
                Form::Watch => Fate::Ends,
                Form::Get | Form::List | Form::Items | Form::Log => {
                    Fate::Fails(ErrorKind::Truncated, "")
                }
            };
            let mut wire = sized(form, "", body).then(Then::Close);
            wire.bytes.truncate(wire.bytes.len() - body.len() + len);
            bench.meets(form, &format!("{len} bytes"), wire, cut).await;

            let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body[..len]].concat();
            let wire = chunked(form, &chunk).then(Then::Close);
            bench
                .meets(form, &format!("{len} bytes of a chunk"), wire, cut)
                .await;

            // The end of the connection is the only sign of the end here, and JSON the only one of being whole.
            let cut = match form {
                Form::Get if len == 0 => Fate::Fails(ErrorKind::Peer, "JSON"),
                Form::Log => Fate::Ends,
                Form::Get | Form::List | Form::Items | Form::Watch => cut,
            };
            let wire = with_head(form, "Connection: close\r\n", &body[..len]).then(Then::Close);
            bench
                .meets(form, &format!("{len} bytes without a length"), wire, cut)
                .await;
        }
    }
}

async fn lines_that_are_too_long_meet_a_limit<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    for form in [Form::List, Form::Items, Form::Watch, Form::Log] {
        let long = form.body().replace("hunter2", &"x".repeat(5 << 10));
        let wire = sized(form, "", long.as_bytes());
        let fate = Fate::Fails(ErrorKind::Limit, "Limits::max_");
        bench.meets(form, "a long line", wire, fate).await;
    }
}

async fn interim_answers_are_passed_over<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    for form in Form::ALL {
        let mut bytes = Vec::new();
        for interim in [
            "100 Continue\r\n",
            "102 Processing\r\n",
            "103 Early Hints\r\nLink: </>\r\n",
        ] {
            bytes.extend_from_slice(format!("HTTP/1.1 {interim}\r\n").as_bytes());
        }
        bytes.extend(form.answer().bytes);
        bench
            .meets(form, "interim answers", Wire::new(bytes), Fate::Whole)
            .await;
    }
}

async fn what_follows_an_answer_is_not_the_next_one<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    let forged = Form::Get
        .body()
        .replace(r#""name":"a""#, r#""name":"forged""#);
    let forged = sized(Form::Get, "", forged.as_bytes()).bytes;
    for _ in 0..20 {
        let mut wire = Form::Get.answer();
        wire.bytes.extend_from_slice(&forged);
        bench.tell(wire);
        for _ in 0..2 {
            let before = bench.peer.received().len();
            let got = bench.client.send(env.api::<ConfigMap>().get("a")).await;
            let name = got.expect("a map").metadata.name;
            assert_eq!(name.as_deref(), Some("a"));
            assert_eq!(bench.peer.received().len() - before, 1);
        }
    }
}

async fn an_answer_may_come_before_the_request_is_taken<R: Drive>(env: &Env<R>) {
    let bench = Bench::new(env);
    let refusal = "HTTP/1.1 413 Payload Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo much";
    let large = map("a", &"hunter2".repeat(1 << 20));
    for then in [Then::Next, Then::Silence] {
        bench.tell(Wire::new(refusal).hasty().then(then));
        let create = bench.client.send(env.api::<ConfigMap>().create(&large));
        let created = env.within(PATIENCE, create).await.expect("an answer");
        let error = created.expect_err("it is too large");
        assert_eq!(
            error.code().map(|code| code.as_u16()),
            Some(413),
            "{error:?}"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
        let (items, error) = bench.ask(&bench.client, Form::Get).await;
        assert!(items == 1 && error.is_none(), "{error:?}");
    }
}

async fn silence_ends_with_a_deadline<R: Drive>(env: &Env<R>) {
    let times = |head, idle| CallTimeouts {
        head,
        idle,
        ..CallTimeouts::default()
    };
    // Long enough for the request to get through, on a busy machine too.
    let short = Duration::from_secs(4).into();
    let quiet = |form: Form, len: usize, times, words| async move {
        let bench = Bench::new(env);
        let hasty = bench.client.with_timeouts(times);
        let wire = Wire::new(&form.answer().bytes[..len]).then(Then::Silence);
        let fate = Fate::Fails(ErrorKind::Timeout, words);
        let what = format!("{len} bytes");
        bench.meets_with(&hasty, form, &what, wire, fate).await;
    };
    let cases = Form::ALL.into_iter().flat_map(|form| {
        let body = form.body().len();
        let head = form.answer().bytes.len() - body;
        let in_head = [0, 17, head - 1].map(|len| {
            let times = times(short, Timeout::None);
            quiet(form, len, times, "the server's answer took too long")
        });
        let in_body = [head, head + body / 2, head + body - 1].map(|len| {
            let times = times(Timeout::None, short);
            quiet(form, len, times, "the server stopped sending")
        });
        in_head.into_iter().chain(in_body)
    });
    join_all(cases).await;
}
