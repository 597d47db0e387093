//! Drives a receive path over bytes that are split into reads in any way, and records all that is
//! received.

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

/// Receives `wire` in reads of these lengths (0 counts as 1), the last of them again and again.
///
/// Reads go where the path wants them, so that large payloads are received both ways.
pub fn drive(role: Role, config: &Config, wire: &[u8], reads: &[usize]) -> Vec<Outcome> {
    drive_in_parts(role, config, wire, reads, &[false])
}

/// Does the same. `parts` says for each step, repeatedly, whether the current or next message is
/// received in parts, which are joined again here.
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
    let (mut outcomes, mut lent) = (Vec::new(), Buffers::new());
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
            inflate_all(&mut path, &mut lent, &mut choices, &mut outcomes);
            continue;
        }
        receive_all(&mut path, &mut part.to_vec(), &mut lent, &mut choices, &mut outcomes);
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

    fn take(&mut self, received: Received<'_>) -> Option<Outcome> {
        match received {
            Received::Message(message) => Some(Outcome::Message(message)),
            Received::Part(part) => self.join(part),
            Received::Ping(payload) => Some(Outcome::Ping(payload.to_vec())),
            Received::Pong(payload) => Some(Outcome::Pong(payload.to_vec())),
            Received::Close(frame) => Some(Outcome::Close(frame)),
            _ => unreachable!("all that there is"),
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

fn receive_all(
    path: &mut ReceivePath,
    mut unread: &mut [u8],
    lent: &mut Buffers,
    choices: &mut Choices<'_>,
    outcomes: &mut Vec<Outcome>,
) {
    loop {
        if let Err(error) = choices.choose(path) {
            return outcomes.push(Outcome::Error(error));
        }
        // From here on, what was gathered of a message may be requested in parts.
        if !inflate_all(path, lent, choices, outcomes) || unread.is_empty() {
            return;
        }
        let step = match path.receive(unread) {
            Ok(step) => step,
            Err(error) => return outcomes.push(Outcome::Error(error)),
        };
        let consumed = step.consumed;
        outcomes.extend(step.received.and_then(|received| choices.take(received)));
        assert!(consumed > 0, "nothing was taken in, and no error told");
        unread = &mut unread[consumed..];
    }
}

/// Returns whether there was no error.
fn inflate_all(
    path: &mut ReceivePath,
    lent: &mut Buffers,
    choices: &mut Choices<'_>,
    outcomes: &mut Vec<Outcome>,
) -> bool {
    while path.has_compressed() {
        match choices.choose(path).and_then(|()| path.inflate(lent)) {
            Ok(received) => outcomes.extend(received.and_then(|received| choices.take(received))),
            Err(error) => {
                outcomes.push(Outcome::Error(error));
                return false;
            }
        }
    }
    true
}
