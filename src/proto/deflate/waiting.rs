//! Messages that wait to be compressed, and the frames that are queued behind them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::{
    batch::RUN,
    header::Header,
    mask::MaskKey,
    outgoing::{Content, Outgoing},
    prepared::PreparedMessage,
    queue::{COPIED, header, into_frame},
};

/// Prepared messages with at most this much payload data are copied.
const COPIED_PREPARED: usize = 48;

/// How many items are kept room for when nothing waits.
const KEPT: usize = 16;

/// What waits to be compressed, and what is queued behind that, in order.
///
/// All of it counts with the length that its frames have uncompressed, until the compressed frame is staged.
#[derive(Default)]
pub(in crate::proto) struct Waiting {
    items: VecDeque<Item>,
    /// How many bytes wait, those that are being compressed included.
    len: usize,
}

/// The next that waits.
pub(super) enum Item {
    /// Short frames, one behind the other.
    Run(Run),
    /// A frame whose payload data is too long to be copied.
    Frame(Form, Header, Bytes),
    /// A prepared message, which is compressed once for all connections with the same parameters.
    Prepared(PreparedMessage, Option<MaskKey>),
}

/// What is done with a frame when it is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It stays as it is.
    Plain = 0,
    /// It is a whole message to be compressed.
    Message = 1,
    /// It is a part of a message that is compressed as one.
    Part = 2,
}

/// Short frames, one behind the other, copied: each is what is done with it, its header, its payload data, unmasked.
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

    /// How many bytes are left, about.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

impl Waiting {
    /// Queues a message to be compressed.
    pub(super) fn push_message(&mut self, outgoing: &mut Outgoing<'_>, mask: Option<MaskKey>) {
        if self.push_if_short(Form::Message, outgoing, mask) {
            return;
        }
        let Outgoing { kind, content, .. } = outgoing.take();
        match content {
            Content::Prepared(prepared) => {
                self.len += frame_len(&header(kind.opcode(), prepared.len(), mask));
                self.items.push_back(Item::Prepared(prepared, mask));
            }
            content => {
                let (header, payload) = into_frame(kind, content, mask);
                self.push(Form::Message, header, payload);
            }
        }
    }

    /// Queues a message as it is, behind what waits.
    pub(in crate::proto) fn push_plain(&mut self, outgoing: &mut Outgoing<'_>, mask: Option<MaskKey>) {
        if !self.push_if_short(Form::Plain, outgoing, mask) {
            let Outgoing { kind, content, .. } = outgoing.take();
            let (header, payload) = into_frame(kind, content, mask);
            self.push(Form::Plain, header, payload);
        }
    }

    /// Queues a copy of a message, if it is short; returns whether it is. A prepared message is not compressed once for all
    /// connections then, so only a very short one is copied, which would take more room as an item.
    fn push_if_short(&mut self, form: Form, outgoing: &Outgoing<'_>, mask: Option<MaskKey>) -> bool {
        let (payload, copied) = match &outgoing.content {
            Content::Prepared(prepared) => (prepared.payload(), COPIED_PREPARED),
            content => (content.plain().unwrap_or_default(), COPIED),
        };
        let short = payload.len() <= copied;
        if short {
            self.push_copied(form, &header(outgoing.kind.opcode(), payload.len(), mask), payload);
        }
        short
    }

    /// Queues a frame behind what waits.
    pub(super) fn push(&mut self, form: Form, header: Header, payload: Bytes) {
        if payload.len() <= COPIED {
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

    /// Queues a frame as it is, if something waits; returns its payload data if nothing does.
    pub(in crate::proto) fn push_behind(&mut self, header: Header, payload: Bytes) -> Option<Bytes> {
        if self.len == 0 {
            return Some(payload);
        }
        self.push(Form::Plain, header, payload);
        None
    }

    /// Takes the next item, which goes on to count until it is [staged](Self::staged).
    pub(super) fn next(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// Notes that frames of this length, uncompressed, are staged.
    pub(in crate::proto) fn staged(&mut self, len: usize) {
        self.len -= len;
    }

    #[inline]
    pub(in crate::proto) fn clear(&mut self) {
        // Most often nothing waited.
        if self.items.capacity() > 0 {
            self.items.clear();
            self.items.shrink_to(KEPT);
        }
        self.len = 0;
    }

    /// Gives all room back.
    pub(in crate::proto) fn drop_buffers(&mut self) {
        self.items = VecDeque::new();
    }

    /// How many bytes wait, those that are being compressed included.
    pub(in crate::proto) fn len(&self) -> usize {
        self.len
    }
}

/// The length of a frame with this header.
pub(super) fn frame_len(header: &Header) -> usize {
    let payload_len = header.payload_len as usize;
    Header::encoded_len(payload_len, header.mask.is_some()) + payload_len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PreparedMessage;

    #[test]
    fn what_waits_counts_as_its_uncompressed_frames_until_it_is_staged() {
        let mut waiting = Waiting::default();
        let key = Some(MaskKey::from([1, 2, 3, 4]));
        for (mut outgoing, len) in [
            (Outgoing::from("a".repeat(100)), 106),
            (Outgoing::from(vec![0; 5000]), 5008),
            (Outgoing::from(PreparedMessage::new("b".repeat(200))), 208),
        ] {
            let before = waiting.len();
            waiting.push_message(&mut outgoing, key);
            assert_eq!(waiting.len() - before, len);
            assert!(outgoing.is_empty() || outgoing.len() == 100, "it is moved, unless it is short");
        }
        while waiting.next().is_some() {}
        assert_eq!(waiting.len(), 106 + 5008 + 208);
        waiting.staged(106 + 5008 + 208);
        assert!(waiting.push_behind(header(crate::proto::Opcode::Close, 0, key), Bytes::new()).is_some());
    }

    #[test]
    fn short_frames_are_copied_one_behind_the_other() {
        let mut waiting = Waiting::default();
        for nth in 0..1000_usize {
            let header = header(crate::proto::Opcode::Binary, nth % 5, None);
            let form = [Form::Plain, Form::Message, Form::Part][nth % 3];
            waiting.push(form, header, vec![nth as u8; nth % 5].into());
        }
        assert_eq!(waiting.items.len(), 1);
        let Some(Item::Run(mut run)) = waiting.next() else { panic!("a run") };
        for nth in 0..1000_usize {
            let (form, header, payload) = run.next().expect("another");
            assert_eq!(form, [Form::Plain, Form::Message, Form::Part][nth % 3]);
            assert_eq!((header.payload_len, payload), (nth as u64 % 5, &vec![nth as u8; nth % 5][..]));
        }
        assert!(run.is_empty() && run.next().is_none());
    }
}
