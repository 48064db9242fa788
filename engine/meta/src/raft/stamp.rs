//! A leader's stamps: max(previous, now), advance bounded.
//!
//! The wall clock is believed once, when a source begins; after that a stamp advances by at most
//! what the monotonic clock has run plus [`SLACK_MS`], so that a clock set forward by mistake while
//! the process runs does not carry the partition's time with it (time in the log never goes back,
//! so a leap could not be undone). A leap at the start is bounded by [`START_LEAP_MS_MAX`].

use engine_core::ports::Clock;
use parking_lot::Mutex;
use std::time::Duration;

/// How much faster than the monotonic clock stamps may run, per stamp.
pub const SLACK_MS: u64 = 500;
/// Farthest a group's time may leap when its leader starts: longer outages catch up slowly.
pub const START_LEAP_MS_MAX: u64 = 5 * 366 * 24 * 3_600_000;

#[derive(Clone, Copy, Debug)]
struct Last {
    stamp: u64,
    at: Duration,
}

/// Stamps of one group on one node.
#[derive(Debug, Default)]
pub struct StampSource(Mutex<Option<Last>>);

impl StampSource {
    /// The next stamp, not below `floor` (the last one applied here).
    pub fn next(&self, clock: &dyn Clock, floor: u64) -> u64 {
        let (now, at) = (clock.unix_ms(), clock.monotonic());
        let mut last = self.0.lock();
        #[cfg(sabotage)]
        if engine_types::sabotage("stamp-back") {
            return now;
        }
        let stamp = match *last {
            Some(last) => {
                let run = u64::try_from(at.saturating_sub(last.at).as_millis()).unwrap_or(u64::MAX);
                let most = last
                    .stamp
                    .max(floor)
                    .saturating_add(run)
                    .saturating_add(SLACK_MS);
                now.min(most).max(last.stamp).max(floor)
            }
            None if floor == 0 => now,
            None => now.min(floor.saturating_add(START_LEAP_MS_MAX)).max(floor),
        };
        *last = Some(Last { stamp, at });
        stamp
    }

    /// The last stamp given.
    pub fn last(&self) -> u64 {
        self.0.lock().map_or(0, |last| last.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct Hands {
        unix: AtomicU64,
        run: AtomicU64,
    }
    impl Clock for Hands {
        fn unix_ms(&self) -> u64 {
            self.unix.load(Ordering::Relaxed)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.run.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn stamps_never_go_back_and_do_not_follow_a_leap() {
        let (clock, source) = (Hands::default(), StampSource::default());
        clock.unix.store(1_000_000, Ordering::Relaxed);
        assert_eq!(source.next(&clock, 0), 1_000_000);
        clock.unix.store(10, Ordering::Relaxed);
        assert_eq!(source.next(&clock, 0), 1_000_000);
        clock.unix.store(9_000_000, Ordering::Relaxed);
        clock.run.store(40, Ordering::Relaxed);
        assert_eq!(source.next(&clock, 0), 1_000_040 + SLACK_MS);
        assert_eq!(source.next(&clock, 2_000_000), 2_000_000 + SLACK_MS);
    }

    #[test]
    fn the_first_stamp_believes_the_wall_clock_within_bounds() {
        let clock = Hands::default();
        clock.unix.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(
            StampSource::default().next(&clock, 7),
            7 + START_LEAP_MS_MAX
        );
        clock.unix.store(3, Ordering::Relaxed);
        assert_eq!(StampSource::default().next(&clock, 7), 7);
    }
}
