//! The backplane of one machine: the store keeps the messages.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use fullduplex::hub::{
    Backplane, BackplaneError, BoxFuture, Inbox, MemberId, Memory, Page, Position, Present, Publication,
    Published, Stored, Target, Transient,
};

use super::{
    publications::{publication, record},
    wire::Message,
};
use crate::{
    store::{self, Appended, MAX_PAGE, Store, StoreError},
    values::{Invalid, RoomName},
};

/// The backplane of one machine.
///
/// A message is on the disk before it is sent to anyone, and before its sender is told so. Who is
/// present is known in memory.
#[derive(Debug)]
pub(super) struct StoreBackplane {
    store: Store,
    /// For presence.
    memory: Memory<String>,
    inbox: OnceLock<Inbox<String>>,
}

impl StoreBackplane {
    pub(super) fn new(store: Store) -> Self {
        Self { store, memory: Memory::default(), inbox: OnceLock::new() }
    }
}

impl Backplane<String> for StoreBackplane {
    fn attach(&self, inbox: Inbox<String>) {
        self.memory.attach(inbox.clone());
        // `Memory` panics if there is one already.
        _ = self.inbox.set(inbox);
    }

    fn publish<'a>(
        &'a self,
        room: &'a String,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, BackplaneError>> {
        let Some(inbox) = self.inbox.get().cloned() else {
            return Box::pin(std::future::ready(Err(BackplaneError::Away)));
        };
        // In a task, so that a message that is stored is sent, whether the sender is still there or not.
        let publishing = tokio::spawn(publish(self.store.clone(), inbox, room.clone(), publication));
        Box::pin(async move { publishing.await.map_err(BackplaneError::failed)? })
    }

    fn subscribe<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<Position, BackplaneError>> {
        Box::pin(async move {
            self.memory.subscribe(room).await?;
            let (epoch, offset) = self.store.position(name(room)?).await.map_err(BackplaneError::failed)?;
            position(&epoch, offset)
        })
    }

    fn unsubscribe(&self, room: &String) {
        self.memory.unsubscribe(room);
    }

    fn read_after<'a>(
        &'a self,
        room: &'a String,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        Box::pin(async move {
            let page = self.store.after(name(room)?, None, position.offset, limit(most)).await;
            let page = page.map_err(BackplaneError::failed)?;
            let is_other = page.epoch.is_empty() || epoch(&page.epoch)? != position.epoch;
            if is_other || page.is_lossy || position.offset > page.last {
                return Err(BackplaneError::Lost);
            }
            as_page(page)
        })
    }

    fn read_before<'a>(
        &'a self,
        room: &'a String,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        Box::pin(async move {
            let room = name(room)?;
            // An epoch, also of a room without messages.
            self.store.position(room.clone()).await.map_err(BackplaneError::failed)?;
            let page = self.store.before(room, None, offset.unwrap_or(u64::MAX), limit(most)).await;
            as_page(page.map_err(BackplaneError::failed)?)
        })
    }

    fn send(&self, to: Target<'_, String>, transient: &Transient) -> Result<(), BackplaneError> {
        self.memory.send(to, transient)
    }

    fn enter<'a>(
        &'a self,
        room: &'a String,
        member: MemberId,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), BackplaneError>> {
        self.memory.enter(room, member, data)
    }

    fn exit(&self, room: &String, member: MemberId) {
        self.memory.exit(room, member);
    }

    fn present<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<Vec<Present>, BackplaneError>> {
        self.memory.present(room)
    }

    fn delete<'a>(&'a self, room: &'a String) -> BoxFuture<'a, Result<(), BackplaneError>> {
        Box::pin(async move { self.store.delete(name(room)?).await.map_err(BackplaneError::failed) })
    }

    fn is_remote(&self) -> bool {
        false
    }
}

async fn publish(
    store: Store,
    inbox: Inbox<String>,
    room: String,
    publication: Publication,
) -> Result<Published, BackplaneError> {
    let record = record(publication.message()).map_err(BackplaneError::failed)?;
    let new = record.into_new(name(&room)?);
    let queued = Arc::new(Mutex::new(None));
    let then = {
        let (inbox, room, queued) = (inbox.clone(), room.clone(), queued.clone());
        move |appended: &Appended| {
            if appended.is_duplicate {
                return;
            }
            // Under the order of the store, which the queue of the room keeps.
            match position(&appended.epoch, appended.offset) {
                Ok(position) => {
                    let pushed = inbox.message(&room, position, publication);
                    *queued.lock().unwrap_or_else(PoisonError::into_inner) = Some(pushed);
                }
                Err(error) => tracing::error!(%error, room, "a message is stored and not sent"),
            }
        }
    };
    let appended = store.append_then(new, then).await.map_err(BackplaneError::failed)?;
    let pushed = queued.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(pushed) = pushed {
        pushed.deliver();
        inbox.keep_up(&room).await;
    }
    let position = position(&appended.epoch, appended.offset)?;
    Ok(Published { position, duplicate: appended.is_duplicate })
}

fn as_page(page: store::Page) -> Result<Page, BackplaneError> {
    let stored = |message: store::Message| {
        let Message { offset, record } = message.into();
        publication(&record).map(|publication| Stored { offset, publication })
    };
    let messages = page.messages.into_iter().map(stored).collect::<Result<_, _>>();
    let messages = messages.map_err(BackplaneError::failed)?;
    Ok(Page { epoch: epoch(&page.epoch)?, messages, is_last: !page.has_more })
}

fn limit(most: usize) -> u32 {
    u32::try_from(most).unwrap_or(MAX_PAGE)
}

fn name(room: &str) -> Result<RoomName, BackplaneError> {
    room.parse().map_err(|invalid: Invalid| BackplaneError::failed(invalid))
}

