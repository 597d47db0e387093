//! What the nodes ask of each other, by signals of their hubs.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{Config, Message, Receiver, Role, WebSocket, handshake::Negotiated, hub::HubError};
use serde::{Deserialize, Serialize};
use tokio::{
    io::Empty,
    runtime::Handle,
    sync::{OnceCell, mpsc},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    broadcast::{Asked, Given, RemoteSocket, Selection, ask_here, describe},
    error::EmitError,
    io::Inner,
    outgoing,
    room::Member,
    server_side::{self, Reply, ServerSide},
};

/// The room in which each node is present. No namespace has such a name.
const NODES: &str = ",nodes";

/// What is needed to ask other nodes.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// Whether there may be others.
    has_others: bool,
    seat: OnceCell<Seat>,
    next: AtomicU64,
    /// The questions that wait for answers.
    pending: Mutex<HashMap<u64, mpsc::UnboundedSender<(u64, Answer)>>>,
}

/// A member without a client, as which this node is present.
struct Seat {
    member: Member,
    /// Dropping it would end the connection of the member.
    _receiver: Receiver<Empty>,
}

/// What a node sends to the others.
///
/// `Emitted` sends nothing to sockets: the hubs do. It is the data of an event for the functions that see it.
#[derive(Debug, Serialize, Deserialize)]
enum Signal {
    Ask { from: u64, number: u64, question: Question },
    Answer { to: u64, number: u64, from: u64, answer: Answer },
    Tell { selection: Selection, action: Action },
    Emitted { selection: Selection, json: String },
    Event(ServerSide),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Question {
    Sockets(Selection),
    Acks(Asked),
    Event(ServerSide),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Sockets(Vec<RemoteSocket>),
    Acks(Vec<(String, Given)>),
    Event(Reply),
}

/// What is done to sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Action {
    Join(Vec<String>),
    Leave(Vec<String>),
    Disconnect,
}

impl Cluster {
    pub(super) fn new(has_others: bool) -> Self {
        Self { has_others, ..Self::default() }
    }

    /// Lets the others know that there is this node. It has to be called before it has a socket.
    ///
    /// # Errors
    /// Returns the error of the backplane.
    pub(super) async fn enter(&self, io: &Inner) -> Result<(), HubError> {
        if !self.has_others {
            return Ok(());
        }
        let seat = self.seat.get_or_try_init(|| async {
            let config = Config::new().ping_interval(None).write_timeout(None).close_timeout(None);
            let (stream, nothing) = (tokio::io::empty(), Bytes::new());
            let ws = WebSocket::from_raw(stream, nothing, Role::Server, &config, Negotiated::default());
            let (receiver, sender) = ws.split();
            let member = io.hub().add(sender);
            member.enter(NODES, Bytes::new()).await?;
            Ok(Seat { member, _receiver: receiver })
        });
        seat.await.map(|_| ())
    }

    /// Asks all other nodes. Returns the answers, and how many nodes have not answered in time.
    pub(super) async fn ask(
        &self,
        io: &Inner,
        question: Question,
        time: Duration,
    ) -> Result<(Vec<Answer>, usize), EmitError> {
        if !self.has_others {
            return Ok((Vec::new(), 0));
        }
        self.enter(io).await?;
        let deadline = Instant::now() + time + question.grace();
        let own = io.hub_node();
        let present = io.hub().present(NODES).await.map_err(HubError::from)?;
        let mut nodes: Vec<u64> = present.iter().map(|present| present.member.node).collect();
        nodes.retain(|node| Some(*node) != own);
        nodes.sort_unstable();
        nodes.dedup();
        let (Some(from), false) = (own, nodes.is_empty()) else { return Ok((Vec::new(), nodes.len())) };
        let (sender, mut arrives) = mpsc::unbounded_channel();
        let number = self.next.fetch_add(1, Relaxed);
        self.lock().insert(number, sender);
        let _forgotten = Forget(self, number);
        signal(io, &Signal::Ask { from, number, question })?;
        let mut answers = Vec::with_capacity(nodes.len());
        while !nodes.is_empty() {
            let Ok(Some((node, answer))) = timeout_at(deadline, arrives.recv()).await else { break };
            if let Some(index) = nodes.iter().position(|other| *other == node) {
                nodes.swap_remove(index);
                answers.push(answer);
            }
        }
        Ok((answers, nodes.len()))
    }

