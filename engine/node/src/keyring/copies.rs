//! The copies of the keyring's file on the drives: written, read, erased.
//!
//! A copy is replaced in this order, each step durable before the next: the standing file is renamed
//! to [`OLD_FILE`], the new one written, the old one's blocks overwritten with zeros and unlinked. So
//! what was destroyed does not stay in free blocks (as far as the file system overwrites in place;
//! one that copies on write, and flash below it, may keep them: see OPERATIONS), and a cut anywhere
//! leaves at least one whole copy under one of the two names; readers look at both. To overwrite
//! before the new file stands was turned down: a power cut on all drives at once would then take
//! every copy.
//!
//! One write a drive at a time, and never of an older generation than one that was begun before: a
//! write to a drive that hangs goes on when nobody waits for it any more, and would put back what was
//! destroyed meanwhile. What does not get its turn in time is not written; the drive is mended later.
//!
//! A generation is in force once it is on a majority of control's voters' drives: what control names
//! is lost only with those, so a majority of them must hold the keys it needs.

use super::KeyringError;
use engine_core::ports::{ASIDE, DriveError, DriveFiles};
use engine_types::DriveId;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the file is on each drive.
pub const KEYRING_FILE: &str = "keyring/keyring";
/// What it replaces, until that is erased.
pub const OLD_FILE: &str = "keyring/old";
/// A drive that takes longer to read or write its copy does not count.
pub(super) const HOLDER_PATIENCE: Duration = Duration::from_secs(10);

/// Tells on which drives control's voters live; none: not known yet.
pub type Voters = Arc<dyn Fn() -> Vec<DriveId> + Send + Sync>;

/// Who holds what.
pub(super) struct Copies {
    holders: RwLock<Vec<Arc<dyn DriveFiles>>>,
    voters: Option<Voters>,
    /// Generation that a drive holds alone, its older copy erased.
    held: Arc<Mutex<BTreeMap<DriveId, u64>>>,
    /// The generation that was last begun to be written to a drive, locked while that goes on.
    begun: Mutex<BTreeMap<DriveId, Arc<tokio::sync::Mutex<u64>>>>,
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies")
            .field("held", &*self.held.lock())
            .finish_non_exhaustive()
    }
}

impl Copies {
    pub(super) fn new(holders: Vec<Arc<dyn DriveFiles>>, voters: Option<Voters>) -> Self {
        Self {
            holders: RwLock::new(holders),
            voters,
            held: Arc::default(),
            begun: Mutex::default(),
        }
    }

    pub(super) fn set_holders(&self, holders: Vec<Arc<dyn DriveFiles>>) {
        let known: BTreeSet<DriveId> = holders.iter().map(|files| files.drive()).collect();
        // A drive that comes back may be an older copy of itself.
        self.held.lock().retain(|drive, _| known.contains(drive));
        *self.holders.write() = holders;
    }

    /// Of `drives`, those not known to hold at least `generation` and nothing older.
    pub(super) fn behind(&self, drives: &[DriveId], generation: u64) -> Vec<DriveId> {
        let held = self.held.lock();
        let behind = |drive: &&DriveId| held.get(drive).is_none_or(|held| *held < generation);
        drives.iter().filter(behind).copied().collect()
    }

    /// Writes to every holder; Ok: durable on a majority of the voters' drives.
    pub(super) async fn write(&self, generation: u64, bytes: Vec<u8>) -> Result<(), KeyringError> {
        let holders = self.holders.read().clone();
        let done = self.write_to(&holders, generation, Arc::new(bytes)).await;
        self.enough(&done)
    }

    /// Writes to the holders that are behind, and are not being written to. Nothing is promised.
    pub(super) async fn mend(&self, generation: u64, bytes: impl FnOnce() -> Option<Vec<u8>>) {
        let mut holders = self.holders.read().clone();
        let drives: Vec<DriveId> = holders.iter().map(|files| files.drive()).collect();
        let behind = self.behind(&drives, generation);
        // One that hangs is not asked again and again.
        let idle = |drive: DriveId| self.begun(drive).try_lock().is_ok();
        holders.retain(|f| behind.contains(&f.drive()) && idle(f.drive()));
        if holders.is_empty() {
            return;
        }
        if let Some(bytes) = bytes() {
            self.write_to(&holders, generation, Arc::new(bytes)).await;
        }
    }

    /// Writes to one drive, whether or not it is a holder. True: it holds this and nothing older.
    pub(super) async fn bring_up(
        &self,
        files: Arc<dyn DriveFiles>,
        generation: u64,
        bytes: Vec<u8>,
    ) -> bool {
        self.held.lock().remove(&files.drive());
        let put = self.write_one(files, generation, Arc::new(bytes)).await;
        matches!(put, Some(Put::Alone))
    }