fn position(text: &str, offset: u64) -> Result<Position, BackplaneError> {
    Ok(Position { epoch: epoch(text)?, offset })
}

/// Parses an epoch of the store.
pub(super) fn epoch(text: &str) -> Result<u64, BackplaneError> {
    let other = || StoreError::Incompatible(format!("an epoch of another form: {text:?}"));
    u64::from_str_radix(text, 16).map_err(|_| BackplaneError::failed(other()))
}

#[cfg(test)]
mod tests {
    use fullduplex::{
        Config, WebSocket,
        hub::{Hub, HubError, Member},
        testing,
    };
    use serde_json::json;
    use tokio::io::DuplexStream;

    use super::*;
    use crate::store::Settings;

    const ROOM: &str = "maths";

    fn record(text: &str, to: serde_json::Value) -> Publication {
        let value = json!({
            "client_id": text, "from": {"id": "ann", "name": "Ann", "role": "student"}, "to": to,
            "text": text, "timestamp": 5,
        });
        publication(&serde_json::from_value(value).expect("valid")).expect("serialized")
    }

    fn hub(store: &Store) -> Hub {
        Hub::builder().backplane(StoreBackplane::new(store.clone())).build()
    }

    async fn member(hub: &Hub, user: &str) -> (Member<String>, WebSocket<DuplexStream>) {
        let (client, server) = testing::pair(&Config::new());
        let (mut receiver, sender) = server.split();
        tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        let member = hub.add_user(sender, user);
        member.join(&ROOM.to_owned()).await.expect("joined");
        (member, client)
    }

    async fn next(client: &mut WebSocket<DuplexStream>) -> String {
        let message = client.recv().await.expect("open").expect("a message");
        super::record(&message).expect("valid").text.to_string()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn members_receive_messages_in_the_order_of_their_offsets() {
        let store = Store::open(&Settings::memory(1000)).expect("opens");
        let hub = hub(&store);
        let (_member, mut client) = member(&hub, "bob").await;
        let publish = |number: u64| {
            let hub = hub.clone();
            tokio::spawn(async move {
                let room = ROOM.to_owned();
                let published = hub.publish(&room, record(&number.to_string(), json!("all"))).await;
                (published.expect("stored").position.offset, number.to_string())
            })
        };
        let publishing: Vec<_> = (0..200).map(publish).collect();
        let mut published = Vec::new();
        for each in publishing {
            published.push(each.await.expect("no panic"));
        }
        published.sort_unstable();
        for (_, text) in published {
            assert_eq!(next(&mut client).await, text);
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_sent_although_the_publisher_is_gone() {
        let store = Store::open(&Settings::memory(1000)).expect("opens");
        let hub = hub(&store);
        let (_member, mut client) = member(&hub, "bob").await;
        let room = ROOM.to_owned();
        {
            let publishing = hub.publish(&room, record("one", json!("all")));
            let mut publishing = std::pin::pin!(publishing);
            // Polled once, then dropped.
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(publishing.as_mut().poll(cx).is_ready()));
            assert!(!polled.await, "the store has its own thread");
        }
        assert_eq!(next(&mut client).await, "one");
        let again = hub.publish(&room, record("one", json!("all"))).await.expect("known");
        assert!(again.duplicate && again.position.offset == 1);
    }

    #[tokio::test]
    async fn the_history_has_the_audiences() {
        let store = Store::open(&Settings::memory(3)).expect("opens");
        let hub = hub(&store);
        let (_member, _client) = member(&hub, "bob").await;
        let room = ROOM.to_owned();
        let to_bob = json!({"id": "bob", "name": "Bob"});
        let mut last = None;
        for (text, to) in [
            ("1", json!("all")),
            ("2", json!("all")),
            ("3", json!("others")),
            ("4", to_bob),
            ("5", json!("me")),
        ] {
            last = Some(hub.publish(&room, record(text, to)).await.expect("stored").position);
        }
        let last = last.expect("five");
        let page = hub.read_before(&room, None, 10).await.expect("read");
        assert_eq!((page.epoch, page.is_last), (last.epoch, true));
        let seen: Vec<_> = page
            .messages
            .iter()
            .map(|stored| {
                (stored.offset, ["ann", "bob", "eve"].map(|user| stored.publication.is_for_user(user)))
            })
            .collect();
        assert_eq!(seen, [(3, [false, true, true]), (4, [true, true, false]), (5, [true, false, false])]);
        let page = hub.read_after(&room, Position { offset: 3, ..last }, 1).await.expect("read");
        assert_eq!((page.messages[0].offset, page.is_last), (4, false));
        for lost in
            [Position { offset: 1, ..last }, Position { offset: 9, ..last }, Position { epoch: 1, offset: 3 }]
        {
            let error = hub.read_after(&room, lost, 10).await.expect_err("lost");
            assert!(matches!(error, BackplaneError::Lost), "{lost}: {error}");
        }
        hub.delete_history(&room).await.expect("deleted");
        let page = hub.read_before(&room, None, 10).await.expect("read");
        assert!(page.messages.is_empty() && page.epoch != last.epoch);
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_not_sent() {
        let store = Store::open(&Settings::memory(1000)).expect("opens");
        let hub = hub(&store);
        let (_member, mut client) = member(&hub, "bob").await;
        let room = ROOM.to_owned();
        let error = hub.publish(&room, "no record").await.expect_err("refused");
        assert!(matches!(error, HubError::Backplane(BackplaneError::Failed(_))), "{error}");
        hub.publish(&room, record("next", json!("all"))).await.expect("stored");
        assert_eq!(next(&mut client).await, "next");
    }
}
