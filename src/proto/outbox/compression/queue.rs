//! Messages to compress, and the frames that are queued behind them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::{frames::into_frame, segment::RUN};
use crate::proto::{
    header::Header,
    outgoing::{Outgoing, OutgoingPayload, is_copied},
    payload::MaskKey,
    prepared::PreparedMessage,
};

/// The longest payload data of a prepared message that is copied.
const COPIED_PREPARED: usize = 48;

/// The number of items that an empty queue has capacity for.
const KEPT: usize = 16;

/// Messages to compress, and the frames behind them, in order.
///
/// They count with the length of their uncompressed frames, until the compressed frame is staged.
#[derive(Default)]
pub(in crate::proto) struct CompressionQueue {
    items: VecDeque<Item>,
    /// The number of bytes queued, including those that are being compressed.
    len: usize,
}

/// The next item of the queue.
pub(super) enum Item {
    /// Short frames, one after the other.
    Run(Run),
    /// A frame whose payload data is too long to be copied.
    Frame(Form, Header, Bytes),
    /// A prepared message, compressed once for all connections with the same parameters.
    Prepared(PreparedMessage, Option<MaskKey>),
}

/// What to do with a frame when it is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Send it unchanged.
    Plain = 0,
    /// Compress it: it is a whole message.
    Message = 1,
    /// Compress it: it is a part of a message.
    Part = 2,
}

/// Short frames, copied one after the other: each is its form, its header, and its payload data,
/// not masked.
#[derive(Default)]
pub(super) struct Run {
    bytes: Vec<u8>,
    start: usize,
}

impl Run {
    fn push(&mut self, form: Form, header: &Header, payload: &[u8]) {
        self.bytes.push(form as u8);
        header.append_to(&mut self.bytes);
        self.bytes.extend_from_slice(payload);
    }

