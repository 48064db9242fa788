//! Proposals and reads of one group: find the leader, ask it, try again.

use super::quorum::{self, PATIENCE, Watched};
use super::{INFLIGHT_UNIT, Inner};
use crate::raft::stamp::StampSource;
use crate::raft::types::{Proposal, Types};
use crate::replica::{Replica, View};
use crate::rows::Rows;
use engine_core::ports::MetaError;
use engine_types::GroupId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ReadPolicy;
use parking_lot::{Mutex, RwLock};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long one attempt at one leader may take before the leader is looked for anew.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Pause before looking for a leader again.
const PAUSE: Duration = Duration::from_millis(10);
/// During an attempt, whether it can still succeed is looked at so often.
const GLANCE: Duration = Duration::from_millis(250);
/// Reads waiting for one round; beyond it: overloaded.
pub(super) const READS_WAITING_MAX: usize = 16_384;

/// Reads of one round that run one after the other on a thread that may block: handing a thread one
/// small read costs more than reading. No more than these wait for a long one.
pub(super) const READS_TOGETHER: usize = 8;

/// A read that waits for its round, and answers whoever asked.
type Waiting = Box<dyn FnOnce(Result<&View, MetaError>) + Send>;

/// What a node keeps per group.
#[derive(Default)]
pub(super) struct Group {
    pub stamps: StampSource,
    leader: RwLock<Option<Replica>>,
    reads: Mutex<Reads>,
    pub watched: Watched,
}

#[derive(Default)]
struct Reads {
    waiting: Vec<Waiting>,
    running: bool,
}

impl Group {
    pub(super) fn forget_leader(&self) {
        *self.leader.write() = None;
    }
}

/// What people are told a group is: `control`, or `partition 3`. Groups are ours alone.
pub fn partition_name(group: GroupId) -> String {
    match group.0 {
        0 => "control".to_owned(),
        id => format!("partition {id}"),
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
        found.ok_or_else(|| {
            MetaError::Unavailable(format!("{} is not run here", partition_name(group)))
        })
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

    /// The leader, as soon as there is one that may have a majority.
    async fn await_leader(&self, group: GroupId, until: Instant) -> Result<Replica, MetaError> {
        let began = Instant::now();
        loop {
            if self.is_closed() {
                return Err(MetaError::Closed);
            }
            let leader = self.leader(group);
            if let Some(leader) = leader.as_ref().filter(|leader| quorum::heard(leader)) {
                return Ok(leader.clone());
            }
            if let Some(short) = self.lasting_shortage(group) {
                return Err(MetaError::NoMajority(short.to_string()));
            }
            match leader {
                Some(leader) if !quorum::unheard(&leader) => return Ok(leader),
                Some(_) if began.elapsed() >= PATIENCE => {
                    return Err(MetaError::NoMajority(format!(
                        "{} has no majority: its voters do not answer their leader",
                        partition_name(group)
                    )));
                }
                Some(_) | None => {}
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(self.why_no_leader(group)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for an attempt at a leader; none: it took too long, or is in vain.
    async fn attempt<T>(
        &self,
        group: GroupId,
        until: Instant,
        attempt: impl Future<Output = T>,
    ) -> Option<T> {
        let mut attempt = pin!(attempt);
        let until = until.min(Instant::now() + ATTEMPT);
        loop {
            let glance = until.min(Instant::now() + GLANCE);
            if let Ok(done) = tokio::time::timeout_at(glance, &mut attempt).await {
                return Some(done);
            }
            if Instant::now() >= until || self.lasting_shortage(group).is_some() {
                return None;
            }
        }
    }

    pub(super) fn why_no_leader(&self, group: GroupId) -> String {
        let short = self.lasting_shortage(group);
        short.map_or_else(
            || {
                let partition = partition_name(group);
                format!("{partition} has no leader: its voters elect one")
            },
            |short| short.to_string(),
        )
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
            let written = leader.node.client_write(proposal);
            match self.attempt(group, until, written).await {
                Some(Ok(written)) => return Ok(written.data),
                Some(Err(error)) => refused::<ClientWriteError<Types>>(part, &error),
                None => part.forget_leader(),
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(format!(
                    "{}: outcome unknown",
                    partition_name(group)
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
        let (sender, answer) = oneshot::channel();
        let waiting: Waiting = Box::new(move |view| {
            // Who asked may have gone.
            if !sender.is_closed() {
                drop(sender.send(view.map(|view| read(view, view.index()))));
            }
        });
        self.wait_for_round(group, waiting)?;
        answer.await.map_err(|_closed| MetaError::Closed)?
    }

    /// Waits for a round that begins after this call: one round of `ReadIndex` serves all who wait.
    fn wait_for_round(self: &Arc<Self>, group: GroupId, waiting: Waiting) -> Result<(), MetaError> {
        let mut reads = self.group(group)?.reads.lock();
        if reads.waiting.len() >= READS_WAITING_MAX {
            return Err(MetaError::Overloaded);
        }
        reads.waiting.push(waiting);
        if !std::mem::replace(&mut reads.running, true) {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.read_rounds(group).await });
        }
        Ok(())
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
            match self.read_round(group, part).await {
                Ok(replica) => answer(&replica, waiting),
                Err(error) => waiting
                    .into_iter()
                    .for_each(|read| read(Err(error.clone()))),
            }
        }
    }

    async fn read_round(&self, group: GroupId, part: &Group) -> Result<Replica, MetaError> {
        let until = Instant::now() + self.options.deadline;
        loop {
            let leader = self.await_leader(group, until).await?;
            #[cfg(sabotage)]
            if engine_types::sabotage("skip-read-index") {
                return Ok(leader);
            }
            let confirmed = leader.node.ensure_linearizable(ReadPolicy::ReadIndex);
            match self.attempt(group, until, confirmed).await {
                Some(Ok(_index)) => return Ok(leader),
                Some(Err(error)) => refused(part, &error),
                None => part.forget_leader(),
            }
            if Instant::now() >= until {
                return Err(MetaError::Unavailable(self.why_no_leader(group)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Runs the reads of a round, each few of them over one view.
fn answer(replica: &Replica, waiting: Vec<Waiting>) {
    let mut waiting = waiting.into_iter();
    loop {
        let reads: Vec<Waiting> = waiting.by_ref().take(READS_TOGETHER).collect();
        if reads.is_empty() {
            return;
        }
        let core = Arc::clone(&replica.core);
        tokio::task::spawn_blocking(move || {
            let view = core.view();
            for read in reads {
                read(Ok(&view));
            }
        });
    }
}

/// Whatever openraft refuses, the next leader is asked the same; nothing here is final.
fn refused<E: std::error::Error>(part: &Group, error: &RaftError<Types, E>) {
    tracing::debug!(%error, "asked a replica that does not lead");
    part.forget_leader();
}
