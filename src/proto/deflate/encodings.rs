//! Prepared messages, compressed once for each set of parameters.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use super::{
    codecs::Codecs,
    compressor::{End, Shape},
    work::Work,
};
use crate::proto::encoded::EncodedFrame;

/// The compressed frames of one message, by the parameters of the compressor.
#[derive(Default)]
pub(in crate::proto) struct Encodings {
    known: Mutex<Vec<(Shape, Encoding)>>,
}

enum Encoding {
    /// It is being compressed: the next connection that needs it continues.
    Begun(Work),
    /// `None`: it would not be shorter.
    Done(Option<EncodedFrame>),
}

impl Encodings {
    /// Compresses about `stride` bytes of the message, unless that is complete; once it is, returns
    /// the result of `encode`, or `Some(None)` if it would not be shorter.
    ///
    /// Connections with the same parameters share the work: each continues where the last one
    /// stopped.
    pub(in crate::proto) fn advance(
        &self,
        shape: Shape,
        payload: &[u8],
        stride: &mut usize,
        codecs: &mut Codecs,
        encode: impl FnOnce(&[u8]) -> EncodedFrame,
    ) -> Option<Option<EncodedFrame>> {
        // Held for one stride, so that other connections wait for the result and do not begin
        // again.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(other, _)| *other == shape).unwrap_or_else(|| {
            let work = Work::new(codecs.engine(shape, Some(payload.len())), codecs);
            known.push((shape, Encoding::Begun(work)));
            known.len() - 1
        });
        let encoding = &mut known[at].1;
        let work = match encoding {
            Encoding::Done(frame) => return Some(frame.clone()),
            Encoding::Begun(work) => work,
        };
        if !work.advance(payload, End::Message, stride) && work.out().len() < payload.len() {
            return None;
        }
        let frame = (work.out().len() < payload.len()).then(|| encode(work.out()));
        if let Encoding::Begun(work) = std::mem::replace(encoding, Encoding::Done(frame.clone())) {
            work.end(codecs);
        }
        Some(frame)
    }
}

impl fmt::Debug for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encodings").finish_non_exhaustive()
    }
}
