//! The send path.

use bytes::Buf;

#[cfg(feature = "deflate")]
use crate::proto::deflate::{Deflate, DeflateParams};
#[cfg(feature = "hub")]
use crate::proto::prepared::PreparedMessage;
use crate::proto::{
    buffers::Buffers,
    config::Config,
    error::SendError,
    header::Header,
    opcode::Opcode,
    outbox::{Batch, Deflater, Deflation, DirectHead, Queue, push_message, push_short, short},
    outgoing::Outgoing,
    payload::MaskKey,
    role::Role,
    utf8::Utf8Validator,
};

/// About how many bytes one call of [`SendPath::stage`] compresses.
const STRIDE: usize = 64 << 10;

/// The send path: takes messages and control frames, returns the bytes to write.
///
/// It does no I/O. [`send`](Self::send), [`ping`](Self::ping), [`answer`](Self::answer),
/// [`close`](Self::close) and [`fail`](Self::fail) queue frames, in any order.
/// [`stage`](Self::stage) moves the next ones to a [`Batch`]; call it whenever the last batch is
/// written. Pings and pongs overtake queued messages, between frames; a Close overtakes nothing,
/// and only pongs follow it.
///
/// Each call takes a new masking key, from an unpredictable source (RFC 6455 section 5.3), which a
/// server does not use; and the buffer pool. [`Batch`] has an example.
#[derive(Debug)]
pub struct SendPath {
    /// Taken from the pool while something is queued.
    pub(super) queue: Option<Box<Queue>>,
    pub(super) max_write_buffer_size: usize,
    pub(super) role: Role,
    pub(super) end: SendEnd,
    /// The message that is sent in parts and not finished.
    pub(super) message: Option<InParts>,
    /// `None` if this end does not compress.
    pub(super) deflation: Option<Box<Deflation>>,
}

/// What may still be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendEnd {
    /// Everything.
    Open,
    /// Only pongs: our Close is queued or sent (RFC 6455 section 5.5.1).
    CloseSent,
    /// Nothing: the state was [taken](SendPath::take).
    Taken,
}

/// A message that is sent in parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct InParts {
    /// The opcode of the next frame: a continuation, once the first frame is queued.
    pub(super) opcode: Opcode,
    /// `None` for a binary message.
    pub(super) utf8: Option<Utf8Validator>,
}

impl SendPath {
    /// Creates the send path of one end of an open connection, without extensions.
    pub fn new(role: Role, config: &Config) -> Self {
        Self {
            queue: None,
            max_write_buffer_size: config.max_write_buffer_size,
            role,
            end: SendEnd::Open,
            message: None,
            deflation: None,
        }
    }

