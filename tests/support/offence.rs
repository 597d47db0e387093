//! Input that fails the connection, and the required result.

use std::pin::pin;

use fullduplex::{
    Config, Error, Message,
    Role::{self, Client, Server},
    proto::ProtocolError,
};

use super::{
    frames::{self, Frame, close, text},
    pending, script,
};

/// Input that fails the connection.
#[derive(Debug)]
pub struct Offence {
    role: Role,
    config: Config,
    input: Vec<u8>,
    before: Vec<Message>,
    /// The maximum size of each read.
    reads: &'static [usize],
}

/// Creates a connection of this role with this input.
pub fn offence(role: Role, input: impl Into<Vec<u8>>) -> Offence {
    let reads = &[usize::MAX, 1];
    Offence { role, config: Config::new(), input: input.into(), before: Vec::new(), reads }
}

impl Offence {
    pub fn with(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets what is received before the connection fails.
    pub fn after(mut self, messages: &[&str]) -> Self {
        self.before = messages.iter().map(|message| Message::from(*message)).collect();
        self
    }

    /// Tests the input in one read only, and not byte by byte.
    pub fn at_once(mut self) -> Self {
        self.reads = &[usize::MAX];
        self
    }

    /// Asserts, for input in one read and byte by byte, that the messages before the fault are
    /// received, that the Close is written at once, that the error is returned once and afterwards,
    /// and that further input is not received.
    pub async fn fails(self, error: ProtocolError, code: u16, reason: &str) {
        for &at_most in self.reads {
            let (mut ws, script) = script::open(self.role, &self.config);
            script.read_at_most(at_most);
            script.bring(self.input.clone());
            for message in &self.before {
                assert_eq!(ws.recv().await.expect("received before the fault"), Some(message.clone()));
            }
            pending(pin!(ws.recv()), "the stream has not ended");
            assert_close(self.role, &script.take_written(), code, reason);
            assert!(script.is_shut_down(), "the endpoint that fails the connection shuts down first");

            script.bring(sent_to(self.role, text("too late")).build());
            script.end();
            match ws.recv().await {
                Err(Error::Protocol(returned)) => assert_eq!(returned, error),
                other => panic!("expected {error:?}, not {other:?}"),
            }
            for _ in 0..3 {
                assert_eq!(ws.recv().await.expect("the error was returned"), None);
            }
            assert_eq!(script.written(), b"", "nothing follows the Close");
        }
    }
}

/// Asserts that only this Close was written, masked if it is from a client.
pub fn assert_close(role: Role, written: &[u8], code: u16, reason: &str) {
    match role {
        Server => assert_eq!(written, close(code, reason).build()),
        Client => {
            assert_eq!(written.get(1).map(|second| second & 0x80), Some(0x80), "a client masks");
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            assert_eq!(frames::parse(written), [(0x88, payload)]);
        }
    }
}

/// Returns the frame as the peer of this role sends it: masked to a server, unmasked to a client.
pub fn sent_to(role: Role, frame: Frame) -> Frame {
    if role == Server { frame.masked() } else { frame }
}

/// Returns the bytes of frames as the peer of this role sends them.
pub fn wire_to(role: Role, frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| sent_to(role, frame.clone()).build()).collect()
}
