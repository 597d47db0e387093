//! The events of those who have joined.

use std::fmt::Display;

use fullduplex::{
    Message,
    calls::{CallError, Context, InvalidData, Router, event},
    hub::Slow,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use super::{
    Live,
    control::What,
    decisions::{DecisionError, OfRoom},
    publications,
    rooms::Seated,
    seat::Seat,
    wire::{Group, History, Named, Person, Record, To, now},
};
use crate::{
    auth::Role,
    store::MAX_PAGE,
    values::{ClientId, ParticipantId, RoomName, Text},
};

/// A connection that has joined.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) live: Live,
    pub(super) seated: Seated,
    /// What is decided about the room, which is followed for as long as this connection is open.
    pub(super) decisions: OfRoom,
}

/// An answer without content.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize)]
struct Post {
    client_id: ClientId,
    text: Text,
    #[serde(default)]
    to: Group,
}

#[derive(Debug, Deserialize)]
struct Private {
    client_id: ClientId,
    text: Text,
    to: ParticipantId,
}

#[derive(Debug, Serialize)]
struct Posted {
    epoch: String,
    offset: u64,
    timestamp: i64,
    duplicate: bool,
}

#[derive(Debug, Deserialize)]
struct Ask {
    before: Option<u64>,
    after: Option<u64>,
    #[serde(default = "max_page")]
    limit: u32,
}

#[derive(Debug, Deserialize)]
struct Target {
    id: ParticipantId,
}

fn max_page() -> u32 {
    MAX_PAGE
}

/// Returns the handlers.
pub(super) fn router() -> Router<Chat> {
    Router::new()
        .before_each(async |context: Context<Chat>| check(&context))
        .on("chat:message", async |context: Context<Chat>, Post { client_id, text, to }| {
            post(context.state(), client_id, text, To::Group(to)).await
        })
        .on("chat:private", private)
        .on("chat:typing", typing)
        .on("chat:history", history)
        .on("teacher:remove-student", async |context: Context<Chat>, Target { id }| {
            let (chat, by) = (context.state(), context.state().seat().identity.name.clone());
            let Named { id, name } = chat.student(&id)?;
            chat.control(What::Remove { id, name, by }).await
        })
        .on("teacher:mute", async |context: Context<Chat>, Target { id }| {
            let Named { id, name } = context.state().student(&id)?;
            context.state().control(What::Mute { id, name }).await
        })
        .on("teacher:unmute", async |context: Context<Chat>, Target { id }| {
            context.state().control(What::Unmute { id }).await
        })
        .on("room:close", async |context: Context<Chat>, _data: IgnoredAny| {
            let chat = context.state();
            let what = What::Close { by: chat.seat().identity.name.clone() };
            // Behind the Close, which this connection gets as well, nothing can be answered.
            let (seat, id) = (chat.seated.seat.clone(), context.id());
            chat.decisions.decide(what, move || acknowledge(&seat, id)).await.map_err(not_decided)?;
            Ok(Nothing {})
        })
        .on("ping", async |_context, _data: IgnoredAny| Ok(Nothing {}))
}

/// Checks the rate, and what only a teacher may do.
fn check(context: &Context<Chat>) -> Result<(), CallError> {
    let seat = context.state().seat();
    // What follows a Close of ours is not done: the person may have been removed.
    if seat.sender().is_closed() {
        return Err(CallError::refused("the connection is closing"));
    }
    if let Err(wait) = seat.rate.take() {
        let wait = wait.as_millis() + 1;
        return Err(CallError::refused(format!("rate: too fast, wait for {wait} ms")));
    }
    match context.event() {
        "student:join" | "teacher:join" => Err(CallError::refused("this connection has joined already")),
        event if (event.starts_with("teacher:") || event == "room:close") && !seat.is_teacher() => {
            Err(CallError::refused("only a teacher may do this"))
        }
        _ => Ok(()),
    }
}

/// Answers a call at once. The answer of its handler is dropped if the connection is then closed.
fn acknowledge(seat: &Seat, id: Option<u64>) {
    if let Some(id) = id {
        let answer = Message::json(&json!({"ack": id, "ok": true, "data": {}})).expect("a number");
        seat.tell_message(answer);
    }
}

async fn private(context: Context<Chat>, data: Private) -> Result<Posted, CallError> {
    let Private { client_id, text, to } = data;
    let chat = context.state();
    let Person { id, name, .. } = chat.person(&to, "data.to")?;
    post(chat, client_id, text, To::One(Named { id, name })).await
}

