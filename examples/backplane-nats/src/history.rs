//! The history of rooms: publishing and reading.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::PublishErrorKind,
        message::{PublishMessage, StreamMessage},
        stream::LastRawMessageErrorKind,
    },
};
use bytes::Bytes;
use fullduplex::hub::{BackplaneError, Page, Position, Publication, Published, Stored};
use futures_util::{StreamExt, future::join_all};

use crate::{
    failure::Failure,
    link::Link,
    names::token,
    record::{Entry, headers, next_back},
};

/// The most messages that one call reads, whatever was asked for.
const MAX_PAGE: usize = 1000;

/// The rooms whose last messages are remembered, if no message is being published in them.
const MOST_TAILS: usize = 4096;

/// How long the server keeps a consumer whose node has ended while it was reading.
const UNUSED_CONSUMER: Duration = Duration::from_secs(30);

/// What follows the last messages of rooms, as far as this node knows.
///
/// It is locked while a message is published, so that the messages of one node in a room do not
/// compete. If another node was first, the server refuses the message, and it is published again
/// behind that one.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<HashMap<String, Tail>>);

type Tail = Arc<tokio::sync::Mutex<Option<Vec<u64>>>>;

impl Tails {
    fn of(&self, token: &str) -> Tail {
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tails.len() >= MOST_TAILS {
            tails.retain(|_, tail| Arc::strong_count(tail) > 1);
        }
        tails.entry(token.to_owned()).or_default().clone()
    }
}

/// A message that was read, which may not be one of this program.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) offset: u64,
    headers: HeaderMap,
    payload: Bytes,
}

impl Raw {
    /// Returns `None` if the message is not one of this program.
    pub(crate) fn entry(self) -> Option<Entry> {
        Entry::of(self.offset, &self.headers, self.payload)
    }
}

impl From<StreamMessage> for Raw {
    fn from(message: StreamMessage) -> Self {
        Self { offset: message.sequence, headers: message.headers, payload: message.payload }
    }
}

