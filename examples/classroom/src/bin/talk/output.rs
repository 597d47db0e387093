//! What the program prints: events to the standard output, and the state to the standard error.

use std::io::{self, Write};

use fullduplex::reconnect::{Reason, State};
use serde_json::{Value, json};

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server was not reached any more, or refuses.
    #[error("{0:#}")]
    Ended(Reason),
    #[error("cannot close: {0}")]
    Closing(fullduplex::Error),
    #[error("malformed answer: {0}")]
    Answer(fullduplex::calls::CallError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The standard output.
pub(crate) struct Output;

impl Output {
    /// Prints that a line is stored.
    pub(crate) fn stored(line: u64, offset: u64, duplicate: bool) -> io::Result<()> {
        print(&json!({"stored": line, "offset": offset, "duplicate": duplicate}))
    }

    /// Prints that a line is not stored, and will not be.
    pub(crate) fn refused(line: u64, error: &str) -> io::Result<()> {
        print(&json!({"refused": line, "error": error}))
    }

    /// Prints a message of the room.
    pub(crate) fn message(offset: u64, from: &str, text: &str) -> io::Result<()> {
        print(&json!({"offset": offset, "from": from, "text": text}))
    }

    /// Prints that messages up to an offset are lost.
    pub(crate) fn lost(offset: u64) -> io::Result<()> {
        print(&json!({"lost": offset}))
    }

    /// Prints a state of the connection.
    pub(crate) fn state(state: &State) {
        match state {
            State::Open => eprintln!("connected"),
            State::Waiting { why, .. } => eprintln!("{why:#}"),
            _ => {}
        }
    }
}

fn print(event: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{event}")?;
    stdout.flush()
}
