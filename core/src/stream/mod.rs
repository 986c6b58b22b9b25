//! Decoders of answers that come in parts: lists item by item, watches, logs.

mod items;
mod lines;
mod list;
mod logs;
mod strip;
mod text;
mod watch;

pub use items::ItemSplitter;
pub use lines::Lines;
pub use list::{Collect, CollectAll, Items, List};
pub use logs::{LogLine, LogLines};
pub use text::{Chunks, TextLines};
pub use watch::{Bookmark, Watch, WatchEvent};
