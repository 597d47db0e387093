//! Frames that are queued.

use std::{collections::VecDeque, fmt, mem};

use bytes::Bytes;

use super::{
    batch::Batch,
    compression::CompressionQueue,
    frames::{Frames, append_frame},
    segment::{RUN, Segment},
};
use crate::proto::{
    header::{EncodedHeader, Header, MAX_HEADER},
    opcode::{MAX_CONTROL_PAYLOAD, Opcode},
    outgoing::COPIED,
    payload::MaskKey,
};

/// The most bytes of pongs that are queued; if one more might not fit, it replaces the newest.
const MAX_PONGS: usize = 4 << 10;

/// The longest pong, header and masking key included.
const MAX_PONG: usize = 2 + 4 + MAX_CONTROL_PAYLOAD;

/// The number of segments that an idle queue has capacity for.
const SEGMENTS: usize = 64;

/// The same for a queue that keeps no buffers.
const SEGMENTS_WITHOUT_BUFFERS: usize = 8;

/// The capacity for short messages of a queue that keeps no other buffers.
const KEPT_TAIL: usize = 256;

/// Queued frames: pings and pongs, which overtake, and the others in order.
///
/// ```text
///   pings, pongs ──▶ first
///   segments ──▶ tail ──▶ uncompressed: what is to be compressed, and all that is queued behind it
/// ```
#[derive(Default)]
pub(in crate::proto) struct Queue {
    pings: Vec<u8>,
    pongs: Vec<u8>,
    /// The index at which the newest pong starts.
    newest_pong: usize,
    segments: VecDeque<Segment>,
    /// Whole short frames, after the segments.
    tail: Vec<u8>,
    /// Messages to compress, and the frames after them; after the tail.
    uncompressed: CompressionQueue,
    /// The number of bytes in the segments, and in `uncompressed`.
    segments_len: usize,
}

/// Redacted: prints only the length.
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Frames for Queue {
    #[inline(always)]
    fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        if self.tail.len() + MAX_HEADER + payload.len() > RUN {
            self.seal(EncodedHeader::NONE, Bytes::new());
        }
        append_frame(&mut self.tail, header, payload);
    }

    fn push_uncopied(&mut self, header: EncodedHeader, payload: Bytes) {
        self.seal(header, payload);
    }
}

impl Queue {
    /// Queues a ping. It overtakes all frames that are not staged.
    pub(in crate::proto) fn push_ping(&mut self, payload: &[u8], mask: Option<MaskKey>) {
        append_frame(&mut self.pings, &Header::of(Opcode::Ping, payload.len(), mask), payload);
    }

    /// Queues a pong. It overtakes all frames that are not staged.
    pub(in crate::proto) fn push_pong(&mut self, payload: &[u8], mask: Option<MaskKey>) {
        // RFC 6455 section 5.5.3: an endpoint may answer only the most recent of several pings.
        if self.pongs.len() > MAX_PONGS - MAX_PONG {
            self.pongs.truncate(self.newest_pong);
        }
        self.newest_pong = self.pongs.len();
        append_frame(&mut self.pongs, &Header::of(Opcode::Pong, payload.len(), mask), payload);
    }

    /// Queues a frame of a message, or a Close, after all others.
    pub(in crate::proto) fn push_behind(&mut self, header: Header, payload: Bytes) {
        if let Some(payload) =
            self.push_uncompressed(|uncompressed| uncompressed.push_behind(header, payload))
        {
            self.push(header, payload);
        }
    }

    /// Queues a message to compress, or a frame after one.
    pub(in crate::proto) fn push_uncompressed<T>(
        &mut self,
        push: impl FnOnce(&mut CompressionQueue) -> T,
    ) -> T {
        let before = self.uncompressed.len();
        let result = push(&mut self.uncompressed);
        self.segments_len += self.uncompressed.len() - before;
        result
    }

    /// Returns the messages to compress, if everything before them is staged.
    pub(in crate::proto) fn next_uncompressed(&mut self) -> Option<&mut CompressionQueue> {
        (self.segments.is_empty() && self.tail.is_empty()).then_some(&mut self.uncompressed)
    }

