//! Routers that run in tasks, and ends that write the messages of calls by hand.

use fullduplex::{
    Config, Outgoing, WebSocket,
    calls::{Connection, Peer, Router},
    testing,
};
use tokio::{io::DuplexStream, task::JoinHandle};

pub type Raw = WebSocket<DuplexStream>;

/// A router that a task runs.
pub struct Running<E> {
    pub peer: Peer,
    pub task: JoinHandle<Result<(), E>>,
}

/// Runs a router in a task.
pub fn attached<S, C>(router: &Router<S>, connection: C, state: S) -> Running<C::Error>
where
    S: Send + Sync + 'static,
    C: Connection + 'static,
{
    let attached = router.attach(connection, state);
    Running { peer: attached.peer().clone(), task: tokio::spawn(attached.run()) }
}

/// Runs a router on a server, without keep-alive. Returns its client.
pub fn serve<S: Send + Sync + 'static>(router: &Router<S>, state: S) -> Raw {
    let (client, server) = testing::pair(&Config::new().ping_interval(None));
    attached(router, server, state);
    client
}

/// Runs a router on a server. Returns a peer of it, as a client has it.
pub fn client<S: Send + Sync + 'static>(router: &Router<S>, state: S) -> (Peer, Running<fullduplex::Error>) {
    let (client, server) = testing::pair(&Config::new().ping_interval(None));
    (attached(&Router::new(), client, ()).peer, attached(router, server, state))
}

/// Receives the next message, which is text.
pub async fn next(ws: &mut Raw) -> String {
    let message = ws.recv().await.expect("open").expect("a message");
    message.as_text().expect("text").to_owned()
}

/// Sends a message, and returns the next one.
pub async fn exchange<'a>(ws: &mut Raw, message: impl Into<Outgoing<'a>>) -> String {
    ws.send(message).await.expect("open");
    next(ws).await
}
