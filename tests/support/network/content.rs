//! The content of messages.

use std::sync::LazyLock;

use fullduplex::{Message, MessageKind};
use rand::{RngExt, rngs::SmallRng};

/// The maximum length of what follows the beginning of a message.
const LARGEST: usize = 60_000;

/// Text in which no two long parts are equal.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    for nth in 0_u32.. {
        if text.len() > 2 * LARGEST {
            break;
        }
        text.push_str(&format!("{nth}\u{e9}\u{20ac}\u{1f600}"));
    }
    text
});

/// Returns a random length.
pub fn length(rng: &mut SmallRng) -> usize {
    match rng.random_range(0..100) {
        0..70 => rng.random_range(0..200),
        70..92 => rng.random_range(0..5000),
        92..98 => rng.random_range(0..20_000),
        _ => rng.random_range(0..LARGEST),
    }
}

/// Returns the message with this beginning, of about this length. Where its text begins depends on
/// the number.
pub fn content(beginning: &str, number: usize, len: usize) -> Message {
    let boundary = |mut at: usize| {
        while !TEXT.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary((number * 101) % LARGEST);
    let text = format!("{beginning} {number} {}", &TEXT[from..boundary(from + len)]);
    match kind(number) {
        MessageKind::Text => Message::text(text),
        MessageKind::Binary => Message::binary(text.into_bytes()),
    }
}

fn kind(number: usize) -> MessageKind {
    if number % 3 == 2 { MessageKind::Binary } else { MessageKind::Text }
}

/// Returns the parts of a message that begins with words: the first `words` of them, and the rest.
pub fn parse(message: &Message, words: usize) -> (Vec<String>, String) {
    let text = std::str::from_utf8(message.as_bytes()).expect("text, in all messages that were sent");
    let mut parts = text.splitn(words + 1, ' ').map(str::to_owned);
    let words: Vec<_> = parts.by_ref().take(words).collect();
    (words, parts.next().unwrap_or_default())
}

/// Returns a number of a message.
pub fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is not a number: no such message was sent"))
}
