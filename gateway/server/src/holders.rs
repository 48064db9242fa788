//! On which drives voters live: control's must hold a key version before it is used, and no drive leaves
//! while a partition counts on it.

use engine_meta::metadata::Replicated;
use engine_node::keyring::Voters;
use engine_types::{DriveId, GroupId, PartitionId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Asked anew for every write of the keyring: voters move.
pub(crate) fn control_voters(metadata: &Replicated) -> Voters {
    let metadata = metadata.clone();
    Arc::new(move || {
        let status = metadata.node().status();
        let replicas = status.replicas(GroupId(PartitionId::CONTROL.0));
        // Who has seen most knows the membership best; a voter whose drive is out is still a voter.
        let newest = replicas
            .iter()
            .max_by_key(|(_, replica)| (replica.term, replica.applied));
        let voters: BTreeSet<u64> = newest
            .map(|(_, r)| r.voters.iter().copied().collect())
            .unwrap_or_default();
        let mut drives: BTreeSet<DriveId> = BTreeSet::new();
        for (drive, replica) in &replicas {
            if voters.contains(&replica.id) {
                drives.insert(*drive);
            }
        }
        let mut drives: Vec<DriveId> = drives.into_iter().collect();
        // Voters whose drives are out count as drives that have no copy.
        let unseen = voters.len().saturating_sub(drives.len());
        drives.extend(std::iter::repeat_n(DriveId(u32::MAX), unseen));
        drives
    })
}

/// Whether some partition still counts on a voter there, as its leader has it.
pub(crate) fn votes(metadata: &Replicated, drive: DriveId) -> bool {
    let status = metadata.node().status();
    let mut groups = metadata.node().groups().into_iter();
    groups.any(|group| {
        let replicas = status.replicas(group);
        let leader = replicas.iter().find(|(_, replica)| replica.leader);
        // A replica's id carries its drive's number above 32 random bits.
        leader.is_none_or(|(_, leader)| {
            leader
                .voters
                .iter()
                .any(|id| id >> 32 == u64::from(drive.0))
        })
    })
}
