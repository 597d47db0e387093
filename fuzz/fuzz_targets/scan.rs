//! What the targets of both sides share.

use fullduplex::{
    Config,
    handshake::{HeadError, HeadScanner},
};

/// Where the head ends, if reads bring `step` bytes each.
pub(crate) fn scan(
    mut scanner: HeadScanner,
    config: &Config,
    input: &[u8],
    step: usize,
) -> Result<Option<usize>, HeadError> {
    for end in (0..input.len()).step_by(step).chain([input.len()]) {
        if let Some(end) = scanner.scan(&input[..end])? {
            assert!(end.fields <= config.max_headers && end.len <= config.max_header_size);
            return Ok(Some(end.len));
        }
    }
    Ok(None)
}
