//! Writes a message in parts, in random ways and up to a random length.

use std::{cell::RefCell, pin::Pin, rc::Rc};

use bytes::Bytes;
use fullduplex::{Error, MessageWriter, Sender, SenderTurn, TrySendError, WebSocket};
use rand::{RngExt, rngs::SmallRng};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    pipe::End,
    reading::inner,
    task::{pause, polled},
};

/// The size up to which a writer gathers data before it queues a frame.
const FRAME: usize = 64 << 10;

/// The progress of a message that is written in parts.
#[derive(Debug, Default)]
pub struct Writing {
    pub id: usize,
    /// The number of bytes that the writer accepted.
    pub written: usize,
    /// Whether a frame of it may be queued, and whether one is.
    pub may_be_begun: bool,
    pub is_begun: bool,
    /// Whether its last frame may be queued, and whether it is.
    pub may_be_whole: bool,
    pub is_whole: bool,
    /// The number of bytes at the last flush, if nothing was written since.
    pub flushed: Option<usize>,
    /// The number of operations that made progress.
    pub moves: u64,
}

impl Writing {
    /// Records that everything written so far was sent.
    fn flushed(&mut self, written: usize) {
        self.is_begun |= written > 0;
        self.flushed = Some(written);
        self.moves += 1;
    }
}

pub type Record = Rc<RefCell<Writing>>;

/// The message that is written, and how.
#[derive(Debug)]
pub struct Plan {
    pub content: Bytes,
    /// The length after which the writer is dropped unfinished.
    pub leaves_at: Option<usize>,
    pub ping: String,
    pub rng: SmallRng,
    pub record: Record,
}

/// A writer of any kind of connection.
pub trait OutParts: AsyncWrite + Unpin {
    fn feed_part(&mut self, part: Bytes) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>>;
    fn flush(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>>;
    async fn finish(self) -> Result<(), Error>;
}

macro_rules! out_parts {
    ($to:ty) => {
        impl OutParts for MessageWriter<$to> {
            fn feed_part(&mut self, part: Bytes) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>> {
                Box::pin(MessageWriter::feed_part(self, part))
            }

            fn flush(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>> {
                Box::pin(MessageWriter::flush(self))
            }

            async fn finish(self) -> Result<(), Error> {
                MessageWriter::finish(self).await
            }
        }
    };
}

out_parts!(&mut WebSocket<End>);
out_parts!(SenderTurn<'_>);

/// Writes the whole message and finishes it, or leaves it unfinished. In a split connection,
/// `sender` is the sender of the writer.
pub async fn write(mut writer: impl OutParts, plan: &mut Plan, sender: Option<&Sender>) -> Result<(), Error> {
    let Plan { content, leaves_at, ping, rng, record } = plan;
    record.borrow_mut().moves += 1;
    loop {
        let written = record.borrow().written;
        if leaves_at.is_some_and(|at| written >= at) {
            return Ok(());
        }
        if written == content.len() && rng.random_ratio(1, 3) {
            break;
        }
        match rng.random_range(0..20) {
            0..10 => write_some(&mut writer, &content.slice(written..), rng, record).await?,
            10..15 => feed_part(&mut writer, &content.slice(written..), rng, record).await?,
            15..17 => flush(&mut writer, rng, record).await?,
            17..19 => pause(rng.random_range(0..3)).await,
            _ => {
                if let Some(sender) = sender {
                    use_meanwhile(sender, std::mem::take(ping)).await?;
                }
            }
        }
    }
    finish(writer, rng, record).await
}

async fn write_some(
    writer: &mut impl OutParts,
    rest: &[u8],
    rng: &mut SmallRng,
    record: &Record,
) -> Result<(), Error> {
    let len = size(rng, rest.len());
    let may_queue = record.borrow().written >= FRAME;
    record.borrow_mut().may_be_begun |= may_queue;
    let polls = polls(rng);
    if let Some(len) = polled(writer.write(&rest[..len]), polls).await {
        let mut writing = record.borrow_mut();
        writing.written += len.map_err(inner)?;
        // No more than a frame is gathered.
        writing.is_begun |= writing.written > FRAME;
        writing.moves += 1;
    }
    Ok(())
}

async fn feed_part(
    writer: &mut impl OutParts,
    rest: &Bytes,
    rng: &mut SmallRng,
    record: &Record,
) -> Result<(), Error> {
    let len = size(rng, rest.len());
    let part = if rng.random() { rest.slice(..len) } else { Bytes::copy_from_slice(&rest[..len]) };
    let may_queue = record.borrow().written + len > 0;
    record.borrow_mut().may_be_begun |= may_queue;
    let polls = polls(rng);
    if let Some(result) = polled(writer.feed_part(part), polls).await {
        result?;
        let mut writing = record.borrow_mut();
        writing.written += len;
        writing.is_begun |= writing.written > 0;
        writing.moves += 1;
    }
    Ok(())
}

async fn flush(writer: &mut impl OutParts, rng: &mut SmallRng, record: &Record) -> Result<(), Error> {
    let written = record.borrow().written;
    record.borrow_mut().may_be_begun |= written > 0;
    let polls = polls(rng);
    let done = if rng.random() {
        polled(OutParts::flush(writer), polls).await
    } else {
        polled(AsyncWriteExt::flush(writer), polls).await.map(|done| done.map_err(inner))
    };
    if let Some(result) = done {
        result?;
        record.borrow_mut().flushed(written);
        // Whether it was sent is checked before anything else happens.
        pause(1).await;
        record.borrow_mut().flushed = None;
    }
    Ok(())
}

async fn finish(mut writer: impl OutParts, rng: &mut SmallRng, record: &Record) -> Result<(), Error> {
    record.borrow_mut().may_be_begun = true;
    record.borrow_mut().may_be_whole = true;
    while rng.random() {
        let polls = polls(rng);
        if let Some(result) = polled(writer.shutdown(), polls).await {
            result.map_err(inner)?;
            record.borrow_mut().is_whole = true;
            record.borrow_mut().moves += 1;
            assert!(writer.write(b"late").await.is_err(), "it is finished");
            if rng.random() {
                return Ok(());
            }
        }
    }
    writer.finish().await
}

/// Uses the sender while a message is open: other messages wait, but a ping is sent between frames.
async fn use_meanwhile(sender: &Sender, ping: String) -> Result<(), Error> {
    match sender.try_send("it finds no room") {
        Ok(()) => panic!("queued between the frames of another message"),
        Err(TrySendError::Full(_)) => {}
        Err(TrySendError::Closed(_)) => return Ok(()),
    }
    if ping.is_empty() { Ok(()) } else { sender.ping(ping).await }
}

/// Returns the number of polls after which a future is dropped, or `None` if it is completed.
fn polls(rng: &mut SmallRng) -> Option<u32> {
    rng.random_ratio(1, 4).then(|| rng.random_range(0..3))
}

/// Returns a size of any order of magnitude.
fn size(rng: &mut SmallRng, most: usize) -> usize {
    let bits = rng.random_range(0..20);
    rng.random_range(0..=(1_usize << bits)).min(most)
}
