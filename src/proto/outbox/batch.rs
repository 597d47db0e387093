//! Frames that are being written.

use std::{collections::VecDeque, fmt, io::IoSlice, iter, mem};

use bytes::{Buf, Bytes};

use super::{
    frames::{Frames, append_frame},
    segment::{RUN, Segment},
};
use crate::proto::header::{EncodedHeader, Header};

/// The most bytes that are staged at once in more than one segment.
const BATCH: usize = 256 << 10;

/// The number of segments that an empty batch has capacity for.
const SEGMENTS: usize = 64;

/// Whole frames that are being written. [`SendPath::stage`](crate::proto::SendPath::stage) moves
/// them here; they are written in any number of writes.
///
/// A batch holds at most 256 KiB, or one larger frame with the short frames before it. Staged
/// frames are not overtaken: pings and pongs that are queued meanwhile are the first of the next
/// batch.
///
/// It implements [`Buf`]: write what [`chunk`](Buf::chunk) or
/// [`chunks_vectored`](Buf::chunks_vectored) returns, then call [`advance`](Buf::advance).
///
/// ```
/// use std::io::Write;
/// use bytes::Buf;
/// use fullduplex::{Config, Role};
/// use fullduplex::proto::{Batch, Buffers, MaskKey, SendPath};
///
/// let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
/// let mut path = SendPath::new(Role::Server, &Config::new());
/// path.send("Hello".into(), MaskKey::default(), &mut buffers)?;
/// path.stage(&mut batch, &mut buffers);
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
    /// Short frames, which are written first.
    copied: Vec<u8>,
    /// The frames that follow them.
    segments: VecDeque<Segment>,
    /// The number of bytes written of the short frames; after those, of what precedes the payload
    /// data of the first segment.
    written: usize,
    len: usize,
}

impl Batch {
    /// Creates an empty batch.
    pub const fn new() -> Self {
        Self { copied: Vec::new(), segments: VecDeque::new(), written: 0, len: 0 }
    }

    /// Drops what is staged.
    pub(crate) fn clear(&mut self) {
        self.segments = VecDeque::new();
        self.end_copied();
        self.len = 0;
    }

    /// Returns the maximum number of slices that [`chunks_vectored`](Buf::chunks_vectored) returns.
    #[inline]
    pub(crate) fn chunks_at_most(&self) -> usize {
        1 + 3 * self.segments.len()
    }

    pub(in crate::proto) fn has_room(&self, len: usize) -> bool {
        self.len == 0 || self.len + len <= BATCH
    }

    pub(in crate::proto) fn push_segment(&mut self, segment: Segment) {
        self.len += segment.len();
        self.segments.push_back(segment);
    }

    /// Takes the frames out of this buffer, and leaves an empty one.
    #[inline]
    pub(in crate::proto) fn take_copied(&mut self, frames: &mut Vec<u8>) {
        if self.len == 0 {
            self.len = frames.len();
            mem::swap(&mut self.copied, frames);
        } else {
            let copied = mem::take(frames);
            self.push_segment(Segment { copied, header: EncodedHeader::NONE, uncopied: Bytes::new() });
        }
    }

    /// Drops the short frames, which are written.
    #[inline]
    fn end_copied(&mut self) {
        self.copied.clear();
        self.written = 0;
        if self.copied.capacity() > 2 * RUN {
            self.copied = Vec::new();
        }
    }

    /// Records that this many bytes of the segments are written.
    fn advance_segments(&mut self, mut written: usize) {
        while let Some(first) = self.segments.front_mut() {
            let before = first.copied.len() + first.header.len();
            let from_before = written.min(before - self.written);
            self.written += from_before;
            written -= from_before;
            let from_uncopied = written.min(first.uncopied.len());
            first.uncopied.advance(from_uncopied);
            written -= from_uncopied;
            if self.written < before || !first.uncopied.is_empty() {
                return;
            }
            self.written = 0;
            self.segments.pop_front();
        }
        if self.segments.capacity() > SEGMENTS {
            self.segments.shrink_to(SEGMENTS);
        }
    }
}

/// For an empty batch.
impl Frames for Batch {
    #[inline(always)]
    fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        append_frame(&mut self.copied, header, payload);
        self.len = self.copied.len();
    }

    fn push_uncopied(&mut self, header: EncodedHeader, payload: Bytes) {
        self.push_segment(Segment { copied: Vec::new(), header, uncopied: payload });
    }
}

/// Appends frames to a batch that is not empty.
#[cfg(feature = "deflate")]
pub(in crate::proto) struct Behind<'a>(&'a mut Batch);

#[cfg(feature = "deflate")]
impl Batch {
    /// Returns where to push frames that follow what is staged.
    pub(in crate::proto) fn behind(&mut self) -> Behind<'_> {
        Behind(self)
    }
}

#[cfg(feature = "deflate")]
impl Frames for Behind<'_> {
    fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        let Batch { copied, segments, len, .. } = &mut *self.0;
        let ends_copied = |last: &Segment| last.header.is_empty() && last.uncopied.is_empty();
        if segments.back().is_some_and(|last| !ends_copied(last)) {
            let copied = Vec::new();
            segments.push_back(Segment { copied, header: EncodedHeader::NONE, uncopied: Bytes::new() });
        }
        let run = segments.back_mut().map_or(copied, |last| &mut last.copied);
        let before = run.len();
        append_frame(run, header, payload);
        *len += run.len() - before;
    }

    fn push_uncopied(&mut self, header: EncodedHeader, payload: Bytes) {
        self.0.push_uncopied(header, payload);
    }
}