    /// Enables permessage-deflate, which the ends have negotiated: messages are compressed
    /// according to `settings`.
    ///
    /// ```
    /// use bytes::Buf;
    /// use fullduplex::{Config, Deflate, Outgoing, Role};
    /// use fullduplex::proto::{Batch, DeflateParams, Buffers, MaskKey, SendPath};
    ///
    /// let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
    /// let settings = Deflate::new();
    /// let mut path = SendPath::new(Role::Server, &Config::new()).with_deflate(settings, settings.into());
    /// path.send("na ".repeat(40).into(), MaskKey::default(), &mut buffers)?;
    /// path.send(Outgoing::from("short"), MaskKey::default(), &mut buffers)?;
    /// path.stage(&mut batch, &mut buffers);
    /// assert_eq!(batch.copy_to_bytes(batch.remaining()), &b"\xC1\x07\xCA\x4B\x54\x18\x10\x04\x00\x81\x05short"[..]);
    /// # Ok::<(), fullduplex::proto::SendError>(())
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, settings: Deflate, params: DeflateParams) -> Self {
        self.deflation = Some(Box::new(Deflation::new(self.role, settings, params)));
        self
    }

    /// Queues a message as one frame. Check with [`has_room`](Self::has_room) first whether there
    /// is room.
    ///
    /// # Errors
    /// [`SendError::Closing`] if a Close is queued or sent; [`SendError::MessageOpen`] if a message
    /// that is sent in parts is not finished; [`SendError::SequenceToMask`] for a
    /// [`Sequence`](crate::Sequence) of a client, whose messages are queued one by one.
    #[inline]
    pub fn send(
        &mut self,
        mut outgoing: Outgoing<'_>,
        key: MaskKey,
        buffers: &mut Buffers,
    ) -> Result<(), SendError> {
        if self.role.masks() && outgoing.is_sequence() {
            return Err(SendError::SequenceToMask);
        }
        self.send_mut(&mut outgoing, key, buffers)
    }

    /// Sends like [`send`](Self::send) without moving the message, which is unchanged if this
    /// fails. Otherwise its remaining content is unspecified. A client does not pass a sequence.
    #[inline]
    pub(crate) fn send_mut(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        key: MaskKey,
        buffers: &mut Buffers,
    ) -> Result<(), SendError> {
        self.no_message()?;
        let mask = self.mask(key);
        if self.deflation.is_some() {
            self.push_compressed(outgoing, mask, buffers);
        } else {
            push_message(outgoing, mask, self.queue(buffers));
        }
        Ok(())
    }

    /// Queues a copy of a short message behind others, if there is room for it beside the `staged`
    /// bytes of a batch: the fast path of [`send`](Self::send), without the buffer pool. Returns
    /// whether it was queued; if not, `send` handles the message, and reports errors.
    #[inline(always)]
    pub(crate) fn send_short(&mut self, outgoing: &Outgoing<'_>, key: MaskKey, staged: usize) -> bool {
        let Some((kind, payload)) = short(outgoing) else { return false };
        if self.no_message().is_err() || self.deflation.is_some() || !self.has_room(payload.len(), staged) {
            return false;
        }
        let mask = self.mask(key);
        let Some(queue) = &mut self.queue else { return false };
        push_short(kind, payload, mask, &mut **queue);
        true
    }

    /// Returns whether a message may be written into the batch directly: it would overtake nothing,
    /// and needs no compression.
    #[inline]
    pub(crate) fn can_send_direct(&self) -> bool {
        self.queue.is_none() && self.deflation.is_none()
    }

    /// Returns the frame of a message that is written at once, in two parts, of which `head` holds the
    /// first. Returns `None` if the message has to be [staged](Self::stage_direct) first. Nothing may be
    /// queued ([`can_send_direct`](Self::can_send_direct)).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    // Always inlined: this is most of a short `send`.
    #[inline(always)]
    pub(crate) fn direct_frame<'a>(
        &self,
        outgoing: &'a Outgoing<'_>,
        key: MaskKey,
        head: &'a mut DirectHead,
    ) -> Result<Option<[&'a [u8]; 2]>, SendError> {
        debug_assert!(self.can_send_direct());
        self.no_message()?;
        Ok(head.frame(outgoing, self.mask(key)))
    }

    /// Writes a message into the batch directly, if it has no [direct frame](Self::direct_frame). Nothing
    /// may be queued or staged. The remaining content of `outgoing` is unspecified.
    #[inline]
    pub(crate) fn stage_direct(&self, outgoing: &mut Outgoing<'_>, key: MaskKey, batch: &mut Batch) {
        debug_assert!(self.can_send_direct() && !batch.has_remaining());
        push_message(outgoing, self.mask(key), batch);
    }

    /// Writes a message into the batch whose frame was written in part, as a
    /// [direct frame](Self::direct_frame): the rest of it precedes what others have queued since. The
    /// remaining content of `outgoing` is unspecified.
    #[inline]
    pub(crate) fn stage_begun(&self, outgoing: &mut Outgoing<'_>, key: MaskKey, batch: &mut Batch) {
        debug_assert!(self.deflation.is_none() && !batch.has_remaining());
        push_message(outgoing, self.mask(key), batch);
    }

    /// Returns the frame of a prepared message, if it may be written as it is: it would overtake
    /// nothing, and needs neither compression nor masking.
    #[cfg(feature = "hub")]
    #[inline]
    pub(crate) fn direct_prepared<'a>(&self, message: &'a PreparedMessage) -> Option<&'a [u8]> {
        let is_ready = self.can_send_direct() && !self.role.masks() && self.no_message().is_ok();
        is_ready.then(|| &message.frame()[..])
    }

    /// Moves the next frames to the batch, unless it has something left to write.
    ///
    /// Messages are compressed now, in order, about 64 KiB of them in one call. If more are
    /// [left](Self::has_uncompressed), the batch may stay empty: call this again, after other tasks
    /// had their turn. Otherwise an empty batch means that nothing is queued.
    #[inline]
    pub fn stage(&mut self, batch: &mut Batch, buffers: &mut Buffers) {
        if batch.has_remaining() {
            return;
        }
        if self.deflation.is_some() {
            return self.stage_compressed(batch, buffers);
        }
        let Some(mut queue) = self.queue.take() else { return };
        queue.stage(batch);
        self.put_back(queue, buffers);
    }

    // Not inlined: keeps the path without compression short.
    #[inline(never)]
    fn stage_compressed(&mut self, batch: &mut Batch, buffers: &mut Buffers) {
        let mut stride = STRIDE;
        while let Some(mut deflater) = self.take_deflater(batch, buffers) {
            let staged = deflater.compress(batch, &mut stride, buffers.codecs());
            self.return_deflater(deflater, staged, buffers);
            if stride == 0 {
                break;
            }
        }
    }

    /// Stages what needs no compression, and takes the compressor for the rest, if the batch has
    /// room for it.
    ///
    /// Until the compressor is returned, more can be queued, and nothing else may be staged.
    pub(crate) fn take_deflater(
        &mut self,
        batch: &mut Batch,
        buffers: &mut Buffers,
    ) -> Option<Box<Deflater>> {
        let mut queue = self.queue.take()?;
        queue.stage(batch);
        let deflater = match (&mut self.deflation, queue.next_uncompressed()) {
            (Some(deflation), Some(waiting)) => deflation.take_deflater(waiting, batch),
            _ => None,
        };
        self.put_back(queue, buffers);
        deflater
    }

    /// Returns the compressor, after it has staged frames that have this length uncompressed.
    pub(crate) fn return_deflater(&mut self, deflater: Box<Deflater>, staged: usize, buffers: &mut Buffers) {
        if let Some(deflation) = &mut self.deflation {
            deflation.return_deflater(deflater);
        }
        if let Some(mut queue) = self.queue.take() {
            queue.uncompressed_staged(staged);
            self.put_back(queue, buffers);
        }
    }

    /// Drops what is queued, after the transport has failed.
    pub fn clear(&mut self, buffers: &mut Buffers) {
        if let Some(queue) = self.queue.take() {
            buffers.take_back(queue);
        }
        if let Some(deflation) = &mut self.deflation {
            deflation.forget();
        }
    }

    /// Takes the whole state, and leaves a path on which nothing can be sent.
    #[must_use]
    pub(crate) fn take(&mut self) -> Self {
        let Self { queue, max_write_buffer_size, role, end, message, deflation } = self;
        let taken = Self {
            queue: queue.take(),
            max_write_buffer_size: *max_write_buffer_size,
            role: *role,
            end: *end,
            message: message.take(),
            deflation: deflation.take(),
        };
        *end = SendEnd::Taken;
        taken
    }

    /// Returns whether a message of this length may be queued, while `staged` bytes of earlier ones
    /// are staged and not yet written.
    ///
    /// It may if nothing is queued or staged, or if all of it, with the new frame, is within
    /// [`max_write_buffer_size`](Config::max_write_buffer_size).
    #[inline]
    pub fn has_room(&self, payload_len: usize, staged: usize) -> bool {
        let waiting = self.queued_bytes().saturating_add(staged);
        // More than `usize::MAX` bytes of shared payload data can be queued where it has 32 bits.
        let sum = waiting.checked_add(Self::frame_len(payload_len, self.role));
        waiting == 0 || sum.is_some_and(|sum| sum <= self.max_write_buffer_size)
    }

    /// Returns whether something is queued. A call that queues more then does not use the buffer
    /// pool.
    #[inline]
    pub(crate) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// Returns whether some queued messages still have to be compressed, by [`stage`](Self::stage).
    #[inline]
    pub fn has_uncompressed(&self) -> bool {
        self.deflation.is_some() && self.queue.as_ref().is_some_and(|queue| queue.has_uncompressed())
    }

    /// Returns whether compression was agreed on.
    pub(crate) fn compresses(&self) -> bool {
        self.deflation.is_some()
    }

    /// Returns how many bytes of queued messages still have to be compressed, or are queued behind
    /// such.
    #[inline]
    pub(crate) fn uncompressed_bytes(&self) -> usize {
        match &self.queue {
            Some(queue) if self.deflation.is_some() => queue.uncompressed_bytes(),
            _ => 0,
        }
    }

    /// Returns whether a pong is queued.
    #[inline]
    pub(crate) fn owes_pong(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.owes_pong())
    }

    /// Returns whether another ping may be queued. Pings overtake other frames, and do not count
    /// for their limit.
    pub fn has_room_for_ping(&self) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.has_room_for_ping())
    }

    /// Returns whether a message that is sent in parts is not finished.
    #[inline]
    pub fn is_message_open(&self) -> bool {
        self.message.is_some()
    }

    /// Returns how many bytes are queued and not yet staged. A message that is to be compressed
    /// counts with its uncompressed frame.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Returns how many of them belong to messages and a Close, which keep their order.
    #[inline]
    pub(crate) fn queued_in_order_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.ordered_len())
    }

    /// Returns the length of the frame of a message of this length, as this end sends it.
    #[inline]
    pub(crate) fn frame_len(payload_len: usize, role: Role) -> usize {
        Header::encoded_len(payload_len, role.masks()).saturating_add(payload_len)
    }

    /// Replaces the number of bytes that may be queued by that of `config`.
    pub fn set_limits(&mut self, config: &Config) {
        self.max_write_buffer_size = config.max_write_buffer_size;
    }

    /// Returns how many bytes may be queued:
    /// [`max_write_buffer_size`](Config::max_write_buffer_size).
    pub fn max_write_buffer_size(&self) -> usize {
        self.max_write_buffer_size
    }

    /// Returns the end of the connection that this is.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns whether our Close is queued or sent.
    #[inline]
    pub fn is_close_sent(&self) -> bool {
        self.end != SendEnd::Open
    }

    #[inline]
    pub(super) fn open(&self) -> Result<(), SendError> {
        // RFC 6455 section 5.5.1: no more data frames after a Close.
        if self.is_close_sent() { Err(SendError::Closing) } else { Ok(()) }
    }

    /// Returns whether a message may begin.
    #[inline]
    pub(super) fn no_message(&self) -> Result<(), SendError> {
        self.open()?;
        // RFC 6455 section 5.4: the fragments of two messages are not interleaved.
        if self.message.is_some() { Err(SendError::MessageOpen) } else { Ok(()) }
    }

    // Not inlined: keeps the path without compression short.
    #[inline(never)]
    fn push_compressed(&mut self, outgoing: &mut Outgoing<'_>, mask: Option<MaskKey>, buffers: &mut Buffers) {
        if let Some(sequence) = outgoing.sequence() {
            return sequence.for_each(|mut message| self.push_compressed(&mut message, mask, buffers));
        }
        let queue = self.queue.get_or_insert_with(|| buffers.queue());
        let Some(deflation) = &self.deflation else { return };
        if !queue.push_uncompressed(|uncompressed| deflation.push_message(outgoing, mask, uncompressed)) {
            if queue.has_uncompressed() {
                queue.push_uncompressed(|waiting| waiting.push_plain(outgoing, mask));
            } else {
                push_message(outgoing, mask, &mut **queue);
            }
        }
    }

    /// Returns the key, if this end masks.
    #[inline]
    pub(super) fn mask(&self, key: MaskKey) -> Option<MaskKey> {
        self.role.masks().then_some(key)
    }

    #[inline]
    pub(super) fn queue(&mut self, buffers: &mut Buffers) -> &mut Queue {
        self.queue.get_or_insert_with(|| buffers.queue())
    }

    /// Keeps the queue, or returns it to the pool if it is empty.
    #[inline]
    fn put_back(&mut self, queue: Box<Queue>, buffers: &mut Buffers) {
        if queue.len() == 0 {
            buffers.take_back(queue);
        } else {
            self.queue = Some(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        super::testing::{path, send, staged},
        *,
    };

    #[test]
    fn an_empty_queue_always_has_room_and_others_have_up_to_the_limit() {
        let (mut path, _, mut buffers) = path();
        assert!(path.has_room(1 << 30, 0) && !path.has_room(1 << 30, 1));
        send(&mut path, vec![0; 496], &mut buffers);
        assert_eq!(path.queued_bytes(), 500);
        assert!(path.has_room(496, 0) && !path.has_room(497, 0) && !path.has_room(496, 1));
        assert!(!path.has_room(usize::MAX, 0));
    }

    #[test]
    fn without_a_limit_the_number_of_queued_bytes_does_not_overflow() {
        let (mut path, _, mut buffers) = path();
        path.set_limits(&Config::new().max_write_buffer_size(usize::MAX));
        send(&mut path, vec![0; 496], &mut buffers);
        assert!(path.has_room(usize::MAX - 1000, 0) && !path.has_room(usize::MAX - 500, 0));
    }

    #[test]
    fn a_client_masks_large_payloads_in_place_or_in_a_copy() {
        let (mut batch, mut buffers) = (Batch::new(), Buffers::new());
        let mut path = SendPath::new(Role::Client, &Config::new());
        let shared = Bytes::from(vec![0xFF; 5000]);
        let key = MaskKey::from([1, 2, 3, 4]);
        path.send(shared.clone().into(), key, &mut buffers).expect("open");
        path.send(vec![0xFF; 5000].into(), key, &mut buffers).expect("open");
        let wire = staged(&mut path, &mut batch, &mut buffers);
        let frame =
            [&[0x82, 0xFE, 0x13, 0x88, 1, 2, 3, 4][..], &[0xFE, 0xFD, 0xFC, 0xFB].repeat(1250)].concat();
        assert_eq!(wire, frame.repeat(2));
        assert_eq!(shared, vec![0xFF; 5000], "shared data is not modified");
    }

    #[test]
    fn the_fast_path_queues_the_same_bytes() {
        for role in [Role::Client, Role::Server] {
            let key = MaskKey::from([1, 2, 3, 4]);
            let messages = [Outgoing::from("text"), vec![7; 4096].into(), vec![8; 125].into(), "".into()];
            let wires = [false, true].map(|plain| {
                let (mut path, mut batch, mut buffers) =
                    (SendPath::new(role, &Config::new()), Batch::new(), Buffers::new());
                path.send("first".into(), key, &mut buffers).expect("open");
                for message in &messages {
                    if plain {
                        assert!(path.send_short(message, key, 0));
                    } else {
                        path.send(message.clone(), key, &mut buffers).expect("open");
                    }
                }
                staged(&mut path, &mut batch, &mut buffers)
            });
            assert_eq!(wires[0], wires[1]);
        }
    }

    #[test]
    fn the_fast_path_declines_all_other_cases() {
        let key = MaskKey::default();
        let refuses = |path: &mut SendPath, outgoing: &Outgoing<'_>, waiting: usize| {
            let before = path.queued_bytes();
            !path.send_short(outgoing, key, waiting) && path.queued_bytes() == before
        };
        let config = Config::new().max_write_buffer_size(1000);
        let (mut path, mut batch, mut buffers) =
            (SendPath::new(Role::Server, &config), Batch::new(), Buffers::new());
        assert!(refuses(&mut path, &"behind nothing".into(), 0));
        path.send("first".into(), key, &mut buffers).expect("open");
        assert!(refuses(&mut path, &crate::PreparedMessage::new("encoded").into(), 0));
        assert!(
            refuses(&mut path, &vec![0; 990].into(), 0) && refuses(&mut path, &"staged".into(), usize::MAX)
        );
        assert!(path.send_short(&vec![0; 988].into(), key, 1) && path.queued_bytes() == 999);
        staged(&mut path, &mut batch, &mut buffers);
        path.begin_message(crate::MessageKind::Binary).expect("none is open");
        path.send_part("part".into(), false, key, &mut buffers).expect("open");
        assert!(refuses(&mut path, &"between parts".into(), 0));
        path.abandon_message(key, &mut buffers);
        assert!(refuses(&mut path, &"behind a Close".into(), 0));

        let mut path = SendPath::new(Role::Server, &Config::new());
        path.send("first".into(), key, &mut buffers).expect("open");
        assert!(
            refuses(&mut path, &vec![0; 4097].into(), 0) && path.send_short(&vec![0; 4096].into(), key, 0)
        );
    }

    #[test]
    fn a_pong_is_owed_until_it_is_staged() {
        let (mut path, mut batch, mut buffers) = path();
        path.ping(b"i", MaskKey::default(), &mut buffers).expect("open");
        assert!(!path.owes_pong());
        path.pong(b"o", MaskKey::default(), &mut buffers).expect("open");
        assert!(path.owes_pong());
        assert_eq!(staged(&mut path, &mut batch, &mut buffers), b"\x89\x01i\x8A\x01o");
        assert!(!path.owes_pong());
    }

    #[test]
    fn a_message_is_open_from_its_beginning_to_its_last_part() {
        let (mut path, _, mut buffers) = path();
        assert!(!path.is_message_open());
        path.begin_message(crate::MessageKind::Binary).expect("open");
        assert!(path.is_message_open());
        for last in [false, true] {
            path.send_part(Bytes::new(), last, MaskKey::default(), &mut buffers).expect("open");
            assert_eq!(path.is_message_open(), !last);
        }
    }
}
