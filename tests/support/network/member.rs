//! Members of rooms, which come back and ask for what they have missed.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fullduplex::{
    CloseCode, Error, Message,
    reconnect::{Handle, Opened, QueuedMessage, Reason, Reconnecting, State, Verdict},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{sync::Notify, time::sleep};

use super::{
    World,
    again::{backoff, check_reason, connecting},
    content::{length, number, parse},
    facts::{Fact, Way},
};

/// What a member has received.
#[derive(Debug, Default)]
struct Seen {
    /// The last message of which none before is missing, unless the member was told.
    last: Option<u64>,
    /// The messages behind a gap, of which the server has not yet told what it is.
    beyond: Vec<u64>,
    /// Whether the server has answered to the request to join.
    joined: bool,
    connections: usize,
    /// The first message, until the server tells where the member has joined.
    first: Option<u64>,
    /// The messages that the member has published, and were not acknowledged.
    open: Vec<(usize, String)>,
    has_queued_all: bool,
    is_done: bool,
    /// The messages that are not stored.
    transient: BTreeSet<String>,
}

/// Who still publishes in a room. It is no `watch` of tokio, which wakes tasks in a random order.
#[derive(Debug)]
pub struct Publishing {
    /// How many members have messages that were not published yet.
    members: AtomicUsize,
    changed: Notify,
}

impl Publishing {
    pub fn new(members: usize) -> Self {
        Self { members: AtomicUsize::new(members), changed: Notify::new() }
    }
}

/// A room, as all of its members know it.
#[derive(Clone)]
pub struct RoomOf {
    pub name: String,
    pub publishing: Arc<Publishing>,
    /// Whether messages are lost, because the history is short.
    pub is_short: bool,
}

#[derive(Clone)]
struct Member {
    world: World,
    room: RoomOf,
    number: usize,
    /// What it asks for at first.
    first: &'static str,
    seen: Arc<Mutex<Seen>>,
    way: Arc<Mutex<Way>>,
}

/// Publishes messages, and receives those of all, until nobody publishes any more and none is missing.
pub async fn run(world: World, room: RoomOf, number: usize, mut rng: SmallRng) {
    let first = if rng.random_ratio(1, 3) { "last:5" } else { "now" };
    let member = Member { world, room, number, first, seen: Arc::default(), way: Arc::default() };
    let path = format!("/room/{}", member.room.name);
    let of_route = SmallRng::seed_from_u64(rng.random());
    let (opening, classifying) = (member.clone(), member.clone());
    let mut client =
        Reconnecting::builder(connecting(member.world.clone(), path, member.way.clone(), of_route))
            .backoff(backoff())
            .classify(move |why, _| classifying.classify(why))
            .on_open(move |opened| opening.clone().join(opened))
            .build();
    let handle = client.handle();
    let mut of_sender = SmallRng::seed_from_u64(rng.random());
    let publishing = member.publish_all(&handle, &mut of_sender);
    let receiving = async {
        loop {
            let mut changed = pin!(member.room.publishing.changed.notified());
            changed.as_mut().enable();
            if member.is_complete() {
                member.close(&handle);
            }
            tokio::select! {
                biased;
                message = client.recv() => match message {
                    Ok(Some(message)) => member.receive(&message),
                    Ok(None) => return,
                    Err(why) => return member.closed(&why),
                },
                () = changed => {}
            }
            let one_of = if member.world.is_slow { 20 } else { 100 };
            if rng.random_ratio(1, one_of) {
                member.world.net.note("talk: paused reader");
                member.way().add(Fact::Paused);
                sleep(Duration::from_millis(rng.random_range(1000..8000))).await;
            }
        }
    };
    tokio::join!(receiving, publishing);
    assert!(member.seen().open.is_empty(), "member {number}: a message was not acknowledged");
}

