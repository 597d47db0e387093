//! Shared by the targets of both sides.

use fullduplex::{
    Config,
    handshake::{HeadError, HeadScanner},
};

/// Returns where the head ends, for reads of `step` bytes.
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
