//! The namespace of the chat, `/`.

mod chat;
mod entry;
mod teacher;

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use socketio::{Data, Event, Namespace, Refused, Socket};

pub(crate) use self::entry::access;
use crate::{
    app::{App, with_reports},
    auth::Participant,
    class::{Class, State},
    limits::Rate,
    refusal::{Refusal, Reply, parse, tell},
};

/// The length of the name of an event in an answer, at most, in characters.
const MAX_NAME: usize = 64;

/// The class that a socket has joined, and its seat there. It is stored with the socket.
#[derive(Debug, Clone)]
struct Present {
    class: Arc<Class>,
    seat: u64,
}

/// How fast a socket may send events. It is stored with the socket.
#[derive(Debug, Clone)]
pub(crate) struct Pace(pub(crate) Arc<Rate>);

/// Returns the namespace of the chat.
pub fn namespace(app: &App) -> Namespace {
    let (authorizing, connecting, leaving) = (app.clone(), app.clone(), app.clone());
    let namespace = Namespace::new("/")
        .authorize(move |socket, auth| entry::authorize(authorizing.clone(), socket, auth))
        .on_connect(move |socket, _auth| entry::connected(connecting.clone(), socket))
        .on_disconnect(move |socket, _why| entry::left(leaving.clone(), socket))
        .before_event(pace)
        .fallback(unknown);
    let namespace = on(namespace, app, "teacher:join", entry::join_as_teacher);
    let namespace = on(namespace, app, "student:join", entry::join_as_student);
    let namespace = on(namespace, app, "chat:message", chat::message);
    let namespace = on(namespace, app, "chat:private", chat::private);
    let namespace = on(namespace, app, "chat:typing", chat::typing);
    let namespace = on(namespace, app, "teacher:remove-student", teacher::remove_student);
    with_reports(namespace)
}

/// Adds the handler of an event. What it returns is the acknowledgement; if it fails, the client receives
/// `chat:error` as well.
pub(crate) fn on<D, T, F, Fut>(namespace: Namespace, app: &App, event: &'static str, handle: F) -> Namespace
where
    D: DeserializeOwned + Send + 'static,
    T: Serialize + Send + 'static,
    F: Fn(App, Socket, D) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let app = app.clone();
    namespace.on(event, move |socket: Socket, Data(data): Data<Value>| {
        let app = app.clone();
        async move {
            let result = match parse(data) {
                Ok(data) => handle(app, socket.clone(), data).await,
                Err(refusal) => Err(refusal),
            };
            Reply::new(&socket, event, result)
        }
    })
}

/// Refuses events that come too fast.
pub(crate) async fn pace(socket: Socket, event: Event) -> Result<(), Refused> {
    let Some(Pace(rate)) = socket.get() else { return Ok(()) };
    rate.take().map_err(|wait| {
        let refusal = Refusal { wait: Some(wait), ..Refusal::new("rate", "too many events: wait a moment") };
        let name = short_name(&event);
        tell(&socket, &name, &refusal);
        refusal.to_refused(&name)
    })
}

/// Refuses events that have no handler.
pub(crate) async fn unknown(socket: Socket, event: Event) -> Reply<()> {
    Reply::new(&socket, &short_name(&event), Err(Refusal::new("unknown", "there is no such event")))
}

/// Returns the name of an event, which a client may have made long.
fn short_name(event: &Event) -> String {
    event.name().chars().take(MAX_NAME).collect()
}

/// Returns where a socket is.
fn present(socket: &Socket) -> Result<Present, Refusal> {
    socket.get().ok_or_else(Refusal::not_joined)
}

impl Present {
    /// Returns who has the seat, unless they were removed meanwhile.
    fn participant(&self, state: &State) -> Result<Participant, Refusal> {
        state.roster.at(self.seat).cloned().ok_or_else(Refusal::not_joined)
    }
}
