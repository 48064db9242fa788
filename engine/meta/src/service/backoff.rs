//! When to try again what has failed: drives that do not open, replicas that stop.

use std::time::Duration;

/// Before a second attempt; then twice as long each time …
const PAUSE: Duration = Duration::from_secs(1);
/// … and no longer than this.
const PAUSE_MS_MAX: u64 = 60_000;
/// A replica that ran for so long begins anew.
const CALM: Duration = Duration::from_mins(10);

/// Attempts at one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    tries: u32,
    /// The monotonic clock before which there is no next.
    due: Duration,
}

impl Backoff {
    pub(super) fn is_due(self, now: Duration) -> bool {
        now >= self.due
    }

    /// It was tried now, and may have to be again.
    pub(super) fn again(&mut self, now: Duration) {
        let factor = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        let longest = Duration::from_millis(PAUSE_MS_MAX);
        self.due = now + PAUSE.saturating_mul(factor).min(longest);
        self.tries = self.tries.saturating_add(1).min(u32::BITS - 1);
    }
}

/// How often a replica stopped though its drive is well, and what is to be done.
///
/// One that could not apply an entry has its tables made anew. If the same entry fails again it is the
/// entry, or this build: to go on would load the snapshot over and over, on every voter at once. So
/// it stays stopped, with all that it holds, for people to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stops {
    /// Its id.
    pub id: u64,
    /// Its tables are made anew when it is opened again.
    pub spoiled: bool,
    /// Why it is stopped now; none: it was opened again.
    why: Option<String>,
    /// The entry it stopped at; 0: at none.
    index: u64,
    /// It is not opened again.
    left: bool,
    opened: Duration,
    backoff: Backoff,
}

impl Stops {
    /// It is found stopped, at the entry `index`; whether that is news.
    pub(super) fn found(&mut self, now: Duration, index: u64, why: &str) -> bool {
        if self.why.is_some() {
            return false;
        }
        if now.saturating_sub(self.opened) >= CALM {
            self.backoff = Backoff::default();
        }
        self.left = index > 0 && index == self.index;
        self.index = index;
        self.why = Some(if self.left {
            format!("entry {index} cannot be applied; the replica stays as it is: {why}")
        } else {
            why.to_owned()
        });
        true
    }

    /// Whether it is opened again now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.why.is_some() && !self.left && self.backoff.is_due(now)
    }

    /// It is being opened again.
    pub(super) fn opening(&mut self, now: Duration) {
        self.why = None;
        self.opened = now;
        self.backoff.again(now);
    }

    /// Why it is stopped, if it is known to be.
    pub(super) fn why(&self) -> Option<&String> {
        self.why.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_hours(1);

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_due(Duration::ZERO), "at once");
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.again(START);
            pauses.push(backoff.due.saturating_sub(START));
        }
        assert_eq!(pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        let longest = Duration::from_millis(PAUSE_MS_MAX);
        assert!(pauses[5] < longest && pauses[6..].iter().all(|pause| *pause == longest));
        assert!(!backoff.is_due(START + Duration::from_millis(PAUSE_MS_MAX - 1)));
        assert!(backoff.is_due(START + longest));
    }

    #[test]
    fn a_replica_is_left_once_the_same_entry_has_failed_twice() {
        let mut stops = Stops::default();
        assert!(
            stops.found(START, 7, "no") && stops.is_due(START),
            "tables made anew at once"
        );
        assert!(!stops.found(START, 7, "no"), "seen already");
        stops.opening(START);
        assert!(
            stops.found(START, 8, "no") && !stops.is_due(START),
            "another entry, later"
        );
        let later = START + PAUSE;
        assert!(stops.is_due(later));
        stops.opening(later);
        assert!(
            stops.found(later, 8, "no") && !stops.is_due(later + CALM),
            "never again"
        );
        assert!(
            stops
                .why()
                .is_some_and(|why| why.starts_with("entry 8 cannot be applied"))
        );
    }

    #[test]
    fn a_replica_that_stops_at_no_entry_is_opened_again_and_again() {
        let (mut stops, mut now) = (Stops::default(), START);
        for _ in 0..9 {
            assert!(stops.found(now, 0, "hangs"));
            now += Duration::from_millis(PAUSE_MS_MAX);
            assert!(stops.is_due(now));
            stops.opening(now);
        }
        now += CALM;
        assert!(
            stops.found(now, 0, "hangs") && stops.is_due(now),
            "it was calm"
        );
    }
}
