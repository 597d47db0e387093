//! The members of the chat, and the delivery of lines to them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fullduplex::{PreparedMessage, Sender, TrySendError};
use tokio::sync::Notify;

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 24;

/// All members of the chat.
///
/// One lock makes all members receive lines in the same order. It is held briefly, and never while
/// waiting for a member.
#[derive(Debug, Default)]
pub(crate) struct Hall(Mutex<Members>);

#[derive(Debug, Default)]
struct Members {
    by_id: HashMap<u64, Member>,
    /// The number of members that have ever joined.
    joined: u64,
    /// The number in the name of the last guest.
    guests: u64,
}

#[derive(Debug)]
struct Member {
    name: Name,
    sender: Sender,
    expelled: Arc<Notify>,
}

/// The members that receive a line.
#[derive(Debug, Clone, Copy)]
enum To {
    All,
    Others(u64),
    Only(u64),
}

/// A name that cannot be confused with the text around it.
#[derive(Debug, Clone)]
struct Name(String);

/// Why a name is not available.
#[derive(Debug, thiserror::Error)]
enum NameError {
    #[error("a name has 1 to {MAX_NAME} letters, digits, \"-\" or \"_\" of ASCII")]
    Malformed,
    #[error("the name {0} is taken")]
    Taken(Name),
}

impl Hall {
    /// Adds a member, as a guest if the name is not available.
    pub(crate) fn join(&self, sender: Sender, wanted: Option<&str>) -> Membership<'_> {
        let mut members = self.lock();
        let (name, trouble) = match wanted.map(|wanted| members.available(wanted, None)) {
            Some(Ok(name)) => (name, None),
            Some(Err(error)) => (members.guest(), Some(error)),
            None => (members.guest(), None),
        };
        members.joined += 1;
        let id = members.joined;
        let (expelled, count) = (Arc::new(Notify::new()), members.by_id.len());
        members.by_id.insert(id, Member { name: name.clone(), sender, expelled: expelled.clone() });
        if let Some(error) = trouble {
            members.send(To::Only(id), format!("* {error}"));
        }
        members.send(To::Only(id), format!("* you are {name}, others here: {count}"));
        members.send(To::Others(id), format!("* {name} joined"));
        Membership { hall: self, id, expelled }
    }

    /// Removes all members without a notice.
    pub(crate) fn clear(&self) {
        self.lock().by_id.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // A panic while the lock was held leaves the members consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The membership of one connection. Dropping it removes the member.
#[derive(Debug)]
pub(crate) struct Membership<'a> {
    hall: &'a Hall,
    id: u64,
    expelled: Arc<Notify>,
}

impl Membership<'_> {
    /// Sends a line to all other members.
    pub(crate) fn say(&self, line: &str) {
        let mut members = self.hall.lock();
        if let Some(member) = members.by_id.get(&self.id) {
            let line = format!("{}: {}", member.name, without_controls(line));
            members.send(To::Others(self.id), line);
        }
    }

    /// Changes the name of the member.
    pub(crate) fn rename(&self, wanted: &str) {
        let mut members = self.hall.lock();
        let name = match members.available(wanted, Some(self.id)) {
            Ok(name) => name,
            Err(error) => return members.send(To::Only(self.id), format!("* {error}")),
        };
        let Some(member) = members.by_id.get_mut(&self.id) else { return };
        let before = std::mem::replace(&mut member.name, name.clone());
        members.send(To::Only(self.id), format!("* you are {name}"));
        members.send(To::Others(self.id), format!("* {before} is now {name}"));
    }

    /// Waits until this member is expelled for reading too slowly.
    pub(crate) async fn expelled(&self) {
        self.expelled.notified().await;
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut members = self.hall.lock();
        if let Some(member) = members.by_id.remove(&self.id) {
            members.send(To::All, format!("* {} left", member.name));
        }
    }
}

impl Members {
    /// Sends a line. Members without room for it are expelled, with a notice to the others.
    fn send(&mut self, to: To, line: String) {
        let mut pending = VecDeque::from([(to, line)]);
        while let Some((to, line)) = pending.pop_front() {
            for slow in self.deliver(to, line) {
                slow.expelled.notify_one();
                pending.push_back((To::All, format!("* {} left: too slow", slow.name)));
            }
        }
    }

    /// Sends a line, encoded once, and removes the members that have no room for it.
    fn deliver(&mut self, to: To, line: String) -> Vec<Member> {
        let line = PreparedMessage::new(line);
        self.by_id
            .extract_if(|id, member| to.includes(*id) && member.has_no_room(&line))
            .map(|(_, member)| member)
            .collect()
    }

    /// Returns the name if it is valid and not taken.
    fn available(&self, wanted: &str, wanted_by: Option<u64>) -> Result<Name, NameError> {
        let name = Name::parse(wanted)?;
        let taken =
            self.by_id.iter().any(|(id, member)| Some(*id) != wanted_by && member.name.is_like(&name));
        if taken { Err(NameError::Taken(name)) } else { Ok(name) }
    }

    /// Returns an unused name for a guest.
    fn guest(&mut self) -> Name {
        loop {
            self.guests += 1;
            let name = Name(format!("guest-{}", self.guests));
            if !self.by_id.values().any(|member| member.name.is_like(&name)) {
                return name;
            }
        }
    }
}

impl Member {
    /// Queues a line; returns whether there is no room for it. A closing member is not slow.
    fn has_no_room(&self, line: &PreparedMessage) -> bool {
        matches!(self.sender.try_send(line), Err(TrySendError::Full(_)))
    }
}

impl To {
    fn includes(self, id: u64) -> bool {
        match self {
            Self::All => true,
            Self::Others(speaker) => id != speaker,
            Self::Only(one) => id == one,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Name {
    fn parse(name: &str) -> Result<Self, NameError> {
        let fits = (1..=MAX_NAME).contains(&name.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if fits && name.bytes().all(allowed) { Ok(Self(name.to_owned())) } else { Err(NameError::Malformed) }
    }

    /// Returns whether the names could be confused.
    fn is_like(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// Replaces control characters: a line feed could forge a line of another member, and others could
/// affect a terminal.
fn without_controls(line: &str) -> String {
    line.trim_end().chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
