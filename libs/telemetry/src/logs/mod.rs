//! `tracing` events as lines of text: `line.rs` writes a line, `writer.rs` brings it to disk.

mod layer;
mod line;
mod writer;

pub(crate) use layer::LogLayer;
pub(crate) use writer::{LogWriter, LogWriterSettings};

#[cfg(test)]
mod tests;
