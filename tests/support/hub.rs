//! Members of a hub over scripted streams.

use fullduplex::{
    Config, Receiver, Sender,
    hub::{Hub, Member, RoomKey},
};

use super::{
    frames,
    script::{Script, Scripted, split_server},
};

/// A member, whose messages a test reads from its stream.
pub struct Seat<R: RoomKey> {
    pub member: Member<R>,
    pub script: Script,
    pub receiver: Receiver<Scripted>,
}

pub fn quiet() -> Config {
    Config::new().ping_interval(None).write_timeout(None).close_timeout(None)
}

/// Adds a member without deadlines.
pub fn seat<R: RoomKey>(hub: &Hub<R>) -> Seat<R> {
    seat_with(hub, quiet())
}

pub fn seat_with<R: RoomKey>(hub: &Hub<R>, config: Config) -> Seat<R> {
    let (receiver, sender, script) = split_server(config);
    Seat { member: hub.add(sender), script, receiver }
}

impl<R: RoomKey> Seat<R> {
    /// Returns the text messages that were written since the last call.
    pub fn texts(&self) -> Vec<String> {
        texts(&self.script)
    }
}

/// Returns the text messages that were written since the last call.
pub fn texts(script: &Script) -> Vec<String> {
    let texts = frames::parse(&script.take_written()).into_iter().map(|(first, payload)| {
        assert_eq!(first, 0x81, "a text message");
        String::from_utf8(payload).expect("text")
    });
    texts.collect()
}

/// A message that takes the whole of a write buffer of this size.
pub fn fill(sender: &Sender, size: usize) {
    sender.try_send("x".repeat(size)).expect("the first message has room");
}
