//! One replica: a group's log, tables and snapshots on one drive, and openraft's state machine over
//! them.
//!
//! **Crash consistency.** The truth is the newest whole snapshot plus the log; the tables are a
//! cache of a prefix of it. At open the tables are rested on only if they end inside the log or
//! exactly at a snapshot; otherwise a new generation is made from the newest whole snapshot, and
//! openraft rolls it forward. apply never runs ahead of this drive's own log ([`wait_durable`]): an
//! entry may commit on the other voters first, and tables that held it while the log forgot it would
//! vote in one history and answer from another.
//!
//! **Behind the apply.** What was applied last is in memory first and in the tables later ([`ahead`]):
//! a replica that ends in between has a shorter prefix in its tables, as after a power cut.
//!
//! **Threads.** apply runs on its drive's own thread ([`Lane`]), one batch at a time, because fjall
//! stalls writers under compaction and a stalled tokio worker stalls everybody.
//!
//! [`wait_durable`]: crate::log::GroupLog::wait_durable

mod ahead;
mod identity;
mod lane;
mod machine;
mod probe;
mod sums;
mod tables;
mod turns;

pub use ahead::{AHEAD_BYTES_MAX, AHEAD_ENTRIES_MAX, View};
pub use identity::Identity;
pub use lane::Lane;
pub use machine::{ReplicaMachine, SnapshotMaker};
pub use probe::digest_of;
pub use turns::SnapshotTurns;

use crate::blocking::blocking;
use crate::fjall_rows::{SharedTables, Table, TableView};
use crate::log::{DriveLog, GroupLog, LogError};
use crate::raft::machine::Machine;
use crate::raft::network::{Connector, Node, Switchboard};
use crate::rows::RowsError;
use crate::snapshot::{self, Applied, Reader, SnapshotError, SnapshotFile};
use ahead::Held;
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::GroupId;
use openraft::Config;
use openraft::async_runtime::WatchReceiver;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tables::{check, load};

/// Why a replica cannot run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The drive.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its tables.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// What it must remember is gone: it must be made anew from its group under a new id.
    #[error("replica damaged: {0}")]
    Damaged(String),
    /// openraft refused.
    #[error("raft: {0}")]
    Raft(String),
}

/// What the replicas of one drive share.
#[derive(Clone, Debug)]
pub struct DriveParts {
    /// The drive.
    pub files: Arc<dyn DriveFiles>,
    /// Its log.
    pub log: Arc<DriveLog>,
    /// Its tables.
    pub tables: SharedTables,
    /// Its apply thread.
    pub lane: Lane,
    /// Who writes a snapshot next: the node's, not the drive's.
    pub turns: SnapshotTurns,
    /// What applies commands.
    pub machine: Arc<dyn Machine>,
}

/// A replica's state, shared by openraft's machine and readers.
#[derive(Debug)]
pub struct ReplicaCore {
    /// Whose partition.
    pub group: GroupId,
    /// Who it is.
    pub identity: Mutex<Identity>,
    /// Its drive.
    pub parts: DriveParts,
    /// Its log.
    pub log: GroupLog,
    held: RwLock<Held>,
    /// Bytes applied since the last snapshot.
    pub since_snapshot: AtomicU64,
    /// Bytes of all rows in the last snapshot taken; 0: none was yet.
    pub rows_bytes: AtomicU64,
    /// … and in the one before, which is kept as well.
    pub rows_bytes_before: AtomicU64,
    /// The log may be purged up to here.
    pub purge_upto: AtomicU64,
    /// The tables could not be read: rebuild them at the next open.
    pub spoiled: AtomicBool,
    /// Index of the command that is being applied; of a spoiled replica, the one that could not be.
    /// 0: none.
    pub applying: AtomicU64,
    /// Nothing more is to be written in its name.
    pub ended: AtomicBool,
    probe: Mutex<Option<probe::Probe>>,
}