    fn begun(&self, drive: DriveId) -> Arc<tokio::sync::Mutex<u64>> {
        Arc::clone(self.begun.lock().entry(drive).or_default())
    }

    /// The drives on which it is durable.
    async fn write_to(
        &self,
        holders: &[Arc<dyn DriveFiles>],
        generation: u64,
        bytes: Arc<Vec<u8>>,
    ) -> BTreeSet<DriveId> {
        let writes = holders.iter().map(|files| {
            let drive = files.drive();
            let write = self.write_one(Arc::clone(files), generation, Arc::clone(&bytes));
            async move { write.await.map(|_put| drive) }
        });
        let done = futures::future::join_all(writes).await;
        done.into_iter().flatten().collect()
    }

    /// What came of it in time; none: no durable copy, as far as is known.
    async fn write_one(
        &self,
        files: Arc<dyn DriveFiles>,
        generation: u64,
        bytes: Arc<Vec<u8>>,
    ) -> Option<Put> {
        let drive = files.drive();
        let put = self.put_in_turn(files, generation, bytes);
        match tokio::time::timeout(HOLDER_PATIENCE, put).await {
            Ok(Ok(Ok(put))) => {
                if let Put::BesideOld(error) = &put {
                    tracing::warn!(%drive, %error, "keyring's older copy is not erased yet");
                }
                Some(put)
            }
            failed => {
                tracing::warn!(%drive, ?failed, "drive has no copy of the keyring's latest state");
                None
            }
        }
    }

    /// Once begun it goes on where nobody waits for it any more, and keeps its turn until it ends.
    async fn put_in_turn(
        &self,
        files: Arc<dyn DriveFiles>,
        generation: u64,
        bytes: Arc<Vec<u8>>,
    ) -> Result<Result<Put, DriveError>, tokio::task::JoinError> {
        let drive = files.drive();
        let turn = self.begun(drive);
        #[cfg(sabotage)]
        let turn = if engine_types::sabotage("keyring-out-of-turn") {
            Arc::default()
        } else {
            turn
        };
        let mut begun = turn.lock_owned().await;
        let held = Arc::clone(&self.held);
        let write = move || {
            if *begun > generation {
                let newer = format!("generation {} was begun before", *begun);
                return Err(DriveError::Failed(newer));
            }
            *begun = generation;
            let put = put(&*files, &bytes);
            if matches!(put, Ok(Put::Alone)) {
                held.lock().insert(drive, generation);
            }
            put
        };
        tokio::task::spawn_blocking(write).await
    }

    fn enough(&self, done: &BTreeSet<DriveId>) -> Result<(), KeyringError> {
        let asked = asked(&self.holders.read(), self.voters.as_ref());
        let written = asked.iter().filter(|drive| done.contains(drive)).count();
        let needed = asked.len() / 2 + 1;
        #[cfg(sabotage)]
        let needed = if engine_types::sabotage("keyring-one-copy") {
            1
        } else {
            needed
        };
        if written < needed {
            return Err(KeyringError::NoMajority {
                written,
                holders: asked.len(),
            });
        }
        Ok(())
    }
}

/// The drives whose majority counts.
pub(super) fn asked(holders: &[Arc<dyn DriveFiles>], voters: Option<&Voters>) -> Vec<DriveId> {
    let mut asked = voters.map(|voters| voters()).unwrap_or_default();
    #[cfg(sabotage)]
    if engine_types::sabotage("keyring-any-holder") {
        asked.clear();
    }
    if asked.is_empty() {
        asked = holders.iter().map(|files| files.drive()).collect();
    }
    asked
}

/// What became of a copy that is durable.
#[derive(Debug)]
enum Put {
    /// Nothing older is left on the drive.
    Alone,
    /// The copy it replaces still has its blocks, and why.
    BesideOld(DriveError),
}

/// Replaces a drive's copy as the header says. Blocking.
fn put(files: &dyn DriveFiles, bytes: &[u8]) -> Result<Put, DriveError> {
    match files.read(KEYRING_FILE) {
        Ok(same) if same == bytes => return Ok(erased(files)),
        Err(DriveError::NotFound) => {}
        // Beside a file that stands, the old one is what it replaced.
        Ok(_) | Err(_) => {
            files.erase(OLD_FILE)?;
            files.rename(KEYRING_FILE, OLD_FILE)?;
        }
    }
    // What a write that was cut off has left: `write` would give its blocks back as they are.
    files.erase(&format!("{KEYRING_FILE}{ASIDE}"))?;
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-keyring-fsync") {
        files.open_log(KEYRING_FILE)?.append(bytes)?;
        return Ok(erased(files));
    }
    files.write(KEYRING_FILE, bytes)?;
    Ok(erased(files))
}

fn erased(files: &dyn DriveFiles) -> Put {
    files
        .erase(OLD_FILE)
        .map_or_else(Put::BesideOld, |()| Put::Alone)
}
