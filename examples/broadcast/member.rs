//! One connection, from the request to the closing handshake.

use std::time::Duration;

use fullduplex::{AnyRequest, CloseCode, Error, IncomingRequest, Receiver, Sender, WebSocket};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, task, time::timeout};

use crate::{Chat, hall::Membership, page, serve::Stopped};

/// How long writing the queue and closing may take before the connection is dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// An open connection that has not joined yet.
struct Newcomer {
    ws: WebSocket<TcpStream>,
    name: Option<String>,
    _seat: OwnedSemaphorePermit,
}

/// The code and the reason of the server's Close.
type CloseReason = (CloseCode, &'static str);

/// Serves one connection until it ends or the server stops.
pub(crate) async fn serve(chat: &Chat, tcp: TcpStream, stopped: Stopped) -> Result<(), Error> {
    tcp.set_nodelay(true)?;
    let newcomer = tokio::select! {
        opened = open(chat, tcp) => opened?,
        () = stopped.cancelled() => return Ok(()),
    };
    match newcomer {
        Some(newcomer) => converse(chat, newcomer, stopped).await,
        None => Ok(()),
    }
}

/// Opens a connection; returns `None` if the answer was the page or a refusal.
async fn open(chat: &Chat, tcp: TcpStream) -> Result<Option<Newcomer>, Error> {
    let request = match chat.server.read_any_request(tcp).await? {
        AnyRequest::WebSocket(request) => request,
        other => {
            page::answer(other).await?;
            return Ok(None);
        }
    };
    if is_foreign(request.request()) {
        refuse(request, StatusCode::FORBIDDEN, "not from this page").await?;
        return Ok(None);
    }
    let Ok(seat) = chat.seats.clone().try_acquire_owned() else {
        refuse(request, StatusCode::SERVICE_UNAVAILABLE, "all seats are taken").await?;
        return Ok(None);
    };
    let name = wanted_name(request.request()).map(str::to_owned);
    let ws = request.accept().await?;
    Ok(Some(Newcomer { ws, name, _seat: seat }))
}

async fn refuse(
    request: IncomingRequest<TcpStream>,
    status: StatusCode,
    why: &'static str,
) -> Result<(), Error> {
    let mut response = Response::new(why);
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    request.reject(response).await
}

/// Returns whether the request comes from a page of another server (RFC 6455 section 10.2).
fn is_foreign(request: &Request<()>) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}

/// Returns the name in the query, which is not decoded: no character of a name needs
/// percent-encoding.
fn wanted_name(request: &Request<()>) -> Option<&str> {
    request
        .uri()
        .query()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("name="))
        .filter(|name| !name.is_empty())
}

async fn converse(chat: &Chat, newcomer: Newcomer, stopped: Stopped) -> Result<(), Error> {
    // Binds the seat, which is released at the end of the connection.
    let Newcomer { ws, name, _seat } = newcomer;
    let (mut receiver, sender) = ws.split();
    let member = chat.hall.join(sender.clone(), name.as_deref());
    let close_reason = tokio::select! {
        biased;
        () = stopped.cancelled() => Some((CloseCode::GOING_AWAY, "the server stops")),
        () = member.expelled() => Some((CloseCode::TRY_AGAIN_LATER, "you read too slowly")),
        ended = listen(&mut receiver, &member) => ended?,
    };
    drop(member);
    match close_reason {
        Some(close_reason) => close(receiver, &sender, close_reason).await,
        None => Ok(()),
    }
}

/// Receives lines until the member leaves, or returns why to close the connection.
async fn listen(
    receiver: &mut Receiver<TcpStream>,
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
    mut receiver: Receiver<TcpStream>,
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
