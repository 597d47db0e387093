//! What teachers do.

use serde::Deserialize;
use serde_json::{Value, json};
use socketio::Socket;

use super::{entry::announce, present};
use crate::{app::App, auth::Role, farewell::Farewell, refusal::Refusal, values::ParticipantId};

/// Whom to remove.
#[derive(Debug, Deserialize)]
pub(super) struct Remove {
    id: ParticipantId,
}

/// Removes a student, who may not come back.
pub(super) async fn remove_student(
    _app: App,
    socket: Socket,
    Remove { id }: Remove,
) -> Result<Value, Refusal> {
    let present = present(&socket)?;
    let class = &present.class;
    let mut state = class.lock().await;
    if present.participant(&state)?.role != Role::Teacher {
        return Err(Refusal::new("role", "only a teacher removes students"));
    }
    let sockets = state.roster.remove(&id).map_err(|error| Refusal::new("id", error).field("id"))?;
    for removed in &sockets {
        // They read nothing from now on, also while they are being disconnected.
        removed.leave(&class.room());
        removed.leave(&class.room_of(&id));
    }
    announce(class, &state, &socket).await;
    drop(state);
    Farewell::Removed.say(sockets);
    Ok(json!({ "id": id }))
}
