//! Sending to many members, in order, by whoever comes first.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    hint::black_box,
    pin::{Pin, pin},
    sync::{Arc, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use tokio::{
    sync::oneshot,
    task::{unconstrained, yield_now},
};

use super::{
    backplane::RoomKey,
    counters::Delivered,
    inner::Inner,
    position::Position,
    recipient::Recipient,
    room::{CHUNK, Members, Membership, Room},
    slow::Slow,
    whom::Whom,
};
use crate::{Message, PreparedMessage};

/// How many messages, and how many bytes of them, may be queued for an audience. Beyond that,
/// messages that are not stored are dropped, and those who publish wait.
const MAX_QUEUED: usize = 1024;
const MAX_QUEUED_BYTES: usize = 8 << 20;

/// The number of messages that a call sends for others before it leaves the rest to a task.
const MAX_FOR_OTHERS: usize = 16;

/// The number of members whose memory is loaded together, before they are sent a message one by
/// one.
const GROUP: usize = 16;

/// Messages that are queued for an audience.
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// The number of bytes of their payload data.
    pub(super) bytes: usize,
    /// Whether a thread or a task sends them.
    pub(super) is_delivering: bool,
}

/// A message that is queued.
pub(super) struct Item {
    pub(super) content: Content,
    pub(super) whom: Whom,
    pub(super) slow: Slow,
    pub(super) report: Option<oneshot::Sender<Delivered>>,
}

pub(super) enum Content {
    /// A message of the history, which is encoded when it is sent.
    Stored {
        position: Position,
        era: u32,
        message: Message,
    },
    Transient(PreparedMessage),
    /// Nothing: it is reported when all before it is sent.
    Marker,
}

impl Queue {
    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        Some(item)
    }

    fn is_full(&self) -> bool {
        self.items.len() >= MAX_QUEUED || self.bytes >= MAX_QUEUED_BYTES
    }
}

impl Item {
    fn len(&self) -> usize {
        match &self.content {
            Content::Stored { message, .. } => message.len(),
            Content::Transient(message) => message.len(),
            Content::Marker => 0,
        }
    }
}

/// Whom a message is for.
pub(super) enum Audience<R> {
    Room(Arc<Room<R>>),
    All,
}

/// The members of an audience when a message is sent.
enum Recipients<R> {
    Room(Members<R>),
    All(Vec<Arc<Recipient>>),
}

/// A message that is being sent: what has become of it so far.
///
/// It is a future that returns once it has been attempted for all members. The message is sent
/// whether the future is awaited or not.
#[derive(Debug)]
pub struct Sending(State);

#[derive(Debug)]
enum State {
    Done(Delivered),
    Waits(oneshot::Receiver<Delivered>),
}

impl Sending {
    pub(super) fn done(delivered: Delivered) -> Self {
        Self(State::Done(delivered))
    }
}

impl<R: RoomKey> Audience<R> {
    fn len(&self, hub: &Inner<R>) -> usize {
        match self {
            Self::Room(room) => room.len(),
            Self::All => hub.members.len(),
        }
    }
}

impl Future for Sending {
    type Output = Delivered;

    /// Returns what has become of the message. It is `Delivered::default()` if the runtime was shut
    /// down before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivered> {
        match &mut self.0 {
            State::Done(delivered) => Poll::Ready(*delivered),
            State::Waits(report) => Pin::new(report).poll(cx).map(Result::unwrap_or_default),
        }
    }
}

/// Sends what is queued for an audience, unless another thread is doing so. A task does it if there
/// is much.
pub(super) fn drive<R: RoomKey>(hub: &Arc<Inner<R>>, audience: Audience<R>) {
    if let Some(turn) = Turn::begin(hub, audience) {
        turn.go_on();
    }
}

/// Queues a message for an audience, and sends it, unless another thread is sending before it.
pub(super) fn send<R: RoomKey>(hub: &Arc<Inner<R>>, audience: Audience<R>, mut item: Item) -> Sending {
    let mut queue = queue_of(hub, &audience);
    if !queue.is_delivering && queue.items.is_empty() {
        queue.is_delivering = true;
        drop(queue);
        return Turn { hub: hub.clone(), audience, has_ended: false }.send_first(item);
    }
    if queue.is_full() {
        drop(queue);
        let delivered = Delivered { dropped: audience.len(hub) as u64, ..Delivered::default() };
        hub.counters.add(&delivered);
        return Sending(State::Done(delivered));
    }
    let (report, waits) = oneshot::channel();
    item.report = Some(report);
    queue.push(item);
    drop(queue);
    drive(hub, audience);
    Sending(State::Waits(waits))
}

