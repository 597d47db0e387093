//! How persons enter a class, come back to it, and leave it.

use std::{num::NonZeroU32, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use socketio::{Auth, ConnectError, EmitError, Socket};

use super::{Pace, Present, chat::Typing};
use crate::{
    app::App,
    auth::{Access, AuthError, Participant, Pass, Role},
    class::{Class, State},
    farewell::Farewell,
    history::Message,
    limits::Rate,
    refusal::{Refusal, tell},
    roster::NoEntry,
    values::{Name, ParticipantId},
};

/// What a client connects with.
#[derive(Deserialize)]
struct Ticket {
    token: String,
}

/// The data of a join.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Join {
    /// Needed with the token of a link. That of a person has a name.
    name: Option<Name>,
    /// The last message that the page has, and the epoch in which it received it.
    after: Option<u64>,
    epoch: Option<String>,
}

/// The acknowledgement of a join.
#[derive(Debug, Serialize)]
pub(super) struct Joined {
    class: String,
    you: Participant,
    /// A token for the same person, with which the page connects from now on.
    token: String,
    epoch: String,
    participants: Vec<Participant>,
    /// The messages after the one that the page has, or all that are kept.
    #[serde(serialize_with = "each")]
    messages: Vec<Arc<Message>>,
    /// Whether no message is missing between the one that the page has and these.
    complete: bool,
}

/// Serializes what is shared.
fn each<S: Serializer>(messages: &[Arc<Message>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(messages.iter().map(|message| &**message))
}

/// The event that answers a join, besides the acknowledgement.
#[derive(Serialize)]
struct Welcome<'a> {
    class: &'a str,
    you: &'a Participant,
}

/// Returns what a token lets its owner do.
pub(crate) fn access(app: &App, auth: &Auth) -> Result<Access, ConnectError> {
    let refused = |code, message: String| ConnectError::new(message).data(json!({ "code": code }));
    let ticket: Ticket = auth.parse().map_err(|_| refused("token", "a token is needed".to_owned()))?;
    app.auth().verify(&ticket.token).map_err(|error| {
        let code = if error == AuthError::Expired { "expired" } else { "token" };
        refused(code, error.to_string())
    })
}

/// Accepts sockets whose token is for a class.
pub(super) async fn authorize(app: App, socket: Socket, auth: Auth) -> Result<(), ConnectError> {
    let Access::Class(pass) = access(&app, &auth)? else {
        return Err(ConnectError::new("the token is for no class").data(json!({ "code": "token" })));
    };
    if let (Some(person), Some(class)) = (participant(&pass), app.classes().get(&pass.class))
        && class.lock().await.roster.has_removed(&person)
    {
        return Err(ConnectError::new(NoEntry::Removed.to_string()).data(json!({ "code": "removed" })));
    }
    if socket.is_recovered() && !is_own(&app, &socket, &pass) {
        // The next attempt is that of a new socket.
        return Err(ConnectError::new("this cannot be recovered").data(json!({ "code": "retry" })));
    }
    socket.insert(Pace(Arc::new(app.rate())));
    socket.insert(Typing::new());
    socket.insert(pass);
    Ok(())
}

/// Returns whether a socket that is recovered was that of the same person, in the same class.
fn is_own(app: &App, socket: &Socket, pass: &Pass) -> bool {
    let person = pass.person.as_ref();
    person.is_some_and(|(id, _)| app.returning().take(socket.id(), &pass.class, id))
}

fn participant(pass: &Pass) -> Option<Participant> {
    let (id, name) = pass.person.clone()?;
    Some(Participant { id, name, role: pass.role })
}

/// Gives a socket that is recovered its seat again. Others join.
pub(super) async fn connected(app: App, socket: Socket) {
    if !socket.is_recovered() {
        return;
    }
    let person = socket.get::<Pass>().and_then(|pass| Some((participant(&pass)?, pass)));
    // A recovered socket without a person is not accepted.
    let Some((person, pass)) = person else { return };
    if let Err(refusal) = enter(&app, &socket, &pass, &person, |_| ()).await {
        tell(&socket, "resume", &refusal);
        socket.disconnect().await;
    }
}

pub(super) async fn join_as_teacher(app: App, socket: Socket, join: Option<Join>) -> Result<Joined, Refusal> {
    enter_as(Role::Teacher, app, socket, join.unwrap_or_default()).await
}

pub(super) async fn join_as_student(app: App, socket: Socket, join: Option<Join>) -> Result<Joined, Refusal> {
    enter_as(Role::Student, app, socket, join.unwrap_or_default()).await
}