/// Stores a message, and sends it to its audience.
async fn post(chat: &Chat, client_id: ClientId, text: Text, to: To) -> Result<Posted, CallError> {
    let (seat, hub) = (chat.seat(), &chat.live.0.hub);
    if seat.is_muted() {
        return Err(CallError::refused("a teacher has muted you"));
    }
    let record = Record { client_id, from: seat.as_sender(), to, text, timestamp: now() };
    let publication = publications::publication(&record)?;
    let published = hub.publish(&seat.room, publication).await.map_err(unavailable)?;
    let timestamp = if published.duplicate {
        chat.timestamp(published.position.offset).await?.unwrap_or(record.timestamp)
    } else {
        chat.seated.room.count_message();
        chat.live.0.settings.metrics.message_stored();
        record.timestamp
    };
    let epoch = publications::epoch_text(published.position.epoch);
    Ok(Posted { epoch, offset: published.position.offset, timestamp, duplicate: published.duplicate })
}

async fn typing(context: Context<Chat>, _data: IgnoredAny) -> Result<(), CallError> {
    let seat = context.state().seat();
    if seat.is_muted() || !seat.may_type() {
        return Ok(());
    }
    let Person { id, name, .. } = seat.person();
    let user = id.to_string();
    let message = event("chat:typing", &Named { id, name })?;
    let hub = &context.state().live.0.hub;
    // Only the latest matters for a page that reads slowly.
    let to = hub.to(&seat.room).except_user(user).slow(Slow::KeepLatest("typing".into()));
    drop(to.send(message));
    Ok(())
}

async fn history(context: Context<Chat>, ask: Ask) -> Result<History, CallError> {
    let Ask { before, after, limit } = ask;
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(InvalidData::new("data.limit", format_args!("not from 1 to {MAX_PAGE}")).into());
    }
    let chat = context.state();
    let room = chat.room()?;
    let view = chat.live.view(&room, &chat.seat().identity.id);
    let history = match (before, after) {
        (Some(before), None) => view.before(before, limit).await,
        (None, Some(after)) => view.after(after, limit).await,
        _ => return Err(InvalidData::new("data.before", "either this or `after` is needed").into()),
    };
    history.map_err(unavailable)
}

impl Chat {
    fn seat(&self) -> &Seat {
        &self.seated.seat
    }

    fn room(&self) -> Result<RoomName, CallError> {
        self.seat().room.parse().map_err(unavailable::<crate::values::Invalid>)
    }

    /// Returns a person in the room, by an id that is in a field.
    fn person(&self, id: &ParticipantId, field: &str) -> Result<Person, CallError> {
        let person = self.seated.room.lock().roster.get(id).cloned();
        person.ok_or_else(|| InvalidData::new(field, "nobody in the room has this id").into())
    }

    /// Returns a person whom a teacher may remove or mute.
    fn student(&self, id: &ParticipantId) -> Result<Named, CallError> {
        match self.person(id, "data.id")? {
            Person { role: Role::Student, id, name, .. } => Ok(Named { id, name }),
            _ => Err(InvalidData::new("data.id", "not a student").into()),
        }
    }

    async fn control(&self, what: What) -> Result<Nothing, CallError> {
        self.decisions.decide(what, || {}).await.map_err(not_decided)?;
        Ok(Nothing {})
    }

    /// Returns when a message was sent.
    async fn timestamp(&self, offset: u64) -> Result<Option<i64>, CallError> {
        let before = offset.checked_add(1);
        let page = self.live.0.hub.read_before(&self.seat().room, before, 1).await.map_err(unavailable)?;
        let stored = page.messages.into_iter().find(|stored| stored.offset == offset);
        let record = stored.map(|stored| publications::record(stored.publication.message()));
        Ok(record.transpose().map_err(unavailable)?.map(|record| record.timestamp))
    }
}

/// Something was not decided.
pub(super) fn not_decided(error: DecisionError) -> CallError {
    match error {
        DecisionError::Full(_) => CallError::refused(error.to_string()),
        error => unavailable(error),
    }
}

/// The store or the engine has failed: the page may try again.
pub(super) fn unavailable<E: Display>(error: E) -> CallError {
    tracing::error!(%error, "an event could not be handled");
    CallError::refused(format!("unavailable: {error}"))
}