/// Waits until no more is queued for an audience than may be.
pub(super) async fn keep_up<R: RoomKey>(hub: &Arc<Inner<R>>, audience: Audience<R>) {
    let sent = {
        let mut queue = queue_of(hub, &audience);
        if !queue.is_full() {
            return;
        }
        let (report, sent) = oneshot::channel();
        let (content, slow) = (Content::Marker, Slow::default());
        queue.push(Item { content, whom: Whom::Everyone, slow, report: Some(report) });
        sent
    };
    drive(hub, audience);
    // Fails if the runtime is shut down, in which nothing more is sent.
    let _ended = sent.await;
}

/// The right to send what is queued for an audience.
struct Turn<R: RoomKey> {
    hub: Arc<Inner<R>>,
    audience: Audience<R>,
    has_ended: bool,
}

impl<R: RoomKey> Turn<R> {
    fn begin(hub: &Arc<Inner<R>>, audience: Audience<R>) -> Option<Self> {
        let mut queue = queue_of(hub, &audience);
        if queue.is_delivering || queue.items.is_empty() {
            return None;
        }
        queue.is_delivering = true;
        drop(queue);
        Some(Self { hub: hub.clone(), audience, has_ended: false })
    }

    /// Sends a message before which none is queued: at once to a small audience, otherwise in a task.
    fn send_first(self, mut item: Item) -> Sending {
        let recipients = self.recipients();
        if recipients.len() <= CHUNK {
            let delivered = self.send_whole(item, &recipients);
            self.go_on();
            return Sending(State::Done(delivered));
        }
        let (report, waits) = oneshot::channel();
        item.report = Some(report);
        self.go_on_in_task(Some((item, recipients)));
        Sending(State::Waits(waits))
    }

    /// Sends what is queued: a little at once, the rest in a task.
    fn go_on(mut self) {
        for _ in 0..MAX_FOR_OTHERS {
            let Some((item, recipients)) = self.next() else { return };
            if recipients.len() > CHUNK {
                return self.go_on_in_task(Some((item, recipients)));
            }
            self.send_whole(item, &recipients);
        }
        self.go_on_in_task(None);
    }

    fn go_on_in_task(mut self, first: Option<(Item, Recipients<R>)>) {
        if let Some(runtime) = self.hub.runtime() {
            runtime.spawn(self.run(first));
            return;
        }
        // No other task waits for its turn.
        let mut next = first.or_else(|| self.next());
        while let Some((item, recipients)) = next {
            self.send_whole(item, &recipients);
            next = self.next();
        }
    }

    /// Returns the next message, and its recipients. Ends the turn if there is none.
    fn next(&mut self) -> Option<(Item, Recipients<R>)> {
        let mut queue = queue_of(&self.hub, &self.audience);
        let Some(item) = queue.pop() else {
            queue.items.shrink_to(MAX_FOR_OTHERS);
            queue.is_delivering = false;
            drop(queue);
            self.has_ended = true;
            return None;
        };
        drop(queue);
        let recipients = self.recipients();
        Some((item, recipients))
    }

    fn recipients(&self) -> Recipients<R> {
        match &self.audience {
            Audience::Room(room) => Recipients::Room(room.members()),
            Audience::All => Recipients::All(self.hub.members.all()),
        }
    }

    fn send_whole(&self, item: Item, recipients: &Recipients<R>) -> Delivered {
        let mut sent = Broadcast::new(&self.hub, &self.audience, item);
        for chunk in 0..recipients.chunks() {
            sent.send_to(recipients, chunk);
        }
        sent.end()
    }

    /// Sends all that is queued, and leaves other tasks their turns.
    async fn run(mut self, first: Option<(Item, Recipients<R>)>) {
        let mut next = first.or_else(|| self.next());
        while let Some((item, recipients)) = next {
            let mut sent = Broadcast::new(&self.hub, &self.audience, item);
            for chunk in 0..recipients.chunks() {
                sent.send_to(&recipients, chunk);
                yield_now().await;
            }
            sent.end();
            next = self.next();
        }
    }
}

