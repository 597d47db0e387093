//! The task that connects, and runs what needs a connection.

use std::sync::Arc;

use fullduplex::hub::{Inbox, RoomKey};
use fullduplex_backplane_common::{Item, MAX_DELAY, Outgoing, RESET_AFTER, delays};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    failure::Failure,
    link::{Broken, Link},
    presence,
    shared::Shared,
    transient::{self, Subscriptions},
};

/// Connects, runs what needs a connection, and connects again when it is lost.
pub(crate) async fn drive<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>) {
    let mut retries = delays();
    loop {
        let start = Instant::now();
        run(&shared).await;
        shared.rooms.disconnected();
        shared.members.disconnected();
        if start.elapsed() >= RESET_AFTER {
            retries = delays();
        }
        sleep(retries.next().unwrap_or(MAX_DELAY)).await;
    }
}

/// Connects, and runs what needs the connection until it is lost.
async fn run<R: RoomKey + AsRef<str>>(shared: &Arc<Shared<R>>) {
    let (broken, mut reports) = Broken::new();
    let (outgoing, queue) = Outgoing::new();
    let node = shared.inbox.get().map_or(0, Inbox::node);
    let (link, subscriptions) = match connect(shared, broken, outgoing, node).await {
        Ok(connected) => connected,
        Err(failure) => return shared.disconnected(Arc::new(failure)),
    };
    shared.members.restart();
    shared.connected(link.clone());
    let mut tasks = spawn(shared, link, subscriptions, queue);
    let failure = tokio::select! {
        Some(failure) = reports.recv() => failure,
        // A panic is one of a function of the program, which the hub has called.
        Some(ended) = tasks.join_next() => Arc::new(ended.unwrap_or_else(Failure::away)),
    };
    shared.disconnected(failure);
    tasks.shutdown().await;
}

/// Connects, and prepares all that has to be there before calls are answered.
async fn connect<R: RoomKey + AsRef<str>>(
    shared: &Arc<Shared<R>>,
    broken: Broken,
    outgoing: Outgoing,
    node: u64,
) -> Result<(Arc<Link>, Subscriptions), Failure> {
    let Shared { settings, names, servers, options, .. } = &**shared;
    let link = Arc::new(Link::open(settings, names, servers, options, broken, outgoing).await?);
    let subscriptions = Subscriptions::open(shared, &link, node).await?;
    shared.rooms.resubscribe(shared, &link).await?;
    // Once this is answered, the server has subscribed all rooms.
    presence::renew(shared, &link).await?;
    Ok((link, subscriptions))
}

fn spawn<R: RoomKey + AsRef<str>>(
    shared: &Arc<Shared<R>>,
    link: Arc<Link>,
    subscriptions: Subscriptions,
    queue: mpsc::Receiver<Item>,
) -> JoinSet<Failure> {
    let mut tasks = JoinSet::new();
    tasks.spawn(presence::tell(shared.clone(), link.clone()));
    tasks.spawn(presence::keep_lease(shared.clone(), link.clone()));
    tasks.spawn(presence::sweep(shared.clone(), link.clone()));
    tasks.spawn(transient::receive_all(shared.clone(), subscriptions));
    tasks.spawn(transient::write(link, queue));
    tasks
}
