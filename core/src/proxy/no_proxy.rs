//! `NO_PROXY`, by Go's rules.

use std::net::IpAddr;

use super::punycode::to_ascii;

/// The hosts that are reached without a proxy: the value of `NO_PROXY`.
///
/// A list with commas between the entries; white space, empty entries and letter case do not matter.
///
/// | entry | matches |
/// |---|---|
/// | `example.org` | this host and all hosts below it |
/// | `.example.org`, `*.example.org` | the hosts below it only |
/// | `10.1.2.3`, `fd00::1`, `[fd00::1]` | this address |
/// | `10.0.0.0/8`, `fd00::/8` | these addresses |
/// | any of them but the last, with `:8443` (IPv6 in brackets) | the same with this port |
/// | `*` | everything |
///
/// Names are not resolved: a name never matches an address. What cannot be understood is a name that
/// nobody has.
///
/// ```
/// use kubewire::proxy::NoProxy;
///
/// let list = NoProxy::parse("example.org, 10.0.0.0/8, .internal:6443,");
/// assert!(list.matches("api.example.org", 443) && list.matches("10.1.2.3", 6443));
/// assert!(list.matches("api.internal", 6443) && !list.matches("api.internal", 443));
/// assert!(!list.matches("internal", 6443) && !list.matches("notexample.org", 443));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    everything: bool,
    networks: Vec<Network>,
    domains: Vec<Domain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
    port: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    /// With a dot in front.
    suffix: String,
    /// Whether the name without the dot matches, too.
    itself: bool,
    port: Option<String>,
}

