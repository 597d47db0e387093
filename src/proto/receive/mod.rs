//! The way in: bytes to frames to messages.

mod control;
mod path;

pub use path::{ReceivePath, Want};
