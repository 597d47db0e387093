//! How the server is reached, or those of a cluster.

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, aio::MultiplexedConnection, cluster::ClusterClient,
};

use crate::commands::Commands;

/// How the server is reached, or those of a cluster.
#[derive(Debug)]
pub(crate) struct Server {
    /// The server, or those of a cluster that are known in advance.
    clients: Vec<Client>,
    cluster: Option<ClusterClient>,
}

impl Server {
    pub(crate) fn new(clients: Vec<Client>) -> Self {
        Self { clients, cluster: None }
    }

    pub(crate) fn of_cluster(clients: Vec<Client>, cluster: ClusterClient) -> Self {
        Self { clients, cluster: Some(cluster) }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Returns the number of the database.
    pub(crate) fn database(&self) -> i64 {
        self.clients.first().map_or(0, |client| client.get_connection_info().redis_settings().db())
    }

    /// Returns the command that publishes on the channel of a room.
    pub(crate) fn publish(&self) -> &'static str {
        if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Opens a connection for commands.
    pub(crate) async fn commands(&self, config: &AsyncConnectionConfig) -> Result<Commands, RedisError> {
        if let Some(cluster) = &self.cluster {
            return Ok(Commands::Cluster(cluster.get_async_connection().await?));
        }
        let (_client, connection) = self.connect(config).await?;
        Ok(Commands::Server(connection))
    }

    /// Connects to the first server that answers, from a random one on.
    pub(crate) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<(&Client, MultiplexedConnection), RedisError> {
        let count = self.clients.len();
        let start = rand::random_range(0..count.max(1));
        let mut failed = RedisError::from((ErrorKind::InvalidClientConfig, "there is no address"));
        for client in self.clients.iter().cycle().skip(start).take(count) {
            match client.get_multiplexed_async_connection_with_config(config).await {
                Ok(connection) => return Ok((client, connection)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