impl ReplicaCore {
    /// Opens or rebuilds the tables. Blocking.
    pub fn open(
        parts: DriveParts,
        group: GroupId,
        rebuild: bool,
    ) -> Result<Arc<Self>, ReplicaError> {
        let files = parts.files.as_ref();
        let identity = Identity::read(files, group)?
            .ok_or_else(|| ReplicaError::Damaged("no replica of this group on the drive".into()))?;
        snapshot::sweep(files, group)?;
        let log = parts.log.group(group);
        let table = parts.tables.generation(group, identity.generation)?;
        let applied = if rebuild {
            Err("asked for".to_owned())
        } else {
            check(&parts, group, &table, &log)
        };
        let core = match applied {
            Ok(applied) => Self::new(parts, group, identity, log, (table, applied)),
            Err(why) => {
                tracing::info!(drive = %files.drive(), %group, %why, "tables rebuilt from snapshot and log");
                Self::rebuild(parts, group, identity, log)?
            }
        };
        core.parts
            .tables
            .drop_others(group, Some(core.identity.lock().generation))?;
        Ok(Arc::new(core))
    }

    fn new(
        parts: DriveParts,
        group: GroupId,
        identity: Identity,
        log: GroupLog,
        (table, applied): (Table, Applied),
    ) -> Self {
        let since = log.live_bytes();
        Self {
            group,
            identity: Mutex::new(identity),
            parts,
            log,
            held: RwLock::new(Held::new(table, applied)),
            since_snapshot: AtomicU64::new(since),
            rows_bytes: AtomicU64::new(0),
            rows_bytes_before: AtomicU64::new(0),
            purge_upto: AtomicU64::new(0),
            spoiled: AtomicBool::new(false),
            applying: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            probe: Mutex::default(),
        }
    }

    fn rebuild(
        parts: DriveParts,
        group: GroupId,
        identity: Identity,
        log: GroupLog,
    ) -> Result<Self, ReplicaError> {
        let newest = snapshot::newest(&parts.files, group)?;
        let base = newest
            .as_ref()
            .map(|file| file.applied.clone())
            .unwrap_or_default();
        let (purged, _) = log.bounds();
        if purged.is_some_and(|purged| base.last.is_none_or(|last| last.index() < purged.index())) {
            return Err(ReplicaError::Damaged(
                "no whole snapshot reaches the purged log".into(),
            ));
        }
        let generation = identity.generation + 1;
        let table = load(&parts, group, generation, newest.as_ref())?;
        let identity = Identity {
            generation,
            ..identity
        };
        identity.write(parts.files.as_ref(), group)?;
        Ok(Self::new(parts, group, identity, log, (table, base)))
    }

    /// The replica's id.
    pub fn id(&self) -> u64 {
        self.identity.lock().id
    }

