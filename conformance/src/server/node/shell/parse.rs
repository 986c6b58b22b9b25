//! The grammar of the shell.

/// A command tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Commands one after the other; those marked run in the background.
    List(Vec<(Node, bool)>),
    /// A pipeline, and those that follow with `&&` (true) or `||`.
    AndOr(Box<Node>, Vec<(bool, Node)>),
    Not(Box<Node>),
    Pipeline(Vec<Node>),
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Redirected(Box<Node>, Vec<Redirect>),
    If {
        branches: Vec<(Node, Node)>,
        otherwise: Option<Box<Node>>,
    },
    Loop {
        condition: Box<Node>,
        body: Box<Node>,
        until: bool,
    },
    For {
        variable: String,
        words: Option<Vec<Word>>,
        body: Box<Node>,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Node)>,
    },
    Subshell(Box<Node>),
    Function(String, Box<Node>),
}

pub(crate) type Word = Vec<Part>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Literal {
        text: String,
        quoted: bool,
    },
    Variable {
        name: String,
        operator: Option<(String, Word)>,
        quoted: bool,
    },
    Command {
        script: String,
        quoted: bool,
    },
    Arithmetic {
        expression: Word,
        quoted: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Redirect {
    pub(crate) descriptor: u32,
    pub(crate) operator: Operator,
    pub(crate) target: Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Read,
    Write,
    Append,
    /// `2>&1`.
    Duplicate,
    /// `<<<`-like: a here-document whose text is the target.
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// More input could complete it.
    Incomplete,
    Syntax(String),
}

type Result<T> = std::result::Result<T, ParseError>;

/// Nesting beyond this is refused rather than overflow the stack.
const DEEPEST: usize = 100;

pub(crate) fn parse(script: &str) -> Result<Node> {
    let mut parser = Parser {
        text: script.chars().collect(),
        at: 0,
        depth: 0,
    };
    let list = parser.list(&[])?;
    parser.blanks();
    match parser.peek() {
        None => Ok(list),
        Some(unexpected) => Err(ParseError::Syntax(format!(
            "syntax error: unexpected \"{unexpected}\""
        ))),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.text.get(self.at + offset).copied()
    }

    fn starts_with(&self, prefix: &str) -> bool {
        prefix
            .chars()
            .enumerate()
            .all(|(i, c)| self.peek_at(i) == Some(c))
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.starts_with(prefix);
        if found {
            self.at += prefix.chars().count();
        }
        found
    }

    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.peek_at(1) == Some('\n') => self.at += 2,
                Some('#')
                    if self.at == 0
                        || matches!(self.text[self.at - 1], ' ' | '\t' | '\n' | ';') =>
                {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn newlines(&mut self) {
        loop {
            self.blanks();
            if self.peek() == Some('\n') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// The reserved word that comes next, if one of `words` does.
    fn reserved<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        let ends = |offset: usize| {
            self.peek_at(offset)
                .is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(c))
        };
        words
            .iter()
            .find(|word| self.starts_with(word) && ends(word.len()))
            .copied()
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        self.newlines();
        if self.reserved(&[word]).is_some() {
            self.at += word.len();
            return Ok(());
        }
        match self.peek() {
            None => Err(ParseError::Incomplete),
            Some(c) => Err(ParseError::Syntax(format!(
                "syntax error: unexpected \"{c}\" (expecting \"{word}\")"
            ))),
        }
    }

    fn list(&mut self, ends: &[&str]) -> Result<Node> {
        self.deeper()?;
        let mut commands = Vec::new();
        loop {
            self.newlines();
            if self.peek().is_none_or(|c| c == ')')
                || self.reserved(ends).is_some()
                || self.starts_with(";;")
            {
                break;
            }
            let command = self.and_or()?;
            self.blanks();
            let background = self.peek() == Some('&') && self.peek_at(1) != Some('&');
            commands.push((command, background));
            match self.peek() {
                Some('&') => self.at += 1,
                Some(';') if self.peek_at(1) != Some(';') => self.at += 1,
                Some('\n' | ')') | None => {}
                Some(';') => break,
                Some(c) => {
                    return Err(ParseError::Syntax(format!(
                        "syntax error: unexpected \"{c}\""
                    )));
                }
            }
        }
        self.depth -= 1;
        Ok(Node::List(commands))
    }

    fn and_or(&mut self) -> Result<Node> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let and = self.starts_with("&&");
            if !and && !self.starts_with("||") {
                return Ok(if rest.is_empty() {
                    first
                } else {
                    Node::AndOr(first.into(), rest)
                });
            }
            self.at += 2;
            self.newlines();
            if self.peek().is_none() {
                return Err(ParseError::Incomplete);
            }
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Node> {
        let mut negated = false;
        self.blanks();
        while self.reserved(&["!"]).is_some() {
            self.at += 1;
            negated = !negated;
            self.blanks();
        }
        let node = self.commands()?;
        Ok(if negated {
            Node::Not(node.into())
        } else {
            node
        })
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ParseError::Syntax("syntax error: nested too deeply".into()));
        }
        Ok(())
    }

    fn commands(&mut self) -> Result<Node> {
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.peek_at(1) == Some('|') {
                break;
            }
            self.at += 1;
            self.newlines();
            if self.peek().is_none() {
                return Err(ParseError::Incomplete);
            }
            commands.push(self.command()?);
        }
        Ok(if commands.len() == 1 {
            commands.swap_remove(0)
        } else {
            Node::Pipeline(commands)
        })
    }

    fn command(&mut self) -> Result<Node> {
        self.blanks();
        let compound = if self.peek() == Some('(') {
            self.at += 1;
            let body = self.list(&[])?;
            self.newlines();
            if !self.eat(")") {
                return Err(ParseError::Incomplete);
            }
            Node::Subshell(body.into())
        } else if let Some(word) = self.reserved(&["{", "if", "while", "until", "for", "case"]) {
            self.at += word.len();
            match word {
                "{" => {
                    let body = self.list(&["}"])?;
                    self.expect("}")?;
                    body
                }
                "if" => self.conditional()?,
                "for" => self.for_loop()?,
                "case" => self.case()?,
                _ => {
                    let condition = self.list(&["do"])?;
                    let body = self.body()?;
                    Node::Loop {
                        condition: condition.into(),
                        body: body.into(),
                        until: word == "until",
                    }
                }
            }
        } else {
            return self.simple();
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(if redirects.is_empty() {
            compound
        } else {
            Node::Redirected(compound.into(), redirects)
        })
    }

    fn body(&mut self) -> Result<Node> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn conditional(&mut self) -> Result<Node> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            let body = self.list(&["elif", "else", "fi"])?;
            branches.push((condition, body));
            self.newlines();
            match self.reserved(&["elif", "else"]) {
                Some("elif") => self.at += 4,
                Some(_) => {
                    self.at += 4;
                    otherwise = Some(Box::new(self.list(&["fi"])?));
                    break;
                }
                None => break,
            }
        }
        self.expect("fi")?;
        Ok(Node::If {
            branches,
            otherwise,
        })
    }

    fn name(&mut self) -> Result<String> {
        self.blanks();
        let start = self.at;
        while self.peek().is_some_and(is_name) {
            self.at += 1;
        }
        if start == self.at {
            return Err(if self.peek().is_none() {
                ParseError::Incomplete
            } else {
                ParseError::Syntax("syntax error: bad variable".into())
            });
        }
        Ok(self.text[start..self.at].iter().collect())
    }

    fn for_loop(&mut self) -> Result<Node> {
        let variable = self.name()?;
        self.newlines();
        let mut words = None;
        if self.reserved(&["in"]).is_some() {
            self.at += 2;
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.peek() {
                    None => return Err(ParseError::Incomplete),
                    Some(';' | '\n') => break,
                    Some(_) => list.push(self.word()?),
                }
            }
            words = Some(list);
        }
        self.blanks();
        self.eat(";");
        let body = self.body()?;
        Ok(Node::For {
            variable,
            words,
            body: body.into(),
        })
    }

    fn case(&mut self) -> Result<Node> {
        self.blanks();
        let word = self.word()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines();
            if self.reserved(&["esac"]).is_some() {
                self.at += 4;
                return Ok(Node::Case { word, arms });
            }
            if self.peek().is_none() {
                return Err(ParseError::Incomplete);
            }
            self.eat("(");
            let mut patterns = vec![self.word()?];
            self.blanks();
            while self.eat("|") {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
            }
            if !self.eat(")") {
                return Err(ParseError::Syntax("syntax error: expecting \")\"".into()));
            }
            let body = self.list(&["esac"])?;
            self.newlines();
            self.eat(";;");
            arms.push((patterns, body));
        }
    }

    fn simple(&mut self) -> Result<Node> {
        let mut assignments = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.peek().is_none_or(|c| "\n;&|()".contains(c)) {
                break;
            }
            if words.is_empty()
                && let Some(name) = self.assignment()
            {
                let value = if self
                    .peek()
                    .is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(c))
                {
                    Vec::new()
                } else {
                    self.word()?
                };
                assignments.push((name, value));
                continue;
            }
            words.push(self.word()?);
            if let ([word], Some('(')) = (words.as_slice(), self.peek())
                && let [
                    Part::Literal {
                        text,
                        quoted: false,
                    },
                ] = word.as_slice()
                && self.peek_at(1) == Some(')')
            {
                let name = text.clone();
                self.at += 2;
                self.newlines();
                self.deeper()?;
                let body = self.command()?;
                self.depth -= 1;
                return Ok(Node::Function(name, body.into()));
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return match self.peek() {
                None => Err(ParseError::Incomplete),
                Some(c) => Err(ParseError::Syntax(format!(
                    "syntax error: unexpected \"{c}\""
                ))),
            };
        }
        let simple = Node::Simple { assignments, words };
        Ok(if redirects.is_empty() {
            simple
        } else {
            Node::Redirected(simple.into(), redirects)
        })
    }

    /// `name=` if it comes next.
    fn assignment(&mut self) -> Option<String> {
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

    fn redirect(&mut self) -> Result<Option<Redirect>> {
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

    fn word(&mut self) -> Result<Word> {
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
        if self.peek() != Some('}') {
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
        } else {
            self.at += 1;
        }
        Ok(Part::Variable {
            name,
            operator,
            quoted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_incomplete_and_wrong() {
        for script in [
            "echo a; echo b",
            "if true; then echo a; elif x; then y; else z; fi",
            "while read x; do echo $x; done < /f",
            "for i in 1 2 3; do echo $i; done | wc -l",
            "(a; b) 2>&1 >/dev/null &",
            "a && b || ! c",
            "x=1 y=\"a $x\" cmd",
            "echo $(echo $(echo a)) `b` $((1+(2*3))) ${x:-d}",
            "case $x in a|b) echo 1;; *) echo 2;; esac",
            "f() { echo; }; f",
            "cat <<EOF\na $x\nEOF\n",
            "trap '' TERM # comment",
            "echo \"a\\\"b\" 'c'\\''d'",
            "",
        ] {
            assert!(parse(script).is_ok(), "{script}: {:?}", parse(script));
        }
        for script in [
            "if true; then",
            "while true; do",
            "echo 'a",
            "a &&",
            "(a",
            "cat <<EOF\na",
            "echo $(a",
        ] {
            assert_eq!(parse(script), Err(ParseError::Incomplete), "{script}");
        }
        for script in ["a ) b", "; ;", "fi )", "| a"] {
            assert!(
                matches!(parse(script), Err(ParseError::Syntax(_))),
                "{script}: {:?}",
                parse(script)
            );
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
    }
}
