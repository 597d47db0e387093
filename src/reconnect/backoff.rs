//! The delay before the next attempt.

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header::RETRY_AFTER};

use super::classify::Reason;
use crate::CloseCode;

/// The longest delay. A longer one could overflow the clock.
const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long a client waits before it connects again.
///
/// The delay before attempt `n` is `min_delay`, plus a random share of `max_spread` or of
/// `step * 2^n`, whichever is less. The first attempt has number 0 and no delay. The number grows
/// with each attempt, and starts again after a connection that was open for `reset_after`, from the
/// end of its hook on.
///
/// The share is random so that the clients of a server that restarts do not all return at once.
///
/// | setting | default |
/// |---|---|
/// | [`min_delay`](Self::min_delay) | 100 ms |
/// | [`step`](Self::step) | 500 ms |
/// | [`max_spread`](Self::max_spread) | 30 s |
/// | [`reset_after`](Self::reset_after) | 10 s |
/// | [`restart_delay`](Self::restart_delay), after close code 1012 | 5 s to 30 s |
/// | [`max_retry_after`](Self::max_retry_after) | 1 h |
///
/// `Retry-After` in the response of a server that refused (RFC 9110 section 10.2.3) takes the place
/// of `min_delay` if it is longer: the random share is added to it.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::reconnect::Backoff;
///
/// let backoff = Backoff::new().min_delay(Duration::from_secs(1)).max_spread(Duration::from_secs(60));
/// # let _ = backoff;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min_delay: Duration,
    step: Duration,
    max_spread: Duration,
    pub(super) reset_after: Duration,
    restart_delay: RangeInclusive<Duration>,
    max_retry_after: Duration,
}

impl Backoff {
    /// Creates a backoff with the default settings.
    pub fn new() -> Self {
        Self {
            min_delay: Duration::from_millis(100),
            step: Duration::from_millis(500),
            max_spread: Duration::from_secs(30),
            reset_after: Duration::from_secs(10),
            restart_delay: Duration::from_secs(5)..=Duration::from_secs(30),
            max_retry_after: Duration::from_secs(3600),
        }
    }

    /// Sets the least delay, to which the random share is added.
    #[must_use]
    pub fn min_delay(mut self, delay: Duration) -> Self {
        self.min_delay = delay;
        self
    }

    /// Sets what is doubled with each attempt: the largest random share is `step * 2^n`.
    #[must_use]
    pub fn step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// Sets the limit of the random share.
    #[must_use]
    pub fn max_spread(mut self, spread: Duration) -> Self {
        self.max_spread = spread;
        self
    }

    /// Sets how long a connection has to be open until the attempts are counted from 0 again.
    #[must_use]
    pub fn reset_after(mut self, open: Duration) -> Self {
        self.reset_after = open;
        self
    }

