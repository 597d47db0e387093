//! What a server does with its connections.

use std::{future::Future, time::Duration};

use fullduplex::{
    CloseCode, Error, Message, PreparedMessage, Sender,
    hub::{Member, Position, Publication, Since},
    serve::Session,
};
use rand::{RngExt, rngs::SmallRng};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    content::{number, parse},
    facts::Way,
    ledger::Transmission,
    site::Process,
};

/// What the client asks for to be closed by the server.
pub const BYE: &str = "bye";

/// Returns the number at the end of a path.
pub fn number_of(path: &str) -> usize {
    number(path.rsplit('/').next().unwrap_or_default())
}

/// What a connection was opened for.
#[derive(Debug)]
pub enum Purpose {
    Echo { talk: usize },
    Again { client: usize, connection: usize },
    Room(String),
}

impl Purpose {
    /// Returns the purpose of a path, once a request for it has been received.
    pub fn of(process: &Process, path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("echo") => Self::Echo { talk: number_of(path) },
            Some("again") => {
                let client = number_of(path);
                Self::Again { client, connection: process.world.ledger.begin_connection(client) }
            }
            Some("room") => Self::Room(path.split('/').nth(2).expect("a room").to_owned()),
            _ => panic!("no such path was asked for: {path}"),
        }
    }
}

/// Runs the handler of a connection.
pub async fn run<S>(
    process: &Process,
    session: Session<S>,
    purpose: Purpose,
    way: &Way,
    rng: SmallRng,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match purpose {
        Purpose::Echo { talk } => echo(process, session, talk, rng).await,
        Purpose::Again { client, connection } => again(process, session, client, connection, rng).await,
        Purpose::Room(room) => in_room(process, session, &room, way).await,
    }
}

/// Ignores the end of the connection: receiving returns why.
fn unless_closed(sent: Result<(), Error>) -> Result<(), Error> {
    match sent {
        Err(Error::Closed) => Ok(()),
        sent => sent,
    }
}

/// Waits for a short time now and then, as a server that is busy.
fn busy(rng: &mut SmallRng) -> impl Future<Output = ()> + use<> {
    let millis = if rng.random_ratio(1, 40) { rng.random_range(1..300) } else { 0 };
    async move {
        if millis > 0 {
            sleep(Duration::from_millis(millis)).await;
        }
    }
}

async fn echo<S>(
    process: &Process,
    mut session: Session<S>,
    talk: usize,
    mut rng: SmallRng,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ledger = &process.world.ledger;
    while let Some(message) = session.recv().await? {
        if message.as_text() == Some(BYE) {
            return unless_closed(session.close(CloseCode::NORMAL, BYE).await);
        }
        ledger.hear(talk, &message);
        busy(&mut rng).await;
        let sent = if rng.random() { session.feed(message).await } else { session.send(message).await };
        unless_closed(sent)?;
    }
    Ok(())
}

/// Applies each message of a client once, and acknowledges it.
async fn again<S>(
    process: &Process,
    mut session: Session<S>,
    client: usize,
    connection: usize,
    mut rng: SmallRng,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ledger = &process.world.ledger;
    while let Some(message) = session.recv().await? {
        let (words, _) = parse(&message, 3);
        let [kind, transmission, id] = &words[..] else { panic!("{message:?} was not sent") };
        let (transmission, message) = (number(transmission), number(id));
        let sent = Transmission { is_queued: kind == "queued", number: transmission, message };
        ledger.apply(client, connection, &sent);
        busy(&mut rng).await;
        unless_closed(session.feed(format!("ack {id}")).await)?;
    }
    Ok(())
}

/// Returns a published message as members receive it, with its offset. The epoch is a random number,
/// which would be compressed to another length in each run; the ledger knows it.
pub fn encode(position: Position, message: &Message) -> PreparedMessage {
    Message::text(format!("m {} {message}", position.offset)).into()
}

async fn in_room<S>(process: &Process, session: Session<S>, room: &str, way: &Way) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ws, mut guard) = session.into_parts();
    let (mut receiver, sender) = ws.split();
    let member = process.hub.add(sender.clone());
    let (to_room, mut commands) = tokio::sync::mpsc::unbounded_channel();
    let receiving = async move {
        while let Some(message) = guard.recv(&mut receiver).await? {
            // Cannot fail: the other future runs until this one ends.
            let _ = to_room.send(message);
        }
        Ok(())
    };
    // While a member joins, or waits to publish, its connection is polled.
    let acting = async {
        while let Some(message) = commands.recv().await {
            act(process, &member, &sender, room, &message, way).await?;
        }
        Ok(())
    };
    // A failure of the connection ends both: sending fails after it.
    let (received, acted) = tokio::join!(receiving, acting);
    received.and(acted)
}

/// Does what a member asks for.
async fn act(
    process: &Process,
    member: &Member<String>,
    sender: &Sender,
    room: &str,
    message: &Message,
    way: &Way,
) -> Result<(), Error> {
    let (words, rest) = parse(message, 2);
    let answer = match (words[0].as_str(), words[1].as_str()) {
        ("join", since) => {
            let since = match since.strip_prefix("last:") {
                Some(most) => Since::Last(number(most)),
                None if since == "now" => Since::Now,
                None => Since::Position(process.world.ledger.position(room, number(since))),
            };
            match member.join_since(room, since).await {
                Ok(joined) => {
                    process.world.ledger.check_epoch(room, joined.position);
                    format!("joined {} {}", joined.position.offset, joined.has_lost)
                }
                Err(error) => return gone(&error, way),
            }
        }
        ("pub", id) => {
            let text = format!("{id} {rest}");
            let publication = Publication::new(text.as_str()).id(id);
            let published = process.hub.publish(room, publication).await.expect("a backplane in memory");
            process.world.ledger.publish(room, published.position, &text);
            process.world.net.act("hub: published");
            format!("ack {id}")
        }
        ("say", _) => {
            // It is queued already.
            drop(process.hub.to(room).except(member.id()).send(format!("t {} {rest}", words[1])));
            return Ok(());
        }
        _ => panic!("{message:?} was not sent"),
    };
    unless_closed(sender.send(answer).await)
}

/// Asserts that a member whose connection has ended cannot join.
fn gone(error: &fullduplex::hub::HubError, way: &Way) -> Result<(), Error> {
    assert!(matches!(error, fullduplex::hub::HubError::Gone), "{error}");
    assert!(!way.is_clean(), "a member is gone after {way}");
    Ok(())
}
