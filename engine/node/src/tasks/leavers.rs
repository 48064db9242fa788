//! Which leaving or gone drives no write can name any more that was begun while they took shards.
//!
//! When the layout that leaves a drive out is known here, the stamp of every partition is noted: every
//! birth opened before is not younger. Once a partition's watermark has passed its stamp, each of
//! those writes is committed, and a walk finds it, or is refused for good.

use crate::EngineError;
use crate::engine::Inner;
use engine_core::meta::{Query, Reply};
use engine_types::{DriveId, PartitionId, Stamp};
use std::collections::{BTreeMap, BTreeSet};

/// The drives that leave, as this process has seen them. Nothing is kept over a restart: it waits
/// once more.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    /// Stamps at which this node had stopped to place shards on a drive.
    fences: BTreeMap<DriveId, BTreeMap<PartitionId, Stamp>>,
    settled: BTreeSet<DriveId>,
}

impl Leavers {
    /// Those that no write from before can name any more.
    pub(super) fn settled(&self) -> &BTreeSet<DriveId> {
        &self.settled
    }

    /// Notes from when on this node placed no shard on a drive that leaves, and which of them no
    /// write from before can name any more.
    pub(super) async fn watch(&mut self, inner: &Inner) {
        let layout = inner.drives.layout();
        let leaves = |drive: &DriveId| layout.drive(*drive).is_some_and(|d| !d.state.counts());
        self.fences.retain(|drive, _| leaves(drive));
        self.settled.retain(leaves);
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
