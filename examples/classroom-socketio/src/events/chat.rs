//! What persons say.

use std::{sync::Arc, time::SystemTime};

use serde::{Deserialize, de::IgnoredAny};
use socketio::{Broadcast, Socket};

use super::{Present, present};
use crate::{
    app::{App, milliseconds},
    auth::Participant,
    class::State,
    history::{Message, Sent},
    limits::Rate,
    refusal::Refusal,
    values::{ClientId, ParticipantId, Text},
};

/// How often a socket may say that its person is typing. It is stored with the socket.
#[derive(Debug, Clone)]
pub(super) struct Typing(pub(super) Arc<Rate>);

/// A message for all.
#[derive(Debug, Deserialize)]
pub(super) struct Post {
    client_id: ClientId,
    text: Text,
}

/// A message for one person.
#[derive(Debug, Deserialize)]
pub(super) struct Private {
    to: ParticipantId,
    client_id: ClientId,
    text: Text,
}

pub(super) async fn message(app: App, socket: Socket, post: Post) -> Result<Sent, Refusal> {
    let present = present(&socket)?;
    let mut state = present.class.lock().await;
    let from = present.participant(&state)?;
    let everyone = socket.everyone().to(present.class.room());
    send(&app, &mut state, from, None, post, "chat:message", everyone).await
}

pub(super) async fn private(app: App, socket: Socket, private: Private) -> Result<Sent, Refusal> {
    let present = present(&socket)?;
    let mut state = present.class.lock().await;
    let from = present.participant(&state)?;
    let Private { to, client_id, text } = private;
    let to = match state.roster.get(&to) {
        Some(to) => to.clone(),
        // It may have been sent before they left.
        None => {
            let sent = state.history.known(&from.id, &client_id);
            return sent.ok_or_else(|| Refusal::new("to", "this person has left the class").field("to"));
        }
    };
    let class = &present.class;
    let both = socket.everyone().to(class.room_of(&from.id)).to(class.room_of(&to.id));
    send(&app, &mut state, from, Some(to), Post { client_id, text }, "chat:private", both).await
}

/// Sends a message once, and keeps it.
async fn send(
    app: &App,
    state: &mut State,
    from: Participant,
    to: Option<Participant>,
    Post { client_id, text }: Post,
    event: &str,
    audience: Broadcast,
) -> Result<Sent, Refusal> {
    if let Some(sent) = state.history.known(&from.id, &client_id) {
        return Ok(sent);
    }
    let at = milliseconds(SystemTime::now());
    let message = Message { id: app.next_id(), client_id, from, to, text, at };
    audience.emit(event, &message).await.map_err(|error| Refusal::unavailable(&error))?;
    Ok(state.history.add(message))
}

/// Tells the others that a person is typing, unless the socket has said so in the last half second.
pub(super) async fn typing(_app: App, socket: Socket, _: IgnoredAny) -> Result<(), Refusal> {
    let Present { class, seat } = present(&socket)?;
    if socket.get::<Typing>().is_none_or(|Typing(rate)| rate.take().is_err()) {
        return Ok(());
    }
    let from = class.lock().await.roster.at(seat).cloned().ok_or_else(Refusal::not_joined)?;
    let others = socket.to(&class.room()).volatile();
    others.emit("chat:typing", &from).await.map_err(|error| Refusal::unavailable(&error))
}
