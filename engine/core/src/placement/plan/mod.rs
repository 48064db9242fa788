//! What a stripe needs, from where its shards are and how the drives stand: the one decision behind
//! repair, rebuilding of a drive, emptying of a drive and re-striping. Pure; plans are data.
//!
//! A stripe is striped anew where it falls short of what the drives allow, or is wider than the
//! drives that count; never to fewer parity shards, and only when every shard of the new form has a
//! drive now. Otherwise each shard without a sound place gets one: best by placement first, any
//! drive that holds none of its stripe where placement has no room.
//!
//! A stripe that lacks nothing is brought where placement wants it: so a drive that joins takes its
//! share, and no more than that moves. Only onto drives with room to spare ([`Fleet::roomy`]), or
//! stripes would go to and fro between drives that are nearly full; and never off a drive for being
//! full or out: where a shard is, it may stay.

use super::{DriveState, Layout, LayoutDrive, PlacementKey, moves};
use crate::stripes::Geometry;
use engine_types::DriveId;
use std::collections::BTreeSet;

/// The layout, and what each of its drives can do now.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The layout.
    pub layout: Layout,
    /// Drives that answer reads now.
    pub readable: BTreeSet<DriveId>,
    /// Drives that take a record of the size in question now; all of them count in the layout.
    pub writable: BTreeSet<DriveId>,
    /// Those of them that have room to spare.
    pub roomy: BTreeSet<DriveId>,
}

/// What one stripe needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Further losses that cost nothing now; negative: it cannot be read now. The fewer, the more
    /// urgent.
    pub tolerated: i32,
    /// Shards without a sound place.
    pub missing: u8,
    /// What to do now.
    pub work: Work,
}

/// What to do with a stripe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing: it is as it should be.
    None,
    /// It needs something that the drives do not allow now.
    Blocked,
    /// These shards, which have no sound place, are written to these drives.
    Move(Vec<(u8, DriveId)>),
    /// Nothing is missing; these shards should be on these drives.
    Balance(Vec<(u8, DriveId)>),
    /// All shards are written anew, to these drives in shard order.
    Restripe {
        /// Its new form.
        geometry: Geometry,
        /// k+m different drives.
        drives: Vec<DriveId>,
    },
}

impl Plan {
    /// The lower, the sooner; none where nothing can be done now. What lacks nothing comes last.
    pub fn urgency(&self) -> Option<i32> {
        match self.work {
            Work::None | Work::Blocked => None,
            Work::Move(_) | Work::Restripe { .. } => Some(self.tolerated),
            Work::Balance(_) => Some(i32::MAX),
        }
    }
}

impl Fleet {
    /// What the drives that count allow.
    pub fn target(&self) -> Option<Geometry> {
        Geometry::for_drives(self.layout.counted())
    }

    /// Whether shards may stay on a drive: it is in the layout and neither leaving nor gone.
    pub fn keeps(&self, drive: DriveId) -> bool {
        self.layout
            .drive(drive)
            .is_some_and(|row| row.state.counts())
    }

    /// What a stripe of this form needs, whose shards are on `slots` (k+m, in shard order). `bad`: a
    /// shard known to be unsound; its drive may take it again.
    pub fn plan(
        &self,
        key: PlacementKey,
        geometry: Geometry,
        slots: &[Option<DriveId>],
        bad: Option<u8>,
    ) -> Plan {
        let mut kept: BTreeSet<DriveId> = BTreeSet::new();
        let mut read: BTreeSet<DriveId> = BTreeSet::new();
        let mut missing: Vec<u8> = Vec::new();
        for (index, slot) in (0..).zip(slots) {
            let sound = slot.filter(|_| bad != Some(index));
            if let Some(drive) = sound.filter(|drive| self.readable.contains(drive)) {
                read.insert(drive);
            }
            // Two shards on one drive are lost together: the second has no place of its own.
            if !sound.is_some_and(|drive| self.keeps(drive) && kept.insert(drive)) {
                missing.push(index);
            }
        }
        let tolerated = count(read.len()) - i32::from(geometry.k);
        let plan = |work| Plan {
            tolerated,
            missing: u8::try_from(missing.len()).unwrap_or(u8::MAX),
            work,
        };
        let anew = self.wants_anew(geometry);
        if missing.is_empty() && !anew {
            // What a drive that is out holds can be moved as well, at the cost of a rebuild: it waits.
            let all_read = read.len() == slots.len();
            let better = all_read.then(|| self.balance(key, geometry, slots));
            return plan(better.flatten().map_or(Work::None, Work::Balance));
        }
        if tolerated < 0 {
            return plan(Work::Blocked);
        }
        if anew && let Some(work) = self.restripe(key) {
            return plan(work);
        }
        let moves = self.moves(key, geometry, &kept, &missing);
        plan(if moves.is_empty() {
            Work::Blocked
        } else {
            Work::Move(moves)
        })
    }

    /// Where shards that all have a sound place should be instead.
    fn balance(
        &self,
        key: PlacementKey,
        geometry: Geometry,
        slots: &[Option<DriveId>],
    ) -> Option<Vec<(u8, DriveId)>> {
        let holds = |row: &LayoutDrive| slots.contains(&Some(row.id));
        let takes =
            |row: &LayoutDrive| row.state == DriveState::Active && self.roomy.contains(&row.id);
        let eligible = |row: &LayoutDrive| holds(row) || takes(row);
        let m = usize::from(geometry.m);
        let ideal = self.layout.place(key, slots.len(), m, eligible).ok()?;
        let moves = moves(slots, &ideal).ok()?.into_iter();
        let moves: Vec<(u8, DriveId)> = moves
            .filter_map(|(index, drive)| Some((u8::try_from(index).ok()?, drive)))
            .collect();
        (!moves.is_empty()).then_some(moves)
    }

    fn wants_anew(&self, geometry: Geometry) -> bool {
        let Some(target) = self.target() else {
            return false;
        };
        let wide = geometry.shards() > self.layout.counted();
        target != geometry && target.m >= geometry.m && (wide || geometry.falls_short_of(target))
    }

    fn restripe(&self, key: PlacementKey) -> Option<Work> {
        let geometry = self.target()?;
        let m = usize::from(geometry.m);
        let writable = |row: &LayoutDrive| self.writable.contains(&row.id);
        let drives = self.layout.place(key, geometry.shards(), m, writable);
        drives
            .ok()
            .map(|drives| Work::Restripe { geometry, drives })
    }

    /// A drive for as many of the missing shards as can be.
    fn moves(
        &self,
        key: PlacementKey,
        geometry: Geometry,
        kept: &BTreeSet<DriveId>,
        missing: &[u8],
    ) -> Vec<(u8, DriveId)> {
        let m = usize::from(geometry.m);
        let free = |row: &LayoutDrive| self.writable.contains(&row.id) && !kept.contains(&row.id);
        let here = |row: &LayoutDrive| kept.contains(&row.id) || free(row);
        // Where all shards should be, given that the kept ones stay: what is not taken is free.
        let ideal = self.layout.place(key, geometry.shards(), m, here);
        let mut chosen: Vec<DriveId> = ideal.unwrap_or_default();
        chosen.retain(|drive| !kept.contains(drive));
        if chosen.len() < missing.len() {
            let count = self.layout.drives.iter().filter(|row| free(row)).count();
            let count = count.min(missing.len());
            chosen = self.layout.place(key, count, m, free).unwrap_or_default();
        }
        missing.iter().copied().zip(chosen).collect()
    }
}

fn count(drives: usize) -> i32 {
    i32::try_from(drives).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
