//! The replicated metadata of one node: every replica on its drives, behind `propose` and `read`.
//!
//! **Who owns what.** A [`MetaNode`] owns its drives' logs, tables and replicas ([`host`]). Proposals
//! and reads go to the leader's replica ([`group`]). One supervisor looks at everything ten times a
//! second: it takes failed drives out of service ([`drives`]), hands their leaderships over, reopens what
//! can be reopened, takes snapshots, ticks idle groups ([`supervise`]) and makes replicas anew where a group
//! has lost one ([`repair`]), on the drives that the [`plan`] names. Groups stand and fall alone: one
//! without a majority is refused at once ([`quorum`]), and the others are served. A drive that comes back as an
//! older copy of itself is told by what the others remember of it ([`returning`]); replicas whose
//! tables differ from the majority's are found by comparing ([`digests`]).
//!
//! **Answers.** An error of `propose` means unknown, except `Overloaded` and `Closed` before the
//! first attempt: ask again with the same bytes; the command's own id makes that once.

mod backoff;
mod bootstrap;
mod closing;
mod digests;
mod drives;
mod elections;
mod group;
mod host;
mod mend;
mod plan;
mod quorum;
mod repair;
mod rest;
mod returning;
mod status;
mod supervise;

pub use digests::DigestCheck;
pub use group::partition_name;
pub use plan::Plan;
pub use quorum::Shortage;
pub use returning::Known;
pub use status::{DriveStatus, NodeStatus, ReplicaStatus};

use crate::blocking::blocking;
use crate::fjall_rows::TableOptions;
use crate::log::LogOptions;
use crate::raft::machine::Machine;
use crate::raft::network::Switchboard;
use crate::replica::{Replica, ReplicaError, SnapshotTurns};
use crate::rows::Rows;
use drives::Host;
use engine_core::ports::{Clock, DriveFiles, Entropy, MetaError};
use engine_types::{DriveId, GroupId, Stamp};
use group::Group;
use openraft::{Config, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Bytes of proposals in flight on one node; beyond it: [`MetaError::Overloaded`].
pub const INFLIGHT_BYTES_MAX: usize = 64 << 20;
/// Unit in which they are counted.
const INFLIGHT_UNIT: usize = 1024;

/// Settings of a node's metadata. Plain data.
#[derive(Clone, Debug)]
pub struct MetaOptions {
    /// This node's number.
    pub node: u64,
    /// Groups it runs: 0 is control.
    pub groups: Vec<GroupId>,
    /// Voters of a group where there are drives enough: 2m+1.
    pub voters: usize,
    /// The drives' logs.
    pub log: LogOptions,
    /// The drives' tables.
    pub tables: TableOptions,
    /// Election timeout, ms: at least this, at most twice. Below some 300 a slow sync elects.
    pub election_ms: u64,
    /// Heartbeats, ms.
    pub heartbeat_ms: u64,
    /// How long a proposal or read looks for a leader.
    pub deadline: Duration,
    /// A leader whose last stamp is older than this proposes a tick.
    pub tick_after: Duration,
    /// A snapshot falls due when so many bytes, and twice as many as the tables' files have, were
    /// applied since the last.
    pub snapshot_bytes_min: u64,
    /// A replica to which hardly anything was applied for so long gives room back …
    pub rest_after: Duration,
    /// … where its log holds at least so much.
    pub rest_log_bytes_min: u64,
    /// How long a drive may be out, or missing since the start, before its voters are replaced on
    /// others.
    pub replace_after: Duration,
    /// Between two comparisons of one group's tables.
    pub digests_every: Duration,
    /// What the rest of the node knows of the drives that are opened; none: nothing.
    pub known: BTreeMap<DriveId, Known>,
}

impl Default for MetaOptions {
    fn default() -> Self {
        Self {
            node: 1,
            groups: (0..=8).map(GroupId).collect(),
            voters: 1,
            log: LogOptions::default(),
            tables: TableOptions::default(),
            election_ms: 500,
            heartbeat_ms: 150,
            deadline: Duration::from_secs(10),
            tick_after: Duration::from_secs(5),
            snapshot_bytes_min: 64 << 20,
            rest_after: Duration::from_mins(1),
            rest_log_bytes_min: 4 << 20,
            replace_after: Duration::from_secs(30),
            digests_every: Duration::from_hours(1),
            known: BTreeMap::new(),
        }
    }
}

impl MetaOptions {
    fn config(&self) -> Result<Arc<Config>, MetaError> {
        let config = Config {
            cluster_name: "datamesh".into(),
            election_timeout_min: self.election_ms,
            election_timeout_max: self.election_ms * 2,
            heartbeat_interval: self.heartbeat_ms,
            // Snapshots and purges are decided here, by bytes and by what two snapshots cover.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: u64::MAX,
            install_snapshot_timeout: 600_000,
            max_payload_entries: 1024,
            // A restarted leader may have tables behind what it acknowledged; it asks the others.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
            ..Config::default()
        };
        config
            .validate()
            .map(Arc::new)
            .map_err(|error| MetaError::Unavailable(error.to_string()))
    }
}

/// What a node's parts share.
pub(crate) struct Inner {
    options: MetaOptions,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    machine: Arc<dyn Machine>,
    switchboard: Switchboard,
    hosts: RwLock<BTreeMap<DriveId, Host>>,
    groups: BTreeMap<GroupId, Group>,
    inflight: Arc<Semaphore>,
    turns: SnapshotTurns,
    closed: watch::Sender<bool>,
    /// The monotonic clock at open.
    opened: Duration,
    /// What must be found on a drive when it is opened (again).
    known: Mutex<BTreeMap<DriveId, Known>>,
    plan: RwLock<Plan>,
    /// The last comparison of each group's tables, and when it was.
    compared: Mutex<BTreeMap<GroupId, (Duration, DigestCheck)>>,
    /// Whoever compares tables holds it: one group at a time.
    comparing: Arc<tokio::sync::Mutex<()>>,
    /// Whoever makes replicas anew holds it: one group at a time.
    repairing: Arc<tokio::sync::Mutex<()>>,
    /// Whoever mends logs holds it.
    mending: tokio::sync::Mutex<()>,
    resting: rest::Resting,
}

/// The replicated metadata of one node.
#[derive(Clone)]
pub struct MetaNode {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for MetaNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetaNode")
            .field("drives", &self.inner.hosts.read().len())
            .finish_non_exhaustive()
    }
}

