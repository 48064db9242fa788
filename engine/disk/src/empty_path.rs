//! Making a drive, or the witness, of an empty directory.

use crate::drives::{Drive, look};
use crate::file::Root;
use crate::mark::{DriveState, FEATURE_LEVEL, Found, Mark, MarkError};
use engine_types::{BootId, ClusterId, DriveId, DriveUuid, NodeId};
use std::collections::BTreeMap;
use std::path::Path;

/// An empty, locked path that may become a drive.
#[derive(Debug)]
pub struct EmptyPath(Root);

/// Who a new drive is.
#[derive(Clone, Copy, Debug)]
pub struct NewDrive {
    /// Random, made by the caller.
    pub uuid: DriveUuid,
    /// Its number in the layout.
    pub drive: DriveId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

impl EmptyPath {
    /// Of a root that was looked at.
    pub(crate) fn locked(root: Root) -> Self {
        Self(root)
    }

    /// Opens a path for `datamesh drive add`.
    ///
    /// # Errors
    /// `Marked` or `NotEmpty` when something stands there.
    pub fn open(path: &Path) -> Result<Self, MarkError> {
        let root = Root::lock(path)?;
        match look(&root, FEATURE_LEVEL) {
            Found::Empty => Ok(Self(root)),
            Found::Other => Err(MarkError::NotEmpty(path.to_owned())),
            Found::Marked(mark) => Err(MarkError::Marked {
                path: path.to_owned(),
                uuid: mark.uuid,
            }),
            Found::Unfit(error) => Err(error),
        }
    }

    /// Marks it as a forming drive, durably.
    pub fn form(self, new: NewDrive) -> Result<Drive, MarkError> {
        self.mark(new, BTreeMap::new(), BTreeMap::new())
    }

    /// The same beside drives in service, of which `sibling` is the mark of one: what it knows of the
    /// others the new one knows from the beginning, so that no older copy of them gets past it.
    pub fn join(self, new: NewDrive, sibling: &Mark) -> Result<Drive, MarkError> {
        let mut boots = sibling.boots.clone();
        boots.insert(new.uuid, sibling.boot());
        self.mark(new, boots, sibling.log_ends.clone())
    }

    fn mark(
        self,
        new: NewDrive,
        boots: BTreeMap<DriveUuid, BootId>,
        log_ends: BTreeMap<DriveUuid, u64>,
    ) -> Result<Drive, MarkError> {
        let mark = Mark {
            uuid: new.uuid,
            drive: new.drive,
            cluster: new.cluster,
            node: new.node,
            feature_level: FEATURE_LEVEL,
            release: release(),
            state: DriveState::Forming,
            stale: false,
            boots,
            log_ends,
        };
        mark.write(&self.0)?;
        Ok(Drive::new(self.0, mark))
    }

    /// Where.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

fn release() -> String {
    concat!("datamesh ", env!("CARGO_PKG_VERSION")).to_owned()
}
