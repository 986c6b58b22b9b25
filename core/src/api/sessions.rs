//! Sessions: placeholders until the machines land.