    /// What has been applied.
    pub fn applied(&self) -> Applied {
        self.held.read().applied.clone()
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> u64 {
        self.held.read().applied.index()
    }

    /// The last applied stamp, ms.
    pub fn stamp(&self) -> u64 {
        self.held.read().applied.stamp.0
    }

    /// The tables, for the care of their files.
    pub fn table(&self) -> Table {
        self.held.read().table.clone()
    }

    /// Bytes of the tables, roughly.
    pub fn table_bytes(&self) -> u64 {
        self.held.read().table.bytes()
    }

    /// Digest over every row, in order. Reads all; blocking.
    pub fn table_digest(&self) -> Result<(u64, u64), RowsError> {
        let view = self.view();
        Ok((view.index(), digest_of(&view)?))
    }

    /// Replaces the tables by a snapshot of the group: copied here, loaded into a new generation,
    /// then the pointer flips. Blocking.
    fn install(&self, source: &SnapshotFile) -> Result<(), ReplicaError> {
        let file = snapshot::fetch(&self.parts.files, self.group, source)?;
        let generation = self.identity.lock().generation + 1;
        let table = load(&self.parts, self.group, generation, Some(&file))?;
        let identity = Identity {
            generation,
            ..*self.identity.lock()
        };
        identity.write(self.parts.files.as_ref(), self.group)?;
        *self.identity.lock() = identity;
        *self.held.write() = Held::new(table, file.applied.clone());
        snapshot::prune(self.parts.files.as_ref(), self.group, 1)?;
        self.since_snapshot.store(0, Ordering::Relaxed);
        self.parts
            .tables
            .drop_others(self.group, Some(generation))?;
        Ok(())
    }

    /// Snapshots `view`; keeps two, and lets the log go below the older. Blocking.
    fn snapshot(&self, view: &TableView, applied: &Applied) -> Result<SnapshotFile, ReplicaError> {
        let mut bytes = 1;
        let rows = view.state_rows().inspect(|row| {
            bytes += row
                .as_ref()
                .map_or(0, |(key, value)| key.len() + value.len());
        });
        let file = snapshot::write(&self.parts.files, self.group, applied, rows)?;
        let before = self.rows_bytes.swap(bytes as u64, Ordering::Relaxed);
        self.rows_bytes_before.store(before, Ordering::Relaxed);
        let oldest = snapshot::prune(self.parts.files.as_ref(), self.group, snapshot::KEPT)?;
        if let Some(oldest) = oldest {
            #[cfg(sabotage)]
            let oldest = if engine_types::sabotage("purge-to-newest") {
                applied.clone()
            } else {
                oldest
            };
            self.purge_upto.fetch_max(oldest.index(), Ordering::Relaxed);
        }
        self.since_snapshot.store(0, Ordering::Relaxed);
        Ok(file)
    }

    /// The newest snapshot; only its head is read, receivers verify the rest and remove it if it is
    /// damaged (so nothing is remembered here). Blocking.
    fn current_snapshot(&self) -> Result<Option<SnapshotFile>, ReplicaError> {
        let files = &self.parts.files;
        for name in snapshot::names(files.as_ref(), self.group)? {
            if let Ok((_, applied)) = Reader::open(files.as_ref(), self.group, &name) {
                return Ok(Some(SnapshotFile {
                    files: Arc::clone(files),
                    name,
                    applied,
                }));
            }
        }
        Ok(None)
    }
}

/// A running replica.
#[derive(Clone)]
pub struct Replica {
    /// State.
    pub core: Arc<ReplicaCore>,
    /// openraft's handle.
    pub node: Node,
    /// Its id.
    pub id: u64,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("group", &self.core.group)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// Opens the replica of `group` on this drive and connects it.
    pub async fn open(
        parts: DriveParts,
        group: GroupId,
        config: Arc<Config>,
        switchboard: &Switchboard,
        rebuild: bool,
    ) -> Result<Self, ReplicaError> {
        let core = blocking(move || ReplicaCore::open(parts, group, rebuild)).await?;
        Self::run(core, config, switchboard).await
    }

    /// Runs an opened replica and connects it: from now on it votes.
    ///
    /// # Errors
    /// `Raft` alone.
    pub async fn run(
        core: Arc<ReplicaCore>,
        config: Arc<Config>,
        switchboard: &Switchboard,
    ) -> Result<Self, ReplicaError> {
        let (id, group) = (core.id(), core.group);
        let connector = Connector {
            group,
            switchboard: switchboard.clone(),
        };
        let machine = ReplicaMachine::new(Arc::clone(&core));
        let node = Node::new(id, config, connector, core.log.clone(), machine)
            .await
            .map_err(|error| ReplicaError::Raft(error.to_string()))?;
        switchboard.connect(group, id, node.clone());
        Ok(Self { core, node, id })
    }

    /// Why openraft stopped, if it did.
    pub fn stopped(&self) -> Option<String> {
        let metrics = self.node.metrics();
        let state = metrics.borrow_watched().running_state.clone();
        state.err().map(|error| error.to_string())
    }
}
