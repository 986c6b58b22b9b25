//! Label and field selectors.

use serde_json::Value;

use super::kinds::Kind;
use super::status::{Failure, Result};

/// What a list or watch selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

#[derive(Clone, Debug)]
struct FieldRequirement {
    path: String,
    equal: bool,
    value: String,
}

impl Selector {
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(kind, fields)?,
        })
    }

    /// Only objects of this name.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.fields.push(FieldRequirement {
            path: "metadata.name".into(),
            equal: true,
            value: name.into(),
        });
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|r| r.matches(labels))
            && self.fields.iter().all(|r| r.matches(object))
    }
}

/// Whether a `LabelSelector` of an object selects these labels.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"]
        .as_object()
        .is_none_or(|m| m.iter().all(|(k, v)| labels.get(k) == Some(v)));
    let expressions = selector["matchExpressions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    equal
        && expressions.iter().all(|e| {
            let operator = match e["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("Exists") => Operator::Exists,
                _ => Operator::DoesNotExist,
            };
            let values = e["values"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let values = values
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            Requirement {
                key: e["key"].as_str().unwrap_or_default().into(),
                operator,
                values,
            }
            .matches(labels)
        })
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        let listed = value.is_some_and(|v| self.values.iter().any(|w| w == v));
        let compare = |accept: fn(i64, i64) -> bool| {
            let numbers = value
                .and_then(|v| v.parse().ok())
                .zip(self.values.first().and_then(|v| v.parse().ok()));
            numbers.is_some_and(|(a, b)| accept(a, b))
        };
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compare(|a, b| a > b),
            Operator::LessThan => compare(|a, b| a < b),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Value) -> bool {
        let mut value = object;
        for part in self.path.split('.') {
            value = value.get(part).unwrap_or(&Value::Null);
        }
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Object(source) if self.path == "source" => source
                .get("component")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            other => other.to_string(),
        };
        let text = if text.is_empty()
            && matches!(
                self.path.as_str(),
                "spec.hostNetwork" | "spec.unschedulable"
            ) {
            "false".to_owned()
        } else {
            text
        };
        (text == self.value) == self.equal
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn literal(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["!=", "==", "=", "!", ",", "(", ")", ">", "<"];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=!,()<>".contains(c))
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens.push(Token::End);
    tokens
}

fn unable(found: &Token, expected: &str) -> Failure {
    let literal = found.literal();
    Failure::bad_request(format!(
        "unable to parse requirement: found '{literal}', expected: {expected}"
    ))
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>> {
    let tokens = tokens(text);
    let mut requirements = Vec::new();
    let mut at = 0;
    if tokens.first() == Some(&Token::End) {
        return Ok(requirements);
    }
    if let Some(Token::Symbol(symbol)) = tokens.first()
        && *symbol != "!"
    {
        return Err(Failure::bad_request(format!(
            "found '{symbol}', expected: !, identifier, or 'end of string'"
        )));
    }
    loop {
        requirements.push(parse_requirement(&tokens, &mut at)?);
        match &tokens[at] {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => at += 1,
            other => {
                let literal = other.literal();
                return Err(Failure::bad_request(format!(
                    "found '{literal}', expected: ',' or 'end of string'"
                )));
            }
        }
        if !matches!(tokens[at], Token::Word(_) | Token::Symbol("!")) {
            let literal = tokens[at].literal();
            return Err(Failure::bad_request(format!(
                "found '{literal}', expected: identifier after ','"
            )));
        }
    }
}

fn take(tokens: &[Token], at: &mut usize) -> Token {
    let token = tokens.get(*at).cloned().unwrap_or(Token::End);
    if token != Token::End {
        *at += 1;
    }
    token
}

fn ends(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::End | Token::Symbol(",")) | None)
}

fn parse_requirement(tokens: &[Token], at: &mut usize) -> Result<Requirement> {
    let mut token = take(tokens, at);
    let negated = token == Token::Symbol("!");
    if negated {
        token = take(tokens, at);
    }
    let Token::Word(key) = token else {
        return Err(unable(&token, "!, identifier, or 'end of string'"));
    };
    check_key(&key)?;
    if negated || ends(tokens.get(*at)) {
        let operator = if negated {
            Operator::DoesNotExist
        } else {
            Operator::Exists
        };
        return Ok(Requirement {
            key,
            operator,
            values: Vec::new(),
        });
    }
    let (operator, set) = match take(tokens, at) {
        Token::Symbol("=" | "==") => (Operator::In, false),
        Token::Symbol("!=") => (Operator::NotIn, false),
        Token::Symbol(">") => (Operator::GreaterThan, false),
        Token::Symbol("<") => (Operator::LessThan, false),
        Token::Word(word) if word == "in" => (Operator::In, true),
        Token::Word(word) if word == "notin" => (Operator::NotIn, true),
        other => return Err(unable(&other, "in, notin, =, ==, !=, gt, lt")),
    };
    let values = if set {
        parse_set(tokens, at)?
    } else if ends(tokens.get(*at)) {
        vec![String::new()]
    } else {
        match take(tokens, at) {
            Token::Word(word) => vec![word],
            other => return Err(unable(&other, "identifier")),
        }
    };
    for value in &values {
        check_value(value)?;
    }
    Ok(Requirement {
        key,
        operator,
        values,
    })
}

