//! Compression of queued messages, in strides.

use std::fmt;

use bytes::Bytes;

use super::{
    super::{
        batch::Batch,
        frames::{Frames, push_other},
    },
    queue::{Form, Item, Run, frame_len},
    terms::Terms,
};
use crate::proto::{
    deflate::{Codecs, Compressor, End, Engine, KEPT_BUFFER, LEAST_STRIDE, Work},
    header::Header,
    opcode::Opcode,
    outgoing::is_copied,
    payload::MaskKey,
    prepared::PreparedMessage,
};

/// Compresses messages and stages them, in strides.
///
/// [`SendPath::take_deflater`](crate::proto::SendPath::take_deflater) takes it out of the path, so
/// that others can use the `SendPath` while it works;
/// [`return_deflater`](crate::proto::SendPath::return_deflater) returns it.
pub(crate) struct Deflater {
    terms: Terms,
    /// With context takeover, `Some` from the first compressed message; without, while a message is
    /// sent in parts.
    own: Option<Box<Compressor>>,
    /// The item that is loaded and not yet staged.
    current: Option<Current>,
}

enum Current {
    Run(Run),
    Frame(Frame),
    Prepared(PreparedMessage, Option<MaskKey>),
}

/// A frame whose payload data may take several strides.
struct Frame {
    form: Form,
    header: Header,
    payload: Bytes,
    /// `None` until compression begins.
    work: Option<Work>,
}

impl Deflater {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, own: None, current: None }
    }

    /// Takes the next item, unless one is loaded; returns the length of its payload data,
    /// uncompressed.
    pub(super) fn load(&mut self, next: impl FnOnce() -> Option<Item>) -> Option<usize> {
        let current = self.current.take().or_else(|| {
            next().map(|item| match item {
                Item::Run(run) => Current::Run(run),
                Item::Frame(form, header, payload) => {
                    Current::Frame(Frame { form, header, payload, work: None })
                }
                Item::Prepared(prepared, mask) => Current::Prepared(prepared, mask),
            })
        });
        self.current = current;
        self.current.as_ref().map(|current| match current {
            Current::Run(run) => run.len(),
            Current::Frame(frame) => frame.payload.len(),
            Current::Prepared(prepared, _) => prepared.len(),
        })
    }

    /// Returns whether it has no state to keep.
    pub(super) fn is_idle(&self) -> bool {
        self.own.is_none() && self.current.is_none()
    }

    /// Compresses about `stride` bytes, which it subtracts, and appends the frames that this
    /// completes to the batch. Returns the length of those frames, uncompressed.
    pub(crate) fn compress(&mut self, batch: &mut Batch, stride: &mut usize, codecs: &mut Codecs) -> usize {
        match self.current.take() {
            None => 0,
            Some(Current::Run(run)) => self.compress_run(run, batch, stride, codecs),
            Some(Current::Frame(frame)) => self.compress_frame(frame, batch, stride, codecs),
            Some(Current::Prepared(prepared, mask)) => {
                self.compress_prepared(prepared, mask, batch, stride, codecs)
            }
        }
    }

    fn compress_run(
        &mut self,
        mut run: Run,
        batch: &mut Batch,
        stride: &mut usize,
        codecs: &mut Codecs,
    ) -> usize {
        let mut staged = 0;
        while *stride > 0
            && let Some((form, header, payload)) = run.next()
        {
            staged += frame_len(&header);
            if form == Form::Plain {
                batch.behind().push_copied(&header, payload);
                continue;
            }
            // A short frame is compressed in one stride.
            let (mut work, mut whole) = (self.begin(form, payload.len(), codecs), usize::MAX);
            work.advance(payload, end(form, &header), &mut whole);
            *stride = stride.saturating_sub(payload.len().max(LEAST_STRIDE));
            if self.is_in_vain(form, &work, payload) {
                work.end(codecs);
                batch.behind().push_copied(&header, payload);
            } else {
                self.push(form, header, work, batch, codecs);
            }
        }
        if !run.is_empty() {
            self.current = Some(Current::Run(run));
        }
        staged
    }

    fn compress_frame(
        &mut self,
        frame: Frame,
        batch: &mut Batch,
        stride: &mut usize,
        codecs: &mut Codecs,
    ) -> usize {
        let Frame { form, header, payload, work } = frame;
        if form == Form::Plain {
            batch.behind().push(header, payload);
            return frame_len(&header);
        }
        let mut work = work.unwrap_or_else(|| self.begin(form, payload.len(), codecs));
        let done = work.advance(&payload, end(form, &header), stride);
        if self.is_in_vain(form, &work, &payload) {
            work.end(codecs);
            batch.behind().push(header, payload);
        } else if done {
            self.push(form, header, work, batch, codecs);
        } else {
            self.current = Some(Current::Frame(Frame { form, header, payload, work: Some(work) }));
            return 0;
        }
        frame_len(&header)
    }

    fn compress_prepared(
        &mut self,
        prepared: PreparedMessage,
        mask: Option<MaskKey>,
        batch: &mut Batch,
        stride: &mut usize,
        codecs: &mut Codecs,
    ) -> usize {
        let Some(encoded) = prepared.compressed(self.terms.shape(), stride, codecs) else {
            self.current = Some(Current::Prepared(prepared, mask));
            return 0;
        };
        let len = Header::encoded_len(prepared.len(), mask.is_some()) + prepared.len();
        // It is compressed without context, which any receiver can decompress. Its data is then in
        // the window of the receiver, but not in that of our compressor, which is therefore reset.
        if encoded.is_compressed()
            && let Some(compressor) = &mut self.own
        {
            compressor.reset();
        }
        push_other(encoded.into(), mask, &mut batch.behind());
        len
    }

    /// Begins to compress payload data of this length.
    fn begin(&mut self, form: Form, len: usize, codecs: &mut Codecs) -> Work {
        let shape = self.terms.shape();
        let engine = match (self.own.take(), self.terms.takeover()) {
            (Some(own), _) => Engine::Stream(own),
            (None, true) => Engine::Stream(Box::new(Compressor::new(shape))),
            (None, false) => codecs.engine(shape, (form == Form::Message).then_some(len)),
        };
        Work::new(engine, codecs)
    }

    /// Returns whether to send the message uncompressed: it would not be shorter, and no other
    /// message refers to it.
    fn is_in_vain(&self, form: Form, work: &Work, payload: &[u8]) -> bool {
        form == Form::Message && !self.terms.takeover() && work.out().len() >= payload.len()
    }

    /// Stages a compressed frame.
    fn push(&mut self, form: Form, header: Header, work: Work, batch: &mut Batch, codecs: &mut Codecs) {
        let (engine, out) = work.into_parts();
        let goes_on = self.terms.takeover() || (form == Form::Part && !header.fin);
        match engine {
            Engine::Stream(compressor) if goes_on => self.own = Some(compressor),
            engine => codecs.take_back_engine(engine),
        }
        // RFC 7692 section 6: RSV1 is set on the first frame of a message.
        let rsv1 = header.opcode != Opcode::Continuation;
        let header = Header { rsv1, payload_len: out.len() as u64, ..header };
        if !is_copied(out.len()) {
            batch.behind().push(header, into_bytes(out, codecs));
        } else {
            batch.behind().push_copied(&header, &out);
            codecs.take_back_buffer(out);
        }
    }
}

