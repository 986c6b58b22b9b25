//! What a reflector reflects, and its patience.

use std::time::Duration;

use super::Backoff;

/// How the whole collection is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListMode {
    /// As the beginning of the watch (`sendInitialEvents`, servers since 1.32), which spares the server's memory. If
    /// the server does not know that, pages are used instead.
    #[default]
    Streaming,
    /// In pages, then a watch.
    Paged,
}

/// How old the first state may be. Later ones are always the most recent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Freshness {
    /// The state when it was asked for.
    #[default]
    MostRecent,
    /// Whatever the API server has in its cache (`resourceVersion=0`), in one page. Cheaper for the server; a
    /// program that restarts may see an older state than it saw before.
    Any,
}

/// What to do when a list takes so long that its continue token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnExpired {
    /// Start the list again, and after [`max_restarts`](ReflectorConfig::max_restarts) ask for all of it in one page.
    #[default]
    Restart,
    /// Go on with the token that the server offers instead, and watch from the first page's version. Until the
    /// watch has caught up, the objects are not of one point in time. Without such a token, restart.
    GoOn,
}

/// What a [`Reflector`](super::Reflector) reflects, and its patience.
///
/// ```
/// use kubewire::reflect::{ListMode, ReflectorConfig};
/// let config = ReflectorConfig::default().labels("app=web").list_mode(ListMode::Paged).page_size(100);
/// assert_eq!(config.page_size, Some(100));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReflectorConfig {
    /// Only objects whose labels match. An object that stops matching is deleted as far as events tell.
    pub labels: Option<String>,
    /// Only objects whose fields match.
    pub fields: Option<String>,
    /// How the whole collection is read. Default [`ListMode::Streaming`].
    pub list_mode: ListMode,
    /// How old the first state may be. Default [`Freshness::MostRecent`].
    pub freshness: Freshness,
    /// Objects a page; `None` for one page of all. Default 500.
    pub page_size: Option<u32>,
    /// What to do about an expired continue token. Default [`OnExpired::Restart`].
    pub on_expired: OnExpired,
    /// How often a list that expired is started again in pages before all is asked for in one. Default 1.
    pub max_restarts: u32,
    /// Within which range of seconds the server is asked to end each watch; which second is random, so
    /// that clients do not come back together. Default 300 to 600.
    pub watch_seconds: (u32, u32),
    /// How much longer than that a watch may be silent before it is given up. Default 30 s.
    pub margin: Duration,
    /// How long a watch may be silent on a server that was seen to send bookmarks, which it does every minute or so.
    /// Default 150 s.
    pub bookmark_timeout: Duration,
    /// How long a list, or the head of any answer, may keep waiting. Default 60 s.
    pub answer_timeout: Duration,
    /// How long a streaming list may pause before the server is taken for one that ignores the parameter.
    /// Default 10 s.
    pub stream_pause: Duration,
    /// How long a streaming list may take. Default 5 min.
    pub stream_timeout: Duration,
    /// How many watches in a row may run their time without any event or bookmark before the collection is listed
    /// again, to be sure: a server that was restored from a backup waits silently for a version that never comes.
    /// Default 2; `None` for never.
    pub mute_watches: Option<u32>,
    /// How many times in a row a watch from one version may fail by the server's fault before the collection is listed
    /// again, and a page before the list is started again. Default 5.
    pub max_failures: u32,
    /// When to try again after failures.
    pub backoff: Backoff,
}

impl Default for ReflectorConfig {
    fn default() -> Self {
        Self {
            labels: None,
            fields: None,
            list_mode: ListMode::default(),
            freshness: Freshness::default(),
            page_size: Some(500),
            on_expired: OnExpired::default(),
            max_restarts: 1,
            watch_seconds: (300, 600),
            margin: Duration::from_secs(30),
            bookmark_timeout: Duration::from_secs(150),
            answer_timeout: Duration::from_mins(1),
            stream_pause: Duration::from_secs(10),
            stream_timeout: Duration::from_mins(5),
            mute_watches: Some(2),
            max_failures: 5,
            backoff: Backoff::default(),
        }
    }
}

macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }
    )*};
}

impl ReflectorConfig {
    /// Sets [`labels`](#structfield.labels).
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Sets [`fields`](#structfield.fields).
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only the object of this name; sets [`fields`](#structfield.fields).
    #[must_use]
    pub fn object(self, name: &str) -> Self {
        let mut selector = String::from("metadata.name=");
        for char in name.chars() {
            if matches!(char, '\\' | ',' | '=') {
                selector.push('\\');
            }
            selector.push(char);
        }
        self.fields(selector)
    }

    setters! {
        list_mode: ListMode,
        freshness: Freshness,
        page_size: Option<u32>,
        on_expired: OnExpired,
        max_restarts: u32,
        watch_seconds: (u32, u32),
        margin: Duration,
        bookmark_timeout: Duration,
        answer_timeout: Duration,
        stream_pause: Duration,
        stream_timeout: Duration,
        mute_watches: Option<u32>,
        max_failures: u32,
        backoff: Backoff,
    }
}
