//! Drives a receive path over bytes that are cut into reads in any way, and tells all that came of it.

use bytes::BufMut;
use fullduplex::{
    CloseFrame, Config, Message, Role,
    proto::{ProtocolError, ReceivePath, Received, Want},
};

/// What came of the bytes, in order.
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
/// Reads go where the path wants them, so that large payloads take both ways in.
pub fn drive(role: Role, config: &Config, mut wire: &[u8], reads: &[usize]) -> Vec<Outcome> {
    let mut path = ReceivePath::new(role, config);
    let mut outcomes = Vec::new();
    let mut reads = reads.iter().copied();
    let mut read = usize::MAX;
    while !wire.is_empty() {
        read = reads.next().unwrap_or(read).max(1);
        let (room, len) = match path.want() {
            Want::Payload(room) => {
                let len = read.min(wire.len()).min(room.remaining_mut());
                (Some(room), len)
            }
            Want::Scratch => (None, read.min(wire.len())),
        };
        let (part, rest) = wire.split_at(len);
        wire = rest;
        if let Some(mut room) = room {
            room.put_slice(part);
            match path.payload_received() {
                Ok(message) => outcomes.extend(message.map(Outcome::Message)),
                Err(error) => outcomes.push(Outcome::Error(error)),
            }
            continue;
        }
        receive_all(&mut path, &mut part.to_vec(), &mut outcomes);
    }
    if let Err(error) = path.receive_eof() {
        outcomes.push(Outcome::Error(error));
    }
    outcomes
}

fn receive_all(path: &mut ReceivePath, mut unread: &mut [u8], outcomes: &mut Vec<Outcome>) {
    while !unread.is_empty() {
        let step = match path.receive(unread) {
            Ok(step) => step,
            Err(error) => return outcomes.push(Outcome::Error(error)),
        };
        let consumed = step.consumed;
        outcomes.extend(step.received.map(|received| match received {
            Received::Message(message) => Outcome::Message(message),
            Received::Ping(payload) => Outcome::Ping(payload.to_vec()),
            Received::Pong(payload) => Outcome::Pong(payload.to_vec()),
            Received::Close(frame) => Outcome::Close(frame),
            _ => unreachable!("all that there is"),
        }));
        assert!(consumed > 0, "nothing was taken in, and no error told");
        unread = &mut unread[consumed..];
    }
}