    /// Records that frames are staged that have this length uncompressed.
    pub(in crate::proto) fn uncompressed_staged(&mut self, len: usize) {
        self.uncompressed.staged(len);
        self.segments_len -= len;
    }

    /// Moves the next frames to a batch.
    #[inline]
    pub(in crate::proto) fn stage(&mut self, batch: &mut Batch) {
        // RFC 6455 section 5.4: control frames may be injected between other frames; section 5.5.2:
        // a pong is sent as soon as is practical.
        if !self.pings.is_empty() || !self.pongs.is_empty() {
            self.pings.append(&mut self.pongs);
            self.newest_pong = 0;
            batch.take_copied(&mut self.pings);
        }
        while self.segments.front().is_some_and(|next| batch.has_room(next.len()))
            && let Some(segment) = self.segments.pop_front()
        {
            self.segments_len -= segment.len();
            batch.push_segment(segment);
        }
        if self.segments.is_empty() && !self.tail.is_empty() && batch.has_room(self.tail.len()) {
            batch.take_copied(&mut self.tail);
        }
    }

    /// Drops all frames, and keeps buffers of ordinary size.
    pub(in crate::proto) fn clear(&mut self) {
        self.segments.clear();
        if self.segments.capacity() > SEGMENTS {
            self.segments.shrink_to(SEGMENTS);
        }
        self.uncompressed.clear();
        self.segments_len = 0;
        self.newest_pong = 0;
        for buffer in [&mut self.pings, &mut self.pongs, &mut self.tail] {
            buffer.clear();
            if buffer.capacity() > RUN + COPIED {
                buffer.shrink_to(RUN + COPIED);
            }
        }
    }

    /// Keeps only the capacity for a few short or prepared messages, which a broadcast needs.
    pub(in crate::proto) fn drop_buffers(&mut self) {
        for buffer in [&mut self.pings, &mut self.pongs] {
            *buffer = Vec::new();
        }
        if self.tail.capacity() > KEPT_TAIL {
            self.tail = Vec::new();
        }
        self.uncompressed.drop_buffers();
        self.segments.shrink_to(SEGMENTS_WITHOUT_BUFFERS);
    }

    /// Returns how many bytes are queued.
    #[inline]
    pub(in crate::proto) fn len(&self) -> usize {
        self.pings.len() + self.pongs.len() + self.ordered_len()
    }

    /// Returns whether a pong is queued.
    #[inline]
    pub(in crate::proto) fn owes_pong(&self) -> bool {
        !self.pongs.is_empty()
    }

    /// Returns whether another ping may be queued. Otherwise the sender of pings waits.
    pub(in crate::proto) fn has_room_for_ping(&self) -> bool {
        self.pings.len() + self.pongs.len() <= 2 * MAX_PONGS
    }

    /// Returns whether messages to compress are queued.
    #[inline]
    pub(in crate::proto) fn has_uncompressed(&self) -> bool {
        self.uncompressed.len() > 0
    }

    /// Returns how many bytes still have to be compressed, or are queued behind such.
    pub(in crate::proto) fn uncompressed_bytes(&self) -> usize {
        self.uncompressed.len()
    }

    /// Returns how many bytes are queued that pings and pongs overtake: messages, and a Close.
    #[inline]
    pub(in crate::proto) fn ordered_len(&self) -> usize {
        self.segments_len + self.tail.len()
    }

