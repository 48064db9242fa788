//! The metadata's part of the scrub: every snapshot file read whole, a damaged one removed and made
//! anew; the tables of each group's replicas compared, a differing one made anew by the metadata
//! itself. Segments and shards are the engine's part.

use crate::shelf::Shelf;
use engine_core::ports::{DriveError, DriveFiles};
use engine_meta::metadata::Replicated;
use engine_meta::service::partition_name;
use engine_meta::snapshot::{self, SnapshotError};
use engine_node::metrics::SCRUB_FOUND;
use engine_types::GroupId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Most damaged snapshots told; older ones are in the log.
pub(crate) const TOLD_MAX: usize = 100;
/// After the start, so that recovery is over and the first snapshots are written.
const FIRST_AFTER: Duration = Duration::from_mins(10);
/// Between two passes. Snapshots are small, and a second one stands behind each.
const EVERY: Duration = Duration::from_hours(24);
/// A pass waits so long for the snapshots it asked for; what takes longer is looked for later.
const REMADE_WITHIN: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks for those.
const LATER: Duration = Duration::from_secs(10);

/// A snapshot that did not read.
#[derive(Clone, Debug)]
pub(crate) struct Damaged {
    pub(crate) found_ms: u64,
    pub(crate) drive: u32,
    pub(crate) group: GroupId,
    pub(crate) name: String,
    pub(crate) reason: String,
    /// Another was written since, or nothing rests on it any more.
    pub(crate) remade: bool,
}

/// How the last pass went.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetaState {
    pub(crate) running: bool,
    /// Unix ms; 0: never.
    pub(crate) ended_ms: u64,
    /// Sound snapshots, and damaged ones.
    pub(crate) snapshots: u64,
    pub(crate) found: u64,
    /// Groups whose replicas were compared, and replicas that differed.
    pub(crate) compared: u64,
    pub(crate) differing: u64,
    /// Since the process began.
    pub(crate) damaged: Vec<Damaged>,
    pub(crate) problem: Option<String>,
}

impl MetaState {
    fn tell(&mut self, damaged: Damaged) {
        self.found += 1;
        if self.damaged.len() >= TOLD_MAX {
            self.damaged.remove(0);
        }
        self.damaged.push(damaged);
    }
}

/// Runs passes, by itself and when asked.
#[derive(Debug, Default)]
pub(crate) struct MetaScrub {
    state: Mutex<MetaState>,
    asked: Notify,
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

impl MetaScrub {
    /// A pass at once.
    pub(crate) fn ask(&self) {
        self.state.lock().running = true;
        self.asked.notify_one();
    }

    pub(crate) fn state(&self) -> MetaState {
        self.state.lock().clone()
    }

    /// As long as the process runs.
    pub(crate) async fn run(&self, drives: &Shelf, metadata: &Replicated) {
        let mut due = tokio::time::Instant::now() + FIRST_AFTER;
        loop {
            tokio::select! {
                () = self.asked.notified() => {}
                () = tokio::time::sleep_until(due) => {}
                () = tokio::time::sleep(LATER), if self.waits() => {
                    self.look_for_remade(drives, metadata).await;
                    continue;
                }
            }
            due = tokio::time::Instant::now() + EVERY;
            self.pass(drives, metadata).await;
        }
    }

    async fn pass(&self, drives: &Shelf, metadata: &Replicated) {
        {
            let mut state = self.state.lock();
            state.running = true;
            (state.snapshots, state.found) = (0, 0);
            (state.compared, state.differing) = (0, 0);
            state.problem = None;
        }
        for group in metadata.node().groups() {
            self.snapshots(drives, metadata, group).await;
            self.tables(metadata, group).await;
        }
        let begun = tokio::time::Instant::now();
        while self.waits() && begun.elapsed() < REMADE_WITHIN {
            tokio::time::sleep(LOOK).await;
            self.look_for_remade(drives, metadata).await;
        }
        let mut state = self.state.lock();
        (state.running, state.ended_ms) = (false, now_ms());
        tracing::info!(
            snapshots = state.snapshots,
            damaged = state.found,
            compared = state.compared,
            differing = state.differing,
            "metadata scrubbed"
        );
    }

    /// Whether a snapshot is to be made anew yet.
    fn waits(&self) -> bool {
        self.state.lock().damaged.iter().any(|of| !of.remade)
    }

    /// Marks the snapshots that were made anew since, and those whose replica has left its drive or
    /// is made anew as a whole: nothing rests on them. Asks for the others again.
    async fn look_for_remade(&self, drives: &Shelf, metadata: &Replicated) {
        let waiting: Vec<Damaged> = {
            let state = self.state.lock();
            let waiting = state.damaged.iter().filter(|of| !of.remade);
            waiting.cloned().collect()
        };
        let status = metadata.node().status();
        for of in waiting {
            let mut all = drives.files().into_iter();
            let Some(files) = all.find(|files| files.drive().0 == of.drive) else {
                // Out of service: what is on it is looked at when it is back.
                continue;
            };
            let replicas = status.replicas(of.group);
            let rests = replicas.iter().any(|(drive, _)| *drive == files.drive());
            if !rests || remade(files, of.group, of.name.clone()).await {
                let mut state = self.state.lock();
                let same =
                    |other: &&mut Damaged| (other.drive, &other.name) == (of.drive, &of.name);
                let found = state.damaged.iter_mut().filter(same);
                found.for_each(|found| found.remade = true);
            } else {
                metadata.node().snapshot(of.group).await;
            }
        }
    }

