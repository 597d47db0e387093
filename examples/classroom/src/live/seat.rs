//! A connection that has joined a room, or is about to.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use fullduplex::{
    CloseCode, CloseFrame, Message, Sender, TrySendError,
    calls::event,
    hub::{HubError, Member, MemberId},
};
use serde::Serialize;
use tokio::sync;

use super::wire::{self, Entered, Person, now};
use crate::{
    auth::{Identity, Role},
    limits::Rate,
};

/// Less than this after the last one, "is typing" is dropped.
const TYPING_INTERVAL: Duration = Duration::from_millis(500);

/// A connection of a person in a room.
pub(super) struct Seat {
    pub(super) room: String,
    pub(super) identity: Identity,
    pub(super) address: IpAddr,
    /// When it was opened, in milliseconds since 1970.
    pub(super) since: i64,
    pub(super) rate: Rate,
    member: Member<String>,
    /// Whether the person may not talk: one of the constants below.
    muted: AtomicU8,
    /// Whether it has joined the room of the hub.
    has_joined: AtomicBool,
    /// Held while the others are told about the person.
    announcing: sync::Mutex<()>,
    typed: Mutex<Option<Instant>>,
}

const UNKNOWN: u8 = 0;
const FREE: u8 = 1;
const MUTED: u8 = 2;

impl Seat {
    pub(super) fn new(
        room: String,
        identity: Identity,
        address: IpAddr,
        rate: Rate,
        member: Member<String>,
    ) -> Self {
        Self {
            room,
            identity,
            address,
            since: now(),
            rate,
            member,
            muted: AtomicU8::new(UNKNOWN),
            has_joined: AtomicBool::new(false),
            announcing: sync::Mutex::new(()),
            typed: Mutex::new(None),
        }
    }

    pub(super) fn id(&self) -> MemberId {
        self.member.id()
    }

    pub(super) fn member(&self) -> &Member<String> {
        &self.member
    }

    pub(super) fn sender(&self) -> &Sender {
        self.member.sender()
    }

    pub(super) fn is_teacher(&self) -> bool {
        self.identity.scope.role() == Role::Teacher
    }

    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(SeqCst) == MUTED
    }

    /// Mutes the person, or ends that.
    pub(super) fn set_muted(&self, muted: bool) {
        self.muted.store(if muted { MUTED } else { FREE }, SeqCst);
    }

    /// Sets what was stored about the person, unless a teacher has decided since then.
    pub(super) fn set_stored_muted(&self, muted: bool) {
        let muted = if muted { MUTED } else { FREE };
        // Fails if it is known, which is newer.
        _ = self.muted.compare_exchange(UNKNOWN, muted, SeqCst, SeqCst);
    }

    /// Returns the person as others see them.
    pub(super) fn person(&self) -> Person {
        let Identity { id, name, scope } = self.identity.clone();
        Person { id, name, role: scope.role(), muted: self.is_muted() }
    }

    /// Returns the person as the sender of messages.
    pub(super) fn as_sender(&self) -> wire::Sender {
        let Identity { id, name, scope } = self.identity.clone();
        wire::Sender { id, name, role: scope.role() }
    }

    /// Tells all nodes that the person is in the room, or has changed. Before the connection has
    /// joined, this does nothing: it would join.
    pub(super) async fn announce(&self) -> Result<(), HubError> {
        // The one who comes last sends the state that is then the newest.
        let _turn = self.announcing.lock().await;
        if !self.has_joined.load(SeqCst) {
            return Ok(());
        }
        let entered = Entered { person: self.person(), since: self.since };
        let entered = serde_json::to_vec(&entered).expect("strings and a number");
        self.member.enter(&self.room, entered).await
    }

    /// Records that the connection has joined, and tells all nodes.
    pub(super) async fn joined(&self) -> Result<(), HubError> {
        self.has_joined.store(true, SeqCst);
        self.announce().await
    }

    /// Returns whether "is typing" may be sent.
    pub(super) fn may_type(&self) -> bool {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = typed.is_none_or(|typed| typed.elapsed() >= TYPING_INTERVAL);
        if may {
            *typed = Some(Instant::now());
        }
        may
    }

    /// Sends an event, without waiting. A page that reads too slowly for it is closed, and gets the
    /// whole state when it joins again.
    pub(super) fn tell<D: Serialize + ?Sized>(&self, name: &str, data: &D) {
        self.tell_message(event(name, data).expect("strings and numbers"));
    }

    pub(super) fn tell_message(&self, message: Message) {
        if let Err(TrySendError::Full(_)) = self.sender().try_send(message) {
            self.close(CloseCode::TRY_AGAIN_LATER, "too slow");
        }
    }

    /// Closes the connection, after what is queued.
    pub(super) fn close(&self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame::new(code, reason).expect("a valid code and a short reason");
        // Fails if it is closing already.
        _ = self.sender().start_close(Some(frame));
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("room", &self.room)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
