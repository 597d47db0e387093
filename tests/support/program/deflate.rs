//! Whether and how the two ends compress, and what they send compressed.

use std::fmt;

use fullduplex::{Config, Deflate, Outgoing, Role, handshake::Negotiated, proto::DeflateParams};
use rand::{RngExt, rngs::SmallRng};
use zlib_rs::{Inflate, InflateFlush};

/// Returns the settings on which both ends agree. Seven of eight programs do not compress, because
/// the others take several times as long.
pub fn agree(rng: &mut SmallRng) -> Option<Deflate> {
    let mut bits = || if rng.random() { 15 } else { rng.random_range(8..=15) };
    let settings = Deflate::new().server_max_window_bits(bits()).client_max_window_bits(bits());
    let settings = settings
        .server_no_context_takeover(rng.random())
        .client_no_context_takeover(rng.random())
        .level(rng.random_range(1..=9))
        .memory_level(rng.random_range(1..=9));
    rng.random_ratio(1, 8).then_some(settings)
}

/// Returns the configuration of one end, and what was negotiated.
pub fn configure(rng: &mut SmallRng, agreed: Option<Deflate>, config: &Config) -> (Config, Negotiated) {
    let Some(settings) = agreed else { return (config.clone(), Negotiated::default()) };
    let own = settings.threshold([0, 1, 64, 3000, usize::MAX][rng.random_range(0..5)]);
    (config.clone().deflate(own), Negotiated::default().with_deflate(DeflateParams::from(settings)))
}

/// Specifies for some messages whether they are compressed.
pub fn choose(rng: &mut SmallRng, outgoing: Outgoing<'static>) -> Outgoing<'static> {
    if rng.random_ratio(1, 4) { outgoing.compress(rng.random()) } else { outgoing }
}

/// Inflates the messages of one direction.
pub struct Unzip {
    inflate: Inflate,
    takeover: bool,
    room: Vec<u8>,
}

impl fmt::Debug for Unzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unzip").finish_non_exhaustive()
    }
}

impl Unzip {
    /// Creates an inflater for what an end of this role sends.
    pub fn new(role: Role, settings: Deflate) -> Self {
        let takeover = match role {
            Role::Server => !settings.get_server_no_context_takeover(),
            Role::Client => !settings.get_client_no_context_takeover(),
        };
        Self { inflate: Inflate::new(false, 15), takeover, room: vec![0; 16 << 10] }
    }

    /// Inflates as much as possible from this part of a message.
    pub fn part(&mut self, mut payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let (taken, put) = (self.inflate.total_in(), self.inflate.total_out());
            let inflated = self.inflate.decompress(payload, &mut self.room, InflateFlush::NoFlush);
            inflated.expect("valid DEFLATE data");
            payload = &payload[(self.inflate.total_in() - taken) as usize..];
            let put = (self.inflate.total_out() - put) as usize;
            message.extend_from_slice(&self.room[..put]);
            if payload.is_empty() && put < self.room.len() {
                return message;
            }
        }
    }

    /// Ends a message that was inflated completely.
    pub fn end(&mut self) {
        assert!(self.part(&[0, 0, 0xFF, 0xFF]).is_empty(), "the end of the message was not inflated before");
        if !self.takeover {
            self.inflate.reset(false);
        }
    }
}
