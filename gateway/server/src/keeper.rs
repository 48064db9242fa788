//! Keeps the drives: takes out of service what fails or no longer stands at its path, and puts back
//! what has come back, from the moment the first drive is open until the process ends.
//!
//! Order out: replicas (leaderships handed over first), shard store, lock. Order back: mark judged,
//! shard store, replicas (an older copy's are disowned, and made anew by their groups), engine,
//! keyring. Only this task does either, and both once a path at a time, so neither happens twice at once.
//! What has to wait for a drive is done in a task of its own ([`Pending`]): one that hangs is not let go
//! of, its path stays out, and the others are looked at. Before the store is open there is no engine, and
//! all else is the same: so a start waits for its drives as a running node does. A return that outlasts
//! the start began without the engine, which has not heard of the drive: that part is done before the
//! drive is in service. A drive that fails again soon after it came back waits longer each time.

use crate::admission::{Admission, Back, NotBack};
use crate::ends::Remembered;
use crate::looks::Looks;
use crate::pending::Pending;
use crate::relapses::Relapses;
use crate::shelf::{Place, Shelf, Shelved};
use crate::shutdown::Ending;
use crate::witness::WitnessKeeper;
use engine_core::ports::{DriveFiles, ShardStore};
use engine_disk::Drive;
use engine_disk::mark::Mark;
use engine_meta::metadata::Replicated;
use engine_meta::service::Known;
use engine_node::Engine;
use engine_types::DriveId;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often every drive is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// An ordered stop waits so long for a look at the witness.
const LOOK_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What the task works with.
#[derive(Debug)]
pub(crate) struct Keeper {
    shelf: Arc<Shelf>,
    metadata: Replicated,
    /// None while the store opens.
    engine: Option<Engine>,
    options: engine_disk::Options,
    /// What the last drive in service said: who returns when none is left is judged by it.
    sibling: Option<Mark>,
    remembered: Remembered,
    /// Older copies whose shards are being held against the stripe maps.
    checked: BTreeSet<DriveId>,
    looks: Looks,
    relapses: Relapses,
    begun: Instant,
    leaving: Pending<()>,
    returning: Pending<Result<Back, NotBack>>,
    witness_dir: PathBuf,
    /// None while a look of its own goes on.
    witness: Option<WitnessKeeper>,
    looking_at_witness: Pending<WitnessKeeper>,
}

/// What the marks say of a drive that is about to be opened.
pub(crate) fn known_of(mark: &Mark) -> Known {
    Known {
        old_copy: mark.stale,
        log_end: mark.log_ends.get(&mark.uuid).copied().unwrap_or(0),
    }
}

/// An older copy's replicas are disowned: its mark need not say any more what it is. Blocking.
pub(crate) fn settle(drive: &Drive) -> Result<(), String> {
    if drive.mark().stale {
        drive.made_anew().map_err(|e| e.to_string())?;
    }
    Ok(())
}

impl Keeper {
    pub(crate) fn new(
        shelf: Arc<Shelf>,
        metadata: Replicated,
        options: engine_disk::Options,
        witness_dir: PathBuf,
    ) -> Self {
        Self {
            witness_dir,
            witness: None,
            looking_at_witness: Pending::default(),
            shelf,
            metadata,
            engine: None,
            options,
            sibling: None,
            remembered: Remembered::default(),
            checked: BTreeSet::new(),
            looks: Looks::default(),
            relapses: Relapses::default(),
            begun: Instant::now(),
            leaving: Pending::default(),
            returning: Pending::default(),
        }
    }

