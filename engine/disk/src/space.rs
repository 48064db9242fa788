//! What each segment holds, in memory; rebuilt from the index at open.

use crate::index::Place;
use engine_core::ports::SegmentUse;
use std::collections::BTreeMap;

/// Dead ranges remembered one by one over all segments; beyond that a segment is gone over whole.
const RANGES_MAX: usize = 65_536;

/// One segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentSpace {
    /// Bytes of live records.
    pub(crate) live: u64,
    /// Live records.
    pub(crate) records: u64,
    /// Bytes written and not given back: header, live and dead records, footer.
    pub(crate) held: u64,
    /// Freed records whose blocks are still held.
    dead: Vec<Place>,
    /// More is dead than `dead` says: all that no live record covers.
    whole: bool,
    /// Not all of it could be read: nothing that was not freed is given back.
    kept: bool,
    /// It is being deleted.
    going: bool,
}

/// Work for the reclaimer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// No live record, and nothing more will be written: delete the file.
    Delete(u64),
    /// Punch these.
    Punch(u64, Vec<Place>),
    /// Punch what no live record covers.
    PunchGaps(u64),
}

/// All segments of a drive.
#[derive(Debug, Default)]
pub(crate) struct Space {
    segments: BTreeMap<u64, SegmentSpace>,
    /// Being written; not to be deleted or gone over whole.
    active: Option<u64>,
    /// Entries in all `dead`.
    ranges: usize,
    live: u64,
    held: u64,
}

impl Space {
    /// A segment comes into being (or is found); `held` bytes are its own blocks.
    pub(crate) fn add(&mut self, segment: u64, held: u64) {
        self.segments.entry(segment).or_default().held = held;
        self.held = self.held.saturating_add(held);
    }

    pub(crate) fn set_active(&mut self, active: Option<u64>) {
        self.active = active;
    }

    pub(crate) fn has(&self, segment: u64) -> bool {
        self.segments.contains_key(&segment)
    }

    /// A record is live. `written` says that its bytes are new to `held`.
    pub(crate) fn live(&mut self, place: Place, written: bool) {
        let length = u64::from(place.length);
        let space = self.segments.entry(place.segment).or_default();
        space.live = space.live.saturating_add(length);
        space.records = space.records.saturating_add(1);
        self.live = self.live.saturating_add(length);
        if written {
            self.hold(place.segment, length);
        }
    }

