//! Makes replicas anew where a group has lost one, and forgets replicas a group has replaced.
//!
//! Driven from the leader's committed membership, one step at a time. A voter is lost if its drive
//! is in service but its replica is not (damaged, or gone), or if its drive has been out for
//! `replace_after`. A new replica joins as a learner, catches up, and takes the lost one's vote in
//! one membership change. A replica never comes back under an id it has forgotten a vote of.
//!
//! Nothing is erased or made for a leader that no majority answers: it could not have the new one
//! join, and what lies on the drives, damaged or not, may be all there is of the group. A replica
//! that was made and could not join is kept for the next attempt.

use super::Inner;
use super::closing;
use super::drives::HostState;
use super::host::Running;
use super::quorum;
use crate::blocking::{blocking, joined};
use crate::raft::types::Home;
use crate::replica::{Identity, Replica, ReplicaError};
use crate::snapshot;
use engine_types::{DriveId, GroupId};
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long a new replica may take to catch up, or a membership to change, before it is tried again.
const CATCH_UP: Duration = Duration::from_mins(2);

/// What the leader knows.
struct Membership {
    voters: BTreeMap<u64, Home>,
    members: BTreeSet<u64>,
    settled: bool,
}

impl Inner {
    /// Goes through all groups, in a task of its own: a replica takes as long to make as its tables
    /// are large, and drives and leaders must be looked at meanwhile.
    pub(super) fn repair_due(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.repairing).try_lock_owned() else {
            return;
        };
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            for group in &inner.options.groups {
                if !inner.is_closed() {
                    inner.repair(*group).await;
                }
            }
            drop(turn);
        });
    }

    /// One step for one group; what cannot be done now is tried at the next look.
    async fn repair(self: &Arc<Self>, group: GroupId) {
        let Some(leader) = self.leader(group) else {
            return;
        };
        let able = quorum::heard(&leader) && self.shortage(group).is_none();
        #[cfg(sabotage)]
        let able = able || engine_types::sabotage("replace-without-majority");
        if !able {
            return;
        }
        let Some(membership) = membership(&leader) else {
            return;
        };
        if !membership.settled {
            return;
        }
        let lost: Vec<u64> = membership
            .voters
            .iter()
            .filter(|(id, home)| self.is_lost(group, **id, **home))
            .map(|(id, _)| *id)
            .collect();
        let planned = self.plan.read().voters;
        let count = membership.voters.len();
        if lost.is_empty() && count == planned {
            self.forget_strays(group, &membership).await;
            return;
        }
        let leaving = lost.first().copied();
        let result = if count > planned {
            self.drop_voter(&leader, &membership, leaving).await
        } else {
            self.replace(group, &leader, &membership, leaving).await
        };
        match result {
            Ok(true) => {}
            // No drive is free for one.
            Ok(false) => self.forget_strays(group, &membership).await,
            Err(error) => tracing::warn!(%group, %error, "voter not replaced yet"),
        }
    }

    fn is_lost(&self, group: GroupId, id: u64, home: Home) -> bool {
        if home.node != self.options.node {
            return false;
        }
        if !self.plan.read().allows(DriveId(home.drive)) {
            return true;
        }
        let grace = self.options.replace_after;
        let hosts = self.hosts.read();
        match hosts.get(&DriveId(home.drive)).map(|host| &host.state) {
            Some(HostState::In(running)) => running
                .replicas
                .read()
                .get(&group)
                .map_or(!running.is_stopped(group), |replica| replica.id != id),
            Some(HostState::Out(out)) => self.clock.monotonic().saturating_sub(out.since) >= grace,
            // Missing since the start: the same grace.
            None => self.clock.monotonic().saturating_sub(self.opened) >= grace,
        }
    }

    /// Takes one voter away where the plan has fewer: a lost one, else a follower on the drive with
    /// the most replicas.
    async fn drop_voter(
        &self,
        leader: &Replica,
        membership: &Membership,
        lost: Option<u64>,
    ) -> Result<bool, ReplicaError> {
        let busy = |home: &Home| {
            let hosts = self.hosts.read();
            let running = hosts.get(&DriveId(home.drive)).and_then(|h| h.running());
            running.map_or(0, |running| running.replicas.read().len())
        };
        let followers = membership.voters.iter().filter(|(id, _)| **id != leader.id);
        let busiest = followers
            .max_by_key(|(_, home)| busy(home))
            .map(|(id, _)| *id);
        let Some(leaving) = lost.or(busiest) else {
            return Ok(false);
        };
        let voters: BTreeSet<u64> = membership
            .voters
            .keys()
            .copied()
            .filter(|id| *id != leaving)
            .collect();
        tracing::info!(group = %leader.core.group, leaving, "a voter too many goes");
        patiently(leader.node.change_membership(voters, false)).await?;
        Ok(true)
    }

    /// Gives the vote of `lost` to a new replica, or adds a voter where there are too few. False: no
    /// drive is free.
    async fn replace(
        self: &Arc<Self>,
        group: GroupId,
        leader: &Replica,
        membership: &Membership,
        lost: Option<u64>,
    ) -> Result<bool, ReplicaError> {
        let home = lost
            .and_then(|id| membership.voters.get(&id))
            .map(|home| DriveId(home.drive));
        let Some((drive, running)) = self.place(group, membership, home) else {
            return Ok(false);
        };
        // Somebody else changes what is on the drive: the next look sees what came of it.
        let Some(turn) = running.try_turn() else {
            return Ok(true);
        };
        if running.is_stopped(group) {
            return Ok(true);
        }
        let (inner, members) = (Arc::clone(self), membership.members.clone());
        // Goes on, with the drive's turn, where the drive hangs for longer than this waits.
        let making = tokio::spawn(async move {
            let made = inner.make(&running, group, &members).await;
            drop(turn);
            made
        });
        let replica = patiently(joined(making)).await?;
        tracing::info!(%group, %drive, id = replica.id, ?lost, "making a replica");
        let home = Home {
            node: self.options.node,
            drive: drive.0,
        };
        patiently(leader.node.add_learner(replica.id, home, true)).await?;
        let mut voters: BTreeSet<u64> = membership.voters.keys().copied().collect();
        if let Some(lost) = lost {
            voters.remove(&lost);
        }
        voters.insert(replica.id);
        patiently(leader.node.change_membership(voters, false)).await?;
        Ok(true)
    }

    /// The group's replica on a drive, made anew where the one that is there cannot join.
    async fn make(
        &self,
        running: &Arc<Running>,
        group: GroupId,
        members: &BTreeSet<u64>,
    ) -> Result<Replica, ReplicaError> {
        let standing = running
            .replicas
            .read()
            .get(&group)
            .map(|replica| replica.id);
        let usable =
            |id: u64| members.contains(&id) || running.made.lock().get(&group) == Some(&id);
        if !standing.is_some_and(usable) {
            self.erase(running, group).await?;
        }
        let replica = self.ensure_replica(running, group).await?;
        running.made.lock().insert(group, replica.id);
        Ok(replica)
    }

    /// The drive for a new replica: the lost one's own if it is in service, else the one with the
    /// fewest replicas among those the group does not use.
    fn place(
        &self,
        group: GroupId,
        membership: &Membership,
        home: Option<DriveId>,
    ) -> Option<(DriveId, Arc<Running>)> {
        let used: BTreeSet<u32> = membership.voters.values().map(|home| home.drive).collect();
        let hosts = self.hosts.read();
        let running = hosts
            .iter()
            .filter_map(|(id, host)| Some((*id, Arc::clone(host.running()?))));
        let plan = self.plan.read();
        running
            .filter(|(id, _)| plan.allows(*id))
            .filter(|(id, _)| Some(*id) == home || !used.contains(&id.0))
            .min_by_key(|(id, drive)| {
                let begun = drive.replicas.read().contains_key(&group);
                (Some(*id) != home, !begun, drive.replicas.read().len())
            })
    }

    /// Forgets replicas on drives in service that the settled membership does not name.
    async fn forget_strays(self: &Arc<Self>, group: GroupId, membership: &Membership) {
        let drives: Vec<Arc<Running>> = {
            let hosts = self.hosts.read();
            hosts
                .values()
                .filter_map(|host| host.running().cloned())
                .collect()
        };
        for running in drives {
            let stray = running
                .replicas
                .read()
                .get(&group)
                .is_some_and(|r| !membership.members.contains(&r.id));
            let damaged = running.damaged.lock().contains_key(&group);
            let turn = (stray || damaged).then(|| running.try_turn()).flatten();
            let Some(turn) = turn else {
                continue;
            };
            let inner = Arc::clone(self);
            let erasing = tokio::spawn(async move {
                let erased = inner.erase(&running, group).await;
                drop(turn);
                erased
            });
            if let Err(error) = patiently(joined(erasing)).await {
                tracing::warn!(%group, %error, "replica not forgotten");
            }
        }
    }

    /// Removes all of a group from a drive: first it is disowned, so that a cut leaves nothing that
    /// could vote; last that it was, so that a cut is gone on with. The caller has the drive's turn.
    async fn erase(&self, running: &Arc<Running>, group: GroupId) -> Result<(), ReplicaError> {
        // Until it is done; what fails half-way is tried again.
        let why = "it is being erased".to_owned();
        running.damaged.lock().entry(group).or_insert(why);
        running.made.lock().remove(&group);
        running.stops.lock().remove(&group);
        let replica = running.replicas.write().remove(&group);
        if let Some(replica) = &replica {
            closing::stop(self, replica).await;
        }
        drop(replica);
        let parts = running.parts.clone();
        blocking(move || {
            Identity::disown(parts.files.as_ref(), group)?;
            snapshot::remove_all(parts.files.as_ref(), group)?;
            parts.tables.drop_others(group, None)?;
            Ok::<_, ReplicaError>(())
        })
        .await?;
        running.parts.log.destroy(group).await?;
        let files = Arc::clone(&running.parts.files);
        blocking(move || {
            Identity::forget_disowned(files.as_ref(), group)?;
            Ok::<_, ReplicaError>(())
        })
        .await?;
        running.damaged.lock().remove(&group);
        Ok(())
    }
}

/// What a leader is asked for, within bounds: one that loses its majority meanwhile never answers.
async fn patiently<T, E: std::fmt::Display>(
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, ReplicaError> {
    let answer = tokio::time::timeout(CATCH_UP, asked).await;
    let answer = answer.map_err(|late| ReplicaError::Raft(late.to_string()))?;
    answer.map_err(|error| ReplicaError::Raft(error.to_string()))
}

fn membership(leader: &Replica) -> Option<Membership> {
    let metrics = leader.node.metrics();
    let metrics = metrics.borrow_watched();
    let stored = &metrics.membership_config;
    let settled = metrics.committed_membership_config.log_id() == stored.log_id()
        && stored.membership().get_joint_config().len() == 1;
    let voters = stored
        .voter_ids()
        .filter_map(|id| Some((id, *stored.get_node(&id)?)))
        .collect();
    let members: BTreeSet<u64> = stored.nodes().map(|(id, _)| *id).collect();
    (!members.is_empty()).then_some(Membership {
        voters,
        members,
        settled,
    })
}
