//! The channels of rooms in a cluster, each on the server that has the keys of the room.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex as StdMutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, PushInfo, PushKind, RedisError, Value,
    aio::{MultiplexedConnection, SendError},
    cluster::NodeAddress,
    cluster_routing::Slot,
};
use tokio::{sync::Mutex, time::sleep};

/// How often a command is sent to another server, because the one before does not own the slot.
const REDIRECTS: u32 = 8;

/// The pause before that, which is multiplied by the number of times.
const REDIRECT_PAUSE: Duration = Duration::from_millis(10);

/// The channels of rooms in a cluster.
///
/// There is one connection to each server that is known to own the slot of a room. Which one that is
/// follows from the answer of another: a command is sent to any server first.
///
/// One task at a time uses a connection. A server that ceases to own a slot says so by messages that
/// look like answers, for which the library does not provide. Each exchange therefore ends with a
/// number that the server has to return. If it does not, the connection is replaced.
pub(crate) struct Shards {
    /// The connection to a server is opened as that to this one was.
    seed: Client,
    config: AsyncConnectionConfig,
    listener: Arc<dyn Listener>,
    state: StdMutex<State>,
    numbers: AtomicU64,
}

/// Receives what the servers send on their own.
pub(crate) trait Listener: Send + Sync {
    /// A message was published, or a subscription has ended.
    fn receive(&self, push: PushInfo);

    /// The subscriptions of channels in these slots have ended.
    fn lose(&self, slots: &HashSet<Slot>);
}

/// A command that concerns a channel.
#[derive(Debug)]
pub(crate) struct OnChannel {
    pub(crate) channel: String,
    pub(crate) command: Cmd,
    /// Whether a server that does not own the slot, and says who does, has not executed it. A server
    /// that loses a slot ends the subscriptions itself.
    pub(crate) is_redirected: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The servers that own slots, as far as is known. They are at most as many as slots.
    owners: HashMap<Slot, NodeAddress>,
    places: HashMap<NodeAddress, Place>,
}

/// The connection to a server, unless it has to be opened.
type Place = Arc<Mutex<Option<MultiplexedConnection>>>;

/// What has become of commands that were sent to one server.
#[derive(Debug, Default)]
struct Ran {
    done: Vec<String>,
    moved: Vec<OnChannel>,
    redirection: Option<RedisError>,
}

impl Shards {
    /// Creates the channels of a cluster, of which one server is known.
    pub(crate) fn new(seed: Client, config: AsyncConnectionConfig, listener: Arc<dyn Listener>) -> Self {
        Self { seed, config, listener, state: StdMutex::default(), numbers: AtomicU64::new(0) }
    }

    /// Runs commands, each on the server that owns the slot of its channel. Those of one slot are run
    /// in their order.
    ///
    /// Returns the channels of those that were executed. Others may have been, if a connection was
    /// lost; the listener knows then.
    ///
    /// # Errors
    /// Returns the error of a server that refuses a command, or cannot be reached.
    pub(crate) async fn run(self: &Arc<Self>, commands: Vec<OnChannel>) -> Result<Vec<String>, RedisError> {
        let mut done = Vec::with_capacity(commands.len());
        let mut remaining = commands;
        for redirects in 0..=REDIRECTS {
            let groups = self.by_owner(std::mem::take(&mut remaining))?;
            let mut redirection = None;
            for ran in join_all(groups.into_iter().map(|(address, group)| self.run_at(address, group))).await
            {
                let ran = ran?;
                done.extend(ran.done);
                remaining.extend(ran.moved);
                redirection = redirection.or(ran.redirection);
            }
            match redirection {
                None => break,
                Some(error) if redirects == REDIRECTS => return Err(error),
                // The servers may not have agreed yet who owns the slot.
                Some(_) if redirects > 0 => sleep(REDIRECT_PAUSE * redirects).await,
                Some(_) => {}
            }
        }
        Ok(done)
    }

