//! Counts of latencies, in a constant number of bytes however long a run is.

use std::time::Duration;

/// Each power of two is divided into this many buckets, so that a value is off by at most 1.6 %.
const PARTS: u32 = 64;
const BITS: u32 = PARTS.ilog2();

/// Counts of latencies.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        self.counts[bucket(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.total += 1;
        self.max = self.max.max(latency);
    }

    /// Adds the counts of another one.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns the least latency that at least this share does not exceed, rounded up; zero if nothing
    /// was recorded.
    pub fn at(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted && seen > 0
        });
        found.map_or(Duration::ZERO, |bucket| Duration::from_nanos(last_of(bucket)).min(self.max))
    }
}

/// Returns the bucket of a value.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    if power < BITS {
        return nanos as usize;
    }
    let part = (nanos >> (power - BITS)) - u64::from(PARTS);
    ((power - BITS + 1) * PARTS) as usize + part as usize
}

/// Returns the largest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    let (row, part) = (bucket as u32 / PARTS, bucket as u64 % u64::from(PARTS));
    match row.checked_sub(1) {
        None => part,
        Some(shift) => (((u64::from(PARTS) + part) << shift) - 1) + (1 << shift),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_a_bucket_whose_largest_value_is_little_more() {
        let mut value = 1_u64;
        while value < 1 << 50 {
            for near in [value - 1, value, value + 1] {
                let last = last_of(bucket(near));
                assert!(near <= last && last - near <= near / 63, "{near} in a bucket up to {last}");
            }
            value = value * 9 / 8 + 1;
        }
        assert_eq!(last_of(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn shares_are_those_of_all_that_was_recorded() {
        let (mut first, mut second) = (Histogram::default(), Histogram::default());
        assert_eq!(first.at(0.5), Duration::ZERO);
        for millis in 1..=100 {
            let half = if millis % 2 == 0 { &mut first } else { &mut second };
            half.record(Duration::from_millis(millis));
        }
        first.add(&second);
        assert_eq!((first.total(), first.max()), (100, Duration::from_millis(100)));
        for (share, millis) in [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0)] {
            let found = first.at(share).as_secs_f64() * 1e3;
            assert!((millis..=millis * 1.016).contains(&found), "{found} ms at {share}");
        }
    }
}
