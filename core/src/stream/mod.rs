//! Decoders of answers that come in parts: lists item by item, watches, logs.

mod items;
mod lines;
mod list;
mod logs;
mod watch;

pub use items::ItemSplitter;
pub use lines::Lines;
pub use list::{Collect, Items, List};
pub use logs::{LogLine, LogLines};
pub use watch::{Bookmark, Watch, WatchEvent};
