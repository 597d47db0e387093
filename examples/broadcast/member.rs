//! One connection, from the request to the closing handshake.

use std::{sync::Arc, time::Duration};

use fullduplex::{
    CloseCode, Error, Receiver, Sender,
    serve::{Decision, Incoming, ServerStream, Session},
};
use http::{StatusCode, header};
use tokio::{task, time::timeout};

use crate::hall::{Hall, Membership};

/// How long writing the queue and closing may take before the connection is dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// The code and the reason of the server's Close.
type CloseReason = (CloseCode, &'static str);

/// Accepts a request, unless it comes from a page of another server.
pub(crate) fn decide(request: Incoming) -> Decision {
    match is_foreign(&request) {
        true => request.refuse(StatusCode::FORBIDDEN, "not from this page\n"),
        false => request.accept(),
    }
}

/// Returns whether the request comes from a page of another server (RFC 6455 section 10.2).
fn is_foreign(request: &Incoming) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = request.header("host");
    authority.is_none() || authority != host
}

/// Returns the name in the query, which is not decoded: no character of a name needs
/// percent-encoding.
fn wanted_name(request: &Incoming) -> Option<&str> {
    request
        .request()
        .uri()
        .query()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("name="))
        .filter(|name| !name.is_empty())
}

/// Serves one connection until it ends or the server stops.
pub(crate) async fn serve(
    hall: Arc<Hall>,
    session: Session<ServerStream>,
    request: Incoming,
) -> Result<(), Error> {
    let (ws, mut guard) = session.into_parts();
    let (mut receiver, sender) = ws.split();
    let member = hall.join(sender.clone(), wanted_name(&request));
    drop(request);
    let close_reason = tokio::select! {
        biased;
        () = guard.begun() => None,
        () = member.expelled() => Some((CloseCode::TRY_AGAIN_LATER, "you read too slowly")),
        ended = listen(&mut receiver, &member) => match ended? {
            Some(close_reason) => Some(close_reason),
            None => return Ok(()),
        },
    };
    drop(member);
    match close_reason {
        Some(close_reason) => close(receiver, &sender, close_reason).await,
        None => {
            // Completes the closing handshake.
            while guard.recv(&mut receiver).await?.is_some() {}
            Ok(())
        }
    }
}

/// Receives lines until the member leaves, or returns why to close the connection.
async fn listen(
    receiver: &mut Receiver<ServerStream>,
    member: &Membership<'_>,
) -> Result<Option<CloseReason>, Error> {
    while let Some(message) = receiver.recv().await? {
        let Some(line) = message.as_text() else {
            return Ok(Some((CloseCode::UNSUPPORTED_DATA, "lines of text only")));
        };
        match line.strip_prefix("/name") {
            Some(name) if name.is_empty() || name.starts_with(' ') => member.rename(name.trim()),
            _ => member.say(line),
        }
        // Yields after each line, so that other tasks can write the queues before a burst fills
        // them.
        task::yield_now().await;
    }
    Ok(None)
}

/// Closes cleanly, or drops the connection if that takes too long, because the peer may not read.
async fn close(
    mut receiver: Receiver<ServerStream>,
    sender: &Sender,
    (code, reason): CloseReason,
) -> Result<(), Error> {
    // Concurrently, because the receiver completes the closing handshake.
    let closing = async {
        tokio::join!(sender.close(code, reason), async {
            while receiver.recv().await?.is_some() {}
            Ok(())
        })
    };
    match timeout(CLOSE_GRACE, closing).await {
        // The peer may have closed first.
        Ok((Ok(()) | Err(Error::Closed), received)) => received,
        Ok((Err(error), _)) => Err(error),
        Err(_elapsed) => {
            eprintln!("a connection is dropped: its Close ({code}) did not get through");
            Ok(())
        }
    }
}