    /// Bytes were written that are no record.
    pub(crate) fn hold(&mut self, segment: u64, bytes: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            space.held = space.held.saturating_add(bytes);
            self.held = self.held.saturating_add(bytes);
        }
    }

    /// A live record was freed.
    pub(crate) fn free(&mut self, place: Place) {
        let Some(space) = self.segments.get_mut(&place.segment) else {
            return;
        };
        let length = u64::from(place.length);
        space.live = space.live.saturating_sub(length);
        space.records = space.records.saturating_sub(1);
        self.live = self.live.saturating_sub(length);
        self.waste(place);
    }

    /// What is held there is of no use any more.
    pub(crate) fn waste(&mut self, place: Place) {
        let Some(space) = self.segments.get_mut(&place.segment) else {
            return;
        };
        if self.ranges < RANGES_MAX {
            space.dead.push(place);
            self.ranges = self.ranges.saturating_add(1);
        } else {
            space.whole = true;
        }
    }

    /// Not all of it could be read at open: it may hold more than is known of.
    pub(crate) fn keep(&mut self, segment: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            space.kept = true;
        }
    }

    pub(crate) fn is_kept(&self, segment: u64) -> bool {
        self.segments.get(&segment).is_some_and(|space| space.kept)
    }

    /// More is held than live records account for.
    pub(crate) fn suspect(&mut self, segment: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            space.whole = true;
        }
    }

    /// The next thing to reclaim; it is then no longer remembered, but for a segment that goes: that
    /// has gone ([`Self::gone`]) or stays ([`Self::stays`]).
    pub(crate) fn next_work(&mut self) -> Option<Reclaim> {
        // The highest number stays, so that a number is never given twice.
        let highest = self.segments.keys().next_back().copied()?;
        let active = self.active;
        let found = self.segments.iter_mut().find_map(|(number, space)| {
            let settled = Some(*number) != active && !space.kept;
            if space.going {
                None
            } else if space.records == 0 && settled && *number != highest {
                space.going = true;
                let forgotten = std::mem::take(&mut space.dead);
                Some((Reclaim::Delete(*number), forgotten.len()))
            } else if space.whole && settled {
                space.whole = false;
                let forgotten = std::mem::take(&mut space.dead);
                Some((Reclaim::PunchGaps(*number), forgotten.len()))
            } else if space.dead.is_empty() {
                None
            } else {
                let dead = std::mem::take(&mut space.dead);
                let count = dead.len();
                Some((Reclaim::Punch(*number, dead), count))
            }
        });
        let (work, forgotten) = found?;
        self.ranges = self.ranges.saturating_sub(forgotten);
        Some(work)
    }

    /// A segment's file is deleted.
    pub(crate) fn gone(&mut self, segment: u64) {
        if let Some(gone) = self.segments.remove(&segment) {
            self.held = self.held.saturating_sub(gone.held);
        }
    }

    /// A segment's file could not be deleted: it is work again.
    pub(crate) fn stays(&mut self, segment: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            space.going = false;
        }
    }

    /// Blocks were given back.
    pub(crate) fn punched(&mut self, segment: u64, bytes: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            let bytes = bytes.min(space.held);
            space.held = space.held.saturating_sub(bytes);
            self.held = self.held.saturating_sub(bytes);
        }
    }

    /// What a segment holds was measured.
    pub(crate) fn set_held(&mut self, segment: u64, bytes: u64) {
        if let Some(space) = self.segments.get_mut(&segment) {
            self.held = self.held.saturating_sub(space.held).saturating_add(bytes);
            space.held = bytes;
        }
    }

    /// Bytes of live records, and bytes held, over all segments.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.live, self.held)
    }

    /// Whether it is being written.
    pub(crate) fn is_active(&self, segment: u64) -> bool {
        self.active == Some(segment)
    }

    /// Bytes of freed records that wait for the reclaimer, as far as they are known one by one.
    pub(crate) fn dead_bytes(&self, segment: u64) -> u64 {
        let dead = self.segments.get(&segment).map(|space| space.dead.iter());
        dead.map_or(0, |dead| dead.map(|place| u64::from(place.length)).sum())
    }

    /// All of them, ascending.
    pub(crate) fn uses(&self, size: u64) -> impl Iterator<Item = SegmentUse> {
        let active = self.active;
        self.segments.iter().map(move |(number, space)| SegmentUse {
            segment: *number,
            live: space.live,
            records: space.records,
            held: space.held,
            settled: active != Some(*number),
            size,
        })
    }

    /// Segments that are not being written, ascending.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (u64, &SegmentSpace)> {
        let active = self.active;
        self.segments
            .iter()
            .map(|(number, space)| (*number, space))
            .filter(move |(number, _)| Some(*number) != active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u64, offset: u64) -> Place {
        Place {
            segment,
            offset,
            length: 4096,
        }
    }

    #[test]
    fn a_dead_segment_is_deleted_unless_active_or_highest() {
        let mut space = Space::default();
        space.add(1, 4096);
        space.live(place(1, 4096), true);
        space.set_active(Some(1));
        space.free(place(1, 4096));
        assert_eq!(
            space.next_work(),
            Some(Reclaim::Punch(1, vec![place(1, 4096)]))
        );
        assert_eq!(space.next_work(), None, "active");
        space.set_active(None);
        assert_eq!(space.next_work(), None, "highest");
        space.add(2, 4096);
        space.set_active(Some(2));
        assert_eq!(space.next_work(), Some(Reclaim::Delete(1)));
        assert_eq!(space.next_work(), None);
        assert_eq!(space.totals(), (0, 12288), "it is there yet");
        space.stays(1);
        assert_eq!(space.next_work(), Some(Reclaim::Delete(1)), "again");
        space.gone(1);
        assert_eq!(space.next_work(), None);
        assert_eq!(space.totals(), (0, 4096));
    }

    #[test]
    fn beyond_the_bound_of_ranges_a_segment_is_gone_over_whole() {
        let mut space = Space::default();
        space.add(1, 4096);
        space.add(2, 4096);
        for record in 0..=RANGES_MAX as u64 + 1 {
            space.live(place(1, record * 4096), true);
        }
        for record in 0..=RANGES_MAX as u64 {
            space.free(place(1, record * 4096));
        }
        assert_eq!(space.ranges, RANGES_MAX);
        assert_eq!(space.next_work(), Some(Reclaim::PunchGaps(1)));
        assert_eq!(space.ranges, 0);
        assert_eq!(space.next_work(), None);
    }
}
