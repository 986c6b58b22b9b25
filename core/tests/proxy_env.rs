//! Proxies from the environment, by the table of Go's `httpproxy`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsString;

use kubewire::config::{Config, ProxyUrl};
use kubewire::proxy::{Proxy, ProxySettings};
use kubewire::{Endpoint, ErrorKind};

fn settings<'a>(variables: &'a [(&'a str, &'a str)]) -> ProxySettings {
    ProxySettings::from_env(|name| {
        let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
        Some(OsString::from(value))
    })
}

/// The proxy's URL, `-` for none, or the error.
fn proxy(variables: &[(&str, &str)], server: &str) -> String {
    match settings(variables).proxy_for(&Endpoint::parse(server).unwrap()) {
        Ok(Some(proxy)) => proxy.to_string(),
        Ok(None) => "-".to_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            format!("error: {error}")
        }
    }
}

/// `proxyForURLTests`. Ports are filled in here, an unknown scheme is an error here and there, and
/// names of servers are in ASCII in a URI.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_table_of_go() {
    const HTTP: &str = "HTTP_PROXY";
    const HTTPS: &str = "HTTPS_PROXY";
    const NO: &str = "NO_PROXY";
    let plain = "http://example.com";
    for (variables, server, want) in [
        (
            &[(HTTP, "127.0.0.1:8080")][..],
            plain,
            "http://127.0.0.1:8080",
        ),
        (
            &[(HTTP, "cache.corp.example.com:1234")],
            plain,
            "http://cache.corp.example.com:1234",
        ),
        (
            &[(HTTP, "cache.corp.example.com")],
            plain,
            "http://cache.corp.example.com:80",
        ),
        (&[(HTTP, "localhost")], plain, "http://localhost:80"),
        (
            &[(HTTP, "https://cache.corp.example.com")],
            plain,
            "https://cache.corp.example.com:443",
        ),
        (
            &[(HTTP, "http://127.0.0.1:8080")],
            plain,
            "http://127.0.0.1:8080",
        ),
        (
            &[(HTTP, "https://127.0.0.1:8080")],
            plain,
            "https://127.0.0.1:8080",
        ),
        (
            &[(HTTP, "socks5://127.0.0.1")],
            plain,
            "socks5://127.0.0.1:1080",
        ),
        (
            &[(HTTP, "foo://host")],
            plain,
            "error: HTTP_PROXY: the scheme of the proxy URL is not http, https, socks5 or socks5h",
        ),
        (
            &[(HTTP, "http.proxy.tld"), (HTTPS, "secure.proxy.tld")],
            "http://insecure.tld/",
            "http://http.proxy.tld:80",
        ),
        (
            &[(HTTP, "http.proxy.tld"), (HTTPS, "secure.proxy.tld")],
            "https://secure.tld/",
            "http://secure.proxy.tld:80",
        ),
        (
            &[
                (HTTP, "http.proxy.tld"),
                (HTTPS, "https://secure.proxy.tld"),
            ],
            "https://secure.tld/",
            "https://secure.proxy.tld:443",
        ),
        (&[(HTTP, "http.proxy.tld")], "https://secure.tld/", "-"),
        (
            &[(HTTP, "http://10.1.2.3:8080"), ("REQUEST_METHOD", "GET")],
            plain,
            "error: HTTP_PROXY is not used because REQUEST_METHOD is set: in a CGI program it comes from whoever sent the request",
        ),
        (
            &[
                ("http_proxy", "http://10.1.2.3:8080"),
                ("REQUEST_METHOD", "GET"),
            ],
            plain,
            "error: HTTP_PROXY is not used because REQUEST_METHOD is set: in a CGI program it comes from whoever sent the request",
        ),
        (
            &[
                (HTTPS, "https://secure.proxy.tld"),
                ("REQUEST_METHOD", "GET"),
            ],
            "https://secure.tld/",
            "https://secure.proxy.tld:443",
        ),
        (
            &[(HTTP, "proxy"), ("REQUEST_METHOD", "")],
            plain,
            "http://proxy:80",
        ),
        (&[], plain, "-"),
        (&[(NO, "example.com"), (HTTP, "proxy")], plain, "-"),
        (
            &[(NO, ".example.com"), (HTTP, "proxy")],
            plain,
            "http://proxy:80",
        ),
        (
            &[(NO, "ample.com"), (HTTP, "proxy")],
            plain,
            "http://proxy:80",
        ),
        (
            &[(NO, "example.com"), (HTTP, "proxy")],
            "http://foo.example.com/",
            "-",
        ),
        (
            &[(NO, ".foo.com"), (HTTP, "proxy")],
            plain,
            "http://proxy:80",
        ),
        (
            &[(NO, ".示例.com"), (HTTP, "proxy")],
            "http://www.xn--fsq092h.com",
            "-",
        ),
        (
            &[(NO, "xn--fsq092h.com"), (HTTP, "proxy")],
            "http://www.xn--fsq092h.com",
            "-",
        ),
        (
            &[(NO, "示例.com"), (HTTP, "proxy")],
            "http://www.xn--fsq092h.com",
            "-",
        ),
    ] {
        assert_eq!(proxy(variables, server), want, "{variables:?} {server}");
    }
}

