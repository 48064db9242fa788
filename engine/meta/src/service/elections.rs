//! Which replicas lead: elections at a start, and leaderships spread over the drives.
//!
//! The witness votes like every drive and leads only what no drive can: it lies on a disk chosen for
//! other things, and whatever a leader answers waits for its own log.

use super::Inner;
use super::supervise::told;
use crate::raft::network::Node;
use crate::replica::Replica;
use engine_types::DriveId;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;

impl Inner {
    /// Has each group's first voter here stand for election now: a cold start need not wait out a
    /// timeout.
    pub(super) async fn prompt_elections(&self) {
        for (at, group) in self.options.groups.iter().enumerate() {
            let replicas = self.replicas(*group);
            // Rotated, so that leaders spread; a voter with a shorter log loses, and a timeout decides.
            let longest = replicas
                .iter()
                .map(|replica| replica.core.log.bounds().1)
                .max()
                .flatten();
            let mut able: Vec<&Replica> = replicas
                .iter()
                .filter(|replica| replica.core.log.bounds().1 == longest)
                .collect();
            // It would be asked to hand over at the next look.
            let on_drives = able.iter().filter(|replica| !witnesses(replica));
            if on_drives.count() > 0 {
                able.retain(|replica| !witnesses(replica));
            }
            if longest.is_some() && !able.is_empty() {
                elect(&able[at % able.len()].node).await;
            }
        }
    }

    /// Hands one leadership from the busiest drive to an idler one. Only while every voter runs:
    /// during trouble nothing is moved for balance. The witness counts as busier than any drive.
    pub(super) async fn spread_leaders(&self) {
        let mut counts: BTreeMap<DriveId, usize> = BTreeMap::new();
        for (drive, host) in self.hosts.read().iter() {
            if host.running().is_none() {
                return;
            }
            let witness = *drive == DriveId::WITNESS;
            let busy = if witness {
                self.options.groups.len() + 1
            } else {
                0
            };
            counts.insert(*drive, busy);
        }
        let leaders: Vec<Replica> = self
            .options
            .groups
            .iter()
            .filter_map(|group| self.leader(*group))
            .collect();
        for leader in &leaders {
            *counts.entry(leader.core.parts.files.drive()).or_default() += 1;
        }
        for leader in leaders {
            let busy = counts
                .get(&leader.core.parts.files.drive())
                .copied()
                .unwrap_or(0);
            let end = leader.core.log.bounds().1;
            let voters: Vec<u64> = leader
                .node
                .metrics()
                .borrow_watched()
                .membership_config
                .voter_ids()
                .collect();
            let idle = self
                .replicas(leader.core.group)
                .into_iter()
                .find(|replica| {
                    let count = counts
                        .get(&replica.core.parts.files.drive())
                        .copied()
                        .unwrap_or(0);
                    voters.contains(&replica.id)
                        && count + 1 < busy
                        && replica.core.log.bounds().1 == end
                });
            if let Some(idle) = idle {
                told(leader.node.trigger().transfer_leader(idle.id).await);
                return;
            }
        }
    }
}

/// Whether it lies in the witness.
fn witnesses(replica: &Replica) -> bool {
    replica.core.parts.files.drive() == DriveId::WITNESS
}

async fn elect(node: &Node) {
    if let Err(error) = node.trigger().elect(false).await {
        tracing::debug!(%error, "election not prompted");
    }
}
