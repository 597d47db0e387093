//! Packets of Socket.IO, without their data.

use fullduplex::Utf8Bytes;

use super::limits::Limits;

/// The main namespace.
pub(crate) const MAIN: &str = "/";

/// The largest number that JavaScript represents exactly.
const MAX_ID: u64 = (1 << 53) - 1;

/// The type of a packet of Socket.IO 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A client connects to a namespace, or the server accepts that.
    Connect,
    /// One end leaves a namespace.
    Disconnect,
    /// An event, with or without binary data.
    Event,
    /// The answer to an event, with or without binary data.
    Ack,
    /// The server refuses a client.
    ConnectError,
}

/// A packet of Socket.IO, whose data is not parsed.
///
/// ```
/// use socketio::{Limits, packet::{Kind, Packet}};
///
/// let packet = Packet::parse(r#"452-/chat,7["image",{}]"#.into(), 1, &Limits::new())?;
/// assert_eq!((packet.kind(), packet.attachments(), packet.namespace()), (Kind::Event, 2, "/chat"));
/// assert_eq!((packet.id(), packet.data()), (Some(7), r#"["image",{}]"#));
/// # Ok::<(), socketio::packet::InvalidPacket>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    text: Utf8Bytes,
    kind: Kind,
    attachments: usize,
    /// Where the namespace begins and ends; empty for the main one.
    namespace: (usize, usize),
    id: Option<u64>,
    /// Where the data begins.
    data: usize,
}

/// Text that is not a packet of Socket.IO, or one beyond a limit. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPacket {
    /// There is no digit from 0 to 6 at the beginning.
    #[error("an unknown type of packet")]
    UnknownType,
    /// The number of attachments is missing, or not written as a number.
    #[error("the number of attachments is not valid")]
    Attachments,
    /// There are more attachments than [`Limits::max_attachments`].
    #[error("too many attachments")]
    TooManyAttachments,
    /// The name of the namespace is longer than [`Limits::max_namespace_len`].
    #[error("the name of the namespace is too long")]
    NamespaceTooLong,
    /// The id is not a number that JavaScript represents, or there is one in a packet that has none,
    /// or none in one that needs one.
    #[error("the id is not valid")]
    Id,
    /// The data is missing, or not what the type of the packet demands.
    #[error("the data is not valid")]
    Data,
    /// A placeholder of binary data has no attachment.
    #[error("a placeholder without an attachment")]
    Placeholder,
    /// The attachments of an event are larger than [`Limits::max_event_size`].
    #[error("the attachments are too large")]
    TooLarge,
    /// Binary data that no packet has announced, or text in place of binary data.
    #[error("binary data out of order")]
    OutOfOrder,
}

impl Packet {
    /// Parses a packet that begins at an index of the text, which is 1 behind the digit of Engine.IO.
    ///
    /// The data is everything behind the id. It is not examined, except that packets which need data
    /// have some, and those which have none do not.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    ///
    /// # Panics
    /// Panics if the index is not at a character of the text.
    pub fn parse(text: Utf8Bytes, at: usize, limits: &Limits) -> Result<Self, InvalidPacket> {
        let mut rest = Rest { text: &text, at };
        let (kind, is_binary) = rest.kind()?;
        let attachments = if is_binary { rest.attachments(limits)? } else { 0 };
        let namespace = rest.namespace(limits)?;
        let id = rest.id()?;
        let (data, has_data) = (rest.at, !rest.rest().is_empty());
        let packet = Self { kind, attachments, namespace, id, data, text };
        let id_is_valid = match kind {
            Kind::Event => true,
            Kind::Ack => id.is_some(),
            Kind::Connect | Kind::Disconnect | Kind::ConnectError => id.is_none(),
        };
        let data_is_valid = match kind {
            Kind::Event | Kind::Ack => has_data,
            Kind::Disconnect => !has_data,
            Kind::Connect | Kind::ConnectError => true,
        };
        match (id_is_valid, data_is_valid) {
            (true, true) => Ok(packet),
            (false, _) => Err(InvalidPacket::Id),
            (true, false) => Err(InvalidPacket::Data),
        }
    }

    /// Returns the same packet without the buffer in which it arrived.
    pub(crate) fn detached(&self) -> Self {
        Self { text: self.text.as_str().into(), ..self.clone() }
    }

    /// Returns the type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the number of messages with binary data that follow.
    pub fn attachments(&self) -> usize {
        self.attachments
    }

    /// Returns the name of the namespace, which begins with a slash.
    pub fn namespace(&self) -> &str {
        match self.namespace {
            (from, to) if from < to => &self.text[from..to],
            _ => MAIN,
        }
    }

