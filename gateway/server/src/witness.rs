//! Keeps the witness: one more voter, in a directory beside the credentials file, while the layout has
//! fewer drives than voters.
//!
//! What stands there is judged as a drive is: its mark, its boot count, how far its log goes. One that
//! fails or is gone goes out of service, an older copy's replicas are disowned. Two things differ. It
//! is made by itself, because no bytes but its own are at stake: where the path is absent or empty
//! a new one is marked, under a new uuid, and its replicas join as new voters. That waits while any
//! partition lacks a majority: the lost one may then be half of what is left, and whoever puts it back
//! must find its place free. And it goes by itself: once the drives are enough and no voter is left on
//! it, it is erased and its directory removed.

use crate::erase::erase;
use crate::holders::votes;
use crate::keeper::{known_of, settle};
use crate::looks::Looks;
use crate::shelf::{Shelf, Witness, WitnessState};
use crate::store::{NODE, StoreError};
use crate::system::SystemEntropy;
use engine_core::placement::Voters;
use engine_core::ports::{DriveFiles, Entropy};
use engine_disk::drives::{NewDrive, readmit};
use engine_disk::mark::Mark;
use engine_disk::{Drive, DriveState, EmptyPath, MarkError, OpenError, Role};
use engine_meta::metadata::Replicated;
use engine_node::Engine;
use engine_types::{ClusterId, DriveId, DriveUuid};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the keeper's task works with.
#[derive(Debug)]
pub(crate) struct WitnessKeeper {
    path: PathBuf,
    shelf: Arc<Shelf>,
    metadata: Replicated,
    /// None while the store opens.
    engine: Option<Engine>,
    /// What was admitted last was so without the engine, which has not heard of it.
    unjoined: bool,
    looks: Looks,
}

/// Who a new witness is.
pub(crate) fn new_witness(cluster: ClusterId, entropy: &dyn Entropy) -> NewDrive {
    let mut uuid = [0; 16];
    entropy.fill(&mut uuid);
    NewDrive {
        uuid: DriveUuid(uuid),
        drive: DriveId::WITNESS,
        cluster,
        node: NODE,
    }
}

/// The witness's directory, made where it is absent, durably: a power cut must not take a voter with
/// its directory's name. Never its parents: those may be a disk that is not mounted. Blocking.
pub(crate) fn empty_directory(path: &Path) -> Result<EmptyPath, StoreError> {
    let refused = |error: &dyn std::fmt::Display| {
        StoreError::Refused(format!("witness_dir: {}: {error}", path.display()))
    };
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refused(&error)),
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = std::fs::File::open(parent.unwrap_or(Path::new(".")));
    let synced = parent.and_then(|parent| parent.sync_all());
    synced.map_err(|error| refused(&error))?;
    EmptyPath::open(path).map_err(|error| refused(&error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|ended| ended.to_string())?
}

impl WitnessKeeper {
    pub(crate) fn new(path: PathBuf, shelf: Arc<Shelf>, metadata: Replicated) -> Self {
        Self {
            path,
            shelf,
            metadata,
            engine: None,
            unjoined: false,
            looks: Looks::default(),
        }
    }

    /// The store is open: from now on its engine tells how many drives there are.
    pub(crate) fn serving(&mut self, engine: Engine) {
        self.engine = Some(engine);
    }

    /// Looks once. `sibling` is the mark of a drive in service.
    pub(crate) async fn look(&mut self, sibling: Option<&Mark>) {
        let before = self.shelf.witness();
        let told = before.as_ref().and_then(Witness::why_not);
        match (before.map(|witness| witness.state), sibling) {
            (Some(WitnessState::Up(drive)), _) => self.look_at(drive).await,
            (_, None) => {}
            (before, Some(sibling)) => {
                let state = self.try_back(before.is_some(), sibling).await;
                self.set(state);
                self.unjoined = self.engine.is_none();
                #[cfg(sabotage)]
                {
                    self.unjoined &= !engine_types::sabotage("witness-unjoined");
                }
            }
        }
        let why = self.shelf.witness().and_then(|witness| witness.why_not());
        if let Some(reason) = why.filter(|why| told.as_ref() != Some(why)) {
            tracing::warn!(path = %self.path.display(), reason, "witness not in service");
        }
    }

    /// Whether the layout asks for one; none: it is not known yet.
    fn needed(&self) -> Option<bool> {
        let layout = self.engine.as_ref()?.drives().layout();
        (layout.version > 0).then(|| Voters::for_drives(layout.counted()).witness)
    }

    fn set(&self, state: Option<WitnessState>) {
        let path = self.path.clone();
        self.shelf
            .set_witness(state.map(|state| Witness { path, state }));
    }

    async fn look_at(&mut self, drive: Arc<Drive>) {
        if !self.looks.still_here(&drive).await {
            let why = drive.files().failure().unwrap_or_else(|| "gone".into());
            let node = self.metadata.node();
            node.drive_out(DriveId::WITNESS, &why).await;
            self.let_go(drive).await;
            self.set(Some(WitnessState::Failing(why)));
        } else if self.needed() == Some(false) && !votes(&self.metadata, DriveId::WITNESS) {
            self.retire(drive).await;
        } else if self.unjoined && self.engine.is_some() {
            // Its replicas stand: what is left is to erase on it what was destroyed while it was away,
            // and to make it a holder. Where that fails it goes out as any other.
            let state = self.admit(drive).await;
            self.set(Some(state));
            self.unjoined = false;
        }
    }

