//! Members of a hub over scripted streams.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    Config, Receiver, Sender,
    hub::{
        Backplane, BackplaneError, BoxFuture, Hub, Inbox, Member, MemberId, Memory, Page, Position, Present,
        Publication, Published, RoomKey, Target, Transient,
    },
};

use super::{
    frames,
    script::{Script, Scripted, split_server},
};

/// A member, whose messages a test reads from its stream.
pub struct Seat<R: RoomKey> {
    pub member: Member<R>,
    pub script: Script,
    pub receiver: Receiver<Scripted>,
}

pub fn quiet() -> Config {
    Config::new().ping_interval(None).write_timeout(None).close_timeout(None)
}

/// Adds a member without deadlines.
pub fn seat<R: RoomKey>(hub: &Hub<R>) -> Seat<R> {
    seat_with(hub, quiet())
}

pub fn seat_with<R: RoomKey>(hub: &Hub<R>, config: Config) -> Seat<R> {
    let (receiver, sender, script) = split_server(config);
    Seat { member: hub.add(sender), script, receiver }
}

impl<R: RoomKey> Seat<R> {
    /// Returns the text messages that were written since the last call.
    pub fn texts(&self) -> Vec<String> {
        texts(&self.script)
    }
}

/// Returns the text messages that were written since the last call.
pub fn texts(script: &Script) -> Vec<String> {
    let texts = frames::parse(&script.take_written()).into_iter().map(|(first, payload)| {
        assert_eq!(first, 0x81, "a text message");
        String::from_utf8(payload).expect("text")
    });
    texts.collect()
}

/// A message that takes the whole of a write buffer of this size.
pub fn fill(sender: &Sender, size: usize) {
    sender.try_send("x".repeat(size)).expect("the first message has room");
}

/// A backplane in memory that can be away, and whose subscriptions take more than one poll.
#[derive(Clone)]
pub struct Flaky {
    memory: Arc<Memory<String>>,
    pub inbox: Arc<OnceLock<Inbox<String>>>,
    pub is_away: Arc<AtomicBool>,
    /// How many publications are stored although the answer is lost.
    pub lost_answers: Arc<AtomicUsize>,
    /// What another publishes while the next page of `read_before` is on its way.
    pub meanwhile: Arc<Mutex<Vec<Publication>>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Flaky {
    pub fn new() -> Self {
        Self::history(100)
    }

    pub fn history(messages: usize) -> Self {
        Self {
            memory: Arc::new(Memory::history(messages, Duration::from_secs(3600))),
            inbox: Arc::default(),
            is_away: Arc::default(),
            lost_answers: Arc::default(),
            meanwhile: Arc::default(),
            calls: Arc::default(),
        }
    }

    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Relaxed);
        self.inbox.get().expect("attached").set_available(!is_away);
    }

    fn check(&self, call: String) -> Result<(), BackplaneError> {
        self.calls.lock().expect("no panic").push(call);
        if self.is_away.load(Relaxed) { Err(BackplaneError::Away) } else { Ok(()) }
    }

    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().expect("no panic"))
    }
}

impl Backplane<String> for Flaky {
    fn attach(&self, inbox: Inbox<String>) {
        self.inbox.set(inbox.clone()).expect("attached once");
        self.memory.attach(inbox);
    }

    fn publish<'a>(
        &'a self,
        room: &'a String,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, BackplaneError>> {
        Box::pin(async move {
            self.check(format!("publish {}", publication.get_id().expect("it is remote")))?;
            let published = self.memory.publish(room, publication).await;
            let lost = self.lost_answers.fetch_update(Relaxed, Relaxed, |lost| lost.checked_sub(1));
            if lost.is_ok() {
                self.set_away(true);
                return Err(BackplaneError::Away);
            }
            published
        })
    }

    fn subscribe<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<Position, BackplaneError>> {
        Box::pin(async move {
            self.check(format!("subscribe {room}"))?;
            tokio::task::yield_now().await;
            self.memory.subscribe(room).await
        })
    }

    fn unsubscribe(&self, room: &String) {
        self.calls.lock().expect("no panic").push(format!("unsubscribe {room}"));
        self.memory.unsubscribe(room);
    }

    fn read_after<'a>(
        &'a self,
        room: &'a String,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        self.memory.read_after(room, position, most)
    }

    fn read_before<'a>(
        &'a self,
        room: &'a String,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        Box::pin(async move {
            let page = self.memory.read_before(room, offset, most).await;
            let meanwhile = std::mem::take(&mut *self.meanwhile.lock().expect("no panic"));
            for publication in meanwhile {
                self.memory.publish(room, publication).await?;
            }
            page
        })
    }

    fn send(&self, to: Target<'_, String>, transient: &Transient) -> Result<(), BackplaneError> {
        self.check("send".to_owned())?;
        self.memory.send(to, transient)
    }

    fn enter<'a>(
        &'a self,
        room: &'a String,
        member: MemberId,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), BackplaneError>> {
        Box::pin(async move {
            self.check(format!("enter {room}"))?;
            self.memory.enter(room, member, data).await
        })
    }

    fn exit(&self, room: &String, member: MemberId) {
        self.memory.exit(room, member);
    }

    fn present<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<Vec<Present>, BackplaneError>> {
        self.memory.present(room)
    }

    fn delete<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<(), BackplaneError>> {
        self.memory.delete(room)
    }
}
