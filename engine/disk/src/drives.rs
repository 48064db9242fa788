//! Opening the drives of a node: look, decide ([`crate::mark::decide`]), raise the boot counts.
//!
//! The boot count is raised in two rounds. First each drive writes its own new count into its own
//! mark; only when all have, each learns the counts of the others. So a sibling never knows a count
//! that the drive itself may not have written: a power cut between two marks makes no old copy.

use crate::drive_dir::DriveDir;
pub use crate::empty_path::{EmptyPath, NewDrive};
use crate::file::Root;
use crate::mark::{DriveState, Found, MARK_FILE, Mark, MarkDecodeError, MarkError, Plan, decide};
use crate::witness::{Role, look_for, standing};
use engine_core::ports::{ASIDE, DriveError, DriveFiles};
use engine_types::{BootId, ClusterId, DriveUuid};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a fresh file system puts in its root.
const IGNORED: &str = "lost+found";

/// What came of opening the paths of a node, in the order given.
#[derive(Debug)]
pub enum Opened {
    /// No path holds a drive in service and no credentials file stands: a new cluster may be made.
    FirstStart {
        /// The cluster id that a start which was cut off had chosen; keep it.
        resumed: Option<ClusterId>,
        /// Paths to mark.
        empty: Vec<EmptyPath>,
        /// Drives that the start which was cut off had marked already, and the witness if it had.
        forming: Vec<Drive>,
    },
    /// A node with drives.
    Started {
        /// This start's number: above every number any of the drives has seen.
        boot: BootId,
        /// One outcome a path.
        drives: Vec<Result<Drive, MarkError>>,
        /// The witness, where one stands.
        witness: Option<Result<Drive, MarkError>>,
    },
}

/// A marked drive, locked and open.
#[derive(Debug)]
pub struct Drive {
    dir: DriveDir,
    mark: Mutex<Mark>,
}

impl Drive {
    pub(crate) fn new(root: Root, mark: Mark) -> Self {
        Self {
            dir: DriveDir::new(root, mark.drive, mark.uuid),
            mark: Mutex::new(mark),
        }
    }

    /// Its files.
    pub fn files(&self) -> &DriveDir {
        &self.dir
    }

    /// The mark as last written.
    pub fn mark(&self) -> Mark {
        self.mark.lock().clone()
    }

    /// Changes the state, durably.
    pub fn set_state(&self, state: DriveState) -> Result<(), MarkError> {
        self.change(|mark| mark.state = state)
    }

    /// The replicas of an old copy have been made anew: it may vote again. Durable.
    pub fn made_anew(&self) -> Result<(), MarkError> {
        self.change(|mark| mark.stale = false)
    }

    /// Takes down how far each drive's log is known to be durable, where that is news. Durable.
    pub fn learn_log_ends(&self, ends: &BTreeMap<DriveUuid, u64>) -> Result<(), MarkError> {
        let known = self.mark();
        if ends
            .iter()
            .all(|(uuid, end)| known.log_ends.get(uuid) == Some(end))
        {
            return Ok(());
        }
        self.change(|mark| mark.log_ends.extend(ends))
    }

    fn change(&self, change: impl FnOnce(&mut Mark)) -> Result<(), MarkError> {
        let mut mark = self.mark.lock();
        let mut next = mark.clone();
        change(&mut next);
        next.write(self.dir.root())?;
        *mark = next;
        Ok(())
    }

    /// The drive is in service: from now on its failure is told in the log.
    pub fn admitted(&self) {
        self.dir.root().standing.admit();
    }

    /// Lets go of the lock, so that what stands at the path can be opened again; for a failed drive
    /// whose store and replicas are closed.
    pub fn release(&self) {
        self.dir.root().unlock();
    }

