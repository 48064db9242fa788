//! Keeps the drives: takes out of service what fails or no longer stands at its path, and puts back
//! what has come back, while the process runs.
//!
//! Order out: replicas (leaderships handed over first), shard store, lock. Order back: mark judged,
//! an old copy's replicas thrown away, shard store, replicas, engine, keyring. Only this task does
//! either, so neither happens twice at once.

use crate::shelf::{Place, Shelf, Shelved};
use crate::shutdown::Ending;
use engine_core::ports::{DriveFiles, ShardStore};
use engine_disk::drives::readmit;
use engine_disk::{Drive, SegmentStore};
use engine_meta::metadata::Replicated;
use engine_node::Engine;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often every drive is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What a replica keeps on a drive: thrown away where the drive is an old copy, whose votes may
/// contradict votes it no longer knows of.
const REPLICA_DIRECTORIES: [&str; 4] = ["replicas", "log", "snapshots", "tables"];

/// What the task works with.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) metadata: Replicated,
    pub(crate) engine: Engine,
    pub(crate) options: engine_disk::Options,
}

/// Removes what an old copy must not vote with, durably, and says so in its mark. Blocking.
pub(crate) fn discard_replicas(drive: &Drive) -> Result<(), String> {
    tracing::warn!(drive = %drive.files().drive(), "an old copy of the drive: its replicas are made anew");
    for directory in REPLICA_DIRECTORIES {
        drive.files().remove(directory).map_err(|e| e.to_string())?;
    }
    drive.made_anew().map_err(|e| e.to_string())
}

impl Keeper {
    /// Until the end begins.
    pub(crate) async fn run(self, mut ending: Ending) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = ending.begun() => return,
                _ = tick.tick() => {}
            }
            for place in self.shelf.places() {
                match place.state {
                    Ok(served) => self.look(&place.path, served).await,
                    Err(ref why) => self.try_back(&place, why).await,
                }
            }
        }
    }

    async fn look(&self, path: &Path, served: Shelved) {
        let drive = Arc::clone(&served.drive);
        let here = tokio::task::spawn_blocking(move || drive.still_here()).await;
        if here.unwrap_or(true) {
            return;
        }
        let why = served.drive.files().failure().unwrap_or_else(|| "gone".into());
        let id = served.id();
        self.metadata.node().drive_out(id, &why).await;
        // Whoever still holds the old store keeps its index open, and the drive could not be reopened.
        self.engine.drives().remove(id);
        served.store.close().await;
        served.drive.release();
        self.shelf.set(path, Some(id), Err(why));
    }

    async fn try_back(&self, place: &Place, why: &str) {
        let error = match self.reopen(&place.path).await {
            Err(error) => error,
            Ok(served) => match self.admit(&served).await {
                Ok(()) => {
                    tracing::info!(drive = %served.id(), path = %place.path.display(), "drive back in service");
                    self.shelf.set(&place.path, Some(served.id()), Ok(served));
                    self.tell_keyring().await;
                    return;
                }
                Err(error) => {
                    served.store.close().await;
                    served.drive.release();
                    error
                }
            },
        };
        if why != error {
            tracing::warn!(path = %place.path.display(), reason = error, "drive stays out of service");
            self.shelf.set(&place.path, None, Err(error));
        }
    }

    async fn reopen(&self, path: &Path) -> Result<Shelved, String> {
        let sibling = self.shelf.drives().into_iter().next().ok_or("no drive is in service")?;
        let (path, options) = (path.to_owned(), self.options);
        let opened = tokio::task::spawn_blocking(move || {
            let drive = readmit(&path, &sibling.mark()).map_err(|e| e.to_string())?;
            if drive.mark().stale {
                discard_replicas(&drive)?;
            }
            let (store, _) = SegmentStore::open(drive.files().clone(), options).map_err(|e| e.to_string())?;
            Ok(Shelved { drive: Arc::new(drive), store: Arc::new(store) })
        });
        opened.await.map_err(|e| e.to_string())?
    }

    /// Replicas first: a drive that cannot vote is not in service.
    async fn admit(&self, served: &Shelved) -> Result<(), String> {
        let id = served.id();
        let mut rows = self.engine.drives().status().into_iter().map(|d| d.row);
        let known = rows.find(|row| row.id == id);
        let row = known.ok_or_else(|| format!("drive {id} is not in the layout; add it: datamesh drive add"))?;
        self.metadata.node().drive_back(served.files()).await.map_err(|e| e.to_string())?;
        self.engine.drives().add(row, Arc::clone(&served.store) as Arc<dyn ShardStore>, served.files());
        Ok(())
    }

    /// From now on the keyring's copies lie on the drives in service.
    async fn tell_keyring(&self) {
        if let Err(error) = self.engine.keyring().set_holders(self.shelf.files()).await {
            tracing::warn!(%error, "keyring not copied to a drive that came back");
        }
    }
}
