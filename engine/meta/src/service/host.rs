//! A drive in service: its log, tables, apply thread and replicas.
//!
//! All replicas of a drive are opened before the first of them runs: from then on it votes and
//! acknowledges, so nothing that fails later may leave it behind. The tables are opened before the
//! log, and held for as long as anything of the drive is: their lock keeps a second writer off the log.

use super::Inner;
use super::backoff::Stops;
use super::closing::{close, stop};
use crate::blocking::blocking;
use crate::fjall_rows::Tables;
use crate::log::DriveLog;
use crate::replica::{DriveParts, Identity, Lane, Replica, ReplicaCore, ReplicaError};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::GroupId;
use openraft::storage::RaftLogReader;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OwnedMutexGuard;

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
    /// Replicas that stopped though the drive is well.
    pub stops: Mutex<BTreeMap<GroupId, Stops>>,
    /// Why it was taken for an older copy of itself when it was opened, if it was.
    pub old_copy: Option<String>,
    /// Whoever adds or removes replicas here holds it, for as long as the drive takes; letting the
    /// drive go waits for it. Nobody waits for it who has other drives to look after.
    pub changing: Arc<tokio::sync::Mutex<()>>,
    /// It is being let go.
    ended: AtomicBool,
}

/// The turn of whoever adds or removes replicas on a drive.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Running {
    /// The turn to add or remove replicas; none while another has it, or once the drive is let go.
    pub(super) fn try_turn(&self) -> Option<Turn> {
        let turn = Arc::clone(&self.changing).try_lock_owned().ok()?;
        (!self.ended.load(Ordering::Acquire)).then_some(turn)
    }

    /// Waits for the turn; none once the drive is let go.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        (!self.ended.load(Ordering::Acquire)).then_some(turn)
    }

    /// Whether its replica here is stopped, and stays what it is.
    pub(super) fn is_stopped(&self, group: GroupId) -> bool {
        let stops = self.stops.lock();
        stops.get(&group).is_some_and(|stop| stop.why().is_some())
    }

    /// Puts a replica that runs into service. False: the drive is let go, so it must stop.
    fn put(&self, replica: &Replica) -> bool {
        let mut replicas = self.replicas.write();
        let stays = !self.ended.load(Ordering::Acquire);
        if stays {
            replicas.insert(replica.core.group, replica.clone());
        }
        stays
    }

    /// From now on there are no replicas here; those there were.
    pub(super) fn end(&self) -> BTreeMap<GroupId, Replica> {
        let mut replicas = self.replicas.write();
        self.ended.store(true, Ordering::Release);
        std::mem::take(&mut *replicas)
    }

    fn damage(&self, group: GroupId, error: &ReplicaError) {
        tracing::error!(drive = %self.parts.files.drive(), %group, %error, "replica does not open");
        self.damaged.lock().insert(group, error.to_string());
    }
}

/// What lies on a drive.
struct Survey {
    groups: Vec<GroupId>,
    damaged: BTreeMap<GroupId, String>,
    old_copy: Option<String>,
}

/// Opens a drive. One that errs is let go whole before the error is told.
pub(super) async fn start(
    inner: &Inner,
    files: &Arc<dyn DriveFiles>,
) -> Result<Arc<Running>, ReplicaError> {
    let parts = open_parts(inner, files).await?;
    let survey = match survey(inner, &parts).await {
        Ok(survey) => survey,
        Err(error) => {
            close_log(parts).await;
            return Err(error);
        }
    };
    let running = Arc::new(Running {
        parts,
        replicas: RwLock::default(),
        damaged: Mutex::new(survey.damaged),
        made: Mutex::default(),
        stops: Mutex::default(),
        old_copy: survey.old_copy,
        changing: Arc::default(),
        ended: AtomicBool::new(false),
    });
    match open_replicas(inner, &running, survey.groups).await {
        Ok(()) => {
            inner.found(files.drive());
            Ok(running)
        }
        Err(error) => {
            close(inner, running, false).await;
            Err(error)
        }
    }
}

async fn open_parts(
    inner: &Inner,
    files: &Arc<dyn DriveFiles>,
) -> Result<DriveParts, ReplicaError> {
    let (files, options) = (Arc::clone(files), inner.options.clone());
    let (turns, machine) = (inner.turns.clone(), Arc::clone(&inner.machine));
    blocking(move || {
        if let Some(reason) = files.failure() {
            return Err(ReplicaError::Drive(DriveError::Failed(reason)));
        }
        let tables = Arc::new(Tables::open(files.as_ref(), options.tables)?);
        let lane = Lane::start().map_err(|error| DriveError::Failed(error.to_string()))?;
        let log = Arc::new(DriveLog::open(Arc::clone(&files), options.log)?);
        Ok(DriveParts {
            files,
            log,
            tables,
            lane,
            turns,
            machine,
        })
    })
    .await
}

async fn close_log(parts: DriveParts) {
    let closed = blocking(move || {
        parts.log.close();
        Ok::<_, ReplicaError>(())
    });
    if let Err(error) = closed.await {
        tracing::warn!(%error, "log not closed");
    }
}