    /// Returns the id of an event that is to be acknowledged, or of an answer.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Returns the data, which is JSON if the packet is valid, or empty.
    pub fn data(&self) -> &str {
        &self.text[self.data..]
    }
}

/// Redacts data: prints only its length.
impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("kind", &self.kind)
            .field("attachments", &self.attachments)
            .field("namespace", &self.namespace())
            .field("id", &self.id)
            .field("data", &format_args!("{} bytes", self.data().len()))
            .finish()
    }
}

/// What is not parsed yet.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes the type, and whether it is one with binary data.
    fn kind(&mut self) -> Result<(Kind, bool), InvalidPacket> {
        let kind = match self.rest().bytes().next() {
            Some(b'0') => (Kind::Connect, false),
            Some(b'1') => (Kind::Disconnect, false),
            Some(b'2') => (Kind::Event, false),
            Some(b'3') => (Kind::Ack, false),
            Some(b'4') => (Kind::ConnectError, false),
            Some(b'5') => (Kind::Event, true),
            Some(b'6') => (Kind::Ack, true),
            _ => return Err(InvalidPacket::UnknownType),
        };
        self.at += 1;
        Ok(kind)
    }

    fn attachments(&mut self, limits: &Limits) -> Result<usize, InvalidPacket> {
        let digits = self.digits();
        if !self.rest().starts_with('-') {
            return Err(InvalidPacket::Attachments);
        }
        self.at += 1;
        // A number that is too long for any type is too large.
        let count = number(digits).ok_or(InvalidPacket::Attachments)?;
        let count = usize::try_from(count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        if count > limits.max_attachments { Err(InvalidPacket::TooManyAttachments) } else { Ok(count) }
    }

    /// Takes the namespace, which ends at a comma or at the end of the packet.
    fn namespace(&mut self, limits: &Limits) -> Result<(usize, usize), InvalidPacket> {
        let from = self.at;
        if !self.rest().starts_with('/') {
            return Ok((from, from));
        }
        let len = self.rest().find(',');
        let to = len.map_or(self.text.len(), |len| from + len);
        self.at = len.map_or(to, |_| to + 1);
        if to - from > limits.max_namespace_len {
            return Err(InvalidPacket::NamespaceTooLong);
        }
        Ok((from, to))
    }

    fn id(&mut self) -> Result<Option<u64>, InvalidPacket> {
        match self.digits() {
            "" => Ok(None),
            digits => match number(digits) {
                Some(Some(id)) if id <= MAX_ID => Ok(Some(id)),
                _ => Err(InvalidPacket::Id),
            },
        }
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += len;
        &rest[..len]
    }
}

/// Parses digits: `None` if they are not written as a number, and `Some(None)` if it is too large.
fn number(digits: &str) -> Option<Option<u64>> {
    let is_canonical = digits == "0" || (!digits.is_empty() && !digits.starts_with('0'));
    is_canonical.then(|| digits.parse().ok())
}

/// Writes the beginning of a packet for a client, up to its data, with the digit of Engine.IO.
pub(crate) fn put_head(text: &mut Vec<u8>, kind: Kind, attachments: usize, namespace: &str, id: Option<u64>) {
    let digit = match (kind, attachments) {
        (Kind::Connect, _) => b'0',
        (Kind::Disconnect, _) => b'1',
        (Kind::Event, 0) => b'2',
        (Kind::Ack, 0) => b'3',
        (Kind::ConnectError, _) => b'4',
        (Kind::Event, _) => b'5',
        (Kind::Ack, _) => b'6',
    };
    text.extend([b'4', digit]);
    if attachments > 0 {
        put_number(text, attachments as u64);
        text.push(b'-');
    }
    if namespace != MAIN {
        text.extend(namespace.as_bytes());
        text.push(b',');
    }
    if let Some(id) = id {
        put_number(text, id);
    }
}

