//! The grammar of the shell: commands. Words have a file of their own.

/// A command tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Commands one after the other; those marked run in the background.
    List(Vec<(Self, bool)>),
    /// A pipeline, and those that follow with `&&` (true) or `||`.
    AndOr(Box<Self>, Vec<(bool, Self)>),
    Not(Box<Self>),
    Pipeline(Vec<Self>),
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Redirected(Box<Self>, Vec<Redirect>),
    If {
        branches: Vec<(Self, Self)>,
        otherwise: Option<Box<Self>>,
    },
    Loop {
        condition: Box<Self>,
        body: Box<Self>,
        until: bool,
    },
    For {
        variable: String,
        words: Option<Vec<Word>>,
        body: Box<Self>,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Self)>,
    },
    Subshell(Box<Self>),
    Function(String, Box<Self>),
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

pub(super) type Result<T> = std::result::Result<T, ParseError>;

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

pub(super) struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) depth: usize,
}

pub(super) fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Parser {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn peek_at(&self, offset: usize) -> Option<char> {
        self.text.get(self.at + offset).copied()
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        prefix
            .chars()
            .enumerate()
            .all(|(i, c)| self.peek_at(i) == Some(c))
    }

    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let found = self.starts_with(prefix);
        if found {
            self.at += prefix.chars().count();
        }
        found
    }

    pub(super) fn blanks(&mut self) {
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

    pub(super) fn newlines(&mut self) {
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

    pub(super) fn list(&mut self, ends: &[&str]) -> Result<Node> {
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

    pub(super) fn deeper(&mut self) -> Result<()> {
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

    pub(super) fn name(&mut self) -> Result<String> {
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