/// Stores a message.
pub(crate) async fn publish(
    link: &Link,
    tails: &Tails,
    subject: String,
    token_of_room: &str,
    publication: &Publication,
) -> Result<Published, Failure> {
    let tail = tails.of(token_of_room);
    let mut tail = tail.lock().await;
    let record = Bytes::from(publication.to_bytes());
    loop {
        // Taken, so that it is read again if this future is dropped.
        let back = match tail.take() {
            Some(back) => back,
            None => back_of_next(last(link, &subject).await?)?,
        };
        let mut message = PublishMessage::build()
            .payload(record.clone())
            .headers(headers(&back))
            .expected_last_subject_sequence(back.first().copied().unwrap_or(0));
        if let Some(id) = publication.get_id() {
            // Ids are known in the whole stream.
            message = message.message_id(format!("{token_of_room}.{}", token(id)));
        }
        match link.context.send_publish(subject.clone(), message).await?.await {
            Ok(ack) => {
                if !ack.duplicate {
                    *tail = Some(next_back(ack.sequence, &back));
                }
                let position = Position { epoch: link.epoch, offset: ack.sequence };
                return Ok(Published { position, duplicate: ack.duplicate });
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the offsets of messages before the one that follows the last one of a room.
fn back_of_next(last: Option<Raw>) -> Result<Vec<u64>, Failure> {
    let Some(last) = last else { return Ok(Vec::new()) };
    last.entry().map(|last| last.back_of_next()).ok_or_else(invalid)
}

/// Returns the last message of a room.
pub(crate) async fn last(link: &Link, subject: &str) -> Result<Option<Raw>, Failure> {
    match link.rooms.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the message of a room that has an offset.
pub(crate) async fn get(link: &Link, subject: &str, offset: u64) -> Result<Option<Raw>, Failure> {
    match link.rooms.get_raw_message(offset).await {
        Ok(message) => Ok(Some(message).filter(|message| message.subject.as_str() == subject).map(Raw::from)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn get_entry(link: &Link, subject: &str, offset: u64) -> Result<Option<Entry>, Failure> {
    let Some(raw) = get(link, subject, offset).await? else { return Ok(None) };
    raw.entry().map(Some).ok_or_else(invalid)
}

/// Reads messages of a room behind an offset. Returns them, and whether there are no more.
pub(crate) async fn read_behind(
    link: &Link,
    subject: &str,
    offset: u64,
    most: usize,
) -> Result<(Vec<Raw>, bool), Failure> {
    let consumer = link
        .rooms
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: offset.saturating_add(1) },
            ack_policy: AckPolicy::None,
            filter_subject: subject.into(),
            inactive_threshold: UNUSED_CONSUMER,
            memory_storage: true,
            ..pull::Config::default()
        })
        .await?;
    let pending = usize::try_from(consumer.cached_info().num_pending).unwrap_or(usize::MAX);
    let wanted = pending.min(most);
    let mut raw = Vec::with_capacity(wanted);
    if wanted > 0 {
        let mut batch = consumer.fetch().max_messages(wanted).messages().await?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(Failure::away)?;
            let offset = message.info().map_err(Failure::refused)?.stream_sequence;
            let message = message.message;
            raw.push(Raw { offset, headers: message.headers.unwrap_or_default(), payload: message.payload });
        }
    }
    let name = &consumer.cached_info().name;
    link.rooms.delete_consumer(name).await?;
    Ok((raw, pending <= wanted))
}

/// Reads messages behind a position.
pub(crate) async fn read_after(
    link: &Link,
    subject: &str,
    position: Position,
    most: usize,
) -> Result<Page, ReadError> {
    if position.epoch != link.epoch {
        return Err(ReadError::Lost);
    }
    let most = most.min(MAX_PAGE);
    let (raw, is_end) = read_behind(link, subject, position.offset, most.max(1)).await?;
    let read = raw.len();
    let entries =
        raw.into_iter().map(|raw| raw.entry().ok_or_else(invalid)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = entries.first() else {
        let end = last(link, subject).await?.map_or(0, |last| last.offset);
        return match end {
            // Another may have been published meanwhile.
            end if end >= position.offset => {
                Ok(Page { epoch: link.epoch, messages: Vec::new(), is_last: end == position.offset })
            }
            _ => Err(ReadError::Lost),
        };
    };
    if first.previous() != position.offset {
        return Err(ReadError::Lost);
    }
    let mut before = position.offset;
    let contiguous = entries.iter().take_while(|entry| {
        let is_next = entry.previous() == before;
        before = entry.offset;
        is_next
    });
    let count = contiguous.count().min(most);
    let is_last = is_end && count == read;
    Ok(Page { epoch: link.epoch, messages: stored(entries, count)?, is_last })
}

/// Reads messages before an offset, by the offsets that each message has of those before it.
pub(crate) async fn read_before(
    link: &Link,
    subject: &str,
    offset: Option<u64>,
    most: usize,
) -> Result<Page, ReadError> {
    let most = most.min(MAX_PAGE);
    let mut back = match offset {
        Some(offset) => get_entry(link, subject, offset).await?.map(|entry| entry.back).unwrap_or_default(),
        None => back_of_next(last(link, subject).await?)?,
    };
    let mut newest_first: Vec<Entry> = Vec::new();
    // One more is read, to learn whether there is one.
    let is_complete = loop {
        if back.is_empty() || newest_first.len() > most {
            break back.is_empty();
        }
        back.truncate(most + 1 - newest_first.len());
        let found = join_all(back.iter().map(|offset| get_entry(link, subject, *offset))).await;
        let found: Vec<Option<Entry>> = found.into_iter().collect::<Result<_, _>>()?;
        // Those before a message that was removed were removed, too.
        let kept: Vec<Entry> = found.into_iter().map_while(|entry| entry).collect();
        let is_removed = kept.len() < back.len();
        newest_first.extend(kept);
        if is_removed {
            break true;
        }
        back = newest_first.last().map(|oldest| oldest.back.clone()).unwrap_or_default();
    };
    let is_last = is_complete && newest_first.len() <= most;
    newest_first.truncate(most);
    newest_first.reverse();
    let count = newest_first.len();
    Ok(Page { epoch: link.epoch, messages: stored(newest_first, count)?, is_last })
}

/// Deletes a history.
pub(crate) async fn delete(link: &Link, subject: &str) -> Result<(), Failure> {
    link.rooms.purge().filter(subject).await?;
    Ok(())
}

/// Why a page cannot be returned.
#[derive(Debug)]
pub(crate) enum ReadError {
    Lost,
    Failure(Failure),
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<ReadError> for BackplaneError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Lost => Self::Lost,
            ReadError::Failure(failure) => failure.into(),
        }
    }
}

fn stored(entries: Vec<Entry>, count: usize) -> Result<Vec<Stored>, Failure> {
    let decode = |entry: Entry| {
        let publication = Publication::from_bytes(&entry.record).map_err(|_| invalid())?;
        Ok(Stored { offset: entry.offset, publication })
    };
    entries.into_iter().take(count).map(decode).collect()
}

fn invalid() -> Failure {
    Failure::refused("a message of the stream is not one of this program, or of another version")
}
