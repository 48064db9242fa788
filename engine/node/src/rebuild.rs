//! What a rebuild has done and has left, told between the walker that does it, the commands that ask
//! and the writes that make work for it.

use engine_types::DriveId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Some amount of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// Stripes.
    pub stripes: u64,
    /// Shards to be written.
    pub shards: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, shards: u64, bytes: u64) {
        self.stripes += 1;
        self.shards += shards;
        self.bytes += bytes;
    }
    fn less(self, done: Self) -> Self {
        Self {
            stripes: self.stripes.saturating_sub(done.stripes),
            shards: self.shards.saturating_sub(done.shards),
            bytes: self.bytes.saturating_sub(done.bytes),
        }
    }
}

/// What the walker is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RebuildPhase {
    /// Nothing is to be done, as far as is known.
    #[default]
    Idle,
    /// Counting what is to be done.
    Surveying,
    /// Writing shards, stripes first that bear the fewest losses.
    Rebuilding,
}

/// How far rebuilding and re-striping are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RebuildStatus {
    /// At what.
    pub phase: RebuildPhase,
    /// Found by the last survey and not done yet; while surveying: found so far.
    pub left: Amount,
    /// Found, but the drives do not allow it now.
    pub blocked: Amount,
    /// Done since the survey.
    pub done: Amount,
    /// Bytes written a second since the survey ended.
    pub bytes_per_s: u64,
    /// At this rate.
    pub seconds_left: Option<u64>,
    /// Shards that drives still hold which are leaving, gone or no part of the layout, as the last
    /// survey found them, less what was done.
    pub drives: BTreeMap<DriveId, Amount>,
    /// Leaving or gone drives that no stripe named and none ever would again, under the layout of
    /// `departed_layout`. Who acts on it asks [`Self::departed_under`].
    pub departed: BTreeSet<DriveId>,
    /// Version of the layout from the beginning to the end of the survey that found them.
    pub departed_layout: u64,
    /// Walks that came to their end since the start of the process.
    pub walks: u64,
}

impl RebuildStatus {
    /// The drives that may be dropped from the layout of this version. None where they were found
    /// under another: since then a removal may have been called off, shards written, and the removal
    /// asked for again.
    pub fn departed_under(&self, layout: u64) -> BTreeSet<DriveId> {
        #[cfg(sabotage)]
        let layout = if engine_types::sabotage("departed-before") {
            self.departed_layout
        } else {
            layout
        };
        if layout == self.departed_layout {
            self.departed.clone()
        } else {
            BTreeSet::new()
        }
    }
}

#[derive(Debug, Default)]
struct State {
    status: RebuildStatus,
    /// When mending began, and the clock's last word.
    since: Duration,
    now: Duration,
}

/// Shared by all of an engine.
#[derive(Debug, Default)]
pub(crate) struct Rebuild {
    state: Mutex<State>,
    /// Somebody asked for a walk.
    asked: AtomicBool,
    /// A stripe was written weaker than the drives of the layout allow.
    weak: AtomicBool,
    /// Stripes being mended: their births are not the foreground's.
    mending: AtomicUsize,
}

/// One stripe being mended.
#[derive(Debug)]
pub(crate) struct Mending<'a>(&'a Rebuild);

