//! One drive comes back: opened at its path, its replicas, and then its part in the engine.
//!
//! The engine may be missing: the store is still being opened. Or it has not read control's layout, and so
//! does not know the drive. What was begun so says so when it is done, and whoever has the engine by then
//! has the drive put in once more, until that part is added too.

use crate::keeper::{known_of, let_go, settle};
use crate::shelf::Shelved;
use engine_core::placement::LayoutDrive;
use engine_core::ports::ShardStore;
use engine_disk::drives::readmit;
use engine_disk::mark::Mark;
use engine_disk::{Role, SegmentStore};
use engine_meta::metadata::Replicated;
use engine_node::Engine;
use engine_types::DriveId;
use std::path::Path;
use std::sync::Arc;

/// Brings one drive back, in a task of its own.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) metadata: Replicated,
    /// None while the store opens.
    pub(crate) engine: Option<Engine>,
    pub(crate) options: engine_disk::Options,
}

/// A drive that was brought back.
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) served: Shelved,
    /// The engine has it; false: there was none, or it does not know the drive yet.
    pub(crate) joined: bool,
}

/// Why a drive was not brought back.
#[derive(Debug)]
pub(crate) struct NotBack {
    pub(crate) why: String,
    /// Its shards were looked through in vain: not to be done every second.
    pub(crate) at_length: bool,
}

impl From<String> for NotBack {
    fn from(why: String) -> Self {
        Self {
            why,
            at_length: false,
        }
    }
}

impl Admission {
    /// `sibling` is the mark of a drive in service.
    pub(crate) async fn bring_back(
        &self,
        path: &Path,
        sibling: Option<Mark>,
    ) -> Result<Back, NotBack> {
        let sibling = sibling.ok_or_else(|| "no drive is in service".to_owned())?;
        let served = self.reopen(path, sibling).await?;
        self.put_in(served).await
    }

    /// Puts an open drive into service. Where that was done without the engine, only the engine's part is
    /// left: replicas that stand and a mark that is settled stay as they are.
    pub(crate) async fn put_in(&self, served: Shelved) -> Result<Back, NotBack> {
        let joined = match self.admit(&served).await {
            Ok(joined) => joined,
            Err(error) => {
                self.metadata.node().drive_out(served.id(), &error).await;
                let_go(served, self.metadata.clone()).await;
                return Err(error.into());
            }
        };
        #[cfg(sabotage)]
        let joined = joined || engine_types::sabotage("drive-unjoined");
        Ok(Back { served, joined })
    }

    async fn reopen(&self, path: &Path, sibling: Mark) -> Result<Shelved, NotBack> {
        let (path, options) = (path.to_owned(), self.options);
        let opened = tokio::task::spawn_blocking(move || {
            let drive = readmit(&path, Role::Drive, &sibling).map_err(|e| e.to_string())?;
            let opened = SegmentStore::open(drive.files().clone(), options);
            let (store, _) = opened.map_err(|error| NotBack {
                why: error.to_string(),
                at_length: true,
            })?;
            Ok(Shelved {
                drive: Arc::new(drive),
                store: Arc::new(store),
            })
        });
        opened.await.map_err(|e| e.to_string())?
    }

    /// Replicas first: a drive that cannot vote is not in service. Whether the engine has it then.
    async fn admit(&self, served: &Shelved) -> Result<bool, String> {
        let row = self.row(served.id())?;
        let known = known_of(&served.drive.mark());
        self.metadata
            .node()
            .drive_back_as(served.files(), known)
            .await
            .map_err(|e| e.to_string())?;
        let drive = Arc::clone(&served.drive);
        tokio::task::spawn_blocking(move || settle(&drive))
            .await
            .map_err(|e| e.to_string())??;
        let Some(engine) = &self.engine else {
            return Ok(false);
        };
        let row = match row {
            Some(row) => Some(row),
            None => match engine.refresh_layout().await {
                Ok(()) => self.row(served.id())?,
                Err(error) => {
                    tracing::warn!(drive = %served.id(), %error, "its row is not known yet");
                    None
                }
            },
        };
        // The layout may need this very drive's voters to be read: it is not taken out for want of it.
        let Some(row) = row else { return Ok(false) };
        // What was destroyed while it was away is erased on it before it is used.
        if !engine
            .keyring()
            .bring_up(served.files())
            .await
            .map_err(|e| e.to_string())?
        {
            return Err("the keyring cannot be written to it".into());
        }
        engine.drives().add(
            row,
            Arc::clone(&served.store) as Arc<dyn ShardStore>,
            served.files(),
        );
        Ok(true)
    }

    /// What the layout says of a drive; none: there is no engine, or it has not read control's layout.
    fn row(&self, id: DriveId) -> Result<Option<LayoutDrive>, String> {
        let Some(engine) = &self.engine else {
            return Ok(None);
        };
        let mut rows = engine.drives().status().into_iter().map(|d| d.row);
        match rows.find(|row| row.id == id) {
            Some(row) => Ok(Some(row)),
            None if engine.drives().layout().version == 0 => Ok(None),
            None => Err(format!(
                "drive {id} is not in the layout; add it: datamesh drive add"
            )),
        }
    }
}
