//! The send path: messages to frames to bytes.

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
        proto::{Batch, Buffers, MaskKey},
    };

    /// Returns the path of a server, its batch and the buffer pool.
    pub(super) fn path() -> (SendPath, Batch, Buffers) {
        (
            SendPath::new(Role::Server, &Config::new().max_write_buffer_size(1000)),
            Batch::new(),
            Buffers::new(),
        )
    }

    /// Stages queued frames. Returns the bytes of the batch.
    pub(super) fn staged(path: &mut SendPath, batch: &mut Batch, buffers: &mut Buffers) -> Vec<u8> {
        path.stage(batch, buffers);
        batch.copy_to_bytes(batch.remaining()).to_vec()
    }

    /// Sends a message with a masking key of zeros.
    pub(super) fn send(path: &mut SendPath, message: impl Into<Outgoing<'static>>, buffers: &mut Buffers) {
        path.send(message.into(), MaskKey::default(), buffers).expect("open");
    }
}
