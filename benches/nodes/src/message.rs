//! What is sent, acknowledged and received, as text.

use std::time::Duration;

use anyhow::{Context, Result};

/// The length of each message that is sent, in bytes.
pub const LEN: usize = 128;

/// A message of a sender: `ROOM SENDER NUMBER NANOS`, and points up to [`LEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    pub room: &'a str,
    pub sender: usize,
    /// The number of the message among those of its sender; the first is 1.
    pub number: u64,
    /// When it was to be sent, since the begin of the case.
    pub due: Duration,
}

impl<'a> Sent<'a> {
    pub fn to_text(self) -> String {
        let Self { room, sender, number, due } = self;
        let mut text = format!("{room} {sender} {number} {} ", due.as_nanos());
        let padding = LEN.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('.', padding));
        text
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let (room, sender, number) =
            (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { room, sender, number, due: Duration::from_nanos(words.next()?.parse().ok()?) })
    }
}

/// Returns the room that a message is for.
pub fn room_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

/// A message as a member receives it: its offset in the room, and what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    pub offset: u64,
    pub sent: Sent<'a>,
}

impl<'a> Received<'a> {
    /// Returns the text for members.
    pub fn encode(offset: u64, sent: &str) -> String {
        format!("{offset} {sent}")
    }

    /// # Errors
    /// Fails for a text in another form.
    pub fn parse(text: &'a str) -> Result<Self> {
        let parse = || {
            let (offset, sent) = text.split_once(' ')?;
            Some(Self { offset: offset.parse().ok()?, sent: Sent::parse(sent)? })
        };
        parse().with_context(|| format!("not a message of a sender: {text}"))
    }
}

/// Returns the room of a number.
pub fn room(number: usize) -> String {
    format!("r{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent<'static> = Sent { room: "r7", sender: 3, number: 12, due: Duration::from_nanos(99) };

    #[test]
    fn a_message_is_parsed_as_it_was_encoded() {
        let text = SENT.to_text();
        assert_eq!((text.len(), room_of(&text)), (LEN, "r7"));
        let received = Received::encode(5, &text);
        assert_eq!(Received::parse(&received).expect("the same form"), Received { offset: 5, sent: SENT });
    }

    #[test]
    fn another_text_is_refused() {
        for text in ["", "5", "x r7 3 12 99 .", "5 r7 3 12", "5 r7 3 x 99 ."] {
            assert!(Received::parse(text).is_err(), "{text}");
        }
    }
}