    /// Checks the connections to servers that own slots.
    pub(crate) async fn ping(self: &Arc<Self>) -> Result<(), RedisError> {
        let owners: HashSet<NodeAddress> = {
            let mut guard = self.lock();
            let State { owners, places } = &mut *guard;
            let owners: HashSet<NodeAddress> = owners.values().cloned().collect();
            // What owns nothing has left the cluster, or will be connected to again.
            places.retain(|address, _| owners.contains(address));
            places.keys().cloned().collect()
        };
        let pings = join_all(owners.into_iter().map(|address| self.run_at(address, Vec::new()))).await;
        pings.into_iter().try_for_each(|ran| ran.map(drop))
    }

    fn by_owner(&self, commands: Vec<OnChannel>) -> Result<HashMap<NodeAddress, Vec<OnChannel>>, RedisError> {
        let any = NodeAddress::try_from(self.seed.get_connection_info().addr())?;
        let mut groups: HashMap<NodeAddress, Vec<OnChannel>> = HashMap::new();
        let mut state = self.lock();
        for command in commands {
            let owner = state.owners.entry(Slot::for_key(&command.channel)).or_insert_with(|| any.clone());
            groups.entry(owner.clone()).or_default().push(command);
        }
        Ok(groups)
    }

    /// Runs commands on one server.
    async fn run_at(
        self: &Arc<Self>,
        address: NodeAddress,
        commands: Vec<OnChannel>,
    ) -> Result<Ran, RedisError> {
        let place = self.lock().places.entry(address.clone()).or_default().clone();
        let mut place = place.lock().await;
        let (mut connection, is_new) = match place.take() {
            Some(connection) => (connection, false),
            None => (self.connect(&address).await?, true),
        };
        match self.exchange(&mut connection, &commands).await {
            Ok(answers) => {
                *place = Some(connection);
                self.sort(&address, commands, answers)
            }
            Err(error) if is_new => Err(error),
            Err(_lost) => {
                self.lose(&address);
                Ok(Ran::default())
            }
        }
    }

    /// Sends commands, and receives the answers.
    async fn exchange(
        &self,
        connection: &mut MultiplexedConnection,
        commands: &[OnChannel],
    ) -> Result<Vec<Value>, RedisError> {
        let number = self.numbers.fetch_add(1, Relaxed).to_string();
        let mut pipe = redis::pipe();
        // Each of them has an answer of its own.
        pipe.ignore_errors();
        for command in commands {
            pipe.add_command(command.command.clone());
        }
        pipe.cmd("PING").arg(&number);
        let mut answers: Vec<Value> = pipe.query_async(connection).await?;
        match answers.pop() {
            Some(Value::BulkString(last)) if last == number.as_bytes() => Ok(answers),
            _ => Err((ErrorKind::UnexpectedReturnType, "a subscription has ended meanwhile").into()),
        }
    }

    /// Sorts commands by their answers.
    fn sort(
        &self,
        address: &NodeAddress,
        commands: Vec<OnChannel>,
        answers: Vec<Value>,
    ) -> Result<Ran, RedisError> {
        let mut ran = Ran::default();
        for (command, answer) in commands.into_iter().zip(answers) {
            let Err(error) = answer.extract_error() else {
                ran.done.push(command.channel);
                continue;
            };
            let Some((to, _slot)) = error.redirect_node() else { return Err(error) };
            if !command.is_redirected {
                ran.done.push(command.channel);
                continue;
            }
            let owner = match to.strip_prefix(':') {
                // Another port of the same host.
                Some(port) => NodeAddress::try_from(&*format!("{}:{port}", address.host()))?,
                None => NodeAddress::try_from(to)?,
            };
            self.lock().owners.insert(Slot::for_key(&command.channel), owner);
            ran.moved.push(command);
            ran.redirection = Some(error);
        }
        Ok(ran)
    }

