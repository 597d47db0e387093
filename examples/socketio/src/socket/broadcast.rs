//! Events for selected sockets of a namespace, and what else is done to them.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use fullduplex::hub::{MemberId, Publication, Sending, Slow, To};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    cluster::{Action, Answer, Question},
    data::{Arguments, Encoded, FromAnswer, encode_event},
    error::{AckError, ClusterError, EmitError},
    handle::Socket,
    io::Inner,
    outgoing,
    payload::Payload,
    room::{key, member_of},
};

/// Selected sockets of a namespace, of this node and of others.
///
/// ```
/// use socketio::{Args, EmitError, Io};
///
/// async fn announce(io: &Io) -> Result<(), EmitError> {
///     io.of("/chat").to("class 1a").to("class 1b").except("teachers").emit("bell", &Args((8, 15))).await
/// }
/// ```
///
/// A socket whose write buffer is full is disconnected with close code 1013, unless what is sent is
/// [volatile](Self::volatile): it connects again, and [may be recovered](crate::Builder::recovery).
#[derive(Clone)]
#[must_use = "nothing is sent before `emit` is called"]
pub struct Broadcast {
    io: Arc<Inner>,
    selection: Selection,
    is_local: bool,
    is_volatile: bool,
    timeout: Option<Duration>,
}

/// Which sockets of a namespace are selected: those of any of these rooms, or all if there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Selection {
    pub(super) namespace: String,
    /// The names of rooms, or the ids of sockets.
    pub(super) rooms: Vec<String>,
    pub(super) except: Vec<String>,
    /// The node and the number of a member.
    pub(super) except_member: Option<(u64, u64)>,
}

/// The acknowledgements of an event by several sockets.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<R> {
    /// What each socket has answered, or why it has not, with the id of the socket.
    pub answers: Vec<(String, Result<R, AckError>)>,
    /// How many other nodes have not answered in time. What their sockets have answered is unknown.
    pub missing_nodes: usize,
}

/// A socket of any node, as it was when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSocket {
    pub(super) id: String,
    pub(super) rooms: Vec<String>,
}

impl RemoteSocket {
    /// Returns the id of the socket, which is the name of a room that only it is in.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the names of the rooms that the socket is in, without that of its id.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }
}

impl Selection {
    fn keys(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| key(&self.namespace, name)).collect()
    }

    fn ids(names: &[String]) -> impl Iterator<Item = MemberId> {
        names.iter().filter_map(|name| member_of(name))
    }

    fn except_member(&self) -> Option<MemberId> {
        self.except_member.map(|(node, serial)| MemberId { node, serial })
    }

    /// Returns the selected sockets of this node.
    pub(super) fn sockets(&self, io: &Inner) -> Vec<Socket> {
        let hub = io.hub();
        let mut members: Vec<MemberId> = if self.rooms.is_empty() {
            hub.members(&self.namespace)
        } else {
            let of_rooms = self.keys(&self.rooms);
            of_rooms.iter().flat_map(|key| hub.members(key)).chain(Self::ids(&self.rooms)).collect()
        };
        members.sort_unstable();
        members.dedup();
        let mut except: Vec<MemberId> =
            self.keys(&self.except).iter().flat_map(|key| hub.members(key)).collect();
        except.extend(Self::ids(&self.except).chain(self.except_member()));
        except.sort_unstable();
        members.retain(|member| except.binary_search(member).is_err());
        let sockets = members.into_iter().filter_map(|member| io.socket(member));
        sockets.filter(|socket| socket.namespace() == self.namespace && socket.is_connected()).collect()
    }
}

impl Broadcast {
    pub(super) fn new(io: Arc<Inner>, namespace: &str) -> Self {
        let (rooms, except) = (Vec::new(), Vec::new());
        let selection = Selection { namespace: namespace.to_owned(), rooms, except, except_member: None };
        Self { io, selection, is_local: false, is_volatile: false, timeout: None }
    }

