//! The metrics of the server in the text format of Prometheus (OpenMetrics).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use fullduplex::{hub::Hub, serve};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::Registry,
};

/// The type of the text that [`Metrics::export`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of the server. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    connections: serve::Metrics,
    tokens: Counter,
    messages: Counter,
    refused: Family<RefusalLabel, Counter>,
    hub: Arc<OnceLock<Hub>>,
}

/// Why a person was refused, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Refusal {
    /// The request was malformed.
    Malformed,
    /// There was no token.
    NoToken,
    /// The ticket or the token had expired.
    Expired,
    /// The ticket or the token was not valid.
    NotValid,
    /// The token was for another endpoint.
    Role,
    /// The person was removed from the room.
    Barred,
    /// The room was closed.
    Closed,
    /// The address had too many connections.
    Address,
    /// The server had too many connections.
    Full,
    /// The store has failed.
    Store,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    reason: Refusal,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates counters that are zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("classroom");
        let (connections, tokens, refused) = (serve::Metrics::new(), Counter::default(), Family::default());
        registry.register("tokens", "Tokens that were issued", tokens.clone());
        let messages = Counter::default();
        registry.register("messages", "Messages that were stored", messages.clone());
        registry.register("refused", "Requests of persons that were refused, by reason", refused.clone());
        registry.register_collector(Box::new(Connections(connections.clone())));
        let hub = Arc::<OnceLock<Hub>>::default();
        registry.register_collector(Box::new(Rooms(hub.clone())));
        Self { registry: Arc::new(registry), connections, tokens, messages, refused, hub }
    }

    /// Adds the counters of a hub. Only that of the first one counts.
    pub fn observe(&self, hub: &Hub) {
        self.hub.get_or_init(|| hub.clone());
    }

    /// Returns the counters of connections, for [`serve::Shutdown::with_metrics`].
    pub fn connections(&self) -> &serve::Metrics {
        &self.connections
    }

    /// Counts a token that was issued.
    pub fn token_issued(&self) {
        self.tokens.inc();
    }

    /// Counts a message that was stored.
    pub fn message_stored(&self) {
        self.messages.inc();
    }

    /// Counts a person who was refused.
    pub fn refused(&self, reason: Refusal) {
        self.refused.get_or_create(&RefusalLabel { reason }).inc();
    }

    /// Returns the values of all counters as text.
    ///
    /// # Errors
    /// Fails if a value cannot be encoded.
    pub fn export(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Reads the counters of the library when they are scraped, so that nothing is counted twice.
#[derive(Debug)]
struct Connections(serve::Metrics);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.snapshot();
        let open = i64::try_from(now.open).unwrap_or(i64::MAX);
        let gauge =
            encoder.encode_descriptor("connections_open", "Open connections", None, MetricType::Gauge)?;
        ConstGauge::new(open).encode(gauge)?;
        for (name, help, value) in [
            ("connections_opened", "Connections that were opened", now.opened),
            ("messages_received", "Messages received, on connections that have ended", now.messages_received),
            ("messages_sent", "Messages sent, on connections that have ended", now.messages_sent),
            ("queue_full", "Messages refused because the queue was full", now.queue_full),
            ("accept_errors", "Errors of accepting connections", now.accept_errors),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        // A peer can choose codes from 3000 to 4999: one label for all that are not ours.
        let mut closed = BTreeMap::<String, u64>::new();
        for (code, count) in &now.closed {
            let label = match code.get() {
                3000..=4000 | 4006..5000 => "other".to_owned(),
                code => code.to_string(),
            };
            *closed.entry(label).or_default() += count;
        }
        if closed.is_empty() {
            return Ok(());
        }
        let help = "Connections that have ended, by close code";
        let mut family = encoder.encode_descriptor("connections_closed", help, None, MetricType::Counter)?;
        for (code, count) in closed {
            ConstCounter::new(count).encode(family.encode_family(&[("code", code.as_str())])?)?;
        }
        Ok(())
    }
}

/// Reads the counters of the hub.
#[derive(Debug)]
struct Rooms(Arc<OnceLock<Hub>>);

impl Collector for Rooms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(hub) = self.0.get() else { return Ok(()) };
        let rooms = hub.rooms();
        let members = rooms.iter().map(|(_, members)| members).sum::<usize>();
        for (name, help, value) in [
            ("rooms", "Rooms that have connections here", rooms.len()),
            ("members", "Connections that have joined a room", members),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(gauge)?;
        }
        let delivered = hub.delivered();
        let help = "Messages for members, by what has become of each";
        let mut family = encoder.encode_descriptor("delivered", help, None, MetricType::Counter)?;
        for (fate, count) in [
            ("sent", delivered.sent),
            ("dropped", delivered.dropped),
            ("waiting", delivered.waiting),
            // The member was too slow: a slow consumer.
            ("closed", delivered.closed),
            ("gone", delivered.gone),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("fate", fate)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_exported_with_their_reasons() {
        let metrics = Metrics::new();
        metrics.token_issued();
        metrics.refused(Refusal::Expired);
        metrics.refused(Refusal::Expired);
        metrics.refused(Refusal::Barred);
        let guard = serve::Shutdown::new().with_metrics(metrics.connections()).guard();
        let text = metrics.export().expect("encodes");
        for line in [
            "classroom_tokens_total 1",
            "classroom_refused_total{reason=\"Expired\"} 2",
            "classroom_refused_total{reason=\"Barred\"} 1",
            "classroom_connections_open 1",
            "classroom_connections_opened_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} in:\n{text}");
        }
        drop(guard);
        let text = metrics.export().expect("encodes");
        assert!(text.contains("classroom_connections_closed_total{code="), "{text}");
    }
}
