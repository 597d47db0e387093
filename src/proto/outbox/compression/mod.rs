//! Compressing what is sent.

mod deflater;
mod deflation;
mod terms;
mod waiting;

pub(crate) use deflater::Deflater;
pub(in crate::proto) use deflation::Deflation;
pub(in crate::proto) use waiting::Waiting;
