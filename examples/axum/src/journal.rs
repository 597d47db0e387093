//! A journal: each message is acknowledged once it is written to a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::State, http::StatusCode, http::Version, response::IntoResponse, response::Response};
use fullduplex::{
    Error, Message,
    axum::{WebSocket, WebSocketUpgrade},
    serve::Shutdown,
};

use crate::{pages::Upgrades, report};

/// The file; `None` without `--journal`.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Mutex<File>>>);

impl Journal {
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self(file.map(|file| Arc::new(Mutex::new(file)))))
    }
}

pub async fn route(
    State(journal): State<Journal>,
    State(shutdown): State<Shutdown>,
    State(upgrades): State<Upgrades>,
    version: Version,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(file) = journal.0 else {
        return (StatusCode::NOT_FOUND, "no --journal\n").into_response();
    };
    upgrades.count(version);
    upgrade.on_upgrade(async move |ws| report(keep(ws, file, &shutdown).await))
}

async fn keep(ws: WebSocket, file: Arc<Mutex<File>>, shutdown: &Shutdown) -> Result<(), Error> {
    let mut ws = shutdown.guard().attach(ws);
    while let Some(message) = ws.recv().await? {
        let Message::Text(line) = message else { continue };
        // A line that is short enough to be written without delay.
        writeln!(file.lock().unwrap_or_else(PoisonError::into_inner), "{}", line.escape_debug())?;
        match ws.feed(format!("kept {line}")).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
