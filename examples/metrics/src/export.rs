//! The metrics of a server in the format of Prometheus (OpenMetrics).

use std::{collections::BTreeMap, fmt};

use fullduplex::serve::{Metrics, Refusal};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// Exports the metrics of a server.
pub(crate) struct Exporter(Registry);

impl Exporter {
    /// The type of the text that [`export`](Self::export) returns.
    pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub(crate) fn new(metrics: Metrics) -> Self {
        let mut registry = Registry::with_prefix("websocket");
        registry.register_collector(Box::new(Counters(metrics)));
        Self(registry)
    }

    /// Returns the values of all counters as text.
    pub(crate) fn export(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// Reads the counters when they are scraped, so that nothing is counted twice.
#[derive(Debug)]
struct Counters(Metrics);

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.snapshot();
        let open = i64::try_from(now.open).unwrap_or(i64::MAX);
        let gauge = encoder.encode_descriptor("open", "Open connections", None, MetricType::Gauge)?;
        ConstGauge::new(open).encode(gauge)?;
        for (name, help, value) in [
            ("opened", "Connections that were opened", now.opened),
            ("messages_received", "Messages received, on connections that have ended", now.messages_received),
            ("messages_sent", "Messages sent, on connections that have ended", now.messages_sent),
            ("bytes_received", "Bytes received, on connections that have ended", now.bytes_received),
            ("bytes_sent", "Bytes sent, on connections that have ended", now.bytes_sent),
            ("queue_full", "Messages refused because the queue was full", now.queue_full),
            ("accept_errors", "Errors of accepting connections", now.accept_errors),
            ("panics", "Handlers that have panicked", now.panics),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        // A peer can choose codes from 3000 to 4999: one label for each of these two ranges.
        let codes = now.closed.iter().map(|(code, count)| {
            let label = match code.get() {
                3000..4000 => "3xxx".to_owned(),
                4000..5000 => "4xxx".to_owned(),
                code => code.to_string(),
            };
            (label, *count)
        });
        family(&mut encoder, "closed", "Connections that have ended, by close code", "code", codes)?;
        let refusals = now.refused.iter().map(|(refusal, count)| match refusal {
            Refusal::Status(status) => (status.as_str().to_owned(), *count),
            refusal => (refusal.as_str().to_owned(), *count),
        });
        family(&mut encoder, "refused", "Connections that were refused, by reason", "reason", refusals)?;
        let timeouts = now.timeouts.iter().map(|(timeout, count)| (timeout.to_string(), *count));
        family(&mut encoder, "timeouts", "Connections that a deadline has ended", "deadline", timeouts)
    }
}

/// Encodes a counter for each value of a label. Values that occur several times are added.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (String, u64)>,
) -> Result<(), fmt::Error> {
    let mut sums = BTreeMap::<String, u64>::new();
    for (value, count) in counts {
        *sums.entry(value).or_default() += count;
    }
    if sums.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, sum) in sums {
        ConstCounter::new(sum).encode(metric.encode_family(&[(label, value.as_str())])?)?;
    }
    Ok(())
}
