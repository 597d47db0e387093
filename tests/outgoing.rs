//! All types that convert into an `Outgoing`, owned or borrowed.

mod support;

use std::{borrow::Cow, pin::pin};

use bytes::{Bytes, BytesMut};
use fullduplex::{
    Config, Error, Message, Outgoing, PreparedMessage, Role, Sender, TrySendError, Utf8Bytes, WebSocket,
};
use support::{
    finished, frames, pending, poll_once,
    script::{self, Scripted},
    without_deadlines,
};

/// Lengths around those at which the form of the header or the way of sending changes.
const LENGTHS: [usize; 8] = [0, 5, 125, 126, 256, 4096, 4097, 70_000];

/// A text as each type that can be sent.
struct Texts {
    string: String,
    utf8: Utf8Bytes,
    message: Message,
    prepared: PreparedMessage,
}

impl Texts {
    fn new(len: usize) -> Self {
        let string = "t".repeat(len);
        let utf8 = Utf8Bytes::from(string.clone());
        let message = Message::from(utf8.clone());
        Self { prepared: PreparedMessage::new(message.clone()), string, utf8, message }
    }

    fn outgoing(&self) -> Vec<Outgoing<'_>> {
        let mut spare = String::with_capacity(self.string.len() + 100);
        spare.push_str(&self.string);
        vec![
            self.string.as_str().into(),
            (&self.string).into(),
            self.string.clone().into(),
            spare.into(),
            self.string.clone().into_boxed_str().into(),
            Cow::Borrowed(self.string.as_str()).into(),
            Cow::<str>::Owned(self.string.clone()).into(),
            (&self.utf8).into(),
            self.utf8.clone().into(),
            (&self.message).into(),
            self.message.clone().into(),
            (&self.prepared).into(),
            self.prepared.clone().into(),
            Outgoing::from(self.string.as_str()).into_owned(),
        ]
    }
}

/// Binary data as each type that can be sent.
struct Data {
    vec: Vec<u8>,
    bytes: Bytes,
    message: Message,
    prepared: PreparedMessage,
}

impl Data {
    fn new(len: usize) -> Self {
        let vec = vec![0xFE; len];
        let message = Message::from(vec.clone());
        Self { bytes: vec.clone().into(), prepared: PreparedMessage::new(message.clone()), vec, message }
    }

    fn outgoing(&self) -> Vec<Outgoing<'_>> {
        let mut spare = Vec::with_capacity(self.vec.len() + 100);
        spare.extend_from_slice(&self.vec);
        let mut longer = BytesMut::from(&self.vec[..]);
        longer.extend_from_slice(b"behind");
        vec![
            self.vec.as_slice().into(),
            (&self.vec).into(),
            self.vec.clone().into(),
            spare.into(),
            self.vec.clone().into_boxed_slice().into(),
            Cow::Borrowed(self.vec.as_slice()).into(),
            Cow::<[u8]>::Owned(self.vec.clone()).into(),
            BytesMut::from(&self.vec[..]).into(),
            longer.split_to(self.vec.len()).into(),
            (&self.bytes).into(),
            self.bytes.clone().into(),
            (&self.message).into(),
            self.message.clone().into(),
            (&self.prepared).into(),
            Outgoing::from(self.vec.as_slice()).into_owned(),
        ]
    }
}

