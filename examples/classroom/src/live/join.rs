//! The first call of a connection, which joins a room.

use std::{net::IpAddr, sync::Arc, time::Duration};

use fullduplex::{
    CloseCode, CloseFrame, Error, Receiver, Sender,
    axum::WebSocket,
    calls::{Call, CallError, Router},
    hub::{HubError, Since},
    hyper::UpgradedStream,
    serve::Guard,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::{
    Live,
    chat::Chat,
    control::{CLOSED, NAME_TAKEN, REFUSED, REMOVED, WHY_CLOSED, WHY_NAME_TAKEN, WHY_REMOVED, What},
    decisions::OfRoom,
    events, history, publications,
    rooms::Seated,
    seat::Seat,
    wire::Person,
};
use crate::{
    admission::Admitted,
    auth::{Identity, Role},
    limits::Rate,
    values::RoomName,
};

/// How long joining may take; the page waits a little longer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(8);

/// The data of the join.
#[derive(Debug, Default, Deserialize)]
struct Join {
    since: Option<history::Since>,
    #[serde(default)]
    reopen: bool,
}

/// The answer to the join.
#[derive(Debug, Serialize)]
struct Joined<'a> {
    me: &'a Person,
    room: RoomInfo<'a>,
    participants: &'a [Person],
    history: history::Joined,
}

#[derive(Debug, Serialize)]
struct RoomInfo<'a> {
    name: &'a RoomName,
    delayed: bool,
}

/// Why somebody may not join: what is answered, and the Close behind it.
#[derive(Debug)]
struct Refused {
    error: String,
    code: CloseCode,
    reason: &'static str,
}

