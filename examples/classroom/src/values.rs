//! Values from outside. One that exists is valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a person or a room, in Unicode scalar values.
pub const MAX_NAME: usize = 40;

/// The longest text of a message, in Unicode scalar values.
pub const MAX_TEXT: usize = 1000;

/// The longest id, in bytes.
pub const MAX_ID: usize = 64;

/// Why a value is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It has no visible character.
    #[error("it is empty")]
    Empty,
    /// It has more characters than the limit.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// It has a control character, or one that changes the direction of the text around it.
    #[error("it has a control character")]
    Control,
    /// It has a character that ids cannot have.
    #[error("it has other characters than letters, digits, - and _")]
    NoId,
}

/// Defines a string that a function has checked.
macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                $check(text).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked! {
    /// The name of a person: 1 to 40 characters, without space at its ends.
    Name, name
}

checked! {
    /// The name of a room: as a [`Name`].
    RoomName, name
}

checked! {
    /// The id of a person in a room: 1 to 64 letters, digits, `-` and `_`.
    ParticipantId, id
}

checked! {
    /// The id that a page has given to a message: as a [`ParticipantId`].
    ClientId, id
}

checked! {
    /// The text of a message: 1 to 1,000 characters, also tabs and line feeds.
    Text, text
}

impl Name {
    /// Returns the name in a form that is equal for names that look alike to a hasty reader.
    ///
    /// Letter case, the amount of space, and joiners without a width make no difference.
    pub fn folded(&self) -> String {
        let visible: String = self.0.chars().filter(|char| !is_joiner(*char)).collect();
        visible.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl ParticipantId {
    /// Creates a random id.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()).into())
    }
}

fn name(text: &str) -> Result<&str, Invalid> {
    let text = text.trim();
    if text.chars().any(|char| char.is_control() || is_deceptive(char)) {
        return Err(Invalid::Control);
    }
    limited(text, MAX_NAME)
}

fn text(text: &str) -> Result<&str, Invalid> {
    let text = text.trim_end();
    if text.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n')) {
        return Err(Invalid::Control);
    }
    limited(text, MAX_TEXT)
}

fn id(text: &str) -> Result<&str, Invalid> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err(Invalid::NoId);
    }
    limited(text, MAX_ID)
}

fn limited(text: &str, max: usize) -> Result<&str, Invalid> {
    if text.chars().all(|char| char.is_whitespace() || is_joiner(char)) {
        return Err(Invalid::Empty);
    }
    if text.chars().nth(max).is_some() { Err(Invalid::TooLong(max)) } else { Ok(text) }
}

/// Returns whether the character joins others or keeps them apart, as some scripts need.
fn is_joiner(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}')
}

/// Returns whether the character is invisible or changes the direction of the text around it, and
/// no script needs it in a name.
fn is_deceptive(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_forty_characters_without_space_around_it() {
        for (text, name) in
            [(" Ann ", "Ann"), ("7b", "7b"), ("José María", "José María"), ("می‌خواهم", "می‌خواهم")]
        {
            assert_eq!(text.parse::<Name>().as_ref().map(Name::as_str), Ok(name));
        }
        assert!("ü".repeat(40).parse::<Name>().is_ok(), "scalar values are counted, not bytes");
        for (text, why) in [
            ("", Invalid::Empty),
            (" \u{a0}", Invalid::Empty),
            ("\u{200d}", Invalid::Empty),
            (&"ü".repeat(41), Invalid::TooLong(40)),
            ("a\nb", Invalid::Control),
            ("a\u{202e}b", Invalid::Control),
            ("a\u{200b}", Invalid::Control),
        ] {
            assert_eq!(text.parse::<Name>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn names_that_look_alike_have_the_same_folded_form() {
        let folded = |name: &str| name.parse::<Name>().expect("valid").folded();
        assert_eq!(folded("Ann  Lee"), folded("ann\u{a0}lee"));
        assert_eq!(folded("A\u{200d}nn"), folded("ann"));
        assert_ne!(folded("Ann"), folded("Anne"));
    }

    #[test]
    fn a_text_has_a_thousand_characters_and_line_feeds() {
        assert_eq!("a\n\tb \n".parse::<Text>().expect("valid").as_str(), "a\n\tb");
        assert!("😀".repeat(1000).parse::<Text>().is_ok());
        for (text, why) in [
            (" \n", Invalid::Empty),
            (&"😀".repeat(1001), Invalid::TooLong(1000)),
            ("a\0", Invalid::Control),
            ("a\rb", Invalid::Control),
        ] {
            assert_eq!(text.parse::<Text>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn an_id_has_letters_digits_hyphens_and_underscores() {
        assert!("aZ09-_".parse::<ClientId>().is_ok());
        assert!(ParticipantId::random().as_str().parse::<ParticipantId>().is_ok());
        assert_ne!(ParticipantId::random(), ParticipantId::random());
        for (text, why) in [("", Invalid::Empty), ("a b", Invalid::NoId), ("ä", Invalid::NoId)] {
            assert_eq!(text.parse::<ClientId>(), Err(why), "{text:?}");
        }
        assert_eq!("a".repeat(65).parse::<ClientId>(), Err(Invalid::TooLong(64)));
    }

    #[test]
    fn json_is_checked_as_text_is() {
        assert!(serde_json::from_str::<Name>("\"Ann\"").is_ok());
        let error = serde_json::from_str::<Name>("\"\"").expect_err("refused").to_string();
        assert!(error.contains("it is empty"), "{error}");
    }
}
