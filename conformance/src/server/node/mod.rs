//! The node.
use super::App;
use std::sync::Arc;
#[derive(Debug)]
pub(crate) struct Node;
impl Node {
    pub(crate) fn new() -> Self {
        Self
    }
}
pub(crate) async fn run(_app: Arc<App>) {}
