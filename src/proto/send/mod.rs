//! The way out: messages to frames to bytes.

mod control;
mod parts;
mod path;

pub use path::SendPath;

#[cfg(test)]
mod testing {
    use bytes::Buf;

    use super::SendPath;
    use crate::{
        Config, Outgoing, Role,
        proto::{Batch, Lent, MaskKey},
    };

    /// A server, its batch, and what a thread lends.
    pub(super) fn path() -> (SendPath, Batch, Lent) {
        (SendPath::new(Role::Server, &Config::new().max_write_buffer(1000)), Batch::new(), Lent::new())
    }

    pub(super) fn staged(path: &mut SendPath, batch: &mut Batch, lent: &mut Lent) -> Vec<u8> {
        path.stage(batch, lent);
        batch.copy_to_bytes(batch.remaining()).to_vec()
    }

    pub(super) fn send(path: &mut SendPath, message: impl Into<Outgoing<'static>>, lent: &mut Lent) {
        path.send(message.into(), MaskKey::default(), lent).expect("open");
    }
}
