//! The receive path: bytes to frames to messages.

mod control;
mod parts;
mod path;

pub use path::{ReceivePath, Want};
