//! A drive in service: its log, tables, apply thread and replicas.

use super::{Inner, Known};
use crate::fjall_rows::Tables;
use crate::log::DriveLog;
use crate::raft::types::Types;
use crate::replica::{DriveParts, Identity, Lane, Replica, ReplicaError};
use engine_core::ports::{DriveError, DriveFiles, MetaError};
use engine_types::{DriveId, GroupId};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a replica may take to stop before it is left behind.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(2);

/// How long a clean stop may write tables out before it leaves the rest to the journals.
const WRITTEN_OUT_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether they are.
const GLANCE: Duration = Duration::from_millis(20);

/// What runs on a drive.
#[derive(Debug)]
pub(super) struct Running {
    pub parts: DriveParts,
    pub replicas: RwLock<BTreeMap<GroupId, Replica>>,
    /// Groups whose replica here must be made anew, and why.
    pub damaged: Mutex<BTreeMap<GroupId, String>>,
    /// Replicas made here since the drive was opened, by id: they have promised nothing to anyone
    /// else, so one that has not joined its group yet may still.
    pub made: Mutex<BTreeMap<GroupId, u64>>,
    /// Why it was taken for an older copy of itself when it was opened, if it was.
    pub old_copy: Option<String>,
}

/// A drive, in or out of service.
pub(super) struct Host {
    pub files: Arc<dyn DriveFiles>,
    pub state: HostState,
}

pub(super) enum HostState {
    In(Arc<Running>),
    Out {
        reason: String,
        /// The monotonic clock when it went out.
        since: Duration,
        /// Taken out by its owner, who alone puts it back.
        held: bool,
        /// The old log writer and tables are being let go.
        closing: Option<tokio::task::JoinHandle<()>>,
    },
}

impl Host {
    pub(super) fn running(&self) -> Option<&Arc<Running>> {
        match &self.state {
            HostState::In(running) => Some(running),
            HostState::Out { .. } => None,
        }
    }
}

/// Opens a drive; one that errs is out of service. Whoever asked tells people: an owner who tries a
/// dead drive each second must not do so each second.
pub(super) async fn open(inner: &Inner, files: Arc<dyn DriveFiles>) -> Host {
    match start(inner, &files).await {
        Ok(running) => Host {
            files,
            state: HostState::In(running),
        },
        Err(error) => {
            let since = inner.clock.monotonic();
            Host {
                files,
                state: HostState::Out {
                    reason: error.to_string(),
                    since,
                    held: false,
                    closing: None,
                },
            }
        }
    }
}

async fn start(inner: &Inner, files: &Arc<dyn DriveFiles>) -> Result<Arc<Running>, ReplicaError> {
    let (opened, options, machine) = (
        Arc::clone(files),
        inner.options.clone(),
        Arc::clone(&inner.machine),
    );
    let drive = files.drive();
    let known = inner.known.lock().get(&drive).copied().unwrap_or_default();
    let turns = inner.turns.clone();
    let parts = tokio::task::spawn_blocking(move || {
        if let Some(reason) = opened.failure() {
            return Err(ReplicaError::Drive(DriveError::Failed(reason)));
        }
        let log = Arc::new(DriveLog::open(Arc::clone(&opened), options.log)?);
        let tables = Arc::new(Tables::open(opened.as_ref(), options.tables)?);
        let lane = Lane::start().map_err(|error| DriveError::Failed(error.to_string()))?;
        let old_copy = Inner::judge(known, opened.as_ref(), &log)?;
        let disowned = Inner::disowned(opened.as_ref(), old_copy.as_ref())?;
        let parts = DriveParts {
            files: opened,
            log,
            tables,
            lane,
            turns,
            machine,
        };
        Ok((parts, old_copy, disowned))
    });
    let (parts, old_copy, disowned) = parts
        .await
        .map_err(|error| ReplicaError::Raft(error.to_string()))??;
    #[cfg(sabotage)]
    if drive == DriveId::WITNESS && engine_types::sabotage("witness-votes-empty") {
        inner.votes_as_before(files.as_ref())?;
    }
    let groups = Identity::groups(files.as_ref())?;
    let told = |group: &GroupId| Some((*group, parts.log.damage_of(*group)?));
    #[cfg(sabotage)]
    let told = |group: &GroupId| told(group).filter(|_| !engine_types::sabotage("run-damaged-log"));
    let told = groups.iter().filter_map(told).chain(disowned);
    let damaged = Mutex::new(told.collect());
    let running = Arc::new(Running {
        parts,
        replicas: RwLock::default(),
        damaged,
        made: Mutex::default(),
        old_copy,
    });
    let opening = groups
        .into_iter()
        .map(|group| open_replica(inner, &running, group, false));
    for result in futures::future::join_all(opening).await {
        result?;
    }
    inner.found(drive);
    Ok(running)
}

