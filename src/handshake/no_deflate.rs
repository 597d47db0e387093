//! Replaces `deflate.rs` if the feature is disabled: no extension is offered or accepted.

use super::{headers::Extension, negotiate::Negotiated, response::Fault};
use crate::proto::Config;

pub(super) fn offer(_: &Config) -> Option<String> {
    None
}

pub(super) fn accept(negotiated: Negotiated, _: &[Extension<'_>], _: &Config) -> Negotiated {
    negotiated
}

pub(super) fn verify_answer(answer: &[Extension<'_>], _: &Config) -> Result<Negotiated, Fault> {
    if answer.is_empty() { Ok(Negotiated::default()) } else { Err(Fault::Wrong) }
}
