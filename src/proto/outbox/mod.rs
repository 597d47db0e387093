//! Frames that wait to be written, and those that are being written.

mod batch;
#[cfg(feature = "deflate")]
mod compression;
#[cfg(not(feature = "deflate"))]
#[path = "no_compression.rs"]
mod compression;
mod direct;
mod frames;
mod queue;
mod segment;

pub use batch::Batch;
pub(crate) use compression::Deflater;
pub(super) use compression::Deflation;
pub(crate) use direct::DirectHead;
pub(super) use frames::{push_message, push_short, short};
pub(super) use queue::Queue;