impl Drop for Mending<'_> {
    fn drop(&mut self) {
        self.0.mending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rebuild {
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }
    pub(crate) fn wrote_weak(&self) {
        self.weak.store(true, Ordering::Release);
    }
    pub(crate) fn has_weak(&self) -> bool {
        self.weak.load(Ordering::Acquire)
    }
    pub(crate) fn clear_weak(&self) {
        self.weak.store(false, Ordering::Release);
    }
    pub(crate) fn begin(&self) -> Mending<'_> {
        self.mending.fetch_add(1, Ordering::Relaxed);
        Mending(self)
    }
    pub(crate) fn mending(&self) -> usize {
        self.mending.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, phase: RebuildPhase, now: Duration) {
        let mut state = self.state.lock();
        state.status.phase = phase;
        if phase == RebuildPhase::Surveying {
            state.status.done = Amount::default();
        }
        (state.since, state.now) = (now, now);
    }
    /// What a survey has found so far.
    pub(crate) fn found(&self, left: Amount, blocked: Amount, drives: &BTreeMap<DriveId, Amount>) {
        let status = &mut self.state.lock().status;
        (status.left, status.blocked) = (left, blocked);
        status.drives.clone_from(drives);
    }
    /// A stripe was mended: shards written, and the drives that held what it was rid of.
    pub(crate) fn done(&self, shards: u64, bytes: u64, rid: &[(DriveId, u64)], now: Duration) {
        let mut state = self.state.lock();
        state.now = now;
        state.status.done.add(shards, bytes);
        for (drive, bytes) in rid {
            if let Some(left) = state.status.drives.get_mut(drive) {
                let mut one = Amount::default();
                one.add(1, *bytes);
                *left = left.less(one);
            }
        }
    }
    /// What a survey has found to have departed, under the one layout that it went by.
    pub(crate) fn departed(&self, drives: BTreeSet<DriveId>, layout: u64) {
        let status = &mut self.state.lock().status;
        status.departed = drives;
        status.departed_layout = layout;
    }
    /// Takes back what was said of drives that are settled no more, or of all under another layout.
    pub(crate) fn retain_departed(&self, settled: &BTreeSet<DriveId>, layout: u64) {
        let status = &mut self.state.lock().status;
        if status.departed_layout == layout {
            status.departed.retain(|drive| settled.contains(drive));
        } else {
            status.departed.clear();
        }
    }
    pub(crate) fn ended(&self) {
        let status = &mut self.state.lock().status;
        status.phase = RebuildPhase::Idle;
        status.walks += 1;
    }

    pub(crate) fn status(&self) -> RebuildStatus {
        let state = self.state.lock();
        let mut status = state.status.clone();
        status.left = status.left.less(status.done);
        if status.phase != RebuildPhase::Rebuilding {
            return status;
        }
        let took = state.now.saturating_sub(state.since).as_millis().max(1);
        let rate = u128::from(status.done.bytes) * 1000 / took;
        status.bytes_per_s = u64::try_from(rate).unwrap_or(u64::MAX);
        status.seconds_left = status.left.bytes.checked_div(status.bytes_per_s);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_what_was_done() {
        let rebuild = Rebuild::default();
        rebuild.enter(RebuildPhase::Surveying, Duration::ZERO);
        let left = Amount {
            stripes: 10,
            shards: 10,
            bytes: 1000,
        };
        let drives = BTreeMap::from([(DriveId(3), left)]);
        rebuild.found(left, Amount::default(), &drives);
        assert_eq!(rebuild.status().seconds_left, None);
        rebuild.enter(RebuildPhase::Rebuilding, Duration::from_secs(10));
        let now = Duration::from_secs(12);
        rebuild.done(1, 100, &[(DriveId(3), 100)], now);
        rebuild.done(1, 100, &[(DriveId(3), 100)], now);
        let status = rebuild.status();
        assert_eq!((status.left.bytes, status.left.stripes), (800, 8));
        assert_eq!((status.bytes_per_s, status.seconds_left), (100, Some(8)));
        assert_eq!(status.drives[&DriveId(3)].shards, 8);
    }

    #[test]
    fn what_departed_under_one_layout_has_not_under_another() {
        let rebuild = Rebuild::default();
        let (none, one) = (BTreeSet::new(), BTreeSet::from([DriveId(6)]));
        let both = BTreeSet::from([DriveId(3), DriveId(6)]);
        rebuild.departed(both.clone(), 8);
        assert_eq!(rebuild.status().departed_under(8), both);
        // Called off, and asked for again: nothing has looked since.
        assert_eq!(rebuild.status().departed_under(10), none);
        rebuild.retain_departed(&one, 8);
        assert_eq!(rebuild.status().departed_under(8), one);
        rebuild.retain_departed(&one, 10);
        assert_eq!(rebuild.status().departed, none);
    }
}
