//! The task that connects, and runs what needs a connection.

use std::sync::Arc;

use fullduplex::hub::RoomKey;
use fullduplex_backplane_common::{Item, MAX_DELAY, Outgoing, RESET_AFTER, delays};
use redis::{ErrorKind, RedisError};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    link::{Broken, Link, timed_out},
    presence,
    shared::Shared,
    subscriptions, transient,
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

/// Connects, and runs what needs the connections until they are lost.
async fn run<R: RoomKey + AsRef<str>>(shared: &Arc<Shared<R>>) {
    let (broken, mut reports) = Broken::new();
    let (outgoing, queue) = Outgoing::new();
    let link = match connect(shared, broken, outgoing).await {
        Ok(link) => link,
        Err(error) => return shared.disconnected(Arc::new(error)),
    };
    shared.members.restart();
    shared.connected(link.clone());
    let mut tasks = spawn(shared, link, queue);
    let error = tokio::select! {
        Some(error) = reports.recv() => error,
        Some(ended) = tasks.join_next() => Arc::new(ended.unwrap_or_else(|panic| {
            // Of a function of the program, which the hub has called.
            RedisError::from((ErrorKind::Client, "a task of the backplane has panicked", panic.to_string()))
        })),
    };
    shared.disconnected(error);
    // Two generations of tasks must not pass messages of the same room.
    tasks.shutdown().await;
}

/// Connects, and prepares all that has to be there before calls are answered.
async fn connect<R: RoomKey + AsRef<str>>(
    shared: &Arc<Shared<R>>,
    broken: Broken,
    outgoing: Outgoing,
) -> Result<Link, RedisError> {
    let mut link = Link::open(shared, broken, outgoing).await?;
    if shared.server.is_cluster() {
        link.check().await?;
        // A replica that has become the primary may not know who entered last: all enter again.
        presence::begin(shared, &mut link.commands).await?;
    } else {
        presence::renew(shared, &mut link.commands).await?;
    }
    let node = shared.inbox.get().map_or(0, |inbox| inbox.node());
    let mut pipe = redis::pipe();
    pipe.cmd("SUBSCRIBE").arg(shared.keys.node(node)).cmd("SUBSCRIBE").arg(shared.keys.everyone());
    match timeout(shared.settings.timeout, pipe.exec_async(&mut link.subscriptions)).await {
        Ok(subscribed) => subscribed?,
        Err(_elapsed) => return Err(timed_out()),
    }
    subscriptions::resubscribe(shared, &mut link).await?;
    Ok(link)
}

fn spawn<R: RoomKey + AsRef<str>>(
    shared: &Arc<Shared<R>>,
    link: Link,
    queue: mpsc::Receiver<Item>,
) -> JoinSet<RedisError> {
    let (heartbeat, limit) = (shared.settings.heartbeat, shared.settings.timeout);
    let mut tasks = JoinSet::new();
    tasks.spawn(subscriptions::subscribe(shared.clone(), link.clone()));
    tasks.spawn(subscriptions::read(shared.clone(), link.clone()));
    tasks.spawn(subscriptions::compare_all(shared.clone(), link.clone(), heartbeat));
    tasks.spawn(presence::tell(shared.clone(), link.clone()));
    tasks.spawn(presence::keep_lease(shared.clone(), link.clone()));
    tasks.spawn(presence::sweep(shared.clone(), link.clone()));
    tasks.spawn(transient::write(shared.clone(), link.clone(), queue));
    tasks.spawn(link.keep_checking(heartbeat, limit));
    tasks
}
