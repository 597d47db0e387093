//! Several messages that are sent as one unit.

use std::{fmt, iter, sync::Arc};

use super::payload::Message;

/// One message, or several of which each follows the one before directly.
///
/// Whatever else is sent over the connection, no other message comes between them; pings and pongs may.
/// A sequence is queued as a whole or not at all, and needs room for all of its messages.
///
/// It is sent as a [`PreparedMessage`](crate::PreparedMessage), by any call that accepts one.
///
/// ```
/// use fullduplex::{Error, Message, PreparedMessage, Sender, Sequence};
///
/// async fn announce(picture: Message, senders: &[Sender]) -> Result<(), Error> {
///     let sequence = Sequence::new("a picture follows", [picture]);
///     let prepared = PreparedMessage::new(sequence);
///     for sender in senders {
///         sender.send(&prepared).await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Sequence {
    first: Message,
    /// Shared, because a history and those who read it have clones. `None` if there are no others.
    rest: Option<Arc<Vec<Message>>>,
}

impl Sequence {
    /// Creates a sequence of a message and those that follow it.
    pub fn new(first: impl Into<Message>, rest: impl IntoIterator<Item = Message>) -> Self {
        let rest: Vec<Message> = rest.into_iter().collect();
        Self { first: first.into(), rest: (!rest.is_empty()).then(|| Arc::new(rest)) }
    }

    /// Returns the first message.
    pub fn first(&self) -> &Message {
        &self.first
    }

    /// Returns the messages that follow the first one.
    pub fn rest(&self) -> &[Message] {
        self.rest.as_ref().map_or(&[], |rest| rest)
    }

    /// Returns all messages.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        iter::once(&self.first).chain(self.rest())
    }

    /// Converts into the first message; the others are dropped.
    pub fn into_first(self) -> Message {
        self.first
    }
}

/// Redacted: prints only the kinds and the lengths.
impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A sequence of one message.
impl<M: Into<Message>> From<M> for Sequence {
    fn from(message: M) -> Self {
        Self { first: message.into(), rest: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_of_one_message_is_that_message() {
        let one = Sequence::new("a", []);
        assert_eq!((one.clone(), one.rest().len()), (Sequence::from("a"), 0));
        let two = Sequence::new("a", [Message::binary("b")]);
        assert_eq!(two.iter().map(Message::len).sum::<usize>(), 2);
        assert_ne!(one, two);
        assert_eq!(two.into_first(), Message::from("a"));
    }
}