    /// The store is open: from now on its engine is told as well. What returns meanwhile is not waited
    /// for, since its disk may hang.
    pub(crate) fn serving(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Until the end begins.
    pub(crate) async fn run(mut self, mut ending: Ending) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = ending.begun() => return self.end().await,
                _ = tick.tick() => {}
            }
            self.look_around().await;
        }
    }

    /// What looks at the witness may be opening it, and what it opens is about to be closed.
    async fn end(mut self) {
        let path = self.witness_dir.clone();
        if !self.looking_at_witness.has(&path) {
            return;
        }
        tracing::info!(path = %path.display(), "a look at the witness goes on: it is waited for");
        let ended = async {
            while self.looking_at_witness.has(&path) {
                drop(self.looking_at_witness.done(&path).await);
            }
        };
        if tokio::time::timeout(LOOK_ENDS_WITHIN, ended).await.is_err() {
            tracing::warn!(path = %path.display(), "the witness hangs: it is left behind as it is");
        }
    }

    /// Looks at every drive once.
    pub(crate) async fn look_around(&mut self) {
        if let Some(drive) = self.shelf.drives().first() {
            self.sibling = Some(drive.mark());
        }
        for place in self.shelf.places() {
            match place.state {
                Ok(served) => self.look(&place.path, served).await,
                Err(ref why) if self.relapses.may_return(&place.path, self.begun.elapsed()) => {
                    self.try_back(&place, why).await;
                }
                Err(_) => {}
            }
        }
        self.look_at_witness().await;
        self.remembered
            .look(&self.shelf, self.metadata.node())
            .await;
        self.check_older_copies();
    }

    /// In a task of its own, since its disk may hang and the drives not wait for it.
    async fn look_at_witness(&mut self) {
        let path = self.witness_dir.clone();
        if !self.looking_at_witness.has(&path) {
            let begun_anew =
                || WitnessKeeper::new(path.clone(), Arc::clone(&self.shelf), self.metadata.clone());
            let mut witness = self.witness.take().unwrap_or_else(begun_anew);
            if let Some(engine) = &self.engine {
                witness.serving(engine.clone());
            }
            let sibling = self.sibling.clone();
            self.looking_at_witness.begin(&path, || async move {
                witness.look(sibling.as_ref()).await;
                witness
            });
        }
        match self.looking_at_witness.done(&path).await {
            Some(Ok(witness)) => self.witness = Some(witness),
            Some(Err(error)) => tracing::error!(error, "looking at the witness"),
            None => {}
        }
    }

    async fn look(&mut self, path: &Path, served: Shelved) {
        if self.looks.still_here(&served.drive).await {
            return;
        }
        let why = served
            .drive
            .files()
            .failure()
            .unwrap_or_else(|| "gone".into());
        let id = served.id();
        self.metadata.node().drive_out(id, &why).await;
        // Whoever still holds the old store keeps its index open, and the drive could not be reopened.
        if let Some(engine) = &self.engine {
            engine.drives().remove(id);
        }
        let pause = self.relapses.went_out(path, self.begun.elapsed());
        if !pause.is_zero() {
            tracing::warn!(drive = %id, ?pause, "it failed again soon after it came back");
        }
        self.shelf.set(path, Some(id), Err(why));
        let metadata = self.metadata.clone();
        self.leaving.begin(path, || let_go(served, metadata));
        // Most are let go at once; one that hangs is asked for again before it is tried.
        drop(self.leaving.done(path).await);
    }

    async fn try_back(&mut self, place: &Place, why: &str) {
        if self.leaving.has(&place.path) && self.leaving.done(&place.path).await.is_none() {
            return;
        }
        let (admission, sibling) = (self.admission(), self.sibling.clone());
        let path = place.path.clone();
        let work = || async move { admission.bring_back(&path, sibling).await };
        self.returning.begin(&place.path, work);
        let not_back = match self.returning.done(&place.path).await {
            None => return,
            // The engine began with the drives that were on the shelf then, or has yet to read of this one.
            Some(Ok(Ok(Back {
                served,
                joined: false,
            }))) if self.engine.is_some() => {
                let admission = self.admission();
                let work = || async move { admission.put_in(served).await };
                return self.returning.begin(&place.path, work);
            }
            Some(Ok(Ok(back))) => return self.came_back(place, back.served).await,
            Some(Ok(Err(not_back))) => not_back,
            Some(Err(why)) => NotBack::from(why),
        };
        if not_back.at_length {
            self.relapses.stayed_out(&place.path, self.begun.elapsed());
        }
        if why != not_back.why {
            tracing::warn!(
                path = %place.path.display(), reason = not_back.why, "drive stays out of service"
            );
            self.shelf.set(&place.path, None, Err(not_back.why));
        }
    }

    fn admission(&self) -> Admission {
        Admission {
            metadata: self.metadata.clone(),
            engine: self.engine.clone(),
            options: self.options,
        }
    }

    async fn came_back(&mut self, place: &Place, served: Shelved) {
        served.drive.admitted();
        self.relapses.came_back(&place.path, self.begun.elapsed());
        tracing::info!(
            drive = %served.id(), path = %place.path.display(), "drive back in service"
        );
        self.shelf.set(&place.path, Some(served.id()), Ok(served));
        self.tell_keyring().await;
    }

    /// An older copy has none of the shards it was given since: they are found by holding the stripe
    /// maps against it, and repaired.
    fn check_older_copies(&mut self) {
        let Some(engine) = &self.engine else { return };
        let drives = self.metadata.node().status().drives;
        let older = drives
            .into_iter()
            .filter(|d| d.old_copy.is_some() && d.drive != DriveId::WITNESS)
            .map(|d| d.drive);
        let older: BTreeSet<DriveId> = older.collect();
        self.checked.retain(|drive| older.contains(drive));
        for drive in older {
            if !self.checked.contains(&drive) && engine.scrub_start(Some(drive)).is_ok() {
                tracing::info!(
                    %drive, "an older copy of the drive: its shards are held against the stripe maps"
                );
                self.checked.insert(drive);
            }
        }
    }

    /// From now on the keyring's copies lie on the drives in service.
    async fn tell_keyring(&self) {
        let Some(engine) = &self.engine else { return };
        if let Err(error) = engine.keyring().set_holders(self.shelf.files()).await {
            tracing::warn!(%error, "keyring not copied to a drive that came back");
        }
    }
}

/// Lets go of a drive that is out of service: shards, replicas, and the lock last of all. It takes as long
/// as the drive hangs: what still writes to it must not meet another writer.
pub(crate) async fn let_go(served: Shelved, metadata: Replicated) {
    let (id, mut told) = (served.id(), false);
    while !(served.store.close().await && metadata.node().is_let_go(id).await) {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(drive = %id, "the drive hangs: it is not let go of yet");
        }
    }
    served.drive.release();
}
