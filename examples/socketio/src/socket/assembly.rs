//! Packets together with their attachments.

use std::fmt;

use bytes::Bytes;

use super::{
    check,
    limits::Limits,
    packet::{InvalidPacket, Kind, Packet},
};
use crate::engine::Received;

/// A packet whose attachments have all arrived, and whose data is valid for its type.
#[derive(Clone, PartialEq, Eq)]
pub struct Whole {
    pub(crate) packet: Packet,
    pub(crate) attachments: Vec<Bytes>,
}

impl Whole {
    /// Returns the packet.
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Returns the attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }
}

/// Redacts data: prints only the lengths.
impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lens: Vec<usize> = self.attachments.iter().map(Bytes::len).collect();
        f.debug_struct("Whole").field("packet", &self.packet).field("attachments", &lens).finish()
    }
}

/// Assembles packets from messages of Engine.IO.
///
/// A packet with attachments is one message of text, and then as many messages of binary data as it
/// announces, without anything between them.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    /// A packet that lacks attachments.
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Clone)]
struct Partial {
    whole: Whole,
    /// The number of bytes that have arrived.
    size: usize,
}

impl Assembly {
    /// Creates an assembly to which nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message. Returns the packet that it completes.
    ///
    /// # Errors
    /// Returns what is not valid. Nothing can be added after that.
    pub fn receive(&mut self, received: Received, limits: &Limits) -> Result<Option<Whole>, InvalidPacket> {
        match (received, self.partial.take()) {
            (Received::Text(text), None) => {
                let packet = Packet::parse(text.into_packet(), 1, limits)?;
                self.begin(Whole { packet, attachments: Vec::new() })
            }
            (Received::Binary(data), Some(partial)) => self.add(partial, data, limits),
            (Received::Text(_), Some(_)) | (Received::Binary(_), None) => Err(InvalidPacket::OutOfOrder),
        }
    }

    fn begin(&mut self, whole: Whole) -> Result<Option<Whole>, InvalidPacket> {
        // Checked now, so that an invalid packet collects no attachments.
        check(&whole.packet)?;
        if whole.packet.attachments() == 0 {
            return Ok(Some(whole));
        }
        let size = whole.packet.data().len();
        self.partial = Some(Box::new(Partial { whole, size }));
        Ok(None)
    }