impl Member {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while it is held")
    }

    fn way(&self) -> Way {
        self.way.lock().expect("no panic while it is held").clone()
    }

    fn classify(&self, why: &Reason) -> Verdict {
        let (net, way) = (&self.world.net, self.way());
        net.log(format_args!("member {}: {why:#} after {way}", self.number));
        let slow = why.close_code() == Some(CloseCode::TRY_AGAIN_LATER);
        net.act(if slow { "hub: closed for being slow" } else { check_reason(&self.world, why, &way) });
        Verdict::Retry
    }

    /// Closes the connection, or ends the attempt to open one.
    fn close(&self, handle: &Handle) {
        if matches!(*handle.state().borrow(), State::Connecting { .. }) {
            self.world.net.note("hub: closed during an attempt");
            self.way().add(Fact::Dropped);
        }
        // Fails if it was closed already.
        let _ = handle.close(CloseCode::NORMAL, "done");
    }

    /// The connection is lost while it closes.
    fn closed(&self, why: &Reason) {
        check_reason(&self.world, why, &self.way());
    }

    /// Joins the room again, and publishes what was not acknowledged.
    async fn join(self, opened: Opened) -> Result<(), Error> {
        if self.world.is_slow {
            self.way().add(Fact::Slow);
        }
        let (since, open) = {
            let mut seen = self.seen();
            seen.joined = false;
            seen.first = None;
            seen.beyond.clear();
            seen.connections += 1;
            if seen.connections > 1 {
                self.world.net.act("hub: came back");
            }
            (seen.last.map_or_else(|| self.first.to_owned(), |last| last.to_string()), seen.open.clone())
        };
        opened.sender().send(format!("join {since}")).await?;
        if since == "last:5" {
            self.world.net.note("hub: joined by a number of messages");
        }
        for (_, text) in open {
            opened.sender().send(text).await?;
        }
        Ok(())
    }

    async fn publish_all(&self, handle: &Handle, rng: &mut SmallRng) {
        for nth in 0..rng.random_range(0..12) {
            sleep(Duration::from_millis(rng.random_range(0..6000))).await;
            if rng.random_ratio(1, 3) {
                // Of these, any may be missing.
                let sent = handle.send(format!("say {}:{nth} typing", self.number)).await;
                sent.map(drop).expect("the client has not ended");
            }
            let text = "x".repeat(length(rng) / 4);
            let text = format!("pub {}:{nth} {text}", self.number);
            self.seen().open.push((nth, text.clone()));
            let message = QueuedMessage::new(text).retry(rng.random());
            handle.send(message).await.map(drop).expect("the client has not ended");
        }
        self.seen().has_queued_all = true;
        self.check_done();
    }

    /// Tells the other members once all messages of this one are published.
    fn check_done(&self) {
        let mut seen = self.seen();
        if seen.has_queued_all && seen.open.is_empty() && !seen.is_done {
            seen.is_done = true;
            drop(seen);
            self.room.publishing.members.fetch_sub(1, Relaxed);
            self.room.publishing.changed.notify_waiters();
        }
    }

    /// Returns whether nobody publishes any more, and the member has received everything.
    fn is_complete(&self) -> bool {
        let seen = self.seen();
        let last = self.world.ledger.last_published(&self.room.name);
        self.room.publishing.members.load(Relaxed) == 0
            && seen.open.is_empty()
            && seen.joined
            && seen.beyond.is_empty()
            && seen.last == Some(last)
    }

    fn receive(&self, message: &Message) {
        let (words, _) = parse(message, 3);
        let net = &self.world.net;
        match words[0].as_str() {
            "m" => self.receive_published(number(&words[1]), message),
            "t" => self.receive_transient(&words[1]),
            "ack" => self.acknowledge(&words[1]),
            "joined" => self.joined(number(&words[1]), words[2] == "true"),
            _ => panic!("member {}: {message:?} was not sent", self.number),
        }
        net.act("message: for a member");
    }

    fn receive_published(&self, at: u64, message: &Message) {
        let text = parse(message, 2).1;
        self.world.ledger.check_published(&self.room.name, at, &text);
        self.world.net.note("hub: received");
        let mut seen = self.seen();
        if !seen.joined && seen.connections > 1 {
            self.world.net.note("hub: message of the history");
        }
        let before = seen.beyond.last().copied().or(seen.last);
        let Some(before) = before else {
            (seen.first, seen.last) = (Some(at), Some(at));
            return;
        };
        assert!(at > before, "member {}: {at} arrives after {before}", self.number);
        if !seen.beyond.is_empty() {
            assert_eq!(at, before + 1, "member {}: a second gap", self.number);
            seen.beyond.push(at);
        } else if at == before + 1 {
            seen.last = Some(at);
        } else {
            assert!(self.room.is_short && !seen.joined, "member {}: {at} follows {before}", self.number);
            seen.beyond.push(at);
        }
    }

    /// The server tells that the member follows the room from a position on.
    fn joined(&self, position: u64, has_lost: bool) {
        let mut seen = self.seen();
        seen.joined = true;
        if has_lost {
            assert!(self.room.is_short, "member {}: the history is long enough", self.number);
            self.world.net.note("hub: lost");
            let beyond = std::mem::take(&mut seen.beyond);
            let first = beyond.first().copied();
            assert!(
                first.is_none_or(|first| first == position + 1),
                "member {}: {first:?} follows {position}",
                self.number
            );
            let newest = beyond.last().copied().or(Some(position));
            if newest > seen.last {
                seen.last = newest;
            }
        } else {
            assert!(
                seen.beyond.is_empty(),
                "member {}: {:?} were not told to be lost",
                self.number,
                seen.beyond
            );
            let first = seen.first.take().filter(|_| self.first == "now");
            assert!(
                first.is_none_or(|first| first == position + 1),
                "member {}: {first:?} follows {position}",
                self.number
            );
            let last = *seen.last.get_or_insert(position);
            assert!(last >= position, "member {}: {last} before {position}", self.number);
        }
    }

    fn receive_transient(&self, id: &str) {
        self.world.net.note("hub: transient");
        let is_new = self.seen().transient.insert(id.to_owned());
        assert!(is_new, "member {}: {id} arrives twice", self.number);
    }

    fn acknowledge(&self, id: &str) {
        let nth: usize = number(id.split(':').nth(1).expect("a number"));
        self.seen().open.retain(|(open, _)| *open != nth);
        self.check_done();
        let stored = self.world.ledger.count_published(&self.room.name, &format!("{id} "));
        let most = if self.room.is_short { usize::MAX } else { 1 };
        assert!((1..=most).contains(&stored), "member {}: {id} is stored {stored} times", self.number);
    }
}
