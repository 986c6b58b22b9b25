//! YAML text as a tree that keeps lines and spellings. JSON is YAML.
//!
//! A schema-driven reader needs both: `token: 0123` is the text `0123`, and an error has to name a
//! line. Everything is bounded, and nothing here quotes a value in an error.

use std::collections::{BTreeMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// Largest file that is read, in bytes. The largest kubeconfigs seen have some thousand contexts
/// and a few MiB.
const MAX_INPUT: usize = 32 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Most nodes in a file.
const MAX_NODES: usize = 1 << 19;
/// How much anchors and aliases may copy: a text counts its length, a node this much on top.
const MAX_COPIED: usize = 16 << 20;
const NODE_COST: usize = 64;

/// What is wrong with a text, and in which line (0: not known).
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `typed` if null, booleans and numbers are to be recognized in it.
    Scalar {
        text: String,
        typed: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, typed } => {
                *typed && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// What it is, for an error.
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } => "a plain value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.kind {
            Kind::Scalar { text, typed: true } => match text.as_str() {
                "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y"
                | "Y" => Some(true),
                "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n"
                | "N" => Some(false),
                _ => None,
            },
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The same as JSON, by YAML's core schema.
    pub(super) fn into_value(self) -> Value {
        if self.is_null() {
            return Value::Null;
        }
        match self.kind {
            Kind::Scalar { text, typed: false } => Value::String(text),
            Kind::Scalar { text, typed: true } => typed_value(text),
            Kind::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, node)| (key, node.into_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    fn cost(&self) -> usize {
        NODE_COST
            + match &self.kind {
                Kind::Scalar { text, .. } => text.len(),
                Kind::List(items) => items.iter().map(Self::cost).sum(),
                Kind::Map(entries) => entries
                    .iter()
                    .map(|(key, node)| key.len() + node.cost())
                    .sum(),
            }
    }

    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(entries) => entries
                .iter()
                .map(|(_, node)| node.depth())
                .max()
                .unwrap_or(0),
        }
    }
}

fn typed_value(text: String) -> Value {
    match text.as_str() {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit());
    let octal_looking = digits.len() > 1 && digits.starts_with('0') && !digits.contains('.');
    if decimal && !octal_looking {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Ok(number) = text.parse::<u64>() {
            return number.into();
        }
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text)
}

/// Text in UTF-8, or in UTF-16 with a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<String, Fault> {
    if bytes.len() > MAX_INPUT {
        return Err(Fault::new(0, "the file is larger than 32 MiB"));
    }
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Fault::new(
                0,
                "this is UTF-16 with an odd number of bytes: the file is cut off",
            ));
        }
        char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
            .collect::<Result<String, _>>()
            .map_err(|_| Fault::new(0, "this is not valid UTF-16"))
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Fault> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = memchr::memchr_iter(b'\n', before).count() + 1;
            Fault::new(
                line,
                "this is neither UTF-8 nor UTF-16 with a byte order mark",
            )
        })
}

/// A collection whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        seen: HashSet<String>,
        merges: Vec<Node>,
        key: Option<Key>,
    },
}

enum Key {
    Field(String),
    Merge,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    copied: usize,
}

/// The documents of a text. Empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut builder = Builder::default();
    // Another user of the parser may have its feature for comments on.
    let options = granit_parser::options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| Fault::new(error.marker().line(), error.info()))?;
        builder.handle(event, span.start.line())?;
    }
    Ok(builder.documents)
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let typed = match tag.as_deref().and_then(Tag::core_suffix) {
                    Some("str") => false,
                    Some(_) => true,
                    None => style == ScalarStyle::Plain,
                };
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    typed,
                };
                self.add(Node { line, kind }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(line, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.begin(line, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    Fault::new(line, "an alias stands inside of what it refers to")
                })?;
                if self.open.len() + node.depth() > MAX_DEPTH {
                    return Err(too_deep(line));
                }
                self.copy(line, node.cost())?;
                self.add(node, 0)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | _ => Ok(()),
        }
    }

    fn copy(&mut self, line: usize, cost: usize) -> Result<(), Fault> {
        self.copied += cost;
        if self.copied > MAX_COPIED {
            return Err(Fault::new(line, "anchors and aliases expand to too much"));
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH - 1 {
            return Err(too_deep(line));
        }
        self.open.push(Open {
            line,
            anchor,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open {
            line,
            anchor,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Map {
                mut entries,
                mut seen,
                merges,
                ..
            } => {
                for merge in merges {
                    merge_into(merge, &mut entries, &mut seen)?;
                }
                Kind::Map(entries)
            }
        };
        self.add(Node { line, kind }, anchor)
    }

    /// Puts a complete node to where it belongs.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        let line = node.line;
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::new(line, "the file has too many values"));
        }
        if anchor != 0 {
            self.copy(line, node.cost())?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map {
                entries,
                seen,
                merges,
                key,
            } => match key.take() {
                Some(Key::Field(name)) => entries.push((name, node)),
                Some(Key::Merge) => merges.push(node),
                None => {
                    let Kind::Scalar { text, typed } = node.kind else {
                        return Err(Fault::new(
                            line,
                            format!("the key of a mapping is {}", node.what()),
                        ));
                    };
                    *key = Some(if typed && text == "<<" {
                        Key::Merge
                    } else if seen.insert(text.clone()) {
                        Key::Field(text)
                    } else {
                        let name: String = text.chars().take(60).collect();
                        return Err(Fault::new(
                            line,
                            format!("the field {name:?} is there twice"),
                        ));
                    });
                }
            },
        }
        Ok(())
    }
}

