//! The loop's clock: nanoseconds of `CLOCK_MONOTONIC`, and the exact way to and from the seconds
//! that `loop.time()`, `call_at` and `when()` speak.
//!
//! The invariant that keeps timers from firing early: a deadline given as seconds `s` becomes the
//! smallest [`Nanos`] whose own [`as_secs_f64`](Nanos::as_secs_f64) is not below `s`. So once the
//! clock has reached it, `loop.time() >= s` holds in Python's floats too.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time: nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The end of time: a deadline that never passes.
    pub const MAX: Self = Self(u64::MAX);

    /// Reads the clock.
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        Self::read(ClockId::Monotonic)
    }

    /// A point of the recent past: what the same clock showed at the kernel's last tick, some milliseconds ago. Much
    /// cheaper than [`now`](Self::now), for those who only ask whether something is far away yet.
    #[inline]
    #[must_use]
    pub fn at_last_tick() -> Self {
        Self::read(ClockId::MonotonicCoarse)
    }

    #[inline]
    fn read(clock: ClockId) -> Self {
        let time = clock_gettime(clock);
        // Counts from boot: never negative, and 584 years fit.
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos))
    }

    /// Seconds, by the formula of Python's `time.monotonic()`.
    #[inline]
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The first point in time whose [`as_secs_f64`](Self::as_secs_f64) is at least `seconds`.
    ///
    /// NaN and everything below zero become 0; infinity and what does not fit become [`MAX`](Self::MAX).
    #[inline]
    #[must_use]
    pub fn at_or_after(seconds: f64) -> Self {
        if seconds.is_nan() || seconds <= 0.0 {
            return Self(0);
        }
        // The cast saturates, so what is too large ends at MAX.
        let estimate = (seconds * 1e9).ceil() as u64;
        if estimate < 1 << 53 {
            // The usual case: the estimate is right, or one off after rounding.
            let estimate = Self(estimate);
            let previous = Self(estimate.0.saturating_sub(1));
            if estimate.as_secs_f64() >= seconds && previous.as_secs_f64() < seconds {
                return estimate;
            }
        }
        Self::search(estimate, seconds)
    }

    /// Searches around `estimate`, which may be off by the distance of neighbouring floats.
    fn search(estimate: u64, seconds: f64) -> Self {
        let spread = (estimate >> 50) + 4;
        let mut low = estimate.saturating_sub(spread);
        let mut high = estimate.saturating_add(spread);
        while low < high {
            let middle = low + (high - low) / 2;
            if Self(middle).as_secs_f64() < seconds {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Self(low)
    }

    /// This time and `duration` later, if that can be told.
    #[inline]
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// This time and `duration` later, at most [`MAX`](Self::MAX).
    #[inline]
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self::MAX)
    }

    /// How long after `earlier` this is; zero if it is not.
    #[inline]
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_seconds_become_the_ends_of_time() {
        assert_eq!(Nanos::at_or_after(f64::NAN), Nanos(0));
        assert_eq!(Nanos::at_or_after(-1.0), Nanos(0));
        assert_eq!(Nanos::at_or_after(f64::NEG_INFINITY), Nanos(0));
        assert_eq!(Nanos::at_or_after(0.0), Nanos(0));
        assert_eq!(Nanos::at_or_after(f64::INFINITY), Nanos::MAX);
        assert_eq!(Nanos::at_or_after(1e300), Nanos::MAX);
        assert_eq!(Nanos::at_or_after(f64::MIN_POSITIVE), Nanos(1));
        assert_eq!(Nanos::at_or_after(1e-9), Nanos(1));
        assert_eq!(Nanos::at_or_after(1.5), Nanos(1_500_000_000));
    }

    #[cfg(not(miri))]
    #[test]
    fn the_clock_moves_forward_and_agrees_with_itself() {
        let tick = Nanos::at_last_tick();
        let first = Nanos::now();
        let second = Nanos::now();
        assert!(tick <= first);
        assert!(second >= first);
        assert!(second.saturating_since(first) < Duration::from_secs(5));
    }

    #[test]
    fn additions_end_at_the_end_of_time() {
        assert_eq!(Nanos(5).saturating_add(Duration::from_nanos(7)), Nanos(12));
        assert_eq!(
            Nanos(u64::MAX - 1).saturating_add(Duration::from_secs(1)),
            Nanos::MAX
        );
        assert_eq!(Nanos(u64::MAX - 1).checked_add(Duration::from_nanos(2)), None);
        assert_eq!(Nanos(0).saturating_add(Duration::MAX), Nanos::MAX);
    }

    proptest! {
        /// The definition itself, over uptimes from nothing to beyond what 53 bits hold exactly.
        #[test]
        fn at_or_after_is_the_smallest_that_is_not_early(
            nanos in prop_oneof![0u64..1 << 20, 0u64..1 << 45, 0u64..1 << 54, 0u64..1 << 63],
            steps in -3i32..4,
        ) {
            let mut seconds = Nanos(nanos).as_secs_f64();
            for _ in 0..steps.unsigned_abs() {
                seconds = if steps > 0 { seconds.next_up() } else { seconds.next_down() };
            }
            let found = Nanos::at_or_after(seconds);
            prop_assert!(found.as_secs_f64() >= seconds);
            if found.0 > 0 {
                prop_assert!(Nanos(found.0 - 1).as_secs_f64() < seconds);
            }
        }

        #[test]
        fn a_time_that_python_was_told_comes_back_at_or_before(nanos in 0u64..1 << 62) {
            let found = Nanos::at_or_after(Nanos(nanos).as_secs_f64());
            prop_assert!(found.0 <= nanos);
            prop_assert_eq!(found.as_secs_f64(), Nanos(nanos).as_secs_f64());
        }
    }
}
