//! Drives a receive path over bytes that are split into reads in any way, and records everything
//! that is received.

use bytes::{BufMut, Bytes};
use fullduplex::{
    CloseFrame, Config, Message, MessageKind, Role, Utf8Bytes,
    proto::{Buffers, Part, ProtocolError, ReceivePath, Received, Want},
};

/// What was received, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseFrame>),
    Error(ProtocolError),
}

/// Receives `wire` in reads of these lengths (0 counts as 1), the last of which is repeated.
///
/// Data is read into the buffer that the path requests, so that large payload data is received in
/// both ways.
pub fn drive(role: Role, config: &Config, wire: &[u8], reads: &[usize]) -> Vec<Outcome> {
    drive_in_parts(role, config, wire, reads, &[false])
}

/// Does the same. `parts` specifies for each step, in a cycle, whether the current or next message
/// is received in parts, which are joined again here.
pub fn drive_in_parts(
    role: Role,
    config: &Config,
    wire: &[u8],
    reads: &[usize],
    parts: &[bool],
) -> Vec<Outcome> {
    drive_path(ReceivePath::new(role, config), config.max_message_size as u64, wire, reads, parts)
}

/// Does the same with any path, and this limit for messages in parts.
pub fn drive_path(
    mut path: ReceivePath,
    limit: u64,
    mut wire: &[u8],
    reads: &[usize],
    parts: &[bool],
) -> Vec<Outcome> {
    let mut choices = Choices { parts: parts.iter().cycle(), limit, joined: None };
    let (mut outcomes, mut buffers) = (Vec::new(), Buffers::new());
    let mut reads = reads.iter().copied();
    let mut read = usize::MAX;
    while !wire.is_empty() {
        read = reads.next().unwrap_or(read).max(1);
        let (room, len) = match path.want() {
            Want::Payload(room) => {
                let len = read.min(wire.len()).min(room.remaining_mut());
                (Some(room), len)
            }
            _ => (None, read.min(wire.len())),
        };
        let (part, rest) = wire.split_at(len);
        wire = rest;
        if let Some(mut room) = room {
            room.put_slice(part);
            match path.payload_received() {
                Ok(message) => outcomes.extend(message.map(Outcome::Message)),
                Err(error) => outcomes.push(Outcome::Error(error)),
            }
            inflate_all(&mut path, &mut buffers, &mut choices, &mut outcomes);
            continue;
        }
        receive_all(&mut path, &mut part.to_vec(), &mut buffers, &mut choices, &mut outcomes);
    }
    if let Err(error) = path.receive_eof() {
        outcomes.push(Outcome::Error(error));
    }
    outcomes
}

/// Which messages are received in parts, and what was received of the current one.
struct Choices<'a> {
    parts: std::iter::Cycle<std::slice::Iter<'a, bool>>,
    limit: u64,
    joined: Option<Vec<u8>>,
}

impl Choices<'_> {
    /// Chooses whether the current or next message is received in parts.
    fn choose(&mut self, path: &mut ReceivePath) -> Result<(), ProtocolError> {
        if path.is_inside_parts() {
            return Ok(());
        }
        if self.parts.next() != Some(&true) {
            path.receive_whole();
        } else if let Some((_, kept)) = path.receive_parts(self.limit)? {
            self.joined = Some(kept.to_vec());
        }
        Ok(())
    }

    /// Returns the outcome, unless this is a part that is not the last.
    fn take(&mut self, received: Received<'_>) -> Option<Outcome> {
        match received {
            Received::Message(message) => Some(Outcome::Message(message)),
            Received::Part(part) => self.join(part),
            Received::Ping(payload) => Some(Outcome::Ping(payload.to_vec())),
            Received::Pong(payload) => Some(Outcome::Pong(payload.to_vec())),
            Received::Close(frame) => Some(Outcome::Close(frame)),
            _ => unreachable!("all variants are handled"),
        }
    }

    /// Returns the message, if this was its last part.
    fn join(&mut self, part: Part<'_>) -> Option<Outcome> {
        let joined = self.joined.get_or_insert_default();
        joined.extend_from_slice(part.payload);
        if !part.last {
            return None;
        }
        let whole = Bytes::from(self.joined.take().unwrap_or_default());
        Some(Outcome::Message(match part.kind {
            MessageKind::Text => Message::Text(Utf8Bytes::try_from(whole).expect("it was validated")),
            MessageKind::Binary => Message::Binary(whole),
        }))
    }
}

/// Receives all of this input, or up to the first error.
fn receive_all(
    path: &mut ReceivePath,
    mut unread: &mut [u8],
    buffers: &mut Buffers,
    choices: &mut Choices<'_>,
    outcomes: &mut Vec<Outcome>,
) {
    loop {
        if let Err(error) = choices.choose(path) {
            return outcomes.push(Outcome::Error(error));
        }
        // From here on, a message of which a part was received may be requested in parts.
        if !inflate_all(path, buffers, choices, outcomes) || unread.is_empty() {
            return;
        }
        let step = match path.receive(unread) {
            Ok(step) => step,
            Err(error) => return outcomes.push(Outcome::Error(error)),
        };
        let consumed = step.consumed;
        outcomes.extend(step.received.and_then(|received| choices.take(received)));
        assert!(consumed > 0, "no input was consumed, and no error was returned");
        unread = &mut unread[consumed..];
    }
}

/// Inflates what was received. Returns whether there was no error.
fn inflate_all(
    path: &mut ReceivePath,
    buffers: &mut Buffers,
    choices: &mut Choices<'_>,
    outcomes: &mut Vec<Outcome>,
) -> bool {
    while path.has_compressed() {
        match choices.choose(path).and_then(|()| path.inflate(buffers)) {
            Ok(received) => outcomes.extend(received.and_then(|received| choices.take(received))),
            Err(error) => {
                outcomes.push(Outcome::Error(error));
                return false;
            }
        }
    }
    true
}
