//! A leader's stamps: max(previous, now), advance bounded, and never at a stand.
//!
//! A stamp is a plain number of ms; what happens within one is counted beside it, in the order.
//!
//! **Set forward.** The wall clock is believed once, when a source begins; after that a stamp advances
//! by at most what the monotonic clock has run plus [`SLACK_MS`], so that a clock set forward by mistake
//! while the process runs does not carry the partition's time with it (time in the log never goes back,
//! so a leap could not be undone). A leap at the start is bounded by [`START_LEAP_MS_MAX`].
//!
//! **Behind.** A wall clock that was ahead at the start and has been put right since, or that was set
//! back, may stand behind the stamps for years. What dies, what is packed, the watermark and the
//! answers to forget all wait for the partition's time, so that it must not wait for the wall clock:
//! it creeps on by the monotonic clock, at half its rate. At the whole rate the lead would never end,
//! and each small step back, of which time servers make many, would add to it. At half of it the wall
//! clock catches up: a lead of an hour is gone in two. What waits meanwhile waits at most twice as
//! long, which is always safe: these waits are for readers, writers and late commands to be done.

use engine_core::ports::Clock;
use parking_lot::Mutex;
use std::time::Duration;

/// How much faster than the monotonic clock stamps may run, per stamp.
pub const SLACK_MS: u64 = 500;
/// Farthest a group's time may leap when its leader starts: longer outages catch up slowly.
pub const START_LEAP_MS_MAX: u64 = 5 * 366 * 24 * 3_600_000;
/// So much of the monotonic clock makes one ms of a time that creeps.
const CREEP_MS: u64 = 2;
/// People are told of a wall clock that is further behind the partitions' time.
pub const BEHIND_MS_MAX: u64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
struct Last {
    stamp: u64,
    at: Duration,
}

impl Last {
    /// As far as it has crept by `at`. What is short of a whole ms stays to be counted the next time:
    /// asked a thousand times a second, it creeps no slower than asked once.
    fn crept(self, at: Duration) -> Self {
        let steps = whole_ms(at.saturating_sub(self.at)) / CREEP_MS;
        let taken = Duration::from_millis(steps.saturating_mul(CREEP_MS));
        Self {
            stamp: self.stamp.saturating_add(steps),
            at: self.at.saturating_add(taken),
        }
    }
}

fn whole_ms(run: Duration) -> u64 {
    u64::try_from(run.as_millis()).unwrap_or(u64::MAX)
}

/// Both under one lock, in which the clocks are read too: neither goes back.
#[derive(Debug, Default)]
struct State {
    /// The last stamp given, from which a leap is measured.
    given: Option<Last>,
    /// The newest stamp given or seen, crept on since.
    creeping: Option<Last>,
}

impl State {
    /// The least that the partition's time is, `seen` being a stamp of it.
    fn creep(&mut self, at: Duration, seen: u64) -> u64 {
        #[cfg(sabotage)]
        if engine_types::sabotage("stamp-stands") {
            return seen;
        }
        let crept = self.creeping.map(|last| last.crept(at));
        // One that came from elsewhere may have come at any time since the last look: from now on.
        let newest = crept
            .filter(|crept| crept.stamp >= seen)
            .unwrap_or(Last { stamp: seen, at });
        self.creeping = Some(newest);
        newest.stamp
    }
}

/// Stamps of one group on one node.
#[derive(Debug, Default)]
pub struct StampSource(Mutex<State>);

impl StampSource {
    /// The next stamp, not below `floor` (the last one applied here).
    pub fn next(&self, clock: &dyn Clock, floor: u64) -> u64 {
        let mut state = self.0.lock();
        let (now, at) = (clock.unix_ms(), clock.monotonic());
        #[cfg(sabotage)]
        if engine_types::sabotage("stamp-back") {
            return now;
        }
        let believed = match state.given {
            Some(last) => {
                let most = last
                    .stamp
                    .max(floor)
                    .saturating_add(whole_ms(at.saturating_sub(last.at)))
                    .saturating_add(SLACK_MS);
                now.min(most)
            }
            None if floor == 0 => now,
            None => now.min(floor.saturating_add(START_LEAP_MS_MAX)),
        };
        let stamp = state.creep(at, floor).max(believed);
        state.creep(at, stamp);
        state.given = Some(Last { stamp, at });
        stamp
    }

