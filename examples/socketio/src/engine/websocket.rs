//! WebSocket connections: of new sessions, and of upgrades.

use std::sync::Arc;

use axum::{body::Body, http::Response};
use fullduplex::{
    CloseCode, Error, Message,
    axum::{WebSocket, WebSocketUpgrade},
};
use tokio::time::timeout;

use super::{
    Engine,
    connection::Wire,
    handshake::open_packet,
    packet::Packet,
    polling::{Polling, ProbeTurn, Upgraded, Violation},
    query::Transport,
    refusal::Refusal,
    sessions::Place,
    sid::Sid,
};

/// Opens a session that begins with a WebSocket connection.
pub(super) fn open(engine: &Engine, upgrade: WebSocketUpgrade, place: Place) -> Response<Body> {
    let settings = engine.settings();
    let config = settings.config().deflate(settings.deflate);
    let engine = engine.clone();
    // The origin has been checked, by the rule that both transports share.
    upgrade.any_origin().config(config).on_upgrade(async move |mut ws: WebSocket| {
        let open = open_packet(place.sid(), Transport::WebSocket, engine.settings());
        // Sent before the session runs, so that nothing precedes it.
        if ws.feed(open).await.is_err() {
            return;
        }
        let (receiver, sender) = ws.split();
        let serving = engine.serve(Wire::WebSocket(receiver), sender, place);
        // The task keeps nothing but the session.
        drop(engine);
        serving.await;
    })
}

/// Opens a WebSocket connection with which a session that polls may continue.
pub(super) fn probe(
    engine: &Engine,
    upgrade: WebSocketUpgrade,
    sid: Sid,
    polling: &Arc<Polling>,
) -> Result<Response<Body>, Refusal> {
    let settings = engine.settings();
    if !settings.upgrades {
        return Err(Refusal::BadRequest);
    }
    let turn = match polling.begin_probe() {
        Ok(turn) => turn,
        Err(Violation::Concurrent) => return Ok(close(upgrade)),
        Err(Violation::Ended) => return Err(Refusal::UnknownSession),
    };
    let engine = engine.clone();
    let config = settings.config();
    Ok(upgrade.any_origin().config(config).on_upgrade(async move |ws| {
        let deadline = engine.settings().upgrade_timeout;
        // Without a result, the connection is dropped, and the session continues to poll.
        let mut is_complete = false;
        if let Ok(Ok(Some(ws))) = timeout(deadline, probed(ws, &turn)).await {
            let parts = ws.into_inner();
            is_complete = turn.complete(Upgraded { io: parts.io, unread: parts.unread });
        }
        match (is_complete, engine.sessions().metrics()) {
            (true, _) => engine.sessions().upgraded(sid),
            (false, Some(metrics)) => metrics.failed_to_upgrade(),
            (false, None) => {}
        }
    }))
}

/// Opens a WebSocket connection and closes it: its session has one already. The session continues.
pub(super) fn close(upgrade: WebSocketUpgrade) -> Response<Body> {
    upgrade.any_origin().on_upgrade(async |mut ws: WebSocket| {
        // What becomes of it concerns nobody.
        let _ = ws.close(CloseCode::POLICY_VIOLATION, "the session has a connection").await;
    })
}

/// Answers the probe of a client, and waits until it has stopped polling. Returns `None` if it does
/// something else.
async fn probed(mut ws: WebSocket, turn: &ProbeTurn) -> Result<Option<WebSocket>, Error> {
    match ws.recv().await? {
        Some(Message::Text(text)) if Packet::parse(&text) == Ok(Packet::Ping("probe")) => {}
        _ => return Ok(None),
    }
    turn.probed();
    ws.send("3probe").await?;
    match ws.recv().await? {
        Some(Message::Text(text)) if Packet::parse(&text) == Ok(Packet::Upgrade) => Ok(Some(ws)),
        _ => Ok(None),
    }
}
