//! What happens to a message for a member whose write buffer is full.

use std::borrow::Cow;

/// What happens to a message for a member whose write buffer is full.
///
/// A write buffer is full if the message and what is queued together exceed
/// [`max_write_buffer_size`](crate::Config::max_write_buffer_size).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// The message is dropped for this member.
    #[default]
    DropNewest,
    /// The message waits outside of the write buffer, in the place of an older one of the same kind,
    /// which is dropped: of cursors or presence, only the latest state matters.
    ///
    /// At most 16 kinds wait for one member; beyond that, messages are dropped.
    KeepLatest(Cow<'static, str>),
    /// The connection is closed with code 1013, behind what is queued. The message is dropped.
    ///
    /// A peer that accepts nothing is disconnected after
    /// [`close_timeout`](crate::Config::close_timeout), and one that reads too slowly after
    /// [`total_close_timeout`](crate::Config::total_close_timeout).
    Close,
    /// The connection is ended at once, without a Close.
    Abort,
}
