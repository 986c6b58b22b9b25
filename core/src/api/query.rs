//! Query strings.

use super::path::encode;

/// Appends parameters to a path.
pub(crate) struct Query {
    url: String,
    started: bool,
}

impl Query {
    pub(crate) fn new(path: String) -> Self {
        Self {
            url: path,
            started: false,
        }
    }

    pub(crate) fn pair(&mut self, key: &str, value: &str) {
        self.url
            .push(if std::mem::replace(&mut self.started, true) {
                '&'
            } else {
                '?'
            });
        self.url.push_str(key);
        self.url.push('=');
        encode(&mut self.url, value.as_bytes(), |_| false);
    }

    pub(crate) fn some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.pair(key, &value.to_string());
        }
    }

    /// Absent is false: only `true` is worth sending.
    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.pair(key, "true");
        }
    }

    pub(crate) fn finish(self) -> String {
        self.url
    }
}