    /// Looks whether the drive still stands at its path: the path leads to the directory that was
    /// opened and this drive's mark is in it. Fails the drive if not. To be done each second; an
    /// emptied or lazily unmounted drive still takes writes. A drive that has failed is not there.
    pub fn check_still_here(&self) -> bool {
        let root = self.dir.root();
        if root.failure().is_some() {
            return false;
        }
        #[cfg(sabotage)]
        if engine_types::sabotage("ignore-emptied-drive") {
            return true;
        }
        if !root.path_leads_here() {
            return false;
        }
        let uuid = match root.read(MARK_FILE) {
            Ok(bytes) => Mark::decode(&bytes, u32::MAX).ok().map(|mark| mark.uuid),
            Err(DriveError::NotFound) => None,
            // Out of file handles, say: no verdict.
            Err(_) => return root.failure().is_none(),
        };
        if uuid != Some(self.dir.uuid()) {
            root.fail("its mark no longer stands at its path");
        }
        root.failure().is_none()
    }
}

/// Reads what stands in a locked directory.
pub(crate) fn look(root: &Root, known: u32) -> Found {
    let path = || root.path().to_owned();
    let unfit = |error| {
        Found::Unfit(MarkError::Drive {
            path: path(),
            error,
        })
    };
    match root.read(MARK_FILE) {
        Ok(bytes) => match Mark::decode(&bytes, known) {
            Ok(mark) => Found::Marked(mark),
            Err(MarkDecodeError::Damaged(what)) => {
                Found::Unfit(MarkError::Damaged { path: path(), what })
            }
            Err(MarkDecodeError::Newer { release, level }) => Found::Unfit(MarkError::Newer {
                path: path(),
                release,
                level,
                known,
            }),
        },
        Err(DriveError::NotFound) => match root.names("") {
            Ok(names) if names.iter().all(|name| ignorable(name)) => Found::Empty,
            Ok(_) => Found::Other,
            Err(error) => unfit(error),
        },
        Err(error) => unfit(error),
    }
}

/// A mark that was never renamed into place leaves the path as empty as it was.
fn ignorable(name: &str) -> bool {
    name == IGNORED || name.strip_suffix(ASIDE) == Some(MARK_FILE)
}

/// Opens, locks and judges the paths of a node, and raises the boot counts of its drives before
/// anything else is written. The witness, where one stands, is judged with them: they know its boot
/// count and it knows theirs. `credentials` is the cluster id in the credentials file, if it stands.
/// Blocking.
pub fn open_drives(paths: &[PathBuf], witness: &Path, credentials: Option<ClusterId>) -> Opened {
    let mut roots = Vec::new();
    let mut found = Vec::new();
    for path in paths {
        match Root::lock(path) {
            Ok(root) => {
                found.push(look_for(&root, Role::Drive));
                roots.push(Some(root));
            }
            Err(error) => {
                found.push(Found::Unfit(error.into()));
                roots.push(None);
            }
        }
    }
    let mut all = paths.to_vec();
    // One that cannot be used is told of, and says nothing of the drives.
    let unfit = match standing(witness) {
        Some(Ok((root, mark))) => {
            all.push(witness.to_owned());
            found.push(mark);
            roots.push(Some(root));
            None
        }
        Some(Err(error)) => Some(Err(error)),
        None => None,
    };
    match decide(&all, &mut found, credentials) {
        Plan::FirstStart { resumed } => first_start(resumed, roots, found),
        Plan::Start(verdicts) => {
            let taken = verdicts.into_iter().zip(roots).zip(found);
            let taken = taken.map(|((verdict, root), found)| take(verdict, root, found));
            let (boot, mut drives) = raise(taken.collect());
            let witness = drives.split_off(paths.len()).pop().or(unfit);
            Opened::Started {
                boot,
                drives,
                witness,
            }
        }
    }
}

fn first_start(resumed: Option<ClusterId>, roots: Vec<Option<Root>>, found: Vec<Found>) -> Opened {
    let (mut empty, mut forming) = (Vec::new(), Vec::new());
    for (root, found) in roots.into_iter().zip(found) {
        match (root, found) {
            (Some(root), Found::Marked(mark)) => forming.push(Drive::new(root, mark)),
            (Some(root), _) => empty.push(EmptyPath::locked(root)),
            (None, _) => {}
        }
    }
    Opened::FirstStart {
        resumed,
        empty,
        forming,
    }
}

