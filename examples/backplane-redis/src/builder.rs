//! How a backplane is configured.

use std::{fmt, marker::PhantomData, time::Duration};

use fullduplex::hub::RoomKey;
use redis::{
    Client, IntoConnectionInfo, ProtocolVersion, RedisError,
    cluster::{ClusterClient, ClusterClientBuilder},
};

use crate::{Redis, server::Server, shared::Shared};

/// Ids that are known, at least, however short the history is. A node publishes again what the
/// server has not acknowledged, and others may have published meanwhile.
const LEAST_IDS: u64 = 1000;

/// How often a command is repeated that a cluster cannot execute now, and the limits of the pauses, in
/// milliseconds. Together, the pauses are shorter than the default timeout.
const RETRIES: u32 = 16;
const MIN_RETRY_WAIT: u64 = 10;
const MAX_RETRY_WAIT: u64 = 200;

/// Configures a [`Redis`] backplane.
///
/// | setting | default |
/// |---|---|
/// | [`prefix`](Self::prefix) of keys and channels | `fullduplex` |
/// | [`max_messages`](Self::max_messages) of a room | 10,000 |
/// | [`max_age`](Self::max_age) of a message | no limit |
/// | [`expire_after`](Self::expire_after), without messages | 7 days |
/// | [`timeout`](Self::timeout) of a call | 5 s |
/// | [`heartbeat`](Self::heartbeat) | 5 s |
/// | [`lease`](Self::lease) | 15 s |
#[must_use = "a backplane is made by `build`"]
pub struct Builder<R> {
    urls: Vec<String>,
    is_cluster: bool,
    #[cfg(feature = "tls")]
    certificates: Option<Vec<u8>>,
    settings: Settings,
    rooms: PhantomData<fn() -> R>,
}

/// The settings that are used while connected.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) max_messages: u64,
    pub(crate) max_age: Option<Duration>,
    pub(crate) expire_after: Duration,
    pub(crate) timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
}

/// Why a backplane cannot be created.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// A URL or the certificates are invalid. Or there is no URL of a cluster, or they have different
    /// credentials.
    #[error("invalid URL or certificates")]
    Url(#[source] RedisError),
    /// The prefix is empty, or contains a brace, which has a meaning in clusters.
    #[error("the prefix is empty or contains a brace")]
    Prefix,
    /// A number or a duration is zero.
    #[error("`{0}` is zero")]
    Zero(&'static str),
    /// The lease is shorter than the heartbeat and the timeout together: it could end before the node
    /// learns that the server cannot be reached.
    #[error("the lease is shorter than the heartbeat and the timeout together")]
    Lease,
}

impl<R: RoomKey + AsRef<str>> Builder<R> {
    pub(crate) fn new(urls: Vec<String>, is_cluster: bool) -> Self {
        Self {
            urls,
            is_cluster,
            #[cfg(feature = "tls")]
            certificates: None,
            settings: Settings {
                prefix: "fullduplex".into(),
                max_messages: 10_000,
                max_age: None,
                expire_after: Duration::from_secs(7 * 24 * 3600),
                timeout: Duration::from_secs(5),
                heartbeat: Duration::from_secs(5),
                lease: Duration::from_secs(15),
            },
            rooms: PhantomData,
        }
    }

    /// Sets what the names of all keys and channels begin with.
    ///
    /// Hubs with the same prefix, on the same server and database, share their rooms.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Sets how many messages of each room are kept, at least.
    ///
    /// Redis removes messages in blocks, by default of up to 100.
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.settings.max_messages = messages;
        self
    }

    /// Sets how long a message is kept. `None` sets no limit.
    ///
    /// Messages that are too old are removed when the next one is published, up to 16 at a time. If
    /// none is published, all of them are removed once the last one is too old.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.settings.max_age = age.into();
        self
    }

    /// Sets how long the history of a room is kept after its last message.
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.settings.expire_after = time;
        self
    }

    /// Sets how long a call may take. It fails with
    /// [`Away`](fullduplex::hub::BackplaneError::Away) then, and the node connects again.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how often the lease is renewed, the connections are checked, and the rooms are compared
    /// with their histories.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.settings.heartbeat = interval;
        self
    }

    /// Sets how long members stay present after their node has ended, or cannot reach the server.
    ///
    /// Other nodes remove them within a further heartbeat.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Sets the certificates of the authorities that are trusted for `rediss://`, in PEM.
    ///
    /// They take the place of those of the operating system.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates = Some(pem.into());
        self
    }

    /// Creates the backplane. It connects once a hub is attached.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid.
    pub fn build(self) -> Result<Redis<R>, InvalidSettings> {
        self.settings.check()?;
        let server = self.server().map_err(InvalidSettings::Url)?;
        Ok(Redis::of(Shared::new(self.settings, server)))
    }

    fn server(&self) -> Result<Server, RedisError> {
        let clients: Vec<Client> = self.urls.iter().map(|url| self.client(url)).collect::<Result<_, _>>()?;
        if self.is_cluster {
            let cluster = self.cluster(&clients)?;
            return Ok(Server::of_cluster(clients, cluster));
        }
        Ok(Server::new(clients))
    }

    fn client(&self, url: &str) -> Result<Client, RedisError> {
        let info = url.into_connection_info()?;
        // Only this version of the protocol has both answers and published messages on one connection.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(redis);
        #[cfg(feature = "tls")]
        {
            // Fails if the program has chosen one. Without any, connecting would panic if the program
            // is built with more than one.
            let _chosen = rustls::crypto::ring::default_provider().install_default();
            if let Some(certificates) = self.certificates() {
                return Client::build_with_tls(info, certificates);
            }
        }
        Client::open(info)
    }

    fn cluster(&self, clients: &[Client]) -> Result<ClusterClient, RedisError> {
        let addresses = clients.iter().map(|client| client.get_connection_info().clone());
        let builder = ClusterClientBuilder::new(addresses)
            .connection_timeout(self.settings.timeout)
            .response_timeout(self.settings.timeout)
            .retries(RETRIES)
            .min_retry_wait(MIN_RETRY_WAIT)
            .max_retry_wait(MAX_RETRY_WAIT);
        #[cfg(feature = "tls")]
        if let Some(certificates) = self.certificates() {
            return builder.certs(certificates).build();
        }
        builder.build()
    }

    #[cfg(feature = "tls")]
    fn certificates(&self) -> Option<redis::TlsCertificates> {
        let root_cert = self.certificates.clone()?;
        Some(redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
    }
}

