//! The errors of the protocol core.

use super::{
    close_code::{CloseCode, MAX_CLOSE_REASON},
    opcode::MAX_CONTROL_PAYLOAD,
};

/// A violation of the protocol or of a limit by the peer.
///
/// The connection has to be failed with [`close_code`](Self::close_code) (RFC 6455 section 7.1.7).
/// The receive path ignores all further input.
///
/// ```
/// use fullduplex::{CloseCode, proto::ProtocolError};
///
/// assert_eq!(ProtocolError::UnmaskedFrame.close_code(), CloseCode::PROTOCOL_ERROR);
/// assert_eq!(ProtocolError::InvalidUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A client sent a frame without a masking key (section 5.1).
    #[error("frame from a client is not masked")]
    UnmaskedFrame,
    /// A server sent a masked frame (section 5.1).
    #[error("frame from a server is masked")]
    MaskedFrame,
    /// A reserved bit is set without a negotiated extension that defines it, or in a frame that
    /// must not have it (section 5.2).
    #[error("reserved bit set")]
    ReservedBit,
    /// An opcode that the RFC reserves (section 5.2).
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A length that is not encoded in the minimal number of bytes (section 5.2).
    #[error("payload length not in its shortest form")]
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (section 5.2).
    #[error("payload length of 2^63 or more")]
    LengthTooLarge,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("control frame of more than 125 bytes")]
    ControlFrameTooLong,
    /// A fragmented control frame (section 5.5).
    #[error("fragmented control frame")]
    FragmentedControlFrame,
    /// A continuation frame without an open message (section 5.4).
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new data frame inside a fragmented message (section 5.4).
    #[error("new data frame inside a fragmented message")]
    ExpectedContinuation,
    /// A text message or close reason that is not UTF-8 (section 8.1).
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// Compressed payload data that is not a sequence of DEFLATE blocks as RFC 7692 section 7.2.2
    /// requires.
    #[error("compressed message is not valid DEFLATE data")]
    InvalidDeflate,
    /// A Close with a payload of one byte (section 5.5.1).
    #[error("close frame with a payload of one byte")]
    CloseTooShort,
    /// A Close with a code that must not be sent (section 7.4).
    #[error("close code {0} must not be sent")]
    InvalidCloseCode(CloseCode),
    /// A frame larger than [`max_frame_size`](super::Config::max_frame_size).
    #[error("frame larger than the limit of {limit} bytes")]
    FrameTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message larger than [`max_message_size`](super::Config::max_message_size), or than the
    /// limit of the call that reads it in parts.
    #[error("message larger than the limit of {limit} bytes")]
    MessageTooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message of more than [`max_fragments`](super::Config::max_fragments) frames.
    #[error("message of more than {limit} fragments")]
    TooManyFragments {
        /// The limit, in frames.
        limit: u32,
    },
    /// A text message on a connection that carries a stream of bytes (section 7.4.1: 1003).
    #[error("text message, where only binary messages are accepted")]
    UnexpectedText,
    /// The transport ended without a Close (section 7.1.5: 1006, which is never sent).
    #[error("transport ended without a close frame")]
    EofWithoutClose,
}

impl ProtocolError {
    /// Returns the code to fail the connection with; [`CloseCode::ABNORMAL`], which cannot be sent,
    /// if the transport has ended.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
            Self::UnexpectedText => CloseCode::UNSUPPORTED_DATA,
            Self::EofWithoutClose => CloseCode::ABNORMAL,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Returns the reason of the Close frame; `None` if the transport has ended.
    pub(super) const fn close_reason(self) -> Option<&'static str> {
        Some(match self {
            Self::UnmaskedFrame => "frame not masked",
            Self::MaskedFrame => "frame masked",
            Self::ReservedBit => "reserved bit set",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthTooLarge => "length of 2^63 or more",
            Self::ControlFrameTooLong => "control frame too long",
            Self::FragmentedControlFrame => "fragmented control frame",
            Self::UnexpectedContinuation => "no message to continue",
            Self::ExpectedContinuation => "message not finished",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::InvalidDeflate => "invalid compressed data",
            Self::CloseTooShort => "close payload of one byte",
            Self::InvalidCloseCode(_) => "invalid close code",
            Self::FrameTooBig { .. } => "frame too big",
            Self::MessageTooBig { .. } => "message too big",
            Self::TooManyFragments { .. } => "too many fragments",
            Self::UnexpectedText => "text not accepted",
            Self::EofWithoutClose => return None,
        })
    }
}

/// A close code or reason that must not be sent: an error of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClose {
    /// RFC 6455 section 7.4 does not allow this code in a Close frame.
    #[error("close code {0} must not be sent")]
    Code(CloseCode),
    /// The reason has this many bytes; the maximum is 123.
    #[error("close reason of {0} bytes, at most {MAX_CLOSE_REASON} fit")]
    ReasonTooLong(usize),
}

/// The reason that something was not queued: an error of the caller, or the connection is closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Our Close is queued or sent; nothing may follow it (RFC 6455 section 5.5.1).
    #[error("closing: nothing can be sent after the close frame")]
    Closing,
    /// The payload of a ping has this many bytes; the maximum is 125 (RFC 6455 section 5.5).
    #[error("ping payload of {0} bytes, at most {MAX_CONTROL_PAYLOAD} fit")]
    PingTooLong(usize),
    /// The payload of a pong has this many bytes; the maximum is 125 (RFC 6455 section 5.5).
    #[error("pong payload of {0} bytes, at most {MAX_CONTROL_PAYLOAD} fit")]
    PongTooLong(usize),
    /// A message that is sent in parts is not finished; other messages must not be interleaved with
    /// it (RFC 6455 section 5.4).
    #[error("a message sent in parts is not finished")]
    MessageOpen,
    /// A part was sent, but no message has begun.
    #[error("no message sent in parts is open")]
    NoMessageOpen,
    /// Text to send is not UTF-8 (RFC 6455 section 8.1).
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A client queues the messages of a [`Sequence`](crate::Sequence) one by one, because each needs a
    /// masking key of its own (RFC 6455 section 5.3).
    #[error("a sequence needs a masking key for each message")]
    SequenceToMask,
    /// The message is longer than its permit was reserved for.
    #[error("message of {len} bytes exceeds the reserved {reserved} bytes")]
    BeyondPermit {
        /// The length of the message, in bytes.
        len: usize,
        /// The reserved length, in bytes.
        reserved: usize,
    },
}