    /// Opens a connection to a server of the cluster.
    async fn connect(self: &Arc<Self>, address: &NodeAddress) -> Result<MultiplexedConnection, RedisError> {
        let seed = self.seed.get_connection_info();
        let (host, port) = (address.host().to_owned(), address.port());
        let addr = match seed.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let client = Client::open(seed.clone().set_addr(addr))?;
        let (shards, address) = (Arc::downgrade(self), address.clone());
        let config = self.config.clone().set_push_sender(move |push: PushInfo| {
            let Some(shards) = shards.upgrade() else { return Err(SendError) };
            match push.kind {
                PushKind::Disconnection => shards.lose(&address),
                _ => shards.listener.receive(push),
            }
            Ok(())
        });
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Tells the listener that a connection was lost.
    fn lose(&self, address: &NodeAddress) {
        let owners = self.lock();
        let owned = owners.owners.iter().filter(|(_, owner)| *owner == address);
        let slots: HashSet<Slot> = owned.map(|(slot, _)| *slot).collect();
        drop(owners);
        self.listener.lose(&slots);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Not derived: a listener has no representation.
impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("owners", &self.lock().owners.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redis::{IntoConnectionInfo, ProtocolVersion};
    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Heard(StdMutex<Vec<HashSet<Slot>>>);

    impl Listener for Heard {
        fn receive(&self, _push: PushInfo) {}

        fn lose(&self, slots: &HashSet<Slot>) {
            self.0.lock().expect("no panic").push(slots.clone());
        }
    }

    /// Receives a command.
    async fn receive(stream: &mut BufStream<TcpStream>) -> Option<Vec<String>> {
        async fn number(stream: &mut BufStream<TcpStream>) -> Option<usize> {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            line.get(1..)?.trim_end().parse().ok()
        }
        let mut words = Vec::new();
        for _ in 0..number(stream).await? {
            let mut word = vec![0; number(stream).await? + 2];
            stream.read_exact(&mut word).await.ok()?;
            words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
        }
        Some(words)
    }

    /// Answers as a server does that ends a subscription before it answers `SPUBLISH`.
    async fn serve(stream: TcpStream) -> Option<()> {
        let mut stream = BufStream::new(stream);
        while let Some(words) = receive(&mut stream).await {
            let answer = match &*words[0] {
                "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
                "PING" => format!("${}\r\n{}\r\n", words[1].len(), words[1]),
                "SSUBSCRIBE" => {
                    format!(">3\r\n$10\r\nssubscribe\r\n${}\r\n{}\r\n:1\r\n", words[1].len(), words[1])
                }
                "SPUBLISH" => ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n:1\r\n".to_owned(),
                _ => "+OK\r\n".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
        }
        Some(())
    }

    fn on_channel(name: &str, channel: &str) -> OnChannel {
        let mut command = Cmd::new();
        command.arg(name).arg(channel).arg((name == "SPUBLISH").then_some("text"));
        OnChannel { channel: channel.into(), command, is_redirected: true }
    }

    #[tokio::test]
    async fn a_connection_whose_answers_are_out_of_step_is_replaced() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}", server.local_addr().expect("bound"));
        let serving = tokio::spawn(async move {
            let mut accepted = 0;
            // The third connection would be one too many.
            while accepted < 2 {
                let (stream, _peer) = server.accept().await.expect("open");
                tokio::spawn(serve(stream));
                accepted += 1;
            }
        });
        let info = url.into_connection_info().expect("valid");
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let seed = Client::open(info.set_redis_settings(settings)).expect("valid");
        let heard = Arc::new(Heard::default());
        let shards = Arc::new(Shards::new(seed, AsyncConnectionConfig::new(), heard.clone()));
        let (a, b) = (Slot::for_key("a"), Slot::for_key("b"));

        let subscribed = shards.run(vec![on_channel("SSUBSCRIBE", "a"), on_channel("SSUBSCRIBE", "b")]).await;
        assert_eq!(subscribed.expect("reachable"), ["a", "b"]);
        let published = shards.run(vec![on_channel("SPUBLISH", "b")]).await;
        assert_eq!(published.expect("reachable"), Vec::<String>::new(), "the outcome is unknown");
        assert_eq!(*heard.0.lock().expect("no panic"), [HashSet::from([a, b])]);
        let again = shards.run(vec![on_channel("SSUBSCRIBE", "b")]).await;
        assert_eq!(again.expect("reachable"), ["b"]);
        serving.await.expect("two connections");
        shards.ping().await.expect("in step");
        assert_eq!(heard.0.lock().expect("no panic").len(), 1);
    }
}