    fn add(
        &mut self,
        mut partial: Box<Partial>,
        data: Bytes,
        limits: &Limits,
    ) -> Result<Option<Whole>, InvalidPacket> {
        partial.size = partial.size.saturating_add(data.len());
        if partial.size > limits.max_event_size {
            return Err(InvalidPacket::TooLarge);
        }
        // Grows with what has arrived, not with what was announced.
        partial.whole.attachments.push(data);
        if partial.whole.attachments.len() == partial.whole.packet.attachments() {
            return Ok(Some(partial.whole));
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

/// Checks the data of a packet.
fn check(packet: &Packet) -> Result<(), InvalidPacket> {
    match packet.kind() {
        Kind::Event => check::check_event(packet.data())?,
        Kind::Ack => check::check_array(packet.data())?,
        Kind::Connect if packet.data().is_empty() => {}
        Kind::Connect => check::check_object(packet.data())?,
        // Nothing of a Disconnect is left to check, and nobody reads a ConnectError: clients send none.
        Kind::Disconnect | Kind::ConnectError => {}
    }
    match packet.attachments() {
        0 => Ok(()),
        attachments => check::check_placeholders(packet.data(), attachments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Text;

    fn text(text: &str) -> Received {
        Received::Text(Text::new(&format!("4{text}")))
    }

    fn binary(data: &[u8]) -> Received {
        Received::Binary(Bytes::copy_from_slice(data))
    }

    fn assemble(messages: impl IntoIterator<Item = Received>) -> Result<Vec<Whole>, InvalidPacket> {
        let (mut assembly, limits) = (Assembly::new(), Limits::new().max_event_size(100));
        let received = messages.into_iter().map(|message| assembly.receive(message, &limits));
        received.filter_map(Result::transpose).collect()
    }

    #[test]
    fn attachments_follow_their_packet() {
        let two = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        let wholes = assemble([text(r#"2["first"]"#), text(two), binary(b"xy"), binary(b""), text("1")]);
        let wholes = wholes.expect("valid");
        assert_eq!(wholes.iter().map(|whole| whole.attachments.len()).collect::<Vec<_>>(), [0, 2, 0]);
        assert_eq!(wholes[1].attachments, [&b"xy"[..], b""]);
    }

    #[test]
    fn announced_attachments_reserve_no_memory() {
        let mut assembly = Assembly::new();
        let announced = text(r#"510-["a",{"_placeholder":true,"num":9}]"#);
        assert_eq!(assembly.receive(announced, &Limits::new()), Ok(None));
        let partial = assembly.partial.expect("a part");
        assert_eq!(partial.whole.attachments.capacity(), 0);
    }

    #[test]
    fn messages_out_of_order_are_refused() {
        let one = r#"51-["a",{"_placeholder":true,"num":0}]"#;
        let out_of_order = Err(InvalidPacket::OutOfOrder);
        assert_eq!(assemble([binary(b"x")]), out_of_order);
        assert_eq!(assemble([text(one), text(r#"2["b"]"#)]), out_of_order);
        assert_eq!(assemble([text(one), text(one)]), out_of_order);
        assert_eq!(assemble([text(one), binary(b"x"), binary(b"x")]), out_of_order);
        assert_eq!(assemble([text(r#"50-["a"]"#), binary(b"x")]), out_of_order);
    }

    #[test]
    fn attachments_are_limited_in_number_and_size() {
        let one = r#"51-["a",{"_placeholder":true,"num":0}]"#;
        let len = one.len() - 3;
        assert!(assemble([text(one), binary(&vec![0; 100 - len])]).is_ok());
        assert_eq!(assemble([text(one), binary(&vec![0; 101 - len])]), Err(InvalidPacket::TooLarge));
        assert_eq!(assemble([text(r#"511-["a"]"#)]), Err(InvalidPacket::TooManyAttachments));
    }

    #[test]
    fn data_that_its_type_does_not_permit_is_refused_at_once() {
        for invalid in [
            "2{}",
            "2[]",
            "2[1",
            r#"2["a"]x"#,
            r#"2["a"] ["b"]"#,
            "2[null]",
            "2[[]]",
            r#"2["connect"]"#,
            r#"2["disconnecting"]"#,
            r#"2"a""#,
            "31{}",
            "31null",
            "0[]",
            "0null",
            r#"0"a""#,
            "0{",
            r#"2abc["a"]"#,
        ] {
            assert_eq!(assemble([text(invalid)]), Err(InvalidPacket::Data), "{invalid}");
        }
    }

    #[test]
    fn placeholders_without_attachments_are_refused() {
        for invalid in [
            r#"51-["a",{"_placeholder":true,"num":1}]"#,
            r#"51-["a",{"_placeholder":true,"num":-1}]"#,
            r#"51-["a",{"_placeholder":true,"num":0.5}]"#,
            r#"51-["a",{"_placeholder":true,"num":"0"}]"#,
            r#"51-["a",{"_placeholder":true}]"#,
            r#"51-["a",[{"b":{"num":7,"_placeholder":true}}]]"#,
        ] {
            assert_eq!(assemble([text(invalid)]), Err(InvalidPacket::Placeholder), "{invalid}");
        }
        for valid in [
            r#"51-["a"]"#,
            r#"51-["a",{"_placeholder":false,"num":9}]"#,
            r#"51-["a",{"_placeholder":1}]"#,
            r#"51-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
            r#"2["a",{"_placeholder":true,"num":9}]"#,
        ] {
            assert!(assemble([text(valid)]).is_ok(), "{valid}");
        }
    }
}