impl NoProxy {
    /// Reads a list. Nothing is wrong with any list.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let mut result = Self::default();
        for entry in list.split(',') {
            let entry = entry.trim().to_lowercase();
            if entry == "*" {
                return Self {
                    everything: true,
                    ..Self::default()
                };
            }
            result.add(&entry);
        }
        result
    }

    fn add(&mut self, entry: &str) {
        if let Some(network) = cidr(entry) {
            self.networks.push(network);
            return;
        }
        let (host, port) = split_port(entry);
        if host.is_empty() {
            return;
        }
        let port = port.filter(|port| !port.is_empty()).map(str::to_owned);
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            self.networks.push(Network {
                address,
                prefix: width(address),
                port,
            });
            return;
        }
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        let itself = !host.starts_with('.');
        let suffix = to_ascii(host);
        self.domains.push(Domain {
            suffix: if itself { format!(".{suffix}") } else { suffix },
            itself,
            port,
        });
    }

    /// Whether a host is on the list. An IPv6 address is without brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.everything {
            return true;
        }
        let port = port.to_string();
        let fits = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| *wanted == port);
        if let Some(address) = address(host) {
            return self
                .networks
                .iter()
                .any(|network| network.contains(address) && fits(&network.port));
        }
        let host = to_ascii(host.trim());
        self.domains
            .iter()
            .any(|domain| domain.contains(&host) && fits(&domain.port))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let mask = |bits: u128, width: u32| bits.checked_shr(width - self.prefix).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                mask(u32::from(a).into(), 32) == mask(u32::from(b).into(), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => mask(a.into(), 128) == mask(b.into(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Domain {
    fn contains(&self, host: &str) -> bool {
        host.ends_with(&self.suffix)
            || self.itself && self.suffix.strip_prefix('.').is_some_and(|own| own == host)
    }
}

/// The address that a host is, without its zone. An IPv4 address in IPv6 is one of IPv4.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    let plain = match host.split_once('%') {
        Some((plain, _)) if plain.contains(':') => plain,
        Some(_) | None => host,
    };
    plain.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn cidr(entry: &str) -> Option<Network> {
    let (address, prefix) = entry.split_once('/')?;
    let written: IpAddr = address.parse().ok()?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix: u32 = prefix
        .parse()
        .ok()
        .filter(|&prefix| prefix <= width(written))?;
    let canonical = written.to_canonical();
    // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    let (address, prefix) = match prefix.checked_sub(width(written) - width(canonical)) {
        Some(prefix) => (canonical, prefix),
        None => (written, prefix),
    };
    Some(Network {
        address,
        prefix,
        port: None,
    })
}

/// `host:port`, `[host]:port`, `[host]` or a host. With several colons and no brackets it is a host.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => (entry, None),
        };
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        Some(_) | None => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TestUseProxy` of Go's `httpproxy`, all with port 80; loopback addresses are the settings'.
    #[test]
    fn the_table_of_go() {
        let list = NoProxy::parse(
            "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, \
             10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, \
             2002:db8:a::45/64",
        );
        for (host, proxied) in [
            ("::2", true),
            ("192.168.1.1", false),
            ("192.168.1.2", true),
            ("192.168.1.3", false),
            ("192.168.1.4", true),
            ("10.0.0.2", false),
            ("10.0.0.4", true),
            ("2001:db8::52:0:1", false),
            ("2001:db8::52:0:2", true),
            ("2001:db8::52:0:3", false),
            ("2002:db8:a::123", false),
            ("fe80::424b:c8be:1643:a1b6", true),
            ("barbaz.net", true),
            ("www.barbaz.net", false),
            ("foobar.com", false),
            ("www.foobar.com", false),
            ("foofoobar.com", true),
            ("baz.com", true),
            ("localhost.net", true),
            ("local.localhost", true),
            ("barbarbaz.net", true),
            ("wildcard.io", true),
            ("nested.wildcard.io", false),
            ("awildcard.io", true),
        ] {
            assert_eq!(list.matches(host, 80), !proxied, "{host}");
            assert!(NoProxy::parse("*").matches(host, 80), "{host}");
            assert!(NoProxy::parse("a, * ,b").matches(host, 80), "{host}");
            for nothing in ["", ",", " , ,", ":1", "[]:1", "/", "*x"] {
                assert!(
                    !NoProxy::parse(nothing).matches(host, 80),
                    "{host} {nothing}"
                );
            }
        }
    }

    #[test]
    fn more_entries() {
        for (entry, host, port, matches) in [
            ("EXAMPLE.com", "example.COM", 1, true),
            ("example.com:", "example.com", 1, true),
            ("example.com:443", "a.example.com", 443, true),
            ("example.com:443", "example.com", 80, false),
            ("[fd00::1]", "fd00::1", 1, true),
            ("fd00::1", "fd00:0::1", 1, true),
            ("fd00::1:80", "fd00::1", 80, false),
            ("10.0.0.1", "::ffff:10.0.0.1", 1, true),
            ("::ffff:10.0.0.1", "10.0.0.1", 1, true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", 1, true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", 1, false),
            ("::/0", "fd00::1", 1, true),
            ("::/0", "10.0.0.1", 1, false),
            ("0.0.0.0/0", "10.0.0.1", 1, true),
            ("0.0.0.0/0", "fd00::1", 1, false),
            ("10.0.0.0/33", "10.0.0.1", 1, false),
            ("10.0.0.0/+8", "10.0.0.1", 1, false),
            ("10.1.1.1/8", "10.0.0.1", 1, true),
            ("10.0.0", "10.0.0.1", 1, false),
            ("example.com", "1000::%25.example.com", 123, false),
            ("1000::", "1000::%eth0", 123, true),
            ("com", "10.0.0.com", 1, true),
            ("0.1", "10.0.0.1", 1, false),
            (".示例.com", "www.xn--fsq092h.com", 80, true),
            ("xn--fsq092h.com", "www.示例.com", 80, true),
            ("示例.com", "www.xn--fsq092h.com", 80, true),
        ] {
            let found = NoProxy::parse(entry).matches(host, port);
            assert_eq!(found, matches, "{entry} {host}:{port}");
        }
    }
}
