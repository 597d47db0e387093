//! One connection, until it ends.

use std::{
    future::poll_fn,
    task::{Poll, ready},
};

use fullduplex::{ClientStream, CloseCode, CloseFrame, Error, Event, Message, WebSocket};

use crate::{
    args::Args,
    failure::Failure,
    input::{read_messages, watch_for_interrupts},
    output::Output,
};

pub(crate) async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let client = args.client().map_err(Failure::Opening)?;
    let (mut ws, _response) = client.connect(args.url.as_str()).await.map_err(Failure::Opening)?;
    output.connected(ws.subprotocol().unwrap_or_default(), ws.extensions())?;
    let mut messages = read_messages(args);
    let interrupted = watch_for_interrupts()?;
    let mut open = true;
    // A message that waits for room. No further one is read meanwhile.
    let mut next = None;
    let mut failed = None;
    loop {
        tokio::select! {
            turn = turn(&mut ws, next.as_ref().map(Message::len)) => match turn {
                Turn::Received(event) => match event? {
                    Some(Event::Close(frame)) => {
                        output.closed(frame.as_ref())?;
                        failed = failed.or(Failure::of_close(frame.as_ref()));
                    }
                    Some(event) => show(output, &ws, &event)?,
                    None => return failed.map_or(Ok(()), Err),
                },
                Turn::Room => if let Some(message) = next.take() {
                    ws.start_send(message)?;
                },
                Turn::NeverRoom(error) => {
                    (open, next) = (false, None);
                    // Continues to receive: the server's last messages if it closes, or those
                    // before the failure.
                    if !matches!(error, Error::Closed) {
                        failed = Some(error.into());
                    }
                }
            },
            message = messages.recv(), if open && next.is_none() => match message {
                Some(message) => next = Some(message?),
                None => {
                    open = false;
                    close(&mut ws, "")?;
                }
            },
            () = interrupted.notified() => {
                (open, next) = (false, None);
                close(&mut ws, "interrupted")?;
                output.note("closing; Ctrl-C again ends it at once");
            }
        }
    }
}

/// The next event of the connection.
enum Turn {
    Received(Result<Option<Event>, Error>),
    /// There is room for the waiting message.
    Room,
    /// There will never be room again.
    NeverRoom(Error),
}

/// Waits for an event or for room for a message of this length. Receiving also writes what is
/// queued.
async fn turn(ws: &mut WebSocket<ClientStream>, len: Option<usize>) -> Turn {
    poll_fn(|cx| {
        // First, so that a server that sends continuously does not delay what is sent.
        if let Some(len) = len
            && let Poll::Ready(room) = ws.poll_ready(cx, len)
        {
            return Poll::Ready(room.map_or_else(Turn::NeverRoom, |()| Turn::Room));
        }
        let event = ready!(ws.poll_recv_event(cx));
        Poll::Ready(Turn::Received(event))
    })
    .await
}

fn close(ws: &mut WebSocket<ClientStream>, reason: &str) -> Result<(), Error> {
    match ws.start_close(Some(CloseFrame::new(CloseCode::NORMAL, reason)?)) {
        Ok(()) | Err(Error::Closed) => Ok(()),
        Err(error) => Err(error),
    }
}

fn show(output: Output, ws: &WebSocket<ClientStream>, event: &Event) -> Result<(), Failure> {
    match event {
        Event::Message(message) => output.message(message)?,
        Event::Pong(_) => {
            // Counted only if the latency is to be printed.
            if let Some(time) = ws.stats().and_then(|stats| stats.round_trip) {
                output.round_trip(time)?;
            }
        }
        _ => {}
    }
    Ok(())
}