impl<R: RoomKey> Drop for Turn<R> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        queue_of(&self.hub, &self.audience).is_delivering = false;
        // If the program's encoder has panicked, a task sends what is queued behind that message.
        // Otherwise the runtime is shut down.
        if thread::panicking()
            && let Some(runtime) = self.hub.runtime()
        {
            let (hub, audience) = (self.hub.clone(), self.audience.clone());
            runtime.spawn(async move { drive(&hub, audience) });
        }
    }
}

impl<R> Clone for Audience<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Room(room) => Self::Room(room.clone()),
            Self::All => Self::All,
        }
    }
}

fn queue_of<'a, R>(hub: &'a Inner<R>, audience: &'a Audience<R>) -> MutexGuard<'a, Queue> {
    match audience {
        Audience::Room(room) => room.queue(),
        Audience::All => hub.queue.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Loads the memory of members that a send uses into the processor's cache.
///
/// The processor waits for the memory of all of them at once, instead of for one after the other.
fn preload<'a>(members: impl Iterator<Item = &'a Recipient> + Clone) {
    // In two passes: what the second one reads is found by what the first one has read.
    black_box(members.clone().map(|member| member.serial).sum::<u64>());
    black_box(members.map(|member| member.sender.preload()).sum::<usize>());
}

impl<R> Recipients<R> {
    fn len(&self) -> usize {
        match self {
            Self::Room(members) => members.len(),
            Self::All(members) => members.len(),
        }
    }

    fn chunks(&self) -> usize {
        match self {
            Self::Room(members) => members.chunks(),
            Self::All(members) => members.len().div_ceil(CHUNK),
        }
    }
}

/// One message on its way to its recipients.
struct Broadcast<'a, R> {
    hub: &'a Inner<R>,
    /// `None` for a marker.
    message: Option<PreparedMessage>,
    /// The offset and the era of a stored message.
    stored: Option<(u64, u32)>,
    whom: Whom,
    slow: Slow,
    report: Option<oneshot::Sender<Delivered>>,
    delivered: Delivered,
}

impl<'a, R: RoomKey> Broadcast<'a, R> {
    fn new(hub: &'a Inner<R>, audience: &Audience<R>, item: Item) -> Self {
        let Item { content, whom, slow, report } = item;
        let (message, stored) = match (content, audience) {
            (Content::Marker, _) => (None, None),
            (Content::Transient(message), _) => (Some(message), None),
            (Content::Stored { position, era, message }, Audience::Room(room)) => {
                (Some(hub.encode(&room.key, position, message)), Some((position.offset, era)))
            }
            (Content::Stored { message, .. }, Audience::All) => (Some(message.into()), None),
        };
        Self { hub, message, stored, whom, slow, report, delivered: Delivered::default() }
    }

    /// Sends to the members of a chunk.
    ///
    /// It is not interrupted by the budget of the task: a chunk is little work, and a stream that is
    /// not ready because of the budget would look like one that is slow.
    fn send_to(&mut self, recipients: &Recipients<R>, chunk: usize) {
        let work = pin!(unconstrained(poll_fn(|_| {
            self.send_to_chunk(recipients, chunk);
            Poll::Ready(())
        })));
        let _ready = work.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn send_to_chunk(&mut self, recipients: &Recipients<R>, chunk: usize) {
        match recipients {
            Recipients::Room(members) => {
                for group in members.chunk(chunk).chunks(GROUP) {
                    preload(group.iter().map(|membership| &*membership.recipient));
                    group.iter().for_each(|membership| self.send_to_member(membership));
                }
            }
            Recipients::All(members) => {
                let end = members.len().min((chunk + 1) * CHUNK);
                for group in members[chunk * CHUNK..end].chunks(GROUP) {
                    preload(group.iter().map(|recipient| &**recipient));
                    group.iter().for_each(|recipient| self.send_to_recipient(recipient));
                }
            }
        }
    }

    fn send_to_member(&mut self, membership: &Membership<R>) {
        let is_needed = self.stored.is_none_or(|(offset, era)| membership.needs(offset, era));
        if is_needed && !membership.has_left() {
            self.send_to_recipient(&membership.recipient);
        }
    }

    fn send_to_recipient(&mut self, recipient: &Arc<Recipient>) {
        if let Some(message) = &self.message
            && self.whom.includes(recipient, self.hub.node)
        {
            self.delivered.count(recipient.send(message, &self.slow));
        }
    }

    fn end(self) -> Delivered {
        self.hub.counters.add(&self.delivered);
        if let Some(report) = self.report {
            // Nobody waits for it.
            let _dropped = report.send(self.delivered);
        }
        self.delivered
    }
}
