//! Compares the tables of a group's replicas, and has those that differ from the majority made anew.
//!
//! apply is pure, so replicas that applied the same prefix hold the same rows. What parts them is a
//! bug, rot that fjall's checksums missed, or bytes changed behind our back; raft, which compares logs
//! alone, never sees it. The leader picks an index, every voter's tables are taken right after it
//! ([`crate::replica::ReplicaCore::probe`]), and all their rows are summed. A majority of *all* voters
//! must agree before a differing one is disowned: it is then enough to go on with, and where it is
//! missing nobody can say who is right, so that is told and nothing is thrown away.

use super::closing;
use super::group::partition_name;
use super::host::Running;
use super::{Inner, MetaNode};
use crate::blocking::blocking;
use crate::raft::types::Proposal;
use crate::replica::{Identity, Replica, ReplicaError, digest_of};
use engine_core::ports::MetaError;
use engine_types::{DriveId, GroupId};
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How far ahead of the leader's log the index is picked, attempt after attempt: a busy group passes
/// a near one before every voter is asked.
const AHEAD: [u64; 4] = [1, 32, 512, 4096];
/// A voter that does not reach the index, or whose rows are not read, in this time is left out.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two entries that move an idle group to the index.
const NUDGE: Duration = Duration::from_millis(5);

/// One comparison of a group's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestCheck {
    /// The group.
    pub group: GroupId,
    /// After which entry the tables were taken.
    pub index: u64,
    /// The digest of each voter that answered.
    pub digests: Vec<(DriveId, u64)>,
    /// Voters in all.
    pub voters: usize,
    /// Drives whose replica differed from the majority; each is made anew.
    pub differing: Vec<DriveId>,
    /// A majority of all voters agreed.
    pub decided: bool,
}

impl DigestCheck {
    fn judge(group: GroupId, index: u64, digests: Vec<(DriveId, u64)>, voters: usize) -> Self {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, digest) in &digests {
            *counts.entry(*digest).or_default() += 1;
        }
        let right = counts.into_iter().find(|(_, count)| count * 2 > voters);
        let wrong = |digest: u64| right.is_some_and(|(right, _)| digest != right);
        #[cfg(sabotage)]
        let wrong = |digest: u64| !engine_types::sabotage("trust-every-digest") && wrong(digest);
        let differing = digests.iter().filter(|(_, digest)| wrong(*digest));
        Self {
            group,
            index,
            differing: differing.map(|(drive, _)| *drive).collect(),
            digests,
            voters,
            decided: right.is_some(),
        }
    }
}

impl MetaNode {
    /// Compares the tables of a group's voters now, and disowns those that differ. Reads every row
    /// of every voter.
    ///
    /// # Errors
    /// `Unavailable` without a leader, or where no index was found that all could be asked for.
    pub async fn check_digests(&self, group: GroupId) -> Result<DigestCheck, MetaError> {
        self.inner.compare(group).await
    }

    /// The last comparison of each group, in the order of groups.
    pub fn digest_checks(&self) -> Vec<DigestCheck> {
        let compared = self.inner.compared.lock();
        compared.values().map(|(_, check)| check.clone()).collect()
    }
}