    pub(super) fn io(&self) -> &Arc<Inner> {
        &self.io
    }

    pub(super) fn namespace(&self) -> &str {
        &self.selection.namespace
    }

    /// Returns how long acknowledgements are waited for.
    pub(super) fn ack_timeout(&self) -> Duration {
        self.timeout.unwrap_or(self.io.limits().ack_timeout)
    }

    pub(super) fn except_member(mut self, member: MemberId) -> Self {
        self.selection.except_member = Some((member.node, member.serial));
        self
    }

    /// Selects the sockets of a room; called again, those of any of the rooms, each once. The id of a
    /// socket is the name of a room as well.
    pub fn to(mut self, room: impl Into<String>) -> Self {
        self.selection.rooms.push(room.into());
        self
    }

    /// Excludes the sockets of a room; called again, those of each of the rooms. The id of a socket is
    /// the name of a room as well.
    pub fn except(mut self, room: impl Into<String>) -> Self {
        self.selection.except.push(room.into());
        self
    }

    /// Leaves out the sockets of other nodes.
    pub fn local(mut self) -> Self {
        self.is_local = true;
        self
    }

    /// Drops the event for the sockets that have no room for it now. It is not recovered.
    pub fn volatile(mut self) -> Self {
        self.is_volatile = true;
        self
    }

    /// Sets how long [`emit_with_ack`](Self::emit_with_ack) waits. Default:
    /// [`Limits::ack_timeout`](crate::Limits::ack_timeout).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Sends an event to the selected sockets. Returns once it is queued for all of this node.
    ///
    /// The sockets of a room receive the events for it in the order of the calls of one node, if these
    /// select that room alone, or all sockets.
    ///
    /// # Errors
    /// Returns [`EmitError::Serialize`] for what cannot be sent, and [`EmitError::Hub`] if the event
    /// is to be [recovered](crate::Builder::recovery), and the backplane failed. The same error tells that
    /// other nodes do not know it for the functions of their namespace
    /// ([`on_any_outgoing`](crate::Namespace::on_any_outgoing)): the event was sent.
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent.
    pub fn emit<'a, A: Arguments + ?Sized>(
        &'a self,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<(), EmitError>> + Send + use<'a, A> {
        let encoded = encode_event(&self.selection.namespace, None, event, arguments);
        async move {
            let encoded = encoded?;
            let told = outgoing::emitting(&self.io, &self.selection, self.is_local, &encoded);
            if self.io.recovery().is_some() && !self.is_local && !self.is_volatile {
                publish(&self.io, &self.selection, encoded).await?;
                return told;
            }
            for sending in self.send(encoded) {
                sending.await;
            }
            told
        }
    }

    /// Sends an event that is not stored.
    fn send(&self, encoded: Encoded) -> Vec<Sending> {
        let (hub, selection) = (self.io.hub(), &self.selection);
        let [name] = &selection.rooms[..] else {
            let mut to = hub.to(&selection.namespace);
            if !selection.rooms.is_empty() {
                to = to.rooms(selection.keys(&selection.rooms)).members(Selection::ids(&selection.rooms));
            }
            return vec![self.finish(to).send(encoded)];
        };
        let key = key(&selection.namespace, name);
        let Some(member) = member_of(name) else { return vec![self.finish(hub.to(&key)).send(encoded)] };
        // The name may be that of another room, which does not know that it looks like an id.
        let to_room = self.finish(hub.to(&key)).except(member).send(encoded.clone());
        let is_here = self.io.socket(member);
        let to_member = match is_here {
            Some(socket) if socket.namespace() != selection.namespace => return vec![to_room],
            Some(_) => hub.to_one(member),
            // Checked where the socket is.
            None => hub.to_one(member).rooms([&*selection.namespace]),
        };
        vec![to_room, self.finish(to_member).send(encoded)]
    }

