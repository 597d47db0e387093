//! Compression of queued messages.

mod deflater;
mod deflation;
mod queue;
mod terms;

pub(crate) use deflater::Deflater;
pub(in crate::proto) use deflation::Deflation;
pub(in crate::proto) use queue::CompressionQueue;
