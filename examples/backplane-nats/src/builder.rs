//! How a backplane is configured.

use std::{fmt, marker::PhantomData, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};
use fullduplex::hub::RoomKey;
use percent_encoding::percent_decode_str;

use crate::{Nats, shared::Shared};

/// Configures a [`Nats`] backplane.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) of streams and subjects | `fullduplex` |
/// | [`replicas`](Self::replicas) | 1 |
/// | [`max_messages`](Self::max_messages) of a room | 10,000 |
/// | [`max_age`](Self::max_age) of a message | 7 days |
/// | [`duplicate_window`](Self::duplicate_window) | 10 minutes |
/// | [`timeout`](Self::timeout) of a call | 5 s |
/// | [`heartbeat`](Self::heartbeat) | 5 s |
/// | [`lease`](Self::lease) | 15 s |
///
/// All nodes should have the same settings: the streams get those of the last one that has connected.
#[must_use = "a backplane is made by `build`"]
pub struct Builder<R> {
    url: String,
    options: ConnectOptions,
    settings: Settings,
    rooms: PhantomData<fn() -> R>,
}

/// The settings that are used while connected.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) replicas: usize,
    pub(crate) max_messages: u32,
    pub(crate) max_age: Option<Duration>,
    pub(crate) duplicate_window: Duration,
    pub(crate) timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
}

/// Why a backplane cannot be created.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// The URL is invalid.
    #[error("invalid URL: {0}")]
    Url(String),
    /// The name is empty, or contains other characters than letters, digits, `-` and `_`.
    #[error("the name is empty, or contains other characters than letters, digits, `-` and `_`")]
    Name,
    /// A number or a duration is zero.
    #[error("`{0}` is zero")]
    Zero(&'static str),
    /// The window for duplicates is longer than messages are kept.
    #[error("the window for duplicates is longer than messages are kept")]
    DuplicateWindow,
    /// The lease is shorter than the heartbeat and the timeout together: it could end before the
    /// node learns that the server cannot be reached.
    #[error("the lease is shorter than the heartbeat and the timeout together")]
    Lease,
}

impl<R: RoomKey + AsRef<str>> Builder<R> {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            options: ConnectOptions::new(),
            settings: Settings {
                name: "fullduplex".into(),
                replicas: 1,
                max_messages: 10_000,
                max_age: Some(Duration::from_secs(7 * 24 * 3600)),
                duplicate_window: Duration::from_secs(600),
                timeout: Duration::from_secs(5),
                heartbeat: Duration::from_secs(5),
                lease: Duration::from_secs(15),
            },
            rooms: PhantomData,
        }
    }

    /// Sets the options of the connection: credentials, and TLS.
    ///
    /// Deadlines, pings, attempts to connect again and the callback for events are replaced.
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets what the names of streams and subjects begin with.
    ///
    /// Hubs with the same name share their rooms.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets the number of servers of a cluster that store each message.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.settings.replicas = replicas;
        self
    }

    /// Sets how many messages of each room are kept.
    pub fn max_messages(mut self, messages: u32) -> Self {
        self.settings.max_messages = messages;
        self
    }

    /// Sets how long a message is kept. `None` sets no limit: rooms are kept for ever then.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.settings.max_age = age.into();
        self
    }

    /// Sets how long the id of a message is known. It may not be longer than
    /// [`max_age`](Self::max_age).
    ///
    /// The server keeps all ids of this time in memory.
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.settings.duplicate_window = window;
        self
    }

    /// Sets how long a call may take. It fails with
    /// [`Away`](fullduplex::hub::BackplaneError::Away) then, and the node connects again.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how often the lease is renewed, and the rooms are compared with their histories.
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

    /// Creates the backplane. It connects once a hub is attached.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid.
    pub fn build(self) -> Result<Nats<R>, InvalidSettings> {
        self.settings.check()?;
        let parse = |url: &str| url.parse::<ServerAddr>();
        // The message does not contain the URL, which may contain a password.
        let servers: Result<Vec<ServerAddr>, _> = self.url.split(',').map(parse).collect();
        let servers = servers.map_err(|error| InvalidSettings::Url(error.to_string()))?;
        let options = with_credentials(self.options, &servers)?;
        Ok(Nats::of(Shared::new(self.settings, servers, options)))
    }
}

/// Adds the user of the first URL that has one, with its password; or the token, if it has none.
fn with_credentials(
    options: ConnectOptions,
    servers: &[ServerAddr],
) -> Result<ConnectOptions, InvalidSettings> {
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(InvalidSettings::Url("the user or the password is not UTF-8".into())),
    };
    let Some((server, user)) = servers.iter().find_map(|server| Some((server, server.username()?))) else {
        return Ok(options);
    };
    Ok(match server.password() {
        Some(password) => options.user_and_password(decode(user)?, decode(password)?),
        None => options.token(decode(user)?),
    })
}

impl Settings {
    fn check(&self) -> Result<(), InvalidSettings> {
        let is_valid = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if self.name.is_empty() || !self.name.chars().all(is_valid) {
            return Err(InvalidSettings::Name);
        }
        let numbers = [
            ("replicas", self.replicas == 0),
            ("max_messages", self.max_messages == 0),
            ("max_age", self.max_age == Some(Duration::ZERO)),
            ("duplicate_window", self.duplicate_window.is_zero()),
            ("timeout", self.timeout.is_zero()),
            ("heartbeat", self.heartbeat.is_zero()),
            ("lease", self.lease.is_zero()),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidSettings::Zero(name));
        }
        if self.max_age.is_some_and(|age| age < self.duplicate_window) {
            return Err(InvalidSettings::DuplicateWindow);
        }
        if self.lease < self.heartbeat.saturating_add(self.timeout) {
            return Err(InvalidSettings::Lease);
        }
        Ok(())
    }
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a password.
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> Builder<String> {
        Builder::new("nats://localhost")
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(builder().build().is_ok());
        assert!(Builder::<String>::new("nats://a:4222,tls://b").name("chat-1").max_age(None).build().is_ok());
    }

    #[test]
    fn invalid_settings_are_refused() {
        for name in ["", "a.b", "a b", "*"] {
            assert!(matches!(builder().name(name).build(), Err(InvalidSettings::Name)), "{name}");
        }
        let zero = Duration::ZERO;
        for (name, builder) in [
            ("replicas", builder().replicas(0)),
            ("max_messages", builder().max_messages(0)),
            ("max_age", builder().max_age(zero)),
            ("duplicate_window", builder().duplicate_window(zero)),
            ("timeout", builder().timeout(zero)),
            ("heartbeat", builder().heartbeat(zero)),
            ("lease", builder().lease(zero)),
        ] {
            assert!(matches!(builder.build(), Err(InvalidSettings::Zero(zero)) if zero == name), "{name}");
        }
        let long = builder().max_age(Duration::from_secs(1));
        assert!(matches!(long.build(), Err(InvalidSettings::DuplicateWindow)));
        let short = builder().lease(Duration::from_secs(9));
        assert!(matches!(short.build(), Err(InvalidSettings::Lease)));
    }

    #[test]
    fn errors_and_debug_output_do_not_contain_the_password() {
        for url in
            ["nats://me:hunter2@", "nats://me:hunter2@host:x", "http://me:hunter2@host", "me:hunter2@[x"]
        {
            let builder = Builder::<String>::new(url);
            assert!(!format!("{builder:?}").contains("hunter2"));
            let error = builder.build().expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let nats = Builder::<String>::new("nats://me:hunter2@localhost").build().expect("valid");
        assert!(!format!("{nats:?}").contains("hunter2"));
    }
}
