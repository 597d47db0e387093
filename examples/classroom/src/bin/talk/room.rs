//! The messages of the room, each once and in order, over several connections.

use std::{
    io, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fullduplex::calls::{CallError, Peer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::output::Output;

/// A message of the room.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    offset: u64,
    from: Sender,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Sender {
    name: String,
}

/// What the server says if messages are lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Lost {
    epoch: String,
    offset: u64,
}

/// The last message that was printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Since {
    epoch: String,
    offset: u64,
}

#[derive(Debug, Deserialize)]
struct Joined {
    history: History,
}

#[derive(Debug, Deserialize)]
struct History {
    epoch: String,
    offset: u64,
    messages: Vec<Message>,
    more: bool,
    lost: bool,
    direction: Option<Direction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Before,
    After,
}

/// What was received of a room.
#[derive(Debug, Default)]
pub(crate) struct Room(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    since: Option<Since>,
    /// What is received while the history before it is read.
    ahead: Option<Vec<Message>>,
}

impl Room {
    /// Joins the room, and reads what was missed. Called on each new connection.
    pub(crate) async fn join(&self, peer: &Peer, role: &'static str) -> Result<(), CallError> {
        let since = {
            let mut received = self.lock();
            received.ahead = Some(Vec::new());
            received.since.clone()
        };
        let joined: Joined = peer.call(&format!("{role}:join"), &json!({ "since": since })).await?;
        let mut history = joined.history;
        // Only in this direction: a client that is new to the room begins with the latest.
        let mut more = history.more && history.direction == Some(Direction::After);
        self.lock().take_page(history);
        while more {
            let after = self.lock().offset();
            history = peer.call("chat:history", &json!({ "after": after })).await?;
            more = history.more;
            self.lock().take_page(history);
        }
        self.lock().take_ahead();
        Ok(())
    }

    /// Takes a message that was just sent.
    pub(crate) fn received(&self, message: Message) {
        let mut received = self.lock();
        match &mut received.ahead {
            Some(ahead) => ahead.push(message),
            None => received.take(&message),
        }
    }

    /// Continues after messages that are lost.
    pub(crate) fn lost(&self, lost: &Lost) {
        printed(Output::lost(lost.offset));
        self.lock().since = Some(Since { epoch: lost.epoch.clone(), offset: lost.offset });
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    fn offset(&self) -> u64 {
        self.since.as_ref().map_or(0, |since| since.offset)
    }

    /// Takes a page of the history, which follows what was taken before.
    fn take_page(&mut self, page: History) {
        // A client that is new to the room has not lost what was sent before.
        if page.lost && self.since.is_some() {
            let first = page.messages.first();
            printed(Output::lost(first.map_or(page.offset, |first| first.offset.saturating_sub(1))));
        }
        if self.since.as_ref().is_none_or(|since| since.epoch != page.epoch) {
            self.since = Some(Since { epoch: page.epoch, offset: 0 });
        }
        page.messages.iter().for_each(|message| self.take(message));
        // Messages for others have offsets, too.
        if let Some(since) = &mut self.since
            && !page.more
        {
            since.offset = since.offset.max(page.offset);
        }
    }

    /// Takes what was received while the history was read.
    fn take_ahead(&mut self) {
        let ahead = mem::take(&mut self.ahead).unwrap_or_default();
        ahead.iter().for_each(|message| self.take(message));
    }

    /// Prints a message, unless a page of the history had it.
    fn take(&mut self, message: &Message) {
        let Some(since) = &mut self.since else { return };
        if message.offset > since.offset {
            since.offset = message.offset;
            printed(Output::message(message.offset, &message.from.name, &message.text));
        }
    }
}

/// Ends the program if nobody reads what it prints.
fn printed(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("talk: cannot print: {error}");
        std::process::exit(1);
    }
}