/// Returns what ends with the payload data of this frame.
fn end(form: Form, header: &Header) -> End {
    if form == Form::Part && !header.fin { End::Part } else { End::Message }
}

/// Converts a buffer into `Bytes`; a small one is copied, and returned to the pool.
fn into_bytes(out: Vec<u8>, codecs: &mut Codecs) -> Bytes {
    if out.capacity() > KEPT_BUFFER {
        return out.into();
    }
    let bytes = Bytes::copy_from_slice(&out);
    codecs.take_back_buffer(out);
    bytes
}

/// Redacted: prints no payload data.
impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("terms", &self.terms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::proto::{buffers::Buffers, deflate::Decompressor};
    use crate::{
        Config, Deflate, MessageKind, Outgoing, PreparedMessage,
        Role::{self, Client, Server},
        proto::SendPath,
    };

    /// Returns `len` bytes of words.
    fn words(len: usize) -> Vec<u8> {
        let words = (0_u32..).map(|n| format!("{} and ", n.wrapping_mul(2_654_435_769) % 10_000));
        words.flat_map(String::into_bytes).take(len).collect()
    }

    /// An end that compresses, and what it has written: opcodes, and the payload data inflated.
    struct Sending {
        path: SendPath,
        batch: Batch,
        buffers: Buffers,
        takeover: bool,
        decompressor: Decompressor,
    }

    impl Sending {
        fn each() -> impl Iterator<Item = Self> {
            [(Server, false), (Server, true), (Client, false), (Client, true)]
                .into_iter()
                .map(|(role, takeover)| Self::new(role, takeover))
        }

        fn new(role: Role, takeover: bool) -> Self {
            let settings = Deflate::new().context_takeover(takeover);
            let path = SendPath::new(role, &Config::new()).with_deflate(settings, settings.into());
            let decompressor = Decompressor::new();
            Self { path, batch: Batch::new(), buffers: Buffers::new(), takeover, decompressor }
        }

        fn send(&mut self, message: impl Into<Outgoing<'static>>) {
            self.path.send(message.into(), MaskKey::from([1, 2, 3, 4]), &mut self.buffers).expect("open");
        }

        /// Calls `stage` once, and writes the batch.
        fn staged(&mut self) -> Vec<(Opcode, Vec<u8>)> {
            self.path.stage(&mut self.batch, &mut self.buffers);
            let mut wire = self.batch.copy_to_bytes(self.batch.remaining()).to_vec();
            let (mut rest, mut frames) = (&mut wire[..], Vec::new());
            while let Some((header, at)) = Header::parse(rest).expect("valid") {
                let (frame, next) = rest[at..].split_at_mut(header.payload_len as usize);
                if let Some(key) = header.mask {
                    key.apply(frame);
                }
                let payload = if header.rsv1 { self.inflate(frame) } else { frame.to_vec() };
                frames.push((header.opcode, payload));
                rest = next;
            }
            frames
        }

        fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
            if !self.takeover {
                self.decompressor.reset();
            }
            self.decompressor.message(payload).expect("valid")
        }
    }

    #[test]
    fn a_large_message_takes_many_calls_and_pings_are_sent_between_them() {
        for prepared in [false, true] {
            for mut end in Sending::each() {
                let message = words(1 << 20);
                end.send(words(1000));
                if prepared {
                    end.send(PreparedMessage::new(message.clone()));
                } else {
                    end.send(message.clone());
                }
                end.send(Outgoing::from("plain").compress(false));
                end.send(words(3000));
                let queued = end.path.queued_bytes();
                assert!(queued > (1 << 20) + 4000, "uncompressed");
                assert_eq!(end.path.uncompressed_bytes(), queued);
                assert_eq!(end.staged(), [(Opcode::Binary, words(1000))]);
                assert!(end.path.queued_bytes() > (1 << 20) + 3000, "{}", end.path.queued_bytes());
                for _ in 0..15 {
                    assert!(end.path.has_uncompressed());
                    end.path.ping(b"?", MaskKey::default(), &mut end.buffers).expect("open");
                    assert_eq!(end.staged(), [(Opcode::Ping, b"?".to_vec())]);
                    assert_eq!(end.staged(), [], "the message is not complete");
                }
                end.path.close(None, MaskKey::default(), &mut end.buffers).expect("open");
                let mut frames = Vec::new();
                while end.path.queued_bytes() > 0 {
                    frames.extend(end.staged());
                }
                let expected = [
                    (Opcode::Binary, message),
                    (Opcode::Text, b"plain".to_vec()),
                    (Opcode::Binary, words(3000)),
                    (Opcode::Close, Vec::new()),
                ];
                assert!(frames == expected, "{prepared}");
                assert!(!end.path.has_uncompressed());
            }
        }
    }

    #[test]
    fn many_short_messages_are_staged_at_once_in_their_order() {
        for mut end in Sending::each() {
            for nth in 0..300 {
                end.send(Outgoing::from(words(nth)).compress(nth % 3 > 0));
            }
            let (mut frames, mut calls) = (Vec::new(), 0);
            while end.path.queued_bytes() > 0 {
                frames.extend(end.staged());
                calls += 1;
            }
            assert!(frames == (0..300).map(|nth| (Opcode::Binary, words(nth))).collect::<Vec<_>>());
            assert!(calls <= 3, "{calls}");
        }
    }

    #[test]
    fn a_message_that_was_not_staged_is_not_referred_to() {
        let mut end = Sending::new(Server, true);
        end.send(words(500));
        end.path.begin_message(MessageKind::Binary).expect("open");
        end.path.send_part(Bytes::new(), false, MaskKey::default(), &mut end.buffers).expect("open");
        end.path.abandon_message(MaskKey::default(), &mut end.buffers);
        end.send(words(600));
        assert_eq!(end.staged(), [(Opcode::Binary, words(500)), (Opcode::Binary, words(600))]);
    }

    #[test]
    fn a_prepared_message_for_several_connections_is_compressed_once_by_turns() {
        let prepared = PreparedMessage::new(words(200 << 10));
        let mut ends: Vec<_> = (0..4).map(|_| Sending::new(Server, false)).collect();
        ends.iter_mut().for_each(|end| end.send(&prepared));
        let mut calls = 0;
        while ends.iter().any(|end| end.path.queued_bytes() > 0) {
            for end in &mut ends {
                calls += 1;
                let frames = end.staged();
                assert!(frames.is_empty() || frames == [(Opcode::Binary, words(200 << 10))]);
            }
        }
        assert_eq!(calls, 8, "four strides, then one call for each end");
    }

    #[test]
    fn an_incompressible_message_is_sent_uncompressed() {
        let random = std::iter::successors(Some(1_u64), |state| {
            Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
        });
        let noise: Vec<u8> = random.map(|state| (state >> 40) as u8).take(300_000).collect();
        let mut end = Sending::new(Server, false);
        end.send(noise.clone());
        let mut wire = Vec::new();
        while end.path.queued_bytes() > 0 {
            end.path.stage(&mut end.batch, &mut end.buffers);
            wire.extend_from_slice(&end.batch.copy_to_bytes(end.batch.remaining()));
        }
        // RFC 7692 section 6: RSV1 is not set.
        assert_eq!(wire[..2], [0x82, 127]);
        assert!(wire[10..] == noise);
    }

    #[test]
    fn with_context_takeover_alone_a_message_refers_to_the_one_before_it() {
        for takeover in [false, true] {
            let mut end = Sending::new(Server, takeover);
            let [first, second] = std::array::from_fn(|_| {
                end.send(words(5000));
                end.path.stage(&mut end.batch, &mut end.buffers);
                end.batch.copy_to_bytes(end.batch.remaining()).len()
            });
            assert_eq!(second < first / 4, takeover, "{second} after {first}");
        }
    }
}