/// Opens one replica; damage is noted, not an error: the group makes it anew.
pub(super) async fn open_replica(
    inner: &Inner,
    running: &Arc<Running>,
    group: GroupId,
    rebuild: bool,
) -> Result<(), ReplicaError> {
    if running.damaged.lock().contains_key(&group) || !inner.groups.contains_key(&group) {
        return Ok(());
    }
    let (parts, config) = (running.parts.clone(), Arc::clone(&inner.config));
    match Replica::open(parts, group, config, &inner.switchboard, rebuild).await {
        Ok(replica) => {
            running.replicas.write().insert(group, replica);
            Ok(())
        }
        Err(error @ (ReplicaError::Damaged(_) | ReplicaError::Raft(_))) => {
            tracing::error!(drive = %running.parts.files.drive(), %group, %error, "replica does not open");
            running.damaged.lock().insert(group, error.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Stops one replica. openraft's tasks may hang on a dead drive: then they are left behind.
pub(super) async fn stop(inner: &Inner, replica: &Replica) {
    inner.switchboard.disconnect(replica.core.group, replica.id);
    replica.core.ended.store(true, Ordering::Release);
    if tokio::time::timeout(STOP_WITHIN, replica.node.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(group = %replica.core.group, id = replica.id, "replica does not stop");
    }
}

async fn settle(replica: &Replica) {
    if let Err(error) = replica.core.settle().await {
        tracing::info!(group = %replica.core.group, %error, "tables not written out");
    }
}

/// Has the memtables written to the tables' files, so that the next start need not read journals.
async fn write_out(running: &Running) -> Result<(), String> {
    let ask = || {
        let tables = Arc::clone(&running.parts.tables);
        async move {
            let asked = tokio::task::spawn_blocking(move || tables.write_out()).await;
            let done = asked.map_err(|ended| ended.to_string())?;
            done.map_err(|error| error.to_string())
        }
    };
    until_written(tokio::time::Instant::now(), ask).await
}

/// Asks until the answer is yes, or [`WRITTEN_OUT_WITHIN`] has passed since `begun`.
async fn until_written<F: Future<Output = Result<bool, String>>>(
    begun: tokio::time::Instant,
    mut ask: impl FnMut() -> F,
) -> Result<(), String> {
    loop {
        if ask().await? {
            return Ok(());
        }
        if begun.elapsed() >= WRITTEN_OUT_WITHIN {
            return Err(format!("not within {} s", WRITTEN_OUT_WITHIN.as_secs()));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Lets a drive go: replicas, tables, log.
pub(super) async fn close(inner: &Inner, running: Arc<Running>, clean: bool) {
    let replicas = std::mem::take(&mut *running.replicas.write());
    futures::future::join_all(replicas.values().map(|replica| stop(inner, replica))).await;
    if clean {
        futures::future::join_all(replicas.values().map(settle)).await;
    }
    drop(replicas);
    let drive = running.parts.files.drive();
    if clean && let Err(error) = write_out(&running).await {
        tracing::info!(%drive, error, "tables not written out");
    }
    let closed = tokio::task::spawn_blocking(move || {
        if clean && let Err(error) = running.parts.tables.flush() {
            tracing::info!(%error, "tables not written out");
        }
        running.parts.log.close();
        running.parts.log.end()
    });
    match closed.await {
        Ok(log_end) => inner.expect(
            drive,
            Known {
                old_copy: false,
                log_end,
            },
        ),
        Err(error) => tracing::warn!(%error, "drive not closed"),
    }
}

impl Inner {
    /// Takes a drive out of service: leaderships first, then the rest.
    pub(super) async fn drive_out(self: &Arc<Self>, drive: DriveId, reason: &str, held: bool) {
        let _lifecycle = self.lifecycle.lock().await;
        let running = {
            let mut hosts = self.hosts.write();
            let Some(host) = hosts.get_mut(&drive) else {
                return;
            };
            let since = self.clock.monotonic();
            let out = HostState::Out {
                reason: reason.to_owned(),
                since,
                held,
                closing: None,
            };
            match std::mem::replace(&mut host.state, out) {
                HostState::In(running) => running,
                already @ HostState::Out { .. } => {
                    host.state = already;
                    return;
                }
            }
        };
        // Whoever failed the drive has told people why.
        tracing::info!(%drive, reason, "the drive's replicas stop");
        let replicas: Vec<Replica> = running.replicas.read().values().cloned().collect();
        for replica in &replicas {
            self.switchboard.disconnect(replica.core.group, replica.id);
            self.groups[&replica.core.group].forget_leader();
        }
        let handing = replicas.iter().map(|replica| self.hand_over(replica));
        futures::future::join_all(handing).await;
        drop(replicas);
        let inner = Arc::clone(self);
        let closing = tokio::spawn(async move { close(&inner, running, false).await });
        if let Some(Host {
            state: HostState::Out { closing: slot, .. },
            ..
        }) = self.hosts.write().get_mut(&drive)
        {
            *slot = Some(closing);
        }
    }

    /// Stops a leader that lost its drive and has the best other voter elected at once, instead of
    /// after a timeout: the others are told, in the dead leader's name, to let go of its lease. Only
    /// this process may say so, because it knows the leader is stopped.
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
        let voters = self.replicas(group);
        let Some(heir) = voters.iter().max_by_key(|voter| voter.core.log.bounds().1) else {
            return;
        };
        let tell = async |voter: &Replica| {
            let request = TransferLeaderRequest::<Types>::new(vote, heir.id, None);
            if let Err(error) = voter.node.handle_transfer_leader(request).await {
                tracing::debug!(%group, %error, "voter not told of the hand-over");
            }
        };
        for voter in voters.iter().filter(|voter| voter.id != heir.id) {
            tell(voter).await;
        }
        tell(heir).await;
    }

    /// Puts a drive into service.
    pub(super) async fn drive_back(
        self: &Arc<Self>,
        files: Arc<dyn DriveFiles>,
    ) -> Result<(), MetaError> {
        let _lifecycle = self.lifecycle.lock().await;
        if self.is_closed() {
            return Err(MetaError::Closed);
        }
        let drive = files.drive();
        if let Some(host) = self.hosts.read().get(&drive) {
            match &host.state {
                HostState::In(_) => return Ok(()),
                HostState::Out {
                    closing: Some(closing),
                    ..
                } if !closing.is_finished() => {
                    return Err(MetaError::Unavailable(
                        "the drive is still being let go".into(),
                    ));
                }
                HostState::Out { .. } => {}
            }
        }
        let host = open(self, files).await;
        let result = match &host.state {
            HostState::In(_) => Ok(()),
            HostState::Out { reason, .. } => Err(MetaError::Unavailable(reason.clone())),
        };
        self.hosts.write().insert(drive, host);
        self.mend_logs().await;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// Says no `times` times, then yes; how often it was asked.
    async fn asked(begun: Instant, times: usize) -> (Result<(), String>, usize) {
        let mut count = 0;
        let ask = || {
            count += 1;
            std::future::ready(Ok(count > times))
        };
        let done = until_written(begun, ask).await;
        (done, count)
    }

    #[tokio::test]
    async fn a_stop_waits_for_its_tables_within_the_limit_and_no_longer() {
        let past = Instant::now() - WRITTEN_OUT_WITHIN;
        assert_eq!(asked(past + WRITTEN_OUT_WITHIN / 2, 2).await, (Ok(()), 3));
        let late = Err("not within 10 s".to_owned());
        assert_eq!(asked(past, 2).await, (late, 1), "past it there is one look");
    }
}
