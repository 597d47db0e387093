//! Clients that connect again: each message is applied once, in order, whatever is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fullduplex::{
    ClientStream, CloseCode, Error, Message,
    reconnect::{
        Attempt, Backoff, Builder, Delivery, Handle, Opened, QueueLimits, QueuedMessage, Reason, Receipt,
        Reconnecting, Verdict,
    },
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use super::{
    World,
    content::{content, length, number, parse},
    facts::{Fact, Way},
    routes::Route,
};

/// What a client has sent, and what was acknowledged.
#[derive(Debug, Default)]
struct Sent {
    /// The messages without an acknowledgement, with their lengths.
    open: BTreeMap<usize, usize>,
    /// How often the server may receive each transmission.
    permitted: Vec<usize>,
    connections: usize,
    acknowledged: BTreeSet<usize>,
    queued: Vec<Queued>,
}

/// A client, in the parts that its closures share.
#[derive(Clone)]
struct Client {
    world: World,
    number: usize,
    sent: Arc<Mutex<Sent>>,
    /// The way of the current attempt or connection.
    way: Arc<Mutex<Way>>,
}

/// A message of the queue, until the client is told its outcome.
#[derive(Debug)]
struct Queued {
    transmission: usize,
    retries: bool,
    receipt: Receipt,
}

/// Sends numbered messages until all of them are acknowledged.
pub async fn run(world: World, mut rng: SmallRng) {
    let client = Client {
        number: world.ledger.begin_client(),
        world: world.clone(),
        sent: Arc::default(),
        way: Arc::default(),
    };
    // More than a link takes at once, for some.
    let least = if rng.random_ratio(1, 3) { 20_000 } else { 0 };
    let lengths: Vec<_> = (0..rng.random_range(1..40)).map(|_| least + length(&mut rng) / 2).collect();
    let mut next = 0;
    loop {
        client.run_until_closed(&lengths, &mut next, &mut rng).await;
        if client.sent().acknowledged.len() == lengths.len() {
            break;
        }
    }
    client.settle();
    assert!(client.sent().queued.is_empty(), "client {}: no outcome", client.number);
    for (transmission, most) in client.sent().permitted.iter().enumerate() {
        let received = world.ledger.received(client.number, transmission);
        if received > 1 {
            world.net.note("again: sent again by the queue");
        }
        let number = client.number;
        assert!(received <= *most, "client {number}: {transmission} arrived {received} times, not {most}");
    }
    assert_eq!(world.ledger.applied(client.number), lengths.len(), "client {}", client.number);
}

