//! Which leaving or gone drives no write can name any more that was begun while they took shards.
//!
//! When the layout that leaves a drive out is known here, the stamp of every partition is noted: every
//! birth opened before is not younger. Once a partition's watermark has passed its stamp, each of
//! those writes is committed, and a walk finds it, or is refused for good.
//!
//! Such a stamp is good while the drive stays left out. Its removal may be called off and asked for
//! again while nobody looks, and what was begun between is younger. The layout does not say since
//! when a drive leaves; but it changes one step at a time, and no drive both comes back and leaves
//! again in one step. So stamps outlive one step from one look to the next, and after more all are
//! noted anew: that costs a drive that never came back one more wait for the watermark. To note them
//! anew at every step was turned down: each drive that is dropped would keep the others waiting.

use crate::EngineError;
use crate::engine::Inner;
use engine_core::meta::{Query, Reply};
use engine_core::placement::Layout;
use engine_types::{DriveId, PartitionId, Stamp};
use std::collections::{BTreeMap, BTreeSet};

/// The drives that leave, as this process has seen them. Nothing is kept over a restart: it waits
/// once more.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    /// Stamps at which this node had stopped to place shards on a drive.
    fences: BTreeMap<DriveId, BTreeMap<PartitionId, Stamp>>,
    settled: BTreeSet<DriveId>,
    /// Version of the layout at the last look.
    layout: u64,
}

impl Leavers {
    /// Those that no write from before can name any more, in the layout of this version: none where
    /// the last look was at another.
    pub(super) fn settled(&self, layout: u64) -> BTreeSet<DriveId> {
        if layout == self.layout {
            self.settled.clone()
        } else {
            BTreeSet::new()
        }
    }

    /// Forgets what was noted of drives that take shards again, or may have done so since.
    fn follow(&mut self, layout: &Layout) {
        let unseen = layout.version.abs_diff(self.layout) > 1;
        #[cfg(sabotage)]
        let unseen = unseen && !engine_types::sabotage("fence-from-before");
        if unseen {
            self.fences.clear();
            self.settled.clear();
        }
        self.layout = layout.version;
        let leaves = |drive: &DriveId| layout.drive(*drive).is_some_and(|d| !d.state.counts());
        self.fences.retain(|drive, _| leaves(drive));
        self.settled.retain(leaves);
    }

    /// Notes from when on this node placed no shard on a drive that leaves, and which of them no
    /// write from before can name any more.
    pub(super) async fn watch(&mut self, inner: &Inner) {
        let layout = inner.drives.layout();
        self.follow(&layout);
        let partitions = inner.metadata.partitions().into_iter();
        let partitions: Vec<_> = partitions.filter(|p| *p != PartitionId::CONTROL).collect();
        for row in layout.drives.iter().filter(|row| !row.state.counts()) {
            if self.fences.contains_key(&row.id) {
                continue;
            }
            // A partition that does not answer leaves the drive unfenced until the next watch.
            if let Some(stamps) = stamps(inner, &partitions).await {
                self.fences.insert(row.id, stamps);
            }
        }
        let waiting: Vec<DriveId> = self.fences.keys().copied().collect();
        for drive in waiting {
            if !self.settled.contains(&drive) && self.passed(inner, drive).await {
                self.settled.insert(drive);
            }
        }
    }

    /// Not as long as some partition does not say.
    async fn passed(&self, inner: &Inner, drive: DriveId) -> bool {
        let Some(stamps) = self.fences.get(&drive) else {
            return false;
        };
        for (partition, stamp) in stamps {
            let Ok((_, watermark)) = clock(inner, *partition).await else {
                return false;
            };
            let open = watermark <= *stamp;
            #[cfg(sabotage)]
            let open = open && !engine_types::sabotage("depart-at-once");
            if open {
                return false;
            }
        }
        true
    }
}

/// The youngest birth that may be open in each partition; none where one does not answer.
async fn stamps(inner: &Inner, partitions: &[PartitionId]) -> Option<BTreeMap<PartitionId, Stamp>> {
    let mut stamps = BTreeMap::new();
    for partition in partitions {
        // Both: what births are made of here may lag behind the partition for a moment, or a replica
        // with the newest stamp may have gone since a birth was opened.
        let (stamp, _) = clock(inner, *partition).await.ok()?;
        let seen = inner.metadata.stamp(*partition).await.ok()?;
        stamps.insert(*partition, stamp.max(seen));
    }
    Some(stamps)
}

/// A partition's stamp and watermark.
async fn clock(inner: &Inner, partition: PartitionId) -> Result<(Stamp, Stamp), EngineError> {
    match inner.ask(partition, Query::Clock).await? {
        Reply::Clock {
            stamp, watermark, ..
        } => Ok((stamp, watermark)),
        _ => Err(EngineError::unexpected("Clock")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::placement::{DriveState, LayoutChange, LayoutDrive};
    use engine_types::{DriveUuid, NodeId};

    fn drive(number: u8) -> LayoutDrive {
        LayoutDrive {
            id: DriveId(u32::from(number)),
            uuid: DriveUuid([number; 16]),
            node: NodeId(1),
            zone: "a".into(),
            size_bytes: 1 << 34,
            state: DriveState::Active,
        }
    }

    fn set(layout: &Layout, drive: u32, state: DriveState) -> Layout {
        let drive = DriveId(drive);
        let change = LayoutChange::SetState { drive, state };
        layout.changed(&change).unwrap()
    }

    /// Drive 1 leaves, and no write from before can name it.
    fn one_is_settled() -> (Layout, Leavers) {
        let layout = Layout {
            version: 7,
            drives: (1..=3).map(drive).collect(),
        };
        let layout = set(&layout, 1, DriveState::Leaving);
        let mut leavers = Leavers::default();
        leavers.follow(&layout);
        leavers.fences.insert(DriveId(1), BTreeMap::new());
        leavers.settled.insert(DriveId(1));
        (layout, leavers)
    }

    fn holds(leavers: &Leavers, layout: &Layout, drive: u32) -> bool {
        let drive = DriveId(drive);
        leavers.fences.contains_key(&drive) && leavers.settled(layout.version).contains(&drive)
    }

    #[test]
    fn a_drive_that_stayed_between_two_looks_is_noted_anew() {
        let (layout, mut leavers) = one_is_settled();
        let stays = set(&layout, 1, DriveState::Active);
        let leaves_again = set(&stays, 1, DriveState::Leaving);
        leavers.follow(&leaves_again);
        assert!(leavers.fences.is_empty(), "a younger write may name it");
        assert_eq!(leavers.settled(leaves_again.version), BTreeSet::new());
    }

    #[test]
    fn steps_that_are_seen_one_by_one_unsettle_nobody_else() {
        let (mut layout, mut leavers) = one_is_settled();
        for state in [DriveState::Leaving, DriveState::Active, DriveState::Leaving] {
            layout = set(&layout, 2, state);
            leavers.follow(&layout);
            assert!(holds(&leavers, &layout, 1), "drive 2 is {state:?}");
        }
        layout = set(&layout, 1, DriveState::Gone);
        leavers.follow(&layout);
        assert!(holds(&leavers, &layout, 1), "it took no shards between");
    }

    #[test]
    fn in_a_layout_that_was_not_looked_at_nobody_is_settled() {
        let (layout, leavers) = one_is_settled();
        assert!(holds(&leavers, &layout, 1));
        let next = set(&layout, 1, DriveState::Active);
        assert_eq!(leavers.settled(next.version), BTreeSet::new());
    }
}
