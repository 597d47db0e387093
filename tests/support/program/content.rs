//! The content of messages.

use std::sync::LazyLock;

use fullduplex::{Message, MessageKind};
use rand::{RngExt, rngs::SmallRng};

/// The number of characters that identify a message.
pub const NAME: usize = 8;

/// The maximum length after them.
pub const LARGEST: usize = 200_000;

/// Text in which no two long parts are equal.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    for nth in 0_u32.. {
        if text.len() > LARGEST {
            break;
        }
        text.push_str(&format!("{nth}\u{e9}\u{20ac}\u{1f600}"));
    }
    text
});

/// Returns the message with this number, of about this length.
pub fn content(id: usize, kind: MessageKind, mut len: usize) -> Message {
    while !TEXT.is_char_boundary(len) {
        len -= 1;
    }
    of_kind(kind, format!("{id:0NAME$x}{}", &TEXT[..len]))
}

/// Returns a message of this kind with this text.
pub fn of_kind(kind: MessageKind, text: String) -> Message {
    match kind {
        MessageKind::Text => Message::text(text),
        MessageKind::Binary => Message::binary(text.into_bytes()),
    }
}

/// Returns the number of the message that begins with these bytes, if they are enough to identify
/// it.
pub fn number(bytes: &[u8]) -> Option<usize> {
    let name = bytes.get(..NAME)?;
    let name = std::str::from_utf8(name).expect("a message that was sent");
    Some(usize::from_str_radix(name, 16).expect("a message that was sent"))
}

/// Returns a random length for a message in one piece.
pub fn length(rng: &mut SmallRng) -> usize {
    match rng.random_range(0..1000) {
        0..800 => rng.random_range(0..200),
        800..960 => rng.random_range(0..6000),
        960..992 => rng.random_range(0..40_000),
        992..996 => 65_536 - NAME + rng.random_range(0..40),
        _ => rng.random_range(0..LARGEST),
    }
}

/// Returns a random length for a message that is written in parts.
pub fn length_in_parts(rng: &mut SmallRng) -> usize {
    match rng.random_range(0..100) {
        0..60 => rng.random_range(0..300),
        60..85 => rng.random_range(0..10_000),
        85..90 => 65_536 - NAME + rng.random_range(0..3),
        90..96 => rng.random_range(0..LARGEST),
        _ => LARGEST,
    }
}
