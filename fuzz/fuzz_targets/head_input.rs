//! The input of the targets `request_heads` and `response_heads`, and the limits of all parsers.

/// The maximum number of header fields, for all parsers.
pub(crate) const MAX_FIELDS: usize = 32;

/// More than the longest input, so that the sizes of heads are not compared.
pub(crate) const MAX_SIZE: usize = 1 << 16;

/// A head, and what follows it.
#[derive(Debug)]
pub(crate) struct HeadInput {
    /// With two empty lines at the end, so that no parser waits for more of a head.
    pub(crate) bytes: Vec<u8>,
    /// The number of bytes in each read.
    pub(crate) step: usize,
}

impl HeadInput {
    /// Reads an input: flags and bytes. With flag 1, each byte from 0x80 on stands for one of these
    /// phrases, in a cycle. The other flags are the length of the reads.
    pub(crate) fn of(input: &[u8], phrases: &[&str]) -> Option<Self> {
        let (flags, rest) = input.split_first()?;
        let mut bytes = Vec::new();
        for byte in rest {
            match byte.checked_sub(0x80) {
                Some(phrase) if flags & 1 == 1 => {
                    bytes.extend_from_slice(phrases[usize::from(phrase) % phrases.len()].as_bytes());
                }
                _ => bytes.push(*byte),
            }
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let step = match flags >> 1 {
            0 => usize::MAX,
            step => step.into(),
        };
        (bytes.len() <= MAX_SIZE).then_some(Self { bytes, step })
    }
}

/// Returns whether the head begins with an empty line, which this crate does not skip.
pub(crate) fn begins_with_empty_line(head: &[u8]) -> bool {
    matches!(head, [b'\r' | b'\n', ..])
}

/// Returns whether a line of the head ends in LF alone, which this crate does not accept.
pub(crate) fn has_bare_lf(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

/// A field, its name in lower case.
pub(crate) type Field = (String, Vec<u8>);

/// Sorts fields by their names. Those of one name keep their order, which `HeaderMap` keeps too.
pub(crate) fn sorted(fields: impl IntoIterator<Item = Field>) -> Vec<Field> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

/// Returns the fields that httparse has found.
pub(crate) fn fields(headers: &[httparse::Header<'_>]) -> Vec<Field> {
    sorted(headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())))
}

/// Returns the fields of a map.
pub(crate) fn fields_of(headers: &http::HeaderMap) -> Vec<Field> {
    sorted(headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())))
}
