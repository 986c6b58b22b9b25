//! Names with other than ASCII letters, as they are looked up (RFC 3492).

/// The name in ASCII: labels with other letters become `xn--…`. Letters are put in lower case, and
/// not otherwise mapped.
pub(super) fn to_ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let labels = name.split(['.', '。']).map(|label| {
        if label.is_ascii() {
            label.to_ascii_lowercase()
        } else {
            let label = label.to_lowercase();
            // Too long to be a name: it will match nothing.
            encode(&label).map_or(label, |encoded| format!("xn--{encoded}"))
        }
    });
    labels.collect::<Vec<_>>().join(".")
}

const BASE: u32 = 36;
const TMIN: u32 = 1;
const TMAX: u32 = 26;

fn encode(label: &str) -> Option<String> {
    if label.len() > 256 {
        return None;
    }
    let mut output: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    let total = u32::try_from(label.chars().count()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128_u32, 0_u32, 72_u32, basic);
    while handled < total {
        let next = label.chars().map(u32::from).filter(|&c| c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in label.chars().map(u32::from) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c == n {
                variable_length(delta, bias, &mut output)?;
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(output)
}

fn variable_length(delta: u32, bias: u32, output: &mut String) -> Option<()> {
    let mut q = delta;
    for k in (1..).map(|step| step * BASE) {
        let threshold = k.saturating_sub(bias).clamp(TMIN, TMAX);
        if q < threshold {
            break;
        }
        output.push(digit(threshold + (q - threshold) % (BASE - threshold))?);
        q = (q - threshold) / (BASE - threshold);
    }
    output.push(digit(q)?);
    Some(())
}

/// `a` to `z`, then `0` to `9`.
fn digit(value: u32) -> Option<char> {
    char::from_digit((value + 10) % BASE, BASE)
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = delta / if first { 700 } else { 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - TMIN) * TMAX / 2 {
        delta /= BASE - TMIN;
        k += BASE;
    }
    k + (BASE - TMIN + 1) * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, ascii) in [
            ("Example.COM", "example.com"),
            ("示例.com", "xn--fsq092h.com"),
            (".示例.com", ".xn--fsq092h.com"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("münchen.de", "xn--mnchen-3ya.de"),
            ("点看。org", "xn--3pxu8k.org"),
            ("ليهمابتكلموشعربي؟", "xn--egbpdaj6bu4bxfgehfvwxn"),
            (
                "Pročprostěnemluvíčesky",
                "xn--proprostnemluvesky-uyb24dma41a",
            ),
            ("☃", "xn--n3h"),
            ("", ""),
        ] {
            assert_eq!(to_ascii(name), ascii);
        }
        to_ascii(&"ü".repeat(10_000));
        to_ascii(&"\u{10FFFF}".repeat(60));
    }
}