    async fn snapshots(&self, drives: &Shelf, metadata: &Replicated, group: GroupId) {
        for files in drives.files() {
            let drive = files.drive().0;
            let looked = {
                let files = Arc::clone(&files);
                tokio::task::spawn_blocking(move || look(files.as_ref(), group)).await
            };
            let (sound, damaged) = match looked {
                Ok(Ok(looked)) => looked,
                Ok(Err(error)) => {
                    self.state.lock().problem = Some(format!("drive {drive}: {error}"));
                    continue;
                }
                Err(ended) => {
                    self.state.lock().problem = Some(format!("drive {drive}: {ended}"));
                    continue;
                }
            };
            self.state.lock().snapshots += sound;
            for (name, reason) in damaged {
                tracing::warn!(
                    drive,
                    name,
                    reason,
                    "scrub found a damaged snapshot: it is made anew"
                );
                let labels = [
                    ("drive", drive.to_string()),
                    ("kind", "snapshot".to_owned()),
                ];
                ::metrics::counter!(SCRUB_FOUND, &labels).increment(1);
                metadata.node().snapshot(group).await;
                self.state.lock().tell(Damaged {
                    found_ms: now_ms(),
                    drive,
                    group,
                    name,
                    reason,
                    remade: false,
                });
            }
        }
    }

    async fn tables(&self, metadata: &Replicated, group: GroupId) {
        match metadata.node().check_digests(group).await {
            Ok(check) => {
                let mut state = self.state.lock();
                state.compared += 1;
                state.differing += check.differing.len() as u64;
            }
            Err(error) => {
                let problem = format!("{}: replicas not compared: {error}", partition_name(group));
                self.state.lock().problem = Some(problem);
            }
        }
    }
}

/// How many of a group's snapshots are sound, and the damaged ones: removed, because nothing may rest
/// on them. Blocking.
fn look(
    files: &dyn DriveFiles,
    group: GroupId,
) -> Result<(u64, Vec<(String, String)>), SnapshotError> {
    let (mut sound, mut damaged) = (0, Vec::new());
    for name in snapshot::names(files, group)? {
        match snapshot::verify(files, group, &name) {
            Ok(_) => sound += 1,
            Err(SnapshotError::Damaged(_, why)) => {
                files.remove(&name)?;
                damaged.push((name, why.to_owned()));
            }
            // Dropped for a newer one meanwhile.
            Err(SnapshotError::Drive(DriveError::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sound, damaged))
}

/// Whether there is a snapshot that covers what the lost one did.
async fn remade(files: Arc<dyn DriveFiles>, group: GroupId, lost: String) -> bool {
    let there = tokio::task::spawn_blocking(move || covered(files.as_ref(), group, &lost));
    there.await.unwrap_or(false)
}

/// Blocking.
fn covered(files: &dyn DriveFiles, group: GroupId, lost: &str) -> bool {
    let names = snapshot::names(files, group).unwrap_or_default();
    // Names sort by what they cover.
    names.first().is_some_and(|newest| newest.as_str() >= lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_snapshot_is_told_and_goes_and_a_sound_one_stays() {
        use engine_disk::{DriveDir, Root};
        use engine_types::{DriveId, DriveUuid};
        let drive = tempfile::TempDir::new().expect("a directory");
        let root = Root::lock(drive.path()).expect("locks");
        let files = DriveDir::new(root, DriveId(1), DriveUuid([1; 16]));
        let files: Arc<dyn DriveFiles> = Arc::new(files);
        let rows = || std::iter::once(Ok((b"key".to_vec(), vec![7; 5000])));
        let made = snapshot::write(&files, GroupId(2), &snapshot::Applied::default(), rows());
        let name = made.expect("is written").name;
        assert_eq!(
            look(files.as_ref(), GroupId(2)).expect("reads"),
            (1, Vec::new())
        );
        let mut bytes = files.read(&name).expect("reads");
        bytes[3000] ^= 4;
        files.write(&name, &bytes).expect("writes");
        let (sound, damaged) = look(files.as_ref(), GroupId(2)).expect("reads");
        assert_eq!((sound, damaged.len()), (0, 1));
        assert_eq!(damaged[0].0, name);
        assert!(!covered(files.as_ref(), GroupId(2), &name), "it is gone");
        assert_eq!(
            look(files.as_ref(), GroupId(2)).expect("reads"),
            (0, Vec::new())
        );
        let again = snapshot::write(&files, GroupId(2), &snapshot::Applied::default(), rows());
        again.expect("is written");
        assert!(covered(files.as_ref(), GroupId(2), &name), "made anew");
    }

    #[test]
    fn damaged_snapshots_are_told_up_to_the_limit_and_the_oldest_goes() {
        let mut state = MetaState::default();
        for n in 0..=TOLD_MAX as u64 {
            assert_eq!(state.damaged.len() as u64, n.min(TOLD_MAX as u64));
            state.tell(Damaged {
                found_ms: n,
                drive: 1,
                group: GroupId(1),
                name: String::new(),
                reason: String::new(),
                remade: true,
            });
        }
        assert_eq!(
            (state.damaged.len(), state.damaged[0].found_ms),
            (TOLD_MAX, 1)
        );
        assert_eq!(state.found, TOLD_MAX as u64 + 1, "all are counted");
    }

    #[tokio::test]
    async fn asking_wakes_who_runs_the_passes_even_before_it_waits() {
        let scrub = MetaScrub::default();
        scrub.ask();
        let woken = tokio::time::timeout(REMADE_WITHIN, scrub.asked.notified());
        woken.await.expect("woken");
    }
}
