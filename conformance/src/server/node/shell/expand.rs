//! Words: variables, commands, arithmetic, fields, patterns.

use super::super::process::Streams;
use super::Shell;
use super::parse::{Part, Word};

impl Shell {
    /// Expands words to fields.
    pub(super) async fn expand_all(&mut self, words: &[Word], streams: &Streams) -> Vec<String> {
        let mut fields = Vec::new();
        for word in words {
            self.expand_fields(word, streams, &mut fields).await;
        }
        fields
    }

    /// Expands a word to one string, without splitting.
    pub(super) async fn expand_one(&mut self, word: &Word, streams: &Streams) -> String {
        let mut text = String::new();
        for part in word {
            text.push_str(&self.part(part, streams).await);
        }
        text
    }

    async fn expand_fields(&mut self, word: &Word, streams: &Streams, fields: &mut Vec<String>) {
        let mut current: Option<String> = None;
        let mut pattern = false;
        for part in word {
            match part {
                Part::Literal { text, quoted } => {
                    pattern |= !quoted && text.contains(['*', '?']);
                    current.get_or_insert_default().push_str(text);
                }
                Part::Variable {
                    name,
                    operator: None,
                    quoted: true,
                } if name == "@" => {
                    for (i, argument) in self.arguments.iter().skip(1).enumerate() {
                        if i > 0 {
                            fields.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(argument);
                    }
                }
                Part::Variable { quoted, .. }
                | Part::Command { quoted, .. }
                | Part::Arithmetic { quoted, .. } => {
                    let value = self.part(part, streams).await;
                    if *quoted {
                        current.get_or_insert_default().push_str(&value);
                        continue;
                    }
                    if value.starts_with([' ', '\t', '\n']) {
                        fields.extend(current.take());
                    }
                    for (i, field) in value.split_whitespace().enumerate() {
                        if i > 0 {
                            fields.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(field);
                    }
                    if value.ends_with([' ', '\t', '\n']) {
                        fields.extend(current.take());
                    }
                }
            }
        }
        let Some(field) = current else { return };
        if pattern {
            let found = self.glob(&field);
            if !found.is_empty() {
                fields.extend(found);
                return;
            }
        }
        fields.push(field);
    }

    /// The files that match a pattern in the last part of a path.
    fn glob(&self, pattern: &str) -> Vec<String> {
        let (directory, name) = pattern
            .rsplit_once('/')
            .map_or(("", pattern), |(d, n)| (d, n));
        if directory.contains(['*', '?']) {
            return Vec::new();
        }
        let shown = if pattern.contains('/') {
            format!("{directory}/")
        } else {
            String::new()
        };
        let path = super::resolve(
            &self.process.cwd,
            if shown.is_empty() { "." } else { &shown },
        );
        let entries = self
            .process
            .container
            .files
            .list(&path, false)
            .unwrap_or_default();
        let hidden = name.starts_with('.');
        let matching = entries
            .into_iter()
            .filter(|(entry, _)| matches(name, entry) && (hidden || !entry.starts_with('.')));
        matching
            .map(|(entry, _)| format!("{shown}{entry}"))
            .collect()
    }

    async fn part(&mut self, part: &Part, streams: &Streams) -> String {
        match part {
            Part::Literal { text, .. } => text.clone(),
            Part::Command { script, .. } => self.output_of(script, streams).await,
            Part::Arithmetic { expression, .. } => {
                let text = Box::pin(self.expand_one(expression, streams)).await;
                let value = Arithmetic {
                    shell: self,
                    text: text.as_bytes(),
                    at: 0,
                    depth: 0,
                }
                .evaluate();
                if let Some(value) = value {
                    value.to_string()
                } else {
                    let _ = streams.stderr.text("sh: arithmetic syntax error\n").await;
                    self.status = 2;
                    "0".into()
                }
            }
            Part::Variable { name, operator, .. } => {
                let value = self.variable(name);
                let Some((operator, word)) = operator else {
                    return value.unwrap_or_default();
                };
                if operator == "#length" {
                    return value.unwrap_or_default().chars().count().to_string();
                }
                let colon = operator.starts_with(':');
                let missing = value.as_ref().is_none_or(|v| colon && v.is_empty());
                let argument = Box::pin(self.expand_one(word, streams)).await;
                match operator.trim_start_matches(':') {
                    "-" if missing => argument,
                    "=" if missing => {
                        self.variables.insert(name.clone(), argument.clone());
                        argument
                    }
                    "+" => {
                        if missing {
                            String::new()
                        } else {
                            argument
                        }
                    }
                    "?" if missing => {
                        let _ = streams
                            .stderr
                            .text(format!("sh: {name}: {argument}\n"))
                            .await;
                        self.status = 2;
                        String::new()
                    }
                    "#" | "##" | "%" | "%%" => {
                        trim(&value.unwrap_or_default(), operator, &argument)
                    }
                    _ => value.unwrap_or_default(),
                }
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some(self.process.pid.to_string()),
            "!" => self.background.map(|pid| pid.to_string()),
            "#" => Some((self.arguments.len().saturating_sub(1)).to_string()),
            "@" | "*" => Some(self.arguments.get(1..).unwrap_or_default().join(" ")),
            "-" => Some(String::new()),
            "PWD" => Some(self.process.cwd.clone()),
            _ => match name.parse::<usize>() {
                Ok(index) => self.arguments.get(index).cloned(),
                Err(_) => self.variables.get(name).cloned(),
            },
        }
    }
}

/// Removes the shortest or longest prefix or suffix that matches.
fn trim(value: &str, operator: &str, pattern: &str) -> String {
    let boundaries: Vec<usize> = value
        .char_indices()
        .map(|(i, _)| i)
        .chain([value.len()])
        .collect();
    let prefix = operator.starts_with('#');
    let mut cuts = boundaries;
    // Shortest first: short prefixes end early, short suffixes begin late.
    if prefix == (operator.len() == 2) {
        cuts.reverse();
    }
    for at in cuts {
        let (head, tail) = value.split_at(at);
        if prefix && matches(pattern, head) {
            return tail.to_owned();
        }
        if !prefix && matches(pattern, tail) {
            return head.to_owned();
        }
    }
    value.to_owned()
}

/// Whether a glob pattern matches a whole text. Linear backtracking: one star at a time.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                p = at + 1;
                t = from + 1;
                star = Some((at, t));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// `$(( … ))`.
struct Arithmetic<'a> {
    shell: &'a Shell,
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Arithmetic<'_> {
    fn evaluate(mut self) -> Option<i64> {
        let value = self.binary(0)?;
        self.blanks();
        (self.at == self.text.len()).then_some(value)
    }

    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn binary(&mut self, level: usize) -> Option<i64> {
        const LEVELS: [&[&str]; 6] = [
            &["||"],
            &["&&"],
            &["==", "!="],
            &["<=", ">=", "<", ">"],
            &["+", "-"],
            &["*", "/", "%"],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            self.blanks();
            let Some(operator) = operators
                .iter()
                .find(|o| self.text[self.at..].starts_with(o.as_bytes()))
            else {
                return Some(left);
            };
            self.at += operator.len();
            let right = self.binary(level + 1)?;
            left = match *operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                "/" => left.checked_div(right)?,
                _ => left.checked_rem(right)?,
            };
        }
    }

    fn unary(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        let value = self.operand();
        self.depth -= 1;
        value
    }

    fn operand(&mut self) -> Option<i64> {
        self.blanks();
        match self.text.get(self.at)? {
            b'-' => {
                self.at += 1;
                self.unary()?.checked_neg()
            }
            b'!' => {
                self.at += 1;
                self.unary().map(|v| i64::from(v == 0))
            }
            b'+' => {
                self.at += 1;
                self.unary()
            }
            b'(' => {
                self.at += 1;
                let value = self.binary(0)?;
                self.blanks();
                (self.text.get(self.at) == Some(&b')')).then(|| self.at += 1)?;
                Some(value)
            }
            _ => {
                let start = self.at;
                while self
                    .text
                    .get(self.at)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
                {
                    self.at += 1;
                }
                let word = std::str::from_utf8(&self.text[start..self.at])
                    .ok()
                    .filter(|w| !w.is_empty())?;
                if word.as_bytes()[0].is_ascii_digit() {
                    return word.parse().ok();
                }
                Some(
                    self.shell
                        .variable(word)
                        .and_then(|v| v.trim().parse().ok())
                        .unwrap_or(0),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "abc", true),
            ("a*", "b", false),
            ("*.txt", "x.txt", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert_eq!(trim("/a/b.tar.gz", "##", "*/"), "b.tar.gz");
        assert_eq!(trim("/a/b.tar.gz", "#", "*/"), "a/b.tar.gz");
        assert_eq!(trim("b.tar.gz", "%", ".*"), "b.tar");
        assert_eq!(trim("b.tar.gz", "%%", ".*"), "b");
    }
}