fn put_number(text: &mut Vec<u8>, number: u64) {
    text.extend(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Packet, InvalidPacket> {
        Packet::parse(text.into(), 0, &Limits::new())
    }

    #[test]
    fn the_parts_of_packets_are_found() {
        use Kind::*;
        for (text, kind, attachments, namespace, id, data) in [
            ("0", Connect, 0, "/", None, ""),
            (r#"0{"token":"1"}"#, Connect, 0, "/", None, r#"{"token":"1"}"#),
            ("0/admin,", Connect, 0, "/admin", None, ""),
            ("0/admin", Connect, 0, "/admin", None, ""),
            ("0/,{}", Connect, 0, "/", None, "{}"),
            (r#"0/admin,{"a":1}"#, Connect, 0, "/admin", None, r#"{"a":1}"#),
            ("1", Disconnect, 0, "/", None, ""),
            ("1/admin,", Disconnect, 0, "/admin", None, ""),
            (r#"2["foo"]"#, Event, 0, "/", None, r#"["foo"]"#),
            (r#"212["foo"]"#, Event, 0, "/", Some(12), r#"["foo"]"#),
            (r#"2/admin,["/,1"]"#, Event, 0, "/admin", None, r#"["/,1"]"#),
            (r#"2/a?b=1-2,0["x"]"#, Event, 0, "/a?b=1-2", Some(0), r#"["x"]"#),
            ("3/admin,13[]", Ack, 0, "/admin", Some(13), "[]"),
            (r#"50-["foo"]"#, Event, 0, "/", None, r#"["foo"]"#),
            (r#"52-/admin,["a"]"#, Event, 2, "/admin", None, r#"["a"]"#),
            (r#"61-15["bar"]"#, Ack, 1, "/", Some(15), r#"["bar"]"#),
            (r#"4{"message":"no"}"#, ConnectError, 0, "/", None, r#"{"message":"no"}"#),
        ] {
            let packet = parse(text).expect(text);
            assert_eq!((packet.kind(), packet.attachments()), (kind, attachments), "{text}");
            assert_eq!((packet.namespace(), packet.id(), packet.data()), (namespace, id, data), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        use InvalidPacket::*;
        let long = format!("0/{}", "n".repeat(256));
        for (text, error) in [
            ("", UnknownType),
            ("7", UnknownType),
            ("abc", UnknownType),
            ("é", UnknownType),
            ("5", Attachments),
            (r#"5["a"]"#, Attachments),
            (r#"5-["a"]"#, Attachments),
            (r#"501-["a"]"#, Attachments),
            (r#"5+1-["a"]"#, Attachments),
            (r#"5 1-["a"]"#, Attachments),
            (r#"51/a,["a"]"#, Attachments),
            (r#"51.5-["a"]"#, Attachments),
            (r#"511-["a"]"#, TooManyAttachments),
            (r#"599999999999999999999999-["a"]"#, TooManyAttachments),
            (&long, NamespaceTooLong),
            (r#"201["a"]"#, Id),
            (r#"29007199254740992["a"]"#, Id),
            (r#"299999999999999999999["a"]"#, Id),
            ("3[]", Id),
            ("61-[]", Id),
            ("01", Id),
            ("0/a,1{}", Id),
            ("11", Id),
            ("2", Data),
            ("2/admin", Data),
            ("212", Data),
            ("51-", Data),
            ("312", Data),
            ("1{}", Data),
            ("1/a,{}", Data),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_largest_values_are_accepted() {
        assert_eq!(parse(r#"29007199254740991["a"]"#).map(|packet| packet.id()), Ok(Some(MAX_ID)));
        assert_eq!(parse(r#"510-["a"]"#).map(|packet| packet.attachments()), Ok(10));
        assert!(parse(&format!("0/{}", "n".repeat(255))).is_ok());
    }

    #[test]
    fn data_is_not_printed() {
        let printed = format!("{:?}", parse(r#"2/a,1["secret"]"#).expect("valid"));
        assert!(printed.contains("Event") && !printed.contains("secret"), "{printed}");
    }

    proptest! {
        #[test]
        fn a_packet_is_parsed_as_it_was_written(
            kind in prop_oneof![Just(Kind::Event), Just(Kind::Ack)],
            attachments in 0..=10_usize,
            namespace in prop_oneof![Just("/".to_owned()), "/[^,]{1,20}"],
            id in 0..=MAX_ID,
            data in r"\[.{0,20}",
        ) {
            let mut text = Vec::new();
            put_head(&mut text, kind, attachments, &namespace, Some(id));
            text.extend(data.as_bytes());
            let text = String::from_utf8(text).expect("text");
            let packet = Packet::parse(text.into(), 1, &Limits::new()).expect("valid");
            prop_assert_eq!((packet.kind(), packet.attachments()), (kind, attachments));
            prop_assert_eq!((packet.namespace(), packet.id()), (&*namespace, Some(id)));
            prop_assert_eq!(packet.data(), data);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-7][-0-9/,a\\[\\]{}\"]{0,20}|.{0,20}") {
            if let Ok(packet) = parse(&text) {
                prop_assert!(packet.namespace().starts_with('/'));
                prop_assert!(text.ends_with(packet.data()));
            }
        }
    }
}
