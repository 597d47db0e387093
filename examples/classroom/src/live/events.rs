//! What the hub tells: who comes and goes, on all nodes, and whether these reach each other.

use std::{collections::HashMap, sync::Arc};

use fullduplex::{
    calls::event,
    hub::{Event, Hub, MemberId, PresenceChange, Present, Slow},
};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    decisions, publications,
    rooms::{Room, Rooms},
    roster::Change,
    signal,
    wire::{Entered, Person},
};

/// Handles an event of the hub. `back` is notified when the engine can be reached again.
pub(super) fn handle(hub: &Hub, rooms: &Arc<Rooms>, back: &Notify, event: Event<String>) {
    match event {
        Event::Presence { room, change } => {
            if let Some(room) = rooms.find(&room) {
                present(hub, &room, change);
            }
        }
        // The nodes notice this when they read.
        Event::Lost { room, .. } if decisions::is_key(&room) => {}
        Event::Lost { room, position } => {
            drop(hub.to(&room).here().slow(Slow::Close).send(publications::lost(position)));
        }
        Event::BackplaneAway => delayed(hub, true),
        Event::BackplaneBack => {
            delayed(hub, false);
            back.notify_waiters();
            // Who came and went meanwhile is not told.
            for room in rooms.all() {
                tokio::spawn(read_roster_again(hub.clone(), room));
            }
        }
        Event::Signal(message) => signal::take(rooms, &message),
        other => tracing::warn!(event = ?other, "the hub has told something unknown"),
    }
}

/// Reads who is in a room, on all nodes, unless that is known.
pub(super) async fn read_roster(hub: &Hub, room: &Room) -> Result<(), fullduplex::hub::BackplaneError> {
    // Each page compares its list with what was read.
    room.is_read.get_or_try_init(|| read_all(hub, room, |_| {})).await?;
    Ok(())
}

/// Returns the persons that a list of connections names, each once.
pub(super) fn persons(present: &[Present]) -> Vec<Person> {
    let persons = present.iter().filter_map(entry).map(|(_, entered)| entered.person);
    let persons = persons.map(|person| (person.id.clone(), person));
    persons.collect::<HashMap<_, _>>().into_values().collect()
}

/// Tells one page what has changed since it was given a list of persons.
pub(super) fn tell_changes(room: &Room, list: &[Person], seat: &super::seat::Seat) {
    // Under the lock, so that no later change is told before.
    let state = room.lock();
    for change in state.roster.changes_since(list) {
        // Its own connection is announced afterwards.
        if !matches!(&change, Change::Left(id) if *id == seat.identity.id) {
            seat.tell_message(encode(&change));
        }
    }
}

async fn read_roster_again(hub: Hub, room: Arc<Room>) {
    if let Err(error) = read_all(&hub, &room, |change| tell(&hub, &room.name, change)).await {
        tracing::warn!(%error, room = room.name, "who is in the room is not known");
    }
}

async fn read_all(
    hub: &Hub,
    room: &Room,
    tell: impl Fn(&Change),
) -> Result<(), fullduplex::hub::BackplaneError> {
    room.lock().roster.begin_to_read();
    let present = hub.present(&room.name).await?;
    let mut state = room.lock();
    state.roster.read(present.iter().filter_map(entry).collect()).iter().for_each(tell);
    // Persons may have joined on two nodes that did not reach each other.
    state.close_without_name();
    Ok(())
}

fn present(hub: &Hub, room: &Room, change: PresenceChange) {
    // The others are told under the lock, which keeps the order.
    let mut state = room.lock();
    let change = match change {
        PresenceChange::Entered(present) => match entry(&present) {
            Some((member, entered)) => state.roster.entered(member, entered),
            None => return,
        },
        PresenceChange::Left(present) => state.roster.left(present.member),
        _ => None,
    };
    if let Some(change) = change {
        tell(hub, &room.name, &change);
        if let Change::Joined(_) = change {
            state.close_without_name();
        }
    }
}

pub(super) fn entry(present: &Present) -> Option<(MemberId, Entered)> {
    match serde_json::from_slice(&present.data) {
        Ok(entered) => Some((present.member, entered)),
        Err(error) => {
            tracing::warn!(%error, member = %present.member, "a person of another version");
            None
        }
    }
}

/// Tells the members here of a change. The person does not need to be told of joining and leaving.
fn tell(hub: &Hub, room: &String, change: &Change) {
    let to = hub.to(room).here().slow(Slow::Close);
    let to = match change {
        Change::Joined(person) => to.except_user(person.id.as_str()),
        Change::Changed(_) => to,
        Change::Left(id) => to.except_user(id.as_str()),
    };
    drop(to.send(encode(change)));
}

fn encode(change: &Change) -> fullduplex::Message {
    let encoded = match change {
        Change::Joined(person) => event("participant:joined", person),
        Change::Changed(Person { id, muted, .. }) => {
            event("participant:changed", &json!({"id": id, "muted": muted}))
        }
        Change::Left(id) => event("participant:left", &json!({"id": id})),
    };
    encoded.expect("strings")
}

fn delayed(hub: &Hub, delayed: bool) {
    let message = event("room:delayed", &json!({"delayed": delayed})).expect("a boolean");
    drop(hub.to_all().here().slow(Slow::Close).send(message));
}

#[cfg(test)]
mod tests {
    use fullduplex::{
        Config, WebSocket,
        hub::{Member, Position},
        testing,
    };
    use serde_json::Value;
    use tokio::io::DuplexStream;

    use super::*;
    const ROOM: &str = "maths";

    /// A hub with one member, and the other end of its connection.
    async fn hub() -> (Hub, Member<String>, WebSocket<DuplexStream>) {
        let memory = fullduplex::hub::Memory::history(3, std::time::Duration::from_secs(60));
        let hub = Hub::builder().backplane(memory).build();
        let (client, server) = testing::pair(&Config::new());
        let (mut receiver, sender) = server.split();
        tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        let member = hub.add_user(sender, "ann");
        member.join(&ROOM.to_owned()).await.expect("joined");
        (hub, member, client)
    }

    async fn next(client: &mut WebSocket<DuplexStream>) -> Value {
        let message = client.recv().await.expect("open").expect("a message");
        serde_json::from_slice(message.as_bytes()).expect("JSON")
    }

    #[tokio::test]
    async fn pages_are_told_while_the_engine_is_away() {
        let (hub, _member, mut client) = hub().await;
        for (event, delayed) in [(Event::BackplaneAway, true), (Event::BackplaneBack, false)] {
            handle(&hub, &Arc::default(), &Notify::new(), event);
            let told = json!({"event": "room:delayed", "data": {"delayed": delayed}});
            assert_eq!(next(&mut client).await, told);
        }
    }

    #[tokio::test]
    async fn pages_are_told_up_to_where_messages_are_lost() {
        let (hub, _member, mut client) = hub().await;
        let (room, position) = (ROOM.to_owned(), Position { epoch: 0xAB, offset: 2 });
        handle(&hub, &Arc::default(), &Notify::new(), Event::Lost { room: room.clone(), position });
        hub.publish(&room, "next").await.expect("stored");
        let told = json!({"event": "history:lost", "data": {"epoch": "00000000000000ab", "offset": 2}});
        assert_eq!(next(&mut client).await, told);
        assert_eq!(client.recv().await.expect("open").expect("a message").as_text(), Some("next"));
    }
}
