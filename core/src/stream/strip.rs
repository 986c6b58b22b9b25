//! Cuts `metadata.managedFields` out of the JSON of an object.

use memchr::memmem;

const NAME: &[u8] = b"\"managedFields\"";

/// The JSON without `metadata.managedFields`, written to `scratch`; none if there is nothing to cut.
///
/// It looks at structure only as far as it must: JSON that is not well-formed comes out as it is, or cut where it
/// is, and the decoder says what is wrong with it.
pub(super) fn managed_fields<'a>(json: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    // Most work is saved by not starting: the name is nowhere, or what follows it is somebody else's.
    memmem::find(json, NAME)?;
    let (start, end) = Scan { json, at: 0 }.find()?;
    scratch.clear();
    scratch.extend_from_slice(&json[..start]);
    scratch.extend_from_slice(&json[end..]);
    Some(scratch)
}

struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Where the field and one of its commas are.
    fn find(mut self) -> Option<(usize, usize)> {
        self.enter()?;
        while let Some(key) = self.key() {
            if key == b"\"metadata\"" {
                self.enter()?;
                return self.find_in_metadata();
            }
            self.skip_value()?;
            self.comma()?;
        }
        None
    }

    fn find_in_metadata(&mut self) -> Option<(usize, usize)> {
        let mut first = true;
        loop {
            // From the comma that precedes it; for the first field, up to the comma that follows it.
            let before = self.at;
            if !first {
                self.comma()?;
            }
            self.space();
            let start = self.at;
            let key = self.key()?;
            let found = key == NAME;
            self.skip_value()?;
            if found && first {
                let end = self.at;
                self.space();
                let end = if self.peek() == Some(b',') {
                    self.at + 1
                } else {
                    end
                };
                return Some((start, end));
            }
            if found {
                return Some((before, self.at));
            }
            first = false;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn enter(&mut self) -> Option<()> {
        self.expect(b'{')
    }

    fn comma(&mut self) -> Option<()> {
        self.expect(b',')
    }

    /// A key with its quotes, and past its colon.
    fn key(&mut self) -> Option<&[u8]> {
        self.space();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return None;
        }
        self.skip_string()?;
        let end = self.at;
        self.expect(b':')?;
        Some(&self.json[start..end])
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.json.get(self.at..)?;
            let found = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        self.space();
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.skip_string()?;
                    if depth == 0 {
                        return Some(());
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(());
                    }
                }
                b'}' | b']' | b',' if depth == 0 => return Some(()),
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(json: &str) -> String {
        let mut scratch = Vec::new();
        managed_fields(json.as_bytes(), &mut scratch).map_or_else(
            || json.to_owned(),
            |json| String::from_utf8(json.to_vec()).unwrap(),
        )
    }

    #[test]
    fn only_the_metadata_of_the_object_itself_is_cut() {
        for (json, stripped) in [
            (
                r#"{"metadata":{"managedFields":[{"a":"]}"}],"name":"x"}}"#,
                r#"{"metadata":{"name":"x"}}"#,
            ),
            (
                r#"{"metadata":{"name":"x","managedFields":[1,[2]]}}"#,
                r#"{"metadata":{"name":"x"}}"#,
            ),
            (
                r#"{"metadata":{"name":"x","managedFields":[{}],"uid":"u"},"s":1}"#,
                r#"{"metadata":{"name":"x","uid":"u"},"s":1}"#,
            ),
            (
                r#"{"metadata":{"managedFields":null}}"#,
                r#"{"metadata":{}}"#,
            ),
            (
                r#"{ "a" : {"metadata":{"managedFields":[]}} , "metadata" : { "n" : 1 , "managedFields" : [ ] , "m":2 } }"#,
                r#"{ "a" : {"metadata":{"managedFields":[]}} , "metadata" : { "n" : 1  , "m":2 } }"#,
            ),
            (
                r#"{ "metadata" : { "managedFields" : [ ] , "m":2 } }"#,
                r#"{ "metadata" : {  "m":2 } }"#,
            ),
            (
                r#"{"metadata":{"annotations":{"a":"\"}"},"managedFields":[1]}}"#,
                r#"{"metadata":{"annotations":{"a":"\"}"}}}"#,
            ),
            // Not the field:
            (
                r#"{"metadata":{"annotations":{"a":"\"managedFields\""}},"managedFields":[]}"#,
                r#"{"metadata":{"annotations":{"a":"\"managedFields\""}},"managedFields":[]}"#,
            ),
            (
                r#"{"metadata":{"x":"managedFields"}}"#,
                r#"{"metadata":{"x":"managedFields"}}"#,
            ),
            (
                r#"{"spec":{"metadata":{"managedFields":[1]}}}"#,
                r#"{"spec":{"metadata":{"managedFields":[1]}}}"#,
            ),
            // Not JSON:
            (
                r#"{"metadata":{"managedFields":[1"#,
                r#"{"metadata":{"managedFields":[1"#,
            ),
            (
                r#"{"metadata":[{"managedFields":1}]}"#,
                r#"{"metadata":[{"managedFields":1}]}"#,
            ),
            (r#""managedFields""#, r#""managedFields""#),
        ] {
            assert_eq!(strip(json), stripped);
        }
        let whole = r#"{"a":[1,{"b":"\\\""}],"metadata":{"n":-1.5,"managedFields":[{"f":{"k:{\"x\":1}":{}}}]}}"#;
        for end in 0..whole.len() {
            strip(&whole[..end]);
        }
    }
}