    /// Takes the next frame.
    pub(super) fn next(&mut self) -> Option<(Form, Header, &[u8])> {
        let form = match self.bytes.get(self.start)? {
            0 => Form::Plain,
            1 => Form::Message,
            _ => Form::Part,
        };
        let frame = &self.bytes[self.start + 1..];
        let (header, at) = Header::parse(frame).ok().flatten().expect("written by `push`");
        let end = at + header.payload_len as usize;
        self.start += 1 + end;
        Some((form, header, &frame[at..end]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns about how many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

impl CompressionQueue {
    /// Queues a message to compress.
    pub(super) fn push_message(&mut self, outgoing: &mut Outgoing<'_>, mask: Option<MaskKey>) {
        if self.push_if_short(Form::Message, outgoing, mask) {
            return;
        }
        let Outgoing { kind, payload, .. } = outgoing.take();
        match payload {
            OutgoingPayload::Prepared(prepared) => {
                self.len += frame_len(&Header::of(kind.opcode(), prepared.len(), mask));
                self.items.push_back(Item::Prepared(prepared, mask));
            }
            payload => {
                let (header, payload) = into_frame(kind, payload, mask);
                self.push(Form::Message, header, payload);
            }
        }
    }

    /// Queues a message that is sent uncompressed, behind the others.
    pub(in crate::proto) fn push_plain(&mut self, outgoing: &mut Outgoing<'_>, mask: Option<MaskKey>) {
        if !self.push_if_short(Form::Plain, outgoing, mask) {
            let Outgoing { kind, payload, .. } = outgoing.take();
            let (header, payload) = into_frame(kind, payload, mask);
            self.push(Form::Plain, header, payload);
        }
    }

    /// Queues a copy of a message, if it is short; returns whether it is.
    ///
    /// A prepared message that is copied is not compressed once for all connections. So only a very
    /// short one is, which would take more memory as an item.
    fn push_if_short(&mut self, form: Form, outgoing: &Outgoing<'_>, mask: Option<MaskKey>) -> bool {
        let (payload, short) = match &outgoing.payload {
            OutgoingPayload::Prepared(prepared) => (prepared.payload(), prepared.len() <= COPIED_PREPARED),
            payload => {
                let Some(payload) = payload.plain() else { return false };
                (payload, is_copied(payload.len()))
            }
        };
        if short {
            self.push_copied(form, &Header::of(outgoing.kind.opcode(), payload.len(), mask), payload);
        }
        short
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, form: Form, header: Header, payload: Bytes) {
        if is_copied(payload.len()) {
            return self.push_copied(form, &header, &payload);
        }
        self.len += frame_len(&header);
        self.items.push_back(Item::Frame(form, header, payload));
    }

    fn push_copied(&mut self, form: Form, header: &Header, payload: &[u8]) {
        self.len += frame_len(header);
        match self.items.back_mut() {
            Some(Item::Run(run)) if run.bytes.len() + payload.len() < RUN => run.push(form, header, payload),
            _ => {
                let mut run = Run::default();
                run.push(form, header, payload);
                self.items.push_back(Item::Run(run));
            }
        }
    }

    /// Queues a frame that is sent uncompressed, unless the queue is empty; then returns its
    /// payload data.
    pub(in crate::proto) fn push_behind(&mut self, header: Header, payload: Bytes) -> Option<Bytes> {
        if self.len == 0 {
            return Some(payload);
        }
        self.push(Form::Plain, header, payload);
        None
    }

    /// Takes the next item, which still counts until it is [staged](Self::staged).
    pub(super) fn next(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// Records that frames of this length, uncompressed, are staged.
    pub(in crate::proto) fn staged(&mut self, len: usize) {
        self.len -= len;
    }

    #[inline]
    pub(in crate::proto) fn clear(&mut self) {
        // Usually it was never used.
        if self.items.capacity() > 0 {
            self.items.clear();
            self.items.shrink_to(KEPT);
        }
        self.len = 0;
    }

    /// Frees all capacity.
    pub(in crate::proto) fn drop_buffers(&mut self) {
        self.items = VecDeque::new();
    }

    /// Returns how many bytes are queued, including those that are being compressed.
    pub(in crate::proto) fn len(&self) -> usize {
        self.len
    }
}

/// Returns the length of a frame with this header.
pub(super) fn frame_len(header: &Header) -> usize {
    let payload_len = header.payload_len as usize;
    Header::encoded_len(payload_len, header.mask.is_some()) + payload_len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PreparedMessage;

    #[test]
    fn messages_count_as_their_uncompressed_frames_until_they_are_staged() {
        let mut uncompressed = CompressionQueue::default();
        let key = Some(MaskKey::from([1, 2, 3, 4]));
        for (mut outgoing, len) in [
            (Outgoing::from("a".repeat(100)), 106),
            (Outgoing::from(vec![0; 5000]), 5008),
            (Outgoing::from(PreparedMessage::new("b".repeat(200))), 208),
        ] {
            let before = uncompressed.len();
            uncompressed.push_message(&mut outgoing, key);
            assert_eq!(uncompressed.len() - before, len);
            assert!(outgoing.is_empty() || outgoing.len() == 100, "long messages are moved");
        }
        while uncompressed.next().is_some() {}
        assert_eq!(uncompressed.len(), 106 + 5008 + 208);
        uncompressed.staged(106 + 5008 + 208);
        assert!(
            uncompressed.push_behind(Header::of(crate::proto::Opcode::Close, 0, key), Bytes::new()).is_some()
        );
    }

    #[test]
    fn short_frames_are_copied_into_one_run() {
        let mut uncompressed = CompressionQueue::default();
        for nth in 0..1000_usize {
            let header = Header::of(crate::proto::Opcode::Binary, nth % 5, None);
            let form = [Form::Plain, Form::Message, Form::Part][nth % 3];
            uncompressed.push(form, header, vec![nth as u8; nth % 5].into());
        }
        assert_eq!(uncompressed.items.len(), 1);
        let Some(Item::Run(mut run)) = uncompressed.next() else { panic!("a run") };
        for nth in 0..1000_usize {
            let (form, header, payload) = run.next().expect("another");
            assert_eq!(form, [Form::Plain, Form::Message, Form::Part][nth % 3]);
            assert_eq!((header.payload_len, payload), (nth as u64 % 5, &vec![nth as u8; nth % 5][..]));
        }
        assert!(run.is_empty() && run.next().is_none());
    }
}
