//! What the options of the examples say of compression. Without the feature `deflate` there are none.

use clap::Args;
use fullduplex::Config;

#[cfg(feature = "deflate")]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Compression {
    /// Compress messages where the peer wants that too (permessage-deflate).
    #[arg(long)]
    deflate: bool,
    /// Let a message refer to those before it, in both directions: they get smaller, and each connection larger.
    #[arg(long, requires = "deflate")]
    context_takeover: bool,
    /// The largest window in both directions, 2 to the power of this in bytes: 8 to 15.
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15, value_parser = clap::value_parser!(u8).range(8..=15))]
    window_bits: u8,
    /// How hard to compress, from 1, the fastest, to 9, the smallest.
    #[arg(long, requires = "deflate", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=9))]
    level: u8,
    /// A message with fewer bytes than this goes out uncompressed.
    #[arg(long, value_name = "BYTES", requires = "deflate", default_value_t = 64)]
    threshold: usize,
}

#[cfg(feature = "deflate")]
impl Compression {
    /// The same configuration, with compression as it was asked for.
    pub(crate) fn apply(self, config: Config) -> Config {
        let settings = fullduplex::Deflate::new()
            .context_takeover(self.context_takeover)
            .server_max_window_bits(self.window_bits)
            .client_max_window_bits(self.window_bits)
            .level(self.level)
            .threshold(self.threshold);
        config.deflate(self.deflate.then_some(settings))
    }
}

#[cfg(not(feature = "deflate"))]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Compression {}

#[cfg(not(feature = "deflate"))]
impl Compression {
    pub(crate) fn apply(self, config: Config) -> Config {
        config
    }
}
