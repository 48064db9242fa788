//! Proposals and reads of one group: find the leader, ask it, try again.

use super::host::HostState;
use super::{INFLIGHT_UNIT, Inner};
use crate::raft::stamp::StampSource;
use crate::raft::types::{Proposal, Types};
use crate::replica::Replica;
use crate::rows::Rows;
use engine_core::ports::MetaError;
use engine_types::GroupId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ReadPolicy;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long one attempt at one leader may take before the leader is looked for anew.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Pause before looking for a leader again.
const PAUSE: Duration = Duration::from_millis(10);
/// Reads waiting for one round; beyond it: overloaded.
pub(super) const READS_WAITING_MAX: usize = 16_384;

type ReadAnswer = Result<Replica, MetaError>;

/// What a node keeps per group.
#[derive(Default)]
pub(super) struct Group {
    pub stamps: StampSource,
    leader: RwLock<Option<Replica>>,
    reads: Mutex<Reads>,
}

#[derive(Default)]
struct Reads {
    waiting: Vec<oneshot::Sender<ReadAnswer>>,
    running: bool,
}

impl Group {
    pub(super) fn forget_leader(&self) {
        *self.leader.write() = None;
    }
}

fn leads(replica: &Replica) -> bool {
    let metrics = replica.node.metrics();
    let metrics = metrics.borrow_watched();
    metrics.state.is_leader() && metrics.running_state.is_ok()
}

impl Inner {
    fn group(&self, group: GroupId) -> Result<&Group, MetaError> {
        let found = self.groups.get(&group);
        found.ok_or_else(|| MetaError::Unavailable(format!("group {group} is not run here")))
    }

    /// The group's leader among this node's replicas.
    pub(super) fn leader(&self, group: GroupId) -> Option<Replica> {
        let part = self.groups.get(&group)?;
        if let Some(leader) = part.leader.read().as_ref().filter(|leader| leads(leader)) {
            return Some(leader.clone());
        }
        let term = |replica: &Replica| replica.node.metrics().borrow_watched().current_term;
        let leader = self
            .replicas(group)
            .into_iter()
            .filter(leads)
            .max_by_key(term);
        part.leader.write().clone_from(&leader);
        leader
    }

    async fn await_leader(&self, group: GroupId, until: Instant) -> Result<Replica, MetaError> {
        loop {
            if self.is_closed() {
                return Err(MetaError::Closed);
            }
            if let Some(leader) = self.leader(group) {
                return Ok(leader);
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(self.why_no_leader(group)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) fn why_no_leader(&self, group: GroupId) -> String {
        let replicas = self.replicas(group);
        let voters = replicas
            .first()
            .map(|r| r.core.applied().membership.voter_ids().count());
        let standing = match voters {
            Some(voters) => {
                format!(
                    "group {group} has no leader: {} of {voters} voters run here",
                    replicas.len()
                )
            }
            None => format!("group {group} has no replica in service here"),
        };
        let missing = self.missing(group);
        if missing.is_empty() {
            return standing;
        }
        format!("{standing} ({})", missing.join("; "))
    }

    /// Which drives here have no replica of the group that may vote, and why.
    fn missing(&self, group: GroupId) -> Vec<String> {
        let hosts = self.hosts.read();
        let why = |host: &HostState| match host {
            HostState::Out { reason, .. } => Some(reason.clone()),
            HostState::In(running) => running.damaged.lock().get(&group).cloned(),
        };
        let drives = hosts.iter();
        drives
            .filter_map(|(drive, host)| Some(format!("drive {drive}: {}", why(&host.state)?)))
            .collect()
    }

    pub(super) async fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> Result<Vec<u8>, MetaError> {
        let part = self.group(group)?;
        if self.is_closed() {
            return Err(MetaError::Closed);
        }
        let units = u32::try_from(command.len() / INFLIGHT_UNIT + 1).unwrap_or(u32::MAX);
        let Ok(_permit) = self.inflight.try_acquire_many(units) else {
            return Err(MetaError::Overloaded);
        };
        let command: Arc<[u8]> = command.into();
        let until = Instant::now() + self.options.deadline;
        loop {
            let leader = self.await_leader(group, until).await?;
            let floor = leader.core.stamp();
            let stamp = part.stamps.next(self.clock.as_ref(), floor);
            let proposal = Proposal {
                stamp,
                command: Arc::clone(&command),
            };
            let left = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
            match tokio::time::timeout(left, leader.node.client_write(proposal)).await {
                Ok(Ok(written)) => return Ok(written.data),
                Ok(Err(error)) => refused::<ClientWriteError<Types>>(part, &error),
                Err(_elapsed) => part.forget_leader(),
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(format!(
                    "group {group}: outcome unknown"
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        group: GroupId,
        read: impl FnOnce(&dyn Rows, u64) -> T + Send + 'static,
    ) -> Result<T, MetaError> {
        let replica = self.read_index(group).await?;
        let work = move || {
            let (view, applied) = replica.core.view()?;
            Ok(read(&view, applied.index()))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| MetaError::Unavailable(error.to_string()))?
            .map_err(|error: crate::rows::RowsError| MetaError::Damaged(error.to_string()))
    }

    /// Waits for a round that began after this call: one round of `ReadIndex` serves all who wait.
    async fn read_index(self: &Arc<Self>, group: GroupId) -> ReadAnswer {
        let part = self.group(group)?;
        let (sender, answer) = oneshot::channel();
        let start = {
            let mut reads = part.reads.lock();
            if reads.waiting.len() >= READS_WAITING_MAX {
                return Err(MetaError::Overloaded);
            }
            reads.waiting.push(sender);
            !std::mem::replace(&mut reads.running, true)
        };
        if start {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.read_rounds(group).await });
        }
        answer.await.map_err(|_closed| MetaError::Closed)?
    }

    /// Rounds until nobody waits. A task of its own: a caller that goes away must not take the
    /// others' round with it.
    async fn read_rounds(&self, group: GroupId) {
        let Ok(part) = self.group(group) else { return };
        loop {
            let waiting = {
                let mut reads = part.reads.lock();
                if reads.waiting.is_empty() {
                    reads.running = false;
                    return;
                }
                std::mem::take(&mut reads.waiting)
            };
            let answer = self.read_round(group, part).await;
            for waiter in waiting {
                drop(waiter.send(answer.clone()));
            }
        }
    }

    async fn read_round(&self, group: GroupId, part: &Group) -> ReadAnswer {
        let until = Instant::now() + self.options.deadline;
        loop {
            let leader = self.await_leader(group, until).await?;
            let left = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
            let confirmed = leader.node.ensure_linearizable(ReadPolicy::ReadIndex);
            match tokio::time::timeout(left, confirmed).await {
                Ok(Ok(_index)) => return Ok(leader),
                Ok(Err(error)) => refused(part, &error),
                Err(_elapsed) => part.forget_leader(),
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(self.why_no_leader(group)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whatever openraft refuses, the next leader is asked the same; nothing here is final.
fn refused<E: std::error::Error>(part: &Group, error: &RaftError<Types, E>) {
    tracing::debug!(%error, "asked a replica that does not lead");
    part.forget_leader();
}