/// `<<: *defaults` or `<<: [*a, *b]`: fields that are not there yet.
fn merge_into(
    merge: Node,
    entries: &mut Vec<(String, Node)>,
    seen: &mut HashSet<String>,
) -> Result<(), Fault> {
    match merge.kind {
        Kind::Map(fields) => {
            for (name, node) in fields {
                if seen.insert(name.clone()) {
                    entries.push((name, node));
                }
            }
            Ok(())
        }
        Kind::List(items) => items.into_iter().try_for_each(|item| match &item.kind {
            Kind::Map(_) => merge_into(item, entries, seen),
            Kind::List(_) | Kind::Scalar { .. } => Err(not_mergeable(item.line)),
        }),
        Kind::Scalar { .. } => Err(not_mergeable(merge.line)),
    }
}

fn not_mergeable(line: usize) -> Fault {
    Fault::new(line, "only a mapping can be merged with <<")
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, "the nesting is too deep")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let documents = parse(text).unwrap();
        documents.into_iter().map(Node::into_value).collect()
    }

    fn fault(text: &str) -> Fault {
        parse(text).map(|nodes| nodes.len()).unwrap_err()
    }

    #[test]
    fn values_follow_the_core_schema() {
        let text = "a: [1, -2, +3, 1.5, 1e3, 0755, 0x1F, 1_000, true, False, yes, ~, null, '', \"1\", !!str 5, .nan, 99999999999999999999, x]";
        assert_eq!(
            values(text),
            [json!({"a": [
                1, -2, 3, 1.5, 1000.0, "0755", "0x1F", "1_000", true, false, "yes",
                null, null, "", "1", "5", ".nan", 1e20, "x"
            ]})]
        );
    }

    #[test]
    fn json_is_yaml() {
        let text =
            "{\n\t\"a\": {\"b\": [\"x\\/\\u00e9\\ud83d\\ude00\", null, 1]},\n\t\"c\": \"\"\n}";
        assert_eq!(
            values(text),
            [json!({"a": {"b": ["x/é😀", null, 1]}, "c": ""})]
        );
    }

    #[test]
    fn documents_anchors_and_merges() {
        let text = "a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\nf: {<<: [{b: 5, g: 6}, *x]}\n---\n---\n# nothing\n---\n- 1\n...\n";
        assert_eq!(
            values(text),
            [
                json!({
                    "a": {"b": 1, "c": 2},
                    "d": {"b": 1, "c": 2},
                    "e": {"b": 1, "c": 3},
                    "f": {"b": 5, "g": 6, "c": 2},
                }),
                json!([1])
            ]
        );
    }

    #[test]
    fn faults_name_the_line() {
        for (text, line, part) in [
            ("a: 1\nb: [\n", 2, "unclosed"),
            ("a: 1\nb: 2\na: 3\n", 3, "\"a\" is there twice"),
            ("a: 1\n? [b]\n: 2\n", 2, "the key of a mapping is a list"),
            ("a: &x [*x]\n", 1, "inside of what it refers to"),
            ("a: 1\nb: *x\n", 2, "anchor"),
            ("a: 1\n<<: 2\n", 2, "only a mapping"),
            ("a: &x 1\n---\nb: *x\n", 3, "anchor"),
        ] {
            let fault = fault(text);
            assert_eq!(fault.line, line, "{text:?} {fault:?}");
            assert!(fault.what.contains(part), "{text:?} {fault:?}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..40 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            writeln!(laughs, "a{level}: &a{level} [{below}]").unwrap();
        }
        assert!(fault(&laughs).what.contains("expand to too much"));
        let long = format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(1 << 20),
            "*a, ".repeat(1000)
        );
        assert!(fault(&long).what.contains("expand to too much"));
        let mut chain = String::from("a0: &a0 [x]\n");
        for level in 1..100 {
            writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
        }
        assert!(fault(&chain).what.contains("too deep"));
        fault(&"[".repeat(100_000));
        fault(&"- ".repeat(100_000));
        fault(&"a:\n ".repeat(1000));
        assert!(
            fault(&format!("[{}]", "a,".repeat(MAX_NODES)))
                .what
                .contains("too many")
        );
        assert!(decode(&vec![b'a'; MAX_INPUT + 1]).is_err());
    }

    #[test]
    fn encodings() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        let text = "\u{feff}é😀";
        for bytes in [
            text.as_bytes().to_vec(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap(), "é😀");
            for cut in 0..bytes.len() {
                let _ = decode(&bytes[..cut]);
            }
        }
        assert!(
            decode(&[0xFF, 0xFE, 0x61])
                .unwrap_err()
                .what
                .contains("odd")
        );
        assert_eq!(decode(b"a\nb\n\xC0").unwrap_err().line, 3);
    }
}
