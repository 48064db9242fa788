//! How long a drive that fails again and again stays out: each return moves voters and leaderships.
//! Pure.
//!
//! One that went out for the first time may come back at the next look: who has mended it need not
//! wait. Nor must one whose mark says no: that is read in no time. One whose shards could not be opened
//! waits, since each attempt may look through all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A drive that fails so soon after its return has failed again.
const SOON: Duration = Duration::from_mins(1);
/// The first pause; doubled each time.
const PAUSE: Duration = Duration::from_secs(2);
/// No pause is longer, so that one that was mended meanwhile is soon back.
const PAUSE_MAX: Duration = Duration::from_secs(64);

#[derive(Debug, Default)]
struct Relapse {
    /// When it last came back.
    back: Option<Duration>,
    pause: Duration,
    not_before: Duration,
}

/// Of the drives at these paths; times on one monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Relapses(BTreeMap<PathBuf, Relapse>);

impl Relapses {
    pub(crate) fn came_back(&mut self, path: &Path, now: Duration) {
        self.0.entry(path.to_owned()).or_default().back = Some(now);
    }

    /// It went out of service; how long it stays out at least.
    pub(crate) fn went_out(&mut self, path: &Path, now: Duration) -> Duration {
        let Some(of) = self.0.get_mut(path) else {
            return Duration::ZERO;
        };
        let again = of
            .back
            .take()
            .is_some_and(|back| now.saturating_sub(back) < SOON);
        of.pause = if again {
            (of.pause * 2).clamp(PAUSE, PAUSE_MAX)
        } else {
            Duration::ZERO
        };
        of.not_before = now + of.pause;
        of.pause
    }

    /// Its shards were looked through and it did not come back.
    pub(crate) fn stayed_out(&mut self, path: &Path, now: Duration) {
        let of = self.0.entry(path.to_owned()).or_default();
        of.pause = (of.pause * 2).clamp(PAUSE, PAUSE_MAX);
        of.not_before = now + of.pause;
    }

    pub(crate) fn may_return(&self, path: &Path, now: Duration) -> bool {
        #[cfg(sabotage)]
        if engine_types::sabotage("return-at-once") {
            return true;
        }
        self.0.get(path).is_none_or(|of| of.not_before <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_again_soon_waits_twice_as_long_up_to_the_most() {
        let (mut relapses, path) = (Relapses::default(), Path::new("/d/1"));
        let mut now = Duration::from_hours(1);
        assert_eq!(relapses.went_out(path, now), Duration::ZERO, "the first");
        assert!(relapses.may_return(path, now));
        let mut pause = PAUSE;
        while pause <= PAUSE_MAX {
            relapses.came_back(path, now);
            now += SOON / 2;
            assert_eq!(relapses.went_out(path, now), pause);
            assert!(!relapses.may_return(path, now));
            assert!(relapses.may_return(Path::new("/d/2"), now), "another");
            now += pause;
            assert!(relapses.may_return(path, now));
            pause *= 2;
        }
        relapses.came_back(path, now);
        assert_eq!(relapses.went_out(path, now), PAUSE_MAX, "and no longer");
        relapses.came_back(path, now);
        assert_eq!(relapses.went_out(path, now + SOON), Duration::ZERO);
        assert!(
            relapses.may_return(path, now + SOON),
            "it did well meanwhile"
        );
    }

    #[test]
    fn one_that_could_not_be_opened_waits_twice_as_long_each_time_and_begins_anew_when_it_is_back()
    {
        let (mut relapses, path) = (Relapses::default(), Path::new("/d/1"));
        let mut now = Duration::from_hours(1);
        let mut pause = PAUSE;
        for _ in 0..8 {
            relapses.stayed_out(path, now);
            let before = (now + pause).saturating_sub(Duration::from_millis(1));
            assert!(!relapses.may_return(path, before));
            assert!(relapses.may_return(path, now + pause));
            now += pause;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        relapses.came_back(path, now);
        assert_eq!(relapses.went_out(path, now + SOON), Duration::ZERO);
        relapses.stayed_out(path, now + SOON);
        assert!(relapses.may_return(path, now + SOON + PAUSE));
    }
}