    /// Adds what is the same for all selections.
    fn finish<'h>(&self, mut to: To<'h, String>) -> To<'h, String> {
        let selection = &self.selection;
        if let Some(member) = selection.except_member() {
            to = to.except(member);
        }
        if !selection.except.is_empty() {
            to = to.except_rooms(selection.keys(&selection.except));
            to = Selection::ids(&selection.except).fold(to, To::except);
        }
        if self.is_local {
            to = to.here();
        }
        to.slow(if self.is_volatile { Slow::DropNewest } else { Slow::Close })
    }

    /// Sends an event, and waits for the acknowledgements of all selected sockets, for as long as
    /// [`timeout`](Self::timeout). The event is not recovered.
    ///
    /// ```
    /// use socketio::{Data, EmitError, Io};
    ///
    /// async fn vote(io: &Io) -> Result<usize, EmitError> {
    ///     let answers = io.of("/").to("jury").emit_with_ack::<Data<bool>, _>("yes or no?", &()).await?;
    ///     let votes = answers.answers.iter().filter(|(_, vote)| matches!(vote, Ok(Data(true))));
    ///     Ok(votes.count())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`EmitError::Serialize`] for what cannot be sent, and [`EmitError::Hub`] if the
    /// backplane cannot be reached. What becomes of each socket is in the [`Answers`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent. Its answers are ignored.
    pub fn emit_with_ack<'a, R: FromAnswer, A: Arguments + ?Sized>(
        &'a self,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<Answers<R>, EmitError>> + Send + use<'a, R, A> {
        let encoded = encode_event(&self.selection.namespace, None, event, arguments);
        async move {
            let encoded = encoded?;
            let time = self.ack_timeout();
            let json = encoded.json(&self.selection.namespace, None).to_owned();
            let asked = Asked {
                selection: self.selection.clone(),
                payload: Payload::new(json, encoded.attachments),
                milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            };
            let elsewhere = async {
                if self.is_local {
                    return Ok((Vec::new(), 0));
                }
                self.io.cluster().ask(&self.io, Question::Acks(asked.clone()), time).await
            };
            let (here, elsewhere) = tokio::join!(ask_here(&self.io, &asked), elsewhere);
            let (elsewhere, missing_nodes) = elsewhere?;
            let elsewhere = elsewhere.into_iter().filter_map(|answer| match answer {
                Answer::Acks(given) => Some(given),
                Answer::Sockets(_) | Answer::Event(_) => None,
            });
            let given = here.into_iter().chain(elsewhere.flatten());
            let answers = given.map(|(id, given)| (id, given.parse())).collect();
            Ok(Answers { answers, missing_nodes })
        }
    }

    /// Returns the selected sockets.
    ///
    /// # Errors
    /// Returns [`ClusterError`] if another node has not answered in
    /// [time](crate::Limits::ack_timeout), or the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, ClusterError> {
        let mut sockets = describe(&self.io, &self.selection);
        if self.is_local {
            return Ok(sockets);
        }
        let (question, time) = (Question::Sockets(self.selection.clone()), self.io.limits().ack_timeout);
        let (answers, missing) = self.io.cluster().ask(&self.io, question, time).await?;
        if missing > 0 {
            return Err(ClusterError::Timeout { missing });
        }
        for answer in answers {
            if let Answer::Sockets(others) = answer {
                sockets.extend(others);
            }
        }
        Ok(sockets)
    }

    /// Lets the selected sockets join rooms.
    ///
    /// Other nodes are told, and not waited for.
    ///
    /// # Errors
    /// Returns [`EmitError::Hub`] if the backplane cannot be reached. Those of this node have joined.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the sockets may have joined.
    pub async fn sockets_join<N: Into<String>>(
        &self,
        rooms: impl IntoIterator<Item = N>,
    ) -> Result<(), EmitError> {
        self.act(Action::Join(rooms.into_iter().map(Into::into).collect())).await
    }

    /// Lets the selected sockets leave rooms.
    ///
    /// # Errors
    /// Returns the same errors as [`sockets_join`](Self::sockets_join).
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the sockets may have left.
    pub async fn sockets_leave<N: Into<String>>(
        &self,
        rooms: impl IntoIterator<Item = N>,
    ) -> Result<(), EmitError> {
        self.act(Action::Leave(rooms.into_iter().map(Into::into).collect())).await
    }

    /// Disconnects the selected sockets from their namespace. Their connections stay open.
    ///
    /// # Errors
    /// Returns the same errors as [`sockets_join`](Self::sockets_join).
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the sockets may have been disconnected.
    pub async fn disconnect_sockets(&self) -> Result<(), EmitError> {
        self.act(Action::Disconnect).await
    }

    async fn act(&self, action: Action) -> Result<(), EmitError> {
        let told =
            if self.is_local { Ok(()) } else { self.io.cluster().tell(&self.io, &self.selection, &action) };
        action.run(&self.io, &self.selection).await;
        told
    }
}

