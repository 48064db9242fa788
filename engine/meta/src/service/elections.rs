//! Which replicas lead: elections at a start, leaderships spread over the drives, and handed over when
//! a drive goes out.
//!
//! The witness votes like every drive and leads only what no drive can: it lies on a disk chosen for
//! other things, and whatever a leader answers waits for its own log.

use super::Inner;
use super::closing::{STOP_WITHIN, stop};
use super::host::Running;
use super::supervise::told;
use crate::raft::network::Node;
use crate::raft::types::Types;
use crate::replica::Replica;
use engine_types::DriveId;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
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

    /// Stops the replicas of a drive that goes out, and hands over what they led.
    pub(super) async fn hand_all_over(&self, running: &Running) {
        let replicas: Vec<Replica> = running.replicas.read().values().cloned().collect();
        for replica in &replicas {
            self.switchboard.disconnect(replica.core.group, replica.id);
            self.groups[&replica.core.group].forget_leader();
        }
        let handing = replicas.iter().map(|replica| self.hand_over(replica));
        futures::future::join_all(handing).await;
    }

    /// Stops a leader that lost its drive and has the best other voter elected at once, instead of
    /// after a timeout: the others are told, in the dead leader's name, to let go of its lease. This
    /// process may say so because it has cut the leader off from them. One that hangs on its drive may
    /// not have stopped; it can have nothing committed any more, and votes decide as ever.
    async fn hand_over(&self, replica: &Replica) {
        let metrics = replica.node.metrics();
        let (vote, leads) = {
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.state.is_leader())
        };
        stop(self, replica).await;
        if !leads {
            return;
        }
        let group = replica.core.group;
        let mut voters = self.replicas(group);
        voters.retain(|voter| voter.stopped().is_none());
        let Some(heir) = voters.iter().max_by_key(|voter| voter.core.log.bounds().1) else {
            return;
        };
        let tell = async |voter: &Replica| {
            let request = TransferLeaderRequest::<Types>::new(vote, heir.id, None);
            let told = voter.node.handle_transfer_leader(request);
            match tokio::time::timeout(STOP_WITHIN, told).await {
                Ok(Ok(_heard)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%group, %error, "voter not told of the hand-over");
                }
                Err(late) => tracing::debug!(%group, %late, "voter not told of the hand-over"),
            }
        };
        let others = voters.iter().filter(|voter| voter.id != heir.id);
        futures::future::join_all(others.map(tell)).await;
        tell(heir).await;
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
