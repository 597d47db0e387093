//! permessage-deflate (RFC 7692): messages compressed one by one.

mod params;
mod settings;

pub use params::DeflateParams;
pub(crate) use params::{
    CLIENT_MAX_WINDOW_BITS, CLIENT_NO_CONTEXT_TAKEOVER, MAX_WINDOW_BITS, NAME, SERVER_MAX_WINDOW_BITS,
    SERVER_NO_CONTEXT_TAKEOVER,
};
pub use settings::Deflate;
