//! The compression options of the examples. Without the feature `deflate` there are none.

use clap::Args;
use fullduplex::Config;

#[cfg(feature = "deflate")]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Compression {
    /// Compress messages if the peer agrees (permessage-deflate).
    #[arg(long)]
    deflate: bool,
    /// Let messages refer to earlier ones, in both directions: they get smaller, and each
    /// connection takes more memory.
    #[arg(long, requires = "deflate")]
    context_takeover: bool,
    /// Largest window in both directions, as the base-2 logarithm of its size in bytes: 8 to 15.
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15, value_parser = clap::value_parser!(u8).range(8..=15))]
    window_bits: u8,
    /// Compression level, from 1 (fastest) to 9 (smallest).
    #[arg(long, requires = "deflate", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=9))]
    level: u8,
    /// Send messages with fewer bytes than this uncompressed.
    #[arg(long, value_name = "BYTES", requires = "deflate", default_value_t = 64)]
    threshold: usize,
}

#[cfg(feature = "deflate")]
impl Compression {
    /// Returns the configuration with the selected compression.
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