/// Redacted: prints only the length.
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
        if !self.copied.is_empty() {
            return &self.copied[self.written..];
        }
        let Some(first) = self.segments.front() else { return &[] };
        match self.written.checked_sub(first.copied.len()) {
            None => &first.copied[self.written..],
            Some(written) if written < first.header.len() => &first.header[written..],
            Some(_) => &first.uncopied,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut skip = self.written;
        let runs = self.segments.iter().flat_map(Segment::runs);
        for run in iter::once(&self.copied[..]).chain(runs) {
            let written = skip.min(run.len());
            skip -= written;
            if written == run.len() {
                continue;
            }
            if count == slices.len() {
                break;
            }
            slices[count] = IoSlice::new(&run[written..]);
            count += 1;
        }
        count
    }

    #[inline]
    fn advance(&mut self, mut written: usize) {
        assert!(written <= self.len, "wrote more than there was");
        self.len -= written;
        if !self.copied.is_empty() {
            let left = self.copied.len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.end_copied();
        }
        if !self.segments.is_empty() {
            self.advance_segments(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config, Role,
        proto::{Buffers, MaskKey, SendPath},
    };

    /// Returns a batch with a ping, small frames, an uncopied one, a small one and an encoded one.
    fn staged() -> Batch {
        let (mut batch, mut buffers) = (Batch::new(), Buffers::new());
        let mut path = SendPath::new(Role::Server, &Config::new());
        let key = MaskKey::default();
        for message in ["small", "frames"] {
            path.send(message.into(), key, &mut buffers).expect("open");
        }
        path.send(vec![7; 5000].into(), key, &mut buffers).expect("open");
        path.send(vec![8; 5001].into(), key, &mut buffers).expect("open");
        path.send("behind".into(), key, &mut buffers).expect("open");
        path.send(crate::PreparedMessage::new("encoded ".repeat(50)).into(), key, &mut buffers)
            .expect("open");
        path.send("last".into(), key, &mut buffers).expect("open");
        path.ping(b"ping", key, &mut buffers).expect("open");
        path.stage(&mut batch, &mut buffers);
        batch
    }

    #[test]
    fn an_empty_batch_keeps_capacity_for_few_segments() {
        let (mut batch, mut buffers) = (Batch::new(), Buffers::new());
        let mut path = SendPath::new(Role::Server, &Config::new());
        let prepared = crate::PreparedMessage::new("x".repeat(300));
        for _ in 0..1000 {
            path.send((&prepared).into(), MaskKey::default(), &mut buffers).expect("open");
        }
        path.stage(&mut batch, &mut buffers);
        batch.advance(batch.remaining());
        assert!(batch.segments.capacity() <= SEGMENTS, "{}", batch.segments.capacity());
    }

    #[test]
    fn the_buffer_of_short_frames_is_kept_unless_it_is_large() {
        for (capacity, kept) in [(2 * RUN, 2 * RUN), (3 * RUN, 0)] {
            let (mut batch, mut frames) = (Batch::new(), Vec::with_capacity(capacity));
            frames.push(7);
            batch.take_copied(&mut frames);
            batch.advance(1);
            assert_eq!(batch.copied.capacity(), kept);
        }
    }

    fn vectored(batch: &Batch, most: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); most];
        let count = batch.chunks_vectored(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn the_remaining_bytes_are_the_same_wherever_a_write_ends() {
        let mut whole = staged();
        let wire = vectored(&whole, 64);
        assert_eq!(wire.len(), whole.remaining());
        assert_eq!(whole.copy_to_bytes(wire.len()), wire);
        for step in [1, 2, 3, 7, 100, 4999, 9000] {
            let mut batch = staged();
            while batch.has_remaining() {
                let at = wire.len() - batch.remaining();
                assert!(!batch.chunk().is_empty() && wire[at..].starts_with(batch.chunk()), "{at}");
                assert!(vectored(&batch, 64) == wire[at..], "{at}");
                assert!(wire[at..].starts_with(&vectored(&batch, 2)), "{at}");
                batch.advance(step.min(batch.remaining()));
            }
            assert!(batch.chunk().is_empty() && vectored(&batch, 64).is_empty());
        }
    }

    #[test]
    fn a_batch_holds_256_kib_of_frames_or_one_that_is_larger() {
        let (mut batch, mut buffers) = (Batch::new(), Buffers::new());
        let mut path = SendPath::new(Role::Server, &Config::new());
        for _ in 0..160 {
            path.send(vec![1; 4000].into(), MaskKey::default(), &mut buffers).expect("open");
        }
        path.send(vec![2; 300_000].into(), MaskKey::default(), &mut buffers).expect("open");
        let mut lengths = Vec::new();
        loop {
            path.stage(&mut batch, &mut buffers);
            let wire = batch.copy_to_bytes(batch.remaining());
            if wire.is_empty() {
                break;
            }
            lengths.push(wire.len());
        }
        assert_eq!(lengths.iter().sum::<usize>(), 160 * 4004 + 300_010);
        assert!(lengths.iter().all(|len| *len <= 256 << 10 || *len >= 300_010), "{lengths:?}");
        assert!(lengths.iter().any(|len| (64 << 10..300_000).contains(len)), "{lengths:?}");
        assert_eq!(path.queued_bytes(), 0);
    }
}
