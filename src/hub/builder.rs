//! How a hub is configured.

use std::{any::Any, fmt, sync::Arc};

use super::{
    Hub,
    backplane::{Backplane, RoomKey},
    event::Event,
    inbox::Inbox,
    inner::Inner,
    memory::Memory,
    position::Position,
    slow::Slow,
};
use crate::{Message, PreparedMessage};

type Encode<R> = Box<dyn Fn(&R, Position, Message) -> PreparedMessage + Send + Sync>;
type RoomNamed<R> = Box<dyn Fn(&str) -> Option<R> + Send + Sync>;
type OnEvent<R> = Box<dyn Fn(&Hub<R>, Event<R>) + Send + Sync>;

/// Configures a [`Hub`].
#[must_use = "a hub is made by `build`"]
pub struct Builder<R> {
    backplane: Option<Arc<dyn Backplane<R>>>,
    settings: Settings<R>,
}

pub(super) struct Settings<R> {
    pub(super) slow: Slow,
    pub(super) max_waiting: usize,
    pub(super) encode: Option<Encode<R>>,
    pub(super) on_event: Option<OnEvent<R>>,
    pub(super) room_named: RoomNamed<R>,
}

impl<R: RoomKey> Builder<R> {
    pub(super) fn new() -> Self {
        let settings = Settings {
            slow: Slow::Close,
            max_waiting: 1024,
            encode: None,
            on_event: None,
            room_named: Box::new(own_name),
        };
        Self { backplane: None, settings }
    }

    /// Sets what connects this hub to others, and stores the history of its rooms.
    /// Default: a [`Memory`] without history.
    pub fn backplane(mut self, backplane: impl Backplane<R>) -> Self {
        self.backplane = Some(Arc::new(backplane));
        self
    }

    /// Sets what happens to a published message for a member whose write buffer is full.
    /// Default: [`Slow::Close`]: none of them may be missing, so the member connects again, and asks
    /// for what it has missed.
    pub fn slow(mut self, slow: Slow) -> Self {
        self.settings.slow = slow;
        self
    }

    /// Sets how many calls that publish, join or enter may wait while the backplane cannot be reached.
    /// Further ones fail. Default: 1024.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.settings.max_waiting = calls.min(tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Sets how a published message is encoded for the members. Default: unchanged.
    ///
    /// The function gets the position of the message, for the clients to name when they connect
    /// again. It is called once for each message on each hub, and again for each member that
    /// catches up. It must not wait. Of a [`Sequence`](crate::Sequence) it gets the first message; the
    /// others follow unchanged.
    pub fn encode<F>(mut self, encode: F) -> Self
    where
        F: Fn(&R, Position, Message) -> PreparedMessage + Send + Sync + 'static,
    {
        self.settings.encode = Some(Box::new(encode));
        self
    }

    /// Sets a function that is called for each [`Event`].
    ///
    /// It is called in a task of the backplane, or inside of the call that causes the event: with
    /// [`Memory`], [`Member::leave`](super::Member::leave) tells who has left. The program therefore
    /// holds no lock in such calls that the function needs. It must not wait. It can send to members.
    ///
    /// A function that holds a [`Hub`] or a member of it keeps the hub alive for ever: use the one that
    /// it is given.
    pub fn on_event(mut self, on_event: impl Fn(&Hub<R>, Event<R>) + Send + Sync + 'static) -> Self {
        self.settings.on_event = Some(Box::new(on_event));
        self
    }

    /// Sets which room has a name, for the messages that are for those who are in
    /// [rooms](super::To::rooms). Default: the key that is the name, if keys are of the type `String`;
    /// otherwise, no room has one.
    ///
    /// ```
    /// use fullduplex::hub::Hub;
    ///
    /// let hub: Hub<u32> = Hub::builder().room_named(|name| name.parse().ok()).build();
    /// hub.to_all().rooms(["17", "19"]).send("to both");
    /// ```
    ///
    /// It is called for each name of each such message. It must not wait.
    pub fn room_named(mut self, room_named: impl Fn(&str) -> Option<R> + Send + Sync + 'static) -> Self {
        self.settings.room_named = Box::new(room_named);
        self
    }

    /// Creates the hub.
    pub fn build(self) -> Hub<R> {
        let backplane = self.backplane.unwrap_or_else(|| Arc::new(Memory::default()));
        let inner = Arc::new(Inner::new(rand::random(), backplane, self.settings));
        inner.backplane.attach(Inbox::new(inner.node, Arc::downgrade(&inner)));
        Hub::of(inner)
    }
}

/// Returns the key that is the name itself, if keys are of the type `String`.
fn own_name<R: RoomKey>(name: &str) -> Option<R> {
    let mut key = None::<R>;
    if let Some(key) = (&mut key as &mut dyn Any).downcast_mut::<Option<String>>() {
        *key = Some(name.to_owned());
    }
    key
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("slow", &self.settings.slow)
            .field("max_waiting", &self.settings.max_waiting)
            .finish_non_exhaustive()
    }
}
