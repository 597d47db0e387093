//! What is being written.

use std::{collections::VecDeque, fmt, io::IoSlice, mem};

use bytes::{Buf, Bytes};

/// The most bytes of small frames that are staged at once.
pub(super) const BATCH: usize = 64 << 10;

/// Whole frames on their way to the transport: staged by [`SendPath::stage`](super::SendPath::stage), written in any
/// number of writes.
///
/// A batch holds at most 64 KiB, or one frame that is larger, with what is coalesced in front of it. What is staged is
/// no longer overtaken; pings and pongs queued meanwhile are the first of the next batch.
///
/// It is a [`Buf`]: what [`chunk`](Buf::chunk) or [`chunks_vectored`](Buf::chunks_vectored) gives is to be written next,
/// and [`advance`](Buf::advance) notes what was.
///
/// ```
/// use std::io::Write;
/// use bytes::Buf;
/// use fullduplex::{Config, Role};
/// use fullduplex::proto::{Batch, Lent, MaskKey, SendPath};
///
/// let (mut lent, mut batch) = (Lent::new(), Batch::new());
/// let mut path = SendPath::new(Role::Server, &Config::new());
/// path.send("Hello".into(), MaskKey::default(), &mut lent)?;
/// path.stage(&mut batch, &mut lent);
///
/// let mut wire = Vec::new();
/// while batch.has_remaining() {
///     let written = wire.write(batch.chunk()).expect("a Vec takes all");
///     batch.advance(written);
/// }
/// assert_eq!(wire, b"\x81\x05Hello");
/// # Ok::<(), fullduplex::proto::SendError>(())
/// ```
#[derive(Default)]
pub struct Batch {
    segments: VecDeque<Segment>,
    /// How much of the first segment's copied bytes is written.
    written: usize,
    len: usize,
    /// A buffer that has been written, for the next frames.
    spare: Vec<u8>,
}

/// Whole frames: small ones, copied one behind the other, and perhaps the header of a last one whose payload data goes
/// out from where it is.
pub(super) struct Segment {
    pub(super) copied: Vec<u8>,
    pub(super) uncopied: Bytes,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.copied.len() + self.uncopied.len()
    }
}

impl Batch {
    /// Nothing staged.
    pub const fn new() -> Self {
        Self { segments: VecDeque::new(), written: 0, len: 0, spare: Vec::new() }
    }

    /// Forgets what is staged.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.written = 0;
        self.len = 0;
    }

    pub(super) fn has_room(&self, len: usize) -> bool {
        self.len == 0 || self.len + len <= BATCH
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.len += segment.len();
        self.segments.push_back(segment);
    }

    /// Takes the frames out of this buffer, and leaves an empty one.
    #[inline]
    pub(super) fn push_copied(&mut self, frames: &mut Vec<u8>) {
        let copied = mem::replace(frames, mem::take(&mut self.spare));
        self.push(Segment { copied, uncopied: Bytes::new() });
    }

    fn reuse(&mut self, done: Option<Segment>) {
        if let Some(Segment { mut copied, .. }) = done
            && copied.capacity() > self.spare.capacity()
            && copied.capacity() <= 2 * BATCH
        {
            copied.clear();
            self.spare = copied;
        }
    }
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("remaining", &self.len).finish_non_exhaustive()
    }
}

impl Buf for Batch {
    #[inline]
    fn remaining(&self) -> usize {
        self.len
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.segments.front() {
            None => &[],
            Some(first) if self.written < first.copied.len() => &first.copied[self.written..],
            Some(first) => &first.uncopied,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut skip = self.written;
        for segment in &self.segments {
            for bytes in [&segment.copied[skip..], &segment.uncopied[..]] {
                if count == slices.len() {
                    return count;
                }
                if !bytes.is_empty() {
                    slices[count] = IoSlice::new(bytes);
                    count += 1;
                }
            }
            skip = 0;
        }
        count
    }

    #[inline]
    fn advance(&mut self, mut written: usize) {
        assert!(written <= self.len, "wrote more than there was");
        self.len -= written;
        while let Some(first) = self.segments.front_mut() {
            let copied = first.copied.len() - self.written;
            let from_copied = written.min(copied);
            self.written += from_copied;
            written -= from_copied;
            let from_uncopied = written.min(first.uncopied.len());
            first.uncopied.advance(from_uncopied);
            written -= from_uncopied;
            if self.written < first.copied.len() || !first.uncopied.is_empty() {
                return;
            }
            self.written = 0;
            let done = self.segments.pop_front();
            self.reuse(done);
        }
    }
}
