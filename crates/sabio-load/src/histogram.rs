//! Latencies of a run, in fixed memory and with a bounded error.
//!
//! Every power of two of nanoseconds is cut into 64 equal steps, so a percentile is at most 1.6 % above
//! the true value however many messages there were. Filled by the generator, read by the report.

use std::time::Duration;

const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of durations.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; slot(u64::MAX) + 1],
            total: 0,
        }
    }

    /// Adds one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slot(nanoseconds)] += 1;
        self.total += 1;
    }

    /// The smallest duration that `share` (0 to 1) of the recorded ones do not exceed; zero when empty.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(highest(slot));
            }
        }
        Duration::ZERO
    }
}

/// The slot of a value: exact below [`STEPS`], then by the leading bits.
fn slot(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let exponent = value.ilog2() - STEP_BITS;
    let step = (value >> exponent) - STEPS;
    (u64::from(exponent + 1) * STEPS + step) as usize
}

/// The highest value that falls into a slot.
fn highest(slot: usize) -> u64 {
    let (row, step) = (slot as u64 / STEPS, slot as u64 % STEPS);
    match row.checked_sub(1) {
        None => step,
        Some(exponent) => ((STEPS + step) << exponent) + ((1 << exponent) - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_its_highest_value_and_not_the_next() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit) / 3]) {
            let top = highest(slot(value));
            assert!(top >= value && slot(top) == slot(value), "{value}");
            assert!(top - value <= value / STEPS, "{value} is reported as {top}");
            assert_eq!(slot(top + 1), slot(value) + 1, "{value}");
        }
    }

    #[test]
    fn percentiles_split_what_was_recorded() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        for (share, microseconds) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.percentile(share).as_secs_f64() * 1e6;
            assert!(
                (microseconds..microseconds * 1.016).contains(&got),
                "{share}: {got}"
            );
        }
    }
}
