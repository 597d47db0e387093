//! What the client prints: messages to standard output, everything else to standard error, or all of
//! it to standard output as JSON.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fullduplex::{CloseFrame, Message};
use serde_json::{Value, json};

use crate::args::Args;

/// Dim, and back to the default.
const DIM: (&str, &str) = ("\x1b[2m", "\x1b[0m");

#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    timestamps: bool,
}

impl Output {
    pub(crate) fn new(args: &Args) -> Self {
        Self { json: args.json, timestamps: args.timestamps }
    }

    /// Prints a message.
    pub(crate) fn message(self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.event(match message.as_text() {
                Some(text) => json!({ "type": "text", "text": text }),
                None => json!({ "type": "binary", "base64": STANDARD.encode(message.as_bytes()) }),
            });
        }
        let mut stdout = io::stdout().lock();
        if self.timestamps {
            write!(stdout, "{} ", time_of_day())?;
        }
        stdout.write_all(&printable(message.as_bytes(), stdout.is_terminal()))?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }

    pub(crate) fn connected(self, subprotocol: &str, extensions: &str) -> io::Result<()> {
        if self.json {
            return self
                .event(json!({ "type": "connected", "subprotocol": subprotocol, "extensions": extensions }));
        }
        let agreed = [("subprotocol", subprotocol), ("extensions", extensions)];
        let agreed = agreed.iter().filter(|(_, value)| !value.is_empty());
        self.note(&format!(
            "connected{}",
            agreed.map(|(name, value)| format!(", {name} {value}")).collect::<String>()
        ));
        Ok(())
    }

    /// Prints a Close of the server.
    pub(crate) fn closed(self, frame: Option<&CloseFrame>) -> io::Result<()> {
        let name = frame.and_then(|frame| frame.code().name());
        if self.json {
            let (code, reason) = (frame.map(|frame| frame.code().get()), frame.map(CloseFrame::reason));
            return self.event(json!({ "type": "closed", "code": code, "name": name, "reason": reason }));
        }
        let Some(frame) = frame else {
            self.note("closed without a code");
            return Ok(());
        };
        // The reason is escaped.
        let text = frame.to_string();
        let (code, reason) = text.split_once(' ').unwrap_or((&text, ""));
        let parts = ["closed:", code, name.unwrap_or_default(), reason];
        self.note(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "));
        Ok(())
    }

    pub(crate) fn round_trip(self, time: Duration) -> io::Result<()> {
        if self.json {
            return self.event(json!({ "type": "pong", "seconds": time.as_secs_f64() }));
        }
        self.note(&format!("pong after {:.1} ms", time.as_secs_f64() * 1e3));
        Ok(())
    }

    /// Prints the state of a client that connects again.
    #[cfg(feature = "reconnect")]
    pub(crate) fn state(self, state: &str) -> io::Result<()> {
        if self.json {
            return self.event(json!({ "type": "state", "state": state }));
        }
        self.note(state);
        Ok(())
    }

    /// Prints to standard error a text that may contain input from the server.
    pub(crate) fn note(self, what: &str) {
        let terminal = io::stderr().is_terminal();
        let what = printable(what.as_bytes(), terminal);
        let what = String::from_utf8_lossy(&what);
        let time = if self.timestamps { time_of_day() + " " } else { String::new() };
        // https://no-color.org
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (begin, end) = if colour { DIM } else { ("", "") };
        eprintln!("{begin}{time}{what}{end}");
    }

    fn event(self, mut event: Value) -> io::Result<()> {
        if self.timestamps {
            event["time"] = json!(since_1970().as_secs_f64());
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{event}")?;
        stdout.flush()
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the time of the day in UTC.
fn time_of_day() -> String {
    let now = since_1970();
    let seconds = now.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, now.subsec_millis())
}

/// Escapes control characters for a terminal, which could interpret them. Other outputs receive the
/// bytes unchanged.
fn printable(bytes: &[u8], for_terminal: bool) -> Cow<'_, [u8]> {
    if !for_terminal {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' | '\t' => shown.push(char),
                char if char.is_control() => shown.extend(char.escape_default()),
                char => shown.push(char),
            }
        }
        shown.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    Cow::Owned(shown.into_bytes())
}