#[test]
fn what_wins() {
    for (variables, want) in [
        // The order of Go, which curl and Python have the other way round.
        (
            &[("HTTPS_PROXY", "upper"), ("https_proxy", "lower")][..],
            "http://upper:80",
        ),
        (
            &[("HTTPS_PROXY", ""), ("https_proxy", "lower")],
            "http://lower:80",
        ),
        (&[("https_proxy", "lower")], "http://lower:80"),
        (&[("Https_Proxy", "mixed")], "-"),
        (&[("ALL_PROXY", "all"), ("all_proxy", "all")], "-"),
        (
            &[("HTTPS_PROXY", "p"), ("NO_PROXY", ""), ("no_proxy", "*")],
            "-",
        ),
        (
            &[("HTTPS_PROXY", "p"), ("NO_PROXY", "x"), ("no_proxy", "*")],
            "http://p:80",
        ),
        (
            &[("HTTPS_PROXY", "p"), ("NO_PROXY", "api.example:6443")],
            "-",
        ),
        (
            &[("HTTPS_PROXY", "p"), ("NO_PROXY", "api.example:443")],
            "http://p:80",
        ),
        // It is the server that counts, not the proxy.
        (
            &[("HTTPS_PROXY", "p.corp"), ("NO_PROXY", "corp")],
            "http://p.corp:80",
        ),
        (&[("HTTPS_PROXY", "p"), ("NO_PROXY", "example,")], "-"),
        // A value that is not used may be anything.
        (
            &[("HTTPS_PROXY", "p"), ("HTTP_PROXY", "::::")],
            "http://p:80",
        ),
        (&[("HTTPS_PROXY", "a b"), ("NO_PROXY", "*")], "-"),
        (
            &[("HTTPS_PROXY", "a b")],
            "error: HTTPS_PROXY: the host of the proxy URL does not parse",
        ),
    ] {
        assert_eq!(
            proxy(variables, "https://api.example:6443"),
            want,
            "{variables:?}"
        );
    }
}

#[test]
fn loopback_is_never_proxied() {
    let variables = [("HTTPS_PROXY", "p"), ("HTTP_PROXY", "p")];
    for (server, direct) in [
        ("https://localhost", true),
        ("http://LOCALHOST:8080", true),
        ("https://127.0.0.1:6443", true),
        ("https://127.0.0.2", true),
        ("https://[::1]", true),
        ("https://[::ffff:127.0.0.1]", true),
        ("https://[::2]", false),
        ("https://localhost.net", false),
        ("https://local.localhost", false),
    ] {
        assert_eq!(proxy(&variables, server) == "-", direct, "{server}");
    }
    let cgi = [("HTTP_PROXY", "p"), ("REQUEST_METHOD", "GET")];
    assert_eq!(proxy(&cgi, "http://localhost:8080"), "-");
}

#[test]
fn a_proxy_url_beats_the_environment() {
    let server = Endpoint::parse("https://127.0.0.1:6443").unwrap();
    let env = |name: &str| (name == "NO_PROXY").then(|| "*".into());
    let config = Config::new(server.clone());
    let settings = ProxySettings::new(&config, env).unwrap();
    assert_eq!(settings.proxy_for(&server).unwrap(), None);

    let url = ProxyUrl::parse("https://me:hunter2@proxy.example").unwrap();
    let settings = ProxySettings::new(&config.proxy_url(url), env).unwrap();
    let proxy = settings.proxy_for(&server).unwrap().unwrap();
    assert_eq!(
        proxy,
        Proxy::parse("https://me:hunter2@proxy.example:443").unwrap()
    );
    assert!(!format!("{settings:?} {proxy:?}").contains("hunter2"));
    let none = ProxySettings::none().proxy_for(&server).unwrap();
    assert_eq!(none, None);
}

#[test]
fn errors_hide_credentials() {
    for value in [
        "http://me:hunter2@",
        "foo://me:hunter2@h",
        "me:hunter2@h:x",
        "http://hunter2%@h",
    ] {
        let text = proxy(&[("HTTPS_PROXY", value)], "https://api.example");
        assert!(
            text.starts_with("error: HTTPS_PROXY: ") && !text.contains("hunter2"),
            "{text}"
        );
        let debug = format!("{:?}", settings(&[("HTTPS_PROXY", value)]));
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