impl MetaNode {
    /// Opens every drive and the replicas found there, and starts the supervisor. A drive that does
    /// not open is out of service; a group that has lost its majority, be it every replica, is
    /// refused (see [`MetaNode::without_majority`]) and the others are served. A fresh node then
    /// needs [`MetaNode::bootstrap`].
    pub async fn open(
        drives: Vec<Arc<dyn DriveFiles>>,
        options: MetaOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        machine: Arc<dyn Machine>,
    ) -> Result<Self, MetaError> {
        let config = options.config()?;
        let groups = options
            .groups
            .iter()
            .map(|group| (*group, Group::default()))
            .collect();
        let inner = Arc::new(Inner {
            config,
            entropy,
            machine,
            switchboard: Switchboard::default(),
            hosts: RwLock::default(),
            groups,
            inflight: Arc::new(Semaphore::new(INFLIGHT_BYTES_MAX / INFLIGHT_UNIT)),
            turns: SnapshotTurns::default(),
            closed: watch::Sender::new(false),
            opened: clock.monotonic(),
            known: Mutex::new(options.known.clone()),
            plan: RwLock::new(Plan {
                voters: options.voters,
                drives: None,
            }),
            compared: Mutex::default(),
            comparing: Arc::default(),
            repairing: Arc::default(),
            mending: tokio::sync::Mutex::default(),
            resting: rest::Resting::default(),
            clock,
            options,
        });
        let opening = drives.into_iter().map(|files| inner.open_drive(files));
        futures::future::join_all(opening).await;
        inner.mend_logs().await;
        inner.prompt_elections().await;
        tokio::spawn(supervise::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Proposes an encoded command to a group. Ok: committed, durable on a majority of its voters'
    /// drives, applied at the leader; the encoded answer.
    pub async fn propose(&self, group: GroupId, command: Vec<u8>) -> Result<Vec<u8>, MetaError> {
        self.inner.propose(group, command).await
    }

    /// Reads linearizably: `read` sees every change acknowledged before this call, and the index
    /// applied. It runs on a thread that may block.
    pub async fn read<T: Send + 'static>(
        &self,
        group: GroupId,
        read: impl FnOnce(&dyn Rows, u64) -> T + Send + 'static,
    ) -> Result<T, MetaError> {
        self.inner.read(group, read).await
    }

    /// The group's stamp as last applied here: the birth of new ids. Not linearizable. Refused while
    /// the group is known to have no majority: nothing born then could be committed.
    pub fn stamp(&self, group: GroupId) -> Result<Stamp, MetaError> {
        if let Some(refused) = self.inner.refuses(group) {
            return Err(refused);
        }
        let newest = self
            .inner
            .replicas(group)
            .iter()
            .map(|r| Stamp(r.core.stamp()))
            .max();
        newest.ok_or_else(|| {
            MetaError::Unavailable(format!("no replica of {} here", partition_name(group)))
        })
    }

    /// How old `seen`, a stamp of [`MetaNode::stamp`], is in ms: see [`StampSource::age`]. 0 where the
    /// group is not run here.
    ///
    /// [`StampSource::age`]: crate::raft::stamp::StampSource::age
    pub fn age(&self, group: GroupId, seen: Stamp) -> u64 {
        let part = self.inner.groups.get(&group);
        part.map_or(0, |part| part.stamps.age(self.inner.clock.as_ref(), seen.0))
    }

    /// The highest index applied here; 0 where there is no replica.
    pub fn applied(&self, group: GroupId) -> u64 {
        self.inner
            .replicas(group)
            .iter()
            .map(|r| r.core.applied_index())
            .max()
            .unwrap_or(0)
    }

    /// The groups this node runs.
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.options.groups.clone()
    }