    /// How old `seen`, the newest stamp applied here, is in ms. By the wall clock; where that is
    /// behind, by the time that creeps, so that whoever moves a stamp once it is old still does.
    pub fn age(&self, clock: &dyn Clock, seen: u64) -> u64 {
        let mut state = self.0.lock();
        let (now, at) = (clock.unix_ms(), clock.monotonic());
        state.creep(at, seen).max(now).saturating_sub(seen)
    }

    /// The last stamp given.
    pub fn last(&self) -> u64 {
        self.0.lock().given.map_or(0, |last| last.stamp)
    }
}

/// Whether people were told that the wall clock is behind.
#[derive(Debug, Default)]
pub struct Behind(bool);

/// What they are to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// The wall clock is behind by more than [`BEHIND_MS_MAX`].
    Behind,
    /// It was, and is not behind at all any more.
    CaughtUp,
}

impl Behind {
    /// What there is to tell of a wall clock that is `ms` behind: each turn once.
    pub fn look(&mut self, ms: u64) -> Option<News> {
        let before = self.0;
        self.0 = ms > BEHIND_MS_MAX || (before && ms > 0);
        match (before, self.0) {
            (false, true) => Some(News::Behind),
            (true, false) => Some(News::CaughtUp),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// When these tests begin, ms.
    const BEGIN: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;
    const YEAR: u64 = 365 * 24 * HOUR;

    #[derive(Debug, Default)]
    struct Hands {
        unix: AtomicU64,
        run_us: AtomicU64,
    }
    impl Clock for Hands {
        fn unix_ms(&self) -> u64 {
            self.unix.load(Ordering::Relaxed)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.run_us.load(Ordering::Relaxed))
        }
    }
    impl Hands {
        fn at(unix: u64) -> Self {
            let hands = Self::default();
            hands.set(unix);
            hands
        }
        fn set(&self, unix: u64) {
            self.unix.store(unix, Ordering::Relaxed);
        }
        /// Time that both clocks see.
        fn pass(&self, ms: u64) {
            self.unix.fetch_add(ms, Ordering::Relaxed);
            self.run_us.fetch_add(ms * 1000, Ordering::Relaxed);
        }
    }

    #[test]
    fn stamps_never_go_back_and_do_not_follow_a_leap() {
        let (clock, source) = (Hands::at(1_000_000), StampSource::default());
        assert_eq!(source.next(&clock, 0), 1_000_000);
        clock.set(10);
        assert_eq!(source.next(&clock, 0), 1_000_000);
        clock.pass(40);
        clock.set(9_000_000);
        assert_eq!(source.next(&clock, 0), 1_000_040 + SLACK_MS);
        assert_eq!(source.next(&clock, 2_000_000), 2_000_000 + SLACK_MS);
    }

    #[test]
    fn the_first_stamp_believes_the_wall_clock_within_bounds() {
        let clock = Hands::at(u64::MAX);
        assert_eq!(
            StampSource::default().next(&clock, 7),
            7 + START_LEAP_MS_MAX
        );
        clock.set(3);
        assert_eq!(StampSource::default().next(&clock, 7), 7);
    }

    #[test]
    fn a_clock_set_back_by_an_hour_has_caught_up_in_two() {
        let (clock, source) = (Hands::at(BEGIN), StampSource::default());
        assert_eq!(source.next(&clock, 0), BEGIN);
        clock.set(BEGIN - HOUR);
        for second in 1..=7200 {
            clock.pass(1000);
            assert_eq!(source.next(&clock, 0), BEGIN + second * 500);
        }
        clock.pass(1000);
        assert_eq!(source.next(&clock, 0), clock.unix_ms());
        assert_eq!(clock.unix_ms(), BEGIN + HOUR + 1000);
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_at_the_start_leaves_a_time_that_goes_on() {
        let (clock, source) = (Hands::at(BEGIN + YEAR), StampSource::default());
        let leapt = source.next(&clock, BEGIN);
        assert_eq!(leapt, BEGIN + YEAR);
        clock.set(BEGIN);
        for hour in 1..=48 {
            clock.pass(HOUR);
            assert_eq!(source.next(&clock, leapt), leapt + hour * HOUR / 2);
        }
        // The next start, with the clock right: from where it was, and on.
        let (last, source) = (source.last(), StampSource::default());
        assert_eq!(source.next(&clock, last), last);
        clock.pass(HOUR);
        assert_eq!(source.next(&clock, last), last + HOUR / 2);
    }

    #[test]
    fn time_creeps_as_fast_however_often_it_is_asked_for() {
        let (clock, source) = (Hands::at(BEGIN), StampSource::default());
        source.next(&clock, 0);
        clock.set(BEGIN - YEAR);
        for _ in 0..10_000 {
            clock.run_us.fetch_add(300, Ordering::Relaxed);
            source.age(&clock, source.next(&clock, 0));
        }
        // Half of 3 s.
        assert_eq!(source.next(&clock, 0), BEGIN + 1500);
    }

    #[test]
    fn a_stamp_grows_old_by_the_clock_and_while_that_is_behind() {
        let (clock, source) = (Hands::at(BEGIN), StampSource::default());
        assert_eq!(source.age(&clock, BEGIN - 70), 70, "before the first");
        // Another node's: it ages from when it was first seen here.
        let seen = BEGIN + HOUR;
        assert_eq!(source.age(&clock, seen), 0);
        clock.pass(10_000);
        assert_eq!(source.age(&clock, seen), 5000);
        assert_eq!(source.next(&clock, seen), seen + 5000);
        assert_eq!(source.age(&clock, seen + 5000), 0);
        // Set forward: as old as the wall clock says, whatever the next stamp may be.
        clock.set(seen + YEAR);
        assert_eq!(source.age(&clock, seen + 5000), YEAR - 5000);
    }

    #[test]
    fn a_clock_far_behind_is_told_of_once() {
        let mut behind = Behind::default();
        assert_eq!(behind.look(0), None);
        assert_eq!(behind.look(BEHIND_MS_MAX), None, "at the limit");
        assert_eq!(
            behind.look(BEHIND_MS_MAX + 1),
            Some(News::Behind),
            "one past it"
        );
        assert_eq!(behind.look(2 * BEHIND_MS_MAX), None);
        assert_eq!(behind.look(1), None);
        assert_eq!(behind.look(0), Some(News::CaughtUp));
        assert_eq!(behind.look(0), None);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_stamps_rise_within_bounds(
            first in 0..2 * HOUR,
            // The wall clock set to anything, what the monotonic clock runs, what others stamped.
            steps in prop::collection::vec((0..2 * HOUR, 0..4_000_000u64, 0..2 * HOUR), 1..200),
        ) {
            let (clock, source) = (Hands::at(first), StampSource::default());
            let begin = source.next(&clock, 0);
            prop_assert_eq!(begin, first);
            let (mut last, mut run_us) = (begin, 0);
            for (wall, run, floor) in steps {
                // Mostly nothing comes from elsewhere.
                let floor = if floor.is_multiple_of(8) { floor } else { last };
                clock.set(wall);
                clock.run_us.fetch_add(run, Ordering::Relaxed);
                run_us += run;
                let stamp = source.next(&clock, floor);
                prop_assert!(stamp >= last.max(floor), "never back");
                prop_assert!(stamp <= last.max(floor) + run / 1000 + SLACK_MS, "never far ahead");
                prop_assert!(stamp >= begin + run_us / 2000, "never at a stand");
                last = stamp;
            }
        }
    }
}