/// Who lies on the drive, and which of them may not go on.
async fn survey(inner: &Inner, parts: &DriveParts) -> Result<Survey, ReplicaError> {
    let (files, log) = (Arc::clone(&parts.files), Arc::clone(&parts.log));
    let known = inner.known.lock().get(&files.drive()).copied();
    let (old_copy, disowned) = blocking(move || {
        let old_copy = Inner::judge(known.unwrap_or_default(), files.as_ref(), &log)?;
        let disowned = Inner::disowned(files.as_ref(), old_copy.as_ref())?;
        Ok::<_, ReplicaError>((old_copy, disowned))
    })
    .await?;
    #[cfg(sabotage)]
    if parts.files.drive() == engine_types::DriveId::WITNESS
        && engine_types::sabotage("witness-votes-empty")
    {
        inner.votes_as_before(parts.files.as_ref())?;
    }
    let files = Arc::clone(&parts.files);
    let groups = blocking(move || Ok::<_, ReplicaError>(Identity::groups(files.as_ref())?)).await?;
    let told = |group: &GroupId| Some((*group, parts.log.damage_of(*group)?));
    #[cfg(sabotage)]
    let told = |group: &GroupId| told(group).filter(|_| !engine_types::sabotage("run-damaged-log"));
    let mut damaged: BTreeMap<GroupId, String> =
        groups.iter().filter_map(told).chain(disowned).collect();
    for group in ownerless(&parts.log, &groups, &damaged).await? {
        damaged.insert(group, "its identity is gone from the drive".into());
    }
    Ok(Survey {
        groups,
        damaged,
        old_copy,
    })
}

/// Groups of which the log holds something and the drive no identity, put aside or not: who they were
/// cannot be told any more. They go the way of damaged ones, once their group has a majority.
async fn ownerless(
    log: &DriveLog,
    groups: &[GroupId],
    damaged: &BTreeMap<GroupId, String>,
) -> Result<Vec<GroupId>, ReplicaError> {
    let owned: BTreeSet<GroupId> = groups.iter().chain(damaged.keys()).copied().collect();
    let mut found = Vec::new();
    for group in log.groups() {
        let mut held = log.group(group);
        let vote = held.read_vote().await;
        let vote = vote.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        if !owned.contains(&group) && (vote.is_some() || held.bounds() != (None, None)) {
            found.push(group);
        }
    }
    Ok(found)
}

/// Opens all, then runs all.
async fn open_replicas(
    inner: &Inner,
    running: &Arc<Running>,
    groups: Vec<GroupId>,
) -> Result<(), ReplicaError> {
    let groups = groups
        .into_iter()
        .filter(|group| opens(inner, running, *group));
    let opening = groups.map(async |group| (group, open_core(running, group, false).await));
    let mut cores = Vec::new();
    // Each to its end: one that was left to itself would still write when the drive is let go.
    let mut failed = None;
    for (group, opened) in futures::future::join_all(opening).await {
        match opened {
            Ok(core) => cores.push(core),
            Err(error) if is_damage(&error) => running.damage(group, &error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let started = cores.into_iter().map(|core| run(inner, running, core));
    futures::future::join_all(started).await;
    Ok(())
}

/// Opens one replica; damage is noted, not an error: the group makes it anew. The caller has the
/// drive's turn.
pub(super) async fn open_replica(
    inner: &Inner,
    running: &Arc<Running>,
    group: GroupId,
    rebuild: bool,
) -> Result<(), ReplicaError> {
    if !opens(inner, running, group) {
        return Ok(());
    }
    match open_core(running, group, rebuild).await {
        Ok(core) => run(inner, running, core).await,
        Err(error) if is_damage(&error) => running.damage(group, &error),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn opens(inner: &Inner, running: &Running, group: GroupId) -> bool {
    !running.damaged.lock().contains_key(&group) && inner.groups.contains_key(&group)
}

/// Whether it is the one replica's, and not the drive's.
fn is_damage(error: &ReplicaError) -> bool {
    matches!(error, ReplicaError::Damaged(_) | ReplicaError::Raft(_))
}

async fn open_core(
    running: &Running,
    group: GroupId,
    rebuild: bool,
) -> Result<Arc<ReplicaCore>, ReplicaError> {
    let parts = running.parts.clone();
    blocking(move || ReplicaCore::open(parts, group, rebuild)).await
}

async fn run(inner: &Inner, running: &Running, core: Arc<ReplicaCore>) {
    let (group, config) = (core.group, Arc::clone(&inner.config));
    let ran = Arc::clone(&core);
    match Replica::run(core, config, &inner.switchboard).await {
        Ok(replica) if running.put(&replica) => {}
        Ok(replica) => stop(inner, &replica).await,
        // What is known to be committed is applied at once.
        Err(error) if ran.spoiled.load(Ordering::Relaxed) => {
            stopped(inner, running, &ran, &error.to_string());
        }
        Err(error) => running.damage(group, &error),
    }
}

/// A replica is found stopped though its drive is well; whether that is news.
pub(super) fn stopped(inner: &Inner, running: &Running, core: &ReplicaCore, why: &str) -> bool {
    let (group, spoiled) = (core.group, core.spoiled.load(Ordering::Relaxed));
    let applying = core.applying.load(Ordering::Relaxed);
    let index = if spoiled { applying } else { 0 };
    let mut stops = running.stops.lock();
    let stop = stops.entry(group).or_default();
    let news = stop.found(inner.clock.monotonic(), index, why);
    if news {
        (stop.id, stop.spoiled) = (core.id(), spoiled);
        let (drive, why) = (core.parts.files.drive(), stop.why());
        tracing::error!(%drive, %group, id = stop.id, why, spoiled, "replica stopped");
    }
    news
}
