//! Programs behind haproxy that share their rooms over a real engine. Clients send numbered messages
//! for two minutes, while a program is killed, the engine is killed, and a program is added.
//!
//! `CLUSTER_SECONDS` is another duration, and `CLUSTER_LOG` what the programs log: nothing by default.

mod support;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::Path,
    process::Command,
    sync::Mutex,
    time::Duration,
};

use classroom::auth::{Auth, Scope};
use rand::random_range;
use support::{
    cluster::{Cluster, SECRET},
    engine::{Engine, free_port, nats, redis},
    person::{Entry, Person, Place},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

/// The programs at first, one of which is killed, and the one that is added.
const PROGRAMS: [&str; 3] = ["a", "b", "c"];
const KILLED: &str = PROGRAMS[0];
const ADDED: &str = "d";

const ROOMS: usize = 8;
const CLIENTS: usize = 200;

/// How many milliseconds a client waits between its messages.
const PACE: Range<u64> = 2000..4000;

/// How many milliseconds after all clients have talked something is killed.
const KILL_DELAY: Range<u64> = 5..50;

/// How long the engine does not run.
const AWAY: Duration = Duration::from_secs(5);

/// How long clients may take after the end to have all messages.
const DEADLINE: Duration = Duration::from_secs(60);

/// The times at which something happens.
#[derive(Clone, Copy)]
struct Times {
    begin: Instant,
    program_is_killed: Instant,
    engine_is_killed: Instant,
    program_is_added: Instant,
    end: Instant,
}

impl Times {
    fn new() -> Self {
        let seconds = std::env::var("CLUSTER_SECONDS").map_or(Ok(120), |text| text.parse());
        let all = Duration::from_secs(seconds.expect("a number of seconds"));
        let begin = Instant::now();
        Self {
            begin,
            program_is_killed: begin + all / 5,
            engine_is_killed: begin + all * 2 / 5,
            program_is_added: begin + all * 3 / 5,
            end: begin + all,
        }
    }

    /// Returns when a client talks again. All of them talk when something is about to be killed, which
    /// then has messages that it has stored and not yet acknowledged.
    fn next(&self) -> Instant {
        let (now, next) = (Instant::now(), Instant::now() + milliseconds(PACE));
        let kills = [self.program_is_killed, self.engine_is_killed];
        kills.into_iter().find(|kill| (now..next).contains(kill)).unwrap_or(next)
    }
}

/// When a client loses its network, with a message that it has just sent.
#[derive(Clone, Copy)]
struct Loss {
    at: Instant,
    /// Whether it does not come back.
    is_final: bool,
}

/// A client, which notes what was acknowledged.
struct Client {
    person: Person,
    room: usize,
    number: usize,
    acknowledged: Vec<Acknowledged>,
    /// The last message of a client that has left.
    unacknowledged: Option<String>,
}

struct Acknowledged {
    offset: u64,
    text: String,
    at: Instant,
}

impl Client {
    async fn join(place: &Place, ticket: &str, room: usize, number: usize) -> Self {
        let mut person = Person::new(place, ticket, &format!("Client {number}")).await;
        person.connected().await;
        Self { person, room, number, acknowledged: Vec::new(), unacknowledged: None }
    }

    /// Talks until the end, unless it leaves.
    async fn talk(mut self, loss: Loss, times: Times) -> Self {
        let mut loss = Some(loss);
        let mut next = times.begin + milliseconds(0..PACE.end);
        while Instant::now() < times.end {
            self.person.connected().await;
            let until = loss.map_or(next, |loss| next.min(loss.at));
            if timeout_at(until, self.person.message()).await.is_ok() {
                continue;
            }
            if let Some(loss) = loss.take_if(|loss| loss.at <= Instant::now()) {
                let text = self.text();
                self.person.say_and_disconnect(&text).await;
                if loss.is_final {
                    self.unacknowledged = Some(text);
                    return self;
                }
            }
            // After a loss, the same message again.
            self.say().await;
            next = times.next();
        }
        self.say().await;
        self
    }

    async fn say(&mut self) {
        let text = self.text();
        let offset = self.person.say(&text).await;
        self.acknowledged.push(Acknowledged { offset, text, at: Instant::now() });
    }

    /// Returns the text of the next message.
    fn text(&self) -> String {
        format!("{}-{}-{}", self.room, self.number, self.acknowledged.len())
    }

    fn has_left(&self) -> bool {
        self.unacknowledged.is_some()
    }

    /// Returns how it came to the program that it was connected to at a time.
    fn entry_at(&self, at: Instant) -> Option<&Entry> {
        self.person.entries.iter().rev().find(|entry| entry.joined <= at)
    }

    /// Returns how it came back after a time.
    fn entry_after(&self, at: Instant) -> Option<&Entry> {
        self.person.entries.iter().find(|entry| entry.joined > at)
    }
}

fn milliseconds(range: Range<u64>) -> Duration {
    Duration::from_millis(random_range(range))
}

/// A room with its clients.
struct Room {
    ticket: String,
    clients: Vec<Client>,
}

impl Room {
    async fn join(place: &Place, room: usize) -> Self {
        let auth = Auth::new(&SECRET.parse().expect("long enough"));
        let name = format!("Room {room}").parse().expect("valid");
        let ticket = auth.ticket(&Scope::Student(name)).expect("signed");
        let joining = (0..CLIENTS / ROOMS).map(|number| {
            let (place, ticket) = (place.clone(), ticket.clone());
            tokio::spawn(async move { Client::join(&place, &ticket, room, number).await })
        });
        Self { clients: all(joining.collect()).await, ticket }
    }

    /// The clients talk. One of them leaves when the engine is about to be killed; the others lose their
    /// network at any time, and come back.
    async fn talk(mut self, times: Times) -> Self {
        let all_the_time = times.end - times.begin;
        let talking = self.clients.into_iter().map(|client| {
            let loss = match client.number {
                0 => Loss { at: times.engine_is_killed, is_final: true },
                _ => Loss { at: times.begin + all_the_time.mul_f64(rand::random()), is_final: false },
            };
            tokio::spawn(client.talk(loss, times))
        });
        self.clients = all(talking.collect()).await;
        self
    }

    /// Checks that each client that lives has all messages of the history, in its order.
    async fn check(mut self, place: &Place) -> Self {
        let mut reader = Person::new(place, &self.ticket, "Reader").await;
        reader.begin_as(&self.clients[0].person);
        reader.connected().await;
        let history = reader.received;
        let (last, _) = *history.last().expect("messages");
        for client in self.clients.iter_mut().filter(|client| !client.has_left()) {
            client.person.read_to(last).await;
            assert_eq!(client.person.received, history, "of client {}", client.number);
        }
        self.check_history(&history);
        self
    }

    /// Checks that the history is what was acknowledged, each once, and that the messages of a client
    /// are in the order in which it has sent them. A message of a client that has left may be there.
    fn check_history(&self, history: &[(u64, String)]) {
        let mut missing: HashMap<_, _> = HashMap::new();
        for client in &self.clients {
            assert!(client.acknowledged.is_sorted_by(|a, b| a.offset < b.offset), "client {}", client.number);
            missing.extend(client.acknowledged.iter().map(|message| (&message.text, message.offset)));
        }
        let mut unacknowledged: HashSet<_> =
            self.clients.iter().filter_map(|client| client.unacknowledged.as_ref()).collect();
        for (offset, text) in history {
            match missing.remove(text) {
                Some(acknowledged) => assert_eq!(acknowledged, *offset, "{text}"),
                None => assert!(unacknowledged.remove(text), "{text} is there again, or was never sent"),
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}

async fn all<T: 'static>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("no panic"));
    }
    done
}

/// Kills and starts what the clients use, at its times. Returns when the engine is back.
async fn disturb(
    cluster: &mut Cluster,
    engine: Engine,
    command: &mut Command,
    port: u16,
    times: Times,
) -> (Engine, Instant) {
    sleep_until(times.program_is_killed + milliseconds(KILL_DELAY)).await;
    cluster.kill(KILLED).await;
    sleep_until(times.engine_is_killed + milliseconds(KILL_DELAY)).await;
    drop(engine);
    sleep(AWAY).await;
    let engine = Engine::start(command, port).await;
    let back = Instant::now();
    sleep_until(times.program_is_added).await;
    cluster.start(ADDED).await;
    (engine, back)
}

/// Checks that the clients have noticed what has happened, and prints how long they needed.
fn check_faults(rooms: &[Room], times: Times, engine_is_back: Instant) {
    let clients = || rooms.iter().flat_map(|room| &room.clients);
    let living = || clients().filter(|client| !client.has_left());
    let is_at =
        |entry: Option<&Entry>, program| entry.is_some_and(|entry| entry.program.as_deref() == Some(program));

    let lost: Vec<_> = clients()
        .filter(|client| is_at(client.entry_at(times.program_is_killed), KILLED))
        .map(|client| client.entry_after(times.program_is_killed).expect("it has come back"))
        .map(|entry| entry.joined - times.program_is_killed)
        .collect();
    assert!(lost.len() >= CLIENTS / 6, "{} clients have lost a connection", lost.len());
    print("connected again after the program was killed", lost);

    let told = living().filter(|client| {
        let mut told = client.person.delayed.iter().skip_while(|(at, _)| *at < times.engine_is_killed);
        told.next().is_some_and(|(_, away)| *away) && told.next().is_some_and(|(_, away)| !away)
    });
    let told = told.count();
    assert!(told >= CLIENTS / 2, "{told} clients were told that the engine was away, and back");
    let first = living().map(|client| {
        let next = client.acknowledged.iter().find(|message| message.at > engine_is_back);
        next.expect("it has talked until the end").at - engine_is_back
    });
    print("acknowledged after the engine was back", first.collect());

    let again = clients().flat_map(|client| client.person.entries.iter().skip(1));
    print("connected again, for all reasons", again.map(|entry| entry.joined - entry.began).collect());

    let added = living().filter(|client| is_at(client.person.entries.last(), ADDED)).count();
    assert!(added > 0, "no client was served by the program that was added");
    println!("clients of the program that was added: {added}");
    let sum = |of: fn(&Client) -> usize| clients().map(of).sum::<usize>();
    let duplicates = sum(|client| client.person.duplicates);
    assert!(duplicates > 0, "no message was sent again that had been stored");
    println!(
        "{} messages acknowledged, of them {duplicates} sent again and not stored again, {} received",
        sum(|client| client.acknowledged.len()),
        sum(|client| client.person.received.len()),
    );
}

/// Prints the median and the longest of some durations.
fn print(what: &str, mut durations: Vec<Duration>) {
    durations.sort_unstable();
    let (median, last) = (durations[durations.len() / 2], durations[durations.len() - 1]);
    println!("{what}: {}, median {median:.1?}, last {last:.1?}", durations.len());
}

async fn talk_over(option: &str, scheme: &str, command: impl Fn(&Path, u16) -> Command) {
    let directory = tempfile::tempdir().expect("a directory");
    let of_engine = directory.path().join("engine");
    std::fs::create_dir(&of_engine).expect("created");
    let port = free_port();
    let mut command = command(&of_engine, port);
    let engine = Engine::start(&mut command, port).await;
    let url = format!("{scheme}://127.0.0.1:{port}");
    let mut cluster =
        Cluster::behind_proxy(directory.path(), [option, &url], &[&PROGRAMS[..], &[ADDED]].concat()).await;
    for name in PROGRAMS {
        cluster.start(name).await;
    }
    cluster.until(ADDED, false).await;
    let place = Place::new(Mutex::new(cluster.address()));
    let joining = (0..ROOMS).map(|room| {
        let place = place.clone();
        tokio::spawn(async move { Room::join(&place, room).await })
    });
    let rooms = all(joining.collect()).await;
    let times = Times::new();
    let talking = rooms.into_iter().map(|room| tokio::spawn(room.talk(times))).collect();
    let (_engine, engine_is_back) = disturb(&mut cluster, engine, &mut command, port, times).await;
    let rooms = timeout_at(times.end + DEADLINE, all(talking)).await.expect("all is acknowledged in time");
    let checking = rooms.into_iter().map(|room| {
        let place = place.clone();
        tokio::spawn(async move { room.check(&place).await })
    });
    let rooms = timeout(DEADLINE, all(checking.collect())).await.expect("all have everything in time");
    check_faults(&rooms, times, engine_is_back);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_each_client_has_each_acknowledged_message_once_in_order() {
    talk_over("--redis", "redis", redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nats_each_client_has_each_acknowledged_message_once_in_order() {
    talk_over("--nats", "nats", nats).await;
}