impl Inner {
    /// One group whose comparison is due: the one that waits longest. In a task of its own, because
    /// it reads all rows.
    pub(super) fn compare_due(self: &Arc<Self>) {
        let now = self.clock.monotonic();
        let due = {
            let compared = self.compared.lock();
            let last = |group: &GroupId| compared.get(group).map_or(self.opened, |(at, _)| *at);
            let groups = self.options.groups.iter().copied();
            groups
                .filter(|group| now.saturating_sub(last(group)) >= self.options.digests_every)
                .filter(|group| self.leader(*group).is_some())
                .min_by_key(last)
        };
        let Some(group) = due else { return };
        let Ok(turn) = Arc::clone(&self.comparing).try_lock_owned() else {
            return;
        };
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = inner.compare_one(group).await {
                tracing::info!(%group, %error, "replicas not compared");
                // Tried again when it is due again, not at once.
                let late = DigestCheck::judge(group, 0, Vec::new(), 0);
                inner
                    .compared
                    .lock()
                    .insert(group, (inner.clock.monotonic(), late));
            }
            drop(turn);
        });
    }

    async fn compare(self: &Arc<Self>, group: GroupId) -> Result<DigestCheck, MetaError> {
        let _turn = self.comparing.lock().await;
        self.compare_one(group).await
    }

    async fn compare_one(self: &Arc<Self>, group: GroupId) -> Result<DigestCheck, MetaError> {
        let leader = self
            .leader(group)
            .ok_or_else(|| MetaError::Unavailable(self.why_no_leader(group)))?;
        let voters: Vec<u64> = {
            let metrics = leader.node.metrics();
            metrics
                .borrow_watched()
                .membership_config
                .voter_ids()
                .collect()
        };
        let asked: Vec<Replica> = self
            .replicas(group)
            .into_iter()
            .filter(|r| voters.contains(&r.id))
            .collect();
        let (index, views) = self.views(&leader, &asked).await?;
        let summing = asked.iter().zip(views).map(async |(replica, view)| {
            let view = tokio::time::timeout(PATIENCE, view).await.ok()?.ok()?;
            let summed = tokio::task::spawn_blocking(move || digest_of(&view));
            let digest = tokio::time::timeout(PATIENCE, summed)
                .await
                .ok()?
                .ok()?
                .ok()?;
            Some((replica.core.parts.files.drive(), digest))
        });
        let nudged = self.reach(&leader, index);
        let (digests, ()) = futures::future::join(futures::future::join_all(summing), nudged).await;
        let digests = digests.into_iter().flatten().collect();
        let check = DigestCheck::judge(group, index, digests, voters.len());
        self.act(&check, &asked).await;
        self.compared
            .lock()
            .insert(group, (self.clock.monotonic(), check.clone()));
        Ok(check)
    }

    /// An index that no replica has passed, and where its tables will be found.
    async fn views(
        &self,
        leader: &Replica,
        asked: &[Replica],
    ) -> Result<
        (
            u64,
            Vec<tokio::sync::oneshot::Receiver<crate::fjall_rows::TableView>>,
        ),
        MetaError,
    > {
        for ahead in AHEAD {
            let last = leader.core.log.bounds().1.map_or(0, |id| id.index());
            let at = last + ahead;
            let probes = asked.iter().map(|replica| replica.core.probe(at));
            let taken = futures::future::join_all(probes).await;
            let taken: Option<Vec<_>> = taken
                .into_iter()
                .map(|probe| probe.ok().flatten())
                .collect();
            if let Some(taken) = taken {
                return Ok((at, taken));
            }
        }
        Err(MetaError::Unavailable(format!(
            "{}: its replicas cannot be compared now",
            partition_name(leader.core.group)
        )))
    }

    /// Moves an idle group to the index by empty entries, which change no row.
    async fn reach(&self, leader: &Replica, index: u64) {
        let group = leader.core.group;
        let give_up = tokio::time::Instant::now() + PATIENCE;
        while leader
            .core
            .log
            .bounds()
            .1
            .is_none_or(|last| last.index() < index)
        {
            if tokio::time::Instant::now() >= give_up || self.is_closed() {
                return;
            }
            let stamp = self.groups[&group]
                .stamps
                .next(self.clock.as_ref(), leader.core.stamp());
            let proposal = Proposal {
                stamp,
                command: Vec::new().into(),
            };
            if let Err(error) = leader.node.client_write_ff(proposal, None).await {
                tracing::debug!(%group, %error, "group not moved on");
            }
            tokio::time::sleep(NUDGE).await;
        }
    }

    async fn act(self: &Arc<Self>, check: &DigestCheck, asked: &[Replica]) {
        let group = check.group;
        if !check.decided {
            tracing::error!(%group, index = check.index, digests = ?check.digests, voters = check.voters,
                "no majority of the replicas agrees on the partition's tables");
            return;
        }
        for drive in &check.differing {
            tracing::error!(%group, %drive, index = check.index,
                "replica differs from the majority of its partition: it is made anew");
            let replica = asked
                .iter()
                .find(|replica| replica.core.parts.files.drive() == *drive);
            let Some(replica) = replica else { continue };
            if let Err(error) = self
                .disown(replica, "its tables differed from the majority's")
                .await
            {
                tracing::warn!(%group, %drive, %error, "replica not disowned");
            }
        }
    }

    /// Stops a replica for good; its group makes it anew.
    async fn disown(self: &Arc<Self>, replica: &Replica, why: &str) -> Result<(), ReplicaError> {
        let (group, drive) = (replica.core.group, replica.core.parts.files.drive());
        let running: Option<Arc<Running>> = {
            let hosts = self.hosts.read();
            hosts.get(&drive).and_then(|host| host.running().cloned())
        };
        let same = |running: &Running| {
            running
                .replicas
                .read()
                .get(&group)
                .is_some_and(|now| now.id == replica.id)
        };
        let Some(running) = running else {
            return Ok(());
        };
        let turn = tokio::time::timeout(PATIENCE, running.turn()).await;
        let turn = turn.map_err(|late| ReplicaError::Raft(late.to_string()))?;
        let Some(turn) = turn.filter(|_| same(&running)) else {
            return Ok(());
        };
        let files = Arc::clone(&running.parts.files);
        let disowning = blocking(move || {
            let disowned = Identity::disown(files.as_ref(), group);
            disowned.map(|()| turn).map_err(ReplicaError::from)
        });
        let disowned = tokio::time::timeout(PATIENCE, disowning).await;
        let _turn = disowned.map_err(|late| ReplicaError::Raft(late.to_string()))??;
        self.groups[&group].forget_leader();
        running.damaged.lock().insert(group, why.to_owned());
        running.replicas.write().remove(&group);
        closing::stop(self, replica).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(digests: &[u64], voters: usize) -> (Vec<u32>, bool) {
        let digests = (1..).map(DriveId).zip(digests.iter().copied()).collect();
        let check = DigestCheck::judge(GroupId(1), 9, digests, voters);
        (
            check.differing.iter().map(|drive| drive.0).collect(),
            check.decided,
        )
    }

    #[test]
    fn only_a_majority_of_all_voters_says_who_is_wrong() {
        assert_eq!(judged(&[7, 7, 7, 7, 7], 5), (vec![], true));
        assert_eq!(judged(&[7, 8, 7, 7, 9], 5), (vec![2, 5], true));
        assert_eq!(judged(&[7, 8, 7], 5), (vec![], false), "two of five agree");
        assert_eq!(judged(&[7, 7, 7, 8], 5), (vec![4], true), "one is away");
        assert_eq!(judged(&[7, 8], 2), (vec![], false));
        assert_eq!(judged(&[7], 1), (vec![], true));
    }
}
