//! A prepared message, compressed once for each set of parameters.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use super::{compressor::Shape, deflation::How, pool::Pool};
use crate::proto::prepared::EncodedFrame;

/// What comes of compressing one message, for those who compress alike: a connection's parameters, and its settings.
#[derive(Default)]
pub(in crate::proto) struct Encodings {
    known: Mutex<Vec<(Shape, Option<EncodedFrame>)>>,
}

impl Encodings {
    /// The message compressed and then `encode`d, which is done once; `None` where it would not be shorter.
    pub(in crate::proto) fn get(
        &self,
        how: &How,
        payload: &[u8],
        pool: &mut Pool,
        encode: impl FnOnce(&[u8]) -> EncodedFrame,
    ) -> Option<EncodedFrame> {
        // Held while it compresses, so that others who want the same wait for it. A panic in between leaves nothing.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, encoded)) = known.iter().find(|(shape, _)| *shape == how.shape()) {
            return encoded.clone();
        }
        let encoded = how.alone(payload, pool).map(|compressed| encode(&compressed));
        known.push((how.shape(), encoded.clone()));
        encoded
    }
}

impl fmt::Debug for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encodings").finish_non_exhaustive()
    }
}