impl Settings {
    fn check(&self) -> Result<(), InvalidSettings> {
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return Err(InvalidSettings::Prefix);
        }
        let durations = [
            ("max_age", self.max_age.unwrap_or(Duration::MAX)),
            ("expire_after", self.expire_after),
            ("timeout", self.timeout),
            ("heartbeat", self.heartbeat),
            ("lease", self.lease),
        ];
        for (name, duration) in durations {
            // Redis counts in milliseconds.
            if duration < Duration::from_millis(1) {
                return Err(InvalidSettings::Zero(name));
            }
        }
        if self.max_messages == 0 {
            return Err(InvalidSettings::Zero("max_messages"));
        }
        if self.lease < self.heartbeat.saturating_add(self.timeout) {
            return Err(InvalidSettings::Lease);
        }
        Ok(())
    }

    /// How many ids of a room are known.
    pub(crate) fn max_ids(&self) -> u64 {
        self.max_messages.max(LEAST_IDS)
    }
}

/// Returns a duration as Redis expects it.
pub(crate) fn millis(duration: Duration) -> u64 {
    // A thousand years, which a script adds to the time without loss.
    const MOST: u128 = 1000 * 365 * 24 * 3600 * 1000;
    duration.as_millis().clamp(1, MOST) as u64
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may contain a password.
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn build(builder: Builder<String>) -> Result<Redis<String>, InvalidSettings> {
        builder.build()
    }

    fn with(url: &str) -> Builder<String> {
        Builder::new(vec![url.to_owned()], false)
    }

    fn cluster(urls: &[&str]) -> Builder<String> {
        Builder::new(urls.iter().map(|&url| url.to_owned()).collect(), true)
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(build(with("redis://localhost")).is_ok());
        assert!(build(with("redis://localhost:6380/3").prefix("chat")).is_ok());
        assert!(build(cluster(&["redis://me:secret@one", "redis://me:secret@two"])).is_ok());
    }

    #[test]
    fn the_urls_of_a_cluster_are_of_servers_with_the_same_credentials() {
        for urls in [&[][..], &["redis://me:secret@one", "redis://two"], &["unix:///path"], &["one", "x://"]]
        {
            assert!(matches!(build(cluster(urls)), Err(InvalidSettings::Url(_))), "{urls:?}");
        }
    }

    #[test]
    fn invalid_settings_are_refused() {
        let with = || with("redis://localhost");
        for prefix in ["", "a{b", "}"] {
            assert!(matches!(build(with().prefix(prefix)), Err(InvalidSettings::Prefix)), "{prefix}");
        }
        let zero = Duration::ZERO;
        for (name, builder) in [
            ("max_messages", with().max_messages(0)),
            ("max_age", with().max_age(zero)),
            ("expire_after", with().expire_after(zero)),
            ("timeout", with().timeout(zero)),
            ("heartbeat", with().heartbeat(zero)),
            ("lease", with().lease(zero)),
        ] {
            assert!(matches!(build(builder), Err(InvalidSettings::Zero(zero)) if zero == name), "{name}");
        }
        let short = with().lease(Duration::from_secs(9));
        assert!(matches!(build(short), Err(InvalidSettings::Lease)));
    }

    #[test]
    fn errors_and_debug_output_do_not_contain_the_password() {
        for url in ["redis://me:hunter2@", "redis://me:hunter2@host:x", "http://me:hunter2@host", "hunter2"] {
            let builder = with(url);
            assert!(!format!("{builder:?}").contains("hunter2"));
            let error = build(builder).expect_err(url);
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            let printed = format!("{error} {error:?} {source}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        for builder in [with("redis://me:hunter2@localhost"), cluster(&["redis://me:hunter2@localhost"])] {
            let redis = build(builder).expect("valid");
            assert!(!format!("{redis:?}").contains("hunter2"));
        }
    }
}
