//! What is known of the messages of one direction.

use std::sync::LazyLock;

use fullduplex::{Message, Outgoing, PreparedMessage};
use rand::{RngExt, rngs::SmallRng};

/// How many characters say which message it is.
const NAME: usize = 8;

const LARGEST: usize = 200_000;

/// What messages are made of: no two places of it look the same for long.
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

/// What is known of whether a message was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is being sent; whether it may be queued before that is done.
    UnderWay {
        may_be_queued: bool,
    },
    Queued,
    /// Its `send` was dropped, or failed.
    Perhaps,
    Never,
}

#[derive(Debug)]
struct Sent {
    content: Message,
    fate: Fate,
    /// The step from which on it may have been queued.
    started: u64,
    /// The step by which it was, if ever.
    queued_by: u64,
    /// Whether it was told to be out.
    flushed: bool,
    received: bool,
}

/// The messages of one direction.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// When the one that was received started that started last.
    latest_start: u64,
}

impl Ledger {
    /// Another message of any kind and size; gives its number.
    pub fn compose(&mut self, rng: &mut SmallRng, may_be_queued: bool) -> (usize, Outgoing) {
        let id = self.sent.len();
        let mut len = length(rng);
        while !TEXT.is_char_boundary(len) {
            len -= 1;
        }
        let text = format!("{id:0NAME$x}{}", &TEXT[..len]);
        let content = if rng.random() { Message::text(text) } else { Message::binary(text.into_bytes()) };
        let outgoing = if rng.random_ratio(1, 4) {
            Outgoing::from(PreparedMessage::new(content.clone()))
        } else if rng.random() {
            Outgoing::from(content.clone())
        } else {
            // Its payload data is nobody else's, so that it may be masked in place.
            match &content {
                Message::Text(text) => Outgoing::from(text.to_string()),
                Message::Binary(data) => Outgoing::from(data.to_vec()),
            }
        };
        let fate = Fate::UnderWay { may_be_queued };
        let (started, queued_by, flushed, received) = (u64::MAX, u64::MAX, false, false);
        self.sent.push(Sent { content, fate, started, queued_by, flushed, received });
        (id, outgoing)
    }

    /// Its future is polled for the first time.
    pub fn start(&mut self, id: usize, step: u64) {
        self.sent[id].started = step;
    }

    pub fn queued(&mut self, id: usize, step: u64) {
        self.sent[id].fate = Fate::Queued;
        self.sent[id].queued_by = step;
    }

    pub fn never(&mut self, id: usize) {
        assert!(!self.sent[id].received, "message {id} was received, and then not queued");
        self.sent[id].fate = Fate::Never;
    }

    /// Its future was dropped, or failed: it is queued by now, or never will be.
    pub fn given_up(&mut self, id: usize, step: u64) {
        match self.sent[id].fate {
            Fate::UnderWay { may_be_queued: true } if self.sent[id].started < u64::MAX => {
                self.sent[id].fate = Fate::Perhaps;
                self.sent[id].queued_by = step;
            }
            _ => self.never(id),
        }
    }

    /// All is out that was queued before this step; says how many messages that are at least.
    pub fn flushed(&mut self, before: u64) -> usize {
        let due = |sent: &&mut Sent| sent.fate == Fate::Queued && sent.queued_by < before;
        self.sent.iter_mut().filter(due).map(|sent| sent.flushed = true).count()
    }

    pub fn flushed_one(&mut self, id: usize) {
        self.sent[id].flushed = true;
    }

    /// A message arrived: it has to be one of them, whole, once, and in order.
    pub fn receive(&mut self, message: &Message) {
        let name = message.as_bytes().get(..NAME).and_then(|name| std::str::from_utf8(name).ok());
        let id = name.and_then(|name| usize::from_str_radix(name, 16).ok());
        let id = id.filter(|id| *id < self.sent.len()).expect("a message that nobody sent");
        let latest_start = self.latest_start;
        let sent = &mut self.sent[id];
        assert!(sent.content == *message, "message {id} is torn");
        assert!(!sent.received, "message {id} is doubled");
        let may_come = !matches!(sent.fate, Fate::Never | Fate::UnderWay { may_be_queued: false });
        assert!(may_come, "message {id} was not queued: {:?}", sent.fate);
        // One that was queued before another one's future was polled goes before it.
        assert!(sent.queued_by >= latest_start, "message {id} was overtaken");
        sent.received = true;
        self.latest_start = latest_start.max(sent.started);
    }

    /// At the end: what had to arrive did.
    pub fn check(&self, only_flushed: bool) {
        for (id, sent) in self.sent.iter().enumerate() {
            let due = sent.fate == Fate::Queued && (sent.flushed || !only_flushed);
            assert!(sent.received || !due, "message {id} is lost (flushed: {})", sent.flushed);
        }
    }

    pub fn is_its_own(&self, id: usize, back: &Outgoing) -> bool {
        self.sent[id].content.len() == back.len()
    }
}

fn length(rng: &mut SmallRng) -> usize {
    match rng.random_range(0..1000) {
        0..800 => rng.random_range(0..200),
        800..960 => rng.random_range(0..6000),
        960..992 => rng.random_range(0..40_000),
        992..996 => 65_536 - NAME + rng.random_range(0..40),
        _ => rng.random_range(0..LARGEST),
    }
}
