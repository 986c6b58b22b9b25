//! The grammar of the shell: words, quotes, expansions and redirections.

use super::parse::{
    Operator, ParseError, Parser, Part, Redirect, Result, Word, is_name, is_name_start,
};

impl Parser {
    /// `name=` if it comes next.
    pub(super) fn assignment(&mut self) -> Option<String> {
        if !self.peek().is_some_and(is_name_start) {
            return None;
        }
        let length = self.text[self.at..]
            .iter()
            .take_while(|c| is_name(**c))
            .count();
        if self.peek_at(length) != Some('=') {
            return None;
        }
        let name = self.text[self.at..self.at + length].iter().collect();
        self.at += length + 1;
        Some(name)
    }

    pub(super) fn redirect(&mut self) -> Result<Option<Redirect>> {
        self.blanks();
        let digits = self.text[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        if !matches!(self.peek_at(digits), Some('<' | '>')) {
            return Ok(None);
        }
        let number: String = self.text[self.at..self.at + digits].iter().collect();
        self.at += digits;
        let (operator, default) = if self.eat("<<") {
            let strip = self.eat("-");
            return self.here_document(strip).map(Some);
        } else if self.eat("<") {
            (Operator::Read, 0)
        } else if self.eat(">>") {
            (Operator::Append, 1)
        } else if self.eat(">&") {
            (Operator::Duplicate, 1)
        } else {
            self.at += 1;
            self.eat("|");
            (Operator::Write, 1)
        };
        self.blanks();
        if self.peek().is_none() {
            return Err(ParseError::Syntax(
                "syntax error: unexpected end of file".into(),
            ));
        }
        let target = self.word()?;
        Ok(Some(Redirect {
            descriptor: number.parse().unwrap_or(default),
            operator,
            target,
        }))
    }

    fn here_document(&mut self, strip: bool) -> Result<Redirect> {
        self.blanks();
        let word = self.word()?;
        let quoted = word
            .iter()
            .any(|p| matches!(p, Part::Literal { quoted: true, .. }));
        let delimiter: String = word
            .iter()
            .map(|part| match part {
                Part::Literal { text, .. } => text.as_str(),
                _ => "",
            })
            .collect();
        let Some(start) = self.text[self.at..]
            .iter()
            .position(|c| *c == '\n')
            .map(|n| self.at + n + 1)
        else {
            return Err(ParseError::Incomplete);
        };
        let mut lines = String::new();
        let mut at = start;
        loop {
            if at >= self.text.len() {
                return Err(ParseError::Incomplete);
            }
            let end = self.text[at..]
                .iter()
                .position(|c| *c == '\n')
                .map_or(self.text.len(), |n| at + n);
            let line: String = self.text[at..end].iter().collect();
            let line = if strip {
                line.trim_start_matches('\t')
            } else {
                &line
            };
            at = (end + 1).min(self.text.len());
            if line == delimiter {
                break;
            }
            lines.push_str(line);
            lines.push('\n');
        }
        self.text.drain(start..at);
        let target = if quoted {
            vec![Part::Literal {
                text: lines,
                quoted: true,
            }]
        } else {
            let mut inner = Self {
                text: lines.chars().collect(),
                at: 0,
                depth: self.depth,
            };
            inner.double_quoted(None)?
        };
        Ok(Redirect {
            descriptor: 0,
            operator: Operator::Text,
            target,
        })
    }

    pub(super) fn word(&mut self) -> Result<Word> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let flush = |literal: &mut String, parts: &mut Word| {
            if !literal.is_empty() {
                parts.push(Part::Literal {
                    text: std::mem::take(literal),
                    quoted: false,
                });
            }
        };
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    flush(&mut literal, &mut parts);
                    self.at += 1;
                    let start = self.at;
                    while self.peek().is_some_and(|c| c != '\'') {
                        self.at += 1;
                    }
                    if self.peek().is_none() {
                        return Err(ParseError::Incomplete);
                    }
                    let text = self.text[start..self.at].iter().collect();
                    parts.push(Part::Literal { text, quoted: true });
                    self.at += 1;
                }
                '"' => {
                    flush(&mut literal, &mut parts);
                    self.at += 1;
                    let inner = self.double_quoted(Some('"'))?;
                    if inner.is_empty() {
                        parts.push(Part::Literal {
                            text: String::new(),
                            quoted: true,
                        });
                    }
                    parts.extend(inner);
                }
                '\\' => {
                    flush(&mut literal, &mut parts);
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => {}
                        Some(c) => parts.push(Part::Literal {
                            text: c.into(),
                            quoted: true,
                        }),
                        None => return Err(ParseError::Incomplete),
                    }
                    self.at += 1;
                }
                '$' | '`' => {
                    if let Some(part) = self.dollar(false)? {
                        flush(&mut literal, &mut parts);
                        parts.push(part);
                    } else {
                        literal.push('$');
                    }
                }
                other => {
                    literal.push(other);
                    self.at += 1;
                }
            }
        }
        flush(&mut literal, &mut parts);
        if parts.is_empty() {
            return Err(match self.peek() {
                None => ParseError::Incomplete,
                Some(c) => ParseError::Syntax(format!("syntax error: unexpected \"{c}\"")),
            });
        }
        Ok(parts)
    }

    /// Up to `end`, which is eaten, or to the end of the text.
    fn double_quoted(&mut self, end: Option<char>) -> Result<Word> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        loop {
            match self.peek() {
                None if end.is_none() => break,
                None => return Err(ParseError::Incomplete),
                Some(c) if Some(c) == end => {
                    self.at += 1;
                    break;
                }
                Some('\\') => {
                    match self.peek_at(1) {
                        Some('\n') => {}
                        Some(c @ ('$' | '`' | '"' | '\\')) => literal.push(c),
                        Some(c) => {
                            literal.push('\\');
                            literal.push(c);
                        }
                        None => literal.push('\\'),
                    }
                    self.at += 2;
                }
                Some('$' | '`') => match self.dollar(true)? {
                    Some(part) => {
                        if !literal.is_empty() {
                            parts.push(Part::Literal {
                                text: std::mem::take(&mut literal),
                                quoted: true,
                            });
                        }
                        parts.push(part);
                    }
                    None => literal.push('$'),
                },
                Some(c) => {
                    literal.push(c);
                    self.at += 1;
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal {
                text: literal,
                quoted: true,
            });
        }
        Ok(parts)
    }

    /// What a dollar or a backquote begins; `None` for a dollar that is only one.
    fn dollar(&mut self, quoted: bool) -> Result<Option<Part>> {
        if self.eat("`") {
            let start = self.at;
            while self.peek().is_some_and(|c| c != '`') {
                self.at += 1;
            }
            if self.peek().is_none() {
                return Err(ParseError::Incomplete);
            }
            let script = self.text[start..self.at].iter().collect();
            self.at += 1;
            return Ok(Some(Part::Command { script, quoted }));
        }
        if self.eat("$((") {
            let start = self.at;
            let mut open = 0;
            loop {
                match self.peek() {
                    None => return Err(ParseError::Incomplete),
                    Some('(') => open += 1,
                    Some(')') if open > 0 => open -= 1,
                    Some(')') if self.peek_at(1) == Some(')') => break,
                    Some(_) => {}
                }
                self.at += 1;
            }
            let mut inner = Self {
                text: self.text[start..self.at].to_vec(),
                at: 0,
                depth: self.depth + 1,
            };
            self.at += 2;
            return Ok(Some(Part::Arithmetic {
                expression: inner.double_quoted(None)?,
                quoted,
            }));
        }
        if self.eat("$(") {
            let start = self.at;
            self.list(&[])?;
            self.newlines();
            if self.peek() != Some(')') {
                return Err(ParseError::Incomplete);
            }
            let script = self.text[start..self.at].iter().collect();
            self.at += 1;
            return Ok(Some(Part::Command { script, quoted }));
        }
        if self.eat("${") {
            return self.parameter(quoted).map(Some);
        }
        self.at += 1;
        match self.peek() {
            Some(c) if is_name_start(c) => {
                let name = self.name()?;
                Ok(Some(Part::Variable {
                    name,
                    operator: None,
                    quoted,
                }))
            }
            Some(c) if c.is_ascii_digit() || "?$!#@*-".contains(c) => {
                self.at += 1;
                Ok(Some(Part::Variable {
                    name: c.into(),
                    operator: None,
                    quoted,
                }))
            }
            _ => Ok(None),
        }
    }

    fn parameter(&mut self, quoted: bool) -> Result<Part> {
        let length = self.peek() == Some('#') && self.peek_at(1) != Some('}');
        if length {
            self.at += 1;
        }
        let start = self.at;
        if self.peek().is_some_and(is_name) {
            while self.peek().is_some_and(is_name) {
                self.at += 1;
            }
        } else {
            self.at += 1;
        }
        let name: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let mut operator = length.then(|| ("#length".to_owned(), Vec::new()));
        if self.peek() == Some('}') {
            self.at += 1;
        } else {
            let known = [
                ":-", ":=", ":+", ":?", "##", "%%", "-", "=", "+", "?", "#", "%",
            ];
            let Some(found) = known.into_iter().find(|o| self.starts_with(o)) else {
                return Err(if self.peek().is_none() {
                    ParseError::Incomplete
                } else {
                    ParseError::Syntax("syntax error: bad substitution".into())
                });
            };
            self.eat(found);
            self.deeper()?;
            operator = Some((found.to_owned(), self.double_quoted(Some('}'))?));
            self.depth -= 1;
        }
        Ok(Part::Variable {
            name,
            operator,
            quoted,
        })
    }
}