    /// Sets the range of the random delay after the close code
    /// [`SERVICE_RESTART`](CloseCode::SERVICE_RESTART) (1012).
    ///
    /// The IANA registry recommends 5 to 30 seconds. The start of the range is used if its end is
    /// not greater.
    #[must_use]
    pub fn restart_delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.restart_delay = range;
        self
    }

    /// Sets the longest `Retry-After` that is obeyed: a longer one counts as this.
    #[must_use]
    pub fn max_retry_after(mut self, limit: Duration) -> Self {
        self.max_retry_after = limit;
        self
    }

    /// Returns the delay before attempt `number`, with a random `share` from 0 to 1.
    pub(super) fn delay(&self, number: u32, why: &Reason, now: SystemTime, share: f64) -> Duration {
        if why.close_code() == Some(CloseCode::SERVICE_RESTART) {
            let (least, most) = (*self.restart_delay.start(), *self.restart_delay.end());
            return add(least, share_of(most.saturating_sub(least), share));
        }
        let asked = why.error().and_then(|error| retry_after(error.response()?.headers(), now));
        let least = self.min_delay.max(asked.unwrap_or_default().min(self.max_retry_after));
        let spread = self.step.saturating_mul(1_u32.checked_shl(number).unwrap_or(u32::MAX));
        add(least, share_of(spread.min(self.max_spread), share))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

fn add(least: Duration, share: Duration) -> Duration {
    least.saturating_add(share).min(MAX_DELAY)
}

fn share_of(spread: Duration, share: f64) -> Duration {
    spread.min(MAX_DELAY).mul_f64(share.clamp(0.0, 1.0))
}

/// Returns the value of `Retry-After`: seconds, or the time until a date.
///
/// RFC 9110 section 10.2.3. `None` if the field is missing or malformed.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large for the type is as long as possible.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::Response;

    use super::*;
    use crate::{CloseFrame, Error, ResponseError};

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn refused(retry_after: &str) -> Reason {
        let response = Response::builder().status(503).header("retry-after", retry_after);
        let response = response.body(Bytes::new()).expect("valid");
        Reason::Failed(Arc::new(ResponseError::Status(Box::new(response)).into()))
    }

    fn lost() -> Reason {
        Reason::Lost(Arc::new(Error::Closed))
    }

    fn bounds(number: u32, why: &Reason, now: SystemTime) -> [Duration; 2] {
        [0.0, 1.0].map(|share| Backoff::new().delay(number, why, now, share))
    }

    #[test]
    fn the_random_share_doubles_with_each_attempt_up_to_thirty_seconds() {
        let now = SystemTime::UNIX_EPOCH;
        let spreads = [1, 2, 3, 4, 5, 6, 7, 31, 32, u32::MAX].map(|number| {
            let [least, most] = bounds(number, &lost(), now);
            assert_eq!(least, 100 * MS, "{number}");
            (most - least).as_millis()
        });
        assert_eq!(spreads, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn retry_after_in_seconds_is_a_lower_bound() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(bounds(1, &refused("7"), now), [7 * SECOND, 8 * SECOND]);
        assert_eq!(bounds(1, &refused("0"), now)[0], 100 * MS, "min_delay still counts");
        assert_eq!(bounds(1, &refused("3600"), now)[0], 3600 * SECOND);
    }

    #[test]
    fn retry_after_with_a_date_is_a_lower_bound() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").expect("valid");
        assert_eq!(bounds(1, &refused("Sun, 06 Nov 1994 08:49:37 GMT"), now)[0], 7 * SECOND);
        assert_eq!(bounds(1, &refused("Sun, 06 Nov 1994 08:49:00 GMT"), now)[0], 100 * MS, "it is past");
    }

    #[test]
    fn row_80_a_longer_retry_after_counts_as_an_hour() {
        let now = SystemTime::UNIX_EPOCH;
        for value in
            ["3601", "18446744073709551615", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"]
        {
            assert_eq!(bounds(1, &refused(value), now)[0], 3600 * SECOND, "{value}");
        }
    }

    #[test]
    fn row_80_a_malformed_retry_after_is_ignored() {
        let now = SystemTime::UNIX_EPOCH;
        for value in ["", "-1", "1.5", "soon", "1 s", "+5"] {
            assert_eq!(bounds(1, &refused(value), now)[0], 100 * MS, "{value:?}");
        }
    }

    #[test]
    fn a_restart_of_the_service_delays_by_five_to_thirty_seconds() {
        let closed = Reason::Closed(Some(CloseFrame::from_static(CloseCode::SERVICE_RESTART, "")));
        for number in [1, 9] {
            assert_eq!(bounds(number, &closed, SystemTime::UNIX_EPOCH), [5 * SECOND, 30 * SECOND]);
        }
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let backoff = Backoff::new()
            .min_delay(Duration::MAX)
            .step(Duration::MAX)
            .max_spread(Duration::MAX)
            .max_retry_after(Duration::MAX)
            .restart_delay(Duration::MAX..=Duration::ZERO);
        let closed = Reason::Closed(Some(CloseFrame::from_static(CloseCode::SERVICE_RESTART, "")));
        for why in [lost(), refused("18446744073709551615"), closed] {
            assert_eq!(backoff.delay(u32::MAX, &why, SystemTime::UNIX_EPOCH, 1.0), MAX_DELAY);
        }
    }

    #[test]
    fn clients_that_lose_their_connections_at_once_do_not_return_at_once() {
        let mut bins = [0; 11];
        for _ in 0..10_000 {
            let delay = Backoff::new().delay(1, &lost(), SystemTime::UNIX_EPOCH, rand::random());
            bins[delay.as_millis() as usize / 100] += 1;
        }
        assert_eq!(bins[0], 0);
        assert!(bins.iter().all(|&bin| bin <= 1300), "{bins:?}");
    }
}