/// Stores an event in the history of its namespace, and sends it to the selected sockets.
pub(super) async fn publish(io: &Inner, selection: &Selection, encoded: Encoded) -> Result<(), EmitError> {
    let mut publication = Publication::new(encoded);
    if !selection.rooms.is_empty() {
        publication =
            publication.rooms(selection.keys(&selection.rooms)).members(Selection::ids(&selection.rooms));
    }
    if !selection.except.is_empty() {
        publication = publication.except_rooms(selection.keys(&selection.except));
        publication = Selection::ids(&selection.except).fold(publication, Publication::except);
    }
    if let Some(member) = selection.except_member() {
        publication = publication.except(member);
    }
    io.hub().publish(&selection.namespace, publication).await?;
    Ok(())
}

/// Describes the selected sockets of this node.
pub(super) fn describe(io: &Inner, selection: &Selection) -> Vec<RemoteSocket> {
    let sockets = selection.sockets(io).into_iter();
    sockets.map(|socket| RemoteSocket { id: socket.id().to_string(), rooms: socket.rooms() }).collect()
}

/// An event that is to be acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Asked {
    selection: Selection,
    /// With the name.
    payload: Payload,
    milliseconds: u64,
}

/// What a socket has answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Given {
    Answer(Payload),
    Timeout,
    Disconnected,
    TooMany,
}

impl Given {
    fn parse<R: FromAnswer>(self) -> Result<R, AckError> {
        match self {
            Self::Answer(payload) => Ok(payload.parse()?),
            Self::Timeout => Err(AckError::Timeout),
            Self::Disconnected => Err(AckError::Disconnected),
            Self::TooMany => Err(AckError::TooMany),
        }
    }
}

/// Sends an event to the selected sockets of this node, and waits for their acknowledgements.
pub(super) async fn ask_here(io: &Inner, asked: &Asked) -> Vec<(String, Given)> {
    let time = Duration::from_millis(asked.milliseconds);
    let mut asking = JoinSet::new();
    for socket in asked.selection.sockets(io) {
        let (json, attachments) = (asked.payload.json.clone(), asked.payload.attachments());
        asking.spawn(async move {
            let encode = |id| Encoded::of_event(socket.namespace(), Some(id), &json, attachments);
            let given = match socket.ask(encode, time).await {
                Ok(whole) => Given::Answer(Payload::new(whole.packet.data().to_owned(), whole.attachments)),
                Err(AckError::Timeout) => Given::Timeout,
                Err(AckError::TooMany) => Given::TooMany,
                Err(_) => Given::Disconnected,
            };
            (socket.id().to_string(), given)
        });
    }
    asking.join_all().await
}

/// Redacted: prints neither rooms nor settings.
impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").field("namespace", &self.selection.namespace).finish_non_exhaustive()
    }
}
