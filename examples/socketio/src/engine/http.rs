//! The requests of clients: handshakes, polls, POSTs, and preflights of browsers.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::{OptionalFromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use bytes::Bytes;
use fullduplex::{Role, Sender, WebSocket, axum::WebSocketUpgrade, handshake::Negotiated};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::{
    Engine,
    connection::Wire,
    handshake::open_packet,
    head::Handshake,
    origins::Origin,
    polling::{Polling, SessionStream, Violation},
    query::{Query, Transport},
    refusal::Refusal,
    sessions::{Found, Place},
    settings::Settings,
    sid::Sid,
    websocket,
};

/// How long a poll waits while an upgrade is attempted, in which its client ends polling.
const PROBING_POLL: Duration = Duration::from_millis(100);

/// Answers a request.
pub(super) async fn handle(State(engine): State<Engine>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let settings = engine.settings();
    let origin = settings.origins.check(&parts.uri, &parts.headers);
    let refuse = |refusal: Refusal| {
        if let Some(metrics) = engine.sessions().metrics() {
            metrics.refused(refusal);
        }
        refusal.into_response()
    };
    if origin == Origin::Refused {
        return refuse(Refusal::Forbidden);
    }
    let mut response = if parts.method == Method::OPTIONS {
        preflight(&parts)
    } else {
        answer(&engine, &mut parts, body).await.unwrap_or_else(refuse)
    };
    origin.add_fields(settings.credentials, response.headers_mut());
    response
}

