//! The operations of the ends, each as a future.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
};

use fullduplex::{CloseCode, Error, Event, Message, Outgoing, Receiver, Sender, SenderSink, WebSocket};
use futures_util::{Sink, SinkExt, StreamExt};
use rand::rngs::SmallRng;

use super::{
    pipe::End,
    reading::{self, InParts},
    task::{Lease, pause, polled},
    writing,
};

/// An operation, and what it needs.
#[derive(Debug)]
pub enum Action {
    Feed(Outgoing<'static>),
    Send(Outgoing<'static>),
    Reserve {
        room: usize,
        message: Option<Outgoing<'static>>,
        pauses: u32,
    },
    Flush,
    Ping(String),
    Close,
    Closed,
    Recv,
    RecvEvent,
    /// Through `Stream`.
    Next,
    /// Through `Sink`.
    Sink {
        message: Message,
        pauses: u32,
        flushes: bool,
    },
    SinkClose,
    Read {
        limit: u64,
        dropped: Option<u32>,
        rng: SmallRng,
        record: reading::Record,
    },
    Write(fullduplex::MessageKind, writing::Plan),
}

/// The result of an operation.
#[derive(Debug)]
pub enum Done {
    Ok,
    /// The permit was dropped.
    Unused,
    Got(Option<Event>),
    Failed(Error),
}

impl Done {
    fn of(result: Result<(), Error>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Ok)
    }

    fn got(result: Result<Option<Event>, Error>) -> Self {
        result.map_or_else(Self::Failed, Self::Got)
    }
}

/// Senders and whole connections have the same methods, with different kinds of borrows.
macro_rules! sending {
    ($from:ident, $action:expr) => {
        match $action {
            Action::Feed(message) => Done::of($from.feed(message).await),
            Action::Send(message) => Done::of($from.send(message).await),
            Action::Reserve { room, message, pauses } => match $from.reserve(room).await {
                Err(error) => Done::Failed(error),
                Ok(permit) => {
                    pause(pauses).await;
                    message.map_or(Done::Unused, |message| Done::of(permit.feed(message)))
                }
            },
            Action::Flush => Done::of($from.flush().await),
            Action::Ping(payload) => Done::of($from.ping(payload).await),
            Action::Close => Done::of($from.close(CloseCode::NORMAL, "bye").await),
            other => panic!("{other:?} is not an operation of this part"),
        }
    };
}

/// The operations of ends that receive too.
macro_rules! receiving {
    ($from:ident, $action:expr) => {
        match $action {
            Action::Recv => Done::got($from.recv().await.map(|message| message.map(Event::Message))),
            Action::RecvEvent => Done::got($from.recv_event().await),
            Action::Next => {
                Done::got($from.next().await.transpose().map(|message| message.map(Event::Message)))
            }
            Action::Read { limit, dropped, mut rng, record } => {
                if let Some(polls) = dropped
                    && let Some(begun) = polled($from.reader(limit), Some(polls)).await
                {
                    return read(begun, &mut rng, &record).await;
                }
                read($from.reader(limit).await, &mut rng, &record).await
            }
            other => panic!("{other:?} is not an operation of this part"),
        }
    };
}

/// Runs an operation of a whole connection.
pub async fn of_whole(mut ws: Lease<WebSocket<End>>, action: Action) -> Done {
    match action {
        Action::Recv | Action::RecvEvent | Action::Next | Action::Read { .. } => receiving!(ws, action),
        Action::Write(kind, mut plan) => Done::of(match ws.writer(kind) {
            Ok(writer) => writing::write(writer, &mut plan, None).await,
            Err(error) => Err(error),
        }),
        Action::Sink { .. } | Action::SinkClose => sink(&mut *ws, action).await,
        action => sending!(ws, action),
    }
}

async fn read(
    begun: Result<Option<impl InParts>, Error>,
    rng: &mut SmallRng,
    record: &reading::Record,
) -> Done {
    match begun {
        Err(error) => Done::Failed(error),
        Ok(None) => Done::Got(None),
        Ok(Some(reader)) => Done::of(reading::read(reader, rng, record).await),
    }
}

/// Runs an operation of a receiver.
pub async fn of_receiver(mut receiver: Lease<Receiver<End>>, action: Action) -> Done {
    receiving!(receiver, action)
}

/// Runs an operation of a sender.
pub async fn of_sender(sender: Sender, action: Action) -> Done {
    match action {
        Action::Closed => {
            sender.closed().await;
            Done::Ok
        }
        Action::Write(kind, mut plan) => Done::of(match sender.writer(kind).await {
            Ok(writer) => writing::write(writer, &mut plan, Some(&sender)).await,
            Err(error) => Err(error),
        }),
        action => sending!(sender, action),
    }
}

/// Runs an operation of a sender that is used as a sink, which may keep a message.
pub async fn of_sink(mut sender: Lease<SenderSink>, action: Action) -> Done {
    sink(&mut *sender, action).await
}

async fn sink(mut sink: impl Sink<Message, Error = Error> + Unpin, action: Action) -> Done {
    let Action::Sink { message, pauses, flushes } = action else {
        return Done::of(sink.close().await);
    };
    if let Err(error) = poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await {
        return Done::Failed(error);
    }
    // Others may take the write buffer space meanwhile.
    pause(pauses).await;
    if let Err(error) = sink.start_send_unpin(message) {
        return Done::Failed(error);
    }
    if flushes { Done::of(sink.flush().await) } else { Done::Ok }
}

/// The future of an operation.
pub type Work = Pin<Box<dyn Future<Output = Done>>>;