    /// Opens what stands at the path, or makes one there; none: nothing does and nobody asks for it.
    async fn try_back(&self, told: bool, sibling: &Mark) -> Option<WitnessState> {
        let (path, judge) = (self.path.clone(), sibling.clone());
        let opened =
            tokio::task::spawn_blocking(move || readmit(&path, Role::Witness, &judge)).await;
        let error = match opened {
            Err(ended) => return Some(WitnessState::Failing(ended.to_string())),
            Ok(Ok(drive)) => return Some(self.admit(Arc::new(drive)).await),
            Ok(Err(error)) => error,
        };
        let absent = match &error {
            MarkError::Unmarked(_) => true,
            MarkError::Open(OpenError::Io { source, .. }) => source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        match self.needed() {
            Some(true) if absent => Some(self.make(sibling).await),
            Some(false) => None,
            None if absent => told.then(|| WitnessState::Missing("nothing is there".into())),
            Some(true) | None => Some(WitnessState::Failing(error.to_string())),
        }
    }

    /// A new one, where none stands.
    async fn make(&self, sibling: &Mark) -> WitnessState {
        let node = self.metadata.node();
        let short = !node.without_majority().is_empty();
        #[cfg(sabotage)]
        let short = short && !engine_types::sabotage("witness-without-majority");
        if short {
            let why = "nothing is there; put it back, or bring the missing drives back: a new one is \
                       made once every partition has a majority";
            return WitnessState::Missing(why.into());
        }
        // What is remembered of the one that stood there does not bind the new one.
        if !node.drive_gone(DriveId::WITNESS, "made anew").await {
            return WitnessState::Missing("the one that was there is still being let go".into());
        }
        let (path, sibling) = (self.path.clone(), sibling.clone());
        let formed = blocking(move || {
            let empty = empty_directory(&path).map_err(|error| error.to_string())?;
            let new = new_witness(sibling.cluster, &SystemEntropy::new());
            empty.join(new, &sibling).map_err(|e| e.to_string())
        });
        match formed.await {
            Ok(drive) => self.admit(Arc::new(drive)).await,
            Err(why) => WitnessState::Failing(why),
        }
    }

    /// Replicas, keyring, and then it is in service.
    async fn admit(&self, drive: Arc<Drive>) -> WitnessState {
        let admitted = match self.open_replicas(&drive).await {
            Ok(()) => self.settle(&drive).await,
            failed => failed,
        };
        if let Err(why) = admitted {
            self.metadata.node().drive_out(DriveId::WITNESS, &why).await;
            self.let_go(drive).await;
            return WitnessState::Failing(why);
        }
        drive.admitted();
        tracing::info!(path = %self.path.display(), "witness in service");
        let state = WitnessState::Up(drive);
        self.set(Some(state.clone()));
        self.tell_keyring().await;
        state
    }

    /// Its lock goes last: what still writes to it must not meet another writer. A disk that hangs is
    /// waited for elsewhere.
    async fn let_go(&self, drive: Arc<Drive>) {
        let node = self.metadata.node().clone();
        if node.is_let_go(DriveId::WITNESS).await {
            drive.release();
            return;
        }
        tokio::spawn(async move {
            while !node.is_let_go(DriveId::WITNESS).await {}
            drive.release();
        });
    }

    async fn open_replicas(&self, drive: &Arc<Drive>) -> Result<(), String> {
        let files: Arc<dyn DriveFiles> = Arc::new(drive.files().clone());
        let back = self
            .metadata
            .node()
            .drive_back_as(Arc::clone(&files), known_of(&drive.mark()))
            .await;
        back.map_err(|error| error.to_string())?;
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        // What was destroyed while it was away is erased on it before it is used.
        let held = engine.keyring().bring_up(files).await;
        if held.map_err(|error| error.to_string())? {
            return Ok(());
        }
        Err("the keyring cannot be written to it".into())
    }

    /// Its mark says what it is from now on.
    async fn settle(&self, drive: &Arc<Drive>) -> Result<(), String> {
        let (drive, bootstrapped) = (Arc::clone(drive), self.engine.is_some());
        blocking(move || {
            settle(&drive)?;
            if bootstrapped && drive.mark().state != DriveState::InService {
                let set = drive.set_state(DriveState::InService);
                set.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
        .await
    }

    async fn tell_keyring(&self) {
        let Some(engine) = &self.engine else { return };
        if let Err(error) = engine.keyring().set_holders(self.shelf.files()).await {
            tracing::warn!(%error, "keyring's holders");
        }
    }

    /// The drives are enough. Off the shelf first: nobody must take an erased one for one that failed.
    /// Erased only once it is let go of: what a vote was given by must not be forgotten under it. A disk
    /// that hangs is waited for elsewhere.
    async fn retire(&self, drive: Arc<Drive>) {
        self.set(None);
        let node = self.metadata.node().clone();
        let gone = node.drive_gone(DriveId::WITNESS, ENOUGH).await;
        self.tell_keyring().await;
        let path = self.path.clone();
        if gone {
            return remove(path, drive).await;
        }
        tracing::warn!("the witness is slow to be let go");
        tokio::spawn(async move {
            while !node.drive_gone(DriveId::WITNESS, ENOUGH).await {}
            remove(path, drive).await;
        });
    }
}

/// Why a witness goes.
const ENOUGH: &str = "the drives are enough";

async fn remove(path: PathBuf, drive: Arc<Drive>) {
    let place = path.clone();
    let cleared = blocking(move || {
        erase(&drive);
        drive.release();
        // What somebody else put there keeps it, and so does a mount.
        std::fs::remove_dir(&place).map_err(|error| error.to_string())
    });
    match cleared.await {
        Ok(()) => tracing::info!(path = %path.display(), "witness removed: {ENOUGH}"),
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "witness erased, its directory stays");
        }
    }
}