/// Answers the question of a browser whether a page may send a request.
fn preflight(parts: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let fields = response.headers_mut();
    fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // No field of a request has a meaning here.
    if let Some(asked) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

async fn answer(engine: &Engine, parts: &mut Parts, body: Body) -> Result<Response<Body>, Refusal> {
    let Query { transport, sid } = Query::parse(parts.uri.query().unwrap_or_default())?;
    let session = match sid {
        Some(sid) => Some((sid, engine.sessions().find(sid).ok_or(Refusal::UnknownSession)?)),
        None => None,
    };
    if transport == Transport::WebSocket {
        return answer_upgrade(engine, parts, session).await;
    }
    match (session, &parts.method) {
        (None, &Method::GET) => open_session(engine, parts),
        (None, _) => Err(Refusal::BadMethod),
        (Some((_, Found::Polling(polling))), &Method::GET) => poll(&polling).await,
        (Some((_, Found::Polling(polling))), &Method::POST) => {
            post(engine, &polling, &parts.headers, body).await
        }
        (Some(_), _) => Err(Refusal::BadRequest),
    }
}

/// Opens a WebSocket connection, for a new session or for the upgrade of one.
async fn answer_upgrade(
    engine: &Engine,
    parts: &mut Parts,
    session: Option<(Sid, Found)>,
) -> Result<Response<Body>, Refusal> {
    let is_new = session.is_none();
    if is_new && parts.method != Method::GET && parts.method != Method::CONNECT {
        return Err(Refusal::BadMethod);
    }
    let upgrade = <WebSocketUpgrade as OptionalFromRequestParts<()>>::from_request_parts(parts, &()).await;
    let upgrade = match upgrade {
        Ok(Some(upgrade)) => upgrade,
        Ok(None) => return Err(Refusal::BadRequest),
        Err(rejection) => return Ok(IntoResponse::into_response(rejection)),
    };
    match session {
        None => {
            let place = admit(engine, parts, Transport::WebSocket)?;
            let cookie = cookie(engine, &place);
            let mut response = websocket::open(engine, upgrade, place);
            response.headers_mut().extend(cookie);
            Ok(response)
        }
        Some((sid, Found::Polling(polling))) => websocket::probe(engine, upgrade, sid, &polling),
        Some((_, Found::Upgraded)) => Ok(websocket::close(upgrade)),
    }
}

/// Takes a place for a session, if its request is accepted.
fn admit(engine: &Engine, parts: &Parts, transport: Transport) -> Result<Place, Refusal> {
    let settings = engine.settings();
    if engine.is_stopping() {
        return Err(Refusal::Stopping);
    }
    if settings.allow_request.as_ref().is_some_and(|accept| !accept(parts)) {
        return Err(Refusal::Forbidden);
    }
    let keep = |max| Handshake::new(parts, transport, max).ok_or(Refusal::HeadTooLarge);
    let handshake = settings.kept_handshake.map(keep).transpose()?;
    let place = engine.sessions().place().ok_or(Refusal::TooMany)?;
    Ok(place.with_handshake(handshake))
}

/// Opens a session that polls.
fn open_session(engine: &Engine, parts: &Parts) -> Result<Response<Body>, Refusal> {
    let place = admit(engine, parts, Transport::Polling)?;
    let (settings, sid) = (engine.settings(), place.sid());
    let (polling, wire, sender) = polling_session(settings);
    place.publish(polling);
    let cookie = cookie(engine, &place);
    tokio::spawn(engine.serve(wire, sender, place));
    let mut response = payload(open_packet(sid, Transport::Polling, settings));
    response.headers_mut().extend(cookie);
    Ok(response)
}

/// Creates a session that polls: what its requests share, and the connection over them.
pub(super) fn polling_session(settings: &Settings) -> (Arc<Polling>, Wire, Sender) {
    let polling = Polling::new(settings.max_write_buffer_size, settings.max_packets);
    let stream = SessionStream::new(polling.clone());
    let config = settings.config();
    let ws = WebSocket::from_raw(stream, Bytes::new(), Role::Server, &config, Negotiated::default());
    let (receiver, sender) = ws.split();
    (polling, Wire::Session(receiver), sender)
}

fn cookie(engine: &Engine, place: &Place) -> Option<(header::HeaderName, HeaderValue)> {
    let name = engine.settings().cookie.as_ref()?;
    let cookie = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", place.sid());
    // A name that cannot be in a header field is an error of the program, and gives no cookie.
    Some((header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?))
}

async fn poll(polling: &Arc<Polling>) -> Result<Response<Body>, Refusal> {
    let mut turn = polling.begin_poll()?;
    let wait = if polling.is_probing() { PROBING_POLL } else { Duration::MAX };
    let packets = match timeout(wait, turn.fetch()).await {
        Ok(packets) => packets,
        Err(_elapsed) => {
            turn.give_up();
            turn.fetch().await
        }
    };
    Ok(payload(packets))
}

async fn post(
    engine: &Engine,
    polling: &Arc<Polling>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let mut turn = polling.begin_post()?;
    let settings = engine.settings();
    // Engine.IO 4 has binary data as Base64, in text. What claims to be something else is of an older
    // version.
    let is_binary = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    let read = match is_binary {
        true => Err(Refusal::BadRequest),
        false => read(body, settings.max_payload, settings.post_timeout).await,
    };
    // Packets that are missing make the later ones meaningless.
    let body = read.inspect_err(|_| polling.fail())?;
    turn.ready().await?;
    turn.post(&body).map_err(|_| Refusal::BadRequest)?;
    let mut response = payload("ok".to_owned());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// Reads a body, of which no more than `max` bytes are kept.
async fn read(body: Body, max: usize, deadline: Duration) -> Result<String, Refusal> {
    // If the length is announced, nothing of such a body is read.
    if body.size_hint().lower() > max as u64 {
        return Err(Refusal::TooLarge);
    }
    let collecting = timeout(deadline, Limited::new(body, max).collect());
    let collected = match collecting.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
        _ => return Err(Refusal::BadRequest),
    };
    String::from_utf8(collected.into()).map_err(|_| Refusal::BadRequest)
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Concurrent => Self::BadRequest,
            Violation::Ended => Self::UnknownSession,
        }
    }
}

fn payload(packets: String) -> Response<Body> {
    let mut response = Response::new(packets.into());
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