impl Client {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().expect("no panic while it is held")
    }

    fn way(&self) -> Way {
        self.way.lock().expect("no panic while it is held").clone()
    }

    /// Runs a client until everything is acknowledged, or an attempt has failed for good.
    async fn run_until_closed(&self, lengths: &[usize], next: &mut usize, rng: &mut SmallRng) {
        let mut reconnecting = self.builder(rng).build();
        let handle = reconnecting.handle();
        let mut rng = SmallRng::seed_from_u64(rng.random());
        let sending = self.send_all(&handle, lengths, next, &mut rng);
        let receiving = async {
            let result = loop {
                match reconnecting.recv().await {
                    Ok(Some(message)) => {
                        self.acknowledge(&parse(&message, 2).0);
                        if self.sent().acknowledged.len() == lengths.len() {
                            // Fails if it was closed already.
                            let _ = handle.close(CloseCode::NORMAL, "done");
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(why) => break Err(why),
                }
            };
            // Before the receipts are examined.
            drop(reconnecting);
            result
        };
        let (received, ()) = tokio::join!(receiving, sending);
        match received {
            Ok(()) => {}
            // The connection is lost while it closes.
            Err(why) if self.sent().acknowledged.len() == lengths.len() => {
                check_reason(&self.world, &why, &self.way());
            }
            Err(why) => {
                assert!(why.is_final(), "client {}: ends with {why:#}", self.number);
                self.world.net.note("again: ended for good");
            }
        }
    }

    fn builder(&self, rng: &mut SmallRng) -> Builder<ClientStream> {
        let limits = QueueLimits::new().max_messages(rng.random_range(1..20));
        let rng = SmallRng::seed_from_u64(rng.random());
        let builder = Reconnecting::builder(connecting(
            self.world.clone(),
            format!("/again/{}", self.number),
            self.way.clone(),
            rng,
        ));
        let (classifying, opening) = (self.clone(), self.clone());
        builder
            .backoff(backoff())
            .queue(limits)
            .classify(move |why, _| classifying.classify(why))
            .on_open(move |opened| opening.clone().reopen(opened))
    }

    /// Asserts that the reason fits what has happened.
    fn classify(&self, why: &Reason) -> Verdict {
        let way = self.way();
        let net = &self.world.net;
        net.log(format_args!("client {}: {why:#} after {way}", self.number));
        net.act(check_reason(&self.world, why, &way));
        // A proxy that forbids the tunnel ends the client. Other ends would not be final.
        let forbidden = why.is_final() && way.has(&[Fact::Forbidden]);
        assert!(forbidden || !why.is_final(), "client {}: {why:#} is final", self.number);
        Verdict::Default
    }

    /// Sends again what is not acknowledged.
    async fn reopen(self, opened: Opened) -> Result<(), Error> {
        let (open, connections) = {
            let mut sent = self.sent();
            sent.connections += 1;
            (sent.open.clone(), sent.connections)
        };
        if connections > 1 {
            self.world.net.act("again: connected again");
        }
        self.world.net.log(format_args!("client {} sends again: {:?}", self.number, open.keys()));
        for (id, len) in open {
            let message = self.message("hook", self.transmission(), id, len);
            opened.sender().send(message).await?;
        }
        Ok(())
    }

    /// Returns the number of a new transmission, which the server receives once at most.
    fn transmission(&self) -> usize {
        let permitted = &mut self.sent().permitted;
        permitted.push(1);
        permitted.len() - 1
    }

    fn message(&self, kind: &str, transmission: usize, id: usize, len: usize) -> Message {
        content(&format!("{kind} {transmission}"), id, len)
    }

    /// Queues the messages that were not queued yet.
    async fn send_all(&self, handle: &Handle, lengths: &[usize], next: &mut usize, rng: &mut SmallRng) {
        while let Some(&len) = lengths.get(*next) {
            let (id, transmission, retries) = (*next, self.transmission(), rng.random());
            let message = QueuedMessage::new(self.message("queued", transmission, id, len)).retry(retries);
            // The hook may send it first, which is a transmission of its own.
            if !self.sent().acknowledged.contains(&id) {
                self.sent().open.insert(id, len);
            }
            let Ok(receipt) = handle.send(message).await else {
                self.sent().permitted[transmission] = 0;
                return;
            };
            *next += 1;
            self.world.net.act("again: queued");
            self.world.net.log(format_args!("client {} has queued {id}", self.number));
            self.sent().queued.push(Queued { transmission, retries, receipt });
            if rng.random_ratio(1, 3) {
                sleep(Duration::from_millis(rng.random_range(0..4000))).await;
            }
        }
    }

    fn acknowledge(&self, words: &[String]) {
        let id: usize = number(&words[1]);
        assert!(id < self.world.ledger.applied(self.number), "client {}: {id} was not applied", self.number);
        self.settle();
        self.world.net.log(format_args!("client {}: {id} is acknowledged", self.number));
        let mut sent = self.sent();
        sent.open.remove(&id);
        if sent.acknowledged.insert(id) {
            self.world.net.act("again: acknowledged");
        }
    }

    /// Records the outcomes that the client has been told.
    fn settle(&self) {
        let Sent { queued, permitted, connections, .. } = &mut *self.sent();
        queued.retain_mut(|Queued { transmission, retries, receipt }| {
            let Some(outcome) = receipt.try_get() else { return true };
            if *retries {
                permitted[*transmission] = *connections;
            }
            self.world.net.note(match outcome {
                Delivery::Sent => "again: sent",
                Delivery::Dropped => "again: dropped",
                _ => "again: unknown",
            });
            match outcome {
                Delivery::Sent => self.world.ledger.seal(self.number, *transmission),
                // It was passed to no connection, unless one was lost that had accepted it.
                Delivery::Dropped if !*retries => permitted[*transmission] = 0,
                _ => {}
            }
            false
        });
    }
}

/// Returns a closure that connects by a random route, and records what happens on the way.
pub fn connecting(
    world: World,
    path: String,
    current: Arc<Mutex<Way>>,
    mut rng: SmallRng,
) -> impl FnMut(Attempt) -> Connecting + Send + 'static {
    move |attempt| {
        let way = Way::default();
        *current.lock().expect("no panic while it is held") = way.clone();
        let mut route = Route::random(&mut rng, &world.hosts, false);
        if attempt.number() > 3 || world.net.is_healed() {
            route.correct();
        }
        let client = route.client(&world.net, &world.tls, &way, world.config.clone());
        let (world, target) = (world.clone(), route.target(&path));
        world.net.log(format_args!("{path}: an attempt over {route:?}"));
        Box::pin(async move {
            let opened = client.connect(target).await?;
            world.net.act(route.name());
            Ok(opened)
        })
    }
}

type Connecting = std::pin::Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send>>;
type Connected = (fullduplex::WebSocket<ClientStream>, http::Response<()>);

/// Returns delays that do not depend on chance.
pub fn backoff() -> Backoff {
    let restart = Duration::from_secs(3);
    Backoff::new()
        .step(Duration::ZERO)
        .max_spread(Duration::ZERO)
        .min_delay(Duration::from_millis(700))
        .restart_delay(restart..=restart)
}

/// Asserts that a connection may end for this reason. Returns its name, for the coverage.
pub fn check_reason(world: &World, why: &Reason, way: &Way) -> &'static str {
    match why {
        Reason::Failed(error) => {
            world.net.note_error(error);
            way.assert_fits(error, "an attempt");
            "attempt: failed"
        }
        Reason::Lost(error) => {
            world.net.note_error(error);
            way.assert_fits(error, "a connection");
            "again: lost"
        }
        Reason::Closed(Some(frame)) => {
            way.assert_closes(frame.code());
            "again: closed by a stopping server"
        }
        other => panic!("the connection ends with {other:#} after {way}"),
    }
}