/// Why a connection ends before it has joined.
#[derive(Debug)]
enum End {
    Refused(Call, Refused),
    /// The connection is closed without an answer.
    Close(CloseCode, &'static str),
    /// It has ended.
    Ended(Result<(), Error>),
}

/// Serves a connection: the join, and then all other events.
pub(super) async fn serve(
    live: &Live,
    router: &Router<Chat>,
    ws: WebSocket,
    Admitted { identity, place }: Admitted,
    address: IpAddr,
) -> Result<(), Error> {
    let settings = &live.0.settings;
    let (ws, mut guard) = settings.shutdown.guard().attach(ws).into_parts();
    let (mut receiver, sender) = ws.split();
    let rate = Rate::new(settings.rate, settings.burst);
    let role = identity.scope.role();
    let first = timeout(settings.join_timeout, first(&mut guard, &mut receiver, &sender, &rate, role)).await;
    let joined = match first.unwrap_or(Err(End::Close(CloseCode::POLICY_VIOLATION, "no join came in time"))) {
        Ok((call, join)) => {
            let seat = (identity, address, rate);
            let joining = join_room(live, &sender, seat, &call, join);
            let joined = timeout(JOIN_TIMEOUT, joining)
                .await
                .unwrap_or_else(|_| Err(Refused::unavailable("too late")));
            joined.map_err(|refused| End::Refused(call, refused))
        }
        Err(end) => Err(end),
    };
    let result = match joined {
        Ok((seated, decisions)) => {
            let chat = Chat { live: live.clone(), seated, decisions };
            router.serve((receiver, sender, guard), chat).await
        }
        Err(end) => refuse(end, guard, receiver, &sender).await,
    };
    drop(place);
    result
}

/// Receives the join.
async fn first(
    guard: &mut Guard,
    receiver: &mut Receiver<UpgradedStream>,
    sender: &Sender,
    rate: &Rate,
    role: Role,
) -> Result<(Call, Join), End> {
    let ended = |error| End::Ended(Err(error));
    loop {
        let message = guard.recv(receiver).await.map_err(ended)?.ok_or(End::Ended(Ok(())))?;
        if rate.take().is_err() {
            return Err(End::Close(CloseCode::POLICY_VIOLATION, "too many messages"));
        }
        let answer = match Call::parse(message) {
            Ok(call) => match join_of(&call, role) {
                Ok(Ok(join)) => return Ok((call, join)),
                Ok(Err(invalid)) => call.refusal(&invalid),
                Err(refused) => return Err(End::Refused(call, refused)),
            },
            Err(notice) => notice,
        };
        sender.send(answer).await.map_err(ended)?;
    }
}

/// Returns the data of a join, or why it is not valid, which the client can correct.
fn join_of(call: &Call, role: Role) -> Result<Result<Join, CallError>, Refused> {
    let expected = match call.event() {
        "teacher:join" => Role::Teacher,
        "student:join" => Role::Student,
        _ => {
            return Err(Refused::new(
                "the first event has to be a join",
                CloseCode::POLICY_VIOLATION,
                "not a join",
            ));
        }
    };
    if role != expected {
        let text = if role == Role::Teacher {
            "a teacher joins by teacher:join"
        } else {
            "only a teacher may do this"
        };
        return Err(Refused::new(text, CloseCode::from(REFUSED), text));
    }
    Ok(call.data::<Option<Join>>().map(Option::unwrap_or_default).map_err(CallError::from))
}

/// Lets a person into the room.
///
/// The answer with the history goes first, then what was published since, then what is live.
async fn join_room(
    live: &Live,
    sender: &Sender,
    (identity, address, rate): (Identity, IpAddr, Rate),
    call: &Call,
    join: Join,
) -> Result<(Seated, OfRoom), Refused> {
    let Some(room) = identity.scope.room().cloned() else {
        return Err(Refused::new("no room", CloseCode::from(REFUSED), "no room"));
    };
    let hub = &live.0.hub;
    let member = hub.add_user(sender.clone(), identity.id.as_str());
    let seat = Arc::new(Seat::new(room.to_string(), identity, address, rate, member));
    // Before anything is read: what a teacher does from now on reaches the seat.
    let seated = live.0.rooms.take_seat(seat).map_err(|_taken| Refused::name_taken())?;
    let (seat, decisions) = (&seated.seat, live.0.decisions.of(&room));
    check(&decisions, seat, join.reopen).await?;
    // A history that is read, and then followed, has to exist.
    let held = hub.hold(&seat.room).await.map_err(Refused::hub)?;
    let (history, position) =
        live.view(&room, &seat.identity.id).joined(join.since).await.map_err(Refused::unavailable)?;
    let me = seat.person();
    let mut participants = events::persons(&hub.present(&seat.room).await.map_err(Refused::unavailable)?);
    participants.retain(|person| person.id != me.id);
    // On other nodes as well. Those who join at the same time are told apart once they have.
    let name = me.name.folded();
    if participants.iter().any(|person| person.name.folded() == name) {
        return Err(Refused::name_taken());
    }
    participants.push(me.clone());
    let info = RoomInfo { name: &room, delayed: !hub.is_available() };
    let answer = Joined { me: &me, room: info, participants: &participants, history };
    if let Some(answer) = call.answer(&answer).map_err(Refused::unavailable)? {
        sender.feed(answer).await.map_err(Refused::gone)?;
    }
    let joined =
        seat.member().join_since(&seat.room, Since::Position(position)).await.map_err(Refused::hub)?;
    drop(held);
    if joined.has_lost {
        seat.tell_message(publications::lost(joined.position));
    }
    events::read_roster(hub, &seated.room).await.map_err(Refused::unavailable)?;
    events::tell_changes(&seated.room, &participants, seat);
    seat.joined().await.map_err(Refused::hub)?;
    if seat.is_muted() != me.muted {
        seat.tell("participant:changed", &json!({"id": me.id, "muted": seat.is_muted()}));
    }
    Ok((seated, decisions))
}

/// Checks what is decided about the room and the person.
async fn check(decisions: &OfRoom, seat: &Seat, reopen: bool) -> Result<(), Refused> {
    let Identity { id, name, .. } = &seat.identity;
    if seat.is_teacher() && reopen {
        decisions.decide(What::Reopen, || {}).await.map_err(Refused::unavailable)?;
    }
    let state = decisions.state(id, name).await.map_err(Refused::unavailable)?;
    // Restrictions are for students, also those for a name.
    if state.is_barred && !seat.is_teacher() {
        return Err(Refused::new(WHY_REMOVED, CloseCode::from(REMOVED), WHY_REMOVED));
    }
    if state.is_closed {
        return Err(Refused::new(WHY_CLOSED, CloseCode::from(CLOSED), WHY_CLOSED));
    }
    seat.set_stored_muted(state.is_muted && !seat.is_teacher());
    Ok(())
}

/// Ends a connection that has not joined.
async fn refuse(
    end: End,
    mut guard: Guard,
    mut receiver: Receiver<UpgradedStream>,
    sender: &Sender,
) -> Result<(), Error> {
    let (code, reason) = match end {
        End::Ended(result) => return result,
        End::Close(code, reason) => (code, reason),
        End::Refused(call, Refused { error, code, reason }) => {
            match sender.send(call.refusal(&CallError::refused(error))).await {
                // A Close may be queued already: that of a shutdown, or of a teacher.
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => return Err(error),
            }
            (code, reason)
        }
    };
    // Fails if the connection is closing already.
    _ = sender.start_close(CloseFrame::new(code, reason).ok());
    while guard.recv(&mut receiver).await?.is_some() {}
    Ok(())
}

impl Refused {
    fn new(error: impl Into<String>, code: CloseCode, reason: &'static str) -> Self {
        Self { error: error.into(), code, reason }
    }

    /// The page may try again.
    fn unavailable(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a person could not join");
        let text = "unavailable: the room cannot be entered now";
        Self::new(text, CloseCode::INTERNAL_ERROR, "the room is not available")
    }

    fn name_taken() -> Self {
        Self::new(WHY_NAME_TAKEN, CloseCode::from(NAME_TAKEN), WHY_NAME_TAKEN)
    }

    fn hub(error: HubError) -> Self {
        match error {
            HubError::Gone => Self::gone(error),
            error => Self::unavailable(error),
        }
    }

    /// The connection has ended meanwhile, or is closing: nobody reads the answer.
    fn gone(error: impl std::fmt::Display) -> Self {
        Self::new(error.to_string(), CloseCode::INTERNAL_ERROR, "the connection has ended")
    }
}