    /// Waits until every group has a leader here that has applied all that was committed before.
    pub async fn wait_ready(&self) -> Result<(), MetaError> {
        for group in &self.inner.options.groups {
            self.wait_ready_of(*group).await?;
        }
        Ok(())
    }

    /// The same for one group.
    pub async fn wait_ready_of(&self, group: GroupId) -> Result<(), MetaError> {
        self.read(group, |_, _| ()).await
    }

    /// Snapshots a group on every replica here. Returns when asked for; see [`MetaNode::status`].
    pub async fn snapshot(&self, group: GroupId) {
        for replica in self.inner.replicas(group) {
            if let Err(error) = replica.node.trigger().snapshot().await {
                tracing::debug!(%group, %error, "snapshot not asked for");
            }
        }
    }

    /// Digest over all rows of each replica of a group here: (drive, applied index, digest).
    pub async fn table_digests(
        &self,
        group: GroupId,
    ) -> Result<Vec<(DriveId, u64, u64)>, MetaError> {
        let replicas = self.inner.replicas(group);
        let work = move || {
            let digest = |replica: &Replica| {
                let (index, digest) = replica.core.table_digest()?;
                Ok((replica.core.parts.files.drive(), index, digest))
            };
            replicas
                .iter()
                .map(digest)
                .collect::<Result<Vec<_>, crate::rows::RowsError>>()
                .map_err(|error| MetaError::Damaged(error.to_string()))
        };
        blocking(work).await
    }

    /// Every drive and replica here.
    pub fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    /// Stops in order: no new proposals, running ones end, replicas stop, tables and logs are
    /// written out and closed. A drive that hangs is left behind after a while: all that was
    /// acknowledged is in its log.
    pub async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

impl Inner {
    /// Running replicas of a group on this node.
    pub(crate) fn replicas(&self, group: GroupId) -> Vec<Replica> {
        let hosts = self.hosts.read();
        let running = hosts.values().filter_map(|host| host.running());
        running
            .filter_map(|drive| drive.replicas.read().get(&group).cloned())
            .collect()
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    async fn shutdown(&self) {
        self.closed.send_replace(true);
        let all = u32::try_from(INFLIGHT_BYTES_MAX / INFLIGHT_UNIT).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.options.deadline, self.inflight.acquire_many(all));
        if drained.await.is_err() {
            tracing::warn!("shutting down with proposals unanswered");
        }
        let hosts = std::mem::take(&mut *self.hosts.write());
        let ending = hosts
            .into_iter()
            .map(|(drive, host)| self.end_drive(drive, host));
        futures::future::join_all(ending).await;
        for group in self.groups.values() {
            group.forget_leader();
        }
    }
}

fn unavailable(error: &ReplicaError) -> MetaError {
    match error {
        ReplicaError::Damaged(_) => MetaError::Damaged(error.to_string()),
        _ => MetaError::Unavailable(error.to_string()),
    }
}
