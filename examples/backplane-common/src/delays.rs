//! How long a node waits before it connects again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The delay before the second attempt.
const MIN_DELAY: Duration = Duration::from_millis(50);

/// The limit of a delay, to which a random share is added.
pub const MAX_DELAY: Duration = Duration::from_secs(2);

/// How long a connection has to be open until the delays begin again.
pub const RESET_AFTER: Duration = Duration::from_secs(10);

/// Returns the delays between attempts to connect, without end.
///
/// Each is twice the one before, up to [`MAX_DELAY`]. A random share of the same length is added, so
/// that the nodes of an engine that was away do not return at once.
pub fn delays() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(MIN_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_do_not_end() {
        let delays: Vec<Duration> = delays().take(50).collect();
        assert_eq!(delays.len(), 50);
        assert!((MIN_DELAY..=2 * MIN_DELAY).contains(&delays[0]), "{:?}", delays[0]);
        assert!((2 * MIN_DELAY..=4 * MIN_DELAY).contains(&delays[1]), "{:?}", delays[1]);
        assert!(delays[10..].iter().all(|delay| (MAX_DELAY..=2 * MAX_DELAY).contains(delay)));
    }
}
