//! Reads a message in parts, in random ways and up to a random length.

use std::{cell::RefCell, pin::Pin, rc::Rc};

use bytes::Bytes;
use fullduplex::{Error, Message, MessageKind, MessageReader, Receiver, WebSocket};
use rand::{RngExt, rngs::SmallRng};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::{
    content::of_kind,
    ledger::Beginning,
    pipe::End,
    task::{pause, polled},
};

/// What was read of a message.
#[derive(Debug, Default)]
pub struct Reading {
    /// Set once it has begun.
    pub kind: Option<MessageKind>,
    pub bytes: Vec<u8>,
    /// Whether it was read to its end.
    pub ended: bool,
    /// Whether the reader failed before the end.
    pub failed: bool,
    /// The limit of the reader.
    pub limit: u64,
    /// The number of reads that made progress.
    pub moves: u64,
}

pub type Record = Rc<RefCell<Reading>>;

impl Reading {
    /// Returns what was read of an incomplete message.
    pub fn beginning(&mut self) -> Option<Beginning> {
        Some(Beginning { kind: self.kind?, bytes: std::mem::take(&mut self.bytes) })
    }

    /// Returns the whole message.
    pub fn whole(&mut self) -> Option<Message> {
        let kind = self.kind.filter(|_| self.ended)?;
        // Data that a dropped call received may exceed the limit, but then the message does not
        // end.
        assert!(self.bytes.len() as u64 <= self.limit, "a message over the limit was returned");
        let text = String::from_utf8(std::mem::take(&mut self.bytes)).expect("all messages are made of text");
        Some(of_kind(kind, text))
    }

    fn end(&mut self, result: &Result<(), Error>) {
        (self.ended, self.failed) = (result.is_ok(), result.is_err());
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }
}

/// A reader of any kind of connection.
pub trait InParts: AsyncBufRead + Unpin {
    fn kind(&self) -> MessageKind;
    fn recv_part(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + '_>>;
}

macro_rules! in_parts {
    ($from:ty) => {
        impl InParts for MessageReader<&mut $from> {
            fn kind(&self) -> MessageKind {
                MessageReader::kind(self)
            }

            fn recv_part(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + '_>> {
                Box::pin(MessageReader::recv_part(self))
            }
        }
    };
}

in_parts!(WebSocket<End>);
in_parts!(Receiver<End>);

/// Reads until the message ends, or up to a random length.
pub async fn read(mut reader: impl InParts, rng: &mut SmallRng, record: &Record) -> Result<(), Error> {
    record.borrow_mut().kind = Some(reader.kind());
    record.borrow_mut().moves += 1;
    let leaves = rng.random_ratio(1, 3);
    let result = loop {
        if leaves && rng.random_ratio(1, 6) {
            return Ok(());
        }
        match read_once(&mut reader, rng, record).await {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    record.borrow_mut().end(&result);
    if result.is_ok() && rng.random_ratio(1, 4) {
        let len = record.borrow().bytes.len();
        read_once(&mut reader, rng, record).await?;
        assert!(record.borrow().bytes.len() == len, "data was returned after the end");
    }
    result
}

/// Reads once in a random way, perhaps dropping the future early. Returns whether the message has
/// ended.
async fn read_once(reader: &mut impl InParts, rng: &mut SmallRng, record: &Record) -> Result<bool, Error> {
    let polls = rng.random_ratio(1, 4).then(|| rng.random_range(0..3));
    let ended = match rng.random_range(0..10) {
        0..3 => {
            let Some(part) = polled(reader.recv_part(), polls).await else { return Ok(false) };
            let part = part?;
            if let Some(part) = &part {
                assert!(!part.is_empty(), "an empty part");
                record.borrow_mut().push(part);
            }
            part.is_none()
        }
        3..7 => {
            let mut buffer = vec![0; [0, 1, 7, 100, 100_000][rng.random_range(0..5)]];
            let Some(len) = polled(reader.read(&mut buffer), polls).await else { return Ok(false) };
            let len = len.map_err(inner)?;
            record.borrow_mut().push(&buffer[..len]);
            len == 0 && !buffer.is_empty()
        }
        7..9 => {
            let Some(part) = polled(reader.fill_buf(), polls).await else { return Ok(false) };
            let part = part.map_err(inner)?;
            let (ended, len) = (part.is_empty(), rng.random_range(0..=part.len()));
            record.borrow_mut().push(&part[..len]);
            reader.consume(len);
            ended
        }
        _ => {
            pause(rng.random_range(0..3)).await;
            return Ok(false);
        }
    };
    record.borrow_mut().moves += 1;
    Ok(ended)
}

/// Returns the error of the crate that is inside an I/O error.
pub fn inner(error: std::io::Error) -> Error {
    error.downcast().unwrap_or_else(Error::Transport)
}
