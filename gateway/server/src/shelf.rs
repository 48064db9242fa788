//! The drives of this process: what stands at each path, with its shard store where it is in service.
//! `keeper` takes them out and puts them back; `drive add` puts more on it. The witness stands beside
//! them: it holds what they hold of metadata and keys, and no shards.

use engine_core::ports::DriveFiles;
use engine_disk::{Drive, SegmentStore};
use engine_types::{DriveId, DriveUuid};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One drive in service.
#[derive(Clone, Debug)]
pub(crate) struct Shelved {
    /// Mark and files.
    pub(crate) drive: Arc<Drive>,
    /// Shards.
    pub(crate) store: Arc<SegmentStore>,
}

impl Shelved {
    pub(crate) fn id(&self) -> DriveId {
        self.drive.files().drive()
    }

    pub(crate) fn files(&self) -> Arc<dyn DriveFiles> {
        Arc::new(self.drive.files().clone())
    }
}

/// One path and what stands there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Its number, once known.
    pub(crate) drive: Option<DriveId>,
    /// In service, or why not.
    pub(crate) state: Result<Shelved, String>,
}

/// The witness's directory, and what stands there.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) path: PathBuf,
    pub(crate) state: WitnessState,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(crate) enum WitnessState {
    /// It is in service.
    Up(Arc<Drive>),
    /// Nothing: it is made there when it may be. Why not yet.
    Missing(String),
    /// Something that cannot be used, and why.
    Failing(String),
}

impl Witness {
    fn drive(&self) -> Option<Arc<Drive>> {
        match &self.state {
            WitnessState::Up(drive) => Some(Arc::clone(drive)),
            WitnessState::Missing(_) | WitnessState::Failing(_) => None,
        }
    }

    /// Why it is not in service, if it is not.
    pub(crate) fn why_not(&self) -> Option<String> {
        match &self.state {
            WitnessState::Up(_) => None,
            WitnessState::Missing(why) | WitnessState::Failing(why) => Some(why.clone()),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    places: RwLock<Vec<Place>>,
    /// None: none is needed and none stands, as far as is known.
    witness: RwLock<Option<Witness>>,
    /// Every drive that was ever in service here.
    uuids: RwLock<BTreeMap<DriveId, DriveUuid>>,
}

impl Shelf {
    pub(crate) fn add(&self, drive: Arc<Drive>, store: Arc<SegmentStore>) {
        let path = drive.files().root().path().to_owned();
        let served = Shelved { drive, store };
        self.set(&path, Some(served.id()), Ok(served));
    }

    /// What stands at `path` now; `drive` as far as it is known.
    pub(crate) fn set(&self, path: &Path, drive: Option<DriveId>, state: Result<Shelved, String>) {
        if let Ok(served) = &state {
            let mut uuids = self.uuids.write();
            uuids.insert(served.id(), served.drive.files().uuid());
        }
        let mut places = self.places.write();
        match places.iter_mut().find(|p| p.path == path) {
            Some(place) => {
                place.drive = drive.or(place.drive);
                place.state = state;
            }
            None => places.push(Place {
                path: path.to_owned(),
                drive,
                state,
            }),
        }
    }

    /// What stands in the witness's directory now.
    pub(crate) fn set_witness(&self, witness: Option<Witness>) {
        if let Some(drive) = witness.as_ref().and_then(Witness::drive) {
            let files = drive.files();
            self.uuids.write().insert(files.drive(), files.uuid());
        }
        *self.witness.write() = witness;
    }

    pub(crate) fn witness(&self) -> Option<Witness> {
        self.witness.read().clone()
    }

    /// Forgets a path: its drive has left for good.
    pub(crate) fn forget(&self, path: &Path) {
        self.places.write().retain(|p| p.path != path);
    }

    /// Every path.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.places.read().clone()
    }

    /// Paths without a drive in service, and why; the witness's as well.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let places = self.places();
        let why = |p: &Place| Some(format!("{}: {}", p.path.display(), p.state.as_ref().err()?));
        let mut left_out: Vec<String> = places.iter().filter_map(why).collect();
        let witness = self.witness();
        left_out.extend(witness.and_then(|witness| {
            let why = witness.why_not()?;
            Some(format!("witness at {}: {why}", witness.path.display()))
        }));
        left_out
    }

    /// Which drive has which number, of all that were ever in service here.
    pub(crate) fn uuids(&self) -> BTreeMap<DriveId, DriveUuid> {
        self.uuids.read().clone()
    }

    /// Drives in service: what holds shards.
    pub(crate) fn all(&self) -> Vec<Shelved> {
        self.places()
            .into_iter()
            .filter_map(|p| p.state.ok())
            .collect()
    }

    pub(crate) fn get(&self, id: DriveId) -> Option<Shelved> {
        self.all().into_iter().find(|s| s.id() == id)
    }

    /// All that is marked and in service: drives, then the witness.
    pub(crate) fn drives(&self) -> Vec<Arc<Drive>> {
        let witness = self.witness().and_then(|witness| witness.drive());
        let drives = self.all().into_iter().map(|s| s.drive);
        drives.chain(witness).collect()
    }

    /// Their files: who holds replicas and the keyring.
    pub(crate) fn files(&self) -> Vec<Arc<dyn DriveFiles>> {
        let files = |drive: &Arc<Drive>| Arc::new(drive.files().clone()) as Arc<dyn DriveFiles>;
        self.drives().iter().map(files).collect()
    }
}
