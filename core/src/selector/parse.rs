//! The grammar of label selectors, as the API machinery reads it.

use std::collections::BTreeSet;

use super::labels::{Requirement, Test};
use crate::Error;

/// Parses `k`, `!k`, `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k>1`, `k<1`, separated by commas.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, Error> {
    let mut parser = Parser { rest: text, text };
    let mut found = Vec::new();
    parser.space();
    if parser.rest.is_empty() {
        return Ok(found);
    }
    loop {
        found.push(parser.requirement()?);
        parser.space();
        if parser.rest.is_empty() {
            return Ok(found);
        }
        if !parser.take(",") {
            return Err(parser.fault("a comma"));
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, Error> {
        self.space();
        if self.take("!") {
            let key = self.word();
            if key.is_empty() {
                return Err(self.fault("a key"));
            }
            return Ok(Requirement {
                key: key.to_owned(),
                test: Test::NotExists,
            });
        }
        let key = self.word();
        if key.is_empty() {
            return Err(self.fault("a key"));
        }
        self.space();
        let test = if self.take("==") || self.take("=") {
            Test::Equals(self.word().to_owned())
        } else if self.take("!=") {
            Test::NotEquals(self.word().to_owned())
        } else if self.take(">") {
            Test::GreaterThan(self.number()?)
        } else if self.take("<") {
            Test::LessThan(self.number()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else {
            match self.word() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                _ => return Err(self.fault("an operator")),
            }
        };
        Ok(Requirement {
            key: key.to_owned(),
            test,
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, Error> {
        self.space();
        if !self.take("(") {
            return Err(self.fault("an opening parenthesis"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.word().to_owned());
            self.space();
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.fault("a comma or a closing parenthesis"));
            }
        }
    }

    fn number(&mut self) -> Result<i64, Error> {
        self.word().parse().map_err(|_| self.fault("a number"))
    }

    /// Everything up to what has a meaning.
    fn word(&mut self) -> &'a str {
        self.space();
        let special = |char: char| char.is_ascii_whitespace() || "!=<>(),".contains(char);
        let end = self.rest.find(special).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn fault(&self, expected: &str) -> Error {
        let at = self.text.len() - self.rest.len();
        Error::usage(format!("the label selector has no {expected} at byte {at}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{ErrorKind, LabelSelector};

    #[test]
    fn selectors_parse_as_on_the_server() {
        for (text, shown) in [
            ("", ""),
            ("  ", ""),
            ("a", "a"),
            ("!a", "!a"),
            (" ! a ", "!a"),
            ("a=b", "a=b"),
            ("a==b", "a=b"),
            ("a = b", "a=b"),
            ("a=", "a="),
            ("a=,c", "a=,c"),
            ("a!=b", "a!=b"),
            ("a != b , !c", "a!=b,!c"),
            ("a in (b)", "a in (b)"),
            ("a in(c,b , b)", "a in (b,c)"),
            ("a in (b,)", "a in (,b)"),
            ("a notin (b,c)", "a notin (b,c)"),
            ("a>1,b<-2", "a>1,b<-2"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("in", "in"),
            ("notin=in", "notin=in"),
            ("example.com/a_b.c=X-1.y", "example.com/a_b.c=X-1.y"),
        ] {
            let selector: LabelSelector = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<LabelSelector>().unwrap(), selector, "{text}");
        }
        for text in [
            ",",
            "a,",
            ",a",
            "a,,b",
            "=b",
            "a=b=c",
            "a b",
            "a in",
            "a in b",
            "a in (b",
            "a in (b c)",
            "!",
            "!a=b",
            "a>x",
            "a<",
            "a=b c",
            "a/b/c",
            "/a",
            "A.b/c",
            "-a",
            "a-",
            "a=-b",
            "a=b/c",
            "a\u{a0}",
            "a=b;c",
            "()",
        ] {
            let error = text.parse::<LabelSelector>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn matching_follows_the_server() {
        let labels = BTreeMap::from([("a", "1"), ("b", ""), ("c", "x")]);
        for (text, matches) in [
            ("", true),
            ("a", true),
            ("d", false),
            ("!d", true),
            ("!a", false),
            ("a=1", true),
            ("a=2", false),
            ("d=1", false),
            ("d!=1", true),
            ("a!=1", false),
            ("b=", true),
            ("b in (,x)", true),
            ("a in (1,2)", true),
            ("d in (1)", false),
            ("d notin (1)", true),
            ("a notin (1)", false),
            ("a>0", true),
            ("a>1", false),
            ("a<2", true),
            ("c>0", false),
            ("c<9", false),
            ("d<9", false),
            ("a,c=y", false),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
        let broken = LabelSelector::new().eq("a", "1,c=x");
        assert!(!broken.matches(&BTreeMap::from([("a", "1,c=x")])));
    }
}