fn parse_set(tokens: &[Token], at: &mut usize) -> Result<Vec<String>> {
    let open = take(tokens, at);
    if open != Token::Symbol("(") {
        return Err(unable(&open, "'('"));
    }
    let mut values = Vec::new();
    loop {
        match take(tokens, at) {
            Token::Word(word) => match take(tokens, at) {
                Token::Symbol(")") => {
                    values.push(word);
                    return Ok(values);
                }
                Token::Symbol(",") => values.push(word),
                other => return Err(unable(&other, "',' or ')'")),
            },
            Token::Symbol(",") => values.push(String::new()),
            Token::Symbol(")") => {
                values.push(String::new());
                return Ok(values);
            }
            other => return Err(unable(&other, "',', ')' or identifier")),
        }
    }
}

/// Whether this is what both label values and the name part of label keys look like.
pub(crate) fn is_label_text(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check_key(key: &str) -> Result<()> {
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(p, n)| (Some(p), n));
    if is_label_text(name) && prefix.is_none_or(super::validate::is_subdomain) {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "unable to parse requirement: key: Invalid value: {key:?}: name part must consist of alphanumeric characters, \
         '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
         '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )))
}

fn check_value(value: &str) -> Result<()> {
    if value.is_empty() || is_label_text(value) {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "unable to parse requirement: values[0]: Invalid value: {value:?}: a valid label must be an empty string or \
         consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
         (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )))
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldRequirement>> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        let last = terms.len() - 1;
        if character == ',' && !escaped {
            terms.push(String::new());
        } else {
            terms[last].push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    let mut requirements = Vec::new();
    for term in terms.iter().filter(|t| !t.is_empty()) {
        let Some((path, equal, raw)) = split_field(term) else {
            return Err(Failure::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        let mut value = String::new();
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            value.push(if character == '\\' {
                characters.next().unwrap_or('\\')
            } else {
                character
            });
        }
        let path = if path == "spec.host" {
            "spec.nodeName"
        } else {
            path
        };
        let common = path == "metadata.name" || (path == "metadata.namespace" && kind.namespaced);
        if !common && !kind.selectable.iter().any(|f| f == path) {
            let message = if kind.custom.is_some() || !kind.selectable.is_empty() {
                format!("field label not supported: {path}")
            } else {
                format!(
                    "\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            };
            return Err(Failure::bad_request(message));
        }
        requirements.push(FieldRequirement {
            path: path.to_owned(),
            equal,
            value,
        });
    }
    Ok(requirements)
}

fn split_field(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let rest = &term[at..];
    let (equal, value) = match rest {
        _ if rest.starts_with("!=") => (false, &rest[2..]),
        _ if rest.starts_with("==") => (true, &rest[2..]),
        _ if rest.starts_with('=') => (true, &rest[1..]),
        _ => return None,
    };
    Some((term[..at].trim(), equal, value))
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::*;
    use serde_json::json;

    fn matches(labels: &str, fields: &str, object: &Value) -> std::result::Result<bool, String> {
        let pods = Kinds::new().find("", "v1", "pods").unwrap();
        let selector = Selector::parse(&pods, labels, fields)
            .map_err(|f| f.status()["message"].as_str().unwrap().to_owned())?;
        Ok(selector.matches(object))
    }

    #[test]
    fn labels() {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "web", "n": "5", "example.com/x": ""}}});
        for (selector, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("app=web", true),
            ("app==web,n=5", true),
            ("app!=web", false),
            ("none!=web", true),
            ("app in (db, web)", true),
            ("app notin (web)", false),
            ("none notin (web)", true),
            ("n>4", true),
            ("n<4", false),
            ("example.com/x=", true),
            ("example.com/x", true),
            ("app in ()", false),
        ] {
            assert_eq!(matches(selector, "", &object), Ok(expected), "{selector}");
        }
        for (selector, message) in [
            (
                "a in (",
                "unable to parse requirement: found '', expected: ',', ')' or identifier",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(matches(selector, "", &object), Err(message.to_owned()));
        }
        assert!(matches("-bad=x", "", &object).is_err());
    }

    #[test]
    fn fields() {
        let object = json!({"metadata": {"name": "a,b", "namespace": "n"}, "spec": {"nodeName": "m"}, "status": {"phase": "Running"}});
        for (selector, expected) in [
            ("metadata.name=a\\,b", true),
            ("metadata.namespace!=n", false),
            ("spec.host=m", true),
            ("status.phase==Running,spec.nodeName=m", true),
            ("spec.hostNetwork=false", true),
        ] {
            assert_eq!(matches("", selector, &object), Ok(expected), "{selector}");
        }
        assert_eq!(
            matches("", "metadata.name", &object),
            Err("invalid selector: 'metadata.name'; can't understand 'metadata.name'".into())
        );
        assert_eq!(
            matches("", "foo=1", &object),
            Err("field label not supported: foo".into())
        );
    }
}
