//! The connection to the server.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    jetstream::{
        Context,
        context::ContextBuilder,
        stream::{Config, DiscardPolicy, Republish, Stream},
    },
};
use fullduplex_backplane_common::Outgoing;
use tokio::{sync::mpsc, time::timeout};

use crate::{builder::Settings, failure::Failure, names::Names};

/// Messages of one subscription that may wait for the node. Further ones are dropped, and read from
/// the history.
const SUBSCRIPTION_CAPACITY: usize = 256;

/// A connection to the server, and the streams.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) rooms: Stream<()>,
    pub(crate) members: Stream<()>,
    pub(crate) leases: Stream<()>,
    /// The time at which the stream of messages was created, which is the epoch of all rooms.
    pub(crate) epoch: u64,
    /// Queues messages that are not stored.
    pub(crate) outgoing: Outgoing,
    limit: Duration,
    broken: Broken,
}

/// Ends a link. The first failure is the reason.
#[derive(Debug, Clone)]
pub(crate) struct Broken(mpsc::Sender<Arc<Failure>>);

impl Broken {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Arc<Failure>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    fn report(&self, failure: Failure) {
        // Full: there was an earlier one. Closed: the link has ended.
        let _earlier = self.0.try_send(Arc::new(failure));
    }
}

impl Link {
    /// Connects, and creates the streams or changes their settings.
    pub(crate) async fn open(
        settings: &Settings,
        names: &Names,
        servers: &[ServerAddr],
        options: &ConnectOptions,
        broken: Broken,
        outgoing: Outgoing,
    ) -> Result<Self, Failure> {
        let events = broken.clone();
        let client = options
            .clone()
            .connection_timeout(settings.timeout)
            .request_timeout(Some(settings.timeout))
            .ping_interval(settings.heartbeat)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            // The driver connects again, and subscribes all rooms before calls are answered.
            .max_reconnects(servers.len())
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed | Event::LameDuckMode) {
                    events.report(Failure::away(event.to_string()));
                }
                std::future::ready(())
            })
            .connect(servers)
            .await?;
        let limit = settings.timeout;
        let context = ContextBuilder::new().timeout(limit).ack_timeout(limit).build(client.clone());
        let rooms = context.create_or_update_stream(rooms_config(settings, names)).await?;
        context.create_or_update_stream(members_config(settings, names)).await?;
        context.create_or_update_stream(leases_config(settings, names)).await?;
        Ok(Self {
            rooms: context.get_stream_no_info(names.rooms()).await?,
            members: context.get_stream_no_info(names.members()).await?,
            leases: context.get_stream_no_info(names.leases()).await?,
            // Truncated after the year 2554, and different all the same.
            epoch: rooms.created.unix_timestamp_nanos() as u64,
            client,
            context,
            outgoing,
            limit,
            broken,
        })
    }

    /// Waits for a request under the deadline of calls.
    pub(crate) async fn limited<T>(
        &self,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.limit, request).await.unwrap_or_else(|_elapsed| Err(Failure::timed_out()))
    }

    /// Ends the link if a failure means that the server cannot be reached through it.
    pub(crate) fn failed(&self, failure: &Failure) {
        if failure.is_away() {
            self.broken.report(failure.clone());
        }
    }
}

fn rooms_config(settings: &Settings, names: &Names) -> Config {
    Config {
        name: names.rooms(),
        subjects: vec![names.room("*")],
        max_messages_per_subject: settings.max_messages.into(),
        max_age: settings.max_age.unwrap_or_default(),
        duplicate_window: settings.duplicate_window,
        republish: Some(republish(names.room(">"), names.live(">"))),
        ..config(settings)
    }
}

fn members_config(settings: &Settings, names: &Names) -> Config {
    Config {
        name: names.members(),
        subjects: vec![names.all_members(), names.begun("*")],
        max_messages_per_subject: 1,
        republish: Some(republish(names.all_members(), names.all_presence())),
        ..config(settings)
    }
}

fn leases_config(settings: &Settings, names: &Names) -> Config {
    Config {
        name: names.leases(),
        subjects: vec![names.lease("*")],
        max_messages_per_subject: 1,
        max_age: settings.lease,
        // It may not be longer than messages are kept. These have no ids.
        duplicate_window: settings.lease.min(Duration::from_secs(120)),
        ..config(settings)
    }
}

fn config(settings: &Settings) -> Config {
    Config {
        max_messages: -1,
        max_bytes: -1,
        max_consumers: -1,
        discard: DiscardPolicy::Old,
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

fn republish(source: String, destination: String) -> Republish {
    Republish { source, destination, headers_only: false }
}