/// Sends each on a new connection, before and after another message, and asserts that it is written
/// as this frame.
fn assert_each_sent_as(
    outgoing: Vec<Outgoing<'_>>,
    frame: (u8, Vec<u8>),
    mut send: impl FnMut(WebSocket<Scripted>, Vec<Outgoing<'_>>),
) {
    for role in [Role::Client, Role::Server] {
        for (nth, outgoing) in outgoing.iter().enumerate() {
            assert_eq!(outgoing.len(), frame.1.len());
            let (ws, script) = script::open(role, &without_deadlines());
            send(ws, vec![outgoing.clone(), "between".into(), outgoing.clone()]);
            let expected = [frame.clone(), (0x81, b"between".to_vec()), frame.clone()];
            assert!(
                frames::parse(&script.written()) == expected,
                "{role:?}, {nth}th of {} bytes",
                frame.1.len()
            );
        }
    }
}

/// Asserts that all types are written as the same frame by this way of sending.
fn assert_all_sent(mut send: impl FnMut(WebSocket<Scripted>, Vec<Outgoing<'_>>)) {
    for len in LENGTHS {
        assert_each_sent_as(Texts::new(len).outgoing(), (0x81, vec![b't'; len]), &mut send);
        assert_each_sent_as(Data::new(len).outgoing(), (0x82, vec![0xFE; len]), &mut send);
    }
}

#[test]
fn every_message_type_is_sent_as_the_same_frame() {
    assert_all_sent(|mut ws, all| all.into_iter().for_each(|each| finished(ws.send(each)).expect("open")));
}

#[test]
fn every_message_type_is_fed_as_the_same_frame() {
    assert_all_sent(|mut ws, all| {
        all.into_iter().for_each(|each| finished(ws.feed(each)).expect("room"));
        finished(ws.flush()).expect("open");
    });
}

#[test]
fn every_message_type_is_fed_by_a_permit_as_the_same_frame() {
    assert_all_sent(|mut ws, all| {
        for each in all {
            finished(ws.reserve(each.len())).expect("room").feed(each).expect("open");
        }
        finished(ws.flush()).expect("open");
    });
}

#[test]
fn every_message_type_is_sent_by_a_sender_as_the_same_frame() {
    assert_all_sent(|ws, all| {
        let (_receiver, sender) = ws.split();
        let [first, second, third] = all.try_into().expect("three");
        finished(sender.send(first)).expect("open");
        sender.try_send(second).expect("room");
        finished(sender.reserve(third.len())).expect("room").feed(third).expect("open");
        finished(sender.flush()).expect("open");
    });
}

#[cfg(feature = "deflate")]
#[test]
fn every_message_type_is_compressed_to_the_same_frame() {
    use fullduplex::Deflate;
    for settings in [Deflate::new(), Deflate::new().context_takeover(true)] {
        for len in [300, 5000] {
            for (outgoing, plain) in [(Texts::new(len).outgoing(), 12), (Data::new(len).outgoing(), 13)] {
                // Prepared messages are compressed without context takeover.
                for (nth, outgoing) in
                    outgoing.into_iter().take(11).enumerate().filter(|(nth, _)| *nth < plain)
                {
                    let (mut ws, script) =
                        support::deflate::open(Role::Server, &without_deadlines(), settings);
                    let first = frames::frame(1, "words");
                    finished(ws.feed(Outgoing::from("words").compress(false))).expect("room");
                    finished(ws.feed(outgoing.clone())).expect("room");
                    finished(ws.feed(outgoing.compress(false))).expect("room");
                    finished(ws.flush()).expect("open");
                    let written = frames::parse(&script.written());
                    assert_eq!(written[0], frames::parse(&first.build())[0]);
                    assert!(written[1].0 & 0x40 != 0 && written[1].1.len() < 40, "{nth} {len}");
                    assert!(written[2].0 & 0x40 == 0 && written[2].1.len() == len, "{nth} {len}");
                }
            }
        }
    }
}

/// Sends expressions as applications write them.
async fn send_expressions(ws: &mut WebSocket<Scripted>, sender: &Sender) -> Result<(), Error> {
    let (text, data, message) = (String::from("text"), vec![1, 2, 3], Message::from("message"));
    ws.send("text").await?;
    ws.send(&text).await?;
    ws.send(&text[1..]).await?;
    ws.send(format!("{text}!")).await?;
    ws.send(b"bytes").await?;
    ws.send([1, 2, 3]).await?;
    ws.send(&data).await?;
    ws.feed(&data[1..]).await?;
    ws.feed(String::from_utf8_lossy(&data)).await?;
    ws.start_send(&message)?;
    ws.start_send(&message)?;
    sender.send(&text).await?;
    sender.feed(b"bytes").await?;
    sender.try_send(&data[..]).expect("room");
    sender.reserve(4).await?.feed(&text)
}

#[test]
fn a_future_that_sends_borrowed_data_is_send() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let (mut ws, _) = script::server();
    let (_receiver, sender) = script::server().0.split();
    finished(is_send(send_expressions(&mut ws, &sender))).expect("open");
    let text = String::from("text");
    finished(is_send(sender.send(&text))).expect("open");
    finished(is_send(sender.feed(text.as_bytes()))).expect("open");
}

#[test]
fn borrowed_data_is_not_queued_if_its_future_is_dropped_and_can_be_dropped_with_it() {
    for len in [10, 5000] {
        let config = without_deadlines().max_write_buffer_size(100);
        let (mut ws, script) = script::open(Role::Server, &config);
        script.allow_writes(0);
        ws.start_send(vec![0; 90]).expect("open");
        let text = "x".repeat(len);
        pending(pin!(ws.feed(&text)), "there is no room");
        drop(text);
        let text = "y".repeat(len);
        {
            let mut feed = pin!(ws.feed(&text));
            assert!(poll_once(feed.as_mut()).is_pending());
            script.allow_writes(None);
            finished(feed).expect("room");
        }
        drop(text);
        finished(ws.flush()).expect("open");
        assert_eq!(frames::parse(&script.written())[1..], [(0x81, vec![b'y'; len])]);

        let (_receiver, sender, script) = script::split_server(config);
        script.allow_writes(0);
        finished(sender.feed(vec![0; 90])).expect("room");
        let text = "x".repeat(len);
        pending(pin!(sender.send(&text)), "there is no room");
        drop(text);
        let text = "y".repeat(len);
        {
            let mut send = pin!(sender.send(&text));
            assert!(poll_once(send.as_mut()).is_pending());
            script.allow_writes(None);
            finished(send).expect("open");
        }
        drop(text);
        assert_eq!(frames::parse(&script.written())[1..], [(0x81, vec![b'y'; len])]);
    }
}

#[test]
fn try_send_returns_borrowed_data_that_can_be_kept() {
    let (receiver, sender, script) = script::split_server(without_deadlines().max_write_buffer_size(100));
    script.allow_writes(0);
    sender.try_send(vec![0; 90]).expect("room");
    let text = "x".repeat(50);
    let error = sender.try_send(&text).expect_err("there is no room");
    assert_eq!(error, TrySendError::Full(text.as_str().into()));
    let kept: Box<dyn std::error::Error + Send + Sync> = error.clone().into_owned().into();
    assert_eq!(error.into_outgoing().len(), 50);
    drop(receiver);
    assert_eq!(sender.try_send(&text), Err(TrySendError::Closed(Outgoing::from(&text))));
    drop(text);
    let kept = kept.downcast::<TrySendError<'static>>().expect("the same error type");
    assert_eq!(kept.into_outgoing(), Outgoing::from("x".repeat(50)));
}

#[test]
fn outgoing_messages_are_equal_if_their_kind_and_payload_data_are_equal() {
    assert_eq!(Outgoing::from("a"), Outgoing::from(String::from("a")));
    assert_eq!(Outgoing::from(b"a"), Outgoing::from(BytesMut::from(&b"a"[..])));
    assert_ne!(Outgoing::from("a"), Outgoing::from(b"a"));
    assert_ne!(Outgoing::from("a"), Outgoing::from("b"));
    assert_ne!(Outgoing::from("a"), Outgoing::from(PreparedMessage::new("a")));
}

#[test]
fn a_client_does_not_mask_borrowed_data_in_place() {
    for len in [100, 5000] {
        let (mut ws, script) = script::open(Role::Client, &Config::new().ping_interval(None));
        let data = vec![7; len];
        finished(ws.send(&data)).expect("open");
        assert_eq!(frames::parse(&script.written()), [(0x82, data.clone())]);
        assert_eq!(data, vec![7; len]);
    }
}
