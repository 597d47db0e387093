//! A number that all connections share: any message adds one, and all see the result.

use std::sync::Arc;

use axum::{extract::State, http::Version, response::Response};
use fullduplex::{
    Error,
    axum::{WebSocket, WebSocketUpgrade},
    serve::Shutdown,
};
use tokio::sync::watch;

use crate::{pages::Upgrades, report};

#[derive(Debug, Clone)]
pub struct Counter(Arc<watch::Sender<u64>>);

impl Counter {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

pub async fn route(
    State(counter): State<Counter>,
    State(shutdown): State<Shutdown>,
    State(upgrades): State<Upgrades>,
    version: Version,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrades.count(version);
    upgrade.on_upgrade(async move |ws| report(count(ws, &counter, &shutdown).await))
}

async fn count(ws: WebSocket, counter: &Counter, shutdown: &Shutdown) -> Result<(), Error> {
    let mut ws = shutdown.guard().attach(ws);
    let mut numbers = counter.0.subscribe();
    numbers.mark_changed();
    loop {
        tokio::select! {
            received = ws.recv() => match received? {
                Some(_) => counter.0.send_modify(|number| *number += 1),
                None => return Ok(()),
            },
            // A slow client gets the last number only.
            Ok(()) = numbers.changed() => {
                let number = numbers.borrow_and_update().to_string();
                match ws.send(number).await {
                    Ok(()) | Err(Error::Closed) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