/// A drive that may be opened, and whether it is an old copy.
fn take(
    verdict: Result<bool, MarkError>,
    root: Option<Root>,
    found: Found,
) -> Result<(Drive, bool), MarkError> {
    let old = verdict?;
    match (root, found) {
        (Some(root), Found::Marked(mark)) => Ok((Drive::new(root, mark), old)),
        // `decide` accepts marked paths only.
        (root, _) => Err(MarkError::Unmarked(
            root.map(|root| root.path().to_owned()).unwrap_or_default(),
        )),
    }
}

/// The first start's boot number, once its drives are formed; before anything votes.
pub fn first_boot(drives: Vec<Drive>) -> (BootId, Vec<Result<Drive, MarkError>>) {
    raise(drives.into_iter().map(|drive| Ok((drive, false))).collect())
}

/// Opens a drive that stands at its path (again) while the node runs. `sibling` is the mark of a
/// drive in service: what it knows says whether this one is an old copy. Blocking.
///
/// # Errors
/// As [`open_drives`] has them for one path.
pub fn readmit(path: &Path, role: Role, sibling: &Mark) -> Result<Drive, MarkError> {
    let root = Root::lock(path)?;
    let mut found = vec![look_for(&root, role), Found::Marked(sibling.clone())];
    let paths = [path.to_owned(), PathBuf::new()];
    let Plan::Start(verdicts) = decide(&paths, &mut found, Some(sibling.cluster)) else {
        return Err(MarkError::Unmarked(path.to_owned()));
    };
    let verdict = verdicts.into_iter().next();
    let verdict = verdict.unwrap_or_else(|| Err(MarkError::Unmarked(path.to_owned())));
    let (drive, old) = take(verdict, Some(root), found.swap_remove(0))?;
    let boot = sibling.boot();
    drive.change(|mark| {
        let uuid = mark.uuid;
        mark.stale |= old;
        mark.boots.clone_from(&sibling.boots);
        mark.log_ends.clone_from(&sibling.log_ends);
        mark.boots.insert(uuid, boot);
    })?;
    Ok(drive)
}

/// Raises the boot count of every drive: own counts first, then everyone's. An old copy's siblings
/// are not told of its new count: should the newest state of the drive be found after all, it must
/// not look old beside its copy.
fn raise(drives: Vec<Result<(Drive, bool), MarkError>>) -> (BootId, Vec<Result<Drive, MarkError>>) {
    let mut known: BTreeMap<DriveUuid, BootId> = BTreeMap::new();
    let mut ends: BTreeMap<DriveUuid, u64> = BTreeMap::new();
    for (drive, _) in drives.iter().flatten() {
        let mark = drive.mark();
        for (uuid, boot) in mark.boots {
            let newest = known.entry(uuid).or_default();
            *newest = (*newest).max(boot);
        }
        for (uuid, end) in mark.log_ends {
            let furthest = ends.entry(uuid).or_default();
            *furthest = (*furthest).max(end);
        }
    }
    let newest = known.values().max().copied().unwrap_or_default();
    let boot = BootId(newest.0.saturating_add(1));
    let own = drives.into_iter().map(|drive| {
        let (drive, old) = drive?;
        drive.change(|mark| {
            let uuid = mark.uuid;
            mark.stale |= old;
            mark.boots.insert(uuid, boot);
        })?;
        Ok(drive)
    });
    let raised: Vec<Result<Drive, MarkError>> = own.collect();
    for drive in raised.iter().flatten().filter(|drive| !drive.mark().stale) {
        known.insert(drive.files().uuid(), boot);
    }
    let told = raised.into_iter().map(|drive| {
        let drive = drive?;
        drive.change(|mark| {
            mark.boots.clone_from(&known);
            mark.log_ends.clone_from(&ends);
        })?;
        Ok(drive)
    });
    (boot, told.collect())
}
