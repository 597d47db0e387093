//! Sending to many members, in order, by whoever comes first.

use std::{
    future::{Future, poll_fn},
    hint::black_box,
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
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
    members::{CHUNK, Listed, Members},
    queue::{Content, Item, Queue},
    recipient::Recipient,
    room::Room,
    slow::Slow,
    whom::{Found, Whom},
};
use crate::PreparedMessage;

/// The number of messages that a call sends for others before it leaves the rest to a task.
const MAX_FOR_OTHERS: usize = 16;

/// The number of members whose memory is loaded together, before they are sent a message one by
/// one.
const GROUP: usize = 16;

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

    /// Calls a function with the queue.
    fn with_queue<T>(&self, hub: &Inner<R>, call: impl FnOnce(&mut Queue) -> T) -> T {
        match self {
            Self::Room(room) => room.with_queue(call),
            Self::All => call(&mut hub.queue.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Calls a function with the queue. Returns what it returns, and the recipients now.
    fn take<T>(
        &self,
        hub: &Inner<R>,
        call: impl FnOnce(&mut Queue) -> Option<T>,
    ) -> Option<(T, Recipients<R>)> {
        match self {
            Self::Room(room) => room.take(call).map(|(taken, members)| (taken, Recipients::Room(members))),
            Self::All => {
                let taken = self.with_queue(hub, call)?;
                Some((taken, Recipients::All(hub.members.all())))
            }
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
    if let Some(((), recipients)) = audience.take(hub, |queue| queue.begin_first().then_some(())) {
        return Turn { hub: hub.clone(), audience, has_ended: false }.send_first(item, recipients);
    }
    let (report, waits) = oneshot::channel();
    item.report = Some(report);
    let is_queued = audience.with_queue(hub, |queue| {
        let has_room = !queue.is_full();
        if has_room {
            queue.push(item);
        }
        has_room
    });
    if !is_queued {
        let delivered = Delivered { dropped: audience.len(hub) as u64, ..Delivered::default() };
        hub.counters.add(&delivered);
        return Sending(State::Done(delivered));
    }
    drive(hub, audience);
    Sending(State::Waits(waits))
}

/// Waits until no more is queued for an audience than may be.
pub(super) async fn keep_up<R: RoomKey>(hub: &Arc<Inner<R>>, audience: Audience<R>) {
    let sent = audience.with_queue(hub, |queue| {
        queue.is_full().then(|| {
            let (report, sent) = oneshot::channel();
            let (content, slow) = (Content::Marker, Slow::default());
            queue.push(Item { content, whom: Whom::Everyone, slow, report: Some(report) });
            sent
        })
    });
    let Some(sent) = sent else { return };
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
        let begins = audience.with_queue(hub, Queue::begin);
        begins.then(|| Self { hub: hub.clone(), audience, has_ended: false })
    }

    /// Sends a message before which none is queued: at once to a small audience, otherwise in a task.
    fn send_first(self, mut item: Item, recipients: Recipients<R>) -> Sending {
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
        let next = self.audience.take(&self.hub, Queue::next);
        self.has_ended = next.is_none();
        next
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
        self.audience.with_queue(&self.hub, Queue::end);
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
    /// The members that `whom` names, and those of the rooms that it names.
    found: Option<Box<Found>>,
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
        let found = hub.find_named(&whom);
        Self { hub, message, stored, whom, found, slow, report, delivered: Delivered::default() }
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
            Recipients::Room(members) if self.is_for_few() => {
                let listed = members.chunk(chunk).iter().flatten();
                for listed in listed {
                    if self.found.as_ref().is_none_or(|found| found.includes(&listed.recipient)) {
                        self.send_to_member(listed);
                    }
                }
            }
            Recipients::Room(members) => {
                for group in members.chunk(chunk).chunks(GROUP) {
                    let group = group.iter().flatten();
                    // Loaded at the same time as the recipients: the list refers to both.
                    black_box(group.clone().filter(|listed| listed.membership.has_left()).count());
                    preload(group.clone().map(|listed| &*listed.recipient));
                    group.for_each(|listed| self.send_to_member(listed));
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

    /// Returns whether most of those who are addressed are probably not selected: their memory is not
    /// loaded.
    fn is_for_few(&self) -> bool {
        self.found.as_ref().is_some_and(|found| !found.is_of_all())
    }

    fn send_to_member(&mut self, listed: &Listed<R>) {
        let membership = &listed.membership;
        let is_needed = self.stored.is_none_or(|(offset, era)| membership.needs(offset, era));
        if is_needed && !membership.has_left() {
            self.send_to_recipient(&listed.recipient);
        }
    }

    fn send_to_recipient(&mut self, recipient: &Arc<Recipient>) {
        if let Some(message) = &self.message
            && self.whom.includes(recipient, self.hub.node, self.found.as_deref())
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