async fn enter_as(role: Role, app: App, socket: Socket, join: Join) -> Result<Joined, Refusal> {
    let pass: Pass = socket.get().ok_or_else(Refusal::not_joined)?;
    if pass.role != role {
        return Err(Refusal::new("role", "the token is for another role"));
    }
    let person = match (seated(&socket).await?.or(participant(&pass)), join.name) {
        (Some(person), _) => person,
        (None, Some(name)) => Participant { id: ParticipantId::random(), name, role },
        (None, None) => return Err(Refusal::new("name", "a name is needed").field("name")),
    };
    let token = app.auth().person(&pass, &person).map_err(|error| Refusal::new("unavailable", error))?;
    let is_same = join.epoch.as_deref() == Some(app.epoch());
    let after = join.after.filter(|_| is_same);
    let (participants, messages, complete) = enter(&app, &socket, &pass, &person, |state: &State| {
        let participants = state.roster.participants().cloned().collect();
        let complete = match after {
            Some(after) => state.history.is_complete_after(after),
            None => join.epoch.is_none(),
        };
        (participants, state.history.after(&person.id, after), complete)
    })
    .await?;
    let (class, epoch) = (pass.class.to_string(), app.epoch().to_owned());
    welcome(&socket, &class, &person).await?;
    Ok(Joined { class, you: person, token, epoch, participants, messages, complete })
}

/// Returns the person of a socket that has joined already: its client may not know it.
async fn seated(socket: &Socket) -> Result<Option<Participant>, Refusal> {
    let Some(present) = socket.get::<Present>() else { return Ok(None) };
    let state = present.class.lock().await;
    present.participant(&state).map(Some)
}

async fn welcome(socket: &Socket, class: &str, you: &Participant) -> Result<(), Refusal> {
    let event = match you.role {
        Role::Teacher => "teacher:joined",
        Role::Student => "student:joined",
    };
    match socket.emit(event, &Welcome { class, you }).await {
        Ok(()) | Err(EmitError::Disconnected) => Ok(()),
        Err(error) => Err(Refusal::unavailable(&error)),
    }
}

/// Gives a person a seat in a class, unless the socket has one. Returns what a function reads there, before
/// anything else changes.
async fn enter<T>(
    app: &App,
    socket: &Socket,
    pass: &Pass,
    person: &Participant,
    read: impl FnOnce(&State) -> T,
) -> Result<T, Refusal> {
    if let Some(present) = socket.get::<Present>() {
        return Ok(read(&*present.class.lock().await));
    }
    let class = app.classes().open(&pass.class, app.last_id()).map_err(|full| Refusal::new("full", full))?;
    let mut state = class.lock().await;
    if state.is_closed {
        return Err(Refusal::new("closed", "the class was closed just now"));
    }
    let entered = state.roster.enter(person, socket.clone()).map_err(no_entry)?;
    Farewell::Replaced.say(entered.replaced);
    if let Err(error) = join_rooms(socket, &class, person).await {
        leave_seat(&class, &mut state, entered.seat, socket).await;
        return Err(Refusal::unavailable(&error));
    }
    // Whoever disconnects the socket has to find its seat first, and waits for the lock.
    app.returning().entered(socket.id(), &pass.class, &person.id);
    socket.insert(Present { class: class.clone(), seat: entered.seat });
    if entered.is_new {
        announce(&class, &state, socket).await;
    }
    Ok(read(&state))
}

fn no_entry(error: NoEntry) -> Refusal {
    match error {
        NoEntry::Removed => Refusal::new("removed", error),
        NoEntry::NameTaken => Refusal::new("name", error).field("name"),
        NoEntry::Full => Refusal::new("full", error),
    }
}

async fn join_rooms(socket: &Socket, class: &Class, person: &Participant) -> Result<(), EmitError> {
    socket.join(&class.room()).await?;
    socket.join(&class.room_of(&person.id)).await
}

/// Gives a seat up, and tells the others if a person has left with it.
async fn leave_seat(class: &Class, state: &mut State, seat: u64, socket: &Socket) {
    if state.roster.leave(seat) {
        announce(class, state, socket).await;
    }
}

pub(super) async fn announce(class: &Class, state: &State, socket: &Socket) {
    if let Err(error) = class.announce(state, socket).await {
        tracing::error!(%error, "participants were not sent");
    }
}

/// Gives the seat of a socket up that has left.
pub(super) async fn left(app: App, socket: Socket) {
    // Those that have left for good are not recovered by the library, and forgotten with the others.
    app.returning().lost(socket.id(), Instant::now());
    let Some(Present { class, seat }) = socket.remove() else { return };
    let mut state = class.lock().await;
    leave_seat(&class, &mut state, seat, &socket).await;
}

impl Typing {
    /// Creates a bucket with one event, to which one is added each half second.
    fn new() -> Self {
        Self(Arc::new(Rate::new(NonZeroU32::MIN.saturating_add(1), NonZeroU32::MIN)))
    }
}