    /// Tells all other nodes to do something to their sockets.
    pub(super) fn tell(&self, io: &Inner, selection: &Selection, action: &Action) -> Result<(), EmitError> {
        if !self.has_others {
            return Ok(());
        }
        signal(io, &Signal::Tell { selection: selection.clone(), action: action.clone() })
    }

    /// Lets all other nodes know the data of an event that is sent, for the functions of the namespace.
    pub(super) fn tell_emitted(
        &self,
        io: &Inner,
        selection: &Selection,
        json: &str,
    ) -> Result<(), EmitError> {
        if !self.has_others {
            return Ok(());
        }
        signal(io, &Signal::Emitted { selection: selection.clone(), json: json.to_owned() })
    }

    /// Sends an event for all other nodes themselves.
    pub(super) fn tell_event(&self, io: &Inner, event: ServerSide) -> Result<(), EmitError> {
        if self.has_others { signal(io, &Signal::Event(event)) } else { Ok(()) }
    }

    /// Receives a signal of another node.
    pub(super) fn received(&self, io: &Arc<Inner>, message: &Message) {
        // Other programs may signal on the same backplane.
        let Ok(signal) = serde_json::from_slice(message.as_bytes()) else { return };
        match signal {
            Signal::Ask { from, number, question } => answer(io.clone(), from, number, question),
            Signal::Answer { to, number, from, answer } if Some(to) == io.hub_node() => {
                if let Some(asking) = self.lock().get(&number) {
                    // The one who asks may just have stopped.
                    let _ = asking.send((from, answer));
                }
            }
            Signal::Answer { .. } => {}
            Signal::Tell { selection, action } => {
                let io = io.clone();
                spawn(async move { action.run(&io, &selection).await });
            }
            // At once, which keeps the order.
            Signal::Emitted { selection, json } => outgoing::observe(io, &selection, &json),
            Signal::Event(event) => {
                let io = io.clone();
                spawn(async move { _ = server_side::handle(io, event).await });
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<(u64, Answer)>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of this node, once it has entered.
    pub(super) fn node(&self) -> Option<u64> {
        self.seat.get().map(|seat| seat.member.id().node)
    }
}

/// How much longer than its sockets a node is waited for.
const GRACE: Duration = Duration::from_millis(500);

impl Question {
    /// Returns how much longer a node is waited for than whom it asks itself.
    fn grace(&self) -> Duration {
        match self {
            Self::Sockets(_) | Self::Acks(_) => GRACE,
            Self::Event(_) => Duration::ZERO,
        }
    }
}

/// Forgets a question.
struct Forget<'a>(&'a Cluster, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Action {
    /// Does it to the selected sockets of this node.
    pub(super) async fn run(&self, io: &Inner, selection: &Selection) {
        let mut disconnecting = JoinSet::new();
        for socket in selection.sockets(io) {
            match self {
                Self::Join(rooms) => {
                    for room in rooms {
                        // One that has left meanwhile joins nothing.
                        let _ = socket.join(room).await;
                    }
                }
                Self::Leave(rooms) => rooms.iter().for_each(|room| _ = socket.leave(room)),
                // At once, because a client may be slow.
                Self::Disconnect => _ = disconnecting.spawn(async move { socket.disconnect().await }),
            }
        }
        disconnecting.join_all().await;
    }
}

/// Answers another node.
fn answer(io: Arc<Inner>, to: u64, number: u64, question: Question) {
    spawn(async move {
        let answer = match question {
            Question::Sockets(selection) => Answer::Sockets(describe(&io, &selection)),
            Question::Acks(asked) => Answer::Acks(ask_here(&io, &asked).await),
            Question::Event(event) => Answer::Event(server_side::handle(io.clone(), event).await),
        };
        if let Some(from) = io.hub_node() {
            // The one who asks finds that it has no answer.
            let _ = signal(&io, &Signal::Answer { to, number, from, answer });
        }
    });
}

fn signal(io: &Inner, signal: &Signal) -> Result<(), EmitError> {
    let json = serde_json::to_string(signal)?;
    io.hub().signal(json).map_err(HubError::from)?;
    Ok(())
}

/// Spawns a task. A backplane calls the hub in tasks of a runtime.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