    /// Ends the tail, followed by payload data that is not copied.
    fn seal(&mut self, header: EncodedHeader, uncopied: Bytes) {
        let mut copied = mem::take(&mut self.tail);
        let header = if copied.is_empty() {
            header
        } else {
            // Appended, so that a stream without vectored writes needs one write less.
            header.append_to(&mut copied);
            EncodedHeader::NONE
        };
        let segment = Segment { copied, header, uncopied };
        self.segments_len += segment.len();
        self.segments.push_back(segment);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::Outgoing;

    fn push(queue: &mut Queue, message: impl Into<Outgoing<'static>>) {
        super::super::push_message(&mut message.into(), None, queue);
    }

    fn staged(queue: &mut Queue) -> Vec<u8> {
        let mut batch = Batch::new();
        queue.stage(&mut batch);
        batch.copy_to_bytes(batch.remaining()).to_vec()
    }

    /// RFC 6455 sections 5.5.2 and 5.5.3.
    #[test]
    fn pings_and_then_pongs_are_staged_before_messages() {
        let mut queue = Queue::default();
        push(&mut queue, "a");
        queue.push_pong(b"o", None);
        queue.push_ping(b"i", None);
        push(&mut queue, "b");
        assert_eq!((queue.len(), queue.ordered_len()), (12, 6));
        assert!(queue.owes_pong());
        assert_eq!(staged(&mut queue), b"\x89\x01i\x8A\x01o\x81\x01a\x81\x01b");
        assert_eq!(queue.len(), 0);
    }

    /// RFC 6455 section 5.5.3.
    #[test]
    fn the_newest_pong_replaces_the_last_one_if_one_more_might_not_fit() {
        let mut queue = Queue::default();
        for nth in 0..=u8::MAX {
            queue.push_pong(&[nth; MAX_CONTROL_PAYLOAD], None);
        }
        let wire = staged(&mut queue);
        assert!(wire.len() <= MAX_PONGS, "{}", wire.len());
        let answered: Vec<u8> = wire.chunks(127).map(|pong| pong[2]).collect();
        assert_eq!((answered.len(), answered[0], answered.last()), (32, 0, Some(&255)));
    }

    #[test]
    fn long_payload_data_is_not_copied_and_follows_the_short_frames_before_it() {
        let mut queue = Queue::default();
        push(&mut queue, "a");
        let long = Bytes::from(vec![7; COPIED + 1]);
        push(&mut queue, long.clone());
        push(&mut queue, "b");
        let segment = queue.segments.front().expect("the tail was sealed");
        assert_eq!(segment.copied, b"\x81\x01a\x82\x7E\x10\x01");
        assert_eq!(segment.uncopied.as_ptr(), long.as_ptr());
        assert_eq!(queue.tail, b"\x81\x01b");
        assert_eq!(queue.len(), 3 + 4 + long.len() + 3);
    }

    #[test]
    fn short_frames_are_copied_into_segments_of_at_most_64_kib() {
        let mut queue = Queue::default();
        for _ in 0..40 {
            push(&mut queue, vec![1; 4000]);
        }
        assert_eq!(queue.segments.len(), 2);
        assert!(queue.segments.iter().all(|segment| segment.len() <= RUN && segment.uncopied.is_empty()));
        assert_eq!(queue.len(), 40 * 4004);
    }

    #[test]
    fn frames_that_do_not_fit_into_the_batch_stay_queued() {
        let mut queue = Queue::default();
        push(&mut queue, vec![1; 300_000]);
        push(&mut queue, vec![2; 10]);
        assert_eq!(staged(&mut queue).len(), 300_010);
        assert_eq!(staged(&mut queue), [&[0x82, 10][..], &[2; 10]].concat());
    }

    #[test]
    fn a_cleared_queue_keeps_buffers_of_ordinary_size() {
        let mut queue = Queue::default();
        queue.push_ping(b"i", None);
        push(&mut queue, "a");
        queue.tail.reserve(1 << 20);
        queue.segments.reserve(10_000);
        queue.clear();
        assert_eq!(queue.len(), 0);
        assert!((1..=2 * SEGMENTS).contains(&queue.segments.capacity()));
        assert!((1..=RUN + COPIED).contains(&queue.tail.capacity()));
        queue.drop_buffers();
        assert_eq!((queue.pings.capacity(), queue.tail.capacity()), (0, 0));
    }

    #[test]
    fn short_frames_fill_a_segment_up_to_64_kib() {
        for (len, sealed) in [(RUN - MAX_HEADER, 0), (RUN - MAX_HEADER + 1, 1)] {
            let mut queue = Queue::default();
            queue.push_copied(&Header::of(Opcode::Binary, len, None), &vec![1; len]);
            assert_eq!(queue.segments.len(), sealed);
        }
    }
}
